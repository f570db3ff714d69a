"""Which ranges of a scan have good rows, and where some are missing."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .quality import Quality

REPAIRABLE = (
    Quality.NO_DATA
    | Quality.TOP_UP
    | Quality.BEAM_LOST
    | Quality.LOST_TRIGGER
    | Quality.LOST_UPDATES
)
"""What may be better when a row is flown again."""


@dataclass
class Coverage:
    """Collects where good rows are, per pass and region.

    Parameters
    ----------
    axis
        Name of the axis's column.
    """

    axis: str
    _covered: dict[tuple[int, int], list[tuple[float, float]]] = field(default_factory=dict)

    def add(self, rows: Mapping[str, NDArray]) -> None:
        """Take the next rows, in order: the columns of the primary table, shape (m,)."""
        low, high = rows[f"{self.axis}_lower"], rows[f"{self.axis}_upper"]
        good = (rows["quality"] & np.uint16(REPAIRABLE)) == 0
        good &= np.isfinite(low) & np.isfinite(high)
        part = np.stack([rows["pass_number"], rows["region_number"]])
        kept = np.flatnonzero(good)
        if not len(kept):
            return
        breaks = (np.diff(kept) > 1) | np.any(np.diff(part[:, kept]) != 0, axis=0)
        for run in np.split(kept, np.flatnonzero(breaks) + 1):
            key = (int(part[0, run[0]]), int(part[1, run[0]]))
            found = float(low[run].min()), float(high[run].max())
            spans = self._covered.setdefault(key, [])
            if spans and found[0] <= spans[-1][1] and spans[-1][0] <= found[1]:
                found = min(found[0], spans[-1][0]), max(found[1], spans[-1][1])
                spans.pop()
            spans.append(found)

    def holes(
        self, pass_number: int, region: int, low: float, high: float, smallest: float
    ) -> list[tuple[float, float]]:
        """Return the ranges inside ``[low, high]`` without a good row, lowest first.

        Parameters
        ----------
        pass_number, region
            Which rows count.
        low, high
            Ends of the region in the axis's unit.
        smallest
            Length (units) of a range from which on it counts: a row, so that what is left over
            at the ends of a flight does not.
        """
        at, found = low, []
        for begin, end in [*sorted(self._covered.get((pass_number, region), [])), (high, high)]:
            if begin - at >= smallest:
                found.append((at, begin))
            at = max(at, end)
        return found


__all__ = ["REPAIRABLE", "Coverage"]
