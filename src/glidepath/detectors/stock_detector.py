"""Any `StandardDetector` of ophyd-async that has a trigger logic and writes HDF5 follows triggers.

That is every areaDetector camera of ophyd-async, and those of other packages. The detector's own
logic sets it up and opens its file; frames are taken from that file, with the times and numbers
that areaDetector writes beside the images. Where a file has none of these, frames can only be
counted, and that is said.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import unquote, urlparse
from xml.etree import ElementTree

import h5py
import numpy as np
from event_model import DataKey
from ophyd_async.core import (
    DetectorTrigger,
    DetectorTriggerLogic,
    Device,
    SignalR,
    SignalRW,
    StandardDetector,
    TriggerInfo,
)
from ophyd_async.epics.adcore import ADBaseIO, NDArrayBaseIO, NDFileIO

from glidepath.devices.settings import Settings, same
from glidepath.devices.signals import ask, holds_twice
from glidepath.sentences import sentence_of
from glidepath.storage.followed_file import FollowedFile

from .camera.frame_reader import ATTRIBUTES, FileFrames, FrameReader
from .camera.parts import settings_of
from .camera.stock_plans import RunPaths
from .frame_source import FrameFile, Frames, FrameSettings, TriggerMode, no_frames
from .frame_sources import register_frame_source
from .handshake import pv_of
from .limits import check_timing

IO = TypeVar("IO")

HDF5: Final = "application/x-hdf5"

FLUSH_PERIOD: Final = 1.0
"""Seconds between two flushes of the file, which can freeze a plugin if it is asked too often
(ADCore issue 593)."""

LIFE_PERIOD: Final = 2.0
"""Seconds between two looks whether the detector still acquires and its file is open."""

IDLE_PERIOD: Final = 0.5
"""Seconds without a new frame after which a file has all that will come."""

PRIME_PERIOD: Final = 10.0
"""Seconds, beside its exposure, that a single frame may take."""

SHORTEST_GAP: Final = 1e-9
"""Seconds between exposures where none are asked for: with 0 the period would not be set at all."""

_MODES: Final = {
    DetectorTrigger.INTERNAL: TriggerMode.INTERNAL,
    DetectorTrigger.EXTERNAL_EDGE: TriggerMode.EDGE,
    DetectorTrigger.EXTERNAL_LEVEL: TriggerMode.LEVEL,
}
_TRIGGERS: Final = {mode: trigger for trigger, mode in _MODES.items()}


@dataclass
class _Armed:
    """What is known of one series of frames."""

    settings: FrameSettings
    file: FrameFile
    reader: FrameReader
    counter: SignalR[int]
    """How many frames are written."""
    before: int
    """What it was when the series began."""
    stamped: bool | None = None
    """Whether the file has times and numbers; None while that cannot be seen."""
    live: bool = True
    base: int | None = None
    newest: int = -1
    known: int = 0
    lost: int = 0
    looked: float = field(default_factory=time.monotonic)
    flushed: float = field(default_factory=time.monotonic)


@dataclass
class _Use:
    """What was before it was touched."""

    settings: Settings
    was_running: bool
    shape_is_known: bool = False


class StockDetector:
    """Frames of a ``StandardDetector``, for a scan whose triggers it follows.

    Parameters
    ----------
    device
        Connected. If its ``PathProvider`` is a `glidepath.detectors.RunPaths`, its file goes into
        the run's folder; else where its own says.
    dead_time
        Seconds that it needs between two exposures; None: what its trigger logic says.
    latency
        Seconds from the end of an exposure to the timestamp of its frame.
    """

    def __init__(
        self, device: StandardDetector, *, dead_time: float | None = None, latency: float = 0.0
    ) -> None:
        self.device = device
        self.latency = latency
        self._dead_time = dead_time
        self._columns: tuple[str, ...] = ()
        self._use: _Use | None = None
        self._armed: _Armed | None = None

    @property
    def name(self) -> str:
        """Name of the detector; its images are called after it."""
        return self.device.name

    @property
    def parent(self) -> None:
        """Nobody's: Bluesky asks for it when it stages."""
        return None

    def __repr__(self) -> str:
        return f"triggered({self.device!r})"

    # ---- what it can do -------------------------------------------------------------------

    def columns(self) -> Mapping[str, str]:
        """Return the columns that each frame fills: its NDAttributes, as `check_frames` saw."""
        return dict.fromkeys(self._columns, "")

    async def trigger_modes(self) -> frozenset[TriggerMode]:
        """Return what can begin an exposure."""
        return frozenset(_MODES[trigger] for trigger in _triggers(self.device))

    async def dead_time(self) -> float:
        """Return the seconds that it needs between two exposures, as its logic says.

        Raises
        ------
        ValueError
            If nobody knows it, although triggers could come too early.
        """
        if self._dead_time is not None:
            return self._dead_time
        try:
            _, known = await self.device.get_trigger_deadtime()
        except (ValueError, KeyError) as error:
            raise ValueError(self._unknown_dead_time(sentence_of(error).rstrip("."))) from error
        if known is not None:
            return float(known)
        if _triggers(self.device) <= {DetectorTrigger.INTERNAL}:
            # By its own clock no trigger can come too early.
            return 0.0
        raise ValueError(self._unknown_dead_time("its trigger logic does not say it"))

    def _unknown_dead_time(self, why: str) -> str:
        return (
            f"The dead time of {self.name} is not known, for {why}: measure it or take it from the "
            "manual, and put triggered(detector, dead_time=...) into the scan."
        )

    async def check_frames(self, settings: FrameSettings) -> None:
        """Refuse (ValueError, one sentence) what cannot be done. Nothing is changed."""
        await check_timing(self, settings)
        if self._armed is None or not self._armed.live:
            for writer in self._ios(NDFileIO):
                if await writer.capture.get_value(cached=False):
                    raise ValueError(
                        f"The file writer of {self.name} is capturing for somebody else "
                        f"({pv_of(writer.capture)} is on); end that capture first."
                    )
        found = [await _attributes(io) for io in self._ios(NDArrayBaseIO)]
        self._columns = tuple(name for names in found for name in names)

    # ---- one use of it --------------------------------------------------------------------

    def _ios(self, kind: type[IO]) -> Iterator[IO]:
        for _, child in self.device.children():
            if isinstance(child, kind):
                yield child

    @property
    def _driver(self) -> ADBaseIO | None:
        return next(iter(self._ios(ADBaseIO)), None)

    def _settings(self) -> Iterator[SignalRW[Any]]:
        yield from settings_of(*self._ios(NDArrayBaseIO))

    async def _begin_use(self) -> _Use:
        if self._use is None:
            settings = Settings(self.name)
            await settings.save(*self._settings())
            driver = self._driver
            running = driver is not None and await driver.acquire.get_value(cached=False)
            self._use = _Use(settings, running)
        return self._use

    async def arm(self, settings: FrameSettings) -> None:
        """Set it up by its own logic; return when that says that it is ready.

        Raises
        ------
        ValueError
            If it cannot be done, writes no HDF5 file, or writes into the file of the part before.
        TimeoutError
            If it does not get ready.
        """
        await self.disarm()
        await self.check_frames(settings)
        previous = None if self._armed is None else self._armed.file.path
        self._close()
        use = await self._begin_use()
        await self.device.stage()
        try:
            if not use.shape_is_known:
                await self._prime(settings.exposure)
                use.shape_is_known = True
            self._armed = await self._begin(settings, previous)
        except BaseException:
            await self.device.unstage()
            raise

    async def _begin(self, settings: FrameSettings, previous: Path | None) -> _Armed:
        gap = max(settings.period - settings.exposure, SHORTEST_GAP)
        internal = settings.mode is TriggerMode.INTERNAL
        settings.folder.mkdir(parents=True, exist_ok=True)
        paths = [logic.path_provider for logic in _data_logics(self.device)]
        ours = [provider for provider in paths if isinstance(provider, RunPaths)]
        driver = self._driver
        if driver is not None:
            await driver.array_counter.set(0)
        for provider in ours:
            provider.folder = settings.folder
        try:
            await self.device.prepare(
                TriggerInfo(
                    trigger=_TRIGGERS[settings.mode],
                    livetime=settings.exposure,
                    deadtime=gap if internal else 0.0,
                    number_of_events=settings.number,
                )
            )
        finally:
            for provider in ours:
                provider.folder = None
        file, columns = await self._file()
        if file.path == previous:
            raise ValueError(
                f"{self.name} would write over {file.path.name}, which has the frames of the part "
                "before; give it a PathProvider that names a new file each time, such as "
                "glidepath.detectors.RunPaths()."
            )
        self._columns = columns
        counter = _counter(self.device)
        armed = _Armed(
            settings,
            file,
            FrameReader(file.path, columns, file.dataset),
            counter,
            await counter.get_value(cached=False),
        )
        if internal:
            await self.device.kickoff()
        return armed

    async def _prime(self, exposure: float) -> None:
        """Let an areaDetector driver make a frame: before that it shows the last one's size."""
        driver, logic = self._driver, _trigger_logic(self.device)
        if driver is None or TriggerMode.INTERNAL not in await self.trigger_modes():
            return
        assert logic is not None
        await logic.prepare_internal(1, exposure, 0.0)
        within = PRIME_PERIOD + exposure
        try:
            await driver.acquire.set(True, timeout=within)
        except TimeoutError as error:
            raise TimeoutError(f"{self.name} made no frame within {within:.3g} s.") from error

    async def _file(self) -> tuple[FrameFile, tuple[str, ...]]:
        """Return the file that its logic has prepared, and the NDAttributes in it."""
        keys = await self.device.describe_collect()
        resources: dict[str, Any] = {}
        async for kind, document in self.device.collect_asset_docs(1):
            if kind == "stream_resource":
                resource: Any = document
                resources[resource["data_key"]] = resource
        images = [
            name
            for name, resource in resources.items()
            if len(keys[name]["shape"]) > 2 and resource["mimetype"] == HDF5
        ]
        if not images:
            raise ValueError(
                f"{self.name} writes no images to an HDF5 file, from which its frames could be "
                "taken; give it a writer of HDF5 files."
            )
        resource = resources[images[0]]
        columns = tuple(
            name
            for name, other in resources.items()
            if len(keys[name]["shape"]) < 2
            and other["parameters"]["dataset"] == f"{ATTRIBUTES}/{name}"
            and np.dtype(keys[name].get("dtype_numpy", "<f8")).kind in "biuf"
        )
        path = Path(unquote(urlparse(resource["uri"]).path))
        key: DataKey = {**keys[images[0]]}
        return FrameFile(path, resource["parameters"]["dataset"], key), columns

    # ---- frames ---------------------------------------------------------------------------

    async def frames(self) -> Frames:
        """Return the frames that came since the last call, as far as they can be read.

        Raises
        ------
        OSError
            If somebody has stopped it or its file writer, or its images are not as announced.
        """
        armed = self._armed
        if armed is None:
            return no_frames(self.columns())
        await self._check_life(armed)
        await self._flush(armed)
        if armed.stamped is None:
            armed.stamped = await asyncio.to_thread(_has_stamps, armed.file.path)
            if armed.stamped is False:
                self.device.log.warning(self.remarks()[0])
        if armed.stamped is None:
            return no_frames(self.columns())
        if not armed.stamped:
            return await self._counted(armed)
        new = await asyncio.to_thread(armed.reader.read)
        if len(new):
            self._check_images(armed)
            await self._count(armed, new)
        ends = new.stamps - self.latency
        values = {name: new.values.get(name, np.empty(0)) for name in self._columns}
        numbers = new.ids - (armed.base or 0)
        return Frames(numbers, ends - armed.settings.exposure, ends, values)

    def remarks(self) -> list[str]:
        """Return what is to be said of how its frames are followed; empty if nothing."""
        if self._armed is None or self._armed.stamped is not False:
            return []
        return [
            f"The file of {self.name} has no times or numbers of its frames "
            f"({ATTRIBUTES}): they can only be counted, and are timed by when the count changed"
        ]

    async def _count(self, armed: _Armed, new: FileFrames) -> None:
        """Learn which unique id the first frame has, and how many are missing."""
        if armed.base is None:
            armed.base = first = int(new.ids[0])
            driver = self._driver
            if driver is not None and first <= await driver.array_counter.get_value(cached=False):
                # Its counter was set to 0, and the ids follow it: from 1, or from 0.
                armed.base = min(first, 1)
        armed.newest = max(armed.newest, int(new.ids.max()))
        armed.known += len(new)

    async def _counted(self, armed: _Armed) -> Frames:
        """Return frames of a file without times, as many as are written, timed by the count."""
        (reading,) = (await armed.counter.read(cached=False)).values()
        count = int(reading["value"]) - armed.before
        new, armed.known = count - armed.known, count
        if new <= 0:
            return no_frames(self.columns())
        numbers = np.arange(count - new, count, dtype=np.int64)
        ends = reading["timestamp"] - self.latency - armed.settings.period * (count - 1 - numbers)
        values = dict.fromkeys(self._columns, np.full(new, np.nan))
        return Frames(numbers, ends - armed.settings.exposure, ends, values)

    def _check_images(self, armed: _Armed) -> None:
        key, found = armed.file.data_key, armed.reader.images
        announced = (
            tuple(int(size or 0) for size in key["shape"][1:]),
            np.dtype(key.get("dtype_numpy", "<u2")),
        )
        if found not in (None, announced):
            assert found is not None
            raise OSError(
                f"The images of {self.name} have the shape {found[0]} and the type "
                f"{found[1].name}, but were announced as {announced[0]} and {announced[1].name}: "
                "somebody has changed its size or type; fly again."
            )

    async def _check_life(self, armed: _Armed) -> None:
        now = time.monotonic()
        if not armed.live or now - armed.looked < LIFE_PERIOD:
            return
        armed.looked = now
        written = await armed.counter.get_value(cached=False) - armed.before
        if 0 < armed.settings.number <= written:
            return
        if (driver := self._driver) is not None and await holds_twice(
            partial(self._has_stopped, driver, armed)
        ):
            made = await ask(driver.array_counter, LIFE_PERIOD)
            raise OSError(
                f"{self.name} stopped acquiring after {made} frames "
                f"({pv_of(driver.acquire)} is off)."
            )
        for writer in self._ios(NDFileIO):
            if await holds_twice(partial(_is_off, writer.capture)):
                raise OSError(
                    f"Somebody has ended the capture of {self.name} after {written} frames "
                    f"({pv_of(writer.capture)} is off): later frames are in no file; fly again."
                )

    async def _has_stopped(self, driver: ADBaseIO, armed: _Armed) -> bool:
        """Whether it does not acquire, and has not made all its frames, which it ends with."""
        acquiring = await ask(driver.acquire, LIFE_PERIOD)
        # They may not be written yet.
        made = await ask(driver.array_counter, LIFE_PERIOD)
        return not acquiring and not 0 < armed.settings.number <= made

    async def _flush(self, armed: _Armed) -> None:
        now = time.monotonic()
        if armed.live and now - armed.flushed > FLUSH_PERIOD:
            armed.flushed = now
            # Its documents come from somewhere else, but with them its logic flushes.
            async for _ in self.device.collect_asset_docs():
                pass

    async def dropped(self) -> int:
        """Return how many frames are missing of those that it has made or numbered."""
        armed = self._armed
        if armed is None:
            return 0
        missing = 0 if armed.base is None else armed.newest - armed.base + 1 - armed.known
        return max(missing, armed.lost)

    def file(self) -> FrameFile | None:
        """Return the file with the images, once it is armed."""
        return None if self._armed is None else self._armed.file

    # ---- the end --------------------------------------------------------------------------

    async def disarm(self) -> None:
        """End the acquisition, let the file be written, close it; what is in it can be read."""
        armed = self._armed
        if armed is None or not armed.live:
            return
        armed.live = False
        try:
            logic = self.device._acquire_logic
            if logic is not None:
                await logic.ensure_stopped()
            await self._drain(armed)
        finally:
            await self.device.unstage()

    async def _drain(self, armed: _Armed) -> None:
        driver, last, since = self._driver, -1, time.monotonic()
        while True:
            written = await armed.counter.get_value(cached=False) - armed.before
            if driver is not None:
                made = await driver.array_counter.get_value(cached=False)
                armed.lost = max(made - written, 0)
                if made and not armed.lost:
                    return
            if written != last:
                last, since = written, time.monotonic()
            elif time.monotonic() - since > IDLE_PERIOD:
                return
            await asyncio.sleep(0.02)

    def _close(self) -> None:
        if self._armed is not None:
            self._armed.reader.close()

    async def restore(self) -> None:
        """Put back the settings of an areaDetector; let it run again if it was running."""
        await self.disarm()
        self._close()
        self._armed = None
        use, self._use = self._use, None
        if use is None:
            return
        changed = [s for s in self._settings() if not same(await ask(s), use.settings.before(s))]
        await use.settings.lend(*changed)
        await use.settings.restore()
        if use.was_running and self.device._acquire_logic is not None:
            await self.device._acquire_logic.start_acquiring()


async def _is_off(signal: SignalR[bool]) -> bool:
    return not await ask(signal, LIFE_PERIOD)


def triggered(
    device: StandardDetector, *, dead_time: float | None = None, latency: float = 0.0
) -> StockDetector:
    """Say of a ``StandardDetector`` what its class cannot: then put it into a triggered scan.

    Parameters
    ----------
    device, dead_time, latency
        See `StockDetector`.
    """
    return StockDetector(device, dead_time=dead_time, latency=latency)


@register_frame_source(StandardDetector)
def _(device: StandardDetector) -> StockDetector | None:
    return None if _trigger_logic(device) is None else StockDetector(device)


# ---- what ophyd-async 0.21 does not show: see the test of private parts -----------------------


def _trigger_logic(device: StandardDetector) -> DetectorTriggerLogic | None:
    return device._trigger_logic


def _triggers(device: StandardDetector) -> set[DetectorTrigger]:
    """Return its triggers; the public function fails where it does not know the dead time."""
    return device._supported_triggers


def _data_logics(device: StandardDetector) -> list[Any]:
    return [logic for logic in device._data_logics if hasattr(logic, "path_provider")]


def _counter(device: StandardDetector) -> SignalR[int]:
    """Return the signal that counts what its first file has."""
    context = device._prepare_ctx
    assert context is not None
    return context.streamable_data_providers[0].collections_written_signal


async def _attributes(io: Device) -> list[str]:
    """Return the names of the numbers that a driver or plugin puts beside its images."""
    assert isinstance(io, NDArrayBaseIO)
    text = await io.nd_attributes_file.get_value()
    if "<Attributes>" not in text:
        return []
    try:
        entries = list(ElementTree.fromstring(text))
    except ElementTree.ParseError:
        return []
    texts = {"DBR_STRING", "STRING"}
    return [
        entry.attrib["name"]
        for entry in entries
        if not texts & {entry.get("dbrtype", ""), entry.get("datatype", "")}
    ]


class _Look(FollowedFile):
    """Opens a file once, if that disturbs nobody."""

    def has(self, path: str) -> bool | None:
        """Return whether something is in it; None while it cannot be opened."""
        with self._lock:
            try:
                file: h5py.File | None = self._open()
                return None if file is None else path in file
            except (OSError, RuntimeError):
                return None
            finally:
                self._close()


def _has_stamps(path: Path) -> bool | None:
    return _Look(path).has(f"{ATTRIBUTES}/NDArrayUniqueId")


__all__ = ["StockDetector", "triggered"]
