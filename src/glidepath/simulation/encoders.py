"""Encoders of the simulated axes, and the exact instants at which their counters change."""

from collections.abc import Callable
from math import ceil, floor

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glidepath.physics import grating_angles

from .link import LinkReader

__all__ = [
    "MOTOR_COUNTS_PER_EV",
    "Reading",
    "first_passages",
    "grating_reading",
    "mirror_reading",
    "motor_reading",
    "passages",
    "unconnected",
]

Floats = NDArray[np.float64]
Reading = Callable[[Floats], Floats]
"""What an encoder reads, in counts and their parts, at instants (POSIX s) of shape (n,)."""

MOTOR_COUNTS_PER_EV = 100_000.0
"""Of the energy motor's own encoder: its record's resolution is 1e-5 eV."""

_GRID_SECONDS = 1e-3
_HALVINGS = 13
"""Halve a step of the grid to 0.12 us: finer than POSIX time in float64 (0.24 us)."""


def _angles(link: LinkReader, time: Floats) -> tuple[Floats, Floats]:
    """Alpha and beta of the plane-grating monochromator, degrees."""
    alpha, beta = grating_angles(
        link.axes["PGM1"].positions(time),
        link.state["lines"],
        link.axes["cff"].positions(time),
        link.state["order"],
    )
    return np.degrees(alpha), np.degrees(beta)


def grating_reading(link: LinkReader, counts_per_degree: float) -> Reading:
    """Encoder of the grating: it turns with beta, because the exit beam stays where it is."""
    return lambda time: _angles(link, time)[1] * counts_per_degree


def mirror_reading(link: LinkReader, counts_per_degree: float) -> Reading:
    """Encoder of the mirror: half of the angle between the two beams at the grating."""

    def reading(time: Floats) -> Floats:
        alpha, beta = _angles(link, time)
        return (alpha - beta) / 2 * counts_per_degree

    return reading


def motor_reading(link: LinkReader, axis: str) -> Reading:
    """Encoder of an energy motor."""
    return lambda time: link.axes[axis].positions(time) * MOTOR_COUNTS_PER_EV


def unconnected(time: Floats) -> Floats:
    """Read an encoder input without an encoder."""
    return np.zeros(len(time))


def first_passages(
    reading: Reading, begin: float, end: float, first: float, step: float = 1.0, count: int = 1
) -> Floats:
    """Return when a reading first reaches equidistant thresholds, from below.

    Parameters
    ----------
    reading
        A continuous function of time; turns round much more slowly than in a millisecond.
    begin, end
        The stretch of time that is looked at, POSIX s.
    first, step, count
        The thresholds: the lowest, their distance (above zero), both in counts, and how many.

    Returns
    -------
    NDArray
        An instant for each threshold that is reached, shape (m,), not falling, at most 0.3 us
        late; ``begin`` itself for those that lie below the reading there already.
    """
    grid, highest = _records(reading, begin, end)
    reached = min(max(floor((highest[-1] - first) / step) + 1, 0), count)
    return _instants(reading, grid, highest, first + step * np.arange(reached))


def passages(reading: Reading, begin: float, end: float, thresholds: ArrayLike) -> Floats:
    """Return when a reading first reaches thresholds at any distances; see `first_passages`.

    Parameters
    ----------
    thresholds
        Thresholds in counts, shape (n,), not falling.
    """
    thresholds = np.asarray(thresholds, np.float64)
    grid, highest = _records(reading, begin, end)
    reached = np.searchsorted(thresholds, highest[-1], side="right")
    return _instants(reading, grid, highest, thresholds[:reached])


def _records(reading: Reading, begin: float, end: float) -> tuple[Floats, Floats]:
    """Return instants, and the highest reading up to each of them."""
    steps = max(ceil((end - begin) / _GRID_SECONDS), 1)
    grid = np.linspace(begin, end, steps + 1)
    return grid, np.maximum.accumulate(reading(grid))


def _instants(reading: Reading, grid: Floats, highest: Floats, thresholds: Floats) -> Floats:
    after = np.searchsorted(highest, thresholds, side="left")
    # What is at a record high at the end of a step, and was not before it, has passed in it.
    late, early = grid[after], grid[np.maximum(after - 1, 0)]
    for _ in range(_HALVINGS if len(thresholds) else 0):
        middle = (early + late) / 2
        passed = reading(middle) >= thresholds
        late, early = np.where(passed, middle, late), np.where(passed, early, middle)
    return late
