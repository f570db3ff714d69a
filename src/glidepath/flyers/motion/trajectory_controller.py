"""Flies a motor whose controller takes points over time: several regions in one movement."""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glidepath.devices.profile_move import (
    ExecuteState,
    MoveMode,
    ProfileMotor,
    ProfileStatus,
    TimeMode,
)
from glidepath.devices.signals import (
    GONE_TIMEOUT,
    NoAnswerError,
    Watch,
    patience_with,
    put_back,
    silent,
    tell,
    watch,
)
from glidepath.trajectory import Envelope, Leg, Motion, Piece, PreflightError

from .flight import BackEnd, FlightError

Floats = NDArray[np.float64]

ELEMENT = 0.05
"""Seconds between two points where the velocity changes."""

LONGEST_ELEMENT = 1.6
"""Seconds between two points at the most, where as many points do not fit."""

SETTLE = 0.3
"""Seconds at constant velocity between the end of the acceleration and the start."""

RAMP = 0.25
"""Seconds that a driver adds at both ends, from rest to the first element's velocity."""

SHORTEST_RAMP = 1e-3
"""Seconds of acceleration (ACCL) that are assumed at least."""

OVERHEAD = 0.6
"""Seconds that a flight takes beside its motions: for predictions only."""


@dataclass(frozen=True)
class ProfileBounds:
    """How long each step of a profile may take (s).

    Parameters
    ----------
    built
        For the controller to check a profile.
    started
        From the command to the first element.
    stalled
        Without the progress that is due in mid flight.
    finished
        On top of the flight's own duration.
    standing
        From the abort to rest.
    """

    built: float = 30.0
    started: float = 10.0
    stalled: float = 2.0
    finished: float = 10.0
    standing: float = 10.0


@dataclass
class TrajectoryController(BackEnd):
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

    axis: ProfileMotor
    bounds: ProfileBounds = field(default_factory=ProfileBounds)
    _saved: list[tuple[Any, Any]] = field(default_factory=list, init=False)
    _flown: Motion | None = field(default=None, init=False)

    async def envelope(self, leg: Leg) -> Envelope:
        """Return soft limits, VMAX, and the movement through all regions of the leg.

        Raises
        ------
        PreflightError
            If the velocity cannot change as asked, or the controller has not enough points.
        """
        axis = self.axis
        low, high, dial_low, dial_high, fastest, velocity, unit = await asyncio.gather(
            axis.low_limit_travel.get_value(),
            axis.high_limit_travel.get_value(),
            axis.dial_low_limit_travel.get_value(),
            axis.dial_high_limit_travel.get_value(),
            axis.max_velocity.get_value(),
            axis.velocity.get_value(),
            axis.motor_egu.get_value(),
        )
        acceleration = await self._acceleration()
        motion = self._motion(leg, acceleration, unit)
        _, _, element = await self._points(motion)
        limited = not dial_low == dial_high == 0
        flown = _with_ramps(motion, element)
        return Envelope(
            low if limited else None,
            high if limited else None,
            fastest if fastest > 0 else None,
            unit,
            run_up=abs(leg.start - flown.start),
            run_up_time=flown.passages[0].begin,
            max_acceleration=acceleration,
            motion=flown,
            approach_velocity=velocity if velocity > 0 else None,
            approach_acceleration=acceleration,
            overhead=OVERHEAD,
        )

    async def _acceleration(self) -> float:
        """Return the acceleration of the flight: the motor's own at VELO unless told."""
        if self.axis.top_acceleration is not None:
            return self.axis.top_acceleration
        velocity, ramp = await asyncio.gather(
            self.axis.velocity.get_value(), self.axis.acceleration_time.get_value()
        )
        return velocity / max(ramp, SHORTEST_RAMP)

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
        """Return the motor's name while it, or a profile, is not done."""
        axis = self.axis
        state, done = await asyncio.gather(
            axis.profile.execute_state.get_value(), axis.motor_done_move.get_value()
        )
        return "" if done and state == ExecuteState.DONE else axis.name

    async def prepare(self, leg: Leg) -> None:
        """Write the profile, let the controller check it, go to the run-up."""
        axis, profile = self.axis, self.axis.profile
        state = await profile.execute_state.get_value()
        if state != ExecuteState.DONE:
            raise FlightError(
                f"The controller of {axis.name} runs a profile already ({state}); wait for its "
                "end, or abort it."
            )
        acceleration = await self._acceleration()
        motion = self._motion(leg, acceleration, await axis.motor_egu.get_value())
        positions, times, element = await self._points(motion)
        self._flown = _with_ramps(motion, element)
        for number, used in profile.use_axis.items():
            await self._change(used, "Yes" if number == axis.axis else "No")
        await self._change(profile.time_mode, TimeMode.ARRAY)
        await self._change(profile.move_mode, MoveMode.ABSOLUTE)
        await self._change(profile.acceleration, acceleration)
        await self._change(profile.number, len(positions))
        await self._change(profile.times, times)
        await self._change(profile.positions[axis.axis], positions)
        await self._build()
        await axis.set(self._flown.start)

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

    async def start(self, leg: Leg) -> None:
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

    async def follow(self, leg: Leg) -> None:
        """Watch the profile to its end: finished, failed, stalled, ended early or overdue."""
        axis, profile, motion = self.axis, self.axis.profile, self._flown
        if motion is None:
            raise FlightError(f"{axis.name} was not prepared.")
        loop = asyncio.get_running_loop()
        begun = loop.time()
        signals = (profile.execute_state, profile.execute_status, profile.execute_message)
        async with watch(*signals, axis.user_readback) as seen:

            def finished() -> bool:
                return seen.value(profile.execute_state) == ExecuteState.DONE

            def ahead() -> float:
                return leg.direction * (seen.value(axis.user_readback) - leg.stop)

            while not finished():
                place, since = ahead(), loop.time() - begun
                ended = await seen.until(finished, self.bounds.stalled)
                now = loop.time() - begun
                due = abs(float(np.diff(motion.position([since, now]))[0]))
                if not ended and ahead() - place < 0.2 * due and ahead() < 0:
                    cause = await silent(axis.user_readback)
                    if not cause and ahead() - place >= 0.2 * due:
                        # It was the connection: now it is back, and the axis goes on.
                        continue
                    raise FlightError(
                        f"{axis.name} stalled at {seen.value(axis.user_readback):g} on its way to "
                        f"{leg.stop:g}: {cause or f'no progress for {self.bounds.stalled:g} s'}."
                    )
                if not ended and now > motion.duration + self.bounds.finished:
                    raise FlightError(
                        f"{axis.name} did not finish its profile in time: {self._where(seen)}."
                    )
            await self._check_end(leg, seen)

    async def _check_end(self, leg: Leg, seen: Watch) -> None:
        axis, profile = self.axis, self.axis.profile
        status = profile.execute_status
        await seen.until(lambda: seen.value(status) != ProfileStatus.UNDEFINED, 1.0)
        if seen.value(status) != ProfileStatus.SUCCESS:
            raise FlightError(
                f"{axis.name} did not fly its profile to the end: {self._where(seen)}."
            )

        def arrived() -> bool:
            return leg.direction * (seen.value(axis.user_readback) - leg.stop) >= 0

        if not await seen.until(arrived, 1.0):
            raise FlightError(
                f"{axis.name} ended its profile early, before {leg.stop:g}, or its readback does "
                f"not follow: {self._where(seen)}."
            )

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
        try:
            await self._stop()
        except (NoAnswerError, TimeoutError) as error:
            # Told all the same: a server that hangs stops it as soon as it goes on.
            await asyncio.gather(
                tell(self.axis.profile.abort, "Abort", GONE_TIMEOUT),
                tell(self.axis.motor_stop, 1, GONE_TIMEOUT),
                return_exceptions=True,
            )
            raise FlightError(
                f"{self.axis.name} could not be stopped and may still be moving: {error}"
            ) from error

    async def _stop(self) -> None:
        axis, profile = self.axis, self.axis.profile
        patience = patience_with(axis.motor_done_move)
        async with watch(profile.execute_state, axis.motor_done_move, within=patience) as seen:

            def standing() -> bool:
                done = seen.value(profile.execute_state) == ExecuteState.DONE
                return done and bool(seen.value(axis.motor_done_move))

            if seen.value(profile.execute_state) != ExecuteState.DONE:
                await tell(profile.abort, "Abort")
                await seen.until(standing, self.bounds.standing / 2)
            if not standing():
                await tell(axis.motor_stop, 1)
            if not await seen.until(standing, self.bounds.standing):
                raise FlightError(
                    f"{axis.name} was told to stop and is not done after "
                    f"{self.bounds.standing:g} s: its profile is "
                    f"{seen.value(profile.execute_state)!r}."
                )

    async def restore(self) -> None:
        """Put back what was set up at the controller."""
        saved, self._saved = self._saved, []
        await put_back(reversed(saved))

    async def _change(self, signal: Any, value: Any) -> None:
        if all(signal is not known for known, _ in self._saved):
            self._saved.append((signal, await signal.get_value()))
        await signal.set(value)


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


__all__ = ["ProfileBounds", "TrajectoryController"]
