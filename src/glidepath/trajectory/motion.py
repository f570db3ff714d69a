"""Where the axis is at every instant of a leg: run-up, regions, joins, run-down."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import floor, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .companion import Companion, derivatives
from .region import ROUNDING
from .trajectory import AnyRegion, Leg

Floats = NDArray[np.float64]

SAMPLES = 64
"""Instants of each piece of a motion at which companions are looked at."""

ROUNDS = 4
"""How often the acceleration of a join is lowered: each time the join gets longer."""


@dataclass(frozen=True)
class Piece:
    """A stretch of time with constant acceleration.

    Parameters
    ----------
    duration
        How long it lasts, s.
    position, velocity, acceleration
        At its beginning, in units of the axis, per s and per s^2, with sign.

    Examples
    --------
    >>> Piece(2.0, 400.0, 0.0, 1.0).end
    (402.0, 2.0)
    """

    duration: float
    position: float
    velocity: float
    acceleration: float = 0.0

    @property
    def end(self) -> tuple[float, float]:
        """Position and velocity at its end."""
        mean = self.velocity + 0.5 * self.acceleration * self.duration
        return (
            self.position + mean * self.duration,
            self.velocity + self.acceleration * self.duration,
        )


@dataclass(frozen=True)
class Passage:
    """When a motion flies through a region, and for how much of it at the region's velocity.

    Attributes
    ----------
    number
        Number of the region in its pass.
    begin, end
        Seconds from the beginning of the motion to the region's start and stop.
    steady_begin, steady_end
        Between these it has its own velocity; before and after, a join changes it.
    slower
        Length of the joins in it, units of the axis: flown slower than asked.
    period
        Length of its rows in s; None: that of the scan.

    Examples
    --------
    >>> Passage(1, begin=0.5, end=2.5, steady_begin=0.5, steady_end=2.0, slower=0.2).rows(0.1)
    20
    """

    number: int
    begin: float
    end: float
    steady_begin: float
    steady_end: float
    slower: float = 0.0
    period: float | None = None

    @property
    def duration(self) -> float:
        """Seconds from start to stop."""
        return self.end - self.begin

    def rows(self, period: float) -> int:
        """Return how many rows, of ``period`` s if it has none of its own, fit into it."""
        return floor(self.duration / (self.period or period) * (1 + ROUNDING))


@dataclass(frozen=True)
class Motion:
    """The position of an axis as a function of time: pieces of constant acceleration.

    Times are in s from its beginning. Before and after it the axis stands.

    Parameters
    ----------
    pieces
        One after the other, each beginning where the last one ends.
    passages
        When it flies through which region.

    Examples
    --------
    >>> from glidepath.trajectory import Leg, Region
    >>> leg = Leg((Region(370, 395, 2.0), Region(395, 405, 0.5)), (1, 2))
    >>> motion = Motion.along(leg, acceleration=1.0)
    >>> motion.position([0.0, 2.0, motion.duration])
    array([368.   , 370.   , 405.125])
    >>> [(passage.begin, passage.end) for passage in motion.passages]
    [(2.0, 15.0625), (15.0625, 35.0625)]
    >>> motion.passages[0].slower
    1.875
    """

    pieces: tuple[Piece, ...]
    passages: tuple[Passage, ...] = ()

    def __post_init__(self) -> None:
        if not self.pieces:
            raise ValueError("A motion needs at least one piece.")

    @classmethod
    def along(
        cls,
        leg: Leg,
        acceleration: float,
        *,
        settle: float = 0.0,
        overrun: float = 0.0,
        companions: Sequence[Companion] = (),
        unit: str = "units",
    ) -> "Motion":
        """Return the motion of a leg: from rest, through its regions, to rest.

        Where two regions have different velocities, the speed changes at constant acceleration
        in the faster one, so that the slower one has its own velocity from end to end.

        Parameters
        ----------
        leg
            What is flown.
        acceleration
            Acceleration of run-up, joins and run-down, units per second squared; lower where a
            companion could not follow.
        settle
            Seconds at constant velocity between the run-up and the leg's start.
        overrun
            Seconds at constant velocity between the leg's stop and the run-down.
        companions
            Axes with a law that move along.
        unit
            Unit of the axis, for messages.

        Raises
        ------
        ValueError
            If the acceleration is too low for a change of velocity that is asked.
        """
        if not acceleration > 0:
            raise ValueError(
                f"An acceleration of {acceleration:g} {unit}/s² starts nothing; "
                "give one above zero."
            )
        regions = leg.regions
        heads, tails = [0.0] * len(regions), [0.0] * len(regions)
        rates = [acceleration] * (len(regions) + 1)
        for k in range(1, len(regions)):
            rates[k], tails[k - 1], heads[k] = _join(regions, k, acceleration, companions, unit)
        for region, head, tail in zip(regions, heads, tails, strict=True):
            if head + tail > region.length * (1 + ROUNDING):
                raise ValueError(
                    f"Between {region.start:g} and {region.stop:g} {unit} there is no room for "
                    f"the changes of velocity at its ends, which take {head + tail:.3g} {unit} at "
                    f"an acceleration of {acceleration:g} {unit}/s²; make it longer or fly it "
                    "slower."
                )
        track = _Writer(leg)
        first, last = regions[0].speeds[0], regions[-1].speeds[1]
        ramp = _gentle(acceleration, companions, leg, leg.start, -leg.direction, first)
        track.begin(first**2 / (2 * ramp) + first * settle)
        track.change(first, ramp)
        track.hold(settle)
        passages = []
        numbered = zip(leg.numbers, regions, strict=True)
        for k, (number, region) in enumerate(numbered):
            begin = track.time
            if heads[k]:
                track.change(_speed_at(region, heads[k]), rates[k])
            steady_begin = track.time
            if tails[k]:
                track.along(region, region.length - tails[k])
                steady_end = track.time
                track.change(regions[k + 1].speeds[0], rates[k + 1])
            else:
                track.along(region, region.length)
                steady_end = track.time
            passages.append(
                Passage(
                    number,
                    begin,
                    track.time,
                    steady_begin,
                    steady_end,
                    heads[k] + tails[k],
                    region.period,
                )
            )
        track.hold(overrun)
        track.change(0.0, _gentle(acceleration, companions, leg, leg.stop, leg.direction, last))
        return cls(tuple(track.pieces), tuple(passages))

    @classmethod
    def between(
        cls, start: float, stop: float, velocity: float, acceleration: float | None = None
    ) -> "Motion":
        """Return a move from rest to rest with a trapezoidal velocity.

        Parameters
        ----------
        start, stop
            Where it begins and ends.
        velocity
            Top speed, units per second.
        acceleration
            Units per second squared; None: at once.

        Examples
        --------
        >>> Motion.between(470, 370, velocity=25.0, acceleration=50.0).duration
        4.5
        """
        distance = abs(stop - start)
        sign = 1.0 if stop >= start else -1.0
        if acceleration is None:
            return cls((Piece(distance / velocity, start, sign * velocity),))
        top = min(velocity, sqrt(distance * acceleration))
        ramp = top / acceleration
        cruise = distance / top - ramp if top else 0.0
        shape = [(ramp, acceleration), (cruise, 0.0), (ramp, -acceleration)]
        pieces = []
        at, speed = start, 0.0
        for duration, rate in shape:
            pieces.append(Piece(max(duration, 0.0), at, sign * speed, sign * rate))
            at, now = pieces[-1].end
            speed = sign * now
        return cls(tuple(pieces))

    @classmethod
    def plain(cls, leg: Leg, run_up: float, run_up_time: float) -> "Motion":
        """Return the motion of a leg of which only the length of its run-up is known.

        Parameters
        ----------
        leg
            What is flown.
        run_up, run_up_time
            Distance before start and behind stop, and the seconds that each takes.

        Examples
        --------
        >>> from glidepath.trajectory import Leg, Region
        >>> Motion.plain(Leg((Region(370, 470, 2.5),)), 1.0, 0.75).duration
        41.5
        """
        sign = leg.direction
        pieces, passages, time = [], [], run_up_time
        speed = sign * run_up / run_up_time if run_up_time > 0 else 0.0
        pieces.append(Piece(run_up_time, leg.start - sign * run_up, speed))
        for number, region in zip(leg.numbers, leg.regions, strict=True):
            own, gain = sign * region.speeds[0], sign * _gain(region)
            pieces.append(Piece(region.duration, region.start, own, gain))
            begin, time = time, time + region.duration
            passages.append(Passage(number, begin, time, begin, time, period=region.period))
        pieces.append(Piece(run_up_time, leg.stop, speed))
        return cls(tuple(pieces), tuple(passages))

    @cached_property
    def _table(self) -> Floats:
        """Begin, position, velocity, acceleration of each piece, and a last one at rest."""
        begins = np.concatenate([[0.0], np.cumsum([piece.duration for piece in self.pieces])])
        rows = [(piece.position, piece.velocity, piece.acceleration) for piece in self.pieces]
        rows.append((self.pieces[-1].end[0], 0.0, 0.0))
        return np.column_stack([begins, np.array(rows)]).T

    @property
    def duration(self) -> float:
        """Seconds from rest to rest."""
        return float(self._table[0, -1])

    @property
    def start(self) -> float:
        """Where it begins."""
        return self.pieces[0].position

    @property
    def stop(self) -> float:
        """Where it ends."""
        return float(self._table[1, -1])

    @property
    def reach(self) -> tuple[float, float]:
        """Lowest and highest position; it goes in one direction."""
        return min(self.start, self.stop), max(self.start, self.stop)

    @property
    def top_acceleration(self) -> float:
        """Largest acceleration, units per second squared."""
        return max(abs(piece.acceleration) for piece in self.pieces)

    def _at(self, time: ArrayLike) -> tuple[Floats, ...]:
        t = np.asarray(time, float)
        row = np.maximum(np.searchsorted(self._table[0], t, side="right") - 1, 0)
        begin, position, velocity, acceleration = self._table[:, row]
        return np.maximum(t - begin, 0.0), position, velocity, acceleration

    def position(self, time: ArrayLike) -> Floats:
        """Return the position at ``time`` (s, any shape; same shape returned)."""
        elapsed, position, velocity, acceleration = self._at(time)
        return np.asarray(position + (velocity + 0.5 * acceleration * elapsed) * elapsed)

    def velocity(self, time: ArrayLike) -> Floats:
        """Return the velocity at ``time`` (s, any shape), units per second, with sign."""
        elapsed, _, velocity, acceleration = self._at(time)
        moving = (np.asarray(time) >= 0) & (np.asarray(time) < self.duration)
        return np.asarray(np.where(moving, velocity + acceleration * elapsed, 0.0))

    def of(self, law: Callable[[Floats], Floats]) -> Callable[[ArrayLike], Floats]:
        """Return what follows from the position, as a function of time in s.

        Examples
        --------
        >>> from glidepath.physics import UE48
        >>> gap = Motion.between(400, 410, velocity=1.0).of(UE48.gap)
        >>> gap([0.0, 10.0]).round(3)
        array([34.129, 34.756])
        """
        return lambda time: np.asarray(law(self.position(time)))

    def samples(self, number: int = SAMPLES) -> Iterator[tuple[Floats, Floats, Floats, float]]:
        """Yield times, positions, velocities (shape (number,)) and acceleration of each piece."""
        for begin, piece in zip(self._table[0], self.pieces, strict=False):
            t = np.linspace(0.0, piece.duration, number)
            yield (
                begin + t,
                piece.position + (piece.velocity + 0.5 * piece.acceleration * t) * t,
                piece.velocity + piece.acceleration * t,
                piece.acceleration,
            )

    def needs(self, companion: Companion) -> Companion:
        """Return a companion with what this motion needs of it: range, velocity, acceleration.

        Raises
        ------
        ValueError
            If its law is not known.
        """
        needed = [
            companion.during(position, velocity, acceleration, self.reach)
            for _, position, velocity, acceleration in self.samples()
        ]
        low, high, speed, change = (np.array(column) for column in zip(*needed, strict=True))
        return companion.needing(low.min(), high.max(), speed.max(), change.max())

    def rows(self, period: float) -> int:
        """Return how many rows it has; ``period`` (s) is for regions without one of their own."""
        return sum(passage.rows(period) for passage in self.passages)


class _Writer:
    """Writes the pieces of a motion down, in speeds along the way."""

    def __init__(self, leg: Leg) -> None:
        self._sign = leg.direction
        self._position = leg.start
        self._speed = 0.0
        self.time = 0.0
        self.pieces: list[Piece] = []

    def begin(self, distance: float) -> None:
        """Begin that far before the leg."""
        self._position -= self._sign * distance

    def change(self, speed: float, acceleration: float) -> None:
        """Change the speed evenly."""
        gain = speed - self._speed
        rate = acceleration if gain > 0 else -acceleration
        self._add(abs(gain) / acceleration, rate)
        self._speed = speed

    def hold(self, seconds: float) -> None:
        """Keep the speed."""
        self._add(seconds, 0.0)

    def along(self, region: AnyRegion, to: float) -> None:
        """Fly at the region's own speed, on to a distance from its start."""
        rate = _gain(region)
        end = region.start + self._sign * to
        left = self._sign * (end - self._position)
        speed = sqrt(max(self._speed**2 + 2 * rate * left, 0.0))
        self._add(2 * left / (self._speed + speed), rate)
        # Sums of many pieces must not drift away from what was asked.
        self._position, self._speed = end, speed

    def _add(self, duration: float, rate: float) -> None:
        if duration <= 0:
            return
        piece = Piece(duration, self._position, self._sign * self._speed, self._sign * rate)
        self.pieces.append(piece)
        self.time += duration
        self._position, velocity = piece.end
        self._speed = self._sign * velocity


def _gain(region: AnyRegion) -> float:
    """Return the acceleration of a region along the way."""
    first, last = region.speeds
    return (last**2 - first**2) / (2 * region.length)


def _speed_at(region: AnyRegion, distance: float) -> float:
    """Return a region's own speed at a distance from its start."""
    return sqrt(region.speeds[0] ** 2 + 2 * _gain(region) * distance)


def _join(
    regions: Sequence[AnyRegion],
    k: int,
    acceleration: float,
    companions: Sequence[Companion],
    unit: str,
) -> tuple[float, float, float]:
    """Return acceleration, and lengths of the join before and behind the start of region k."""
    before, behind = regions[k - 1], regions[k]
    speed, target = before.speeds[1], behind.speeds[0]
    if abs(speed - target) <= ROUNDING * max(speed, target):
        return acceleration, 0.0, 0.0
    faster, sign = (before, -1) if speed > target else (behind, 1)
    own = -sign * _gain(faster)
    rate = acceleration
    length = 0.0
    for _ in range(ROUNDS):
        if rate + own <= 0:
            raise ValueError(
                f"The velocity cannot change from {speed:.3g} to {target:.3g} {unit}/s at "
                f"{behind.start:.6g} {unit} with {rate:.3g} {unit}/s²: the region itself changes "
                "as fast; fly it slower."
            )
        length = abs(speed**2 - target**2) / (2 * (rate + own))
        direction = sign * behind.direction
        top = max(speed, target)
        rate = _room(rate, companions, behind.start, behind.start + direction * length, top)
    length = abs(speed**2 - target**2) / (2 * (rate + own))
    return (rate, length, 0.0) if sign < 0 else (rate, 0.0, length)


def _gentle(
    acceleration: float,
    companions: Sequence[Companion],
    leg: Leg,
    at: float,
    direction: int,
    speed: float,
) -> float:
    """Return an acceleration of a ramp that begins or ends at ``at`` which companions follow."""
    rate = acceleration
    for _ in range(ROUNDS if companions else 0):
        rate = _room(rate, companions, at, at + direction * speed**2 / (2 * rate), speed)
    return rate


def _room(
    acceleration: float, companions: Sequence[Companion], one: float, other: float, speed: float
) -> float:
    """Return as much of an acceleration as every companion has room for on a stretch."""
    reach = min(one, other), max(one, other)
    if reach[0] == reach[1]:
        return acceleration
    positions = np.linspace(*reach, SAMPLES)
    for companion in companions:
        if companion.law is None or companion.max_acceleration is None:
            continue
        slope, bend = derivatives(companion.law, positions, reach)
        room = companion.max_acceleration - float(np.max(np.abs(bend))) * speed**2
        steepest = float(np.max(np.abs(slope)))
        # Without room even at constant velocity a slower join is no help: the pre-flight says so.
        if room > 0 and steepest > 0:
            acceleration = min(acceleration, room / steepest)
    return acceleration


__all__ = ["Motion", "Passage", "Piece"]
