"""Flies an EPICS motor record at constant velocity."""

import asyncio
from dataclasses import dataclass

from ophyd_async.core import AsyncStatus
from ophyd_async.epics.motor import Motor

from glidepath.devices.settings import Settings
from glidepath.devices.signals import Watch, patience_with, tell, watch
from glidepath.trajectory import Envelope, Leg, Motion

from .back_end import BackEnd, FlightError, MotionPlan
from .follower import Follower
from .standing import Standing

SETTLE = 0.3
"""Seconds at constant velocity between the end of the acceleration and the start."""

SHORTEST_RAMP = 1e-3
"""Seconds of acceleration that are assumed at least."""

OVERHEAD = 0.35
"""Seconds that a flight takes beside its motions: for predictions only."""

STAND_TIMEOUT = 10.0
"""Seconds in which a motor must stand after STOP."""

ALLOWANCE = 10.0
"""Seconds that a flight may take on top of its computed duration."""


@dataclass
class _VelocityFlight:
    """One flight: the move that is under way."""

    move: AsyncStatus | None = None


class ConstantVelocity(BackEnd[MotionPlan]):
    """Runs up by ACCL, flies at VELO, runs down; VELO is put back.

    ``VMAX = 0`` means that the record knows no limit (motor record reference manual).

    Parameters
    ----------
    motor
        A motor record.
    """

    def __init__(self, motor: Motor) -> None:
        self.motor = motor
        self._settings = Settings(motor.name)
        self._standing = Standing(motor.name)
        self._flight: _VelocityFlight | None = None

    async def plan(self, leg: Leg) -> MotionPlan:
        """Return soft limits, VMAX, and the flight with its run-up."""
        motor = self.motor
        low, high, dial_low, dial_high, fastest, ramp, velocity, unit = await asyncio.gather(
            motor.low_limit_travel.get_value(),
            motor.high_limit_travel.get_value(),
            motor.dial_low_limit_travel.get_value(),
            motor.dial_high_limit_travel.get_value(),
            motor.max_velocity.get_value(),
            motor.acceleration_time.get_value(),
            motor.velocity.get_value(),
            motor.motor_egu.get_value(),
        )
        limited = not dial_low == dial_high == 0
        own = self._settings.before(motor.velocity) if self._settings.changed else velocity
        # The record reaches whatever velocity in ACCL, which an unset one shows as 0.
        ramp = max(ramp, SHORTEST_RAMP)
        motion = Motion.along(leg, leg.velocity / ramp, settle=SETTLE, overrun=SETTLE)
        envelope = Envelope(
            low if limited else None,
            high if limited else None,
            fastest if fastest > 0 else None,
            unit,
            run_up=abs(leg.start - motion.start),
            run_up_time=ramp + SETTLE,
            motion=motion,
            approach_velocity=own if own > 0 else None,
            approach_acceleration=own / ramp if own > 0 else None,
            overhead=OVERHEAD,
        )
        return MotionPlan(leg, envelope)

    async def moving(self) -> str:
        """Return the motor's name while it is not done."""
        return "" if await self.motor.motor_done_move.get_value() else self.motor.name

    async def prepare(self, plan: MotionPlan) -> None:
        """Go to the run-up at the motor's own velocity, then set the velocity of the flight."""
        motor = self.motor
        self._standing.begin()
        self._flight = _VelocityFlight()
        await self._settings.save(motor.velocity)
        # The flight before was perhaps a slow one.
        await self._settings.set(motor.velocity, self._settings.before(motor.velocity))
        await motor.set(plan.motion.start)
        await self._settings.set(motor.velocity, plan.leg.velocity)

    async def start(self, plan: MotionPlan) -> None:
        """Start towards the end of the run-down; return when the motor moves."""
        motor, motion = self.motor, plan.motion
        if self._flight is None:
            raise FlightError(f"{motor.name} was not prepared.")
        async with watch(motor.motor_done_move) as seen:
            self._flight.move = AsyncStatus(self._go(motion.stop, motion.duration + ALLOWANCE))
            if not await seen.until(lambda: not seen.value(motor.motor_done_move), ALLOWANCE):
                raise FlightError(
                    f"{motor.name} did not start to move towards {motion.stop:g} within "
                    f"{ALLOWANCE:g} s; check its controller."
                )

    async def _go(self, target: float, bound: float) -> None:
        await self.motor.user_setpoint.set(target, timeout=bound)

    async def follow(self, plan: MotionPlan) -> None:
        """Wait for the end of the move; tell a stall and an early end apart."""
        motor = self.motor
        if self._flight is None or self._flight.move is None:
            raise FlightError(f"{motor.name} was not started.")
        follower = Follower(motor.name, motor.user_readback, plan, ending=ALLOWANCE)
        async with watch(motor.user_readback, motor.motor_done_move) as seen:
            await follower.follow(
                seen,
                lambda: bool(seen.value(motor.motor_done_move)),
                lambda: self._where(seen),
            )

    def _where(self, seen: Watch) -> str:
        done = seen.value(self.motor.motor_done_move)
        return f"it is at {seen.value(self.motor.user_readback):.7g} and its DMOV is {done}"

    async def halt(self) -> None:
        """Stop the motor; return when it stands."""
        flight, self._flight = self._flight, None
        try:
            await self._standing.stop(self._stop())
        finally:
            if flight is not None and flight.move is not None:
                flight.move.task.cancel()
                # What it failed of is known by what the motor did.
                await asyncio.gather(flight.move.task, return_exceptions=True)

    async def _stop(self) -> None:
        motor = self.motor
        # Told first, asked later: a server that hangs stops it as soon as it goes on.
        await tell(motor.motor_stop, 1)
        patience = patience_with(motor.motor_done_move)
        async with watch(motor.motor_done_move, within=patience) as seen:
            if not await seen.until(lambda: bool(seen.value(motor.motor_done_move)), STAND_TIMEOUT):
                raise FlightError(
                    f"{motor.name} was told to stop and still moves after {STAND_TIMEOUT:g} s."
                )

    async def restore(self) -> None:
        """Put VELO back."""
        await self._settings.restore(self._standing.patience)


__all__ = ["ConstantVelocity"]
