"""areaDetector cameras: in stock plans, sampled while they run freely, and triggered.

A `Camera` is ophyd-async's `AreaDetector` for one of its families of drivers. On top of that it
follows single frames: their unique ids and timestamps from the HDF5 file that the camera's server
writes, their statistics from the plugin NDStats, either as NDAttributes in that file or as the
plugin's time series.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePath
from typing import Any, Final

import numpy as np
from event_model import DataKey
from numpy.typing import NDArray
from ophyd_async.core import (
    AsyncStatus,
    DetectorTrigger,
    DeviceVector,
    EnableDisable,
    SignalR,
    SignalRW,
    derived_signal_r,
)
from ophyd_async.epics.adcore import (
    ADAcquireLogic,
    ADBaseIO,
    ADWriterFactory,
    AreaDetector,
    NDArrayDescription,
    NDAttributeDataType,
    NDAttributeParam,
    ndattributes_to_xml,
)

from glidepath.devices.sampled import Derived, SampledChannel
from glidepath.devices.signals import Watch, signal_r, signal_rw, watch
from glidepath.devices.staging import Staging
from glidepath.timeline.channel import Channel, ChannelKind

from .area_detector_io import BurstIO, DriverExtrasIO, Hdf5IO, StatsIO
from .area_detector_logic import ImageFileLogic, ImagePaths, StatisticsLogic
from .changes import Changes
from .drivers import Driver, find_driver
from .frame_reader import IMAGES, FileFrames, FrameReader
from .frame_source import FrameFile, Frames, FrameSettings, TriggerMode, no_frames
from .handshake import pv_of
from .limits import check_timing
from .several_frames import spot
from .time_series import TimeSeries, join

Floats = NDArray[np.float64]

FWHM_PER_SIGMA: Final = 2.355
"""Full width at half maximum of a Gaussian, in standard deviations."""

FLUSH_PERIOD: Final = 0.5
"""Seconds after which frames are to be readable in the file."""

QUIET_PERIOD: Final = 1.0
"""Seconds without a new frame in the file, although some were written, after which it is flushed
by hand, for the frames that do not fill a chunk. Not more often (ADCore issue 593)."""

UNREADABLE_PERIOD: Final = 15.0
"""Seconds after which frames that were written must have become readable."""

LIFE_PERIOD: Final = 2.0
"""Seconds between two looks whether the server lives, and within which it must answer."""

DRAIN_PERIOD: Final = 10.0
"""Seconds that the file writer may take for what is still in its queue."""

IDLE_PERIOD: Final = 0.5
"""Seconds after which a file writer with nothing in its queue has written everything."""

SERIES_PATIENCE: Final = 2.0
"""Seconds that a frame in the file waits for its statistics from a time series."""

LARGEST_CHUNK: Final = 16384
"""NDAttributes per chunk that the plugin chooses itself, and the most that we ask for."""

EVERY_FRAME: Final = -1.0
"""Monitor deadband (``MDEL``) with which a value is posted even if it equals the last one."""

FRAME: Final = "FrameStart"
BURST: Final = "FrameBurstStart"
"""What a trigger can begin (GenICam SFNC, TriggerSelector)."""

_TRIGGERS: Final = {
    DetectorTrigger.INTERNAL: TriggerMode.INTERNAL,
    DetectorTrigger.EXTERNAL_EDGE: TriggerMode.EDGE,
    DetectorTrigger.EXTERNAL_LEVEL: TriggerMode.LEVEL,
}

_PARAMETERS: Final = {
    "total": "TOTAL",
    "centroid_x": "CENTROIDX_VALUE",
    "centroid_y": "CENTROIDY_VALUE",
    "sigma_x": "SIGMAX_VALUE",
    "sigma_y": "SIGMAY_VALUE",
    "orientation": "ORIENTATION_VALUE",
}
"""Statistic -> parameter of the plugin (NDPluginStats.h)."""

_UNITS: Final = {
    "total": "counts",
    "centroid_x": "px",
    "centroid_y": "px",
    "sigma_x": "px",
    "sigma_y": "px",
    "fwhm_x": "px",
    "fwhm_y": "px",
    "orientation": "deg",
}

_FWHM: Final = {"fwhm_x": "sigma_x", "fwhm_y": "sigma_y"}

_ATTRIBUTE: Final = "stats_"
"""What the names of our NDAttributes begin with."""


class StatisticsSource(StrEnum):
    """Where the statistics of triggered frames come from."""

    AUTO = "auto"
    """From the file if its images can go through the statistics plugin unchanged."""
    FILE = "file"
    """NDAttributes in the file: of every frame in it, however many."""
    SERIES = "series"
    """The plugin's time series: of as many frames as its waveforms hold."""


@dataclass
class _Armed:
    """What is known of one series of triggered frames."""

    settings: FrameSettings
    exposure: float
    """As the camera reads it back, s."""
    from_file: bool
    seen: Watch
    dropped_before: int = 0
    reader: FrameReader | None = None
    file: FrameFile | None = None
    queue_was_full: Callable[[], bool] = lambda: False
    write_failed: Callable[[], bool] = lambda: False
    pending: list[tuple[float, FileFrames]] = field(default_factory=list)
    base: int | None = None
    newest: int = -1
    known: int = 0
    progress: float = field(default_factory=time.monotonic)
    looked: float = field(default_factory=time.monotonic)
    flushed: float = 0.0
    complete: bool = False
    warned: bool = False


class Camera(AreaDetector[ADBaseIO]):
    """A camera with the plugins NDStats and NDFileHDF5.

    It can be used

    - in stock plans: ``bp.scan([camera], motor, ...)``: an event has the statistics of its frame,
      and the image by reference;
    - sampled, while it runs freely: ``flyscan([camera], energy, ...)``: the statistics are
      channels;
    - triggered: see `glidepath.detectors.FrameSource`.

    Staging and arming enable what is needed in the plugins. What was changed is put back
    afterwards, and a camera that was running before runs again.

    Parameters
    ----------
    prefix
        Of the camera, such as ``"SIM:CAM1:"``.
    name
        Name of the device; its columns begin with it.
    driver
        A name in `glidepath.detectors.DRIVERS`, a `glidepath.detectors.Driver`, or where one is,
        as ``"package.module:NAME"``.
    dead_time
        Seconds that the camera needs between two exposures. None: what ophyd-async knows of the
        driver and the camera's model; where it knows nothing, the camera cannot be triggered.
    latency
        Seconds from the end of an exposure to the timestamp of its frame.
    images
        Whether the server writes the images to files.
    statistics
        Where the statistics of triggered frames come from.
    at_server
        Turns a folder of this machine into the same folder as the camera's server sees it,
        such as ``lambda folder: PureWindowsPath("Z:/") / folder.relative_to("/data")``.
    ready_within
        Seconds within which the camera must say that it is ready.
    burst
        Whether the camera can make several frames for one trigger as GenICam has it; then
        ``frames_per_row`` may be set.
    driver_suffix, stats_suffix, hdf_suffix
        Behind the prefix.

    Attributes
    ----------
    total, centroid_x, centroid_y, sigma_x, sigma_y, fwhm_x, fwhm_y, orientation
        Statistics of the newest frame: counts, pixels, degrees; FWHM is 2.355 sigma.
    driver, stats, hdf
        The driver and its plugins; ``hdf`` only with images.
    burst
        What makes bursts; only for a camera that can.
    """

    def __init__(
        self,
        prefix: str,
        name: str = "",
        *,
        driver: str | Driver = "sim",
        dead_time: float | None = None,
        latency: float = 0.0,
        images: bool = True,
        statistics: StatisticsSource | str = StatisticsSource.AUTO,
        at_server: Callable[[Path], PurePath] = Path.absolute,
        ready_within: float = 10.0,
        burst: bool = False,
        driver_suffix: str = "cam1:",
        stats_suffix: str = "Stats1:",
        hdf_suffix: str = "HDF1:",
    ) -> None:
        self._statistics = StatisticsSource(statistics)
        if not images and self._statistics is StatisticsSource.FILE:
            raise ValueError(
                f"The camera {name!r} writes no images, so its statistics cannot be in their file; "
                "use statistics='series'."
            )
        self.latency = latency
        self._family = find_driver(driver)
        self._dead_time = dead_time
        self._ready_within = ready_within
        self._paths = ImagePaths(at_server)
        self._frames_per_row = 1
        self._bursts = False
        io = self._family.io(prefix + driver_suffix)
        self.burst: BurstIO
        if burst:
            self.burst = BurstIO(prefix + driver_suffix)
        stats_prefix = prefix + stats_suffix
        self.stats = StatsIO(stats_prefix)
        self.hdf: Hdf5IO
        self._trigger = self._family.trigger_logic(io, dead_time)
        self._acquire = ADAcquireLogic(io)
        self._image_logic: ImageFileLogic | None = None
        self._changes = Changes()
        self._staging = Staging()
        self._was_running = False
        self._staged = False
        self._free_running = False
        self._primed_for: tuple[Any, ...] | None = None
        self._armed: _Armed | None = None
        self._set_up_done = False
        self._subscriptions = AsyncExitStack()
        self.extras = DriverExtrasIO(prefix + driver_suffix)
        self._series: TimeSeries | None = None
        if self._statistics is not StatisticsSource.FILE:
            self._series = TimeSeries(stats_prefix, self.stats)
            self.time_series = self._series.io
        self.total = signal_r(float, f"{stats_prefix}Total_RBV", "counts")
        self.centroid_x = signal_r(float, f"{stats_prefix}CentroidX_RBV", "px")
        self.centroid_y = signal_r(float, f"{stats_prefix}CentroidY_RBV", "px")
        self.sigma_x = signal_r(float, f"{stats_prefix}SigmaX_RBV", "px")
        self.sigma_y = signal_r(float, f"{stats_prefix}SigmaY_RBV", "px")
        self.orientation = signal_r(float, f"{stats_prefix}Orientation_RBV", "deg")
        self.fwhm_x = derived_signal_r(_fwhm, "px", 3, sigma=self.sigma_x)
        self.fwhm_y = derived_signal_r(_fwhm, "px", 3, sigma=self.sigma_y)
        self.deadbands = DeviceVector(
            {
                number: signal_rw(float, f"{getattr(self, statistic).source}.MDEL")
                for number, statistic in enumerate(_PARAMETERS)
            }
        )
        self.add_detector_logics(
            StatisticsLogic(
                io,
                [getattr(self, column) for column in _UNITS],
                [self.total, self.fwhm_x, self.fwhm_y],
            )
        )
        super().__init__(
            io,
            prefix,
            *([self._writer_factory(hdf_suffix)] if images else []),
            acquire_logic=self._acquire,
            trigger_logic=self._trigger,
            plugins={"stats": self.stats},
            name=name,
        )

    def _writer_factory(self, suffix: str) -> ADWriterFactory[Hdf5IO]:
        def make_logic(writer: Hdf5IO, *_: Any) -> ImageFileLogic:
            # As the plugin gets them: a region may be cut out on the way from the camera.
            description = NDArrayDescription(
                [writer.array_size2, writer.array_size1, writer.array_size0],
                writer.data_type,
                writer.color_mode,
            )
            self._image_logic = ImageFileLogic(description, self._paths, writer)
            return self._image_logic

        return ADWriterFactory(Hdf5IO, suffix, "hdf", "", None, make_logic)

    def set_name(self, name: str, *, child_name_separator: str | None = None) -> None:
        """Name the device, and its statistics like the columns of a flight."""
        super().set_name(name, child_name_separator=child_name_separator)
        for statistic in _UNITS:
            getattr(self, statistic).set_name(self._column(statistic))

    def _column(self, statistic: str) -> str:
        return f"{self.name}_{statistic}"

    # ---- in stock plans -------------------------------------------------------------------

    @AsyncStatus.wrap
    async def stage(self) -> None:
        """Stop the camera, enable its statistics, and learn the size of its images.

        Raises
        ------
        TimeoutError
            If no frame comes through to the file writer.
        """
        await self._staging.run(self._stage())

    async def _stage(self) -> None:
        await self._note()
        await super().stage()
        self._staged = True
        await self._enable_statistics()
        await self._prime()

    @AsyncStatus.wrap
    async def unstage(self) -> None:
        """Stop the camera, close its file, put back what was changed."""
        await self._staging.end()
        try:
            await self.disarm()
            await super().unstage()
        finally:
            self._staged = self._free_running = False
            await self.restore()

    async def _note(self) -> None:
        """Remember all settings as they were before anything was changed."""
        if self._changes.noted:
            return
        self._was_running = await self.driver.acquire.get_value()
        await self._changes.note(*self._settings())

    def _settings(self) -> Iterator[SignalRW[Any]]:
        ios = [self.driver, self.stats]
        actions = {self.driver.acquire, self.driver.array_counter, self.stats.array_counter}
        if self._image_logic is not None:
            ios.append(self.hdf)
            actions |= {self.hdf.capture, self.hdf.flush_now, self.hdf.array_counter}
        for io in ios:
            for _, signal in io.children():
                if isinstance(signal, SignalRW) and signal not in actions:
                    yield signal
        yield self.extras.array_callbacks
        if self._can_burst:
            # Put back first: the driver's trigger settings are of what is selected.
            yield from (self.burst.frames, self.burst.selector)

    async def _enable_statistics(self) -> None:
        settings: list[tuple[SignalRW[Any], Any]] = [
            (self.extras.array_callbacks, EnableDisable.ENABLE),
            (self.stats.enable_callbacks, EnableDisable.ENABLE),
            (self.stats.array_callbacks, EnableDisable.ENABLE),
            (self.stats.compute_statistics, True),
            (self.stats.compute_centroid, True),
        ]
        for signal, value in settings:
            await self._changes.change(signal, value)

    async def _prime(self) -> None:
        """Send a frame through the plugins, which else do not know the size of images."""
        last: Hdf5IO | StatsIO = self.stats if self._image_logic is None else self.hdf
        await self._changes.change(last.enable_callbacks, EnableDisable.ENABLE)
        frame = await self._frame_kind()
        if await last.array_size0.get_value() and self._primed_for in (None, frame):
            self._primed_for = frame
            return
        await self.driver.wait_for_plugins.set(True)
        await self._trigger.prepare_internal(1, 0.0, 0.0)
        within = self._ready_within + await self.driver.acquire_time.get_value()
        try:
            await self.driver.acquire.set(True, timeout=within)
        except TimeoutError as error:
            await self._acquire.ensure_stopped()
            raise TimeoutError(
                f"{self.name} made no frame within {within:g} s: {await self._shown()}."
            ) from error
        came, made = await asyncio.gather(
            last.unique_id.get_value(), self.driver.unique_id.get_value()
        )
        if came != made or not await last.array_size0.get_value():
            source = await last.nd_array_port.get_value()
            raise TimeoutError(
                f"{self.name} made a frame, but it did not come through to "
                f"{pv_of(last.nd_array_port)}, which is {source!r}: connect and enable the plugins "
                "between them."
            )
        self._primed_for = await self._frame_kind()

    async def _frame_kind(self) -> tuple[Any, ...]:
        driver = self.driver
        signals = (driver.array_size_x, driver.array_size_y, driver.data_type)
        return tuple(await asyncio.gather(*(signal.get_value() for signal in signals)))

    async def _shown(self) -> str:
        state, message = await asyncio.gather(
            self.driver.detector_state.get_value(), self.extras.status_message.get_value()
        )
        return f"it shows {state.value!r}" + (f" and says {message!r}" if message else "")

    async def _start(self) -> None:
        """Start acquiring; return when the camera says that it is ready."""
        armed = self._family.armed
        signal = self.driver.acquire if armed is None else armed(self.driver)
        await self.extras.running.set(True)
        async with watch(signal) as seen:
            ready = await seen.until(lambda: bool(seen.value(signal)), self._ready_within)
        if not ready:
            raise TimeoutError(
                f"{self.name} did not get ready within {self._ready_within:g} s: "
                f"{await self._shown()}."
            )

    # ---- sampled --------------------------------------------------------------------------

    async def begin_sampling(self) -> None:
        """Let it run freely: it was stopped when it was staged.

        Raises
        ------
        TimeoutError
            If it does not begin to deliver frames.
        """
        if self._staged and not self._free_running:
            await self._run_freely()

    async def channels(self) -> list[SampledChannel]:
        """Return the statistics as detectors whose aperture is the exposure."""
        exposure = await self.driver.acquire_time.get_value()
        return [
            SampledChannel(
                Channel(
                    self._column(statistic),
                    ChannelKind.DETECTOR,
                    _UNITS[statistic],
                    latency=self.latency,
                    aperture=exposure,
                ),
                getattr(self, statistic).source,
                settings=(self.driver.acquire_time.source,),
            )
            for statistic in _PARAMETERS
        ]

    def derived(self) -> list[Derived]:
        """Return the FWHM: 2.355 sigma."""
        return [
            Derived(self._column(width), "px", (self._column(sigma),), _fwhms)
            for width, sigma in _FWHM.items()
        ]

    @property
    def integration_time(self) -> SignalR[float]:
        """The exposure, s."""
        return self.driver.acquire_time

    def check_integration_time(self, seconds: float) -> None:
        """Refuse (ValueError) an exposure that is none."""
        if not 0 < seconds < float("inf"):
            raise ValueError(f"{self.name} cannot expose for {seconds!r} s; give some seconds.")

    async def set_integration_time(self, seconds: float) -> None:
        """Set the exposure, s."""
        self.check_integration_time(seconds)
        await self.driver.acquire_time.set(seconds)

    async def _run_freely(self) -> None:
        for deadband in self.deadbands.values():
            await self._changes.change(deadband, EVERY_FRAME)
        await self._trigger.prepare_internal(0, 0.0, 0.0)
        # Exposure after exposure: a value stands for its whole row only if nothing is left out.
        dead = await self.dead_time() if self._knows_dead_time else 0.0
        await self.driver.acquire_period.set(await self.driver.acquire_time.get_value() + dead)
        before = await self.stats.array_counter.get_value()
        await self._start()
        self._free_running = True
        within = self._ready_within + await self.driver.acquire_time.get_value()
        async with watch(self.stats.array_counter) as seen:
            counter = self.stats.array_counter
            if not await seen.until(lambda: seen.value(counter) != before, within):
                raise TimeoutError(
                    f"{self.name} runs, but no frame came to {pv_of(counter)} within {within:g} s: "
                    "connect and enable the plugins between them."
                )

    # ---- triggered ------------------------------------------------------------------------

    def columns(self) -> Mapping[str, str]:
        """Return the columns that each frame fills: name -> unit."""
        return {self._column(statistic): unit for statistic, unit in _UNITS.items()}

    async def trigger_modes(self) -> frozenset[TriggerMode]:
        """Return what can begin an exposure."""
        return frozenset(_TRIGGERS[trigger] for trigger in self._supported_triggers)

    @property
    def _can_burst(self) -> bool:
        return hasattr(self, "burst")

    @property
    def frames_per_row(self) -> int:
        """Frames that each trigger makes: a row holds them together, its image is all of them.

        Raises
        ------
        ValueError
            When it is set to what the camera cannot do.
        """
        return self._frames_per_row

    @frames_per_row.setter
    def frames_per_row(self, number: int) -> None:
        if number < 1 or (number > 1 and not self._can_burst):
            raise ValueError(
                f"{self.name} cannot make {number} frames for one trigger; one is always possible, "
                "more if it has GenICam's FrameBurstStart: then make it with burst=True."
            )
        self._frames_per_row = number

    def of_rows(self, values: Mapping[str, Floats]) -> Mapping[str, Floats]:
        """Return the statistics of the sum of the images of each row; the total is their mean."""
        found = spot({statistic: values[self._column(statistic)] for statistic in _PARAMETERS})
        found |= {width: _fwhms(found[sigma]) for width, sigma in _FWHM.items()}
        return {self._column(statistic): column for statistic, column in found.items()}

    @property
    def _knows_dead_time(self) -> bool:
        return self._dead_time is not None or self._family.knows_dead_time

    async def dead_time(self) -> float:
        """Return the seconds that it needs between two exposures.

        Raises
        ------
        ValueError
            If neither you nor ophyd-async said so.
        """
        if self._dead_time is not None:
            return self._dead_time
        why = "its driver does not say it"
        if self._family.knows_dead_time:
            try:
                _, known = await self.get_trigger_deadtime()
                if known is not None:
                    return float(known)
            except ValueError:
                why = f"its model {await self.driver.model.get_value()!r} is not in the table"
        raise ValueError(
            f"The dead time of {self.name} is not known, for {why}: measure it or take it from "
            "the manual, and give the camera dead_time=... in seconds."
        )

    async def check_frames(self, settings: FrameSettings) -> None:
        """Refuse (ValueError, one sentence) what cannot be done. Nothing is changed."""
        await check_timing(self, settings)
        if self._series is not None and not await self._can_use_file():
            await self._check_series(self._series, settings)

    async def _check_series(self, series: TimeSeries, settings: FrameSettings) -> None:
        capacity = await series.capacity()
        if not 0 < settings.number <= capacity:
            number = settings.number or "any number of"
            raise ValueError(
                f"The time series of {self.name} hold {capacity} frames, but {number} frames were "
                "asked; fly fewer at a time, or connect HDF1 behind Stats1 so that the statistics "
                "go to the file."
            )

    async def _can_use_file(self) -> bool:
        """Whether the statistics can go into the file, without other images in it."""
        if self._image_logic is None or self._statistics is StatisticsSource.SERIES:
            return False
        if self._statistics is StatisticsSource.FILE:
            return True
        return await self._file_is_behind() or await self._file_is_beside()

    async def _file_is_behind(self) -> bool:
        ports = (self.hdf.nd_array_port.get_value(), self.stats.port_name.get_value())
        source, port = await asyncio.gather(*ports)
        return source == port

    async def _file_is_beside(self) -> bool:
        ports = (self.hdf.nd_array_port.get_value(), self.stats.nd_array_port.get_value())
        ours, theirs = await asyncio.gather(*ports)
        return ours == theirs

    async def arm(self, settings: FrameSettings) -> None:
        """Set it up; return when it has said itself that it is ready for the first trigger.

        Raises
        ------
        ValueError
            If it cannot be done.
        FileNotFoundError
            If its server does not see the folder.
        TimeoutError
            If it does not get ready; the text says what it shows.
        """
        await self.check_frames(settings)
        await self.disarm()
        self._forget()
        await self._note()
        self._set_up_done = True
        try:
            await self._set_up(settings)
            await self._start()
        except BaseException:
            with suppress(ConnectionError):
                await self.disarm()
            raise

    async def _set_up(self, settings: FrameSettings) -> None:
        await self._acquire.ensure_stopped()
        self._free_running = False
        await self._enable_statistics()
        await self._prime()
        from_file = await self._can_use_file()
        settings.folder.mkdir(parents=True, exist_ok=True)
        if from_file:
            await self._attach_statistics(settings.folder)
        await self._prepare_trigger(settings)
        reader = file = None
        if self._image_logic is not None:
            file = await self._open_file(self._image_logic, settings)
            names = [f"{_ATTRIBUTE}{statistic}" for statistic in _PARAMETERS] if from_file else []
            reader = FrameReader(file.path, names)
        if self._series is not None and not from_file:
            await self._series.begin(self._changes)
        await self.driver.array_counter.set(0)
        watched: list[SignalR[Any]] = [self.stats.dropped_arrays, self.driver.array_counter]
        if self._image_logic is not None:
            watched += [self.hdf.dropped_arrays, self.hdf.queue_free, self.hdf.num_captured]
            watched.append(self.hdf.write_error)
        seen = await self._subscriptions.enter_async_context(watch(*watched))
        exposure = settings.exposure
        if settings.mode is not TriggerMode.LEVEL:
            # Cameras round it to what they can do.
            exposure = await self.driver.acquire_time.get_value()
        armed = _Armed(settings, exposure, from_file, seen, reader=reader, file=file)
        armed.dropped_before = self._dropped_ever(armed)
        if self._image_logic is not None:
            armed.queue_was_full = seen.latch(lambda: seen.value(self.hdf.queue_free) == 0)
            armed.write_failed = seen.latch(lambda: seen.value(self.hdf.write_error))
        self._armed = armed

    async def _prepare_trigger(self, settings: FrameSettings) -> None:
        number, exposure = settings.number, settings.exposure
        match settings.mode:
            case TriggerMode.EDGE:
                if settings.frames > 1:
                    await self._select_burst(settings.frames)
                await self._trigger.prepare_edge(number, exposure)
                if settings.frames > 1:
                    # One after the other: a period of its own would hold them up.
                    await self.driver.acquire_period.set(exposure + await self.dead_time())
            case TriggerMode.LEVEL:
                await self._trigger.prepare_level(number)
            case TriggerMode.INTERNAL:
                gap = settings.period - exposure
                await self._trigger.prepare_internal(number, exposure, gap)

    async def _select_burst(self, frames: int) -> None:
        """Let the trigger begin a burst, and no trigger its single frames."""
        self._bursts = True
        await self.burst.selector.set(FRAME)
        await self._trigger.prepare_internal(1, 0.0, 0.0)
        await self.burst.selector.set(BURST)
        await self.burst.frames.set(frames)

    async def _attach_statistics(self, folder: Path) -> None:
        """Let the statistics go with each frame as NDAttributes, and the frames to the file."""
        if await self._file_is_beside():
            await self._changes.change(
                self.hdf.nd_array_port, await self.stats.port_name.get_value()
            )
        attributes = [
            NDAttributeParam(f"{_ATTRIBUTE}{statistic}", parameter, NDAttributeDataType.DOUBLE)
            for statistic, parameter in _PARAMETERS.items()
        ]
        # As a file: the record for the text itself holds 256 characters unless it was enlarged.
        path = folder / f"{self.name}_attributes.xml"
        path.write_text(ndattributes_to_xml(attributes))
        await self._changes.change(
            self.stats.nd_attributes_file, str(self._paths.at_server(folder) / path.name)
        )
        status = await self.stats.attributes_status.get_value()
        if status != "Attributes file OK":
            raise FileNotFoundError(
                f"The server of {self.name} cannot use {path}: it says {status!r}; let it see this "
                "folder, or give the camera at_server=..."
            )

    async def _open_file(self, logic: ImageFileLogic, settings: FrameSettings) -> FrameFile:
        rate = FLUSH_PERIOD / settings.period
        logic.frames_per_flush = min(max(round(rate), 1), LARGEST_CHUNK)
        self._paths.folder = settings.folder
        try:
            provider = await logic.prepare_unbounded(self.name)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"The server of {self.name} cannot write to {settings.folder}: let it see this "
                "folder, or give the camera at_server=..."
            ) from error
        finally:
            self._paths.folder = None
            logic.frames_per_flush = 1
        data_key: DataKey = (await provider.make_datakeys(1))[self.name]
        data_key["source"] = self.hdf.full_file_name.source
        return FrameFile(self._paths.path, IMAGES, data_key)

    async def frames(self) -> Frames:
        """Return the frames that came since the last call, as far as they can be read.

        Raises
        ------
        OSError
            If its server could not write frames to the file, does not answer any more, or has
            stopped the camera.
        TimeoutError
            If frames that were written cannot be read.
        """
        armed = self._armed
        if armed is None:
            return no_frames(self.columns())
        await self._check_writer(armed)
        await self._check_life(armed)
        if armed.reader is None:
            return await self._frames_of_series(armed)
        try:
            new = await asyncio.to_thread(armed.reader.read)
        except KeyError as error:
            raise OSError(
                f"{self.name}: {error.args[0]} HDF1 must take its frames from Stats1, or use "
                "statistics='series'."
            ) from error
        if len(new):
            armed.progress = time.monotonic()
            armed.pending.append((armed.progress, new))
            self._count(armed, new)
        else:
            await self._hurry(armed, armed.reader)
        return await self._complete(armed)

    async def _check_writer(self, armed: _Armed) -> None:
        if armed.write_failed():
            # The message comes after the status.
            message = await self.hdf.write_message.get_value(cached=False)
            raise OSError(
                f"The server of {self.name} cannot write its frames to the file: "
                f"{message or 'Write error'!r}; look at its disk."
            )
        if armed.queue_was_full() and not armed.warned:
            armed.warned = True
            self.log.warning("The queue of the file writer is full: frames may get lost.")

    async def _check_life(self, armed: _Armed) -> None:
        """Look now and then whether the camera still waits for triggers."""
        now = time.monotonic()
        if not self._set_up_done or now - armed.looked < LIFE_PERIOD:
            return
        armed.looked = now
        if not await self._answers():
            raise self._dead()
        acquiring = await self.driver.acquire.get_value(cached=False)
        made = await self.driver.array_counter.get_value(cached=False)
        number = armed.settings.number
        if not acquiring and not 0 < number <= made:
            of = f" of {number}" if number else ""
            raise OSError(
                f"{self.name} stopped acquiring after {made}{of} frames: {await self._shown()}."
            )

    def _dead(self) -> ConnectionError:
        return ConnectionError(
            f"The server of {self.name} does not answer any more ({pv_of(self.driver.acquire)})."
        )

    def _count(self, armed: _Armed, new: FileFrames) -> None:
        """Learn which unique id the first frame has, and how many are missing."""
        if armed.base is None:
            first = int(new.ids[0])
            # Drivers count from 1, some cameras from 0; if neither can be, they run on.
            begins_anew = first <= 1 + self._dropped_now(armed)
            armed.base = min(first, 1) if begins_anew else first
        armed.newest = max(armed.newest, int(new.ids.max()))
        armed.known += len(new)

    async def _hurry(self, armed: _Armed, reader: FrameReader) -> None:
        """See to it that what was written can be read."""
        now = time.monotonic()
        written, number = armed.seen.value(self.hdf.num_captured), armed.settings.number
        if written <= reader.rows:
            armed.progress = now
            return
        if now - armed.progress > UNREADABLE_PERIOD:
            raise TimeoutError(
                f"The server of {self.name} says that it has written {written} frames, but "
                f"{reader.rows} can be read in {reader.path}: is this the folder that it writes to?"
            )
        complete = 0 < number <= written + self._dropped_now(armed) and not armed.complete
        armed.complete |= complete
        if complete or now - max(armed.progress, armed.flushed) > QUIET_PERIOD:
            armed.flushed = now
            try:
                await self.hdf.flush_now.set(True, timeout=LIFE_PERIOD)
            except TimeoutError as error:
                raise self._dead() from error

    async def _complete(self, armed: _Armed) -> Frames:
        """Return the frames whose statistics are known too."""
        series = self._series
        if armed.from_file or series is None:
            parts = [part for _, part in armed.pending]
            armed.pending.clear()
            values = {
                statistic: _concatenate([part.values[f"{_ATTRIBUTE}{statistic}"] for part in parts])
                for statistic in _PARAMETERS
            }
        else:
            times, statistics = await series.read()
            parts = []
            newest = times.max(initial=-np.inf)
            while armed.pending:
                since, part = armed.pending[0]
                late = time.monotonic() - since > SERIES_PATIENCE
                if part.driver_stamps.max() > newest and not late:
                    break
                parts.append(part)
                del armed.pending[0]
            wanted = _concatenate([part.driver_stamps for part in parts])
            values = join(times, wanted, statistics)
        ids = np.concatenate([_NO_IDS, *(part.ids for part in parts)])
        stamps = _concatenate([part.stamps for part in parts])
        return self._frames_of(ids - (armed.base or 0), stamps, armed.exposure, values)

    async def _frames_of_series(self, armed: _Armed) -> Frames:
        """Return frames that are in no file: numbered as they came, a dropped one leaves no gap."""
        assert self._series is not None
        times, values = await self._series.read()
        begin, armed.known = armed.known, len(times)
        stamps = await self._series.epics_stamps(times[begin:])
        numbers = np.arange(begin, armed.known, dtype=np.int64)
        new = {statistic: value[begin:] for statistic, value in values.items()}
        return self._frames_of(numbers, stamps, armed.exposure, new)

    def _frames_of(
        self,
        numbers: NDArray[np.int64],
        stamps: Floats,
        exposure: float,
        values: Mapping[str, Floats],
    ) -> Frames:
        ends = stamps - self.latency
        columns = {s: values.get(s, np.full(len(ends), np.nan)) for s in _PARAMETERS}
        columns |= {width: _fwhms(columns[sigma]) for width, sigma in _FWHM.items()}
        named = {self._column(statistic): columns[statistic] for statistic in _UNITS}
        return Frames(numbers, ends - exposure, ends, named)

    async def dropped(self) -> int:
        """Return how many frames it, or its plugins, dropped since arming.

        That is what the plugins in the way of the file count, or how many unique ids are missing
        in the file if these are more.
        """
        armed = self._armed
        if armed is None:
            return 0
        missing = 0
        if armed.base is not None:
            missing = armed.newest - armed.base + 1 - armed.known
        return max(self._dropped_now(armed), missing)

    def _dropped_ever(self, armed: _Armed) -> int:
        seen, count = armed.seen, 0
        if armed.reader is not None:
            count += seen.value(self.hdf.dropped_arrays)
        if armed.from_file or armed.reader is None:
            count += seen.value(self.stats.dropped_arrays)
        return count

    def _dropped_now(self, armed: _Armed) -> int:
        return self._dropped_ever(armed) - armed.dropped_before

    def file(self) -> FrameFile | None:
        """Return the file with the images, once it is armed; None if there are none.

        The shape in its data key has a leading 1: one frame of the first axis, as ophyd-async
        announces it.
        """
        return self._armed.file if self._armed is not None else None

    async def disarm(self) -> None:
        """End the acquisition, write what is queued, close the file.

        What is in the file can still be read by `frames`.

        Raises
        ------
        ConnectionError
            If its server does not answer: what it does then is not known.
        """
        if not self._set_up_done:
            return
        try:
            if not await self._answers():
                await self._give_up()
                raise self._dead()
            await self._stop(self._armed)
        finally:
            await self._subscriptions.aclose()
            self._set_up_done = False

    async def _stop(self, armed: _Armed | None) -> None:
        try:
            await self._acquire.ensure_stopped()
            if armed is not None and self._image_logic is not None:
                await self._drain(armed)
        finally:
            try:
                if self._image_logic is not None:
                    await self._image_logic.stop()
            finally:
                if self._series is not None:
                    await self._series.end()

    async def _give_up(self) -> None:
        """Wait no longer for the end of an acquisition of which nobody will tell."""
        status = self._acquire.acquire_status
        if status is not None and not status.done:
            status.task.cancel()
            await asyncio.wait({status.task})

    async def _answers(self) -> bool:
        """Whether the camera's server lives: else every signal would be waited for."""
        try:
            async with asyncio.timeout(LIFE_PERIOD):
                await self.driver.acquire.get_value(cached=False)
        except TimeoutError:
            return False
        return True

    async def _drain(self, armed: _Armed) -> None:
        """Wait until the file writer has written what the camera has made."""
        size = await self.hdf.queue_size.get_value()
        signals = (self.driver.array_counter, self.hdf.num_captured, self.hdf.queue_free)
        last_busy = time.monotonic()
        deadline = last_busy + DRAIN_PERIOD
        while time.monotonic() < deadline and not armed.write_failed():
            # Asked for, since a server that died and came back sends no updates.
            made, written, free = await asyncio.gather(
                *(signal.get_value(cached=False) for signal in signals)
            )
            if written + self._dropped_now(armed) >= made:
                return
            if free < size:
                last_busy = time.monotonic()
            elif time.monotonic() - last_busy > IDLE_PERIOD:
                # What is missing got lost before it came to the writer.
                return
            await asyncio.sleep(0.02)

    async def restore(self) -> None:
        """Put back the settings that `arm` or `stage` changed, and run again if it was running.

        Raises
        ------
        ConnectionError
            If its server does not answer; nothing is put back then.
        """
        self._forget()
        if not self._changes.noted:
            return
        running, self._was_running = self._was_running, False
        if not await self._answers():
            self._changes = Changes()
            raise self._dead()
        if self._bursts:
            # Nothing waits for the trigger of a burst any more.
            await self._trigger.prepare_internal(1, 0.0, 0.0)
            self._bursts = False
        await self._changes.restore()
        if running:
            await self._start()

    def _forget(self) -> None:
        armed, self._armed = self._armed, None
        if armed is not None and armed.reader is not None:
            armed.reader.close()


def _fwhm(sigma: float) -> float:
    return FWHM_PER_SIGMA * sigma


def _fwhms(sigma: Floats) -> Floats:
    return FWHM_PER_SIGMA * sigma


def _concatenate(parts: list[Floats]) -> Floats:
    return np.concatenate(parts) if parts else np.empty(0)


_NO_IDS: Final = np.empty(0, np.int64)


__all__ = ["FWHM_PER_SIGMA", "Camera", "StatisticsSource"]
