"""Images that somebody else writes, shown one for each row of a table: a lost one is a gap."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

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
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype
    rows: int = 0
    _runs: list[tuple[Path, str, int, int, int]] = field(default_factory=list)

    def add(self, source: Path, dataset: str, frames: NDArray[np.int64]) -> None:
        """Take the frames of the next rows.

        Parameters
        ----------
        source, dataset
            The file of the frames and the dataset in it.
        frames
            Shape (m,): index of each row's frame in the dataset; -1: there is none.
        """
        known = np.flatnonzero(frames >= 0)
        steps = (np.diff(known) != 1) | (np.diff(frames[known]) != 1)
        for run in np.split(known, np.flatnonzero(steps) + 1) if len(known) else ():
            row, frame, count = self.rows + int(run[0]), int(frames[run[0]]), len(run)
            if self._runs:
                last, its, r, f, n = self._runs[-1]
                if (last, its, r + n, f + n) == (source, dataset, row, frame):
                    self._runs[-1] = (last, its, r, f, n + count)
                    continue
            self._runs.append((source, dataset, row, frame, count))
        self.rows += len(frames)

    def write(self) -> None:
        """Let readers see all rows."""
        layout = h5py.VirtualLayout((self.rows, *self.shape), self.dtype, (None, *self.shape))
        for source, dataset, row, frame, count in self._runs:
            shape = (frame + count, *self.shape)
            whole = h5py.VirtualSource(source, dataset, shape, self.dtype, (None, *self.shape))
            layout[row : row + count] = whole[frame : frame + count]
        new = self.path.with_suffix(".new")
        with h5py.File(new, "w", libver="latest") as file:
            file.create_virtual_dataset(DATASET, layout, fillvalue=0)
        os.replace(new, self.path)


def image_shape(data_key_shape: Sequence[int | None]) -> tuple[int, ...]:
    """Return the shape of one image from that of a data key, whose first axis counts frames."""
    return tuple(int(size or 0) for size in data_key_shape[1:])


__all__ = ["DATASET", "AlignedImages", "image_shape"]
