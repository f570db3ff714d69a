"""Whether the axis flew at the velocity that was planned, as its recorded rows tell."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glidepath.flyers.motion.back_end import FlightError
from glidepath.trajectory import Leg

from .rows import Columns

VELOCITY_TOLERANCE = 0.1
"""Share by which the velocity of a flight may differ from the one that was planned."""

FEWEST = 4
"""Rows of a region from which on its velocity can be told."""


def flown_velocities(times: ArrayLike, positions: ArrayLike) -> tuple[float, float]:
    """Return the velocity of a flight from first to last row, and the median from row to row.

    Where a controller slows down at a corner, the first is smaller than the velocity in between;
    where a readback moves in coarse steps, the second is.

    Parameters
    ----------
    times, positions
        Shape (n,), n of at least 2: middles of the rows (s) and mean positions of the axis.

    Returns
    -------
    tuple
        Both in units of the axis per second, without a sign.
    """
    t, x = np.asarray(times, float), np.asarray(positions, float)
    whole = abs(x[-1] - x[0]) / (t[-1] - t[0])
    return float(whole), float(np.median(np.abs(np.diff(x)) / np.diff(t)))


class FlownVelocity:
    """Collects the rows of one flight, and compares their velocity with the planned one.

    Parameters
    ----------
    axis
        Name of the axis's column.
    leg
        What is flown, at the velocities that the axis has confirmed.
    """

    def __init__(self, axis: str, leg: Leg) -> None:
        self._axis, self._leg = axis, leg
        self._rows: list[tuple[NDArray, ...]] = []

    def add(self, rows: Columns) -> None:
        """Take the next rows of the flight."""
        # Where a readback was silent, a row begins and ends at the same place: that tells nothing.
        seen = rows[f"{self._axis}_upper"] > rows[f"{self._axis}_lower"]
        columns = (rows["region_number"], rows["sample_time"], rows[self._axis], seen)
        self._rows.append(tuple(np.array(column) for column in columns))

    def check(self) -> None:
        """Compare.

        Raises
        ------
        FlightError
            If a region was flown at a velocity that differs by more than `VELOCITY_TOLERANCE`.
        """
        if not self._rows:
            return
        columns = (np.concatenate(column) for column in zip(*self._rows, strict=True))
        numbers, times, positions, seen = columns
        for region, number in zip(self._leg.regions, self._leg.numbers, strict=True):
            of_region = (numbers == number) & np.isfinite(positions) & np.isfinite(times)
            told = of_region & seen
            if np.sum(told) < max(FEWEST, 0.5 * np.sum(of_region)):
                # Too few of them, or a readback that was silent, which its rows say themselves.
                continue
            of_region = told
            found = flown_velocities(times[of_region], positions[of_region])
            slowest, fastest = min(region.speeds), max(region.speeds)
            low, high = slowest * (1 - VELOCITY_TOLERANCE), fastest * (1 + VELOCITY_TOLERANCE)
            if not any(low <= velocity <= high for velocity in found):
                raise FlightError(
                    f"{self._axis} was flown at {found[0]:.3g} per second between "
                    f"{region.start:g} and {region.stop:g}, but {_planned(slowest, fastest)} was "
                    "planned: look for what limits its velocity (a base velocity, a speed limit), "
                    "and fly at what it can do."
                )


def _planned(slowest: float, fastest: float) -> str:
    if slowest == fastest:
        return f"{fastest:.3g}"
    return f"{slowest:.3g} to {fastest:.3g}"


__all__ = ["VELOCITY_TOLERANCE", "FlownVelocity", "flown_velocities"]
