"""How meters and counters that keep their frames in memory take part in Bluesky's own plans.

ophyd-async's ``StandardDetector`` is put together from logics. Those of this file make them from a
`FrameSource`: a step scan reads the device once per point; a flight (``prepare``, ``kickoff``,
``complete``, ``collect``) arms the frame source, and what it makes goes into a file of ours, since
ophyd-async takes the data of a flight from files only.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from bluesky.protocols import StreamAsset
from event_model import DataKey
from numpy.typing import NDArray
from ophyd_async.core import (
    DetectorAcquireLogic,
    DetectorDataLogic,
    DetectorTriggerLogic,
    ReadableDataProvider,
    SignalDict,
    SignalR,
    SignalRW,
    StreamableDataProvider,
    soft_signal_r_and_setter,
)

from glidepath.devices.positioning import end_task
from glidepath.devices.settings import Settings
from glidepath.storage import Column, GrowingFile, Table, TableDocuments, column_key, dataset_paths

from .camera.stock_plans import RunPaths, SignalsProvider
from .frame_source import Frames, FrameSettings, FrameSource, TriggerMode

GROUP: Final = "/entry/frames"
"""Where in its file the frames of a flight are."""

TAKE_PERIOD: Final = 0.1
"""Seconds between two looks at what a detector has made."""


async def _nothing() -> None:
    pass


@dataclass
class Meter:
    """What a device is when it is read once, and what it can do when it is triggered.

    Attributes
    ----------
    source
        The device itself, which follows triggers.
    modes
        What can begin an exposure.
    read_once
        Makes one reading; returns when it can be read.
    signals, hinted
        What a step scan reads, and what of it is worth a plot.
    exposure, exposure_setting, set_exposure
        How long it exposes (s); what that is set by, so that it can be put back; and how.
    dead_time_signals, dead_time
        What its dead time (s) depends on, and how.
    begin, end
        What staging and unstaging do.
    """

    source: FrameSource
    modes: frozenset[TriggerMode]
    read_once: Callable[[], Awaitable[None]]
    signals: Sequence[SignalR[Any]]
    hinted: Sequence[SignalR[Any]]
    exposure: SignalR[float]
    exposure_setting: SignalRW[float]
    set_exposure: Callable[[float], Awaitable[None]]
    dead_time: Callable[[SignalDict], float]
    dead_time_signals: frozenset[SignalR[Any]] = frozenset()
    begin: Callable[[], Awaitable[None]] = _nothing
    end: Callable[[], Awaitable[None]] = _nothing


def logics_of(
    meter: Meter, paths: RunPaths | None = None
) -> tuple[DetectorTriggerLogic, DetectorAcquireLogic, DetectorDataLogic, DetectorDataLogic]:
    """Return the logics that make a ``StandardDetector`` of a meter.

    Parameters
    ----------
    meter
        What it is.
    paths
        Where the frames of flights go; None: into a folder by date in the data directory.
    """
    use = _Use(meter)
    kind = _ByOwnClock
    if TriggerMode.EDGE in meter.modes:
        kind = _ByEdge
    if TriggerMode.LEVEL in meter.modes:
        kind = _ByLevel
    return (
        kind(use),
        _Acquiring(use),
        _FramesInFile(use, RunPaths() if paths is None else paths),
        _Readings(meter),
    )


@dataclass
class _Use:
    """One use of a meter between its staging and its unstaging, as its logics share it."""

    meter: Meter
    flight: FrameSettings | None = None
    """What the next flight is to be like; None: a single reading."""
    rows: "_Rows | None" = None
    settings: Settings = field(init=False)
    _following: asyncio.Task[None] | None = None
    _touched: bool = False
    _ending: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.settings = Settings(self.meter.source.name)

    # ---- single readings ------------------------------------------------------------------

    async def plan_reading(self, exposure: float) -> None:
        """Set up single readings, with an exposure in s; 0: as it is set now."""
        if self._touched:
            await self.end()
            await self.meter.begin()
        if exposure:
            self.settings.owner = self.meter.source.name
            await self.settings.lend(self.meter.exposure_setting)
            await self.meter.set_exposure(exposure)

    # ---- flights --------------------------------------------------------------------------

    async def plan_flight(
        self, number: int, exposure: float, dead_time: float, mode: TriggerMode
    ) -> None:
        """Plan a flight of so many frames, 0: without an end; times in s, 0: as set, or shortest.

        Raises
        ------
        ValueError
            If the device cannot do that.
        """
        await self._end_flight()
        exposure = exposure or await self.meter.exposure.get_value()
        source = self.meter.source
        period = exposure + max(dead_time, await source.dead_time())
        flight = FrameSettings(number, exposure, period, mode, Path())
        await source.check_frames(flight)
        self.flight = flight

    async def start(self) -> None:
        """Read once, or arm the device for the flight and follow it."""
        assert self.rows is not None
        if self.flight is None:
            await self.meter.read_once()
            self.rows.count_reading()
            return
        self._touched = True
        await self.meter.source.arm(self.flight)
        self._following = asyncio.create_task(self._follow(self.flight, self.rows.begin_flight()))

    async def _follow(self, flight: FrameSettings, append: Callable[[Frames, int], int]) -> None:
        """Write what the device makes, until it has made as many frames as were planned."""
        source = self.meter.source
        try:
            while True:
                there = append(await source.frames(), flight.number)
                if flight.number and there >= flight.number:
                    break
                await asyncio.sleep(TAKE_PERIOD)
            await source.disarm()
        except Exception:
            # Whoever waits for the last frame goes on, to `until_made`, which says why.
            if self.rows is not None:
                self.rows.end_waiting(flight.number)
            raise

    def check(self) -> None:
        """Raise what the flight has failed of."""
        task = self._following
        if task is not None and task.done() and not task.cancelled():
            task.result()

    async def until_made(self) -> None:
        """Wait until all frames of a flight with an end were made."""
        if self._following is not None and self.flight is not None and self.flight.number:
            await asyncio.wait({self._following})
        self.check()

    async def _end_flight(self) -> None:
        following, self._following = self._following, None
        if following is not None:
            await end_task(following)
            await self.meter.source.disarm()

    async def end(self) -> None:
        """End the flight, and put back what was changed."""
        # Its logics are stopped at the same time: nothing may go on before all has ended.
        async with self._ending:
            touched, self._touched = self._touched, False
            self.flight = None
            try:
                await self._end_flight()
            finally:
                try:
                    if touched:
                        await self.meter.source.restore()
                finally:
                    await self.settings.restore()


class _ByOwnClock(DetectorTriggerLogic):
    """A device whose exposures only its own clock can begin."""

    def __init__(self, use: _Use) -> None:
        self._use = use

    def config_sigs(self) -> set[SignalR[Any]]:
        return set(self._use.meter.dead_time_signals)

    def get_deadtime(self, config_values: SignalDict) -> float:
        return self._use.meter.dead_time(config_values)

    async def prepare_internal(self, num: int, livetime: float, deadtime: float) -> None:
        if num == 1:
            await self._use.plan_reading(livetime)
        else:
            await self._use.plan_flight(num, livetime, deadtime, TriggerMode.INTERNAL)


class _ByEdge(_ByOwnClock):
    async def prepare_edge(self, num: int, livetime: float) -> None:
        await self._use.plan_flight(num, livetime, 0.0, TriggerMode.EDGE)


class _ByLevel(_ByEdge):
    async def prepare_level(self, num: int) -> None:
        await self._use.plan_flight(num, 0.0, 0.0, TriggerMode.LEVEL)


class _Acquiring(DetectorAcquireLogic):
    def __init__(self, use: _Use) -> None:
        self._use = use

    async def ensure_ready(self) -> None:
        # Staging must not stop a meter that runs freely: it may be sampled.
        await self._use.end()
        await self._use.meter.begin()

    async def start_acquiring(self) -> None:
        await self._use.start()

    async def wait_for_idle(self) -> None:
        await self._use.until_made()

    async def ensure_stopped(self) -> None:
        try:
            await self._use.end()
        finally:
            await self._use.meter.end()


# ---- data -------------------------------------------------------------------------------------


@dataclass(repr=False)
class _Readings(DetectorDataLogic):
    meter: Meter

    def __repr__(self) -> str:
        # ophyd-async warns with it that flights have no single readings.
        return f"for single readings of {self.meter.source.name}"

    async def prepare_single(self, datakey_name: str) -> ReadableDataProvider:
        return SignalsProvider(self.meter.signals)

    def get_hinted_fields(self, datakey_name: str) -> Sequence[str]:
        return [signal.name for signal in self.meter.hinted]


class _FramesInFile(DetectorDataLogic):
    """The frames of flights, in a file that is made when the first of them begins."""

    def __init__(self, use: _Use, paths: RunPaths) -> None:
        self._use, self._paths = use, paths

    async def prepare_unbounded(self, datakey_name: str) -> StreamableDataProvider:
        self._use.rows = rows = _Rows(self._use, self._paths, datakey_name)
        return rows

    async def stop(self) -> None:
        rows, self._use.rows = self._use.rows, None
        if rows is not None:
            # Whoever writes into it comes to an end first.
            await self._use.end()
            rows.close()


class _Rows(StreamableDataProvider):
    """One row for each frame of all flights of a staging. Single readings have none."""

    def __init__(self, use: _Use, paths: RunPaths, name: str) -> None:
        self._use, self._paths, self._name = use, paths, name
        self._units = {**use.meter.source.columns(), f"{name}_begin": "s", f"{name}_end": "s"}
        self._file: GrowingFile | None = None
        self._documents: TableDocuments | None = None
        self._readings = self._flight_began = 0
        self.collections_written_signal, self._set_written = soft_signal_r_and_setter(int)

    async def make_datakeys(self, collections_per_event: int) -> dict[str, DataKey]:
        if self._use.flight is None:
            return {}
        shape: list[int | None] = [] if collections_per_event == 1 else [collections_per_event]
        of = f"frames of {self._name}"
        return {key: {**column_key(of, unit), "shape": shape} for key, unit in self._units.items()}

    async def make_stream_docs(
        self, collections_written: int, collections_per_event: int
    ) -> AsyncIterator[StreamAsset]:
        self._use.check()
        if self._documents is not None:
            rows = collections_written - self._readings
            for document in self._documents.until(rows // collections_per_event):
                yield document

    def count_reading(self) -> None:
        """Say that a single reading was made."""
        self._readings += 1
        self._say_written()

    def end_waiting(self, number: int) -> None:
        """Let `complete` wait no longer for a flight of so many frames, which has failed."""
        self._set_written(self._flight_began + number)

    def begin_flight(self) -> Callable[[Frames, int], int]:
        """Return a function that appends frames, up to a number, and returns how many there are."""
        if self._file is None:
            self._open()
        assert self._file is not None
        before = self._file.rows[0]
        self._flight_began = self._readings + before

        def append(frames: Frames, number: int) -> int:
            assert self._file is not None
            there = self._file.rows[0] - before
            self._file.append(0, self._columns(frames, there, number or None))
            self._file.flush()
            self._say_written()
            return self._file.rows[0] - before

        return append

    def _open(self) -> None:
        self._paths(self._name)
        path = self._paths.path
        columns = [Column(name, unit=unit) for name, unit in self._units.items()]
        self._file = GrowingFile(path, [Table(GROUP, columns, "NXdata")])
        self._documents = TableDocuments(path, dataset_paths(GROUP, list(self._units)))

    def _columns(self, frames: Frames, there: int, number: int | None) -> Mapping[str, NDArray]:
        """Return rows for frames that follow ``there`` others: NaN where one was dropped."""
        wanted = frames.numbers >= there
        if number is not None:
            wanted &= frames.numbers < number
        numbers = frames.numbers[wanted] - there
        length = int(numbers[-1]) + 1 if len(numbers) else 0
        found = {
            **frames.values,
            f"{self._name}_begin": frames.begins,
            f"{self._name}_end": frames.ends,
        }
        rows = {}
        for name in self._units:
            rows[name] = np.full(length, np.nan)
            rows[name][numbers] = found[name][wanted]
        return rows

    def _say_written(self) -> None:
        rows = 0 if self._file is None else self._file.rows[0]
        self._set_written(self._readings + rows)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


__all__ = ["Meter", "logics_of"]
