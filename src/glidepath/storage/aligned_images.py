"""Images that somebody else writes, shown row by row of a table: a lost one is a gap.

HDF5 reads a source that is missing as fill values, and a source of the same name as if it were the
right one. So what each source must be like is written down beside the mapping, and `check_images`
compares it: whoever opens or exports images calls it first.
"""

import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from .hdf5 import open_hdf5

DATASET = "/entry/data/images"

SOURCES = "sources"
"""Group with what is known of the sources: one subgroup each."""


class ImagesError(OSError):
    """The images of a run are not where the run says; the text is one sentence."""


@dataclass
class _Source:
    """A file with images and the dataset in it, as it is written into the mapping."""

    path: Path
    dataset: str
    frames: int = 0
    """Images that it must have at the least."""
    first: int = -1
    """Index of the first image that is shown."""
    checksum: int | None = None
    """CRC-32 of that image's bytes; None as long as it cannot be read."""


@dataclass
class AlignedImages:
    """A file with a virtual dataset (HDF5) that maps rows to frames in other files.

    It is written anew as the rows grow, and replaced in one step: whoever opens it sees it whole,
    with or without Glidepath. The pixels stay where they are, and are found from where this file
    is, so that a folder that is copied with both is complete. Rows without a frame are 0.

    Parameters
    ----------
    path
        The file.
    shape, dtype
        Shape and dtype of one image.
    per_row
        Images that a row has; if there are several, the dataset has a second axis for them.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype
    per_row: int = 1
    rows: int = 0
    # Of each image of a row: source, dataset, first row, its frame, rows.
    _runs: list[list[tuple[Path, str, int, int, int]]] = field(init=False)

    def __post_init__(self) -> None:
        self._runs = [[] for _ in range(self.per_row)]
        self._sources: dict[tuple[Path, str], _Source] = {}

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of what a row shows."""
        return self.shape if self.per_row == 1 else (self.per_row, *self.shape)

    def add(self, source: Path, dataset: str, frames: NDArray[np.int64]) -> None:
        """Take the frames of the next rows.

        Parameters
        ----------
        source, dataset
            The file of the frames and the dataset in it.
        frames
            Shape (m,), or (m, images per row): index of each row's frame in the dataset; -1: there
            is none.
        """
        known = frames[frames >= 0]
        if known.size:
            described = self._sources.setdefault((source, dataset), _Source(source, dataset))
            described.frames = max(described.frames, int(known.max()) + 1)
            described.first = int(known.min()) if described.first < 0 else described.first
        for runs, column in zip(self._runs, frames.reshape(len(frames), -1).T, strict=True):
            known = np.flatnonzero(column >= 0)
            steps = (np.diff(known) != 1) | (np.diff(column[known]) != self.per_row)
            for run in np.split(known, np.flatnonzero(steps) + 1) if len(known) else ():
                row, frame, count = self.rows + int(run[0]), int(column[run[0]]), len(run)
                if runs:
                    last, its, r, f, n = runs[-1]
                    if (last, its, r + n, f + n * self.per_row) == (source, dataset, row, frame):
                        runs[-1] = (last, its, r, f, n + count)
                        continue
                runs.append((source, dataset, row, frame, count))
        self.rows += len(frames)

    def write(self) -> None:
        """Let readers see all rows."""
        of_row, step = self.row_shape, self.per_row
        layout = h5py.VirtualLayout((self.rows, *of_row), self.dtype, (None, *of_row))
        for place, runs in enumerate(self._runs):
            for source, dataset, row, frame, count in runs:
                stop = frame + (count - 1) * step + 1
                shape, most = (stop, *self.shape), (None, *self.shape)
                place_of = self._seen_from_here(source)
                whole = h5py.VirtualSource(place_of, dataset, shape, self.dtype, most)
                rows = slice(row, row + count)
                target = rows if self.per_row == 1 else (rows, place)
                layout[target] = whole[frame:stop:step]
        new = self.path.with_suffix(".new")
        with open_hdf5(new, "w", libver="latest") as file:
            file.create_virtual_dataset(DATASET, layout, fillvalue=0)
            for number, its in enumerate(self._sources.values()):
                self._describe(its, file.create_group(f"{SOURCES}/{number}"))
        os.replace(new, self.path)

    def _seen_from_here(self, source: Path) -> str:
        """Return the path of a source from the folder of this file, where they share a folder."""
        ours, theirs = self.path.absolute().parent, source.absolute()
        shared = os.path.commonpath([ours, theirs])
        if shared == os.path.sep:
            return str(theirs)
        return os.path.relpath(theirs, ours)

    def _describe(self, source: _Source, group: h5py.Group) -> None:
        if source.checksum is None:
            source.checksum = _checksum(source)
        group.attrs["path"] = self._seen_from_here(source.path)
        group.attrs["dataset"] = source.dataset
        group.attrs["frames"] = source.frames
        group.attrs["first"] = source.first
        if source.checksum is not None:
            group.attrs["checksum"] = source.checksum


def _checksum(source: _Source) -> int | None:
    """Return the checksum of the first image that is shown, or None while it cannot be read."""
    try:
        with h5py.File(source.path, "r", libver="latest", swmr=True) as file:
            dataset = file[source.dataset]
            dataset.refresh()
            return _checksum_in(dataset, source.first)
    except (OSError, KeyError, RuntimeError):
        return None


def _checksum_in(dataset: h5py.Dataset, index: int) -> int | None:
    return zlib.crc32(dataset[index].tobytes()) if index < len(dataset) else None


def check_images(path: Path, *, swmr: bool = True) -> None:
    """Check that all images which a file shows row by row are where it says.

    Parameters
    ----------
    path
        A file that `AlignedImages` has written.
    swmr
        How files are opened; HDF5 opens a file in one way only within a process.

    Raises
    ------
    ImagesError
        In one sentence, if a source is missing, is another one, or has lost images.
    """
    with h5py.File(path, "r", libver="latest", swmr=swmr) as file:
        images = file[DATASET]
        shape = images.shape[1:]
        for attributes in _attributes(file):
            place = Path(str(attributes["path"]))
            source = place if place.is_absolute() else path.parent / place
            _check_source(path, source, attributes, shape, images.dtype, swmr)


def _attributes(file: h5py.File) -> Iterator[dict[str, object]]:
    for group in file[SOURCES].values() if SOURCES in file else ():
        yield dict(group.attrs)


def _check_source(
    path: Path,
    source: Path,
    attributes: dict[str, object],
    row_shape: tuple[int, ...],
    dtype: np.dtype,
    swmr: bool,
) -> None:
    if not source.exists():
        raise ImagesError(
            f"The images of {path.name} are in {source}, but there is no such file; copy or move "
            "the run's folder as a whole."
        )
    dataset_name = str(attributes["dataset"])
    with h5py.File(source, "r", libver="latest", swmr=swmr) as file:
        dataset = file.get(dataset_name)
        reason = ""
        if dataset is None:
            reason = f"it has no {dataset_name}"
        elif dataset.dtype != dtype or dataset.shape[1:] != row_shape[-(dataset.ndim - 1) :]:
            reason = f"its images are {dataset.shape[1:]} {dataset.dtype}"
        elif len(dataset) < int(attributes["frames"]):  # type: ignore[call-overload]
            reason = f"it has {len(dataset)} images, and {attributes['frames']} are shown"
        elif "checksum" in attributes:
            found = _checksum_in(dataset, int(attributes["first"]))  # type: ignore[call-overload]
            if found != attributes["checksum"]:
                reason = "its pixels are others"
    if reason:
        raise ImagesError(
            f"{source} is not the file whose images {path.name} shows: {reason}; put back the one "
            "that the run was recorded with."
        )


def image_shape(data_key_shape: Sequence[int | None]) -> tuple[int, ...]:
    """Return the shape of one image from that of a data key, whose first axis counts frames."""
    return tuple(int(size or 0) for size in data_key_shape[1:])


__all__ = ["DATASET", "AlignedImages", "ImagesError", "check_images", "image_shape"]
