"""How a camera is set up for a series of triggered frames."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from logging import LoggerAdapter
from pathlib import Path
from typing import Any, Final

import numpy as np
from event_model import DataKey
from ophyd_async.core import DetectorTriggerLogic, EnableDisable, SignalRW
from ophyd_async.epics.adcore import (
    ADBaseColorMode,
    NDAttributeDataType,
    NDAttributeParam,
    ndattributes_to_xml,
)

from glidepath.detectors.frame_source import FrameFile, FrameSettings, TriggerMode
from glidepath.devices.settings import Settings
from glidepath.devices.signals import watch

from .acquisition import Acquisition
from .exposures import Exposures
from .frame_reader import IMAGES, FrameReader
from .io import BurstIO
from .parts import Parts
from .priming import Primed, prime
from .statistics import ATTRIBUTE, ATTRIBUTES, PARAMETERS, StatisticsSource
from .stock_plans import ImageFileLogic, RunPaths
from .time_series import TimeSeries

FLUSH_PERIOD: Final = 0.5
"""Seconds after which frames are to be readable in the file."""

LARGEST_CHUNK: Final = 16384
"""NDAttributes per chunk that the plugin chooses itself, and the most that we ask for."""

FRAME: Final = "FrameStart"
BURST: Final = "FrameBurstStart"
"""What a trigger can begin (GenICam SFNC, TriggerSelector)."""


class Setup:
    """Everything between what a scan asks for and a camera that waits for its first trigger.

    Parameters
    ----------
    parts
        The camera's records.
    trigger
        Sets its triggers.
    settings
        The settings, which remember what is changed.
    source
        Where the statistics are to come from.
    paths, images
        Where images go and what writes them; None if nobody does.
    burst
        What makes bursts; None if it cannot.
    dead_time
        Returns the dead time, s.
    """

    def __init__(
        self,
        parts: Parts,
        trigger: DetectorTriggerLogic,
        settings: Settings,
        source: StatisticsSource,
        paths: RunPaths,
        images: ImageFileLogic | None,
        burst: BurstIO | None,
        dead_time: Callable[[], Awaitable[float]],
    ) -> None:
        self.parts, self.trigger, self.settings = parts, trigger, settings
        self._source, self._paths, self._images = source, paths, images
        self._burst, self._dead_time = burst, dead_time
        self._primed: Primed | None = None
        self._bursts = False

    # ---- before a run ---------------------------------------------------------------------

    async def check(self, settings: FrameSettings | None = None) -> None:
        """Refuse (ValueError, one sentence) what cannot be done. Nothing is changed."""
        parts = self.parts
        mode = await parts.driver.color_mode.get_value(cached=False)
        if mode != ADBaseColorMode.MONO:
            raise ValueError(
                f"{parts.name} makes images in the colour mode {mode.value}, but only Mono can be "
                "followed; set ColorMode to Mono."
            )
        if self._images is not None:
            await self._images.check(parts.name)
        if settings is not None and parts.series is not None and not await self.uses_file():
            await self._check_series(parts.series, settings)

    async def _check_series(self, series: TimeSeries, settings: FrameSettings) -> None:
        await series.check()
        capacity = await series.capacity()
        if not 0 < settings.number <= capacity:
            number = settings.number or "any number of"
            advice = "connect HDF1 behind Stats1 so that the statistics go to the file"
            if self._images is None:
                advice = "make the camera with images=True so that its file has the statistics"
            raise ValueError(
                f"The time series of {self.parts.name} hold {capacity} frames, but {number} frames "
                f"were asked; fly fewer at a time, or {advice}."
            )

    async def uses_file(self) -> bool:
        """Return whether the statistics can go into the file, without other images in it."""
        if self._images is None or self._source is StatisticsSource.SERIES:
            return False
        if self._source is StatisticsSource.FILE:
            return True
        return await self._file_is_behind() or await self._file_is_beside()

    async def _file_is_behind(self) -> bool:
        hdf, stats = self.parts.hdf, self.parts.stats
        assert hdf is not None
        source, port = await asyncio.gather(
            hdf.nd_array_port.get_value(), stats.port_name.get_value()
        )
        return source == port

    async def _file_is_beside(self) -> bool:
        hdf, stats = self.parts.hdf, self.parts.stats
        assert hdf is not None
        ours, theirs = await asyncio.gather(
            hdf.nd_array_port.get_value(), stats.nd_array_port.get_value()
        )
        return ours == theirs

    # ---- plugins --------------------------------------------------------------------------

    async def enable_statistics(self) -> None:
        """Let the statistics be computed of every frame."""
        stats = self.parts.stats
        await self.settings.set_all(
            [
                (self.parts.extras.array_callbacks, EnableDisable.ENABLE),
                (stats.enable_callbacks, EnableDisable.ENABLE),
                (stats.array_callbacks, EnableDisable.ENABLE),
                (stats.compute_statistics, True),
                (stats.compute_centroid, True),
                (stats.shortest_period, 0.0),
            ]
        )

    async def prime(self, exposure: float = 0.0) -> Primed:
        """Send a frame through the plugins, once until `forget`; see `priming.prime`."""
        if self._primed is None:
            if (hdf := self.parts.hdf) is not None:
                await self.settings.set(hdf.shortest_period, 0.0)
            self._primed = await prime(self.parts, self.trigger, self.settings, exposure)
        return self._primed

    def forget(self) -> None:
        """Take nothing for granted any more of what a frame has shown."""
        self._primed = None

    # ---- a series of frames ---------------------------------------------------------------

    async def begin(
        self,
        asked: FrameSettings,
        subscriptions: AsyncExitStack,
        latency: float,
        log: LoggerAdapter,
    ) -> Acquisition:
        """Set up everything but the start of the acquisition itself; the camera stands.

        Raises
        ------
        FileNotFoundError
            If the camera's server does not see the folder.
        TimeoutError, ValueError
            As `prime` and the file writer.
        """
        parts = self.parts
        await self.enable_statistics()
        from_file = await self.uses_file()
        asked.folder.mkdir(parents=True, exist_ok=True)
        if from_file:
            await self._attach_statistics(asked.folder)
        primed = await self.prime(asked.exposure)
        await self._prepare_trigger(asked)
        reader = file = None
        if self._images is not None:
            file = await self._open_file(self._images, asked, primed)
            reader = FrameReader(file.path, ATTRIBUTES if from_file else ())
        if parts.series is not None and not from_file:
            await parts.series.begin(self.settings)
        await parts.driver.array_counter.set(0)
        seen = await subscriptions.enter_async_context(watch(*Acquisition.watched(parts)))
        exposure = asked.exposure
        if asked.mode is not TriggerMode.LEVEL:
            # Cameras round it to what they can do.
            exposure = await parts.driver.acquire_time.get_value(cached=False)
        return Acquisition(
            parts,
            asked,
            Exposures(exposure),
            latency,
            from_file,
            seen,
            log,
            first_id=primed.first_id,
            file=file,
            reader=reader,
        )

    async def _prepare_trigger(self, asked: FrameSettings) -> None:
        number, exposure = asked.number, asked.exposure
        match asked.mode:
            case TriggerMode.EDGE:
                if asked.frames > 1:
                    await self._select_burst(asked.frames)
                await self.trigger.prepare_edge(number, exposure)
                if asked.frames > 1:
                    # One after the other: a period of its own would hold them up.
                    dead = await self._dead_time()
                    await self.parts.driver.acquire_period.set(exposure + dead)
            case TriggerMode.LEVEL:
                await self.trigger.prepare_level(number)
            case TriggerMode.INTERNAL:
                gap = asked.period - exposure
                await self.trigger.prepare_internal(number, exposure, gap)

    async def _select_burst(self, frames: int) -> None:
        """Let the trigger begin a burst, and no trigger its single frames."""
        assert self._burst is not None
        self._bursts = True
        await self._burst.selector.set(FRAME)
        await self.trigger.prepare_internal(1, 0.0, 0.0)
        await self._burst.selector.set(BURST)
        await self._burst.frames.set(frames)

    async def end_bursts(self) -> None:
        """Let nothing wait for the trigger of a burst any more."""
        bursts, self._bursts = self._bursts, False
        if bursts:
            await self.trigger.prepare_internal(1, 0.0, 0.0)

    async def _attach_statistics(self, folder: Path) -> None:
        """Let the statistics go with each frame as NDAttributes, and the frames to the file."""
        stats, hdf = self.parts.stats, self.parts.hdf
        assert hdf is not None
        wanted: list[tuple[SignalRW[Any], Any]] = [(hdf.stores_attributes, True)]
        if await self._file_is_beside():
            wanted.append((hdf.nd_array_port, await stats.port_name.get_value()))
        await self.settings.set_all(wanted)
        attributes = [
            NDAttributeParam(f"{ATTRIBUTE}{statistic}", parameter, NDAttributeDataType.DOUBLE)
            for statistic, parameter in PARAMETERS.items()
        ]
        # As a file: the record for the text itself holds 256 characters unless it was enlarged.
        path = folder / f"{self.parts.name}_attributes.xml"
        path.write_text(ndattributes_to_xml(attributes))
        await self.settings.set(
            stats.nd_attributes_file, str(self._paths.at_server(folder) / path.name)
        )
        status = await stats.attributes_status.get_value()
        if status != "Attributes file OK":
            raise FileNotFoundError(
                f"The server of {self.parts.name} cannot use {path}: it says {status!r}; let it "
                "see this folder, or give the camera at_server=..."
            )

    async def _open_file(
        self, logic: ImageFileLogic, asked: FrameSettings, primed: Primed
    ) -> FrameFile:
        rate = FLUSH_PERIOD / asked.period
        logic.frames_per_flush = min(max(round(rate), 1), LARGEST_CHUNK)
        self._paths.folder = asked.folder
        name = self.parts.name
        try:
            await logic.writer.stores_attributes.set(True)
            provider = await logic.prepare_unbounded(name)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"The server of {name} cannot write to {asked.folder}: let it see this folder, or "
                "give the camera at_server=..."
            ) from error
        finally:
            self._paths.folder = None
            logic.frames_per_flush = 1
        data_key: DataKey = (await provider.make_datakeys(1))[name]
        data_key["source"] = logic.writer.full_file_name.source
        # Not what is shown now, but what came: somebody may be changing it.
        data_key["shape"] = [1, *primed.shape]
        data_key["dtype_numpy"] = np.dtype(primed.data_type.lower()).str
        return FrameFile(self._paths.path, IMAGES, data_key)


__all__ = ["Setup"]
