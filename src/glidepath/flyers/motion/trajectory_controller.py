"""Flies a motor whose controller takes points over time: several regions in one movement."""

import asyncio
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from glidepath.devices.motor_record import MotorRecord, read_motor_record
from glidepath.devices.motor_stop import moves, stop_motor
from glidepath.devices.profile_move import (
    ExecuteState,
    MoveMode,
    ProfileMotor,
    ProfileStatus,
    TimeMode,
)
from glidepath.devices.settings import Settings
from glidepath.devices.signals import (
    GONE_TIMEOUT,
    NoAnswerError,
    Watch,
    patience_with,
    tell,
    watch,
)
from glidepath.trajectory import Envelope, Leg, Motion, Piece, PreflightError

from .back_end import BackEnd, FlightError, MotionPlan
from .follower import MotionFollower
from .standing import Standing

Floats = NDArray[np.float64]

ELEMENT = 0.05
"""Seconds between two points where the velocity changes."""

LONGEST_ELEMENT = 1.6
"""Seconds between two points at the most, where as many points do not fit."""

SETTLE = 0.3
"""Seconds at constant velocity between the end of the acceleration and the start."""

RAMP = 0.25
"""Seconds that a driver adds at both ends, from rest to the first element's velocity."""

OVERHEAD = 0.6
"""Seconds that a flight takes beside its motions: for predictions only."""


@dataclass(frozen=True)
class ProfileBounds:
    """How long each step of a profile may take (s).

    Parameters
    ----------
    built
        Time that the controller may take to check a profile.
    started
        Time from the command to the first element.
    stalled
        Time without the progress that is due in mid flight.
    finished
        Time on top of the flight's own duration.
    standing
        Time from the abort to rest.
    """

    built: float = 30.0
    started: float = 10.0
    stalled: float = 2.0
    finished: float = 10.0
    standing: float = 10.0


@dataclass(frozen=True)
class ProfilePlan(MotionPlan):
    """A leg as points over time.

    Attributes
    ----------
    positions, times
        Positions and times of the points, shape (n,), in units of the axis and in s.
    acceleration
        Acceleration of the ramps that the driver adds, units per s^2.
    """

    positions: Floats
    times: Floats
    acceleration: float


class TrajectoryController(BackEnd[ProfilePlan]):
    """Writes a leg as a profile, lets the controller check it, and runs it.

    The points are those of a scanspec `Path` of the leg, run-up and run-down included. What the
    controller shows of the profile before stays until the next one begins: its status counts
    only after another state was seen, or with a newer timestamp.

    Parameters
    ----------
    axis
        The motor and its controller.
    bounds
        Time bounds.
    """

    joins = True

    def __init__(self, axis: ProfileMotor, bounds: ProfileBounds | None = None) -> None:
        self.axis = axis
        self.bounds = bounds or ProfileBounds()
        self._settings = Settings(f"The controller of {axis.name}")
        self._standing = Standing(axis.name)

    async def plan(self, leg: Leg) -> ProfilePlan:
        """Return soft limits, VMAX, and the movement through all regions of the leg.

        Raises
        ------
        PreflightError
            If the velocity cannot change as asked, or the controller has not enough points.
        """
        axis = self.axis
        record = await read_motor_record(axis)
        velocity, unit = record.velocity, record.unit
        acceleration = self._acceleration(record)
        motion = self._motion(leg, acceleration, unit)
        positions, times, element = await self._points(motion)
        flown = _with_ramps(motion, element)
        low, high = record.limits or (None, None)
        envelope = Envelope(
            low,
            high,
            record.fastest,
            unit,
            run_up=abs(leg.start - flown.start),
            run_up_time=flown.passages[0].begin,
            max_acceleration=acceleration,
            motion=flown,
            approach_velocity=velocity if velocity > 0 else None,
            approach_acceleration=acceleration,
            overhead=OVERHEAD,
            objections=_objections(record, flown),
        )
        return ProfilePlan(leg, envelope, positions, times, acceleration)

    def _acceleration(self, record: MotorRecord) -> float:
        """Return the acceleration of the flight: the motor's own at VELO unless told."""
        if self.axis.top_acceleration is not None:
            return self.axis.top_acceleration
        return record.velocity / record.ramp(record.velocity)

    def _motion(self, leg: Leg, acceleration: float, unit: str) -> Motion:
        try:
            return Motion.along(leg, acceleration, settle=SETTLE, unit=unit)
        except ValueError as error:
            raise PreflightError(f"{self.axis.name} cannot fly this: {error}") from None

    async def _points(self, motion: Motion) -> tuple[Floats, Floats, float]:
        """Return positions and times, shape (n,), and the length of the elements in between.

        Raises
        ------
        PreflightError
            If the controller does not take as many.
        """
        most = await self.axis.profile.most_points.get_value()
        element = ELEMENT
        # scanspec takes a third of a second to import, and few axes need it.
        from glidepath.trajectory.specs import motion_path

        while True:
            frames = motion_path(motion, self.axis.name, element).consume()
            assert frames.duration is not None
            number = len(frames) + 1
            if number <= most:
                break
            if element >= LONGEST_ELEMENT:
                raise PreflightError(
                    f"{self.axis.name} would need {number} points for this flight, but its "
                    f"controller takes {most}; fly fewer regions at once, or shorter ones."
                )
            element *= 2
        positions = [frames.lower[self.axis.name][:1], frames.upper[self.axis.name]]
        # The last point needs no time; drivers look at it for the velocity at the end.
        times = [frames.duration, frames.duration[-1:]]
        return np.concatenate(positions), np.concatenate(times), element

    async def moving(self) -> str:
        """Return the motor's name while it moves, or a profile is not done."""
        axis = self.axis
        state, moving = await asyncio.gather(axis.profile.execute_state.get_value(), moves(axis))
        return axis.name if moving or state != ExecuteState.DONE else ""

    async def prepare(self, plan: ProfilePlan) -> None:
        """Write the profile, let the controller check it, go to the run-up."""
        axis, profile = self.axis, self.axis.profile
        self._standing.begin()
        if objections := _objections(await read_motor_record(axis), plan.motion):
            raise FlightError(objections[0])
        state = await profile.execute_state.get_value()
        if state != ExecuteState.DONE:
            raise FlightError(
                f"The controller of {axis.name} runs a profile already ({state}); wait for its "
                "end, or abort it."
            )
        used = [
            (signal, "Yes" if number == axis.axis else "No")
            for number, signal in profile.use_axis.items()
        ]
        await self._settings.set_all(
            [
                *used,
                (profile.time_mode, TimeMode.ARRAY),
                (profile.move_mode, MoveMode.ABSOLUTE),
                (profile.acceleration, plan.acceleration),
                (profile.number, len(plan.positions)),
                (profile.times, plan.times),
                (profile.positions[axis.axis], plan.positions),
            ]
        )
        await self._build()
        await axis.set(plan.motion.start)

    async def _build(self) -> None:
        axis, profile = self.axis, self.axis.profile
        async with watch(profile.build_state, profile.build_status, profile.build_message) as seen:
            before = seen.timestamp(profile.build_status)
            began = seen.latch(lambda: seen.timestamp(profile.build_status) > before)
            await profile.build.set("Build")

            def built() -> bool:
                return (
                    began()
                    and seen.value(profile.build_status) != ProfileStatus.UNDEFINED
                    and seen.value(profile.build_state) == "Done"
                )

            if not await seen.until(built, self.bounds.built):
                raise FlightError(
                    f"The controller of {axis.name} did not check its profile within "
                    f"{self.bounds.built:g} s: its build state is "
                    f"{seen.value(profile.build_state)!r}."
                )
            if seen.value(profile.build_status) != ProfileStatus.SUCCESS:
                # The message may be a moment later than the status.
                await seen.until(lambda: bool(seen.value(profile.build_message).strip()), 1.0)
                raise FlightError(
                    f"The controller of {axis.name} refuses its profile: "
                    f"{_said(seen.value(profile.build_message))}."
                )

    async def start(self, plan: ProfilePlan) -> None:
        """Run the profile; return when its first element has begun."""
        axis, profile = self.axis, self.axis.profile
        async with watch(profile.execute_state, profile.execute_message) as seen:
            state = profile.execute_state
            began = seen.latch(lambda: seen.value(state) != ExecuteState.DONE)
            flying = seen.latch(lambda: seen.value(state) == ExecuteState.EXECUTING)
            await profile.execute.set("Execute")
            over = seen.latch(lambda: began() and seen.value(state) == ExecuteState.DONE)
            if not await seen.until(lambda: flying() or over(), self.bounds.started):
                what = "is still on its way to the start" if began() else "did not begin"
                raise FlightError(
                    f"The controller of {axis.name} {what} {self.bounds.started:g} s after the "
                    f"command: its state is {seen.value(state)!r}."
                )
            if not flying():
                raise FlightError(
                    f"The controller of {axis.name} gave up before its profile began: "
                    f"{_said(seen.value(profile.execute_message))}."
                )

    async def follow(self, plan: ProfilePlan) -> None:
        """Watch the profile to its end: finished, failed, stalled, ended early or overdue."""
        axis, profile = self.axis, self.axis.profile
        follower = MotionFollower(
            axis.name,
            axis.user_readback,
            plan,
            "profile",
            stalled=self.bounds.stalled,
            ending=self.bounds.finished,
        )
        status = profile.execute_status
        signals = (profile.execute_state, status, profile.execute_message, axis.user_readback)
        async with watch(*signals) as seen:

            def where() -> str:
                return self._where(seen)

            await follower.finish(
                seen, lambda: seen.value(profile.execute_state) == ExecuteState.DONE, where
            )
            await seen.until(lambda: seen.value(status) != ProfileStatus.UNDEFINED, 1.0)
            if seen.value(status) != ProfileStatus.SUCCESS:
                raise FlightError(f"{axis.name} did not fly its profile to the end: {where()}.")
            await follower.arrive(seen, where)

    def _where(self, seen: Watch) -> str:
        axis, profile = self.axis, self.axis.profile
        message = seen.value(profile.execute_message).strip()
        return (
            f"it is at {seen.value(axis.user_readback):g}, its state is "
            f"{seen.value(profile.execute_state)!r} and its status "
            f"{seen.value(profile.execute_status)!r}{f' ({message})' if message else ''}"
        )

    async def halt(self) -> None:
        """Abort the profile and stop the motor; return when it stands."""
        await self._standing.stop(self._stop_or_tell())

    async def _stop_or_tell(self) -> None:
        try:
            await self._stop()
        except (NoAnswerError, TimeoutError):
            # Told all the same: a server that hangs stops it as soon as it goes on.
            await asyncio.gather(
                tell(self.axis.profile.abort, "Abort", GONE_TIMEOUT),
                tell(self.axis.motor_stop, 1, GONE_TIMEOUT),
                return_exceptions=True,
            )
            raise

    async def _stop(self) -> None:
        axis, profile = self.axis, self.axis.profile
        patience = patience_with(axis.motor_done_move)
        async with watch(profile.execute_state, axis.motor_done_move, within=patience) as seen:

            def over() -> bool:
                return bool(seen.value(profile.execute_state) == ExecuteState.DONE)

            def standing() -> bool:
                return over() and bool(seen.value(axis.motor_done_move))

            if not over():
                await tell(profile.abort, "Abort")
                await seen.until(standing, self.bounds.standing / 2)
            stands = standing() or await stop_motor(axis, self.bounds.standing)
            if not stands or not await seen.until(over, self.bounds.standing):
                raise FlightError(
                    f"{axis.name} was told to stop and is not done after "
                    f"{self.bounds.standing:g} s: its profile is "
                    f"{seen.value(profile.execute_state)!r}."
                )

    async def restore(self) -> None:
        """Put back what was set up at the controller."""
        await self._settings.restore(self._standing.patience)


def _objections(record: MotorRecord, motion: Motion) -> tuple[str, ...]:
    """Return why the motor would not go to the start of its profile, or not fly it."""
    return (*record.objections(), *record.on_switch(*motion.reach))


def _with_ramps(motion: Motion, element: float) -> Motion:
    """Return a motion with the ramps that a driver adds at its ends."""
    sign = 1.0 if motion.stop > motion.start else -1.0
    ends = []
    for piece in (motion.pieces[0], motion.pieces[-1]):
        parts = np.ceil(piece.duration / element)
        ends.append(sign * abs(piece.acceleration) * piece.duration / parts / 2)
    up, down = ends
    lead = Piece(RAMP, motion.start - 0.5 * up * RAMP, 0.0, up / RAMP)
    tail = Piece(RAMP, motion.stop, down, -down / RAMP)
    passages = tuple(
        replace(
            passage,
            begin=passage.begin + RAMP,
            end=passage.end + RAMP,
            steady_begin=passage.steady_begin + RAMP,
            steady_end=passage.steady_end + RAMP,
        )
        for passage in motion.passages
    )
    return Motion((lead, *motion.pieces, tail), passages)


def _said(message: str) -> str:
    """Return what a controller says, in one line."""
    return " ".join(message.split()).rstrip(" .") or "it does not say why"


__all__ = ["ProfileBounds", "ProfilePlan", "TrajectoryController"]
