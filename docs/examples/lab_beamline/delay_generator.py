"""A trigger box: a delay generator whose train of pulses begins when the axis passes the start."""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
from ophyd_async.core import StandardReadable

from glidepath.devices import signal_r, signal_rw, watch
from glidepath.extend import (
    CapturedTriggers,
    Leg,
    Motion,
    PreflightError,
    Settings,
    TriggerPlan,
    Triggers,
    TriggerSource,
    make_trigger_source,
    with_exposure,
)

SPARE = 0.5
"""Seconds left free before the end of a leg: software starts the train, and it may be late."""


class DelayGenerator(StandardReadable):
    """Trains of pulses at exact times, which begin on command."""

    def __init__(self, prefix: str, name: str = "") -> None:
        self.number = signal_rw(int, f"{prefix}Number")
        self.period = signal_rw(float, f"{prefix}Period", unit="s")
        self.width = signal_rw(float, f"{prefix}Width", unit="s")
        self.begin = signal_rw(int, f"{prefix}Start")
        self.end = signal_rw(int, f"{prefix}Stop")
        self.sent = signal_r(int, f"{prefix}Sent")
        self.first = signal_r(float, f"{prefix}First", unit="s")
        super().__init__(name)


class TrainOfPulses(TriggerSource):
    """Equal periods; where the axis was comes from its readback at the times of the pulses."""

    def __init__(self, box: DelayGenerator, axis: Any) -> None:
        self.name, self.box, self.axis = box.name, box, axis
        self._settings = Settings(box.name)
        self._beginning: asyncio.Task[None] | None = None
        self._known, self._period = 0, 0.0

    async def plan(
        self, leg: Leg, request: Triggers, *, dead_time: float = 0.0, end_trigger: bool = False
    ) -> Sequence[TriggerPlan]:
        period = request.period
        if period is None:
            raise PreflightError(f"{self.name} makes no steps; give the triggers a period.")

        def planned(exposure: float) -> list[TriggerPlan]:
            times = np.arange(0.0, leg.duration - exposure - SPARE, period)
            positions = Motion.plain(leg, 0.0, 0.0).position(times)
            return [TriggerPlan(leg, positions, exposure, period)]

        return with_exposure(leg, request, dead_time, planned)

    async def arm(self, plan: TriggerPlan) -> None:
        await self.disarm()
        box, self._known, self._period = self.box, 0, plan.shortest_period
        wanted = {box.number: len(plan.positions), box.period: self._period}
        await self._settings.set_all([*wanted.items(), (box.width, plan.exposure)])
        self._beginning = asyncio.create_task(self._begin_at_start(plan.leg))

    async def _begin_at_start(self, leg: Leg) -> None:
        readback = self.axis.readback
        async with watch(readback) as seen:
            await seen.until(lambda: leg.direction * (seen.value(readback) - leg.start) >= 0, None)
        await self.box.begin.set(1)

    async def captured(self) -> CapturedTriggers:
        begun = self._beginning is not None and self._beginning.done()
        if begun:
            self._beginning.result()  # Raises what kept the train from beginning.
        sent = await self.box.sent.get_value() if begun else 0
        numbers = np.arange(self._known, sent)
        self._known = max(sent, self._known)
        first = await self.box.first.get_value()
        unknown = np.full(len(numbers), np.nan)
        return CapturedTriggers(numbers, first + self._period * numbers, unknown)

    async def clock(self) -> tuple[float, float]:
        return 0.0, 0.0  # Its times are POSIX times.

    async def disarm(self) -> None:
        if self._beginning is not None and not self._beginning.done():
            self._beginning.cancel()
            await asyncio.wait({self._beginning})
            self._beginning = None
        await self.box.end.set(1)

    async def restore(self) -> None:
        await self.disarm()
        await self._settings.restore()


@make_trigger_source.register
def _(box: DelayGenerator, axis: Any) -> TrainOfPulses:
    return TrainOfPulses(box, axis)
