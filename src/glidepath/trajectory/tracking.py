"""How a gap that is driven in straight pieces keeps to the energy: knots, predicted mismatch."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glidepath.physics import GapCurve

TRACKING_BOUND: Final = 0.05
"""Share of the harmonic's width 1/(nN) by which it may be off the energy during a scan."""

MOST_SEGMENTS: Final = 64
"""More are never of use: even the steepest curve is then within a thousandth of the width."""

_POINTS = 24
"""Points in each segment at which the mismatch is computed."""


@dataclass(frozen=True)
class GapPath:
    """Gap over energy, straight between knots that lie equidistant in energy on a curve.

    Parameters
    ----------
    energies, gaps
        The knots in the order in which they are flown, eV and mm. The first and the last piece
        are run-up and run-down, the knots between them are those of the range.
    mismatch
        Largest distance in eV between the harmonic and the energy inside the range, if the gap
        keeps to the path.
    share
        The same in units of the harmonic's width.

    Examples
    --------
    >>> knots = np.array([398.0, 400.0, 410.0, 411.0]), np.array([33.9, 34.0, 34.6, 34.7])
    >>> path = GapPath(*knots, mismatch=0.1, share=0.01)
    >>> path.segments, path.direction, float(path.gap(405.0)), path.piece(405.0)
    (1, 1, 34.3, 1)
    """

    energies: NDArray[np.float64]
    gaps: NDArray[np.float64]
    mismatch: float
    share: float

    @property
    def segments(self) -> int:
        """Number of straight pieces inside the range."""
        return len(self.energies) - 3

    @property
    def direction(self) -> int:
        """1 where the energy rises, -1 where it falls."""
        return 1 if self.energies[-1] > self.energies[0] else -1

    @property
    def slopes(self) -> NDArray[np.float64]:
        """Slope of the gap in each piece, mm/eV, positive; shape (segments + 2,)."""
        return np.diff(self.gaps) / np.diff(self.energies)

    def gap(self, energy: ArrayLike) -> NDArray[np.float64]:
        """Return the gap in mm at an energy in eV (any shape); beyond the ends, that of the end."""
        order = slice(None, None, self.direction)
        at = np.asarray(energy, dtype=np.float64)
        return np.asarray(np.interp(at, self.energies[order], self.gaps[order]))

    def piece(self, energy: float) -> int:
        """Return the number of the piece that an energy in eV is in; the nearest if in none."""
        passed = int(np.sum(self.direction * (energy - self.energies) >= 0))
        return min(max(passed - 1, 0), self.segments + 1)


def gap_path(
    curve: GapCurve,
    start: float,
    stop: float,
    *,
    run_up: float,
    run_down: float,
    bound: float = TRACKING_BOUND,
    allowance: float = 0.0,
    segments: int | None = None,
) -> GapPath:
    """Return the path with the fewest knots that keeps the harmonic within a bound.

    Parameters
    ----------
    curve
        The undulator's gap against energy.
    start, stop
        The range, eV, in the order in which it is flown.
    run_up, run_down
        Distances in eV before start and behind stop over which the gap is driven too.
    bound
        Largest distance between harmonic and energy, in units of the harmonic's width.
    allowance
        What of it, in eV, is left to the drive: its timing and its corrections.
    segments
        Number of straight pieces; None: as few as the bound allows.

    Raises
    ------
    ValueError
        If the curve does not reach as far; or there is to be no segment.

    Examples
    --------
    >>> from glidepath.physics import UE48, GapTable
    >>> curve = GapTable.from_law(UE48, range(14, 101)).curve()
    >>> path = gap_path(curve, 370, 470, run_up=2.0, run_down=1.0)
    >>> path.segments, round(path.share, 3)
    (5, 0.046)
    >>> round(gap_path(curve, 370, 470, run_up=2.0, run_down=1.0, segments=1).mismatch, 1)
    5.5
    """
    if segments is not None and segments < 1:
        raise ValueError(f"A gap cannot be driven in {segments!r} segments; give 1 or more.")
    direction = 1 if stop > start else -1
    outer = [start - direction * run_up, stop + direction * run_down]
    for number in range(1, MOST_SEGMENTS + 1) if segments is None else [segments]:
        inner = np.linspace(start, stop, number + 1)
        error, share = _mismatch(curve, inner)
        room = np.min(bound - allowance / curve.width(inner))
        # Where the drive alone needs more than the bound, knots cannot help any further.
        if share <= max(room, bound / 4):
            break
    energies = np.concatenate([outer[:1], inner, outer[1:]])
    return GapPath(energies, curve.gap(energies), error, share)


def _mismatch(curve: GapCurve, knots: ArrayLike) -> tuple[float, float]:
    """Return the largest distance between harmonic and energy, in eV and in widths."""
    knots = np.asarray(knots, dtype=np.float64)
    energy = np.interp(
        np.arange((len(knots) - 1) * _POINTS + 1) / _POINTS, np.arange(len(knots)), knots
    )
    order = np.argsort(knots)
    gap = np.interp(energy, knots[order], curve.gap(knots[order]))
    error = np.abs(curve.energy(gap) - energy)
    return float(np.max(error)), float(np.max(error / curve.width(energy)))


__all__ = ["TRACKING_BOUND", "GapPath", "gap_path"]
