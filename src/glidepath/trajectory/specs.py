"""To and from scanspec: what other programs call a scan, and what trajectory controllers take."""

from functools import reduce
from itertools import chain, pairwise
from math import ceil
from typing import Any

import numpy as np
from scanspec.core import Dimension, Path, SnakedDimension
from scanspec.specs import Concat, ConstantDuration, Fly, Linspace, Product, Snake, Spec

from .motion import Motion, Piece
from .region import ROUNDING, Region
from .trajectory import Trajectory

CLOSE = 1e-6
"""Relative difference of two row lengths or steps of a spec that are meant to be the same."""


def to_scanspec(trajectory: Trajectory, axis: Any, period: float) -> Spec[Any]:
    """Return a trajectory as a scanspec: one line of frames per straight region.

    A frame is a row. Where the rows do not fill a region, they are longer than asked, so that
    the frames cover it and its velocity is kept. Regions in k become their straight pieces.

    Parameters
    ----------
    trajectory
        What is flown.
    axis
        The axis in the spec: a name or a device.
    period
        Length of a row in s where a region has none of its own.

    Raises
    ------
    ValueError
        If not one row fits into a region.

    Examples
    --------
    >>> spec = to_scanspec(Trajectory.of([(370, 395, 2.0), (395, 405, 0.2)]), "energy", 0.5)
    >>> len(spec.frames()), spec.duration()
    (125, 0.5)
    >>> from_scanspec(spec).regions[1]
    Region(start=395.0, stop=405.0, velocity=0.2, period=0.5)
    """
    lines: list[Spec[Any]] = []
    for region in chain.from_iterable(part.straight() for part in trajectory.regions):
        rows = region.rows(period)
        if rows < 1:
            raise ValueError(
                f"Not one row of {region.period or period:g} s fits between {region.start:g} and "
                f"{region.stop:g}; fly slower or choose a shorter row."
            )
        # Without the dust of the division: equal rows stay equal.
        row = float(f"{region.duration / rows:.12g}")
        line = Linspace.bounded(axis, region.start, region.stop, rows)
        lines.append(ConstantDuration(row, line))
    spec = reduce(Concat, lines)
    if trajectory.there_and_back:
        spec = Snake(spec)
    return Fly(Product(trajectory.passes, spec) if trajectory.passes > 1 else spec)


def from_scanspec(spec: Spec[Any]) -> Trajectory:
    """Return the trajectory that a scanspec of one axis describes.

    Frames that follow each other at the same speed, with the same length, are one region.

    Parameters
    ----------
    spec
        Lines of frames of one axis with durations; several times if wanted, snaking or not.

    Raises
    ------
    ValueError
        If it has more than one axis, no durations, or frames that do not move.

    Examples
    --------
    >>> from scanspec.specs import Fly, Linspace
    >>> from_scanspec(Fly(0.5 @ Linspace.bounded("energy", 370, 395, 25))).regions
    (Region(start=370.0, stop=395.0, velocity=2.0, period=0.5),)
    """
    if len(spec.axes()) != 1:
        raise ValueError(
            f"A trajectory has one axis, but this spec has {len(spec.axes())}: "
            f"{', '.join(map(str, spec.axes()))}; give a spec of the axis that flies."
        )
    stack = spec.calculate(bounds=True)
    passes = 1
    if len(stack) == 2 and not stack[0].axes():
        passes = len(stack[0])
        stack = stack[1:]
    (frames, *deeper) = stack
    if deeper:
        raise ValueError(
            "A trajectory is one line of frames, several times if wanted; this spec nests "
            f"{len(stack)} of them."
        )
    if frames.duration is None:
        raise ValueError("This spec says nothing of time; write 0.1 @ spec for frames of 0.1 s.")
    (axis,) = spec.axes()
    lower, upper, duration = frames.lower[axis], frames.upper[axis], frames.duration
    moved = upper - lower
    if not np.all(moved) or not np.all(duration > 0):
        raise ValueError("This spec has frames that do not move; a trajectory flies all the time.")
    new = [0]
    for k in range(1, len(moved)):
        size = abs(moved[k])
        same = (
            abs(lower[k] - upper[k - 1]) <= CLOSE * size
            and abs(moved[k] - moved[k - 1]) <= CLOSE * size
            and abs(duration[k] - duration[k - 1]) <= CLOSE * duration[k]
        )
        if not same:
            new.append(k)
    regions = []
    for first, end in pairwise([*new, len(moved)]):
        start, stop = (_round(x) for x in (lower[first], upper[end - 1]))
        velocity = _round(abs(stop - start) / float(np.sum(duration[first:end])))
        regions.append(Region(start, stop, velocity, _round(duration[first])))
    back = isinstance(frames, SnakedDimension)
    return Trajectory(tuple(regions), passes, there_and_back=back and passes > 1)


def _round(value: float) -> float:
    """Return a number without the dust of sums of steps."""
    return float(f"{value:.12g}")


def motion_path(motion: Motion, axis: Any, element: float) -> Path[Any]:
    """Return a motion as a scanspec `Path` for a controller that is given points over time.

    A controller goes through the points on a curve of its own, commonly with the mean of the
    velocities before and behind each point. That is right where the acceleration is constant
    and the points are equally far apart, so they are: where the acceleration is not zero, and at
    both ends of a stretch of constant velocity, which may be long in between.

    Parameters
    ----------
    motion
        What is flown, run-up and run-down included.
    axis
        The axis in the path: a name or a device.
    element
        Largest distance of two points in s where the velocity changes, and near to that.

    Examples
    --------
    >>> path = motion_path(Motion.between(400, 410, 2.0, 2.0), "energy", element=0.5)
    >>> frames = path.consume()
    >>> frames.duration
    array([0.5, 0.5, 0.5, 3. , 0.5, 0.5, 0.5])
    >>> frames.upper["energy"]
    array([400.25, 401.  , 402.  , 408.  , 409.  , 409.75, 410.  ])
    """
    times = [0.0]
    for piece in motion.pieces:
        for part in _elements(piece, element):
            times.append(times[-1] + part)
    at = np.array(times)
    position = motion.position(at)
    middle = motion.position(0.5 * (at[1:] + at[:-1]))
    return Path(
        [Dimension({axis: middle}, {axis: position[:-1]}, {axis: position[1:]}, None, np.diff(at))]
    )


def _elements(piece: Piece, element: float) -> list[float]:
    """Return the lengths (s) of the elements of a piece."""
    number = max(1, ceil(piece.duration / element * (1 - ROUNDING)))
    if piece.acceleration == 0 and number > 3:
        return [element, piece.duration - 2 * element, element]
    return [piece.duration / number] * number


__all__ = ["from_scanspec", "motion_path", "to_scanspec"]
