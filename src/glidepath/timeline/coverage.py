"""Which ranges of a scan have good rows, and where some are missing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .quality import Quality

Floats = NDArray[np.float64]

EARLY = 0.25
"""Share of a step by which the middle of its row may lie before it: the jitter of an encoder. The
middle of a row is never behind that of its step, whether exposures begin where steps do or not."""

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
    _middles: dict[tuple[int, int], list[Floats]] = field(default_factory=dict)

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
            self._middles.setdefault(key, []).append((low[run] + high[run]) / 2)
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

    def missing_steps(
        self, pass_number: int, regions: Iterable[int], step_edges: Floats
    ) -> list[tuple[float, float]]:
        """Return the ranges of whole steps without a good row, in the order of the edges.

        What is flown again between two of the edges has its rows where the others are, and
        measures no step twice.

        Parameters
        ----------
        pass_number, regions
            Which rows count.
        step_edges
            Shape (n + 1,): where the planned steps begin, and the last one ends, rising or falling.
        """
        sign = 1.0 if step_edges[-1] > step_edges[0] else -1.0
        known = [
            sign * middles for n in regions for middles in self._middles.get((pass_number, n), [])
        ]
        rising = sign * step_edges
        begins = rising[:-1] - EARLY * np.diff(rising)
        steps = np.searchsorted(begins, np.concatenate([*known, np.empty(0)]), "right") - 1
        missing = np.setdiff1d(np.arange(len(begins)), steps)
        runs = np.split(missing, np.flatnonzero(np.diff(missing) > 1) + 1)
        return [
            (float(step_edges[run[0]]), float(step_edges[run[-1] + 1])) for run in runs if len(run)
        ]


__all__ = ["REPAIRABLE", "Coverage"]
