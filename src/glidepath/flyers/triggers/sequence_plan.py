"""What a PandA has to be told for a leg: a table of counts and ticks, and the energies of it."""

from dataclasses import dataclass
from math import ceil, floor

import numpy as np
from numpy.typing import ArrayLike, NDArray
from ophyd_async.fastcs.panda import SeqTrigger

from glidepath.devices.panda import SequencerTable
from glidepath.physics import EncoderGeometry
from glidepath.trajectory import Leg, Motion, PreflightError

from .compare_plan import (
    ROUNDING,
    check_asked,
    counted_range,
    nothing_fits,
    shortest_interval,
    speeds_at,
    too_close,
)
from .trigger_source import TriggerPlan

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Blocks = list[tuple[Counts, float | None]]
Line = tuple[int, SeqTrigger, int, int]
"""Repeats, trigger, position, and the ticks between its end and the next."""

TICK = 1e-6
"""Unit of the table's times in s."""

LONGEST_TIME = (2**32 - 1) * TICK
"""Of a phase of a line, s."""

RECOVERY = TICK
"""Seconds between the end of a pulse and the next: the second phase of a line is never empty."""

LINE_REPEATS = 2**16 - 1


@dataclass(frozen=True)
class SequencePlan(TriggerPlan):
    """What the box is told for a leg.

    Attributes
    ----------
    geometry
        How positions and counts go together.
    direction
        1 if the counts of the compared encoder rise during the leg, -1 if they fall.
    counts
        Shape (n,), int64: count of that encoder at which each exposure begins; by time, where
        it should be then. One more for an end trigger.
    times
        As many: when they should begin, s from the first on; None if they come by position.
    period
        Seconds from trigger to trigger; None if they come by position.
    table
        The sequencer's table, however many lines it needs.
    """

    geometry: EncoderGeometry
    direction: int
    counts: Counts
    times: Floats | None
    period: float | None
    table: SequencerTable


def sequence_plan(
    box: str,
    leg: Leg,
    geometry: EncoderGeometry,
    *,
    step: float | None,
    period: float | None,
    exposure: float,
    end_trigger: bool = False,
) -> SequencePlan:
    """Return what a box has to be told for a leg, however many lines that takes.

    By position, each exposure lies in the middle of a step, and steps are equal in the axis's unit,
    to a count. By time, it lies in the middle of a period; each region has the period that it says,
    or else ``period``. Where something lasts until the next trigger (``end_trigger``), steps and
    periods are what it covers, and triggers come at their beginnings.

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
        Whether one more trigger follows the last row, which ends what lasts until the next.

    Raises
    ------
    PreflightError
        If there is no such plan; one sentence.
    """
    check_asked(box, step, period, exposure)
    pulse = round(exposure / TICK) * TICK
    if not 0 < pulse <= LONGEST_TIME:
        raise PreflightError(
            f"{box} cannot make an exposure of {exposure:g} s: it makes pulses of 1 us to "
            f"{LONGEST_TIME:.0f} s; choose an exposure in that range."
        )
    direction, begin, end = counted_range(box, leg, geometry)
    blocks: Blocks
    times: Floats | None
    if step is not None:
        counts = _equal_steps(box, leg, geometry, direction, step, begin, end, pulse, end_trigger)
        positions = geometry.position((counts - 0.5 * direction)[np.newaxis])
        speeds = speeds_at(leg, positions)
        left = leg.direction * (leg.stop - positions) - speeds * pulse
        # An exposure that would end behind the stop is not begun.
        late = left < -1e-9 * leg.length
        number = int(np.argmax(late)) if late.any() else len(positions)
        number = min(number, len(positions) - end_trigger)
        shortest = shortest_interval(positions[: number + end_trigger], speeds, step / leg.velocity)
        times, blocks = None, [(counts[: number + end_trigger], None)]
    else:
        assert period is not None
        positions, times, blocks, shortest = _equal_times(
            leg, geometry, direction, period, pulse, end_trigger
        )
        number = len(positions) - end_trigger
        counts = np.concatenate([np.empty(0, np.int64), *(block for block, _ in blocks)])
    if number < 1:
        raise nothing_fits(leg, exposure)
    if pulse + RECOVERY > shortest * (1 + 1e-9):
        raise too_close(box, exposure, shortest, RECOVERY, "step" if period is None else "period")
    return SequencePlan(
        leg=leg,
        positions=positions[:number],
        exposure=pulse,
        shortest_period=shortest,
        geometry=geometry,
        direction=direction,
        counts=counts[: number + end_trigger],
        times=times,
        period=period,
        table=_table(direction, blocks, pulse),
        end_trigger=end_trigger,
        step_edges=None if step is None else _step_edges(leg, step, number),
    )


def _step_edges(leg: Leg, step: float, number: int) -> Floats:
    ahead = np.minimum(step * np.arange(number + 1), leg.length)
    return leg.start + leg.direction * ahead


def _nearest_counts(
    geometry: EncoderGeometry, direction: int, positions: ArrayLike, start: float
) -> Counts:
    """Return the counts whose edges, half a count before their middles, lie at positions.

    None lies before the start.
    """
    readings = direction * geometry.readings(positions)[0]
    first = ceil(float(direction * geometry.readings([start])[0][0]) + 0.5 - ROUNDING)
    counts = np.maximum(np.floor(readings + 1.0), first)
    return (direction * counts).astype(np.int64)


def _equal_steps(
    box: str,
    leg: Leg,
    geometry: EncoderGeometry,
    direction: int,
    step: float,
    begin: float,
    end: float,
    pulse: float,
    end_trigger: bool,
) -> Counts:
    number = floor(leg.length / step * (1 + 1e-9)) + 1
    wanted: Floats = leg.start + leg.direction * step * np.arange(number, dtype=np.float64)
    if not end_trigger:
        lengths = speeds_at(leg, wanted) * pulse
        wanted = wanted + leg.direction * np.maximum(step - lengths, 0.0) / 2
        inside = leg.direction * (leg.stop - wanted) >= lengths - 1e-9 * leg.length
        wanted = wanted[: None if inside.all() else np.argmin(inside)]
    counts = _nearest_counts(geometry, direction, wanted, leg.start)
    # The nearest to the stop may lie behind it.
    counts = direction * np.minimum(direction * counts, floor(end + 0.5 + ROUNDING))
    if len(counts) > 1 and np.diff(direction * counts).min() < 1:
        raise PreflightError(
            f"{box} cannot make steps of {step:g}, for which the encoder is too coarse; "
            f"choose {2 * leg.length / (end - begin):.3g} or more."
        )
    return counts


def _equal_times(
    leg: Leg,
    geometry: EncoderGeometry,
    direction: int,
    period: float,
    pulse: float,
    end_trigger: bool,
) -> tuple[Floats, Floats, Blocks, float]:
    """Return positions, times, counts and period of each region, and the shortest period."""
    motion = Motion.plain(leg, 0.0, 0.0)
    blocks: Blocks = []
    times: list[Floats] = []
    begin, shortest = 0.0, np.inf
    for region in leg.regions:
        own = round((getattr(region, "period", None) or period) / TICK) * TICK
        before = 0.0 if end_trigger else max(own - pulse, 0.0) / 2
        # The end trigger's own pulse may end behind the stop.
        last = end_trigger and region is leg.regions[-1]
        room = region.duration - before - (0.0 if last else pulse)
        number = floor(room / own * (1 + 1e-9)) + 1 if own > 0 else 0
        if number > 0:
            when = begin + before + own * np.arange(number, dtype=np.float64)
            counts = _nearest_counts(geometry, direction, motion.position(when), region.start)
            blocks.append((counts, own))
            times.append(when)
            shortest = min(shortest, own)
        begin += region.duration
    if not blocks:
        return np.empty(0), np.empty(0), [], period
    whole = np.concatenate(times)
    return motion.position(whole), whole - whole[0], blocks, float(shortest)


def _table(direction: int, blocks: Blocks, pulse: float) -> SequencerTable:
    """Return the lines for counts one by one, or for trains that begin at a count."""
    by_position = SeqTrigger.POSA_GT if direction > 0 else SeqTrigger.POSA_LT
    high = round(pulse / TICK)
    lines: list[Line] = []
    for counts, period in blocks:
        if period is None:
            lines += [(1, by_position, count, 1) for count in counts.tolist()]
            continue
        low = max(round(period / TICK) - high, 1)
        left = len(counts) - 1
        lines.append((1, by_position, int(counts[0]), low if left else 1))
        # The last one does not wait for a next: another region may begin.
        lines += _train(left - 1, low) + _train(min(left, 1), 1)
    return _as_table(lines, high)


def train_table(number: int, period: float, width: float) -> SequencerTable:
    """Return a table for so many pulses of a width in s, one each period in s, without a leg."""
    high = round(width / TICK)
    return _as_table(_train(number, max(round(period / TICK) - high, 1)), high)


def _train(number: int, low: int) -> list[Line]:
    """Return lines for pulses that follow each other; ``low`` are the ticks between two."""
    whole, rest = divmod(max(number, 0), LINE_REPEATS)
    repeats = [LINE_REPEATS] * whole + [rest] * (rest > 0)
    return [(repeat, SeqTrigger.IMMEDIATE, 0, low) for repeat in repeats]


def _as_table(lines: list[Line], high: int) -> SequencerTable:
    repeats, triggers, positions, lows = zip(*lines, strict=True)
    off, on = np.zeros(len(lines), np.bool_), np.ones(len(lines), np.bool_)
    outputs = {f"out{letter}{phase}": off for letter in "abcdef" for phase in (1, 2)}
    return SequencerTable(
        repeats=np.array(repeats, np.uint16),
        trigger=list(triggers),
        position=np.array(positions, np.int32),
        time1=np.full(len(lines), high, np.uint32),
        time2=np.array(lows, np.uint32),
        **{**outputs, "outa1": on},
    )


__all__ = ["RECOVERY", "TICK", "SequencePlan", "sequence_plan", "train_table"]
