"""How a camera's file and its statistics go into the events of stock plans."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePath
from typing import Any
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

from .claim import Claim, claim_path, is_abandoned
from .io import Hdf5IO


@dataclass
class RunPaths:
    """Where the images go: the run's folder, or in stock plans a folder by date.

    It is a ``PathProvider`` of ophyd-async, for any of its detectors.

    Attributes
    ----------
    at_server
        Turns a folder of this machine into the same folder as the camera's server sees it.
    folder
        The run's folder; None: ``<data root>/yyyy/mm/dd``.
    path
        The file that was named last, as this machine sees it.
    """

    at_server: Callable[[Path], PurePath] = Path.absolute
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
    the plugin (ADCore issue 593): here the plugin flushes by itself, if it does at all.

    A capture that somebody else has running is neither taken nor stopped. One that a process of
    ours has left behind when it died is.

    Attributes
    ----------
    writer
        The plugin.
    frames_per_flush
        Frames between two flushes.
    """

    writer: Hdf5IO
    frames_per_flush: int = 1
    _claim: Claim | None = None

    async def check(self, camera: str) -> None:
        """Refuse (ValueError) to take the file writer from somebody who is using it."""
        if self._claim is None and await self._is_someone_elses():
            path = await self.writer.file_path.get_value()
            capture = self.writer.capture.source.removeprefix("ca://")
            raise ValueError(
                f"The file writer of {camera} is capturing for somebody else, to {path!r} "
                f"({capture} is on); end that capture first."
            )

    async def _is_someone_elses(self) -> bool:
        if not await self.writer.capture.get_value(cached=False):
            return False
        folder, name = await asyncio.gather(
            self.writer.file_path.get_value(), self.writer.file_name.get_value()
        )
        return not is_abandoned(claim_path(Path(folder), name))

    async def prepare_unbounded(self, datakey_name: str) -> StreamableDataProvider:
        """Open a file.

        Raises
        ------
        ValueError
            If the images are not ``Mono``, or somebody else is capturing.
        """
        color_mode = await self.array_description.color_mode_signal.get_value()
        if color_mode != ADBaseColorMode.MONO:
            raise ValueError(
                f"{datakey_name} makes images in the colour mode {color_mode.value}, but only Mono "
                "can be described; set ColorMode to Mono."
            )
        await self.check(datakey_name)
        await self.writer.attribute_chunk.set(self.frames_per_flush)
        await self.writer.frames_per_flush.set(
            max(self.frames_per_flush, await self.writer.num_frames_chunks.get_value())
        )
        provider = await super().prepare_unbounded(datakey_name)
        assert isinstance(provider, StreamResourceDataProvider)
        provider.flush_signal = None
        self._take(await self.writer.file_name.get_value())
        return provider

    def _take(self, name: str) -> None:
        self._release()
        assert isinstance(self.path_provider, RunPaths)
        self._claim = Claim(claim_path(self.path_provider.path.parent, name))

    def _release(self) -> None:
        claim, self._claim = self._claim, None
        if claim is not None:
            claim.release()

    def give_up(self) -> None:
        """Hold the file writer no longer, whatever it does: its server does not answer."""
        self._release()

    async def stop(self) -> None:
        """Close the file, unless nothing is captured or the capture is somebody else's.

        A plugin in Single mode answers Capture = 0 with an error message, which would stay on its
        screen: it is only told to end what it does.
        """
        if self._claim is None and (
            not await self.writer.capture.get_value(cached=False) or await self._is_someone_elses()
        ):
            return
        try:
            await super().stop()
        finally:
            self._release()

    def get_hinted_fields(self, datakey_name: str) -> Sequence[str]:
        """Return nothing: an image is nothing to plot against a motor."""
        return []


@dataclass
class SignalsProvider(ReadableDataProvider):
    """Readings of some signals, each asked of its server.

    Attributes
    ----------
    signals
        What is read.
    """

    signals: Sequence[SignalR[Any]]

    async def make_datakeys(self) -> dict[str, DataKey]:
        """Return what the signals are."""
        described = await asyncio.gather(*(signal.describe() for signal in self.signals))
        return {key: value for part in described for key, value in part.items()}

    async def make_readings(self) -> dict[str, Reading]:
        """Return what the signals are at."""
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
        return SignalsProvider(self.signals)

    def get_hinted_fields(self, datakey_name: str) -> Sequence[str]:
        """Return what is worth a plot."""
        return [signal.name for signal in self.hinted]


__all__ = ["ImageFileLogic", "RunPaths", "SignalsProvider", "StatisticsLogic"]
