"""Triggers without a box: a detector runs on its own clock, and its exposures are the rows."""

from math import floor

import numpy as np

from glidepath.detectors import Frames
from glidepath.trajectory import Leg, Motion, PreflightError

from .exposure import with_exposure
from .request import Triggers
from .trigger_source import CapturedTriggers, TriggerPlan, TriggerSource


class InternalClock(TriggerSource):
    """The frames of one detector, the leader, that is triggered by itself or runs freely.

    Nobody else knows when such exposures begin, so they are the triggers: the leader's rows are
    its own exposures, and what other detectors saw is joined to them by time. Positions are not
    latched: they come from the axis's readback at these times. Whoever reads the leader's frames
    hands them on to :meth:`observe`; frames outside the leg are rows of nothing, and are left out
    by their position.

    Parameters
    ----------
    leader
        Name of the detector.
    uncertainty
        How well its timestamps are known, in s.
    """

    def __init__(self, leader: str, *, uncertainty: float = 0.0) -> None:
        self.name = leader
        self._uncertainty = uncertainty
        self._waiting: list[Frames] = []

    async def plan(
        self, leg: Leg, request: Triggers, *, dead_time: float = 0.0, end_trigger: bool = False
    ) -> tuple[TriggerPlan, ...]:
        """Return what the leader will do; see `TriggerSource.plan`.

        A step is made by the period in which the axis goes on by it: the leg must have one
        velocity. Positions are those of a leader that begins with the leg.
        """
        period = self._period(leg, request)

        def planned(exposure: float) -> list[TriggerPlan]:
            return [self._planned(leg, period, exposure)]

        return with_exposure(leg, request, dead_time, planned)

    def _period(self, leg: Leg, request: Triggers) -> float:
        if request.step is None:
            assert request.period is not None
            return request.period
        if leg.slowest < leg.velocity:
            raise PreflightError(
                f"{self.name} goes by its own clock and cannot make steps of {request.step:g} at "
                "several velocities; give a period, or fly the regions one by one."
            )
        return request.step / leg.velocity

    def _planned(self, leg: Leg, period: float, exposure: float) -> TriggerPlan:
        if exposure > period:
            raise PreflightError(
                f"{self.name} cannot expose for {exposure:g} s each {period:.4g} s; choose a "
                "shorter exposure or a lower velocity."
            )
        number = floor((leg.duration - exposure) / period * (1 + 1e-9)) + 1
        if number < 1:
            raise PreflightError(
                f"Not one exposure of {exposure:g} s fits between {leg.start:g} and "
                f"{leg.stop:g}; fly slower, or choose a shorter exposure."
            )
        positions = Motion.plain(leg, 0.0, 0.0).position(period * np.arange(number))
        return TriggerPlan(leg, positions, exposure, period)

    async def arm(self, plan: TriggerPlan) -> None:
        """Begin a leg: frames that were observed before are forgotten."""
        self._waiting.clear()

    def observe(self, frames: Frames) -> None:
        """Take frames of the leader, in the order in which they were made."""
        self._waiting.append(frames)

    async def captured(self) -> CapturedTriggers:
        """Return a trigger for each frame that was observed since the last call."""
        frames, self._waiting = self._waiting, []
        if not frames:
            return CapturedTriggers(np.empty(0, np.int64), np.empty(0), np.empty(0))
        begins = np.concatenate([block.begins for block in frames])
        numbers = np.concatenate([block.numbers for block in frames])
        return CapturedTriggers(numbers, begins, np.full(len(begins), np.nan))

    async def clock(self) -> tuple[float, float]:
        """Return zero: times are POSIX times, on the clock of the leader's server."""
        return 0.0, self._uncertainty

    async def disarm(self) -> None:
        """Do nothing: whoever armed the leader disarms it."""

    async def restore(self) -> None:
        """Do nothing: nothing was changed."""


__all__ = ["InternalClock"]
