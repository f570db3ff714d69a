"""Which tests a device gets: suites, each for a family of devices; others can be registered."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from glidepath.beamlines import Beamline, BeamlineError
from glidepath.devices.extensions import load_extensions

__all__ = ["CONNECTS", "Planned", "Suite", "Test", "planned_tests", "register_suite"]

GROUP = "glidepath.acceptance"
"""Entry points of other packages: modules that call `register_suite` when they are imported."""

OWN = ("everything", "axes", "barriers", "locks", "accelerator", "detectors", "flights", "triggers")
"""Modules of this package that do so, in the order in which their tests are made."""


@dataclass(frozen=True)
class Test:
    """One test.

    Attributes
    ----------
    name
        A word or two that say what the device does: ``"moves"``.
    work
        Makes it: a function of a `Trial` that returns a sentence of what was found, and raises
        `Failed` or `LeftOut` otherwise. A coroutine function works in the run engine's loop; an
        ordinary one may run plans with ``trial.session.run``.
    moves
        Whether something moves or is let run, so that it must be allowed.
    """

    # Not a class of tests of pytest.
    __test__ = False

    name: str
    work: Callable[[Any], Any]
    moves: bool = False


def _connects(trial: Any) -> str:
    """Say that a device is connected; the runner does that before everything else."""
    return f"{trial.name} is connected"


CONNECTS = Test("connects", _connects)
"""The first test of every device: its servers answer."""


@dataclass(frozen=True)
class Suite:
    """The tests of one family of devices.

    Attributes
    ----------
    name
        Of the family, for people.
    parts
        Takes the beamline and the name of one of its devices, which need not be connected;
        returns names of what is to be tested of it: the device itself, its axes, or nothing if it
        does not belong to the family.
    tests
        Made with each of these parts, in order.
    """

    name: str
    parts: Callable[[Beamline, str], Iterable[str]]
    tests: Sequence[Test]


@dataclass(frozen=True)
class Planned:
    """One test of one device.

    Attributes
    ----------
    device
        Its name in the beamline module.
    part
        Name of what is tested of it.
    suite
        Name of the suite.
    test
        What is done.
    """

    device: str
    part: str
    suite: str
    test: Test

    @property
    def title(self) -> str:
        """Part and test, such as ``"m1-tx moves"``."""
        return f"{self.part} {self.test.name}"


_suites: list[Suite] = []


def register_suite(suite: Suite) -> Suite:
    """Add a suite; every device of its family gets its tests from now on."""
    _suites.append(suite)
    return suite


def all_suites() -> list[Suite]:
    """Return all suites, those of other packages last."""
    for module in OWN:
        import_module(f"{__package__}.suites.{module}")
    load_extensions(GROUP)
    return list(_suites)


def planned_tests(beamline: Beamline, names: Sequence[str] = ()) -> list[Planned]:
    """Return all tests of some devices, device by device; of all devices if none is named.

    Raises
    ------
    BeamlineError
        If there is no device of such a name, or it cannot be had.
    """
    for name in names:
        if name in beamline.devices:
            continue
        if name in beamline.unavailable:
            raise BeamlineError(beamline.unavailable[name])
        raise BeamlineError(
            f"There is no device {name!r} at {beamline.name} to be tested; there are "
            f"{', '.join(sorted(beamline.devices))}."
        )
    suites = all_suites()
    planned = []
    for name in names or beamline.devices:
        planned.append(Planned(name, name, "everything", CONNECTS))
        planned += [
            Planned(name, part, suite.name, test)
            for suite in suites
            for part in suite.parts(beamline, name)
            for test in suite.tests
        ]
    return planned
