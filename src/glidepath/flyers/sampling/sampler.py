"""Samples every channel of a scan at the control system's own time, into one growing file."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bluesky.protocols import Reading, StreamAsset
from event_model import DataKey
from numpy.typing import NDArray
from ophyd_async.core import AsyncStatus

from glidepath.detectors import TriggerMode
from glidepath.devices.sampled import (
    BeginsSampling,
    Derived,
    Sampled,
    SampledChannel,
    WithDerived,
    WithMarks,
    channels_for,
    offers,
)
from glidepath.flyers.monitors.ingestion import Batch, Monitors, choose_monitors
from glidepath.flyers.monitors.updates import INVALID, shown
from glidepath.flyers.motion.back_end import FlightError
from glidepath.storage import (
    AlignedImages,
    Column,
    GrowingFile,
    Table,
    TableDocuments,
    column_key,
    compile_validators,
    dataset_paths,
)
from glidepath.storage.aligned_images import DATASET
from glidepath.timeline import (
    Aligner,
    Channel,
    ChannelKind,
    ChannelReport,
    ClockWatch,
    Coverage,
    Mark,
    Quality,
    Span,
    latched_windows,
)
from glidepath.trajectory import Leg, PreflightError

from .triggering import TriggeredRows, Triggering
from .verdict import Verdict

FLUSH_PERIOD = 0.5
"""Seconds between two flushes of the file; what was flushed is announced."""

DRAIN_PERIOD = 0.1
"""Seconds between two looks at what arrived."""

POLL_PERIOD = 0.25
"""Seconds between two looks at what triggered detectors and their source have made."""

PATIENCE = 3.0
"""Seconds to wait after the motion's end for updates that are still on their way."""

FIRST_PAUSE, LONGEST_PAUSE = 0.001, 0.02
"""Seconds between two looks for such updates, at first and later."""

CLOCK_BOUND = 1.0
"""Seconds by which the clock of a server may differ from this machine's."""

SOURCE = "glidepath"


class TableStream:
    """One table of the sampler as the run engine sees it: a stream of rows in a file."""

    parent = None

    def __init__(
        self,
        name: str,
        data_keys: Mapping[str, DataKey],
        documents: TableDocuments,
        rows: Callable[[], int],
        hints: Mapping[str, Any] | None = None,
        channel: Channel | None = None,
    ) -> None:
        self.name = name
        # No fields: a best-effort plot must not open a window for every raw column.
        self.hints = dict(hints or {"fields": []})
        self._channel = channel
        self._data_keys = dict(data_keys)
        self._documents = documents
        self._rows = rows

    async def describe_collect(self) -> dict[str, DataKey]:
        """Return the data keys of the stream."""
        return {key: dict(value) for key, value in self._data_keys.items()}  # type: ignore[misc]

    def add_images(
        self, key: str, data_key: DataKey, path: Path, dataset: str, shape: Sequence[int]
    ) -> None:
        """Add images, one for each row, before the stream has been described."""
        self._data_keys[key] = data_key
        self._documents.add_images(path, key, dataset, shape)

    def _configuration(self) -> dict[str, tuple[float | str, str, str]]:
        """Return what it takes to use the raw updates: key -> (value, dtype, unit)."""
        channel = self._channel
        if channel is None:
            return {}
        return {
            f"{self.name}_kind": (str(channel.kind), "string", ""),
            f"{self.name}_latency": (channel.latency, "number", "s"),
            f"{self.name}_aperture": (channel.aperture, "number", "s"),
        }

    async def describe_configuration(self) -> dict[str, DataKey]:
        """Describe the channel's definition: kind, latency, aperture."""
        return {
            key: {"source": SOURCE, "dtype": dtype, "shape": [], "units": unit}  # type: ignore[typeddict-item]
            for key, (_, dtype, unit) in self._configuration().items()
        }

    async def read_configuration(self) -> dict[str, Reading]:
        """Return the channel's definition."""
        now = time.time()
        return {
            key: {"value": value, "timestamp": now}
            for key, (value, _, _) in self._configuration().items()
        }

    async def get_index(self) -> int:
        """Return how many rows readers can see."""
        return self._rows()

    @property
    def has_news(self) -> bool:
        """Whether readers can see rows that are not announced."""
        return self._rows() > self._documents.announced

    async def collect_asset_docs(self, index: int | None = None) -> AsyncIterator[StreamAsset]:
        """Yield the documents for all rows that readers can see and that are not announced."""
        for document in self._documents.until(self._rows() if index is None else index):
            yield document


@dataclass
class _Setting:
    """A number on which exposures depend: it must not change while they are sampled."""

    source: str
    names: list[str]
    value: float = np.nan
    changed: float = np.nan
    since: float = np.inf

    def look(self, timestamps: NDArray, values: NDArray) -> None:
        """Take updates; note the first one that is another value than the first of all."""
        for time_, value in zip(timestamps, values, strict=True):
            if np.isnan(time_) or self.since < np.inf:
                continue
            if np.isnan(self.value):
                self.value = float(value)
            elif value != self.value:
                self.changed, self.since = float(value), float(time_)

    @property
    def remark(self) -> str:
        return (
            f"the exposure of {', '.join(self.names)} was changed during the scan "
            f"({shown(self.source)} from {self.value:g} to {self.changed:g})"
        )


def _settings_of(channels: Sequence[SampledChannel]) -> list[_Setting]:
    found: dict[str, _Setting] = {}
    for sampled in channels:
        for source in sampled.settings:
            found.setdefault(source, _Setting(source, [])).names.append(sampled.channel.name)
    return list(found.values())


class Sampler:
    """Follows all channels of a scan by monitors and writes rows and raw updates to a file.

    The plan prepares it; for each flight it arms it when the axis stands at its run-up, waits
    for `flushed` and collects its streams, and lands it; then it finishes and closes it. It
    belongs to one run.

    Parameters
    ----------
    detectors
        Devices to sample.
    axis
        The device that flies; its first channel is the axis.
    period
        Length of a row in s where a region has none of its own; None: the longest exposure of
        the detectors.
    triggering
        Makes the rows, one for each trigger; None: rows follow each other without gaps.
    monitors
        Makes the monitors for a list of channels.
    flush_period
        Seconds between two flushes.
    """

    name = "sampler"
    parent = None

    def __init__(
        self,
        detectors: Sequence[Sampled],
        axis: Sampled,
        period: float | None = None,
        *,
        triggering: Triggering | None = None,
        monitors: Callable[[Sequence[SampledChannel]], Monitors] = choose_monitors,
        flush_period: float = FLUSH_PERIOD,
    ) -> None:
        self._devices: list[Any] = [axis, *(d for d in detectors if d is not axis)]
        self._period = period
        self._triggering = triggering
        self._leg: Leg | None = None
        self._waiting: list[TriggeredRows] = []
        self._reached: float | None = None
        self._make_monitors = monitors
        self._flush_period = flush_period
        self._monitors: Monitors | None = None
        self._file: GrowingFile | None = None
        self._task: asyncio.Task[None] | None = None
        self._preparing: asyncio.Task[Any] | None = None
        self._stopping = asyncio.Event()
        self._flushed = asyncio.Event()
        self._visible: tuple[int, ...] = ()
        self._raw_pending: list[tuple[int, NDArray, NDArray]] = []
        self._rows_pending: list[dict[str, NDArray]] = []
        self._derived: list[Derived] = []
        self._worst: dict[str, float] = {}
        self._flags = np.zeros(16, np.int64)
        self._gaps: list[list[float]] = []
        self._watches: list[ClockWatch] = []
        self._clock_set = np.inf
        self._settings: list[_Setting] = []
        self._slowest_write = 0.0
        self.streams: list[TableStream] = []

    @AsyncStatus.wrap
    async def prepare(self, value: tuple[Path, Mapping[str, str]]) -> None:
        """Subscribe to everything and make the file.

        Parameters
        ----------
        value
            Path of the file to make, and attributes of its entry.

        Raises
        ------
        ConnectionError
            If a channel does not answer; nothing is left behind.
        """
        path, entry = value
        self._preparing = asyncio.current_task()
        channels: list[SampledChannel] = []
        marks: list[Mark] = []
        for device in self._devices:
            if offers(device, BeginsSampling):
                await device.begin_sampling()
            channels += [c for c in await channels_for(device) if c not in channels]
            if offers(device, WithDerived):
                self._derived += device.derived()
            if offers(device, WithMarks):
                marks += device.marks()
        self._channels = channels
        names = [c.channel.name for c in channels]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(
                f"Two channels have the same name ({', '.join(sorted(twice))}); "
                "give the devices different names."
            )
        self.coverage = Coverage(names[0])
        self._aligner = Aligner([c.channel for c in channels], names[0], self._period, marks=marks)
        self._watches = [ClockWatch() for _ in channels]
        self._settings = _settings_of(channels)
        states = [
            SampledChannel(Channel(setting.names[0], ChannelKind.STATE), setting.source)
            for setting in self._settings
        ]
        monitors = self._make_monitors([*channels, *states])
        # Both take their time, and neither needs the other.
        creating = asyncio.create_task(asyncio.to_thread(self._create, path, entry, channels))
        try:
            await monitors.open()
        except BaseException:
            await self._discard(creating)
            raise
        self._monitors = monitors
        self._file = await creating
        self._visible = tuple(self._file.rows)
        self._task = asyncio.create_task(self._run(), name="glidepath sampler")

    async def _discard(self, creating: asyncio.Task[GrowingFile]) -> None:
        """Remove the file of a scan that could not begin."""
        file = await creating
        self.streams = []
        file.close()
        file.path.unlink()

    def _create(
        self, path: Path, entry: Mapping[str, str], channels: Sequence[SampledChannel]
    ) -> GrowingFile:
        # Next the run engine describes the streams, four data keys for each channel.
        compile_validators()
        primary, keys = self._primary_columns(channels)
        axis = channels[0].channel.name
        detectors = [c.channel.name for c in channels if c.channel.kind == "detector"]
        tables = [
            Table(
                "/entry/data",
                primary,
                "NXdata",
                {"signal": detectors[-1] if detectors else axis, "axes": [axis]},
            )
        ]
        tables += [
            Table(
                f"/entry/instrument/{c.channel.name}",
                [Column("value", unit=c.channel.unit), Column("time", unit="s")],
                "NXlog",
                {"source": c.source},
            )
            for c in channels
        ]
        path.parent.mkdir(parents=True, exist_ok=True)
        file = GrowingFile(path, tables, entry)
        self.streams = [
            TableStream(
                "primary",
                keys,
                TableDocuments(path, dataset_paths("/entry/data", [c.name for c in primary])),
                self._visible_rows(0),
                {"fields": detectors},
            )
        ]
        for number, sampled in enumerate(channels, start=1):
            name, unit = sampled.channel.name, sampled.channel.unit
            group = f"/entry/instrument/{name}"
            self.streams.append(
                TableStream(
                    name,
                    {
                        f"{name}_value": column_key(sampled.source, unit),
                        f"{name}_timestamp": column_key(sampled.source, "s"),
                    },
                    TableDocuments(
                        path,
                        dataset_paths(
                            group, {f"{name}_value": "value", f"{name}_timestamp": "time"}
                        ),
                    ),
                    self._visible_rows(number),
                    channel=sampled.channel,
                )
            )
        return file

    def _primary_columns(
        self, channels: Sequence[SampledChannel]
    ) -> tuple[list[Column], dict[str, DataKey]]:
        axis, *others = channels
        columns = [
            Column(f"{axis.channel.name}{end}", unit=axis.channel.unit)
            for end in ("", "_lower", "_upper")
        ]
        columns += [Column("sample_time", unit="s"), Column("sample_duration", unit="s")]
        for sampled in others:
            columns.append(Column(sampled.channel.name, unit=sampled.channel.unit))
            columns.append(Column(f"{sampled.channel.name}_count", "<i8"))
        if self._triggering is not None:
            for name, (unit, dtype) in self._triggering.columns.items():
                columns.append(Column(name, dtype, unit))
        columns += [Column(derived.name, unit=derived.unit) for derived in self._derived]
        columns += [Column(name, "<u2") for name in ("region_number", "pass_number", "quality")]
        sources = {c.channel.name: c.source for c in channels}
        keys = {}
        for column in columns:
            source = sources.get(column.name, SOURCE)
            keys[column.name] = column_key(source, column.unit, column.dtype)
        return columns, keys

    def _visible_rows(self, table: int) -> Callable[[], int]:
        return lambda: self._visible[table]

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
        return self._aligner.rows

    async def arm_detectors(self, leg: Leg) -> None:
        """Let triggered detectors get ready for a leg; the axis may still be on its way.

        With the first leg it is known what their images are: they become a part of ``primary``.
        """
        triggering, file = self._triggering, self._file
        if triggering is None or file is None:
            return
        first = not triggering.images
        await triggering.arm_detectors(leg, file.path.parent)
        if first:
            for name, (key, data_key) in triggering.image_keys().items():
                images = triggering.images[name]
                self.streams[0].add_images(key, data_key, images.path, DATASET, images.shape)

    async def arm(self, leg: Leg) -> None:
        """Begin to look for the axis entering the leg: it stands at its run-up now."""
        self._take_in()
        self._leg = leg
        if self._triggering is not None:
            self._reached = None
            await self._triggering.arm_source(leg)
            return
        self._aligner.arm(
            *(
                Span(region.start, region.stop, region.period, number, leg.pass_number)
                for region, number in zip(leg.regions, leg.numbers, strict=True)
            )
        )

    def cut(self) -> None:
        """End the flight at the axis's newest update: it is about to be stopped early."""
        # Triggers that are made while the axis slows down are as good as any.
        if self._monitors is not None and self._triggering is None:
            self._take_in()
            self._aligner.cut()

    @property
    def arrived(self) -> bool:
        """Whether the axis was seen at the end of the leg, or made all its triggers."""
        if self._triggering is None or self._leg is None:
            return self._aligner.arrived
        beyond = self._leg.direction * (self._aligner.position - self._leg.stop)
        return self._triggering.all_made or beyond > 0

    @property
    def reached(self) -> float | None:
        """Where the rest of the flight begins, in the axis's unit; None if there is no row yet."""
        return self._aligner.reached if self._triggering is None else self._reached

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

    async def land(self, *, patience: float = PATIENCE) -> None:
        """Make the last rows of a flight: the motion has ended.

        Parameters
        ----------
        patience
            Seconds to wait for updates that are still on their way.
        """
        if self._file is None:
            return
        trouble: Exception | None = None
        if self._triggering is not None:
            try:
                # Waits for the frames that are still on their way.
                await self._triggering.land()
            except Exception as error:
                # What has come makes rows all the same.
                trouble = error
            self._accept(self._triggering.rows(finish=True))
        deadline = time.monotonic() + patience
        pause = FIRST_PAUSE
        while not self._all_final() and time.monotonic() < deadline:
            # Usually all is here after a millisecond; what takes longer is not asked for so often.
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        self._make_rows(finish=True)
        if trouble is not None:
            raise trouble

    def _all_final(self) -> bool:
        self._take_in()
        # Only where rows are made, the aligner sees that the axis has left its range.
        self._make_rows()
        if self._triggering is not None:
            return not self._waiting
        return self._aligner.finished(time.monotonic())

    async def finish(self) -> None:
        """Write everything: the last flight has landed.

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

    def verdict(self) -> Verdict:
        """Return what is known of the scan."""
        bits = [(str(bit.name), int(bit).bit_length() - 1) for bit in Quality]
        triggering = self._triggering
        return Verdict(
            self._aligner.rows,
            {name: int(self._flags[k]) for name, k in bits if self._flags[k]},
            self._aligner.reports,
            dict(self._worst),
            self._slowest_write,
            triggered={} if triggering is None else triggering.to_verdict(),
            remarks=[
                *([] if triggering is None else triggering.sentences()),
                *(setting.remark for setting in self._settings if setting.since < np.inf),
            ],
        )

    def check(self) -> None:
        """Raise `FlightError` when the rows of this flight cannot be made any more."""
        axis = self._channels[0]
        step = self._aligner.reports[axis.channel.name].clock_step
        if step < 0:
            raise FlightError(
                f"The clock of the server of {axis.channel.name} ({shown(axis.source)}) was set "
                f"back by {-step:.2f} s or more, so that nothing more can be said of where the "
                "axis was when: the scan was ended."
            )

    def check_clocks(self, bound: float = CLOCK_BOUND) -> None:
        """Refuse to fly when a server's clock is off; look at what has arrived until now.

        Parameters
        ----------
        bound
            Largest distance in seconds between a server's timestamps and this machine's clock,
            the time that updates need on their way included.

        Raises
        ------
        PreflightError
            Naming the channels whose servers are off.
        """
        self._take_in()
        check_clocks(self._channels, self._aligner.reports, bound)

    async def close(self) -> None:
        """End the subscriptions and close the file. Closing twice is harmless."""
        if self._preparing is not None and not self._preparing.done():
            # The scan was interrupted meanwhile: what is being opened could not be closed.
            await asyncio.wait({self._preparing})
        await self._stop_task()
        if self._monitors is not None:
            self._monitors.close()
            self._monitors = None
        if self._file is not None:
            file, self._file = self._file, None
            await asyncio.to_thread(file.close)

    async def _stop_task(self) -> BaseException | None:
        """End the task; return what it died of, if it did."""
        # Not cancelled: a write that runs in its thread must end before the next one.
        task, self._task = self._task, None
        if task is None:
            return None
        self._stopping.set()
        await asyncio.wait({task})
        return task.exception()

    async def _run(self) -> None:
        next_poll = time.monotonic()
        next_flush = next_poll + self._flush_period
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            while not self._stopping.is_set():
                await asyncio.wait({stopping}, timeout=DRAIN_PERIOD)
                self._take_in()
                if self._triggering is not None and time.monotonic() >= next_poll:
                    next_poll = time.monotonic() + POLL_PERIOD
                    await self._triggering.poll()
                    self._accept(self._triggering.rows())
                if time.monotonic() >= next_flush:
                    next_flush = time.monotonic() + self._flush_period
                    # Only now: each call costs about the same for one row as for many.
                    self._make_rows()
                    await self._write()
                    self._flushed.set()
        finally:
            stopping.cancel()

    def _take_in(self) -> None:
        if self._monitors is None:
            return
        now = time.monotonic()
        for batch in self._monitors.drain():
            if batch.index >= len(self._channels):
                setting = self._settings[batch.index - len(self._channels)]
                setting.look(batch.timestamps, batch.values)
                continue
            for part in _split_at_losses(batch):
                if np.isnan(part.timestamps[0]):
                    self._watches[part.index].disconnect()
                    kept = self._aligner.disconnect(part.index, float(part.arrivals[0]))
                else:
                    self._look_at_clock(part)
                    self._end_gap(part.index, float(part.timestamps[0]))
                    # A value with an invalid alarm is no value.
                    values = np.where(part.severities < INVALID, part.values, np.nan)
                    kept = self._aligner.add(
                        part.index, part.timestamps, values, part.arrivals, now
                    )
                if len(kept[0]):
                    self._raw_pending.append((part.index, *kept))
            if batch.lost:
                # Somewhere between this batch and the next one.
                self._aligner.report(batch.index).lost += batch.lost
                last = batch.timestamps[np.isfinite(batch.timestamps)]
                self._gaps.append([batch.index, float(last[-1]) if len(last) else -np.inf, np.inf])

    def _look_at_clock(self, updates: Batch) -> None:
        """Note when the clock of a channel's server was set: no row since then is to be trusted."""
        step = self._watches[updates.index].look(updates.timestamps, updates.arrivals)
        if step is None:
            return
        report = self._aligner.report(updates.index)
        report.clock_step = report.clock_step or step.seconds
        latency = self._channels[updates.index].channel.latency
        self._clock_set = min(self._clock_set, step.since - latency)

    def _mark_changes(self, rows: Mapping[str, NDArray]) -> None:
        """Mark the rows since a clock was set, or an exposure changed."""
        end = rows["sample_time"] + 0.5 * rows["sample_duration"]
        changed = min((setting.since for setting in self._settings), default=np.inf)
        for since, bit in ((self._clock_set, Quality.CLOCK), (changed, Quality.CHANGED)):
            rows["quality"][end > since] |= np.uint16(bit)

    def _end_gap(self, index: int, time_of_next: float) -> None:
        for gap in self._gaps:
            if gap[0] == index and gap[2] == np.inf:
                gap[2] = time_of_next

    def _mark_gaps(self, rows: Mapping[str, NDArray]) -> None:
        """Mark the rows during which updates were lost on their way."""
        half = 0.5 * rows["sample_duration"]
        begin, end = rows["sample_time"] - half, rows["sample_time"] + half
        for _, lost_from, lost_until in self._gaps:
            inside = (end > lost_from) & (begin < lost_until)
            rows["quality"][inside] |= np.uint16(Quality.LOST_UPDATES)
        self._gaps = [gap for gap in self._gaps if gap[2] > end[-1]]

    def _accept(self, rows: TriggeredRows | None) -> None:
        """Take triggered rows; they wait until all that is sampled beside has passed them."""
        if rows is not None:
            self._waiting.append(rows)

    def _join(self, finish: bool) -> dict[str, NDArray]:
        """Return the triggered rows that all sampled channels have passed, with these."""
        now = time.monotonic()
        until = np.inf if finish else self._aligner.watermark(now)
        parts = []
        while self._waiting:
            rows = self._waiting.pop(0)
            # A bin that missed its end is longer than those that follow it.
            ends = np.maximum.accumulate(rows.ends)
            count = int(np.searchsorted(ends, until, "right"))
            if count:
                parts.append(self._joined(rows.first(count), now, finish))
            if count < len(rows):
                self._waiting.insert(0, rows.after(count))
                break
        needed = self._waiting[0].begins[0] if self._waiting else np.inf
        if self._triggering is not None:
            needed = min(needed, self._triggering.needed_from)
        self._aligner.forget(now, needed)
        if not parts:
            return {}
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _joined(self, rows: TriggeredRows, now: float, finish: bool) -> dict[str, NDArray]:
        triggering, leg = self._triggering, self._leg
        assert triggering is not None
        assert leg is not None
        axis = self._channels[0].channel.name
        own = latched_windows(
            axis, rows.begins, rows.ends, *triggering.latches, readback=self._aligner.readback
        )
        measured = np.isfinite(rows.means)
        own[axis][measured] = rows.means[measured]
        if triggering.mode is TriggerMode.INTERNAL:
            # A detector that triggers itself does so on the run-up, too.
            low, high = min(leg.start, leg.stop), max(leg.start, leg.stop)
            inside = (own[f"{axis}_lower"] >= low) & (own[f"{axis}_upper"] <= high)
            rows = rows.only(inside)
            own = {name: column[inside] for name, column in own.items()}
        if len(rows):
            columns = self._aligner.rows_of(rows.begins, rows.ends, now, finish=finish)
            own["quality"] |= columns["quality"] | rows.quality
            for name, (file, frames) in rows.images.items():
                triggering.images[name].add(file.path, file.dataset, frames)
            ends = own[f"{axis}_upper" if leg.direction > 0 else f"{axis}_lower"]
            known = np.flatnonzero(np.isfinite(ends))
            if len(known):
                # The rest begins with a step of its own, on the same grid as those before.
                following = rows.following[known[-1]]
                self._reached = float(ends[known[-1]] if np.isnan(following) else following)
        else:
            columns = {
                name: np.empty(0, np.int64 if name.endswith("_count") else np.float64)
                for sampled in self._channels[1:]
                for name in (sampled.channel.name, f"{sampled.channel.name}_count")
            }
        stops = [leg.direction * region.stop for region in leg.regions[:-1]]
        region = np.searchsorted(stops, leg.direction * own[axis])
        own["region_number"] = np.array(leg.numbers, np.uint16)[region]
        own["pass_number"] = np.full(len(rows), leg.pass_number, np.uint16)
        return {**columns, **rows.columns, **own}

    def _make_rows(self, *, finish: bool = False) -> None:
        if self._triggering is None:
            rows = self._aligner.final_rows(time.monotonic(), finish=finish)
        else:
            rows = self._join(finish)
        if not rows or not len(rows["quality"]):
            return
        self._mark_gaps(rows)
        self._mark_changes(rows)
        for derived in self._derived:
            inputs = [rows[name] for name in derived.inputs]
            value = derived.function(*inputs)
            rows[derived.name] = value
            if derived.bound is not None:
                known = np.abs(value[np.isfinite(value)])
                if len(known):
                    self._worst[derived.name] = max(
                        self._worst.get(derived.name, 0.0), float(known.max())
                    )
                with np.errstate(invalid="ignore"):
                    rows["quality"][np.abs(value) > derived.bound(*inputs)] |= np.uint16(
                        Quality.TRACKING
                    )
        self.coverage.add(rows)
        bits = np.arange(16)
        self._flags += np.sum((rows["quality"][:, None] >> bits) & 1, axis=0)
        self._rows_pending.append(rows)

    async def _write(self) -> None:
        raw, self._raw_pending = self._raw_pending, []
        rows, self._rows_pending = self._rows_pending, []
        file = self._file
        if file is None:
            return
        began = time.monotonic()
        images = list(self._triggering.images.values()) if self._triggering is not None else []
        await asyncio.to_thread(_append, file, raw, rows, images)
        self._slowest_write = max(self._slowest_write, time.monotonic() - began)
        self._visible = tuple(file.rows)


def check_clocks(
    channels: Sequence[SampledChannel], reports: Mapping[str, ChannelReport], bound: float
) -> None:
    """Raise `PreflightError` if a channel's timestamps are off by more than ``bound`` seconds."""
    off = []
    for sampled in channels:
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


def _append(
    file: GrowingFile,
    raw: Sequence[tuple[int, NDArray, NDArray]],
    rows: Sequence[Mapping[str, NDArray]],
    images: Sequence[AlignedImages] = (),
) -> None:
    """Append and flush; runs in a thread."""
    by_channel: dict[int, list[tuple[NDArray, NDArray]]] = {}
    for index, timestamps, values in raw:
        by_channel.setdefault(index, []).append((timestamps, values))
    for index, parts in by_channel.items():
        timestamps, values = (np.concatenate(column) for column in zip(*parts, strict=True))
        file.append(index + 1, {"value": values, "time": timestamps})
    if rows:
        file.append(0, {name: np.concatenate([part[name] for part in rows]) for name in rows[0]})
        for shown in images:
            shown.write()
    file.flush()


def _split_at_losses(batch: Batch) -> list[Batch]:
    """Split a batch into runs of updates and single losses of the connection."""
    lost = np.flatnonzero(np.isnan(batch.timestamps))
    if not len(lost):
        return [batch] if len(batch.timestamps) else []
    cuts = np.unique(np.concatenate([lost, lost + 1]))
    return [
        Batch(batch.index, t, v, a, s)
        for t, v, a, s in zip(
            np.split(batch.timestamps, cuts),
            np.split(batch.values, cuts),
            np.split(batch.arrivals, cuts),
            np.split(batch.severities, cuts),
            strict=True,
        )
        if len(t)
    ]


__all__ = ["CLOCK_BOUND", "DRAIN_PERIOD", "FLUSH_PERIOD", "PATIENCE", "Sampler", "TableStream"]
