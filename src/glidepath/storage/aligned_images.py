"""Images that somebody else writes, shown row by row of a table: a lost one is a gap."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from .hdf5 import open_hdf5

DATASET = "/entry/data/images"


@dataclass
class AlignedImages:
    """A file with a virtual dataset (HDF5) that maps rows to frames in other files.

    It is written anew as the rows grow, and replaced in one step: whoever opens it sees it whole,
    with or without Glidepath. The pixels stay where they are. Rows without a frame are 0.

    Parameters
    ----------
    path
        The file.
    shape, dtype
        Of one image.
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
                whole = h5py.VirtualSource(source, dataset, shape, self.dtype, most)
                rows = slice(row, row + count)
                target = rows if self.per_row == 1 else (rows, place)
                layout[target] = whole[frame:stop:step]
        new = self.path.with_suffix(".new")
        with open_hdf5(new, "w", libver="latest") as file:
            file.create_virtual_dataset(DATASET, layout, fillvalue=0)
        os.replace(new, self.path)


def image_shape(data_key_shape: Sequence[int | None]) -> tuple[int, ...]:
    """Return the shape of one image from that of a data key, whose first axis counts frames."""
    return tuple(int(size or 0) for size in data_key_shape[1:])


__all__ = ["DATASET", "AlignedImages", "image_shape"]
