"""Acceptance tests as tests of pytest: one item for each test of a device."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import pytest

from glidepath.beamlines import Beamline, BeamlineError, load_beamline
from glidepath.session import AbortOnInterrupt, Session

from .outcomes import Failed, Outcome, Result
from .runner import Runner
from .session_end import Written, finish
from .suite import Planned, planned_tests
from .trial import Asked

__all__ = ["DOOR", "Door"]


class Door:
    """What pytest needs to test a beamline: registered as a plugin when one is named.

    Parameters
    ----------
    config
        Of pytest.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._opened: Runner | None = None
        self._written: Written | None = None
        config.stash[DOOR] = self
        if config.getoption("numprocesses", None):
            raise pytest.UsageError(
                "Acceptance tests of a beamline are made one after the other, for they share its "
                "devices; leave --numprocesses out."
            )

    @property
    def asked(self) -> Asked:
        """What was asked for on the command line."""
        option = self._config.getoption
        return Asked(
            frozenset(_names(option("--move"))),
            option("--detector-exposure"),
            option("--detector-pulses"),
        )

    @cached_property
    def beamline(self) -> Beamline:
        """The beamline, not connected.

        Raises
        ------
        pytest.UsageError
            If it cannot be loaded.
        """
        try:
            return load_beamline(self._config.getoption("--beamline"))
        except BeamlineError as error:
            raise pytest.UsageError(str(error)) from None

    @property
    def runner(self) -> Runner:
        """What makes the tests, in a session that is opened when the first test is made."""
        if self._opened is None:
            option = self._config.getoption
            session = Session(
                option("--beamline"),
                option("--beamline-data"),
                catalogue=not option("--no-catalogue"),
                baseline=False,
                silent=False,
                live=False,
                exports=False,
                interrupts=AbortOnInterrupt,
            )
            session.command = " ".join(["pytest", *self._config.invocation_params.args])
            self._opened = Runner(session, self.asked)
        return self._opened

    def _planned(self) -> Sequence[Planned]:
        try:
            return planned_tests(self.beamline, _names(self._config.getoption("--devices") or ""))
        except BeamlineError as error:
            raise pytest.UsageError(str(error)) from None

    def _check_moving(self) -> None:
        from .axis import axes_of

        devices = self.beamline.devices
        parts = {axis for device in devices.values() for axis in axes_of(device)}
        for name in self.asked.move:
            if name not in devices and name not in parts:
                raise pytest.UsageError(
                    f"There is no device or axis {name!r} at {self.beamline.name} to be moved; "
                    f"there are {', '.join(sorted(devices))}."
                )

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(
        self, session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Add the ready-made tests, before others choose by name."""
        self._check_moving()
        if config.args_source is config.ArgsSource.ARGS and not config.getoption("--devices"):
            # Only the files that were named.
            return
        items[:0] = [
            AcceptanceItem.from_parent(
                session,
                name=planned.title,
                nodeid=f"{self.beamline.name}::{planned.device}::{planned.title}",
                planned=planned,
                door=self,
            )
            for planned in self._planned()
        ]

    def pytest_sessionfinish(self) -> None:
        """Store what was found, write the report, close the session."""
        if self._opened is None:
            return
        runner, self._opened = self._opened, None
        folder = self._config.getoption("--acceptance-report")
        try:
            self._written = finish(runner, None if folder is None else Path(folder))
        finally:
            runner.session.close()

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say where the report is and what has changed."""
        if self._written is None:
            return
        terminalreporter.section("acceptance")
        for sentence in self._written.changes:
            terminalreporter.write_line(sentence)
        terminalreporter.write_line(f"report: {self._written.html}")


DOOR = pytest.StashKey[Door]()
"""Where fixtures find the door."""


class AcceptanceItem(pytest.Item):
    """One ready-made test of one device."""

    def __init__(self, *, planned: Planned, door: Door, **options: Any) -> None:
        super().__init__(**options)
        self.planned, self._door = planned, door
        self.add_marker("acceptance")

    @classmethod
    def from_parent(cls, parent: Any, **options: Any) -> Self:
        """Make one, as pytest wants it to be made."""
        made: Self = super().from_parent(parent=parent, **options)
        return made

    def runtest(self) -> None:
        """Make the test."""
        outcome: Outcome = self._door.runner.run(self.planned)
        self.user_properties += [(name, str(f)) for name, f in outcome.figures.items()]
        for detail in outcome.details:
            self.add_report_section("call", "acceptance", detail)
        if outcome.result is Result.FAIL:
            raise Failed(outcome.sentence)
        if outcome.result is Result.LEFT_OUT:
            pytest.skip(outcome.sentence)

    def repr_failure(self, excinfo: Any, style: Any = None) -> Any:
        """Return the sentence of a failure: a traceback says nothing of a device."""
        if isinstance(excinfo.value, Failed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Return what is shown of where the test is."""
        return Path(self.planned.device), None, self.planned.title


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
