"""Rows of equal length, one after the other, made of monitored updates alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from event_model import DataKey

from glidepath.storage import AlignedImages
from glidepath.timeline import Aligner, Span

from .annotations import Setting
from .leg_plan import LegPlan
from .rows import Columns


class SampledRows:
    """Rows that follow a clock; see `Rows`.

    Parameters
    ----------
    aligner
        The aligner, which has the updates and makes the rows of them.
    """

    def __init__(self, aligner: Aligner) -> None:
        self._aligner = aligner
        self._plan: LegPlan | None = None
        self.columns: Mapping[str, tuple[str, str]] = {}
        self.images: Mapping[str, AlignedImages] = {}
        self.remarks: Sequence[str] = ()
        self.with_frames: Mapping[str, int] = {}

    async def settings(self) -> list[Setting]:
        """Return none: nothing is triggered."""
        return []

    def image_keys(self) -> Mapping[str, tuple[str, DataKey]]:
        """Return none: nobody is asked for images."""
        return {}

    async def prepare(self, plan: LegPlan, folder: Path) -> None:
        """Take note of the flight; see `Rows.prepare`."""
        self._plan = plan

    async def arm(self) -> None:
        """Look for the axis entering the leg; see `Rows.arm`."""
        assert self._plan is not None
        leg = self._plan.leg
        self._aligner.arm(
            *(
                Span(region.start, region.stop, region.period, number, leg.pass_number)
                for region, number in zip(leg.regions, leg.numbers, strict=True)
            )
        )

    async def poll(self) -> None:
        """Do nothing: monitors need no asking."""

    def final(self, now: float, *, finish: bool = False) -> Columns:
        """Return the rows that became final; see `Rows.final`."""
        return self._aligner.final_rows(now, finish=finish)

    def end_early(self) -> None:
        """End the flight at the axis's newest update."""
        self._aligner.end_early()

    async def end_flight(self) -> None:
        """Do nothing: updates arrive by themselves."""

    def finished(self, now: float) -> bool:
        """Tell whether the axis has left the leg, and every row of it is final."""
        return self._aligner.finished(now)

    @property
    def arrived(self) -> bool:
        """Whether the axis was seen at the end of the leg."""
        return self._aligner.arrived

    @property
    def reached(self) -> float | None:
        """Where the last row of the flight ended; None before the first one."""
        return self._aligner.reached

    def check(self) -> None:
        """Do nothing: what stops the axis, or a clock, is seen elsewhere."""

    def to_verdict(self) -> Mapping[str, Any]:
        """Return nothing: nothing was triggered."""
        return {}

    async def disarm(self) -> None:
        """Do nothing: nothing was armed."""

    async def restore(self) -> None:
        """Do nothing: nothing was changed."""


__all__ = ["SampledRows"]
