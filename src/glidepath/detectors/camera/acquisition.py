"""One series of triggered frames, from arming to disarming: read, watched and counted."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from logging import LoggerAdapter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from ophyd_async.core import SignalR

from glidepath.detectors.frame_source import FrameFile, Frames, FrameSettings, TriggerMode
from glidepath.detectors.handshake import pv_of
from glidepath.devices.signals import Watch, holds_twice

from .exposures import Exposures
from .frame_reader import FileFrames, FrameReader
from .parts import Parts
from .statistics import ATTRIBUTE, PARAMETERS, columns_of
from .time_series import TimeSeries, join

Floats = NDArray[np.float64]

QUIET_PERIOD: Final = 1.0
"""Seconds without a new frame in the file, although some were written, after which it is flushed
by hand, for the frames that do not fill a chunk. Not more often (ADCore issue 593)."""

UNREADABLE_PERIOD: Final = 15.0
"""Seconds after which frames that were written must have become readable."""

LIFE_PERIOD: Final = 2.0
"""Seconds between two looks whether the server lives, and within which it must answer."""

STUCK_PERIOD: Final = 5.0
"""Seconds without a frame at the last plugin, while the camera makes some, after which something
on the way keeps them back."""

DRAIN_PERIOD: Final = 10.0
"""Seconds that the file writer may take for what is still in its queue."""

IDLE_PERIOD: Final = 0.5
"""Seconds after which a file writer with nothing in its queue has written everything."""

SERIES_PATIENCE: Final = 2.0
"""Seconds that a frame in the file waits for its statistics from a time series."""


@dataclass
class Acquisition:
    """What is known of one series of frames.

    Parameters
    ----------
    parts
        The camera.
    settings
        What it was told.
    exposures
        How long it exposes.
    latency
        Seconds from the end of an exposure to the timestamp of its frame.
    from_file
        Whether the statistics are in the file.
    seen
        Watches what `watched` names.
    first_id
        Unique id that the first frame has, if that is known.
    file, reader
        The file with the images and what reads it; None if there is none.
    log
        Where to warn.
    """

    parts: Parts
    settings: FrameSettings
    exposures: Exposures
    latency: float
    from_file: bool
    seen: Watch
    log: LoggerAdapter
    first_id: int | None = None
    file: FrameFile | None = None
    reader: FrameReader | None = None
    live: bool = True
    _base: int | None = None
    _newest: int = -1
    _known: int = 0
    _pending: list[tuple[float, FileFrames]] = field(default_factory=list)
    _progress: float = field(default_factory=time.monotonic)
    _looked: float = field(default_factory=time.monotonic)
    _flushed: float = field(default_factory=time.monotonic)
    _flow: tuple[float, int, int] = (0.0, 0, 0)
    _complete: bool = False
    _warned: bool = False
    _lost: int = 0

    def __post_init__(self) -> None:
        hdf, seen = self.parts.hdf, self.seen
        never: Callable[[], bool] = lambda: False  # noqa: E731
        self._queue_was_full = self._write_failed = self._capture_ended = never
        if hdf is not None:
            self._queue_was_full = seen.latch(lambda: seen.value(hdf.queue_free) == 0)
            self._write_failed = seen.latch(lambda: seen.value(hdf.write_error))
            self._capture_ended = seen.latch(lambda: not seen.value(hdf.capture))
        self._made_before = seen.value(self.parts.driver.array_counter)
        self._arrived_before = 0 if hdf is not None else seen.value(self.parts.stats.array_counter)
        self._dropped_before = self._dropped_ever()
        self._flow = time.monotonic(), 0, 0

    @staticmethod
    def watched(parts: Parts) -> list[SignalR[Any]]:
        """Return what must be watched meanwhile."""
        driver, stats, hdf = parts.driver, parts.stats, parts.hdf
        signals: list[SignalR[Any]] = [driver.array_counter, driver.acquire_time]
        signals += [stats.dropped_arrays, stats.array_counter]
        if hdf is not None:
            signals += [hdf.dropped_arrays, hdf.queue_free, hdf.num_captured]
            signals += [hdf.write_error, hdf.capture]
        return signals

    # ---- reading --------------------------------------------------------------------------

    async def frames(self) -> Frames:
        """Return the frames that came since the last call, as far as they can be read.

        Raises
        ------
        OSError
            If frames do not get into the file, the server does not answer any more, or somebody
            has stopped the camera.
        TimeoutError
            If frames that were written cannot be read.
        """
        await self._check_writer()
        await self._check_life()
        self._check_flow()
        if self.settings.mode is not TriggerMode.LEVEL:
            exposure = self.parts.driver.acquire_time
            self.exposures.observe(self.seen.timestamp(exposure), self.seen.value(exposure))
        if self.reader is None:
            return await self._frames_of_series()
        new = await self._read(self.reader)
        if len(new):
            self._progress = time.monotonic()
            self._pending.append((self._progress, new))
            await self._count(new)
        await self._hurry(self.reader, bool(len(new)))
        return await self._complete_frames()

    async def _read(self, reader: FrameReader) -> FileFrames:
        try:
            new = await asyncio.to_thread(reader.read)
        except KeyError as error:
            raise OSError(
                f"{self.parts.name}: {error.args[0]} HDF1 must take its frames from Stats1, or use "
                "statistics='series'."
            ) from error
        if len(new):
            self._check_images(reader)
        return new

    def _check_images(self, reader: FrameReader) -> None:
        """Compare what is in the file with what was announced: the file is right."""
        assert self.file is not None
        key = self.file.data_key
        shape = tuple(int(size or 0) for size in key["shape"][1:])
        announced = shape, np.dtype(key.get("dtype_numpy", "<u2"))
        if reader.images not in (None, announced):
            assert reader.images is not None
            found = reader.images
            raise OSError(
                f"The images of {self.parts.name} have the shape {found[0]} and the type "
                f"{found[1].name}, but were announced as {announced[0]} and {announced[1].name}: "
                "somebody has changed its size or type; fly again."
            )

    async def _count(self, new: FileFrames) -> None:
        """Learn which unique id the first frame has, and how many are missing."""
        if self._base is None:
            self._base = first = int(new.ids[0])
            if self.first_id is not None:
                # Asked for: the file may be quicker than a monitor.
                made = await self.parts.driver.array_counter.get_value(cached=False)
                if 0 <= first - self.first_id <= made - self._made_before:
                    self._base = self.first_id
        self._newest = max(self._newest, int(new.ids.max()))
        self._known += len(new)

    async def _hurry(self, reader: FrameReader, news: bool) -> None:
        """See to it that what was written can be read."""
        hdf = self.parts.hdf
        assert hdf is not None
        now = time.monotonic()
        written, number = self.seen.value(hdf.num_captured), self.settings.number
        behind = written > reader.rows
        if not behind:
            self._progress = now
        elif now - self._progress > UNREADABLE_PERIOD:
            raise TimeoutError(
                f"The server of {self.parts.name} says that it has written {written} frames, but "
                f"{reader.rows} can be read in {reader.path}: is this the folder that it writes to?"
            )
        if not self.live or not behind:
            return
        complete = 0 < number <= written + self._dropped_now() and not self._complete
        self._complete |= complete
        since = max(self._progress, self._flushed)
        if (complete and not news) or now - since > QUIET_PERIOD:
            self._flushed = now
            try:
                await hdf.flush_now.set(True, timeout=LIFE_PERIOD)
            except TimeoutError as error:
                raise self.dead() from error

    async def _complete_frames(self) -> Frames:
        """Return the frames whose statistics are known too."""
        series = self.parts.series
        if self.from_file or series is None:
            ready = [part for _, part in self._pending]
            self._pending.clear()
            values = {
                statistic: _concatenate([part.values[f"{ATTRIBUTE}{statistic}"] for part in ready])
                for statistic in PARAMETERS
            }
        else:
            times, statistics = await series.read()
            ready = self._those_with_statistics(times)
            wanted = _concatenate([part.driver_stamps for part in ready])
            values = join(times, wanted, statistics)
        ids = np.concatenate([_NO_IDS, *(part.ids for part in ready)])
        stamps = _concatenate([part.stamps for part in ready])
        return self._frames_of(ids - (self._base or 0), stamps, values)

    def _those_with_statistics(self, times: Floats) -> list[FileFrames]:
        ready: list[FileFrames] = []
        newest = times.max(initial=-np.inf)
        while self._pending:
            since, part = self._pending[0]
            late = time.monotonic() - since > SERIES_PATIENCE
            if part.driver_stamps.max() > newest and not late:
                break
            ready.append(part)
            del self._pending[0]
        return ready

    async def _frames_of_series(self) -> Frames:
        """Return frames that are in no file: numbered as they came, a dropped one leaves no gap."""
        series = self.parts.series
        assert isinstance(series, TimeSeries)
        times, values = await series.read()
        begin, self._known = self._known, len(times)
        stamps = await series.epics_stamps(times[begin:])
        numbers = np.arange(begin, self._known, dtype=np.int64)
        return self._frames_of(numbers, stamps, {s: v[begin:] for s, v in values.items()})

    def _frames_of(
        self, numbers: NDArray[np.int64], stamps: Floats, values: dict[str, Floats]
    ) -> Frames:
        ends = stamps - self.latency
        lengths = self.exposures.of(ends)
        return Frames(numbers, ends - lengths, ends, columns_of(self.parts.name, values, len(ends)))

    # ---- watching -------------------------------------------------------------------------

    async def _check_writer(self) -> None:
        hdf = self.parts.hdf
        if hdf is None:
            return
        if self._write_failed():
            # The message comes after the status.
            message = await hdf.write_message.get_value(cached=False)
            raise OSError(
                f"The server of {self.parts.name} cannot write its frames to the file: "
                f"{message or 'Write error'!r}; look at its disk."
            )
        if self.live and self._capture_ended():
            raise OSError(
                f"Somebody has ended the capture of {self.parts.name} after "
                f"{self.seen.value(hdf.num_captured)} frames ({pv_of(hdf.capture)} is off): later "
                "frames are in no file; fly again."
            )
        if self._queue_was_full() and not self._warned:
            self._warned = True
            self.log.warning("The queue of the file writer is full: frames may get lost.")

    async def _check_life(self) -> None:
        """Look now and then whether the camera still waits for triggers."""
        now = time.monotonic()
        if not self.live or now - self._looked < LIFE_PERIOD:
            return
        self._looked = now
        if not await self.answers():
            raise self.dead()
        if await holds_twice(self._has_stopped):
            driver, number = self.parts.driver, self.settings.number
            made = await driver.array_counter.get_value(cached=False) - self._made_before
            of = f" of {number}" if number else ""
            raise OSError(
                f"{self.parts.name} stopped acquiring after {made}{of} frames: "
                f"{await self.parts.shown()}."
            )

    async def _has_stopped(self) -> bool:
        """Whether it does not acquire, and has not made all its frames, which it ends with."""
        driver = self.parts.driver
        acquiring = await driver.acquire.get_value(cached=False)
        made = await driver.array_counter.get_value(cached=False) - self._made_before
        return not acquiring and not 0 < self.settings.number <= made

    def _check_flow(self) -> None:
        """Find out when frames that the camera makes do not come to the last plugin any more."""
        now, made, arrived = time.monotonic(), self._made(), self._arrived()
        since, last, made_then = self._flow
        if arrived != last or made - made_then < 2 or not self.live:
            # Of a single frame it cannot be told whether it is still on its way.
            if arrived != last or made == made_then:
                self._flow = now, arrived, made
            return
        hdf = self.parts.hdf
        busy = hdf is not None and self.seen.value(hdf.queue_free) == 0
        if now - since > STUCK_PERIOD and not busy:
            port = self.parts.last.nd_array_port
            raise OSError(
                f"{self.parts.name} has made {made} frames, but {arrived} came to "
                f"{pv_of(port).rsplit(':', 1)[0]}, and none for {STUCK_PERIOD:g} s: connect and "
                "enable the plugins between them."
            )

    async def answers(self) -> bool:
        """Return whether the camera's server lives: else every signal would be waited for."""
        return await answers(self.parts)

    def dead(self) -> ConnectionError:
        """Return the error that says that the server is dead."""
        return dead(self.parts)

    # ---- counting -------------------------------------------------------------------------

    def _made(self) -> int:
        return self.seen.value(self.parts.driver.array_counter) - self._made_before

    def _arrived(self) -> int:
        hdf = self.parts.hdf
        if hdf is not None:
            return self.seen.value(hdf.num_captured)
        return self.seen.value(self.parts.stats.array_counter) - self._arrived_before

    def _dropped_ever(self) -> int:
        hdf, stats, count = self.parts.hdf, self.parts.stats, 0
        if hdf is not None:
            count += self.seen.value(hdf.dropped_arrays)
        if self.from_file or hdf is None:
            count += self.seen.value(stats.dropped_arrays)
        return count

    def _dropped_now(self) -> int:
        return self._dropped_ever() - self._dropped_before

    def dropped(self) -> int:
        """Return how many frames the camera made that are not in the file.

        The largest of what the plugins say that they dropped, of the unique ids that are missing
        in the file, and, once the camera has been disarmed, of the frames that it counted and
        that never came to the file: a throttled or disabled plugin says nothing.
        """
        missing = 0
        if self._base is not None:
            missing = self._newest - self._base + 1 - self._known
        return max(self._dropped_now(), missing, self._lost)

    async def drain(self) -> None:
        """Wait until the file writer has written what the camera has made; count what is lost."""
        hdf, driver, stats = self.parts.hdf, self.parts.driver, self.parts.stats
        arrivals = stats.array_counter if hdf is None else hdf.num_captured
        idle_from = time.monotonic()
        deadline = idle_from + DRAIN_PERIOD
        while time.monotonic() < deadline and not self._write_failed():
            # Asked for, since a server that died and came back sends no updates.
            made, arrived = await asyncio.gather(
                driver.array_counter.get_value(cached=False), arrivals.get_value(cached=False)
            )
            made, arrived = made - self._made_before, arrived - self._arrived_before
            self._lost = max(made - arrived, 0)
            if arrived + self._dropped_now() >= made:
                return
            if hdf is not None and await self._is_busy():
                idle_from = time.monotonic()
            elif time.monotonic() - idle_from > IDLE_PERIOD:
                # What is missing got lost before it came to the writer.
                return
            await asyncio.sleep(0.02)

    async def _is_busy(self) -> bool:
        hdf = self.parts.hdf
        assert hdf is not None
        free, size = await asyncio.gather(
            hdf.queue_free.get_value(cached=False), hdf.queue_size.get_value()
        )
        return free < size

    def close(self) -> None:
        """Close the file for reading."""
        if self.reader is not None:
            self.reader.close()


async def answers(parts: Parts) -> bool:
    """Return whether the camera's server answers within `LIFE_PERIOD`."""
    try:
        async with asyncio.timeout(LIFE_PERIOD):
            await parts.driver.acquire.get_value(cached=False)
    except TimeoutError:
        return False
    return True


def dead(parts: Parts, consequence: str = "") -> ConnectionError:
    """Return the error that says that the server is dead, and what that leads to."""
    return ConnectionError(
        f"The server of {parts.name} does not answer any more ({pv_of(parts.driver.acquire)})"
        + (f"; {consequence}." if consequence else ".")
    )


def _concatenate(parts: list[Floats]) -> Floats:
    return np.concatenate(parts) if parts else np.empty(0)


_NO_IDS: Final = np.empty(0, np.int64)


__all__ = ["Acquisition", "answers", "dead"]
