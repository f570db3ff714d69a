"""Flies an EPICS motor record at constant velocity."""

import asyncio
from dataclasses import dataclass, field

from ophyd_async.core import AsyncStatus
from ophyd_async.epics.motor import Motor

from glidepath.devices.signals import (
    GONE_TIMEOUT,
    NoAnswerError,
    patience_with,
    put_back,
    silent,
    tell,
    watch,
)
from glidepath.trajectory import Envelope, Leg, Motion

from .flight import BackEnd, FlightError

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

STALLED = 2.0
"""Seconds without progress after which the motor is taken as stalled."""

SLOW, RESTING = 0.2, 0.01
"""Shares of its velocity below which a motor makes no progress: in flight, and in its run-down."""


@dataclass
class ConstantVelocity(BackEnd):
    """Runs up by ACCL, flies at VELO, runs down; VELO is put back.

    ``VMAX = 0`` means that the record knows no limit (motor record reference manual).
    """

    motor: Motor
    _move: AsyncStatus | None = field(default=None, init=False)
    _velocity: float | None = field(default=None, init=False)
    _lost: bool = field(default=False, init=False)

    async def envelope(self, leg: Leg) -> Envelope:
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
        own = self._velocity or velocity
        # The record reaches whatever velocity in ACCL, which an unset one shows as 0.
        ramp = max(ramp, SHORTEST_RAMP)
        motion = Motion.along(leg, leg.velocity / ramp, settle=SETTLE, overrun=SETTLE)
        return Envelope(
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

    async def moving(self) -> str:
        """Return the motor's name while it is not done."""
        return "" if await self.motor.motor_done_move.get_value() else self.motor.name

    async def prepare(self, leg: Leg) -> None:
        """Go to the run-up at the motor's own velocity, then set the velocity of the flight."""
        motor = self.motor
        self._lost = False
        if self._velocity is None:
            self._velocity = await motor.velocity.get_value()
        else:
            # The flight before was perhaps a slow one.
            await motor.velocity.set(self._velocity)
        await motor.set((await self._planned(leg)).start)
        await motor.velocity.set(leg.velocity)

    async def _planned(self, leg: Leg) -> Motion:
        motion = (await self.envelope(leg)).motion
        assert motion is not None
        return motion

    async def start(self, leg: Leg) -> None:
        """Start towards the end of the run-down; return when the motor moves."""
        motor = self.motor
        motion = await self._planned(leg)
        target = motion.stop
        bound = motion.duration + ALLOWANCE
        async with watch(motor.motor_done_move) as seen:
            self._move = AsyncStatus(self._go(target, bound))
            if not await seen.until(lambda: not seen.value(motor.motor_done_move), ALLOWANCE):
                raise FlightError(
                    f"{motor.name} did not start to move towards {target:g} within "
                    f"{ALLOWANCE:g} s; check its controller."
                )

    async def _go(self, target: float, bound: float) -> None:
        await self.motor.user_setpoint.set(target, timeout=bound)

    async def follow(self, leg: Leg) -> None:
        """Wait for the end of the move; tell a stall and an early end apart."""
        motor, move = self.motor, self._move
        if move is None:
            raise FlightError(f"{motor.name} was not started.")
        async with watch(motor.user_readback) as seen:

            def ahead() -> float:
                return leg.direction * (seen.value(motor.user_readback) - leg.stop)

            while not move.done:
                place = ahead()
                await asyncio.wait({move.task}, timeout=STALLED)
                progress = ahead() - place
                if move.done:
                    break
                if ahead() >= 0 and progress < RESTING * leg.velocity * STALLED:
                    raise FlightError(
                        f"{motor.name} stands at {seen.value(motor.user_readback):g}, beyond "
                        f"{leg.stop:g}, but does not say that it is done."
                    )
                if ahead() < 0 and progress < SLOW * leg.velocity * STALLED:
                    cause = await silent(motor.user_readback)
                    if not cause and ahead() - place >= SLOW * leg.velocity * STALLED:
                        # It was the connection: now it is back, and the axis goes on.
                        continue
                    raise FlightError(
                        f"{motor.name} stalled at {seen.value(motor.user_readback):g} on its way "
                        f"to {leg.stop:g}: {cause or f'no progress for {STALLED:g} s'}."
                    )
            await asyncio.wait({move.task})
            failure = move.exception()
            if not await seen.until(lambda: ahead() >= 0, 1.0):
                cause = await silent(motor.user_readback) or str(failure or "")
                raise FlightError(
                    f"{motor.name} ended its flight early, at "
                    f"{seen.value(motor.user_readback):g} instead of beyond {leg.stop:g}, or its "
                    f"readback does not follow{cause and f': {cause}'}."
                )

    async def halt(self) -> None:
        """Stop the motor; return when it stands."""
        try:
            await self._stop()
        except (NoAnswerError, TimeoutError) as error:
            self._lost = True
            raise FlightError(
                f"{self.motor.name} could not be stopped and may still be moving: {error}"
            ) from error
        finally:
            move, self._move = self._move, None
            if move is not None:
                move.task.cancel()
                # What it failed of is known by what the motor did.
                await asyncio.gather(move.task, return_exceptions=True)

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
        velocity, self._velocity = self._velocity, None
        if velocity is not None:
            within = GONE_TIMEOUT if self._lost else None
            await put_back([(self.motor.velocity, velocity)], within)


__all__ = ["ConstantVelocity"]
