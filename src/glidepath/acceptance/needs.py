"""What a beamline module says of its devices for acceptance tests: safe ranges and bounds."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from glidepath.beamlines import Beamline, BeamlineError

__all__ = ["Needs", "Nitrogen"]


@dataclass(frozen=True)
class Nitrogen:
    """The N2 gas cell of a beamline.

    Attributes
    ----------
    signal, reference
        Columns of the spectrum and of I0.
    resolving_power
        What is to be reached.
    shift
        eV by which the first line may be off.
    start, stop, velocity
        eV, eV and eV/s: what is flown.
    """

    signal: str
    reference: str = ""
    resolving_power: float = 1000.0
    shift: float = 0.1
    start: float = 399.0
    stop: float = 404.0
    velocity: float = 0.25


@dataclass(frozen=True)
class Needs:
    """What the tests of one device, or of one axis of it, go by.

    Attributes
    ----------
    safe
        Range in which it may be moved; None: none was declared, it is not moved.
    tolerance
        Largest distance from a target; None: what the device itself takes for arrived.
    seconds
        Longest time of one move; None: the device's own bound.
    velocities
        Of the flights of an axis, units/s; empty: three that follow from the safe range.
    nitrogen
        The gas cell with which an energy axis is tested; None: there is none.
    exposure
        Of the frames of a detector in its tests, s; None: what was asked for the whole session.
    """

    safe: tuple[float, float] | None = None
    tolerance: float | None = None
    seconds: float | None = None
    velocities: tuple[float, ...] = ()
    nitrogen: Nitrogen | None = None
    exposure: float | None = None

    @classmethod
    def of(cls, beamline: Beamline, name: str) -> "Needs":
        """Return what a beamline module says of a device or an axis.

        Raises
        ------
        BeamlineError
            If it says something that is not known here, in one sentence.
        """
        said = dict(beamline.acceptance.get(name, {}))
        known = [field.name for field in fields(cls) if field.name != "safe"]
        _check(said, known, f"ACCEPTANCE[{name!r}] of {beamline.name}")
        if (gas := said.get("nitrogen")) is not None and not isinstance(gas, Nitrogen):
            of_gas = [field.name for field in fields(Nitrogen)]
            _check(gas, of_gas, f"ACCEPTANCE[{name!r}]['nitrogen'] of {beamline.name}")
            said["nitrogen"] = Nitrogen(**gas)
        said["velocities"] = tuple(said.get("velocities", ()))
        return cls(safe=beamline.safe_ranges.get(name), **said)


def _check(said: Mapping[str, Any], known: list[str], where: str) -> None:
    unknown = [key for key in said if key not in known]
    if unknown:
        raise BeamlineError(
            f"{where} says {unknown[0]!r}, which no test knows; say some of {', '.join(known)}."
        )
