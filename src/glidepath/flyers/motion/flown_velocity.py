"""Measures the velocity that was really flown, to compare it with the one that was planned."""

from dataclasses import dataclass

import numpy as np
from bluesky.protocols import Reading
from numpy.typing import ArrayLike, NDArray

from glidepath.trajectory import AnyRegion, Leg

TOLERANCE = 0.1
"""Share by which the velocity of a flight may differ from the one that was planned."""

FEWEST = 4
"""Positions in a region from which on its velocity can be told."""

SHORTEST_CHECK = 1.0
"""Seconds of updates of a readback, which is discrete, from which on its velocity can be told."""


@dataclass(frozen=True)
class WrongVelocity:
    """A region that was flown at another velocity than was planned.

    Attributes
    ----------
    region
        What was planned.
    velocity
        What was flown, from the first to the last position, in units of the axis per second.
    """

    region: AnyRegion
    velocity: float

    @property
    def planned(self) -> str:
        """The planned velocity in words: one number, or its range in the region."""
        slowest, fastest = min(self.region.speeds), max(self.region.speeds)
        return f"{fastest:.3g}" if slowest == fastest else f"{slowest:.3g} to {fastest:.3g}"


class FlownVelocity:
    """Collects where the axis was during one flight, and compares its velocity with the planned.

    Parameters
    ----------
    leg
        What is flown, at the velocities that the axis has confirmed.
    shortest
        Seconds between the first and the last position in a region from which on its velocity can
        be told.
    """

    def __init__(self, leg: Leg, shortest: float = 0.0) -> None:
        self._leg, self._shortest = leg, shortest
        self._updates: list[tuple[int, float, float]] = []
        self._rows: list[tuple[NDArray, ...]] = []

    def update(self, reading: dict[str, Reading[float]]) -> None:
        """Take an update of the readback; what lies outside of the leg does not count."""
        (newest,) = reading.values()
        position = newest["value"]
        for region, number in zip(self._leg.regions, self._leg.numbers, strict=True):
            if min(region.start, region.stop) <= position <= max(region.start, region.stop):
                self._updates.append((number, newest["timestamp"], position))
                return

    def add(
        self, numbers: ArrayLike, times: ArrayLike, positions: ArrayLike, moved: ArrayLike
    ) -> None:
        """Take the positions of rows.

        Parameters
        ----------
        numbers, times, positions
            Shape (n,): number of the region, time (s) and mean position of the axis.
        moved
            Shape (n,): whether the axis was seen to move. Where its readback was silent it was
            not, and that tells nothing of its velocity.
        """
        columns = (numbers, times, positions, moved)
        self._rows.append(tuple(np.array(column) for column in columns))

    def wrong(self) -> WrongVelocity | None:
        """Return the first region whose velocity differs by more than `TOLERANCE`, or None."""
        numbers, times, positions, moved = self._all()
        known = np.isfinite(positions) & np.isfinite(times)
        for region, number in zip(self._leg.regions, self._leg.numbers, strict=True):
            inside = (numbers == number) & known
            told = inside & moved
            if np.sum(told) < max(FEWEST, 0.5 * np.sum(inside)):
                # Too few of them, or a readback that was silent, which its rows say themselves.
                continue
            t, x = times[told], positions[told]
            if t[-1] - t[0] < self._shortest:
                continue
            low, high = min(region.speeds), max(region.speeds)
            found = velocities(t, x)
            if not any(low * (1 - TOLERANCE) <= v <= high * (1 + TOLERANCE) for v in found):
                return WrongVelocity(region, found[0])
        return None

    def _all(self) -> tuple[NDArray, ...]:
        updates = np.array(self._updates, float).reshape(-1, 3).T
        rows = [(*updates, np.ones(updates.shape[1], bool)), *self._rows]
        return tuple(np.concatenate(column) for column in zip(*rows, strict=True))


def velocities(times: ArrayLike, positions: ArrayLike) -> tuple[float, float]:
    """Return the velocity of a flight from first to last position, and the median of its steps.

    Where a controller slows down at a corner, the first is smaller than the velocity in between;
    where a readback moves in coarse steps, the second is.

    Parameters
    ----------
    times, positions
        Shape (n,), n of at least 2: s, and units of the axis.

    Returns
    -------
    tuple
        Both in units of the axis per second, without a sign.
    """
    t, x = np.asarray(times, float), np.asarray(positions, float)
    whole = abs(x[-1] - x[0]) / (t[-1] - t[0])
    return float(whole), float(np.median(np.abs(np.diff(x)) / np.diff(t)))


__all__ = ["SHORTEST_CHECK", "FlownVelocity", "WrongVelocity", "velocities"]
