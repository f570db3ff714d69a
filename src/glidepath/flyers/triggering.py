"""The triggered rows of a scan: a source of triggers, detectors that follow, accounts of both."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from event_model import DataKey
from numpy.typing import NDArray

from glidepath.detectors import (
    FrameFile,
    Frames,
    FrameSettings,
    TriggeredDetector,
    TriggerMode,
)
from glidepath.storage import AlignedImages, image_shape
from glidepath.timeline import (
    DetectorAccount,
    Follower,
    MatchedRows,
    Quality,
    TriggerAccounting,
)
from glidepath.trajectory import Leg, PreflightError

from .flight import FlightError
from .internal_clock import InternalClock
from .trigger_source import TriggerPlan, TriggerSource

Floats = NDArray[np.float64]

CLOCK_TOLERANCE = 0.01
"""Seconds by which the clocks of a detector's server and of the triggers' may be apart."""

REST_PATIENCE = 3.0
"""Seconds to wait at the end of a flight for frames that are still on their way."""

TOLERATED = 0.05
"""Share of the triggers that may go wrong at a detector before the scan ends as failed."""

ENOUGH = 20
"""Triggers before which a scan is not ended for that."""

SHORTER = 0.998
"""By how much an exposure is shortened until a source can make it."""

PROBE = 1e-6
"""Shortest exposure in s that is asked for to learn how far triggers are apart."""

UNEVEN = 0.04
"""Units of the axis per second by which its velocity may vary: a servo's ripple of 2 meV at some
hertz. Slower flights are that much more uneven, and their exposures that much shorter."""

LEAST_UNEVEN, MOST_UNEVEN = 0.005, 0.2
"""Smallest and largest share of a step's time that is left for that."""


@dataclass(frozen=True)
class TriggeredRows:
    """Rows of the primary table as far as triggers and detectors make them; arrays of m rows.

    Attributes
    ----------
    begins, ends
        Of the exposures, POSIX s on the clock of the trigger source.
    columns
        Columns of the detectors, and ``<detector>_frame``: index of the row's frame among all
        of this detector in the run, -1 if there is none.
    quality
        Bits, uint16.
    images
        Detector -> the file with its images, and the index of each row's frame in it, or -1.
    """

    begins: Floats
    ends: Floats
    columns: Mapping[str, NDArray]
    quality: NDArray[np.uint16]
    images: Mapping[str, tuple[FrameFile, NDArray[np.int64]]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.begins)

    def first(self, count: int) -> "TriggeredRows":
        """Return the first rows."""
        return self.only(slice(None, count))

    def after(self, count: int) -> "TriggeredRows":
        """Return all but the first rows."""
        return self.only(slice(count, None))

    def only(self, rows: slice | NDArray[np.bool_]) -> "TriggeredRows":
        """Return some of the rows."""
        columns = {name: column[rows] for name, column in self.columns.items()}
        images = {name: (file, frames[rows]) for name, (file, frames) in self.images.items()}
        begins, ends, quality = self.begins[rows], self.ends[rows], self.quality[rows]
        return TriggeredRows(begins, ends, columns, quality, images)


@dataclass
class _Detector:
    """What came of one detector in one leg."""

    device: TriggeredDetector
    blocks: list[Frames] = field(default_factory=list)
    base: int = 0
    """Frames of the legs before."""
    file: FrameFile | None = None

    @property
    def count(self) -> int:
        return sum(len(block.numbers) for block in self.blocks)

    def values(self, column: str, frames: NDArray[np.int64]) -> Floats:
        """Return a column for rows whose frames have these indices in the leg."""
        known = [block.values[column] for block in self.blocks]
        whole = np.concatenate([*known, [np.nan]])
        # Index -1, no frame, is the NaN at the end.
        return whole[frames]


class Triggering:
    """Arms detectors and trigger source for each leg, and makes one row of each trigger.

    Parameters
    ----------
    source
        Makes the triggers.
    detectors
        Follow them.
    step, period
        One of them: a trigger each so many units of the axis, or each so many seconds.
    exposure
        Length of an exposure in s; None: as long as all detectors allow, by steps less what the
        axis's ripple may take of their time (`UNEVEN`).
    """

    def __init__(
        self,
        source: TriggerSource,
        detectors: Sequence[TriggeredDetector],
        *,
        step: float | None,
        period: float | None,
        exposure: float | None = None,
    ) -> None:
        if (step is None) == (period is None):
            raise PreflightError(
                "A triggered scan needs either a step (units of the axis) or a period (s)."
            )
        internal = isinstance(source, InternalClock)
        if internal and [d.name for d in detectors] != [source.name]:
            raise PreflightError(
                f"{source.name} goes by its own clock and triggers nobody: it must be the one "
                "triggered detector of the scan."
            )
        self.source = source
        self.detectors = list(detectors)
        self.mode = TriggerMode.INTERNAL if internal else TriggerMode.EDGE
        self._step, self._period, self._exposure = step, period, exposure
        self._plan: TriggerPlan | None = None
        self._accounting = TriggerAccounting([])
        self._parts: dict[str, _Detector] = {}
        self._armed = self._following = False
        self._polling = asyncio.Lock()
        self._zero = 0.0
        self._triggers: list[tuple[NDArray, NDArray, NDArray]] = []
        self._double_numbers = 0
        self._past: dict[str, DetectorAccount] = {}
        self.images: dict[str, AlignedImages] = {}
        self.complaints: list[str] = []

    @property
    def columns(self) -> dict[str, tuple[str, str]]:
        """What the detectors add to a row: column -> (unit, dtype)."""
        columns: dict[str, tuple[str, str]] = {}
        for detector in self.detectors:
            columns |= {name: (unit, "<f8") for name, unit in detector.columns().items()}
            columns[f"{detector.name}_frame"] = ("", "<i8")
        return columns

    def image_keys(self) -> dict[str, tuple[str, DataKey]]:
        """Return detector -> name and description of its images; known when it is armed."""
        keys: dict[str, tuple[str, DataKey]] = {}
        for name, part in self._parts.items():
            if part.file is not None:
                # One image a row, not one of several frames.
                key: DataKey = {**part.file.data_key, "shape": list(self.images[name].shape)}
                keys[name] = (f"{name}_image", {**key, "external": "STREAM:"})
        return keys

    # ---- planning -------------------------------------------------------------------------

    async def parts(self, leg: Leg) -> list[Leg]:
        """Return what the source can do in one go each."""
        exposure = await self._choose_exposure(leg)
        return await self.source.parts(leg, step=self._step, period=self._period, exposure=exposure)

    async def plan(self, leg: Leg) -> TriggerPlan:
        """Return what will be done in one part of a leg. Nothing is changed.

        Raises
        ------
        PreflightError
            If the source or a detector cannot; in one sentence.
        """
        exposure = await self._choose_exposure(leg)
        plan = await self.source.plan(leg, step=self._step, period=self._period, exposure=exposure)
        for detector in self.detectors:
            try:
                await detector.check_frames(self._settings(plan, Path()))
            except ValueError as error:
                raise PreflightError(str(error)) from error
        return plan

    async def dead_times(self) -> dict[str, float]:
        """Return each detector's dead time (s).

        Raises
        ------
        PreflightError
            If one is not known.
        """
        try:
            return {d.name: await d.dead_time() for d in self.detectors}
        except ValueError as error:
            raise PreflightError(str(error)) from error

    async def _choose_exposure(self, leg: Leg) -> float:
        if self._exposure is not None:
            return self._exposure
        if self._period is not None:
            shortest = self._period
        else:
            assert self._step is not None
            # Of an exposure that always fits only the triggers' distance is wanted.
            probe = await self.source.plan(
                leg,
                step=self._step,
                period=None,
                exposure=max(1e-3 * self._step / leg.velocity, PROBE),
            )
            shortest = probe.shortest_period
        dead = max((await self.dead_times()).values(), default=0.0)
        uneven = 0.0
        if self._period is None:
            uneven = min(max(UNEVEN / leg.slowest, LEAST_UNEVEN), MOST_UNEVEN)
        longest = shortest * (1 - uneven) - dead
        if not longest > 0:
            raise PreflightError(
                f"A trigger would come each {1e3 * shortest:.4g} ms, but the detectors need "
                f"{1e3 * dead:.4g} ms between two exposures; fly slower or choose larger steps."
            )
        exposure = longest
        while True:
            plan = await self.source.plan(
                leg, step=self._step, period=self._period, exposure=exposure
            )
            if plan.exposure <= longest:
                return plan.exposure
            # A source makes pulses of whole ticks of its clock: the next shorter one.
            exposure *= SHORTER

    def _settings(self, plan: TriggerPlan, folder: Path) -> FrameSettings:
        # One that triggers itself runs through run-up and run-down too.
        number = 0 if self.mode is TriggerMode.INTERNAL else len(plan.positions)
        return FrameSettings(number, plan.exposure, plan.shortest_period, self.mode, folder)

    # ---- one leg --------------------------------------------------------------------------

    async def arm_detectors(self, leg: Leg, folder: Path) -> None:
        """Let the detectors get ready; the axis may be on its way to the run-up meanwhile."""
        self._plan = plan = await self.plan(leg)
        self._remember()
        bases = {name: part.base + part.count for name, part in self._parts.items()}
        self._parts = {d.name: _Detector(d, base=bases.get(d.name, 0)) for d in self.detectors}
        self._armed = True
        settings = self._settings(plan, folder)
        await _all(detector.arm(settings) for detector in self.detectors)
        for name, part in self._parts.items():
            part.file = file = part.device.file()
            if file is not None and name not in self.images:
                self.images[name] = AlignedImages(
                    folder / f"{name}_by_row.h5",
                    image_shape(file.data_key["shape"]),
                    np.dtype(file.data_key.get("dtype_numpy", "<u2")),
                )

    async def arm_source(self, leg: Leg) -> None:
        """Arm the source: the axis stands at its run-up, the detectors are ready."""
        assert self._plan is not None
        await self.source.arm(leg, self._plan)
        self._zero, uncertainty = await self.source.clock()
        tolerance = uncertainty + CLOCK_TOLERANCE
        self._accounting = TriggerAccounting(
            [
                Follower(d.name, self._zero - tolerance, self._zero + tolerance)
                for d in self.detectors
            ]
        )
        self._triggers = [(np.empty(0, np.int64), np.empty(0), np.empty(0))]
        self._following = True

    async def poll(self) -> None:
        """Take what source and detectors have made since the last time."""
        async with self._polling:
            if self._following:
                await self._take()

    async def _take(self) -> None:
        frames = await _all(part.device.frames() for part in self._parts.values())
        for part, block in zip(self._parts.values(), frames, strict=True):
            if len(block.numbers):
                part.blocks.append(block)
                if isinstance(self.source, InternalClock):
                    self.source.observe(block)
        triggers = await self.source.captured()
        numbers, times, positions = triggers.numbers, triggers.times, triggers.positions
        # One too many has the number of the one before it: a row of its own it has not.
        last = self._triggers[-1][0][-1:] if len(self._triggers[-1][0]) else np.array([-1])
        fresh = np.diff(np.concatenate([last, numbers])) > 0
        self._double_numbers += int(np.sum(~fresh))
        now = time.monotonic()
        if fresh.any():
            kept = numbers[fresh], times[fresh], positions[fresh]
            self._triggers.append(kept)
            self._accounting.add_triggers(*kept, now)
        for part, block in zip(self._parts.values(), frames, strict=True):
            if len(block.numbers):
                self._accounting.add_frames(
                    part.device.name, block.numbers, block.begins, block.ends
                )

    def rows(self, *, finish: bool = False) -> TriggeredRows | None:
        """Return the rows that became final since the last time; None if there are none."""
        matched = self._accounting.final_rows(time.monotonic(), finish=finish)
        if not len(matched):
            return None
        assert self._plan is not None
        begins = self._zero + matched.times
        columns: dict[str, NDArray] = {}
        quality = self._with_gaps(matched)
        images = {}
        for name, part in self._parts.items():
            frames = matched.frames[name][:, 0]
            for column in part.device.columns():
                columns[column] = part.values(column, frames)
                # The frame came, but not all that belongs to it.
                unknown = (frames >= 0) & np.isnan(columns[column])
                quality[unknown] |= np.uint16(Quality.NO_DATA)
            columns[f"{name}_frame"] = np.where(frames >= 0, frames + part.base, -1)
            if (file := part.file) is not None:
                images[name] = (file, frames)
        return TriggeredRows(begins, begins + self._plan.exposure, columns, quality, images)

    def _with_gaps(self, matched: MatchedRows) -> NDArray[np.uint16]:
        """Mark rows before which the source did not make a trigger."""
        quality = matched.quality.copy()
        if self.mode is not TriggerMode.INTERNAL and len(matched):
            whole = np.concatenate([part[0] for part in self._triggers])
            first = int(np.searchsorted(whole, matched.numbers[0]))
            before = whole[first - 1] if first else matched.numbers[0] - 1
            gap = np.diff(np.concatenate([[before], matched.numbers])) > 1
            quality[gap] |= np.uint16(Quality.LOST_TRIGGER)
        return quality

    @property
    def latches(self) -> tuple[Floats, Floats]:
        """Times (POSIX s) and positions that were latched in this leg."""
        _, times, positions = (
            np.concatenate(column) for column in zip(*self._triggers, strict=True)
        )
        return self._zero + times, positions

    async def land(self, *, patience: float = REST_PATIENCE) -> None:
        """Make no more triggers, and take what is still on its way."""
        if not self._armed:
            return
        await self.source.disarm()
        deadline = time.monotonic() + patience
        await self.poll()
        while time.monotonic() < deadline and not self._complete():
            await asyncio.sleep(0.02)
            await self.poll()
        complaint = await self.source.complaint()
        if complaint:
            self.complaints.append(complaint)
        # Not while somebody looks at one: it would seem to have stopped by itself.
        async with self._polling:
            await _all(part.device.disarm() for part in self._parts.values())
        await self.poll()
        for name, part in self._parts.items():
            dropped = await part.device.dropped()
            if dropped:
                self.complaints.append(f"{name} says that it dropped {dropped} frames")
        self._armed = self._following = False

    @property
    def all_made(self) -> bool:
        """Whether as many triggers came as were planned for the leg."""
        return self._plan is not None and self._accounting.triggers >= len(self._plan.positions)

    def _complete(self) -> bool:
        if self.mode is TriggerMode.INTERNAL:
            return True
        number = self._accounting.triggers
        return all(part.count >= number for part in self._parts.values())

    async def disarm(self) -> None:
        """Make no more triggers, with nobody listening any more. May come at any time."""
        try:
            await self.source.disarm()
        finally:
            await _all(detector.disarm() for detector in self.detectors)
        self._armed = self._following = False

    async def restore(self) -> None:
        """Put back all settings. May come at any time."""
        await _all([self.source.restore(), *(d.restore() for d in self.detectors)])

    # ---- accounts -------------------------------------------------------------------------

    def accounts(self) -> dict[str, DetectorAccount]:
        """Return what became of all triggers so far, by detector."""
        present = self._accounting.accounts()
        return {
            name: _sum(self._past[name], account) if name in self._past else account
            for name, account in present.items()
        } or dict(self._past)

    def _remember(self) -> None:
        self._past = self.accounts()
        self._accounting = TriggerAccounting([])

    def check(self) -> None:
        """Raise `FlightError` when more has gone wrong than can be tolerated."""
        for account in self.accounts().values():
            wrong = account.lost + account.dropped + account.extra + account.double
            wrong += account.late + account.ambiguous
            if account.triggers >= ENOUGH and (
                wrong > TOLERATED * account.triggers or account.wrong_rate
            ):
                raise FlightError(
                    f"{account.sentence()}; more than {100 * TOLERATED:g} % of the triggers "
                    "went wrong, so the scan was ended."
                )

    def to_verdict(self) -> dict[str, Any]:
        """Return the accounts for the verdict, as JSON knows them."""
        found: dict[str, Any] = {}
        for name, account in self.accounts().items():
            found[name] = {
                key: value
                for key, value in asdict(account).items()
                if key not in ("name", "lost_at", "clock")
            }
            found[name]["rate"] = account.rate if np.isfinite(account.rate) else None
            found[name]["missing_at"] = [x for x in account.lost_at if np.isfinite(x)]
        return found

    def sentences(self) -> list[str]:
        """Return what is to be said of detectors that did not follow perfectly."""
        imperfect = [a.sentence() for a in self.accounts().values() if not a.perfect]
        if self._double_numbers:
            imperfect.append(f"{self._double_numbers} triggers too many")
        return imperfect + self.complaints


def _sum(one: DetectorAccount, other: DetectorAccount) -> DetectorAccount:
    counts = ("triggers", "frames", "matched", "lost", "dropped", "late", "extra", "double")
    return replace(
        other,
        lost_at=one.lost_at + other.lost_at,
        **{name: getattr(one, name) + getattr(other, name) for name in (*counts, "ambiguous")},
    )


async def _all(awaitables: Any) -> list[Any]:
    """Await all, to the end of each; then raise the first failure."""
    results = await asyncio.gather(*awaitables, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return list(results)


__all__ = ["TriggeredRows", "Triggering"]
