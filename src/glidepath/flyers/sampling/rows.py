"""What makes the rows of a scan, whether they follow a clock or triggers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from event_model import DataKey
from numpy.typing import NDArray

from glidepath.storage import AlignedImages

from .annotations import Setting
from .leg_plan import LegPlan

Columns = dict[str, NDArray]
"""Columns of the primary table: name -> shape (m,)."""


class Rows(Protocol):
    """Makes the rows of one run, flight by flight.

    The order is `prepare`, `arm`, then `poll` and `final` again and again, `end_flight`, and
    `final` with ``finish``. `disarm` and `restore` may come at any time, and twice.
    """

    @property
    def columns(self) -> Mapping[str, tuple[str, str]]:
        """What it adds to a row beside the sampled channels: column -> (unit, dtype)."""
        ...

    @property
    def images(self) -> Mapping[str, AlignedImages]:
        """Detector -> its images, row by row; known when the first flight is prepared."""
        ...

    async def settings(self) -> list[Setting]:
        """Return what triggered detectors must not be changed in while a flight lasts."""
        ...

    def image_keys(self) -> Mapping[str, tuple[str, DataKey]]:
        """Return detector -> name and description of its images, once they are known."""
        ...

    async def prepare(self, plan: LegPlan, folder: Path) -> None:
        """Get ready for a flight; the axis may be on its way to the run-up.

        Parameters
        ----------
        plan
            Plan of the flight.
        folder
            Folder of the run, for files of detectors.
        """
        ...

    async def arm(self) -> None:
        """Begin to make rows of the flight that was prepared: the axis stands at its run-up."""
        ...

    async def poll(self) -> None:
        """Ask devices for what they have made since the last time; monitors need no asking."""
        ...

    def final(self, now: float, *, finish: bool = False) -> Columns:
        """Return the rows that became final since the last time; empty if there are none.

        Parameters
        ----------
        now
            Local clock in s (monotonic).
        finish
            Make all that can be made, without waiting for what is still on its way.
        """
        ...

    def end_early(self) -> None:
        """End the flight at the axis's newest update: it is about to be stopped early."""
        ...

    async def end_flight(self) -> None:
        """Take what is still on its way: the motion has ended.

        Raises
        ------
        Exception
            What a device failed of; `final` has what could be taken all the same.
        """
        ...

    def finished(self, now: float) -> bool:
        """Tell whether all rows of the flight are made; ``now`` as for `final`."""
        ...

    @property
    def arrived(self) -> bool:
        """Whether the flight went to its end, whatever stopped the axis then."""
        ...

    @property
    def reached(self) -> float | None:
        """Where the rest of the flight begins, in the axis's unit; None if there is no row yet."""
        ...

    def check(self) -> None:
        """Raise `FlightError` when the rows cannot be made any more."""
        ...

    @property
    def remarks(self) -> Sequence[str]:
        """Sentences about what was not as it should be."""
        ...

    @property
    def with_frames(self) -> Mapping[str, int]:
        """Triggered detector -> rows of the run of which it has its frames."""
        ...

    def to_verdict(self) -> Mapping[str, Any]:
        """Return what became of the triggers, by detector, as JSON knows it."""
        ...

    async def disarm(self) -> None:
        """Make no more triggers, with nobody listening any more."""
        ...

    async def restore(self) -> None:
        """Put back the settings of triggered devices."""
        ...


__all__ = ["Columns", "Rows"]
