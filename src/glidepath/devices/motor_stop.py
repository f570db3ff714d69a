"""Stops motor records, in such a way that nothing moves by itself later.

While SPMG is Stop or Pause, a motor record remembers its target, with DMOV 0 for as long: STOP does
not make it forget one that was given then, and does nothing while a motor that was paused slows
down. On Go the motor would move, however long ago the scan has ended.

Source: ``do_work`` and ``maybeRetry`` of the motor record, R7-4
(https://github.com/epics-modules/motor, ``motorApp/MotorSrc/motorRecord.cc``).
"""

import asyncio
from typing import Final

from ophyd_async.epics.motor import Motor as EpicsMotor

from .motor_record import read_motor_record
from .positioning import MotionError
from .signals import patience_with, tell, watch

__all__ = ["moves", "stop_motor"]

PERIOD: Final = 0.5
"""Seconds after which a motor that is not done is looked at, and told to stop once more."""


async def moves(motor: EpicsMotor) -> bool:
    """Return whether a motor moves; one that only waits for SPMG does not."""
    if await motor.motor_done_move.get_value():
        return False
    return not (await read_motor_record(motor)).stands


async def stop_motor(motor: EpicsMotor, bound: float, sent: bool = True) -> bool:
    """Stop a motor; return whether it stands within a time, without a target to go to on Go.

    Parameters
    ----------
    motor
        What is stopped.
    bound
        Seconds in which it must stand.
    sent
        Whether it is on its way to a target that it was given by whoever stops it. The target is
        left alone otherwise: it is somebody else's.

    Raises
    ------
    NoAnswerError, TimeoutError
        If its server does not answer.
    MotionError
        If its target cannot be taken back.
    """
    # Told first, asked later: a server that hangs stops it as soon as it goes on.
    await tell(motor.motor_stop, 1)
    now = asyncio.get_running_loop().time
    deadline = now() + bound
    within = patience_with(motor.motor_done_move)
    async with watch(motor.motor_done_move, within=within) as seen:
        stood = False
        while not await seen.until(lambda: bool(seen.value(motor.motor_done_move)), PERIOD):
            stands = (await read_motor_record(motor)).stands
            if stands and stood:
                break
            if now() > deadline:
                return False
            # What was paused forgets its target only when it is told to stop while it stands.
            await tell(motor.motor_stop, 1)
            stood = stands
    if sent:
        await _forget(motor)
    return True


async def _forget(motor: EpicsMotor) -> None:
    """Make a target that waits for Go the place where the motor stands."""
    record = await read_motor_record(motor)
    if record.postponed is None:
        return
    # It is not done before Go, and nobody waits for that.
    put = motor.user_setpoint.set(record.get("RBV"), timeout=PERIOD)
    await asyncio.gather(put, return_exceptions=True)
    record = await read_motor_record(motor)
    if record.postponed is not None:
        raise MotionError(
            f"{motor.name} goes to {record.postponed:.7g} {record.unit} by itself as soon as "
            f"{record.source}.SPMG is Go: set {record.source}.VAL to where it is before."
        )
