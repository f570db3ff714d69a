"""One row for each trigger, joined with what was sampled beside."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from event_model import DataKey
from numpy.typing import NDArray

from glidepath.detectors import TriggerMode
from glidepath.devices.sampled import Sampled, channels_for, offers
from glidepath.storage import AlignedImages
from glidepath.timeline import Aligner, latched_windows
from glidepath.timeline.windows import value_at
from glidepath.trajectory import Leg

from .annotations import Setting, settings_of
from .leg_plan import LegPlan
from .rows import Columns
from .triggering import RowBlock, Triggering


class TriggeredRows:
    """Rows that follow triggers; see `Rows`.

    A row waits until all that is sampled beside has passed it.

    Parameters
    ----------
    triggering
        Makes what the triggers and the detectors tell of the rows.
    aligner
        The aligner, which has the updates of all that is sampled.
    channels
        Names of the sampled channels; the first one is the axis.
    """

    def __init__(self, triggering: Triggering, aligner: Aligner, channels: Sequence[str]) -> None:
        self._triggering = triggering
        self._aligner = aligner
        self._axis, *self._beside = channels
        self._leg: Leg | None = None
        self._waiting: list[RowBlock] = []
        self._armed_at, self._left_at = -np.inf, np.inf
        self.reached: float | None = None

    @property
    def columns(self) -> Mapping[str, tuple[str, str]]:
        """What the triggered detectors add to a row; see `Rows.columns`."""
        return self._triggering.columns

    @property
    def images(self) -> Mapping[str, AlignedImages]:
        """Detector -> its images, row by row."""
        return self._triggering.images

    async def settings(self) -> list[Setting]:
        """Return the settings on which the exposures of the detectors depend."""
        # The same numbers that make their channels when they are sampled. Of a device that has no
        # channels() nobody knows on what its exposures depend.
        sampled = [d for d in self._triggering.detectors if offers(d, Sampled)]
        channels = [
            replace(channel, channel=replace(channel.channel, name=detector.name))
            for detector in sampled
            for channel in await channels_for(detector)
        ]
        return settings_of(channels, valid_from=np.inf)

    def image_keys(self) -> Mapping[str, tuple[str, DataKey]]:
        """Return detector -> name and description of its images."""
        return self._triggering.image_keys()

    async def prepare(self, plan: LegPlan, folder: Path) -> None:
        """Let the detectors get ready; see `Rows.prepare`."""
        self._leg = plan.leg
        await self._triggering.arm_detectors(plan, folder)

    async def arm(self) -> None:
        """Arm the source of triggers; see `Rows.arm`."""
        self.reached = None
        # On the clock of the axis: it stands, so its newest update is older than the flight.
        _, times, _ = self._aligner.readback
        self._armed_at = float(times[-1]) if len(times) else -np.inf
        self._left_at = np.inf
        await self._triggering.arm_source()

    async def poll(self) -> None:
        """Ask source and detectors for what they have made."""
        await self._triggering.poll()
        self._accept(finish=False)

    def _accept(self, *, finish: bool) -> None:
        block = self._triggering.rows(finish=finish)
        if block is not None:
            self._waiting.append(block)

    def final(self, now: float, *, finish: bool = False) -> Columns:
        """Return the rows that all sampled channels have passed; see `Rows.final`."""
        until = np.inf if finish else self._aligner.watermark(now)
        parts = [self._joined(block, now, finish) for block in self._passed(until)]
        self._forget(now)
        if not parts:
            return {}
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _passed(self, until: float) -> list[RowBlock]:
        """Take the rows that end before a time (POSIX s) off those that wait."""
        passed = []
        while self._waiting:
            block = self._waiting.pop(0)
            # A bin that missed its end is longer than those that follow it.
            ends = np.maximum.accumulate(block.ends)
            count = int(np.searchsorted(ends, until, "right"))
            if count:
                passed.append(block.first(count))
            if count < len(block):
                self._waiting.insert(0, block.after(count))
                break
        return passed

    def _forget(self, now: float) -> None:
        needed = self._waiting[0].begins[0] if self._waiting else np.inf
        self._aligner.forget(now, min(needed, self._triggering.needed_from))

    def _joined(self, block: RowBlock, now: float, finish: bool) -> Columns:
        block, own = self._placed(block)
        if not len(block):
            return self._with_numbers({**self._nothing_beside(), **block.columns, **own})
        columns = self._aligner.rows_of(block.begins, block.ends, now, finish=finish)
        own["quality"] |= columns["quality"] | block.quality
        for name, (file, frames) in block.images.items():
            self.images[name].add(file.path, file.dataset, frames)
        self._note_reached(block, own)
        return self._with_numbers({**columns, **block.columns, **own})

    def _placed(self, block: RowBlock) -> tuple[RowBlock, Columns]:
        """Return rows, and where the axis was during them."""
        axis = self._axis
        latches = self._triggering.latches
        own = latched_windows(
            axis, block.begins, block.ends, *latches, readback=self._aligner.readback
        )
        measured = np.isfinite(block.means)
        own[axis][measured] = block.means[measured]
        if self._triggering.mode is TriggerMode.INTERNAL:
            inside = self._of_flight(block, own)
            block = block.only(inside)
            own = {name: column[inside] for name, column in own.items()}
        return block, own

    def _of_flight(self, block: RowBlock, own: Columns) -> NDArray[np.bool_]:
        """Tell which exposures of a detector by its own clock belong to the flight; shape (m,).

        It exposes on the way to the run-up, on the run-up and on the way back, too. An exposure
        belongs to the flight if it began after the arming, before the axis had left the leg, and
        if the axis went on in the direction of travel meanwhile.
        """
        assert self._leg is not None
        axis, leg = self._axis, self._leg
        low, high = min(leg.start, leg.stop), max(leg.start, leg.stop)
        at_begin, at_end = (
            value_at(*self._aligner.readback, times) for times in (block.begins, block.ends)
        )
        with np.errstate(invalid="ignore"):
            armed = block.begins > self._armed_at
            forward = leg.direction * (at_end - at_begin) > 0
            inside = (own[f"{axis}_lower"] >= low) & (own[f"{axis}_upper"] <= high)
            left = armed & forward & (leg.direction * (at_end - leg.stop) > 0)
        self._left_at = min([self._left_at, *block.begins[left]])
        return armed & forward & inside & (block.begins < self._left_at)

    def _nothing_beside(self) -> Columns:
        return {
            name: np.empty(0, np.int64 if name.endswith("_count") else np.float64)
            for channel in self._beside
            for name in (channel, f"{channel}_count")
        }

    def _note_reached(self, block: RowBlock, own: Columns) -> None:
        """Note where the rest begins: with a step of its own, on the grid of those before."""
        assert self._leg is not None
        ends = own[f"{self._axis}_upper" if self._leg.direction > 0 else f"{self._axis}_lower"]
        known = np.flatnonzero(np.isfinite(ends))
        if len(known):
            following = block.following[known[-1]]
            self.reached = float(ends[known[-1]] if np.isnan(following) else following)

    def _with_numbers(self, rows: Columns) -> Columns:
        """Return rows with the region and the pass that they belong to."""
        assert self._leg is not None
        leg = self._leg
        stops = [leg.direction * region.stop for region in leg.regions[:-1]]
        region = np.searchsorted(stops, leg.direction * rows[self._axis])
        rows["region_number"] = np.array(leg.numbers, np.uint16)[region]
        rows["pass_number"] = np.full(len(region), leg.pass_number, np.uint16)
        return rows

    def end_early(self) -> None:
        """Do nothing: triggers that are made while the axis slows down are as good as any."""

    async def end_flight(self) -> None:
        """Make no more triggers, and wait for the frames that are still on their way."""
        try:
            await self._triggering.end_flight()
        finally:
            # What has come makes rows, even if a device failed.
            self._accept(finish=True)

    def finished(self, now: float) -> bool:
        """Tell whether no row waits any more for what is sampled beside."""
        return not self._waiting

    @property
    def arrived(self) -> bool:
        """Whether all triggers were made, or the axis was seen behind the end of the leg."""
        if self._leg is None:
            return False
        beyond = self._leg.direction * (self._aligner.position - self._leg.stop)
        return self._triggering.all_made or beyond > 0

    def check(self) -> None:
        """Raise `FlightError` when more triggers went wrong than can be tolerated."""
        self._triggering.accounts.check()

    @property
    def remarks(self) -> Sequence[str]:
        """Sentences about detectors that did not follow perfectly."""
        return self._triggering.sentences()

    @property
    def with_frames(self) -> Mapping[str, int]:
        """Detector -> rows so far of which it has all frames, as far as they were counted."""
        return self._triggering.accounts.with_frames

    def to_verdict(self) -> Mapping[str, Any]:
        """Return what became of the triggers, by detector."""
        return self._triggering.accounts.to_verdict()

    async def disarm(self) -> None:
        """Make no more triggers, with nobody listening any more."""
        await self._triggering.disarm()

    async def restore(self) -> None:
        """Put back the settings of source and detectors."""
        await self._triggering.restore()


__all__ = ["TriggeredRows"]
