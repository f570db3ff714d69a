"""Flies an EPICS motor record at constant velocity, whatever its fields say."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass

from ophyd_async.core import AsyncStatus
from ophyd_async.epics.motor import Motor

from glidepath.devices.motor_record import (
    ALLOWANCE,
    MotorRecord,
    backlash_of,
    read_motor_record,
)
from glidepath.devices.motor_stop import moves, stop_motor
from glidepath.devices.settings import Settings
from glidepath.devices.signals import Watch, watch
from glidepath.sentences import sentence_of
from glidepath.trajectory import Envelope, Leg, Motion

from .back_end import BackEnd, FlightError, MotionPlan
from .flown_velocity import SHORTEST_CHECK, FlownVelocity
from .follower import MotionFollower
from .standing import Standing

SETTLE = 0.3
"""Seconds at constant velocity between the end of the acceleration and the start."""

OVERHEAD = 0.35
"""Seconds that a flight takes beside its motions: for predictions only."""

STAND_TIMEOUT = 10.0
"""Seconds in which a motor must stand after STOP."""

REFUSAL = 0.5
"""Seconds after a put that has ended in which the motor must have moved off."""

VELOCITY_TOLERANCE = 1e-3
"""Share by which the velocity that the record has taken may differ from the one asked for."""

CAUSE_TIMEOUT = 1.0
"""Seconds in which the record may say why the motor does not move: it has to be stopped then."""


@dataclass(frozen=True)
class VelocityPlan(MotionPlan):
    """A leg at constant velocity.

    Attributes
    ----------
    record
        The motor's fields as they were when it was planned.
    """

    record: MotorRecord


@dataclass
class _VelocityFlight:
    """One flight: its record, and the move that is under way."""

    record: MotorRecord
    move: AsyncStatus | None = None


class ConstantVelocity(BackEnd[VelocityPlan]):
    """Runs up by ACCL, flies at VELO, runs down; all settings are put back.

    What the fields of the record do to a flight is in `glidepath.devices.motor_record.FIELDS`.

    Parameters
    ----------
    motor
        A motor record: ophyd-async's ``Motor``, or a subclass.
    """

    def __init__(self, motor: Motor) -> None:
        self.motor = motor
        self._settings = Settings(motor.name)
        self._standing = Standing(motor.name)
        self._flight: _VelocityFlight | None = None

    async def plan(self, leg: Leg) -> VelocityPlan:
        """Return the range and velocities of the record, and the flight with its run-up."""
        record = await self._record()
        velocity, own = leg.velocity, record.velocity
        # One that cannot be flown is refused below; until then it has a motion.
        acceleration = record.acceleration(velocity)
        motion = Motion.along(leg, acceleration, settle=SETTLE, overrun=SETTLE)
        low, high = record.limits or (None, None)
        envelope = Envelope(
            low,
            high,
            record.fastest,
            record.unit,
            run_up=abs(leg.start - motion.start),
            run_up_time=motion.passages[0].begin,
            min_velocity=record.slowest,
            motion=motion,
            approach_velocity=own if own > 0 else None,
            approach_acceleration=record.acceleration(own) if own > 0 else None,
            overhead=OVERHEAD + record.settling,
            objections=(
                *record.objections(),
                *record.on_switch(*motion.reach),
                *_too_short(record, motion),
            ),
            notes=tuple(record.notes(velocity)),
        )
        return VelocityPlan(leg, envelope, record)

    async def _record(self) -> MotorRecord:
        """Return the record's fields as they are without our own changes."""
        record = await read_motor_record(self.motor)
        if self._settings.changed:
            record = record.having(VELO=self._settings.before(self.motor.velocity))
        return record

    async def moving(self) -> str:
        """Return the motor's name while it moves."""
        return self.motor.name if await moves(self.motor) else ""

    async def prepare(self, plan: VelocityPlan) -> None:
        """Go to the run-up at the motor's own velocity, then set the velocity of the flight."""
        motor, settings = self.motor, self._settings
        self._standing.begin()
        await self._check_unchanged(plan)
        self._flight = _VelocityFlight(plan.record)
        await settings.save(motor.velocity)
        if plan.record.backlash:
            await settings.set(await backlash_of(motor), 0.0)
        # The flight before was perhaps a slow one.
        await settings.set(motor.velocity, settings.before(motor.velocity))
        await self._approach(plan)
        accepted = await settings.request(motor.velocity, plan.leg.velocity)
        if abs(accepted - plan.leg.velocity) > VELOCITY_TOLERANCE * plan.leg.velocity:
            raise FlightError(
                f"{motor.name} was asked to fly at {plan.leg.velocity:g} {plan.record.unit}/s, "
                f"but {plan.record.source}.VELO reads {accepted:g}; choose a velocity between its "
                "VBAS and VMAX."
            )

    async def _check_unchanged(self, plan: VelocityPlan) -> None:
        """Raise if the record would not do any more what was planned."""
        now = await self._record()
        objections = (*now.objections(), *now.on_switch(*plan.motion.reach))
        if objections:
            raise FlightError(objections[0])
        if changes := plan.record.changes(now):
            raise FlightError(
                f"{self.motor.name} was changed after its flight had been planned, {changes}; "
                "begin the scan again."
            )

    async def _approach(self, plan: VelocityPlan) -> None:
        """Go to the run-up, in a time that the record's fields make possible."""
        motor, target = self.motor, plan.motion.start
        await motor.check_value(target)
        here = await motor.user_readback.get_value()
        bound = plan.record.bound(target - here)
        try:
            await motor.user_setpoint.set(target, timeout=bound)
        except TimeoutError as error:
            raise FlightError(
                f"{motor.name} did not come to its run-up at {target:.7g} within {bound:.0f} s: it "
                f"is at {await motor.user_readback.get_value():.7g}."
            ) from error
        await self._check_arrival(plan)

    async def _check_arrival(self, plan: VelocityPlan) -> None:
        """Raise if the motor has ended its way before the run-up, as after a pause of its own."""
        motor, leg, begin = self.motor, plan.leg, plan.motion.start
        here = await motor.user_readback.get_value()
        if leg.direction * (here - begin) > SETTLE * leg.velocity:
            record = await self._record()
            why = [*record.objections(), "check who else moves it."]
            raise FlightError(
                f"{motor.name} stands at {here:.7g} {record.unit} and not at its run-up at "
                f"{begin:.7g} {record.unit}: {why[0]}"
            )

    async def start(self, plan: VelocityPlan) -> None:
        """Start towards the end of the run-down; return when the motor moves."""
        motor, motion = self.motor, plan.motion
        if self._flight is None:
            raise FlightError(f"{motor.name} was not prepared.")
        # The way to the run-up may have been long: in Set mode, say, a target is a calibration.
        await self._check_unchanged(plan)
        async with watch(motor.motor_done_move) as seen:
            moved_off = seen.latch(lambda: not seen.value(motor.motor_done_move))
            bound = 2 * motion.duration + 2 * plan.record.settling + ALLOWANCE
            self._flight.move = move = AsyncStatus(self._go(motion.stop, bound))
            moving = asyncio.ensure_future(seen.until(moved_off, ALLOWANCE))
            try:
                await asyncio.wait({moving, move.task}, return_when=asyncio.FIRST_COMPLETED)
                await asyncio.wait({moving}, timeout=REFUSAL if move.done else None)
            finally:
                moving.cancel()
            if not moved_off():
                raise FlightError(await self._why_it_stands(motion.stop, move))

    async def _go(self, target: float, bound: float) -> None:
        await self.motor.user_setpoint.set(target, timeout=bound)

    async def _why_it_stands(self, target: float, move: AsyncStatus) -> str:
        causes = list(await self._causes())
        failure = move.exception() if move.done else None
        if failure is not None:
            causes.append(sentence_of(failure))
        causes.append("check its controller.")
        return f"{self.motor.name} did not start to move towards {target:.7g}: {causes[0]}"

    async def _causes(self) -> tuple[str, ...]:
        """Return what the record says that keeps the motor from moving; quickly, or nothing."""
        try:
            async with asyncio.timeout(CAUSE_TIMEOUT):
                record = await self._record()
        except (ConnectionError, TimeoutError):
            return ()
        beyond = f"{record.source}.LVIO says that this is beyond a soft limit."
        return (*record.objections(), *([beyond] if record.get("LVIO") else []))

    async def follow(self, plan: VelocityPlan) -> None:
        """Wait for the end of the move; tell a stall and an early end apart."""
        motor = self.motor
        if self._flight is None or self._flight.move is None:
            raise FlightError(f"{motor.name} was not started.")
        ending = ALLOWANCE + 2 * plan.record.settling
        follower = MotionFollower(motor.name, motor.user_readback, plan, ending=ending)
        flown = FlownVelocity(plan.leg, SHORTEST_CHECK)
        async with watch(motor.user_readback, motor.motor_done_move) as seen:
            motor.user_readback.subscribe_reading(flown.update)
            try:
                await self._with_cause(
                    follower.follow(
                        seen,
                        lambda: bool(seen.value(motor.motor_done_move)),
                        lambda: self._where(seen),
                    )
                )
            finally:
                motor.user_readback.clear_sub(flown.update)
        self._check_flown(plan, flown)

    async def _with_cause(self, following: Awaitable[None]) -> None:
        """Follow; add to a failure what the record says that could be its cause."""
        try:
            await following
        except FlightError as error:
            causes = await self._causes()
            if not causes:
                raise
            raise FlightError(f"{str(error).rstrip('.')}; {causes[0]}") from error

    def _check_flown(self, plan: VelocityPlan, flown: FlownVelocity) -> None:
        asked, unit = plan.leg.velocity, plan.record.unit
        wrong = flown.wrong()
        if wrong is not None:
            raise FlightError(
                f"{self.motor.name} flew at {wrong.velocity:.3g} {unit}/s instead of {asked:g} "
                f"{unit}/s: its controller has another velocity than its record; compare their "
                "limits."
            )

    def _where(self, seen: Watch) -> str:
        done = seen.value(self.motor.motor_done_move)
        return f"it is at {seen.value(self.motor.user_readback):.7g} and its DMOV is {done}"

    async def halt(self) -> None:
        """Stop the motor; return when it stands."""
        flight, self._flight = self._flight, None
        try:
            await self._standing.stop(self._stop(flight))
        finally:
            if flight is not None and flight.move is not None:
                flight.move.task.cancel()
                # What it failed of is known by what the motor did.
                await asyncio.gather(flight.move.task, return_exceptions=True)

    async def _stop(self, flight: _VelocityFlight | None) -> None:
        settling = 0.0 if flight is None else flight.record.settling
        bound = STAND_TIMEOUT + settling
        sent = flight is not None and (flight.move is None or not flight.move.success)
        if not await stop_motor(self.motor, bound, sent):
            raise FlightError(
                f"{self.motor.name} was told to stop and still moves after {bound:g} s."
            )

    async def restore(self) -> None:
        """Put VELO and BDST back."""
        await self._settings.restore(self._standing.patience)


def _too_short(record: MotorRecord, motion: Motion) -> list[str]:
    """Object to a movement within the set point dead band: the record would not make it."""
    way, band = abs(motion.stop - motion.start), record.get("SPDB")
    if way > band:
        return []
    return [
        f"{record.name} would not move over {way:g} {record.unit}: its set point dead band "
        f"{record.source}.SPDB is {band:g}; make that smaller."
    ]


__all__ = ["ConstantVelocity", "VelocityPlan"]
