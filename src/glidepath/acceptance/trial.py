"""What a test is given: the device, what it may do with it, and where its figures go."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .needs import Needs
from .outcomes import Figure, LeftOut

if TYPE_CHECKING:
    from glidepath.session import Session

__all__ = ["Asked", "Trial"]


@dataclass(frozen=True)
class Asked:
    """What may be done in a session of acceptance tests, and how.

    Attributes
    ----------
    move
        Names of devices, or of axes of them, that may be moved or let run; all else is only read.
    exposure
        Of the frames of detectors, s.
    pulses
        What sends pulses to detectors: name of a device, ``""`` for none; None: the first that
        the beamline has.
    """

    move: frozenset[str] = frozenset()
    exposure: float = 0.02
    pulses: str | None = None

    def may_move(self, *names: str) -> bool:
        """Return whether something that has these names (its own, its device's) may move."""
        return any(name in self.move for name in names)


@dataclass
class Trial:
    """One test of one device.

    Attributes
    ----------
    session
        With the run engine and the devices.
    device
        Connected.
    name
        Of the device in the beamline module.
    part
        Name of what is tested: the device, or an axis of it.
    needs
        What the beamline module says of the part.
    asked
        What may be done.
    folder
        Where files may be written.
    """

    session: "Session"
    device: Any
    name: str
    part: str
    needs: Needs
    asked: Asked
    folder: Path
    figures: dict[str, Figure] = field(default_factory=dict)
    details: list[str] = field(default_factory=list)

    def figure(self, name: str, value: float, unit: str = "") -> None:
        """Keep a measured number."""
        self.figures[name] = Figure(float(value), unit)

    def keep(self, figures: Mapping[str, tuple[float, str]]) -> None:
        """Keep several numbers with their units."""
        for name, (value, unit) in figures.items():
            self.figure(name, value, unit)

    def may(self, *names: str) -> None:
        """End the test if one of these devices may not be moved."""
        closed = [name for name in names if not self.asked.may_move(name)]
        if closed:
            raise LeftOut(
                f"It needs {' and '.join(closed)} to move, which was not allowed; name it with "
                "--move."
            )
