"""What a Zebra has to be told for a leg: counts and ticks, and the energies that they are."""

from dataclasses import dataclass, replace
from math import ceil, floor, isfinite

import numpy as np
from numpy.typing import NDArray

from glidepath.devices.zebra import TimeUnit
from glidepath.physics import EncoderGeometry
from glidepath.trajectory import Leg, Motion, PreflightError

from .trigger_source import TriggerPlan

Floats = NDArray[np.float64]

TICK = 1e-4
"""Resolution of the box's times, in their unit."""

UNIT = TimeUnit.MILLISECOND
"""Unit of the compare's times: a tick is 0.1 us, and periods of up to 214 s can be made."""

LONGEST_PERIOD = 200.0
"""Seconds; registers have 32 bits."""

LONGEST_PULSE = 65_535
"""Ticks of a pulse block, which has 16 bits."""

RECOVERY = 2e-6
"""Seconds between the end of a pulse and the next: storing a capture takes 1.2 us."""

SHORTEST_STEP = 2
"""Counts: the compare's own pulse must end before the next begins."""

HIGHEST_COUNT = 2**31

ROUNDING = 1e-6
"""Counts by which a position may be off because it was computed."""


@dataclass(frozen=True)
class ComparePlan(TriggerPlan):
    """What the box is told for a leg.

    Attributes
    ----------
    geometry
        How positions and counts go together.
    first
        Count of the compared encoder at which the gate opens and the first trigger is made.
    direction
        1 if the counts rise during the leg, -1 if they fall.
    width
        Counts for which the gate stays open.
    step
        Counts from trigger to trigger; None if they come by time.
    period
        Seconds from trigger to trigger; None if they come by position.
    """

    geometry: EncoderGeometry
    first: int
    direction: int
    width: int
    step: int | None
    period: float | None


def compare_plan(
    box: str,
    leg: Leg,
    geometry: EncoderGeometry,
    *,
    step: float | None,
    period: float | None,
    exposure: float,
    end_trigger: bool = False,
) -> ComparePlan:
    """Return what a box has to be told for a leg, whatever it can hold.

    Parameters
    ----------
    box
        Name for messages.
    leg
        What is flown.
    geometry
        How its positions and counts go together.
    step, period
        One of them: units of the axis, s.
    exposure
        Length of the pulses in s.
    end_trigger
        Whether each row lasts until the next trigger, the last one until one that begins no row.

    Raises
    ------
    PreflightError
        If there is no such plan; one sentence.
    """
    check_asked(box, step, period, exposure)
    direction, begin, end = counted_range(box, leg, geometry)
    # The first count whose edge, half a count before its middle, lies inside.
    first = ceil(begin + 0.5 - ROUNDING)
    pulse = _pulse_length(box, exposure)
    counts = None
    if step is not None:
        counts = _whole_counts(box, step, leg.length / (end - begin))
        edges = np.arange(first, end + 0.5 + ROUNDING, counts) - 0.5
        positions = geometry.position((direction * edges)[np.newaxis])
    else:
        assert period is not None
        period = _whole_ticks(box, period)
        number = floor(leg.duration / period * (1 + 1e-9)) + 1
        positions = Motion.plain(leg, 0.0, 0.0).position(period * np.arange(number))
    if end_trigger:
        # The last one is as good as any to end the row before it.
        positions = positions[:-1]
    speeds = speeds_at(leg, positions)
    # An exposure that would end behind the stop is not begun.
    late = leg.direction * (leg.stop - positions) - speeds * pulse < -1e-9 * leg.length
    positions = positions[: np.argmax(late) if late.any() else None]
    if not len(positions):
        raise nothing_fits(leg, exposure)
    if counts is None:
        assert period is not None
        shortest = period
        width = floor(end + 0.5 + ROUNDING) - first
        if end_trigger:
            # An axis that is a little fast must not shut it before the last trigger, behind
            # which there is none.
            width += ceil(0.5 * speeds[-1] * period * (end - begin) / leg.length)
    else:
        assert step is not None
        shortest = shortest_interval(positions, speeds, step / leg.velocity)
        # Shut half a step behind the last, so that it is clear that there is no other.
        width = (len(positions) - 1 + end_trigger) * counts + counts // 2
    if pulse + RECOVERY > shortest:
        raise too_close(box, exposure, shortest, RECOVERY, "period" if counts is None else "step")
    return ComparePlan(
        leg=leg,
        positions=positions,
        exposure=pulse,
        shortest_period=shortest,
        geometry=geometry,
        first=direction * first,
        direction=direction,
        width=max(width, 1),
        step=counts,
        period=period,
        end_trigger=end_trigger,
        step_edges=None if counts is None else np.append(positions, leg.stop),
    )


def check_asked(box: str, step: float | None, period: float | None, exposure: float) -> None:
    """Refuse (PreflightError) a step (units), period or exposure (s) that no box can make."""
    if (step is None) == (period is None):
        raise PreflightError(f"{box} needs either a step or a period; give one of them.")
    for value, what in ((step, "step"), (period, "period"), (exposure, "exposure")):
        if value is not None and not (isfinite(value) and value > 0):
            raise PreflightError(f"{box} cannot make a {what} of {value:g}; give one above zero.")


def counted_range(box: str, leg: Leg, geometry: EncoderGeometry) -> tuple[int, float, float]:
    """Return in which direction the counts go, and readings at both ends, rising in it."""
    try:
        readings = geometry.readings([leg.start, leg.stop])[0]
    except ValueError as error:
        raise PreflightError(f"{box} cannot follow this scan: {error}") from error
    highest = float(np.abs(readings).max())
    if highest >= HIGHEST_COUNT:
        raise PreflightError(
            f"{box} counts to {HIGHEST_COUNT}, but the encoder would read {highest:.0f} in this "
            "scan; set its counter to a smaller value."
        )
    direction = 1 if readings[1] > readings[0] else -1
    return direction, float(direction * readings[0]), float(direction * readings[1])


def nothing_fits(leg: Leg, exposure: float) -> PreflightError:
    """Return what is said when a leg has no room for one exposure of that length (s)."""
    return PreflightError(
        f"Not one exposure of {exposure:g} s fits between {leg.start:g} and {leg.stop:g} at "
        f"{leg.velocity:g} per second; fly slower, or choose a shorter exposure."
    )


def too_close(
    box: str, exposure: float, shortest: float, recovery: float, what: str
) -> PreflightError:
    """Return what is said when exposures, with a recovery time between two (all s), do not fit."""
    longest = shortest - recovery
    return PreflightError(
        f"{box} would have to begin an exposure of {exposure:g} s each {shortest:.4g} s; "
        f"choose an exposure below {longest:.4g} s, a larger {what} or a lower velocity."
    )


def _whole_counts(box: str, step: float, units_per_count: float) -> int:
    """Return the counts that come nearest to a step."""
    counts = floor(step / units_per_count + 0.5)
    if counts < SHORTEST_STEP:
        raise PreflightError(
            f"{box} cannot make steps of {step:g}, for which the encoder is too coarse; "
            f"choose {SHORTEST_STEP * units_per_count:.3g} or more."
        )
    return counts


def _whole_ticks(box: str, period: float) -> float:
    """Return the period in s that comes nearest to one."""
    period = round(period / (TICK * UNIT.seconds)) * TICK * UNIT.seconds
    if not 0 < period <= LONGEST_PERIOD:
        raise PreflightError(
            f"{box} makes periods of up to {LONGEST_PERIOD:g} s, in steps of 0.1 us; choose such "
            "a period."
        )
    return period


def shortest_interval(positions: Floats, speeds: Floats, alone: float) -> float:
    """Return the shortest time in s between two positions; ``alone`` if there is only one."""
    if len(positions) < 2:
        return alone
    speeds = speeds[: len(positions)]
    intervals = np.abs(np.diff(positions)) / np.maximum(speeds[:-1], speeds[1:])
    return float(intervals.min())


def pulse_unit(exposure: float) -> TimeUnit | None:
    """Return the finest unit in which a pulse block can make a pulse of that length (s)."""
    for unit in TimeUnit:
        if exposure <= LONGEST_PULSE * TICK * unit.seconds:
            return unit
    return None


def _pulse_length(box: str, exposure: float) -> float:
    unit = pulse_unit(exposure)
    ticks = round(exposure / (TICK * unit.seconds)) if unit else 0
    if unit is None or not ticks:
        longest = LONGEST_PULSE * TICK * TimeUnit.TEN_SECONDS.seconds
        raise PreflightError(
            f"{box} cannot make an exposure of {exposure:g} s: it makes pulses of 0.1 us to "
            f"{longest:.1f} s; choose an exposure in that range."
        )
    return ticks * TICK * unit.seconds


def speeds_at(leg: Leg, positions: Floats) -> Floats:
    """Return the speed at each position, units per second."""
    ends = np.array([leg.direction * region.stop for region in leg.regions[:-1]])
    index = np.searchsorted(ends, leg.direction * positions, side="right")
    first, last = np.array([region.speeds for region in leg.regions]).T[:, index]
    starts = np.array([region.start for region in leg.regions])[index]
    lengths = np.array([region.length for region in leg.regions])[index]
    # Within a region the speed changes evenly in time, and its square so with the way.
    share = np.abs(positions - starts) / lengths
    return np.sqrt(first**2 + (last**2 - first**2) * share)


def until(leg: Leg, position: float) -> Leg:
    """Return what of a leg lies before a position on the way."""
    kept = []
    for region, number in zip(leg.regions, leg.numbers, strict=True):
        before = region.reversed().after(position)
        if before is not None:
            kept.append((before.reversed(), number))
    regions, numbers = zip(*kept, strict=True)
    return replace(leg, regions=regions, numbers=numbers)


__all__ = [
    "RECOVERY",
    "ROUNDING",
    "TICK",
    "UNIT",
    "ComparePlan",
    "check_asked",
    "compare_plan",
    "counted_range",
    "nothing_fits",
    "pulse_unit",
    "shortest_interval",
    "speeds_at",
    "too_close",
    "until",
]
