"""What the rows that a PandA has captured say of its triggers: which, when and where they were."""

import numpy as np
from numpy.typing import NDArray

from .jumps import JumpWatch
from .panda_wiring import PandaWiring
from .sequence_plan import TICK, SequencePlan
from .trigger_source import CapturedTriggers, TriggerError

Floats = NDArray[np.float64]

EXCESS = 3
"""Ticks by which a captured pulse may be longer than it was asked for."""

SLACK = 0.25
"""Share of a step by which a count may lie before that of its trigger: the encoder's jitter."""

NO_TRIGGERS = CapturedTriggers(np.empty(0, np.int64), np.empty(0), np.empty(0))


class CapturedPulses:
    """Turns the rows of one part of a leg into triggers, in the order in which they were made.

    Parameters
    ----------
    wiring
        The blocks of the box.
    plan
        What its sequencer does.
    scales
        Scale and offset of the captured positions of each encoder.
    """

    def __init__(
        self, wiring: PandaWiring, plan: SequencePlan, scales: list[tuple[float, float]]
    ) -> None:
        self._wiring, self._plan, self._scales = wiring, plan, scales
        readings = plan.geometry.readings([plan.leg.start, plan.leg.stop])
        self._directions = [-1 if end < begin else 1 for begin, end in readings]
        self._jumps = JumpWatch(wiring.name, plan.leg, wiring.encoders.tolerance)
        self._first_time: float | None = None

    def triggers(self, rows: Floats) -> CapturedTriggers:
        """Return the triggers of the next rows.

        Parameters
        ----------
        rows
            Shape (datasets of the wiring, n).

        Raises
        ------
        TriggerError
            If the rows cannot be what the plan makes: a pulse is too long, a mean cannot be, or
            a counter has jumped.
        """
        if not rows.shape[1]:
            return NO_TRIGGERS
        plan = self._plan
        begins, ends, *captured = rows
        self._check_pulses(begins, ends)
        first, last, mean = self._counts(captured)
        numbers = self._numbers(begins, first[0])
        if plan.times is None:
            # It was made when the counter changed, which is half a count before its middle.
            at, along = plan.direction * first[0], plan.direction * plan.counts
            first[0] = first[0] - np.where(at == along[numbers], 0.5 * plan.direction, 0.0)
        position = plan.geometry.position
        positions = position(np.stack(first))
        self._jumps.check(begins, positions)
        # Disarmed while it was open: the detectors, which a rising edge triggers, went on.
        shortened = ends - begins < plan.exposure - 2 * TICK
        return CapturedTriggers(
            numbers.astype(np.int64),
            begins,
            positions,
            np.where(shortened, begins + plan.exposure, ends),
            np.where(shortened, np.nan, position(np.stack(last))),
            np.where(shortened, np.nan, position(np.stack(mean))),
        )

    def _counts(self, captured: list[Floats]) -> tuple[list[Floats], list[Floats], list[Floats]]:
        """Return the counts of each encoder at the begin, at the end, and on average, shape (n,).

        The box tells the lowest and the highest one: the direction tells which came first.
        """
        first, last, mean = [], [], []
        for k, (scale, offset) in enumerate(self._scales):
            average, low, high = (
                (values - offset) / scale for values in captured[3 * k : 3 * k + 3]
            )
            low, high = np.sort(np.rint([low, high]), axis=0)
            self._check_mean(k, average, low, high)
            rising = self._directions[k] > 0
            first.append(low if rising else high)
            last.append(high if rising else low)
            mean.append(average)
        return first, last, mean

    def _numbers(self, begins: Floats, first: Floats) -> NDArray[np.integer]:
        """Return which trigger of the plan each row is, by its count or, without one, its time."""
        plan = self._plan
        if plan.times is None:
            along = plan.direction * plan.counts
            slack = SLACK * float(np.diff(along).min()) if len(along) > 1 else 0.0
            numbers = np.searchsorted(along, plan.direction * first + slack, "right") - 1
            return np.maximum(numbers, 0)
        if self._first_time is None:
            self._first_time = float(begins[0])
        between = (plan.times[1:] + plan.times[:-1]) / 2
        return np.searchsorted(between, begins - self._first_time, "right")

    def _check_pulses(self, begins: Floats, ends: Floats) -> None:
        """Refuse pulses that are longer than they were asked for: something was changed."""
        longest, asked = float(np.max(ends - begins)), self._plan.exposure
        if longest > asked + EXCESS * TICK:
            raise TriggerError(
                f"{self._wiring.name} made a pulse of {longest:.6g} s where {asked:.6g} s were "
                f"asked for; somebody has changed its sequencer {self._wiring.box.sequencer} "
                "meanwhile."
            )

    def _check_mean(self, k: int, average: Floats, low: Floats, high: Floats) -> None:
        """Refuse a mean that lies outside of its own lowest and highest count."""
        wrong = (average < low - 1) | (average > high + 1)
        if wrong.any():
            at = int(np.argmax(wrong))
            raise TriggerError(
                f"{self._wiring.name} captured a mean of {average[at]:.1f} counts of encoder "
                f"{self._wiring.encoders.inputs[k]} between {low[at]:.0f} and {high[at]:.0f}, "
                "which cannot be; set PCAP.SHIFT_SUM of the box to 0."
            )


__all__ = ["NO_TRIGGERS", "CapturedPulses"]
