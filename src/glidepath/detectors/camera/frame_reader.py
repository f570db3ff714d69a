"""Reads the frames of a camera from the HDF5 file that its server is still writing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import h5py
import numpy as np
from numpy.typing import NDArray

from glidepath.storage.followed_file import FollowedFile

Floats = NDArray[np.float64]

EPICS_EPOCH: Final = 631152000
"""POSIX time of the begin of EPICS time, 1990-01-01, s."""

ATTRIBUTES: Final = "/entry/instrument/NDAttributes"
"""Where NDFileHDF5 puts NDAttributes in its default layout."""

IMAGES: Final = "/entry/data/data"
"""Where it puts the images."""

_UNIQUE_ID = "NDArrayUniqueId"
_SECONDS, _NANOSECONDS = "NDArrayEpicsTSSec", "NDArrayEpicsTSnSec"
_TIME_STAMP = "NDArrayTimeStamp"


@dataclass(frozen=True)
class FileFrames:
    """Frames in the order in which they are in the file.

    Attributes
    ----------
    ids
        Shape (n,), int64: NDArray.uniqueId.
    stamps
        Shape (n,): NDArray.epicsTS as POSIX s.
    driver_stamps
        Shape (n,): NDArray.timeStamp, s; where it begins is up to the driver.
    values
        Name of an NDAttribute -> shape (n,).
    """

    ids: NDArray[np.int64]
    stamps: Floats
    driver_stamps: Floats
    values: Mapping[str, Floats]

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.ids)


class FrameReader(FollowedFile):
    """Follows the NDAttributes of one file of NDFileHDF5 (default layout, SWMR).

    Parameters
    ----------
    path
        The file; it need not be there yet.
    attributes
        Names of NDAttributes to read besides those that every frame has.
    dataset
        Where the images are.
    """

    def __init__(self, path: Path, attributes: Sequence[str] = (), dataset: str = IMAGES) -> None:
        super().__init__(path)
        self._names, self._dataset = tuple(attributes), dataset
        self.images: tuple[tuple[int, ...], np.dtype] | None = None
        """Shape and type of an image as they are in the file; None until it can be read."""

    def read(self) -> FileFrames:
        """Return the frames that are complete in the file and were not returned before.

        Nothing is returned while the file is not there, or cannot be read at this moment.

        Raises
        ------
        KeyError
            If the file has no such NDAttribute.
        """
        with self._lock:
            try:
                file = self._open()
                return _NOTHING if file is None else self._next_frames(file)
            except (OSError, RuntimeError):
                # A part of what belongs together is written: next time.
                self._close()
                return _NOTHING

    def _next_frames(self, file: h5py.File) -> FileFrames:
        missing = [name for name in self._names if f"{ATTRIBUTES}/{name}" not in file]
        if missing:
            raise KeyError(
                f"The file {self.path} has no NDAttribute {', '.join(missing)} "
                f"(it has {', '.join(file[ATTRIBUTES])})."
            )
        images = file[self._dataset]
        images.refresh()
        self.images = images.shape[1:], images.dtype
        # The plugin flushes the unique ids last: the others are at least as long.
        names = (_UNIQUE_ID, _SECONDS, _NANOSECONDS, _TIME_STAMP, *self._names)
        new: dict[str, NDArray] = {}
        for name in names:
            dataset = file[f"{ATTRIBUTES}/{name}"]
            dataset.refresh()
            new[name] = dataset[self.rows :]
        # A frame counts when its image can be read too.
        length = min(len(images) - self.rows, *(len(values) for values in new.values()))
        # Every dataset has one element before anything was written.
        written = new[_SECONDS][:length] > 0
        if not np.all(written):
            length = int(np.argmin(written))
        self.rows += length
        new = {name: values[:length] for name, values in new.items()}
        return FileFrames(
            new[_UNIQUE_ID].astype(np.int64),
            EPICS_EPOCH + new[_SECONDS].astype(float) + 1e-9 * new[_NANOSECONDS].astype(float),
            new[_TIME_STAMP].astype(float),
            {name: new[name].astype(float) for name in self._names},
        )


_NOTHING = FileFrames(np.empty(0, np.int64), np.empty(0), np.empty(0), {})


__all__ = ["ATTRIBUTES", "EPICS_EPOCH", "IMAGES", "FileFrames", "FrameReader"]
