"""How a camera's file and its statistics go into the events of stock plans."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePath
from urllib.parse import quote
from uuid import uuid4

from bluesky.protocols import Reading
from event_model import DataKey
from ophyd_async.core import (
    DetectorDataLogic,
    PathInfo,
    ReadableDataProvider,
    SignalR,
    StreamableDataProvider,
    StreamResourceDataProvider,
)
from ophyd_async.epics.adcore import ADBaseColorMode, ADBaseIO, ADHDFDataLogic

from glidepath.storage import data_root

from .area_detector_io import Hdf5IO


@dataclass
class ImagePaths:
    """Where the images go: the run's folder, or in stock plans a folder by date.

    Attributes
    ----------
    at_server
        Turns a folder of this machine into the same folder as the camera's server sees it.
    folder
        The run's folder; None: ``<data root>/yyyy/mm/dd``.
    path
        The file that was named last, as this machine sees it.
    """

    at_server: Callable[[Path], PurePath]
    folder: Path | None = None
    path: Path = field(default_factory=Path)

    def __call__(self, datakey_name: str | None = None) -> PathInfo:
        """Name the next file (ophyd-async's ``PathProvider``); its folder is made."""
        now = datetime.now()
        folder, name = self.folder, datakey_name or "images"
        if folder is None:
            folder = data_root() / f"{now:%Y/%m/%d}"
            name = f"{name}_{now:%H%M%S}_{uuid4().hex[:8]}"
        elif (folder / f"{name}.h5").exists():
            # Armed once more in the same run.
            name = f"{name}_{uuid4().hex[:8]}"
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{name}.h5"
        return PathInfo(
            directory_path=self.at_server(folder),
            filename=name,
            directory_uri=f"file://localhost{quote(folder.absolute().as_posix())}/",
        )


@dataclass
class ImageFileLogic(ADHDFDataLogic):
    """The HDF5 plugin as ophyd-async sets it up, except for when it flushes.

    ophyd-async asks for a flush whenever documents are collected, but asking often can freeze
    the plugin (ADCore issue 593): here the plugin flushes by itself.

    Attributes
    ----------
    writer
        The plugin.
    frames_per_flush
        Frames between two flushes.
    """

    writer: Hdf5IO
    frames_per_flush: int = 1

    async def prepare_unbounded(self, datakey_name: str) -> StreamableDataProvider:
        """Open a file."""
        color_mode = await self.array_description.color_mode_signal.get_value()
        if color_mode != ADBaseColorMode.MONO:
            raise ValueError(
                f"{datakey_name} makes images in the colour mode {color_mode.value}, but only Mono "
                "can be described; set ColorMode to Mono."
            )
        await self.writer.attribute_chunk.set(self.frames_per_flush)
        await self.writer.frames_per_flush.set(
            max(self.frames_per_flush, await self.writer.num_frames_chunks.get_value())
        )
        provider = await super().prepare_unbounded(datakey_name)
        assert isinstance(provider, StreamResourceDataProvider)
        provider.flush_signal = None
        return provider

    def get_hinted_fields(self, datakey_name: str) -> Sequence[str]:
        """Return nothing: an image is nothing to plot against a motor."""
        return []


@dataclass
class _StatisticsProvider(ReadableDataProvider):
    signals: Sequence[SignalR[float]]

    async def make_datakeys(self) -> dict[str, DataKey]:
        described = await asyncio.gather(*(signal.describe() for signal in self.signals))
        return {key: value for part in described for key, value in part.items()}

    async def make_readings(self) -> dict[str, Reading]:
        readings = await asyncio.gather(*(signal.read(cached=False) for signal in self.signals))
        return {key: value for part in readings for key, value in part.items()}


@dataclass
class StatisticsLogic(DetectorDataLogic):
    """The statistics of the newest frame, read once all plugins have seen it.

    Attributes
    ----------
    driver
        The camera's driver.
    signals
        What is read.
    hinted
        What is worth a plot.
    """

    driver: ADBaseIO
    signals: Sequence[SignalR[float]]
    hinted: Sequence[SignalR[float]]

    async def prepare_single(self, datakey_name: str) -> ReadableDataProvider:
        """Let the acquisition end only when the plugins have ended."""
        await self.driver.wait_for_plugins.set(True)
        return _StatisticsProvider(self.signals)

    def get_hinted_fields(self, datakey_name: str) -> Sequence[str]:
        """Return what is worth a plot."""
        return [signal.name for signal in self.hinted]


__all__ = ["ImageFileLogic", "ImagePaths", "StatisticsLogic"]
