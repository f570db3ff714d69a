"""Where a simulated axis is, exactly, at any instant: piecewise analytic functions of time."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "KEPT_SECONDS",
    "RUN_UP_SECONDS",
    "SETTLE_SECONDS",
    "Axis",
    "Segment",
    "plan_follow",
    "plan_move",
    "plan_profile",
    "plan_stop",
    "plan_sweep",
    "run_up_distance",
]

FOREVER = 1e9
"""Duration of a segment that lasts until the next one, s."""
RUN_UP_SECONDS = 0.5
"""Time a sweep takes to accelerate to its velocity, s."""
SETTLE_SECONDS = 0.3
"""Time a sweep flies at its velocity before it reaches its first energy, s."""

_RIPPLE_HZ = (1.7, 4.3)
_RIPPLE_SHARE = (0.6, 0.4)
KEPT_SECONDS = 20.0
"""How much of an axis's past is remembered, s."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of time in which an axis has constant acceleration, plus servo ripple.

    Attributes
    ----------
    start, duration
        When it begins (POSIX s) and how long it lasts (s).
    position, velocity, acceleration
        At its beginning, in the axis's unit, per s and per s^2.
    ripple_begin, ripple_end
        Amplitude of the servo ripple at both ends, in the axis's unit; linear in between.
    ripple_origin
        When the ripple's phase was zero, POSIX s.
    """

    start: float
    duration: float
    position: float
    velocity: float = 0.0
    acceleration: float = 0.0
    ripple_begin: float = 0.0
    ripple_end: float = 0.0
    ripple_origin: float = 0.0

    def row(self) -> tuple[float, ...]:
        """All attributes in order, for a table or a message."""
        return (
            self.start,
            self.duration,
            self.position,
            self.velocity,
            self.acceleration,
            self.ripple_begin,
            self.ripple_end,
            self.ripple_origin,
        )

    def after(self, elapsed: float) -> tuple[float, float]:
        """Position and velocity without ripple, ``elapsed`` seconds after the start."""
        return (
            self.position + (self.velocity + 0.5 * self.acceleration * elapsed) * elapsed,
            self.velocity + self.acceleration * elapsed,
        )

    @property
    def resting(self) -> bool:
        """Whether nothing moves in this segment."""
        return self.velocity == 0 and self.acceleration == 0


def _ripple(elapsed: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ripple of amplitude 1: two incommensurate sines that begin at zero."""
    return np.asarray(
        sum(
            share * np.sin(2 * np.pi * frequency * elapsed)
            for frequency, share in zip(_RIPPLE_HZ, _RIPPLE_SHARE, strict=True)
        )
    )


class Axis:
    """A position as a function of time, known into the future as far as it is planned.

    Parameters
    ----------
    name
        Name under which the axis is announced to other processes.
    position
        Where it rests at the beginning.
    kept_seconds
        How much of the past is remembered, s.
    """

    def __init__(self, name: str, position: float, kept_seconds: float = KEPT_SECONDS) -> None:
        self.name = name
        self._kept_seconds = kept_seconds
        self._segments = [Segment(0.0, FOREVER, position)]
        self._table: NDArray[np.float64] | None = None
        self.listeners: list[Callable[[Axis, Sequence[Segment]], None]] = []

    @property
    def segments(self) -> list[Segment]:
        """All segments that are still remembered, in order of time."""
        return list(self._segments)

    def plan(self, segments: Sequence[Segment]) -> None:
        """Replace everything from the first segment's start on, and tell the listeners."""
        start = segments[0].start
        kept = [segment for segment in self._segments if segment.start < start]
        forgotten = start - self._kept_seconds
        while len(kept) > 1 and kept[1].start < forgotten:
            del kept[0]
        self._segments = kept + list(segments)
        self._table = None
        for listener in self.listeners:
            listener(self, segments)

    def positions(self, time: ArrayLike) -> NDArray[np.float64]:
        """Position at ``time`` (POSIX s, any shape), servo ripple included."""
        if self._table is None:
            self._table = np.array([segment.row() for segment in self._segments]).T.copy()
        table = self._table
        time = np.asarray(time, dtype=np.float64)
        row = np.maximum(np.searchsorted(table[0], time, side="right") - 1, 0)
        start, duration, position, velocity, acceleration, begin, end, origin = table[:, row]
        elapsed = np.clip(time - start, 0.0, duration)
        result = position + (velocity + 0.5 * acceleration * elapsed) * elapsed
        amplitude = begin + (end - begin) * elapsed / duration
        if np.any(amplitude):
            result = result + amplitude * _ripple(time - origin)
        return np.asarray(result)

    def position(self, time: float) -> float:
        """Position at one instant (POSIX s), servo ripple included."""
        return float(self.positions(time))

    def state(self, time: float) -> tuple[float, float]:
        """Position and velocity at one instant, without ripple."""
        segment = self.segment(time)
        return segment.after(min(max(time - segment.start, 0.0), segment.duration))

    def segment(self, time: float) -> Segment:
        """Segment that holds at one instant."""
        current = self._segments[0]
        for segment in self._segments:
            if segment.start > time:
                break
            current = segment
        return current

    def ripple(self, time: float) -> tuple[float, float]:
        """Amplitude and origin of the ripple at one instant."""
        segment = self.segment(time)
        share = min(max(time - segment.start, 0.0) / segment.duration, 1.0)
        amplitude = segment.ripple_begin + share * (segment.ripple_end - segment.ripple_begin)
        return amplitude, segment.ripple_origin

    def rests_from(self) -> float:
        """When the planned motion ends, POSIX s (a time in the past for an axis at rest)."""
        return self._segments[-1].start

    def moving(self, time: float) -> bool:
        """Whether the axis moves at one instant."""
        return not self.segment(time).resting


def _chain(
    start: float,
    position: float,
    pieces: Sequence[tuple[float, float, float, float, float]],
    origin: float,
    rest: float | None = None,
) -> list[Segment]:
    """Segments of (duration, velocity, acceleration, ripple at begin, at end), then rest."""
    segments = []
    for duration, velocity, acceleration, begin, end in pieces:
        if duration <= 0:
            continue
        segment = Segment(start, duration, position, velocity, acceleration, begin, end, origin)
        segments.append(segment)
        position, _ = segment.after(duration)
        start += duration
    segments.append(Segment(start, FOREVER, position if rest is None else rest))
    return segments


def plan_stop(axis: Axis, time: float, seconds: float) -> list[Segment]:
    """Slow down evenly to rest within ``seconds`` from ``time`` on."""
    position, velocity = axis.state(time)
    amplitude, origin = axis.ripple(time)
    if velocity == 0:
        return [Segment(time, FOREVER, position)]
    return _chain(time, position, [(seconds, velocity, -velocity / seconds, amplitude, 0)], origin)


_NO_DISTANCE = 1e-12
"""Far below every encoder's step: not worth a move."""


def plan_move(
    axis: Axis,
    time: float,
    target: float,
    velocity: float,
    acceleration: float,
    ripple: float = 0.0,
) -> list[Segment]:
    """Move to ``target`` with a trapezoidal velocity.

    An axis that moves already changes its velocity on the way; if it moves the wrong way, or too
    fast to stop at the target, it stops first.
    """
    position, present = axis.state(time)
    distance = target - position
    sign = math.copysign(1.0, distance)
    speed = sign * present
    first: list[Segment] = []
    if speed < 0 or speed**2 / (2 * acceleration) > abs(distance):
        first = plan_stop(axis, time, abs(present) / acceleration)
        time, position = first[-1].start, first[-1].position
        first.pop()
        distance, speed = target - position, 0.0
        sign = math.copysign(1.0, distance)
    if abs(distance) < _NO_DISTANCE and speed == 0:
        return [*first, Segment(time, FOREVER, target)]
    # The highest speed from which the axis can still stop at the target.
    top = min(velocity, math.sqrt(abs(distance) * acceleration + speed**2 / 2))
    change = top - speed
    up, down = abs(change) / acceleration, top / acceleration
    ramps = up * (speed + top) / 2 + down * top / 2
    cruise = max((abs(distance) - ramps) / top, 0.0)
    begin, origin = axis.ripple(time) if speed else (0.0, time)
    pieces = [
        (up, sign * speed, sign * math.copysign(acceleration, change), begin, ripple),
        (cruise, sign * top, 0.0, ripple, ripple),
        (down, sign * top, -sign * acceleration, ripple, 0.0),
    ]
    return first + _chain(time, position, pieces, origin, rest=target)


def run_up_distance(velocity: float) -> float:
    """Distance that a sweep needs before its first energy, at ``velocity``."""
    return velocity * (0.5 * RUN_UP_SECONDS + SETTLE_SECONDS)


def plan_sweep(
    time: float, first: float, last: float, velocity: float, ripple: float
) -> tuple[list[Segment], float, float]:
    """Sweep from ``first`` to ``last`` at constant velocity, with run-up and run-down.

    Returns the segments and the instants at which the sweep passes ``first`` and ``last``.
    """
    sign = math.copysign(1.0, last - first)
    begin = first - sign * run_up_distance(velocity)
    acceleration = sign * velocity / RUN_UP_SECONDS
    inside = abs(last - first) / velocity
    pieces = [
        (RUN_UP_SECONDS, 0.0, acceleration, 0.0, ripple),
        (SETTLE_SECONDS + inside, sign * velocity, 0.0, ripple, ripple),
        (RUN_UP_SECONDS, sign * velocity, -acceleration, ripple, 0.0),
    ]
    entered = time + RUN_UP_SECONDS + SETTLE_SECONDS
    return _chain(time, begin, pieces, time), entered, entered + inside


def plan_follow(
    axis: Axis,
    time: float,
    targets: Sequence[float],
    velocity: float,
    acceleration: float,
    lag: float = 0.1,
    period: float = 0.1,
) -> list[Segment]:
    """Follow targets, each for one ``period``, as a servo with a first-order ``lag`` (both in s).

    The servo sets its velocity four times a period, within the limits, and slows down if no new
    target comes.
    """
    position, present = axis.state(time)
    step = period / 4
    pieces = []
    at, speed = position, present
    for number in range(4 * len(targets)):
        distance = targets[number // 4] - at
        # Near the target as a first-order lag; farther away not faster than it can slow down
        # again, with a reserve for the servo's own steps.
        near = 0.8 * acceleration * lag * lag
        if abs(distance) <= near:
            approach = abs(distance) / lag
        else:
            approach = math.sqrt(2 * 0.8 * acceleration * (abs(distance) - near / 2))
        wanted = math.copysign(min(approach, velocity), distance)
        change = min(max((wanted - speed) / step, -acceleration), acceleration)
        pieces.append((step, speed, change, 0.0, 0.0))
        at += (speed + 0.5 * change * step) * step
        speed += change * step
    pieces.append((period, speed, -speed / period, 0.0, 0.0))
    return _chain(time, position, pieces, 0.0)


def plan_profile(
    time: float,
    positions: ArrayLike,
    durations: ArrayLike,
    acceleration: float,
    shortest_ramp: float = 0.25,
) -> list[Segment]:
    """Go through points at given times, as a trajectory controller does (position, velocity, time).

    At a point the velocity is the mean of the elements before and behind it, at both ends that
    of the element there; ramps from rest and to rest are added. (So does the driver of the
    Newport XPS controller in the EPICS motor module.) Each element is two parabolas.

    Parameters
    ----------
    time
        When the first ramp begins, POSIX s.
    positions
        Shape (n,).
    durations
        Lengths of the elements between them, s, shape (n - 1,).
    acceleration
        Largest acceleration of the ramps.
    shortest_ramp
        Seconds that a ramp lasts at least.
    """
    points, lengths = np.asarray(positions, float), np.asarray(durations, float)
    moved = np.diff(points)
    mean = moved / lengths
    speeds = np.concatenate(
        [mean[:1], (moved[1:] + moved[:-1]) / (lengths[1:] + lengths[:-1]), mean[-1:]]
    )

    def ramp(speed: float) -> float:
        return max(abs(speed) / acceleration, shortest_ramp)

    up, down = ramp(speeds[0]), ramp(speeds[-1])
    begin = points[0] - 0.5 * speeds[0] * up
    segments = [Segment(time, up, begin, 0.0, speeds[0] / up)]
    at = time + up
    for position, speed, distance, change, length in zip(
        points, speeds, moved, np.diff(speeds), lengths, strict=False
    ):
        both = 2 * change / length
        first = 0.5 * (8 * (distance - speed * length) / length**2 - both)
        half = 0.5 * length
        segments.append(Segment(at, half, position, speed, first))
        middle, there = segments[-1].after(half)
        segments.append(Segment(at + half, half, middle, there, both - first))
        at += length
    segments.append(Segment(at, down, points[-1], speeds[-1], -speeds[-1] / down))
    end, _ = segments[-1].after(down)
    segments.append(Segment(at + down, FOREVER, end))
    return segments
