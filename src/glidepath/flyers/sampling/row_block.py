"""What triggers and the detectors that follow them know of rows, before anything is joined."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from glidepath.detectors import FrameFile

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RowBlock:
    """Rows of the primary table as far as triggers and detectors know them; arrays of m rows.

    Attributes
    ----------
    begins, ends
        Of the exposures, POSIX s on the clock of the trigger source: begins as it latched them;
        ends as the detectors measured how long they exposed, the one that ended first.
    means
        Mean positions of the axis over the exposures, NaN where the source did not measure just
        that.
    following
        Where the steps begin that follow those of the rows; NaN where triggers come by time.
    columns
        Columns of the detectors, and ``<detector>_frame``: index of the row's first frame among
        all of this detector in the run, -1 if there is none. Of a detector that makes several
        frames a row also ``<detector>_count``: how many of them are there.
    quality
        Bits, uint16.
    images
        Detector -> the file with its images, and the index of each row's frame in it, or -1,
        shape (m,), or (m, n) where n frames make a row.
    """

    begins: Floats
    ends: Floats
    means: Floats
    following: Floats
    columns: Mapping[str, NDArray]
    quality: NDArray[np.uint16]
    images: Mapping[str, tuple[FrameFile, NDArray[np.int64]]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.begins)

    def first(self, count: int) -> "RowBlock":
        """Return the first rows."""
        return self.only(slice(None, count))

    def after(self, count: int) -> "RowBlock":
        """Return all but the first rows."""
        return self.only(slice(count, None))

    def only(self, rows: slice | NDArray[np.bool_]) -> "RowBlock":
        """Return some of the rows."""
        columns = {name: column[rows] for name, column in self.columns.items()}
        images = {name: (file, frames[rows]) for name, (file, frames) in self.images.items()}
        times = (self.begins[rows], self.ends[rows], self.means[rows], self.following[rows])
        return RowBlock(*times, columns, self.quality[rows], images)


__all__ = ["RowBlock"]
