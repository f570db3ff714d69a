"""Simulated motor records (EPICS motor record reference, R7): trapezoidal moves and soft limits."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from .channels import Database, Number
from .jobs import LEAD_SECONDS, Job, sleep_until
from .motion import Axis, Segment, plan_move, plan_stop

__all__ = ["MotorRecord"]

_READBACK_SECONDS = 0.1
_STALL_SECONDS = 0.15


class MotorRecord:
    """One motor record.

    Parameters
    ----------
    database
        Where the process variables are added.
    name
        Name of the record.
    axis
        Its position, in ``unit``.
    unit, description
        Fields EGU and DESC.
    limits
        Low and high soft limit.
    velocity, top_velocity
        Fields VELO and VMAX (0: no limit), in ``unit``/s.
    acceleration_time
        Field ACCL: time to reach VELO, s.
    resolution
        Field MRES, in ``unit``.
    precision
        Field PREC: digits after the point.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        axis: Axis,
        unit: str,
        description: str,
        limits: tuple[float, float],
        velocity: float,
        top_velocity: float,
        acceleration_time: float,
        resolution: float,
        precision: int = 3,
    ) -> None:
        self.axis = axis
        self._job = Job()
        self._done = asyncio.Event()
        self._done.set()
        self._resolution = resolution
        position = axis.position(0.0)

        def number(field: str, value: float, unit: str = unit, **handlers: Any) -> Number:
            return database.number(f"{name}.{field}", value, unit, precision, **handlers)

        self._setpoint = number("VAL", position, accept=self._accept, on_put=self._move)
        database[database.prefix + name] = self._setpoint
        self._readback = number("RBV", position)
        self._dial = number("DRBV", position)
        self._low = number("LLM", limits[0], writable=True)
        self._high = number("HLM", limits[1], writable=True)
        number("DLLM", limits[0], writable=True)
        number("DHLM", limits[1], writable=True)
        self._velocity = number(
            "VELO", velocity, f"{unit}/s", accept=lambda value: self._velocity_for(value)
        )
        self._top_velocity = number("VMAX", top_velocity, f"{unit}/s")
        number("VBAS", 0.0, f"{unit}/s")
        self._acceleration_time = number(
            "ACCL", acceleration_time, "s", accept=lambda value: value if value > 0 else None
        )
        number("MRES", resolution)
        number("ERES", resolution)
        number("UREV", 200 * resolution)
        number("OFF", 0.0, writable=True)
        number("RDBD", 2 * resolution)
        database.integer(f"{name}.SREV", 200)
        database.integer(f"{name}.PREC", precision)
        self._at_rest = database.integer(f"{name}.DMOV", 1)
        self._moves = database.integer(f"{name}.MOVN", 0)
        self._stop_command = database.integer(f"{name}.STOP", 0, on_put=self._stop)
        for switch in ("HLS", "LLS"):
            database.integer(f"{name}.{switch}", 0)
        for field, text in (
            ("EGU", unit),
            ("DESC", description),
            ("OUT", f"@sim({name})"),
            ("RTYP", "motor"),
        ):
            database.text(f"{name}.{field}", text)
        self._frozen = database.integer(f"FAULT:{name}_frozen", 0, writable=True)
        database.integer(f"FAULT:{name}_stall", 0, on_put=self._stall)
        database.choice(f"{name}.FOFF", "Variable", ("Variable", "Frozen"), writable=True)
        database.choice(f"{name}.SET", "Use", ("Use", "Set"), writable=True)

    def _velocity_for(self, value: float) -> float | None:
        """Velocity that the record takes for a requested one: at most VMAX; None refuses."""
        if value <= 0:
            return None
        top = float(self._top_velocity.value)
        return min(value, top) if top > 0 else value

    def _accept(self, target: float) -> float | None:
        low, high = float(self._low.value), float(self._high.value)
        if low == high == 0 or low <= target <= high:
            return target
        return None

    @property
    def limits(self) -> tuple[float, float]:
        """Soft limits."""
        return float(self._low.value), float(self._high.value)

    @property
    def top_velocity(self) -> float:
        """Highest speed, 0 without a limit."""
        return float(self._top_velocity.value)

    async def _move(self, target: float) -> None:
        await self.go(target)
        await self.standing()

    async def go(self, target: float) -> None:
        """Begin a move at the record's own velocity."""
        velocity = float(self._velocity.value)
        await self.follow(
            plan_move(
                self.axis,
                time.time() + LEAD_SECONDS,
                round(target / self._resolution) * self._resolution,
                velocity,
                velocity / float(self._acceleration_time.value),
            )
        )

    async def follow(self, segments: Sequence[Segment]) -> None:
        """Begin a motion that is planned elsewhere, as a controller's."""
        self.axis.plan(segments)
        self._done.clear()
        await self._at_rest.change(0)
        await self._moves.change(1)
        await self._job.start(self._follow(segments[0].start))

    async def standing(self) -> None:
        """Wait until the motor stands."""
        await self._done.wait()

    async def take_position(self) -> None:
        """Show the position as the set point, as after a motion that the record did not command."""
        await self._setpoint.post(self._measured(time.time()))

    async def halt(self) -> None:
        """Slow down to rest."""
        await self._stop(1)

    async def _stop(self, _: int) -> None:
        now = time.time()
        if self.axis.rests_from() > now or not self._done.is_set():
            await self._job.stop()
            if self.axis.rests_from() > now:
                seconds = float(self._acceleration_time.value)
                self.axis.plan(plan_stop(self.axis, now, seconds))
            await self._setpoint.post(self._measured(self.axis.rests_from()))
            await self._job.start(self._follow(now))
        await self._stop_command.post(0)

    async def _stall(self, stalled: int) -> None:
        """Stop the axis as if it had failed: nothing is told to anybody."""
        now = time.time()
        if stalled and self.axis.rests_from() > now:
            await self._job.stop()
            self.axis.plan(plan_stop(self.axis, now, _STALL_SECONDS))

    def _measured(self, when: float) -> float:
        return round(self.axis.position(when) / self._resolution) * self._resolution

    async def _post_position(self, when: float) -> None:
        if self._frozen.value:
            return
        value = self._measured(when)
        await self._readback.post(value, when)
        await self._dial.post(value, when)

    async def _follow(self, start: float) -> None:
        """Publish the position until the planned motion ends, then that it has ended."""
        end = self.axis.rests_from()
        tick = start + _READBACK_SECONDS
        while tick < end:
            await sleep_until(tick)
            await self._post_position(tick)
            tick += _READBACK_SECONDS
        await sleep_until(end)
        await self._post_position(end)
        await self._moves.change(0, end)
        await self._at_rest.change(1, end)
        self._done.set()

    async def close(self) -> None:
        """End all work."""
        await self._job.stop()
        self._done.set()
