"""Arms a source of triggers and the detectors that follow, and matches what both have made."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from event_model import DataKey
from numpy.typing import NDArray

from glidepath.detectors import (
    FrameFile,
    Frames,
    FrameSource,
    MakesRemarks,
    MakesSeveralFrames,
    TriggerMode,
)
from glidepath.flyers.triggers.internal_clock import InternalClock
from glidepath.flyers.triggers.request import Triggers
from glidepath.flyers.triggers.trigger_source import TriggerPlan, TriggerSource
from glidepath.storage import AlignedImages, image_shape
from glidepath.timeline import (
    FollowingDetector,
    MatchedRows,
    Quality,
    TriggerAccounting,
)

from .frame_planning import FramePlanning, ends_with_next
from .leg_plan import LegPlan
from .row_block import RowBlock
from .run_accounts import RunAccounts

Floats = NDArray[np.float64]

CLOCK_TOLERANCE = 0.02
"""Seconds by which the clocks of a detector's server and of the triggers' may be apart."""

RESTART = 0.002
"""Seconds by which a detector's clock may differ from leg to leg: some begin anew with each."""

SAME = 0.001
"""Share by which an exposure and the pulse of the source may differ and be taken for one."""

FRAME_PATIENCE = 3.0
"""Seconds to wait at the end of a flight for frames that are still on their way."""


@dataclass
class _Detector:
    """What came of one detector in one leg."""

    device: FrameSource
    per_row: int = 1
    """Frames that make a row."""
    blocks: list[Frames] = field(default_factory=list)
    base: int = 0
    """Frames of the legs before."""
    file: FrameFile | None = None

    @property
    def count(self) -> int:
        return sum(len(block.numbers) for block in self.blocks)

    def values(self, frames: NDArray[np.int64]) -> dict[str, Floats]:
        """Return the columns for rows whose frames have these indices, shape (m, n), in the leg."""
        values = {}
        for column in self.device.columns():
            known = [block.values[column] for block in self.blocks]
            # Index -1, no frame, is the NaN at the end.
            values[column] = np.concatenate([*known, [np.nan]])[frames]
        return values


class Triggering:
    """Arms detectors and trigger source for each leg, and makes one row of each trigger.

    Parameters
    ----------
    source
        The source that makes the triggers.
    detectors
        Follow them.
    request
        How often, and for how long the detectors are to expose.
    """

    def __init__(
        self,
        source: TriggerSource,
        detectors: Sequence[FrameSource],
        request: Triggers,
    ) -> None:
        self.planning = FramePlanning(source, detectors, request)
        self._frames = self.planning.frames_per_row
        self.source = source
        self.detectors = list(detectors)
        self.mode = self.planning.mode
        self._leg_plan: LegPlan | None = None
        self.accounts = RunAccounts(self._frames)
        self._parts: dict[str, _Detector] = {}
        self._armed = self._following = False
        self._polling = asyncio.Lock()
        # What is being armed cannot be disarmed, nor put back, before it is over.
        self._arming = asyncio.Lock()
        self._zero = self._uncertainty = 0.0
        self._triggers: list[tuple[NDArray, ...]] = []
        self._double_numbers = 0
        self.images: dict[str, AlignedImages] = {}
        self.complaints: list[str] = []

    @property
    def columns(self) -> dict[str, tuple[str, str]]:
        """What the detectors add to a row: column -> (unit, dtype)."""
        columns: dict[str, tuple[str, str]] = {}
        for detector in self.detectors:
            columns |= {name: (unit, "<f8") for name, unit in detector.columns().items()}
            columns[f"{detector.name}_frame"] = ("", "<i8")
            if self._frames[detector.name] > 1:
                columns[f"{detector.name}_count"] = ("", "<i8")
        return columns

    def image_keys(self) -> dict[str, tuple[str, DataKey]]:
        """Return detector -> name and description of its images; known when it is armed."""
        keys: dict[str, tuple[str, DataKey]] = {}
        for name, part in self._parts.items():
            if part.file is not None:
                # What a row shows, not one of several frames of a file.
                key: DataKey = {**part.file.data_key, "shape": list(self.images[name].row_shape)}
                keys[name] = (f"{name}_image", {**key, "external": "STREAM:"})
        return keys

    # ---- one leg --------------------------------------------------------------------------

    @property
    def _plan(self) -> TriggerPlan:
        assert self._leg_plan is not None
        assert self._leg_plan.triggers is not None
        return self._leg_plan.triggers

    async def arm_detectors(self, plan: LegPlan, folder: Path) -> None:
        """Let the detectors get ready; the axis may be on its way to the run-up meanwhile.

        Raises
        ------
        PreflightError
            If a detector cannot do any more what was planned.
        """
        async with self._arming:
            await self._arm_detectors(plan, folder)

    async def _arm_detectors(self, plan: LegPlan, folder: Path) -> None:
        # The pre-flight of a later pass may be an hour old.
        await self.planning.check(plan.frames)
        self._leg_plan = plan
        # By a detector's own clock there are as many as there come.
        planned = None if self.mode is TriggerMode.INTERNAL else len(self._plan.positions)
        self.accounts.begin_leg(planned, self._zero, self._uncertainty)
        bases = {name: part.base + part.count for name, part in self._parts.items()}
        self._parts = {
            d.name: _Detector(d, self._frames[d.name], base=bases.get(d.name, 0))
            for d in self.detectors
        }
        self._armed = True
        self.source.use_folder(folder)
        await _all(d.arm(replace(plan.frames[d.name], folder=folder)) for d in self.detectors)
        for name, part in self._parts.items():
            part.file = file = part.device.file()
            if file is not None and name not in self.images:
                self.images[name] = AlignedImages(
                    folder / f"{name}_by_row.h5",
                    image_shape(file.data_key["shape"]),
                    np.dtype(file.data_key.get("dtype_numpy", "<u2")),
                    part.per_row,
                )

    async def arm_source(self) -> None:
        """Arm the source: the axis stands at its run-up, the detectors are ready."""
        assert self._leg_plan is not None
        async with self._arming:
            await self.source.arm(self._plan)
        self._zero, self._uncertainty = await self.source.clock()
        # The leader's frames are the triggers: there is one clock.
        apart = 0.0 if self.mode is TriggerMode.INTERNAL else CLOCK_TOLERANCE
        tolerance = self._uncertainty + apart
        self.accounts.present = TriggerAccounting(
            [await self._follower(detector, tolerance) for detector in self.detectors]
        )
        self._triggers = [(np.empty(0, np.int64), *(np.empty(0) for _ in range(5)))]
        self._following = True

    async def _follower(self, detector: FrameSource, tolerance: float) -> FollowingDetector:
        assert self._leg_plan is not None
        n, spacing = self._frames[detector.name], None
        if n > 1:
            told = self._leg_plan.frames[detector.name]
            spacing = told.exposure + await detector.dead_time()
        low, high = self._zero - tolerance, self._zero + tolerance
        if detector.name in self.accounts.clocks:
            clock, zero, uncertainty = self.accounts.clocks[detector.name]
            # As it was in the leg before, as well as it is known when the source's clocks began.
            margin = uncertainty + self._uncertainty + RESTART
            least, most = (self._zero - zero + end for end in clock.bounds(self._zero))
            if max(low, least - margin) <= min(high, most + margin):
                low, high = max(low, least - margin), min(high, most + margin)
        return FollowingDetector(
            detector.name, low, high, n, spacing, ends_with_next=ends_with_next(detector)
        )

    async def poll(self) -> None:
        """Take what source and detectors have made since the last time."""
        async with self._polling:
            if self._following:
                await self._take()

    async def _take(self) -> None:
        await self._take_frames()
        await self._take_triggers()

    async def _take_frames(self) -> None:
        """Take what the detectors have made; a failure of one keeps nothing of the others back."""
        parts = list(self._parts.values())
        found = await asyncio.gather(
            *(part.device.frames() for part in parts), return_exceptions=True
        )
        for part, block in zip(parts, found, strict=True):
            if not isinstance(block, BaseException) and len(block.numbers):
                part.blocks.append(block)
                self.accounts.present.add_frames(
                    part.device.name, block.numbers, block.begins, block.ends
                )
                if isinstance(self.source, InternalClock):
                    self.source.observe(block)
        _raise_first(found)

    async def _take_triggers(self) -> None:
        triggers = await self.source.captured()
        numbers, times, positions = triggers.numbers, triggers.times, triggers.positions
        # One too many has the number of the one before it: a row of its own it has not.
        last = self._triggers[-1][0][-1:] if len(self._triggers[-1][0]) else np.array([-1])
        fresh = np.diff(np.concatenate([last, numbers])) > 0
        self._double_numbers += int(np.sum(~fresh))
        now = time.monotonic()
        if fresh.any():
            unknown = np.full(len(times), np.nan)
            measured = (triggers.ends, triggers.end_positions, triggers.means)
            others = (unknown if column is None else column for column in measured)
            columns = numbers, times, positions, *others
            self._triggers.append(tuple(column[fresh] for column in columns))
            kept = numbers[fresh], times[fresh], positions[fresh]
            rows = len(self._plan.positions)
            if self._plan.end_trigger and kept[0][-1] >= rows:
                # It ends the last row and begins none.
                self.accounts.present.close(float(kept[1][-1]))
                kept = numbers[fresh][:-1], times[fresh][:-1], positions[fresh][:-1]
            self.accounts.present.add_triggers(*kept, now)

    def rows(self, *, finish: bool = False) -> RowBlock | None:
        """Return the rows that became final since the last time; None if there are none."""
        matched = self.accounts.present.final_rows(time.monotonic(), finish=finish)
        if not len(matched):
            return None
        begins = self._zero + matched.times
        columns: dict[str, NDArray] = {}
        quality = self._with_gaps(matched)
        images = {}
        for name, part in self._parts.items():
            frames = matched.frames[name]
            there = frames >= 0
            of_frames = part.values(frames)
            of_rows: Mapping[str, Floats] = {c: values[:, 0] for c, values in of_frames.items()}
            if isinstance(part.device, MakesSeveralFrames) and part.per_row > 1:
                of_rows = part.device.of_rows(of_frames)
                columns[f"{name}_count"] = np.sum(there, axis=1)
            for column, values in of_frames.items():
                # A frame came, but not all that belongs to it.
                unknown = np.any(there & np.isnan(values), axis=1)
                nothing = np.isnan(of_rows[column])
                quality[unknown & nothing] |= np.uint16(Quality.NO_DATA)
                quality[unknown & ~nothing] |= np.uint16(Quality.LOST_UPDATES)
            columns |= of_rows
            first = np.take_along_axis(frames, np.argmax(there, axis=1)[:, np.newaxis], 1)[:, 0]
            columns[f"{name}_frame"] = np.where(first >= 0, first + part.base, -1)
            if (file := part.file) is not None:
                images[name] = (file, frames if part.per_row > 1 else frames[:, 0])
        lengths, means = self._lengths(matched)
        following = self._next_steps(matched.numbers)
        return RowBlock(begins, begins + lengths, means, following, columns, quality, images)

    def _next_steps(self, numbers: NDArray[np.int64]) -> Floats:
        step_edges = self._plan.step_edges
        if step_edges is None:
            return np.full(len(numbers), np.nan)
        return step_edges[np.minimum(numbers + 1, len(step_edges) - 1)]

    def _lengths(self, matched: MatchedRows) -> tuple[Floats, Floats]:
        """Return how long the exposures of rows were, s: as long as all of its frames lasted.

        A counter's bin lasts until the next trigger, longer than what is exposed beside it. Only
        where no frame tells anything, it is what the source has measured, or what was asked for.

        And the mean positions that the source has measured over just that time, or NaN.
        """
        numbers, times, _, ends, _, means = self._whole()
        of_row = np.searchsorted(numbers, matched.numbers)
        pulses = (ends - times)[of_row]
        measured = np.full(len(matched), np.nan)
        for durations in matched.durations.values():
            measured = np.fmin(measured, durations)
        pulses = np.where(np.isfinite(pulses), pulses, self._plan.exposure)
        lengths = np.where(measured > 0, measured, pulses)
        same = np.abs(lengths - pulses) <= SAME * pulses
        return lengths, np.where(same, means[of_row], np.nan)

    def _whole(self) -> list[NDArray]:
        """Return numbers, begins, positions, ends, positions then and means of the leg's triggers.

        Numbers rise, and times are on the clock of the source.
        """
        return [np.concatenate(column) for column in zip(*self._triggers, strict=True)]

    def _with_gaps(self, matched: MatchedRows) -> NDArray[np.uint16]:
        """Mark rows before which the source did not make a trigger."""
        quality = matched.quality.copy()
        if self.mode is not TriggerMode.INTERNAL and len(matched):
            whole = self._whole()[0]
            first = int(np.searchsorted(whole, matched.numbers[0]))
            before = whole[first - 1] if first else matched.numbers[0] - 1
            gap = np.diff(np.concatenate([[before], matched.numbers])) > 1
            quality[gap] |= np.uint16(Quality.LOST_TRIGGER)
        return quality

    @property
    def needed_from(self) -> float:
        """When the first trigger was made whose row is not final (POSIX s)."""
        return self._zero + self.accounts.present.next_time

    @property
    def latches(self) -> tuple[Floats, Floats]:
        """Times (POSIX s) and positions that were latched in this leg."""
        _, times, positions, ends, end_positions, _ = self._whole()
        latched = np.isfinite(end_positions)
        times = np.concatenate([times, ends[latched]])
        positions = np.concatenate([positions, end_positions[latched]])
        order = np.argsort(times, kind="stable")
        return self._zero + times[order], positions[order]

    async def end_flight(self, *, patience: float = FRAME_PATIENCE) -> None:
        """Make no more triggers, and take what is still on its way.

        Raises
        ------
        Exception
            What the source or a detector failed of; `rows` has what could be taken all the same.
        """
        await self._armed_or_not()
        if not self._armed:
            return
        trouble: list[Exception] = []
        try:
            await self._take_rest(patience)
        except Exception as error:
            trouble.append(error)
        # Not while somebody looks at one: it would seem to have stopped by itself.
        async with self._polling:
            try:
                await _all(part.device.disarm() for part in self._parts.values())
            except Exception as error:
                trouble.append(error)
            if self._following:
                try:
                    # A camera's file can be read without its server.
                    await self._take_frames()
                    if not trouble:
                        await self._take_triggers()
                except Exception as error:
                    trouble.append(error)
        self._armed = self._following = False
        # Each once, not once for each leg.
        self.complaints += [r for r in _remarks_of(self.detectors) if r not in self.complaints]
        if trouble:
            raise trouble[0]
        for name, part in self._parts.items():
            dropped = await part.device.dropped()
            if dropped:
                self.complaints.append(f"{name} says that it dropped {dropped} frames")

    async def _take_rest(self, patience: float) -> None:
        await self.source.disarm()
        deadline = time.monotonic() + patience
        await self.poll()
        while time.monotonic() < deadline and not self._complete():
            await asyncio.sleep(0.02)
            await self.poll()
        complaint = await self.source.complaint()
        if complaint:
            self.complaints.append(complaint)

    @property
    def all_made(self) -> bool:
        """Whether as many triggers came as were planned for the leg."""
        return self._leg_plan is not None and self.accounts.present.triggers >= len(
            self._plan.positions
        )

    def _complete(self) -> bool:
        if self.mode is TriggerMode.INTERNAL:
            return True
        number = self.accounts.present.triggers
        return all(part.count >= number * part.per_row for part in self._parts.values())

    async def disarm(self) -> None:
        """Make no more triggers, with nobody listening any more. May come at any time."""
        await self._armed_or_not()
        try:
            await self.source.disarm()
        finally:
            await _all(detector.disarm() for detector in self.detectors)
        self._armed = self._following = False

    async def restore(self) -> None:
        """Put back all settings. May come at any time."""
        await self._armed_or_not()
        await _all([self.source.restore(), *(d.restore() for d in self.detectors)])

    async def _armed_or_not(self) -> None:
        """Wait until nothing is being armed: a scan may be stopped meanwhile."""
        async with self._arming:
            pass

    def sentences(self) -> list[str]:
        """Return what is to be said of detectors that did not follow perfectly."""
        imperfect = self.accounts.sentences()
        if self._double_numbers:
            imperfect.append(f"{self._double_numbers} triggers too many")
        return imperfect + self.complaints


def _remarks_of(detectors: Sequence[FrameSource]) -> list[str]:
    return [r for d in detectors if isinstance(d, MakesRemarks) for r in d.remarks()]


async def _all(awaitables: Any) -> list[Any]:
    """Await all, to the end of each; then raise the first failure."""
    results = await asyncio.gather(*awaitables, return_exceptions=True)
    _raise_first(results)
    return list(results)


def _raise_first(results: Sequence[Any]) -> None:
    for result in results:
        if isinstance(result, BaseException):
            raise result


__all__ = ["Triggering"]
