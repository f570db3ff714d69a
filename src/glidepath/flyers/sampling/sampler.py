"""Samples every channel of a scan at the control system's own time, into one growing file."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ophyd_async.core import AsyncStatus

from glidepath.devices.sampled import (
    BeginsSampling,
    Sampled,
    SampledChannel,
    WithDerived,
    WithExposure,
    WithMarks,
    channels_for,
    offers,
)
from glidepath.flyers.monitors.ingestion import Monitors, choose_monitors
from glidepath.flyers.monitors.updates import shown
from glidepath.flyers.motion.back_end import FlightError
from glidepath.flyers.motion.flown_velocity import FlownVelocity
from glidepath.storage import Column, GrowingFile, Pace, compile_validators
from glidepath.storage.aligned_images import DATASET
from glidepath.storage.pace import ALONE
from glidepath.timeline import Aligner, Channel, ChannelKind, Coverage, Quality
from glidepath.trajectory import PreflightError

from .annotations import Annotations, Setting, settings_of
from .intake import Intake
from .layout import append, primary_columns, streams_of, tables_of
from .leg_plan import LegPlan
from .row_velocity import add_rows, check_velocity
from .rows import Columns, Rows
from .sampled_rows import SampledRows
from .streams import TableStream
from .triggered_rows import TriggeredRows
from .triggering import Triggering
from .verdict import Verdict

DRAIN_PERIOD = 0.1
"""Seconds between two looks at what arrived; two for each flush at least."""

POLL_PERIOD = 0.25
"""Seconds between two looks at what triggered detectors and their source have made."""

PATIENCE = 3.0
"""Seconds to wait after the motion's end for updates that are still on their way."""

EARLY_END_PATIENCE = 0.5
"""Seconds to wait for them when the flight ended early."""

FIRST_PAUSE, LONGEST_PAUSE = 0.001, 0.02
"""Seconds between two looks for such updates, at first and later."""

CLOCK_BOUND = 1.0
"""Seconds by which the clock of a server may differ from this machine's."""

MakesRows = Callable[[Aligner, Sequence[str]], Rows]
"""Makes the rows of a run from its aligner and the names of its channels, the axis first."""


@dataclass(frozen=True)
class RunFile:
    """What a sampler is prepared with when a run begins.

    Parameters
    ----------
    path
        File to be made.
    entry
        Attributes of its entry.
    exposure
        Exposure in s of the sampled detectors that can be set; None: they are left as they are.
    """

    path: Path
    entry: Mapping[str, str]
    exposure: float | None = None


def rows_with(triggering: Triggering | None) -> MakesRows:
    """Return what makes the rows: one for each trigger, or of equal length if there is none."""
    if triggering is None:
        return lambda aligner, channels: SampledRows(aligner)
    return partial(TriggeredRows, triggering)


class Sampler:
    """Follows all channels of a scan by monitors and writes rows and raw updates to a file.

    It is prepared twice: with a `RunFile` when the run begins, and with a `LegPlan` for each
    flight. It is kicked off when the axis stands at its run-up, and complete when the last row
    of the flight is made; meanwhile its streams are collected after each flush. In the end it
    finishes and is closed. It belongs to one run.

    The class is long because Bluesky drives it by a protocol of many methods, and because whatever
    fails, each part has to be ended in its turn. Rows, annotations, layout and streams are apart.

    Parameters
    ----------
    detectors
        Devices to sample.
    axis
        The device that flies; its first channel is the axis.
    period
        Length of a row in s where a region has none of its own; None: the longest exposure of
        the detectors.
    make_rows
        Function that makes the rows; see `rows_with`.
    monitors
        Function that makes the monitors for a list of channels.
    pace
        How often the file is flushed; what was flushed is announced. None: as where nobody
        watches.
    clock_bound
        Largest distance in s between the clocks of the servers and this machine's.
    """

    name = "sampler"
    parent = None

    def __init__(
        self,
        detectors: Sequence[Sampled],
        axis: Sampled,
        period: float | None = None,
        *,
        make_rows: MakesRows | None = None,
        monitors: Callable[[Sequence[SampledChannel]], Monitors] = choose_monitors,
        pace: Pace | None = None,
        clock_bound: float = CLOCK_BOUND,
    ) -> None:
        self._devices: list[Any] = [axis, *(d for d in detectors if d is not axis)]
        self._period = period
        self._make_rows = make_rows or rows_with(None)
        self._make_monitors = monitors
        self._pace = pace
        self._clock_bound = clock_bound
        self._intake: Intake | None = None
        self._file: GrowingFile | None = None
        self._task: asyncio.Task[None] | None = None
        self._preparing: asyncio.Task[Any] | None = None
        self._stopping = asyncio.Event()
        self._flushed = asyncio.Event()
        self._visible: tuple[int, ...] = ()
        self._rows_pending: list[Columns] = []
        self._flags = np.zeros(16, np.int64)
        self._slowest_write = 0.0
        self._ended_early = self._opened = False
        self._velocity: FlownVelocity | None = None
        self._armed_settings: Sequence[Setting] = ()
        self._undo: list[Callable[[], Awaitable[None]]] = []
        self.streams: list[TableStream] = []

    # ---- the run --------------------------------------------------------------------------

    @AsyncStatus.wrap
    async def prepare(self, value: RunFile | LegPlan) -> None:
        """Subscribe to everything and make the file; or get ready for a flight.

        Parameters
        ----------
        value
            A `RunFile` once, when the run begins; then a `LegPlan` for each flight.

        Raises
        ------
        ConnectionError
            If a channel does not answer; nothing is left behind.
        PreflightError
            If a triggered detector cannot do any more what was planned.
        """
        self._preparing = asyncio.current_task()
        if isinstance(value, LegPlan):
            await self._prepare_leg(value)
        else:
            await self._open(value)

    async def _open(self, run: RunFile) -> None:
        if run.exposure is not None:
            await self._set_exposures(run.exposure)
        channels = self._channels = await self._begin_sampling()
        _refuse_twins([c.channel.name for c in channels])
        names = [c.channel.name for c in channels]
        marks = [mark for d in self._devices if offers(d, WithMarks) for mark in d.marks()]
        derived = [one for d in self._devices if offers(d, WithDerived) for one in d.derived()]
        self.coverage = Coverage(names[0])
        self._aligner = Aligner([c.channel for c in channels], names[0], self._period, marks=marks)
        self._rows = self._make_rows(self._aligner, names)
        # Those of triggered detectors are followed from arming to arming.
        self._armed_settings = await self._rows.settings()
        settings = settings_of(channels) + self._armed_settings
        self._annotations = Annotations(channels, settings, derived)
        states = [
            SampledChannel(Channel(setting.names[0], ChannelKind.STATE), setting.source)
            for setting in settings
        ]
        monitors = self._make_monitors([*channels, *states])
        columns = primary_columns(channels, self._rows.columns, derived)
        # Both take their time, and neither needs the other.
        creating = asyncio.create_task(asyncio.to_thread(self._create, run, columns))
        try:
            await monitors.open()
        except BaseException:
            await self._discard(creating)
            raise
        self._intake = Intake(monitors, len(channels), settings, self._aligner, self._annotations)
        self._file = await creating
        self._opened = True
        self._visible = tuple(self._file.rows)
        self._task = asyncio.create_task(self._run(), name="glidepath sampler")

    async def _set_exposures(self, seconds: float) -> None:
        for detector in self._devices:
            if offers(detector, WithExposure):
                before = await detector.integration_time.get_value()
                if before != seconds:
                    # Noted first, so that a change that fails half-way is undone too.
                    self._undo.append(partial(detector.set_integration_time, before))
                    await detector.set_integration_time(seconds)

    async def _begin_sampling(self) -> list[SampledChannel]:
        """Let run what sends no updates by itself; return the channels of all devices."""
        channels: list[SampledChannel] = []
        for device in self._devices:
            if offers(device, BeginsSampling):
                await device.begin_sampling()
            channels += [c for c in await channels_for(device) if c not in channels]
        return channels

    async def _discard(self, creating: asyncio.Task[GrowingFile]) -> None:
        """Remove the file of a scan that could not begin."""
        file = await creating
        self.streams = []
        file.close()
        file.path.unlink()

    def _create(self, run: RunFile, columns: Sequence[Column]) -> GrowingFile:
        # Next the run engine describes the streams, four data keys for each channel.
        compile_validators()
        run.path.parent.mkdir(parents=True, exist_ok=True)
        file = GrowingFile(run.path, tables_of(columns, self._channels), run.entry)
        self.streams = streams_of(run.path, columns, self._channels, self._rows_visible)
        return file

    def _rows_visible(self, table: int) -> int:
        return self._visible[table]

    @property
    def period(self) -> float:
        """Length of a row in seconds; known after `prepare`."""
        return self._aligner.period

    @property
    def position(self) -> float:
        """Newest position of the axis."""
        return self._aligner.position

    @property
    def rows(self) -> int:
        """Rows made so far."""
        return self._aligner.rows if self._opened else 0

    # ---- one flight -----------------------------------------------------------------------

    async def _prepare_leg(self, plan: LegPlan) -> None:
        """Let triggered detectors get ready for a leg; the axis may still be on its way.

        With the first leg it is known what their images are: they become a part of ``primary``.
        """
        if self._file is None:
            return
        self._velocity = FlownVelocity(plan.leg)
        first = not self._rows.images
        await self._rows.prepare(plan, self._file.path.parent)
        for setting in self._armed_settings:
            setting.follow(time.time())
        if first:
            for name, (key, data_key) in self._rows.image_keys().items():
                images = self._rows.images[name]
                self.streams[0].add_images(key, data_key, images.path, DATASET, images.shape)

    @AsyncStatus.wrap
    async def kickoff(self) -> None:
        """Begin to look for the axis entering the leg: it stands at its run-up now.

        Raises
        ------
        PreflightError
            If the clock of a server is off; see `check_clocks`.
        """
        self.check_clocks()
        self._ended_early = False
        await self._rows.arm()

    def end_early(self) -> None:
        """End the flight at the axis's newest update: it is about to be stopped early."""
        self._ended_early = True
        if self._intake is not None:
            self._intake.take()
            self._rows.end_early()

    @property
    def arrived(self) -> bool:
        """Whether the axis was seen at the end of the leg, or made all its triggers."""
        return self._rows.arrived

    @property
    def reached(self) -> float | None:
        """Where the rest of the flight begins, in the axis's unit; None if there is no row yet."""
        return self._rows.reached

    async def flushed(self, *others: Callable[[], Awaitable[Any]]) -> None:
        """Wait for the next flush, or for the first of some others.

        Raises
        ------
        Exception
            What stopped the sampler, if anything did.
        """
        task = self._task
        if task is None:
            return
        self._flushed.clear()
        first = {asyncio.ensure_future(other()) for other in (self._flushed.wait, *others)}
        try:
            await asyncio.wait({*first, task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiting in first:
                waiting.cancel()
        if task.done():
            task.result()

    @AsyncStatus.wrap
    async def complete(self) -> None:
        """Make the last rows of a flight: the motion has ended.

        Raises
        ------
        FlightError
            If rows could not be made, or the axis flew at another velocity than was planned.
        """
        await self.end_flight()
        for setting in self._armed_settings:
            setting.release()
        self.check()
        if self._velocity is not None and not self._ended_early:
            check_velocity(self._velocity, self._channels[0].channel.name)

    async def end_flight(self) -> None:
        """Make the last rows of a flight that ended, however it ended."""
        if self._file is None:
            return
        try:
            # A failure keeps nothing back: what has come makes rows all the same.
            await self._rows.end_flight()
        finally:
            deadline = time.monotonic() + (EARLY_END_PATIENCE if self._ended_early else PATIENCE)
            await self._wait_for_updates(deadline)
            self._take_rows(finish=True)

    async def _wait_for_updates(self, deadline: float) -> None:
        pause = FIRST_PAUSE
        while not self._all_final() and time.monotonic() < deadline:
            # Usually all is here after a millisecond; what takes longer is not asked for so often.
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _all_final(self) -> bool:
        self._take_in()
        # Only where rows are made, the aligner sees that the axis has left its range.
        self._take_rows()
        return self._rows.finished(time.monotonic())

    def check(self) -> None:
        """Raise `FlightError` when the rows of this flight cannot be made any more."""
        if self._intake is None:
            return
        axis = self._channels[0]
        step = self._aligner.reports[axis.channel.name].clock_step
        if step < 0:
            raise FlightError(
                f"The clock of the server of {axis.channel.name} ({shown(axis.source)}) was set "
                f"back by {-step:.2f} s or more, so that nothing more can be said of where the "
                "axis was when: the scan was ended."
            )
        self._rows.check()

    def check_clocks(self) -> None:
        """Refuse to fly when a server's clock is off; look at what has arrived until now.

        Raises
        ------
        PreflightError
            Naming the channels whose servers are off. The time that updates need on their way
            counts, too.
        """
        self._take_in()
        reports, bound = self._aligner.reports, self._clock_bound
        off = []
        for sampled in self._channels:
            offset = reports[sampled.channel.name].clock_offset
            if abs(offset) > bound:
                side = "behind" if offset > 0 else "ahead of"
                off.append(
                    f"{sampled.channel.name} ({shown(sampled.source)}) is "
                    f"{abs(offset):.2f} s {side} this machine"
                )
        if off:
            raise PreflightError(
                f"The clock of the server of {'; of '.join(off)}, but {bound:g} s are allowed: "
                "synchronise the clocks, or allow more with clock_bound."
            )

    # ---- the end --------------------------------------------------------------------------

    async def finish(self) -> None:
        """Write everything: the last flight has ended.

        Raises
        ------
        Exception
            What stopped the sampler before, if anything did.
        """
        if self._file is None:
            return
        failed = await self._stop_task()
        self._take_in()
        await self._write()
        if failed is not None:
            # What it was about to write is missing in the file: this must not pass for success.
            raise failed

    @property
    def with_frames(self) -> Mapping[str, int]:
        """Triggered detector -> rows of which it has its frames."""
        return self._rows.with_frames if self._opened else {}

    def verdict(self) -> Verdict:
        """Return what is known of the scan; nothing of one that did not begin."""
        if not self._opened:
            return Verdict()
        bits = [(str(bit.name), int(bit).bit_length() - 1) for bit in Quality]
        return Verdict(
            self._aligner.rows,
            {name: int(self._flags[k]) for name, k in bits if self._flags[k]},
            self._aligner.reports,
            dict(self._annotations.worst),
            self._slowest_write,
            triggered=self._rows.to_verdict(),
            remarks=[*self._rows.remarks, *self._annotations.remarks],
        )

    async def close(self) -> None:
        """End triggers and subscriptions, and close the file. Closing twice is harmless."""
        if self._preparing is not None and not self._preparing.done():
            # The scan was interrupted meanwhile: what is being opened could not be closed.
            await asyncio.wait({self._preparing})
        await self._stop_task()
        if self._intake is not None:
            self._intake.close()
            self._intake = None
        if self._file is not None:
            file, self._file = self._file, None
            await asyncio.to_thread(file.close)

    async def restore(self) -> None:
        """Put the exposures back that were set. May come at any time."""
        trouble: list[Exception] = []
        while self._undo:
            try:
                await self._undo.pop()()
            except Exception as error:
                # What one server does not take must not keep the others from being put back.
                trouble.append(error)
        if trouble:
            raise trouble[0]

    async def _stop_task(self) -> BaseException | None:
        """End the task; return what it died of, if it did."""
        # Not cancelled: a write that runs in its thread must end before the next one.
        task, self._task = self._task, None
        if task is None:
            return None
        self._stopping.set()
        await asyncio.wait({task})
        return task.exception()

    # ---- the loop -------------------------------------------------------------------------

    async def _run(self) -> None:
        next_poll = flushed = time.monotonic()
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            while not self._stopping.is_set():
                period = ALONE if self._pace is None else self._pace.period
                await asyncio.wait({stopping}, timeout=min(DRAIN_PERIOD, period / 2))
                self._take_in()
                if time.monotonic() >= next_poll:
                    next_poll = time.monotonic() + POLL_PERIOD
                    await self._rows.poll()
                if time.monotonic() >= flushed + period:
                    flushed = time.monotonic()
                    # Only now: each call costs about the same for one row as for many.
                    self._take_rows()
                    await self._write()
                    self._flushed.set()
        finally:
            stopping.cancel()

    def _take_in(self) -> None:
        if self._intake is not None:
            self._intake.take()

    def _take_rows(self, *, finish: bool = False) -> None:
        """Take the rows that became final, with all that is known of them."""
        rows = self._rows.final(time.monotonic(), finish=finish)
        if not rows or not len(rows["quality"]):
            return
        self._annotations.annotate(rows)
        self.coverage.add(rows)
        if self._velocity is not None:
            add_rows(self._velocity, self._channels[0].channel.name, rows)
        bits = np.arange(16)
        self._flags += np.sum((rows["quality"][:, None] >> bits) & 1, axis=0)
        self._rows_pending.append(rows)

    async def _write(self) -> None:
        file = self._file
        if file is None or self._intake is None:
            return
        raw = self._intake.pending()
        rows, self._rows_pending = self._rows_pending, []
        began = time.monotonic()
        await asyncio.to_thread(append, file, raw, rows, list(self._rows.images.values()))
        self._slowest_write = max(self._slowest_write, time.monotonic() - began)
        self._visible = tuple(file.rows)


def _refuse_twins(names: Sequence[str]) -> None:
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(
            f"Two channels have the same name ({', '.join(sorted(twice))}); "
            "give the devices different names."
        )


__all__ = [
    "CLOCK_BOUND",
    "DRAIN_PERIOD",
    "PATIENCE",
    "RunFile",
    "Sampler",
    "rows_with",
]
