"""The file writer of the simulated camera: NDFileHDF5 as far as clients see it, SWMR included."""

import asyncio
import errno
import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from .area_detector import EPICS_EPOCH, Batch, Plugin
from .channels import Database

__all__ = ["NOT_IN_SINGLE_MODE", "Hdf5Plugin"]

_NO_YES = ("No", "Yes")
_OFF_ON = ("Off", "On")
_COMPRESSIONS = ("None", "N-bit", "szip", "zlib", "Blosc", "BSLZ4", "LZ4", "JPEG")
_UNIQUE_ID: Final = "NDArrayUniqueId"
NOT_IN_SINGLE_MODE: Final = "ERROR: capture not supported in Single mode"
"""What the file writer says of a capture, or the end of one, in its mode Single."""
_ATTRIBUTE_CHUNK = 16384
_CLASSES = {
    "entry": "NXentry",
    "entry/data": "NXdata",
    "entry/instrument": "NXinstrument",
    "entry/instrument/detector": "NXdetector",
    "entry/instrument/NDAttributes": "NXcollection",
}


def _find_folder(path: Path, levels: int) -> bool:
    """Whether a folder can be written to; make it if at most so many levels are missing."""
    if levels > 0 and path.parents[min(levels, len(path.parents)) - 1].is_dir():
        path.mkdir(parents=True, exist_ok=True)
    return path.is_dir() and os.access(path, os.W_OK)


class _File:
    """One file in the plugin's default layout.

    Images are in ``/entry/data/data``, NDAttributes in ``/entry/instrument/NDAttributes``.
    Readers see what was flushed; the unique ids are flushed last, so that their number is the
    number of complete frames.
    """

    def __init__(
        self,
        path: Path,
        first: Batch,
        swmr: bool,
        frames_per_chunk: int,
        attribute_chunk: int,
        stores_attributes: bool,
    ) -> None:
        self._file = h5py.File(path, "w", libver="latest")
        for name, nx_class in _CLASSES.items():
            self._file.create_group(name).attrs["NX_class"] = nx_class
        rows, columns = first.images.shape[1:]
        self._images = self._file.create_dataset(
            "entry/instrument/detector/data",
            shape=(0, rows, columns),
            maxshape=(None, rows, columns),
            chunks=(frames_per_chunk, rows, columns),
            dtype=first.images.dtype,
        )
        self._file["entry/data/data"] = self._images
        self._attributes = {
            name: self._file.create_dataset(
                f"entry/instrument/NDAttributes/{name}",
                shape=(0,),
                maxshape=(None,),
                chunks=(attribute_chunk,),
                dtype=values.dtype,
            )
            for name, values in (self._columns(first).items() if stores_attributes else ())
        }
        self._file.swmr_mode = swmr

    @staticmethod
    def _columns(batch: Batch) -> dict[str, np.ndarray]:
        seconds = batch.stamps - EPICS_EPOCH
        return {
            "NDArrayTimeStamp": seconds,
            "NDArrayEpicsTSSec": seconds.astype("<u4"),
            "NDArrayEpicsTSnSec": (np.mod(seconds, 1.0) * 1e9).astype("<u4"),
            **batch.attributes,
            _UNIQUE_ID: batch.ids.astype("<i4"),
        }

    def append(self, batch: Batch) -> None:
        """Write frames; readers need not see them yet.

        Raises
        ------
        OSError
            If they have another size or type than the first one.
        """
        if (batch.images.shape[1:], batch.images.dtype) != (
            self._images.shape[1:],
            self._images.dtype,
        ):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        columns, unknown = self._columns(batch), np.full(len(batch), np.nan)
        for dataset, values in (
            (self._images, batch.images),
            # An attribute that is not sent any more is not known.
            *((d, columns.get(name, unknown)) for name, d in self._attributes.items()),
        ):
            begin = len(dataset)
            dataset.resize(begin + len(values), axis=0)
            dataset[begin:] = values

    def flush(self, images: bool = True, attributes: bool = True) -> None:
        """Make what was written visible to readers."""
        if images:
            self._images.flush()
        for dataset in self._attributes.values() if attributes else ():
            dataset.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Hdf5Plugin(Plugin):
    """Writes the frames that reach it to a file, in a thread, and counts them.

    Parameters
    ----------
    database, prefix, port, source
        See :class:`~glidepath.simulation.area_detector.Plugin`.
    fault
        Prefix of its faults: ``disk_full`` makes every write fail, ``disk_slow`` makes each
        frame take so many seconds longer, so that the queue overflows.
    """

    def __init__(self, database: Database, prefix: str, port: str, source: str, fault: str) -> None:
        super().__init__(database, prefix, port, source, "NDFileHDF5 ver1.0.0")
        self._path = self.setting("long_text", "FilePath", "", on_put=self._look_for_path)
        self._exists = self.read_only("choice", "FilePathExists_RBV", "No", _NO_YES)
        self._depth = self.setting("integer", "CreateDirectory", 0)
        self._name = self.setting("long_text", "FileName", "")
        self._number = self.setting("integer", "FileNumber", 0)
        self._template = self.setting("long_text", "FileTemplate", "%s%s_%3.3d.h5")
        self._full_name = self.read_only("long_text", "FullFileName_RBV", "", 512)
        self.setting("choice", "AutoIncrement", "Yes", _NO_YES)
        self._mode = self.setting(
            "choice", "FileWriteMode", "Single", ("Single", "Capture", "Stream")
        )
        self._limit = self.setting("integer", "NumCapture", 1)
        self._captured = self.read_only("integer", "NumCaptured_RBV", 0)
        self.read_only("choice", "Capture", "Done", ("Done", "Capture"), on_put=self._capture)
        self._capturing = self.read_only("choice", "Capture_RBV", "Done", ("Done", "Capturing"))
        self._status = self.read_only(
            "choice", "WriteStatus", "Write OK", ("Write OK", "Write error")
        )
        self._message = self.read_only("long_text", "WriteMessage", "")
        self._lazy = self.setting("choice", "LazyOpen", "No", _NO_YES)
        self.read_only("choice", "FlushNow", "Done", ("Done", "Flush"), on_put=self._flush_now)
        self._swmr = self.setting("choice", "SWMRMode", "Off", _OFF_ON)
        self.setting("choice", "PositionMode", "Off", _OFF_ON)
        self.setting("choice", "Compression", "None", _COMPRESSIONS)
        self.setting("choice", "ChunkSizeAuto", "Yes", _NO_YES)
        self.setting("integer", "NumExtraDims", 0)
        self.setting("long_text", "XMLFileName", "", 1024)
        self._frames_per_chunk = self.setting("integer", "NumFramesChunks", 0)
        self._attribute_chunk = self.setting("integer", "NDAttributeChunk", 0)
        self._frames_per_flush = self.setting(
            "integer",
            "NumFramesFlush",
            0,
            accept=lambda frames: frames if frames >= self._frames_per_chunk.value else None,
        )
        self._stores = self.setting("choice", "StoreAttr", "Yes", _NO_YES)
        self._disk_full = database.integer(f"{fault}disk_full", 0, writable=True)
        self._disk_slow = database.number(f"{fault}disk_slow", 0.0, "s", writable=True)
        self._queue: deque[Batch] = deque()
        self._file: _File | None = None
        self._writing = asyncio.Lock()
        self._wake = asyncio.Event()
        self._ended = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._seen = False
        self._takes = False

    @property
    def counts(self) -> bool:
        """Whether arrays are counted: those that are written only (NDPluginFile)."""
        return self._takes

    async def publish(self, batch: Batch) -> None:
        """Queue the frames for the thread; what finds no room is dropped."""
        self._seen = True
        kept = batch.part(~batch.lost)
        if self._disk_slow.value:
            # Not without the fault: a busy host must not look like a slow disk.
            kept = kept.part(slice(self._free()))
        if lost := len(batch) - len(kept):
            await self.dropped.post(int(self.dropped.value) + lost)
        if len(kept):
            self._queue.append(kept)
            self._idle.clear()
            self._wake.set()
        await self.queue_free.change(self._free())

    def _free(self) -> int:
        free = int(self.queue_size.value) - sum(len(batch) for batch in self._queue)
        return max(free, 0 if self._disk_slow.value else 1)

    async def drained(self) -> None:
        """Return when everything that was queued is written."""
        await self._idle.wait()

    async def run(self) -> None:
        """Write what is queued, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                # One at a time: what waits is counted in the queue.
                await self._write(self._queue.popleft())
                await self.queue_free.change(self._free())
            self._idle.set()

    async def close(self) -> None:
        """Close the file; what is queued still is not written."""
        self._takes = False
        async with self._writing:
            if self._file is not None:
                self._file.close()
                self._file = None

    async def _look_for_path(self, text: str) -> None:
        found = bool(text) and _find_folder(Path(text), -int(self._depth.value))
        await self._path.post(text if text.endswith("/") or not text else text + "/")
        await self._exists.change("Yes" if found else "No")

    async def _capture(self, value: str) -> None:
        if value == "Done":
            await self._end()
            if self._mode.value == "Single":
                # As NDPluginFile does: in this mode it takes not even the end of a capture.
                await self._message.change(NOT_IN_SINGLE_MODE)
            return
        await self._say("Write OK", "")
        await self._full_name.post("")
        if self._mode.value != "Stream":
            await self._refuse(NOT_IN_SINGLE_MODE)
            return
        if not self._seen and self._lazy.value == "No":
            await self._refuse("ERROR, must collect an array to get dimensions first")
            return
        await self._captured.change(0)
        await self._say("Write OK", "Lazy Open..." if self._lazy.value == "Yes" else "")
        self._ended.clear()
        self._takes = True
        await self._capturing.change("Capturing")
        await self._ended.wait()

    async def _refuse(self, message: str) -> None:
        await self._say("Write error", message)
        await self.channel("Capture").post("Done")

    async def _end(self) -> None:
        await self.close()
        await self._capturing.change("Done")
        await self.channel("Capture").change("Done")
        self._ended.set()

    async def _say(self, status: str, message: str) -> None:
        await self._status.change(status)
        await self._message.change(message)

    async def _write(self, batch: Batch) -> None:
        if delay := float(self._disk_slow.value):
            await asyncio.sleep(delay * len(batch))
        limit, captured = int(self._limit.value), int(self._captured.value)
        if limit > 0:
            batch = batch.part(slice(limit - captured))
        try:
            async with self._writing:
                if not self._takes:
                    return
                await asyncio.to_thread(self._store, batch, captured)
        except OSError as error:
            await self._say("Write error", f"Error writing file, {os.strerror(error.errno or 5)}")
            return
        await self._say("Write OK", "")
        await self._opened()
        await self._full_name.change(self._file_name())
        await self._captured.change(captured + len(batch))
        if limit > 0 and captured + len(batch) >= limit:
            await self._end()

    async def _opened(self) -> None:
        """Show the chunks of the file, and flush no more often than there are chunks."""
        chunk = max(int(self._frames_per_chunk.value), 1)
        await self._frames_per_chunk.change(chunk)
        await self._frames_per_flush.change(max(int(self._frames_per_flush.value), chunk))

    def _file_name(self) -> str:
        parts: Sequence[Any] = (self._path.value, self._name.value, int(self._number.value))
        template = str(self._template.value)
        return template % tuple(parts[: template.count("%")])

    def _store(self, batch: Batch, captured: int) -> None:
        if self._disk_full.value:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self._file is None:
            self._file = _File(
                Path(self._file_name()),
                batch,
                self._swmr.value == "On",
                int(self._frames_per_chunk.value) or 1,
                int(self._attribute_chunk.value) or _ATTRIBUTE_CHUNK,
                self._stores.value == "Yes",
            )
        self._file.append(batch)

        def due(every: int) -> bool:
            return every > 0 and (captured + len(batch)) // every > captured // every

        # NDAttributes are flushed when a chunk of them is full, whatever is flushed of the images.
        self._file.flush(
            due(int(self._frames_per_flush.value)),
            due(int(self._attribute_chunk.value) or _ATTRIBUTE_CHUNK),
        )

    async def _flush_now(self, value: str) -> None:
        if value == "Flush":
            async with self._writing:
                if self._file is not None:
                    await asyncio.to_thread(self._file.flush)
            await self.channel("FlushNow").post("Done")
