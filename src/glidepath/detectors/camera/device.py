"""areaDetector cameras: in stock plans, sampled while they run freely, and triggered.

A `Camera` is ophyd-async's `AreaDetector` for one of its families of drivers. On top of that it
follows single frames: their unique ids and timestamps from the HDF5 file that the camera's server
writes, their statistics from the plugin NDStats, either as NDAttributes in that file or as the
plugin's time series.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from ophyd_async.core import (
    AsyncStatus,
    DetectorTrigger,
    DeviceVector,
    SignalR,
    SignalRW,
    TriggerInfo,
    derived_signal_r,
)
from ophyd_async.epics.adcore import (
    ADAcquireLogic,
    ADBaseIO,
    ADWriterFactory,
    AreaDetector,
    NDArrayBaseIO,
    NDArrayDescription,
)

from glidepath.detectors.frame_source import (
    FrameFile,
    Frames,
    FrameSettings,
    TriggerMode,
    no_frames,
)
from glidepath.detectors.limits import check_timing
from glidepath.devices.sampled import Derived, SampledChannel
from glidepath.devices.settings import Settings, same
from glidepath.devices.signals import ask, signal_r, signal_rw
from glidepath.devices.staging import Staging

from .acquisition import Acquisition, answers, dead
from .drivers import Driver, dead_time_of, find_driver
from .free_running import EVERY_FRAME, channels_of, run_freely
from .io import BurstIO, DriverExtrasIO, Hdf5IO, StatsIO
from .parts import Parts, amend_flushes, settings_of, start
from .setup import Setup
from .statistics import (
    FWHM,
    FWHM_PER_SIGMA,
    PARAMETERS,
    UNITS,
    StatisticsSource,
    column,
    columns_of_rows,
    fwhm,
)
from .stock_plans import ImageFileLogic, RunPaths, StatisticsLogic
from .time_series import TimeSeries

Floats = NDArray[np.float64]

_TRIGGERS: Final = {
    DetectorTrigger.INTERNAL: TriggerMode.INTERNAL,
    DetectorTrigger.EXTERNAL_EDGE: TriggerMode.EDGE,
    DetectorTrigger.EXTERNAL_LEVEL: TriggerMode.LEVEL,
}


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

    The class is long because it is one device for three uses, each with a protocol of its own. It
    only puts them together: what they do is in the other files of this folder.

    Parameters
    ----------
    prefix
        Prefix of the PVs of the camera, such as ``"SIM:CAM1:"``.
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
        self._paths = RunPaths(at_server)
        self._frames_per_row = 1
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
        self._staging = Staging()
        # Of one use of the camera, until it is put back.
        self._use: _Use | None = None
        self._acquisition: Acquisition | None = None
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
                for number, statistic in enumerate(PARAMETERS)
            }
        )
        self.add_detector_logics(
            StatisticsLogic(
                io,
                [getattr(self, column) for column in UNITS],
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
        for statistic in UNITS:
            getattr(self, statistic).set_name(self._column(statistic))

    def _column(self, statistic: str) -> str:
        return column(self.name, statistic)

    @property
    def _parts(self) -> Parts:
        return Parts(
            self.name,
            self.driver,
            self.extras,
            self.stats,
            None if self._image_logic is None else self.hdf,
            self._series,
            self._ready_within,
        )

    # ---- one use of it --------------------------------------------------------------------

    def _setup(self, settings: Settings) -> Setup:
        return Setup(
            self._parts,
            self._trigger,
            settings,
            self._statistics,
            self._paths,
            self._image_logic,
            self.burst if self._can_burst else None,
            self.dead_time,
        )

    async def _begin_use(self) -> "_Use":
        """Remember all settings as they were before anything was changed."""
        if self._use is None:
            settings = Settings(self.name)
            running = await self.driver.acquire.get_value(cached=False)
            await settings.save(*self._settings())
            if self._image_logic is not None:
                amend_flushes(settings, self.hdf)
            self._use = _Use(self._setup(settings), running)
        return self._use

    def _settings(self) -> Iterator[SignalRW[Any]]:
        ios: list[NDArrayBaseIO] = [self.driver, self.stats]
        if self._image_logic is not None:
            ios.append(self.hdf)
        yield from settings_of(*ios)
        yield self.extras.array_callbacks
        if self._can_burst:
            # Put back first: the driver's trigger settings are of what is selected.
            yield from (self.burst.frames, self.burst.selector)

    async def restore(self) -> None:
        """Put back the settings that `arm` or `stage` changed, and run again if it was running.

        Raises
        ------
        ConnectionError
            If its server does not answer; nothing is put back then.
        """
        acquisition, self._acquisition = self._acquisition, None
        if acquisition is not None:
            acquisition.close()
        use, self._use = self._use, None
        if use is None:
            return
        if not await answers(self._parts):
            raise dead(self._parts, "its settings could not be put back")
        await use.setup.end_bursts()
        settings = use.setup.settings
        await settings.lend(*[s for s in self._settings() if await _differs(s, settings)])
        await settings.restore()
        if use.was_running:
            await self._start()

    async def _start(self) -> None:
        """Start acquiring; return when the camera says that it is ready."""
        armed = self._family.armed
        await start(self._parts, self.driver.acquire if armed is None else armed(self.driver))

    # ---- in stock plans -------------------------------------------------------------------

    @AsyncStatus.wrap
    async def stage(self) -> None:
        """Stop the camera and enable its statistics.

        Raises
        ------
        ValueError
            If somebody else is using its file writer, or its images are not ``Mono``.
        """
        await self._staging.run(self._stage())

    async def _stage(self) -> None:
        use = await self._begin_use()
        await use.setup.check()
        await super().stage()
        use.staged = True
        await use.setup.enable_statistics()

    @AsyncStatus.wrap
    async def prepare(self, value: TriggerInfo) -> None:
        """Set it up for one or more frames, after one that shows what they are like.

        Raises
        ------
        TimeoutError
            If no frame comes through to the file writer.
        """
        use = await self._begin_use()
        if not use.prepared:
            await use.setup.enable_statistics()
            await use.setup.prime(value.livetime)
            use.prepared = True
        await super().prepare(value)

    @AsyncStatus.wrap
    async def unstage(self) -> None:
        """Stop the camera, close its file, put back what was changed."""
        await self._staging.end()
        try:
            await self.disarm()
            # Else it was put back already, and may be running for somebody.
            if self._use is not None:
                await super().unstage()
        finally:
            await self.restore()

    # ---- sampled --------------------------------------------------------------------------

    async def begin_sampling(self) -> None:
        """Let it run freely: it was stopped when it was staged.

        Raises
        ------
        TimeoutError
            If it does not begin to deliver frames.
        """
        use = self._use
        if use is None or not use.staged or use.runs_freely:
            return
        await use.setup.settings.set_all(
            [(deadband, EVERY_FRAME) for deadband in self.deadbands.values()]
        )
        # Exposure after exposure: a value stands for its whole row only if nothing is left out.
        dead = await self.dead_time() if self._knows_dead_time else 0.0
        await run_freely(self._parts, self._trigger, dead, self._start)
        use.runs_freely = True

    async def channels(self) -> list[SampledChannel]:
        """Return the statistics as detectors whose aperture is the exposure."""
        signals = {statistic: getattr(self, statistic) for statistic in PARAMETERS}
        return await channels_of(self._parts, signals, self.latency)

    def derived(self) -> list[Derived]:
        """Return the FWHM: 2.355 sigma."""
        return [
            Derived(self._column(width), "px", (self._column(sigma),), fwhm)
            for width, sigma in FWHM.items()
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

    # ---- triggered ------------------------------------------------------------------------

    def columns(self) -> Mapping[str, str]:
        """Return the columns that each frame fills: name -> unit."""
        return {self._column(statistic): unit for statistic, unit in UNITS.items()}

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
        return columns_of_rows(self.name, values)

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
        return await dead_time_of(self, self._family)

    async def check_frames(self, settings: FrameSettings) -> None:
        """Refuse (ValueError, one sentence) what cannot be done. Nothing is changed."""
        await check_timing(self, settings)
        await self._setup(Settings(self.name)).check(settings)

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
        await self.disarm()
        await self.check_frames(settings)
        if self._acquisition is not None:
            self._acquisition.close()
            self._acquisition = None
        use = await self._begin_use()
        use.runs_freely = False
        use.subscriptions = AsyncExitStack()
        try:
            await self._acquire.ensure_stopped()
            if self._image_logic is not None:
                # What a process of ours may have left behind when it died.
                await self._image_logic.stop()
            self._acquisition = await use.setup.begin(
                settings, use.subscriptions, self.latency, self.log
            )
            await self._start()
        except BaseException:
            with suppress(ConnectionError):
                await self.disarm()
            raise

    async def frames(self) -> Frames:
        """Return the frames that came since the last call, as far as they can be read.

        Raises
        ------
        OSError
            If frames do not get into its file, its server does not answer any more, or somebody
            has stopped the camera or its file writer, or has changed the size of its images.
        TimeoutError
            If frames that were written cannot be read.
        """
        if self._acquisition is None:
            return no_frames(self.columns())
        return await self._acquisition.frames()

    async def dropped(self) -> int:
        """Return how many frames it, or its plugins, lost since arming."""
        return 0 if self._acquisition is None else self._acquisition.dropped()

    def file(self) -> FrameFile | None:
        """Return the file with the images, once it is armed; None if there are none.

        The shape in its data key has a leading 1: one frame of the first axis, as ophyd-async
        announces it.
        """
        return None if self._acquisition is None else self._acquisition.file

    async def disarm(self) -> None:
        """End the acquisition, write what is queued, close the file.

        What is in the file can still be read by `frames`.

        Raises
        ------
        ConnectionError
            If its server does not answer: what it does then is not known.
        """
        use = self._use
        if use is None or use.subscriptions is None:
            return
        acquisition = self._acquisition
        if acquisition is not None:
            acquisition.live = False
        try:
            if not await answers(self._parts):
                await self._give_up()
                raise dead(self._parts)
            await self._stop(acquisition)
        finally:
            # After a halt two of them may be here at once: unstaging, and the scan's clean-up.
            subscriptions, use.subscriptions = use.subscriptions, None
            if subscriptions is not None:
                await subscriptions.aclose()

    async def _stop(self, acquisition: Acquisition | None) -> None:
        try:
            await self._acquire.ensure_stopped()
            if acquisition is not None:
                await acquisition.drain()
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
        if self._image_logic is not None:
            # A capture that goes on there is a leftover of ours, for whoever comes next.
            self._image_logic.give_up()


@dataclass
class _Use:
    """What is known between the first change of a camera's settings and their putting back."""

    setup: Setup
    was_running: bool
    staged: bool = False
    prepared: bool = False
    runs_freely: bool = False
    subscriptions: AsyncExitStack | None = None
    """Of a series of frames, from arming to disarming."""


async def _differs(signal: SignalRW[Any], settings: Settings) -> bool:
    return not same(await ask(signal), settings.before(signal))


def _fwhm(sigma: float) -> float:
    return FWHM_PER_SIGMA * sigma


__all__ = ["Camera"]
