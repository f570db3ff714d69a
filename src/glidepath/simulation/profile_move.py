"""A simulated trajectory controller: the profile move interface of the EPICS motor module.

Process variables, labels and states: ``profileMoveController.template`` and
``profileMoveAxis.template`` (``motorApp/Db``) of ``epics-modules/motor``; the order of states as
in the driver of the Newport XPS controller (``XPSController::runProfile``).
"""

import asyncio
import time
from collections.abc import Mapping, Sequence

import numpy as np

from .channels import Database, Number
from .jobs import LEAD_SECONDS, Job, sleep_until, ticks
from .motion import Segment, plan_profile, plan_stop
from .motor import MotorRecord

__all__ = ["ProfileMove"]

_POINTS = 2000
_TOP_ACCELERATION = 40.0
_BUILD_SECONDS = 0.05
_NONE, _HANGS, _FAILS, _IDLE, _STALLS, _EARLY = (
    "none",
    "build hangs",
    "build fails",
    "never starts",
    "stalls",
    "ends early",
)


class ProfileMove:
    """One trajectory controller.

    Parameters
    ----------
    database
        Where the process variables are added.
    name
        Part of their names.
    motors
        The motors that it drives, by the number of the axis.
    """

    def __init__(self, database: Database, name: str, motors: Mapping[int, MotorRecord]) -> None:
        self._motors = motors
        self._job = Job()
        self._plans: dict[int, list[Segment]] = {}
        self._aborted = False
        database.integer(f"{name}NumAxes", len(motors), writable=True)
        self._number = database.integer(f"{name}NumPoints", _POINTS, writable=True)
        self._current = database.integer(f"{name}CurrentPoint", 0)
        for pulses in ("NumPulses", "StartPulses", "EndPulses"):
            database.integer(f"{name}{pulses}", 1, writable=True)
        self._time_mode = database.choice(
            f"{name}TimeMode", "Fixed", ("Fixed", "Array"), writable=True
        )
        self._fixed_time = database.number(f"{name}FixedTime", 1.0, "s", writable=True)
        self._times = database.array(f"{name}Times", _POINTS, "s", writable=True)
        database.integer(f"{name}Times.NELM", _POINTS)
        self._acceleration = database.number(f"{name}Acceleration", 0.5, writable=True)
        self._move_mode = database.choice(
            f"{name}MoveMode", "Absolute", ("Absolute", "Relative"), writable=True
        )
        self._build_command = database.choice(
            f"{name}Build", "Done", ("Done", "Build"), on_put=self._build
        )
        self._build_state = database.choice(f"{name}BuildState", "Done", ("Done", "Busy"))
        self._build_status = database.choice(
            f"{name}BuildStatus", "Undefined", ("Undefined", "Success", "Failure")
        )
        self._build_message = database.long_text(f"{name}BuildMessage", "")
        self._command = database.choice(
            f"{name}Execute", "Done", ("Done", "Execute"), on_put=self._execute
        )
        self._state = database.choice(
            f"{name}ExecuteState", "Done", ("Done", "Move start", "Executing", "Flyback")
        )
        self._status = database.choice(
            f"{name}ExecuteStatus",
            "Undefined",
            ("Undefined", "Success", "Failure", "Abort", "Timeout"),
        )
        self._message = database.long_text(f"{name}ExecuteMessage", "")
        database.choice(f"{name}Abort", "Done", ("Done", "Abort"), on_put=self._abort)
        self._used = {
            number: database.choice(f"{name}M{number}UseAxis", "No", ("No", "Yes"), writable=True)
            for number in motors
        }
        self._positions: dict[int, Number] = {
            number: database.array(f"{name}M{number}Positions", _POINTS, writable=True)
            for number in motors
        }
        self._fault = database.choice(
            "FAULT:profile_move",
            _NONE,
            (_NONE, _HANGS, _FAILS, _IDLE, _STALLS, _EARLY),
            writable=True,
        )

    async def close(self) -> None:
        """End all work."""
        await self._job.stop()

    # -- build -------------------------------------------------------------------------------

    async def _build(self, command: str) -> None:
        if command != "Build":
            return
        await self._build_message.post("")
        await self._build_state.change("Busy")
        await self._build_status.change("Undefined")
        self._plans = {}
        if self._fault.value == _HANGS:
            return
        await asyncio.sleep(_BUILD_SECONDS)
        message = "Error calling ftpConnect" if self._fault.value == _FAILS else self._plan()
        await self._build_message.post(message)
        await self._build_status.change("Failure" if message else "Success")
        await self._build_state.change("Done")
        await self._build_command.change("Done")

    def _plan(self) -> str:
        """Plan every axis that is used; return what speaks against it, or nothing."""
        number = int(self._number.value)
        if not 2 <= number <= _POINTS:
            return f"{number} points, not 2 to {_POINTS}"
        if self._time_mode.value == "Fixed":
            times = np.full(number, float(self._fixed_time.value))
        else:
            times = _first(self._times, number)
        # The last point needs no time.
        times = times[: number - 1]
        if len(times) < number - 1 or not np.all(times > 0):
            return "Negative or Null Delta Time"
        plans = {}
        for axis, motor in self._motors.items():
            if self._used[axis].value != "Yes":
                continue
            positions = _first(self._positions[axis], number)
            if len(positions) < number:
                return f"M{axis}: {len(positions)} positions for {number} points"
            if self._move_mode.value == "Relative":
                positions = positions - positions[0] + motor.axis.position(time.time())
            plan = plan_profile(0.0, positions, times, float(self._acceleration.value))
            if message := _objection(plan, motor):
                return f"M{axis}: {message}"
            plans[axis] = plan
        if not plans:
            return "No axis is used"
        self._plans = plans
        return ""

    # -- execute -----------------------------------------------------------------------------

    async def _execute(self, command: str) -> None:
        if command != "Execute" or self._fault.value == _IDLE or self._state.value != "Done":
            return
        if not self._plans:
            await self._end("Failure", "No profile was built")
            return
        self._aborted = False
        await self._status.change("Undefined")
        await self._message.post("")
        await self._state.change("Move start")
        await self._job.start(self._run())

    async def _run(self) -> None:
        motors = {axis: self._motors[axis] for axis in self._plans}
        for axis, motor in motors.items():
            await motor.go(self._plans[axis][0].position)
        for motor in motors.values():
            await motor.standing()
        if self._aborted:
            await self._end("Abort", "Profile was aborted")
            return
        if any(not self._at_start(axis) for axis in motors):
            await self._end("Failure", "A motor was stopped on its way to the start")
            return
        begin = time.time() + 2 * LEAD_SECONDS
        for axis, motor in motors.items():
            await motor.follow([_later(segment, begin) for segment in self._plans[axis]])
        ends = {axis: motor.axis.rests_from() for axis, motor in motors.items()}
        await self._state.change("Executing", begin)
        if self._fault.value in (_STALLS, _EARLY):
            await sleep_until(begin + (max(ends.values()) - begin) / 2)
            await self._break(motors)
            if self._fault.value == _STALLS:
                return
            await self._end("Success", "")
            return
        counting = asyncio.create_task(self._count(begin))
        try:
            for motor in motors.values():
                await motor.standing()
        finally:
            counting.cancel()
        await self._state.change("Flyback")
        for motor in motors.values():
            await motor.take_position()
        if self._aborted:
            await self._end("Abort", "Profile was aborted")
        elif any(motor.axis.rests_from() != ends[axis] for axis, motor in motors.items()):
            await self._end("Failure", "A motor was stopped")
        else:
            await self._end("Success", "")

    def _at_start(self, axis: int) -> bool:
        motor = self._motors[axis]
        return abs(motor.axis.position(time.time()) - self._plans[axis][0].position) < 1e-3

    async def _count(self, begin: float) -> None:
        """Publish the number of the element, ten times a second."""
        (plan, *_) = self._plans.values()
        starts = [segment.start for segment in plan[1:-2:2]]
        async for tick in ticks(0.1):
            await self._current.change(int(np.searchsorted(starts, tick - begin)))

    @staticmethod
    async def _break(motors: Mapping[int, MotorRecord]) -> None:
        """Stop as if something had failed: nothing is told to anybody."""
        now = time.time()
        for motor in motors.values():
            await motor.follow(plan_stop(motor.axis, now, 0.1))

    async def _end(self, status: str, message: str) -> None:
        await self._message.post(message)
        await self._status.change(status)
        await self._command.change("Done")
        await self._state.change("Done")

    async def _abort(self, command: str) -> None:
        if command != "Abort" or self._state.value == "Done":
            return
        self._aborted = True
        for axis in self._plans:
            await self._motors[axis].halt()
        if self._fault.value == _STALLS:
            await self._end("Abort", "Profile was aborted")


def _first(array: Number, number: int) -> np.ndarray:
    return np.atleast_1d(np.asarray(array.value, float))[:number]


def _later(segment: Segment, begin: float) -> Segment:
    return Segment(begin + segment.start, *segment.row()[1:])


def _objection(plan: Sequence[Segment], motor: MotorRecord) -> str:
    """Return what the controller finds wrong with a plan, or nothing."""
    low, high = motor.limits
    ends = [segment.position for segment in plan]
    if low != high and not low <= min(ends) <= max(ends) <= high:
        return f"soft limit violation, {min(ends):g} to {max(ends):g}"
    fastest = max(abs(segment.velocity) for segment in plan)
    if 0 < motor.top_velocity < fastest * (1 - 1e-6):
        return "Velocity Too High"
    if max(abs(segment.acceleration) for segment in plan) > _TOP_ACCELERATION:
        return "Acceleration Too High"
    return ""
