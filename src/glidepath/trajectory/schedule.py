"""When a scan does what: ways to the run-ups, flights, and what is said to controllers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .envelope import Envelope
from .motion import Motion
from .trajectory import Leg

Floats = NDArray[np.float64]

POINTS = 200
"""Points of each stage of a curve."""


@dataclass(frozen=True)
class Stage:
    """One leg of a scan, with the way to its run-up.

    Attributes
    ----------
    leg, envelope
        What is flown, and what the axis can do.
    way
        How the axis goes to the run-up; None where that is not known.
    waiting
        Seconds between the begin of the way and the begin of the flight.
    flight
        The leg, run-up and run-down included.
    begin
        Seconds from the begin of the scan to the begin of the way.

    Examples
    --------
    >>> from glidepath.trajectory import Region
    >>> envelope = Envelope(None, None, None, "eV", run_up=1.0, run_up_time=0.75, overhead=0.5)
    >>> [stage] = schedule([Leg((Region(370, 470, 2.5),))], [envelope])
    >>> stage.waiting, stage.end
    (0.5, 42.0)
    """

    leg: Leg
    envelope: Envelope
    way: Motion | None
    waiting: float
    flight: Motion
    begin: float = 0.0

    @property
    def take_off(self) -> float:
        """Seconds from the begin of the scan to the begin of the flight."""
        return self.begin + self.waiting

    @property
    def end(self) -> float:
        """Seconds from the begin of the scan to the end of the flight."""
        return self.take_off + self.flight.duration


def schedule(
    legs: Sequence[Leg], envelopes: Sequence[Envelope], position: float | None = None
) -> tuple[Stage, ...]:
    """Return the stages of a scan one after the other.

    The way to a run-up ends when the axis and its companions have arrived. It takes no time
    where the velocity of the way, or where it begins, is not known.

    Parameters
    ----------
    legs, envelopes
        One envelope for each leg.
    position
        Where the axis is before the scan; None if that is not known.
    """
    stages: list[Stage] = []
    at, begin = position, 0.0
    for leg, envelope in zip(legs, envelopes, strict=True):
        flight = envelope.motion or Motion.plain(leg, envelope.run_up, envelope.run_up_time)
        way, waiting = None, envelope.overhead
        if at is not None and envelope.approach_velocity is not None:
            way = Motion.between(
                at, flight.start, envelope.approach_velocity, envelope.approach_acceleration
            )
            waiting += max([way.duration, *_companions(envelope, at, flight.start)])
        stages.append(Stage(leg, envelope, way, waiting, flight, begin))
        at, begin = flight.stop, stages[-1].end
    return tuple(stages)


def _companions(envelope: Envelope, start: float, stop: float) -> list[float]:
    """Return the seconds that each companion needs for a way of the axis."""
    times = []
    for companion in envelope.companions:
        if companion.law is not None and companion.max_velocity:
            one, other = companion.law(np.array([start, stop]))
            times.append(
                Motion.between(
                    one, other, companion.max_velocity, companion.max_acceleration
                ).duration
            )
    return times


def curve(stages: Sequence[Stage]) -> tuple[Floats, Floats]:
    """Return time in s and position of the axis through a whole scan, both of shape (n,)."""
    times, positions = [], []
    for stage in stages:
        if stage.way is not None:
            t = np.linspace(0.0, stage.way.duration, POINTS)
            times.append(stage.begin + t)
            positions.append(stage.way.position(t))
        for t, position, _, _ in stage.flight.samples(POINTS // 4):
            times.append(stage.take_off + t)
            positions.append(position)
    return np.concatenate(times), np.concatenate(positions)


__all__ = ["Stage", "curve", "schedule"]
