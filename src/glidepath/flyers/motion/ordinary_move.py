"""Flies a monochromator that can do nothing but go to an energy: a flight is one ordinary move."""

from dataclasses import dataclass

from ophyd_async.core import SignalRW

from glidepath.devices.monochromator import MoveTiming, SimpleMonochromator
from glidepath.devices.settings import Settings
from glidepath.devices.signals import Watch, read_limits, watch
from glidepath.trajectory import Envelope, Leg, Motion, PreflightError

from .back_end import BackEnd, FlightError, MotionPlan
from .flown_velocity import SHORTEST_CHECK, FlownVelocity
from .follower import MotionFollower
from .standing import Standing

SETTLE = 0.3
"""Seconds at constant velocity between the end of the acceleration and the start."""

VELOCITY_TOLERANCE = 1e-3
"""Share by which the velocity that is read back may differ from the one asked for."""


@dataclass(frozen=True)
class MoveBounds:
    """How long each step of a flight may take (s).

    Parameters
    ----------
    started
        Time from the setpoint to the first sign of motion.
    stalled
        Time without the progress that is due in mid flight.
    finished
        Time on top of the flight's own duration.
    """

    started: float = 5.0
    stalled: float = 2.0
    finished: float = 10.0


class OrdinaryMove(BackEnd[MotionPlan]):
    """Goes to the run-up, and from there to the end of the run-down in one move.

    Where the controller has a setting for the velocity, it is set for the flight and put back.
    Where it has none, the one velocity that can be flown is that of the device's `MoveTiming`.
    Either way the velocity that was flown is compared with it. It is a mean: rows are at the
    energies that were read back, also where a crystal turns evenly and the energy does not.

    Parameters
    ----------
    axis
        An `SGM`, a `DCM` or a `KMC3DCM`.
    bounds
        Time bounds.
    """

    def __init__(self, axis: SimpleMonochromator, bounds: MoveBounds | None = None) -> None:
        self.axis = axis
        self.bounds = bounds or MoveBounds()
        self._settings = Settings(axis.name)
        self._standing = Standing(axis.name)
        self._told = False

    async def plan(self, leg: Leg) -> MotionPlan:
        """Return range and velocities of the monochromator, and the move with its run-up.

        Raises
        ------
        PreflightError
            If nobody has said how its moves go.
        """
        timing = self._timing()
        limits = await self.axis.limits()
        low, high = limits or (None, None)
        slowest, fastest, own, notes = await self._velocities(timing)
        motion = Motion.along(leg, timing.acceleration, settle=SETTLE, overrun=SETTLE)
        envelope = Envelope(
            low,
            high,
            fastest,
            "eV",
            run_up=abs(leg.start - motion.start),
            run_up_time=motion.passages[0].begin,
            min_velocity=slowest,
            motion=motion,
            approach_velocity=own,
            approach_acceleration=timing.acceleration,
            overhead=timing.overhead,
            notes=notes,
        )
        return MotionPlan(leg, envelope)

    def _timing(self) -> MoveTiming:
        timing = self.axis.timing
        if timing is None:
            raise PreflightError(
                f"{self.axis.name} flies by an ordinary move, but nobody has said how fast that "
                "is; measure it, and give the device timing=MoveTiming(velocity=..., "
                "acceleration=...)."
            )
        return timing

    async def _velocities(
        self, timing: MoveTiming
    ) -> tuple[float, float | None, float, tuple[str, ...]]:
        """Return lowest and highest velocity, that of the approach, and what to know of them."""
        setting = self.axis.velocity
        if setting is None:
            velocity = timing.velocity
            note = (
                f"{self.axis.name} has no setting for its velocity: it flies at {velocity:g} "
                "eV/s, which is what its timing says; the flight is compared with that."
            )
            return velocity, velocity, velocity, (note,)
        slowest, fastest = await read_limits(setting) or (0.0, None)
        own = await self._own_velocity(setting)
        return max(slowest, 0.0), fastest, own, ()

    async def _own_velocity(self, setting: SignalRW[float]) -> float:
        """Return the velocity without our own change of it."""
        if self._settings.changed:
            return self._settings.before(setting)
        return await setting.get_value()

    async def moving(self) -> str:
        """Return the monochromator's name while it moves."""
        return self.axis.name if await self.axis.movable_logic.is_moving() else ""

    async def prepare(self, plan: MotionPlan) -> None:
        """Go to the run-up at the monochromator's own velocity, then set that of the flight."""
        axis, setting = self.axis, self.axis.velocity
        self._standing.begin()
        if setting is not None:
            await self._settings.save(setting)
            # The flight before was perhaps a slow one.
            await self._settings.set(setting, self._settings.before(setting))
        self._told = True
        await axis.set(plan.motion.start)
        if setting is None:
            return
        velocity = plan.leg.velocity
        accepted = await self._settings.request(setting, velocity)
        if abs(accepted - velocity) > VELOCITY_TOLERANCE * velocity:
            raise FlightError(
                f"{axis.name} was asked to fly at {velocity:g} eV/s, but its controller set "
                f"{accepted:g} eV/s; choose a velocity that it takes."
            )

    async def start(self, plan: MotionPlan) -> None:
        """Send it to the end of the run-down; return when it moves."""
        axis = self.axis
        async with watch(axis.status, axis.readback) as seen:
            moved_off = seen.latch(lambda: not self._stands(seen))
            self._told = True
            await axis.setpoint.set(plan.motion.stop)
            if not await seen.until(moved_off, self.bounds.started):
                raise FlightError(
                    f"{axis.name} did not start to move towards {plan.motion.stop:g} eV within "
                    f"{self.bounds.started:g} s: {self._where(seen)}; check its controller."
                )

    async def follow(self, plan: MotionPlan) -> None:
        """Watch the move to its end, and compare the velocity that was flown."""
        axis, bounds = self.axis, self.bounds
        follower = MotionFollower(
            axis.name,
            axis.readback,
            plan,
            stalled=bounds.stalled,
            ending=bounds.finished,
        )
        flown = FlownVelocity(plan.leg, SHORTEST_CHECK)
        async with watch(axis.status, axis.readback) as seen:
            axis.readback.subscribe_reading(flown.update)
            try:
                await follower.follow(seen, lambda: self._stands(seen), lambda: self._where(seen))
            finally:
                axis.readback.clear_sub(flown.update)
        self._told = False
        self._check_flown(plan.leg.velocity, flown)

    def _check_flown(self, asked: float, flown: FlownVelocity) -> None:
        wrong = flown.wrong()
        if wrong is None:
            return
        advice = (
            "give the device that velocity in its timing"
            if self.axis.velocity is None
            else "compare the limits of its controller"
        )
        raise FlightError(
            f"{self.axis.name} flew at {wrong.velocity:.3g} eV/s instead of {asked:g} eV/s; "
            f"{advice}."
        )

    def _stands(self, seen: Watch) -> bool:
        return self.axis.movable_logic.is_done(seen.value(self.axis.status))

    def _where(self, seen: Watch) -> str:
        axis = self.axis
        return (
            f"it is at {seen.value(axis.readback):.3f} eV and {axis.status.source} is "
            f"{seen.value(axis.status)!r}"
        )

    async def halt(self) -> None:
        """Stop the monochromator; return when it stands."""
        # Where there is no command to stop, stopping is a new target: not without need.
        if self._told:
            await self._standing.stop(self.axis.movable_logic.stop())
            self._told = False

    async def restore(self) -> None:
        """Put the velocity back."""
        await self._settings.restore(self._standing.patience)


__all__ = ["MoveBounds", "OrdinaryMove"]
