"""Flies a monochromator whose controller ramps its own energy (the BESSY II sweep)."""

from dataclasses import dataclass

from glidepath.devices.monochromator import PGM, SweepAction, SweepState
from glidepath.devices.settings import Settings
from glidepath.devices.signals import Watch, read_limits, watch
from glidepath.trajectory import Envelope, Leg, Motion

from .back_end import BackEnd, FlightError, MotionPlan
from .follower import MotionFollower
from .standing import Standing


@dataclass(frozen=True)
class SweepBounds:
    """How long each step of a sweep may take (s), and how little is 'not moving'.

    Parameters
    ----------
    ready
        Time from the initialisation to standing at the ramp's start, on top of the way there.
    started
        Time from the start command to the first movement.
    stalled
        Time without progress in mid flight.
    finished
        Time on top of the flight's own duration.
    tolerance
        How far before the stop (eV) a sweep may end and still be complete.
    """

    ready: float = 10.0
    started: float = 5.0
    stalled: float = 2.0
    finished: float = 10.0
    tolerance: float = 0.05


SLOWEST_APPROACH = 1.0
"""eV/s: slower ways to the ramp's start are taken for hanging."""

MOVING_STATES = (SweepState.STARTED, SweepState.IN_RANGE)
FINISHED_STATES = (SweepState.FINISHED, SweepState.FINISHED_OR_ERROR)


class ControllerSweep(BackEnd[MotionPlan]):
    """Sets up and runs the controller's sweep.

    The state of the sweep before is still there when the next one is set up: ready and
    finished count only after another state was seen, or with a newer timestamp.

    Parameters
    ----------
    monochromator
        A monochromator with a sweep of its own.
    bounds
        Time bounds.
    """

    bounds = SweepBounds()

    def __init__(self, monochromator: PGM, bounds: SweepBounds | None = None) -> None:
        self.monochromator = monochromator
        if bounds is not None:
            self.bounds = bounds
        self._settings = Settings(monochromator.name)
        self._standing = Standing(monochromator.name)

    async def plan(self, leg: Leg) -> MotionPlan:
        """Return range and velocity of the sweep."""
        mono = self.monochromator
        timing = mono.timing
        limits = await mono.limits()
        low, high = limits if limits else (None, None)
        velocities = await read_limits(mono.sweep.velocity)
        slowest, fastest = velocities if velocities else (0.0, None)
        motion = Motion.along(leg, leg.velocity / timing.ramp, settle=timing.settle)
        envelope = Envelope(
            low,
            high,
            fastest,
            "eV",
            run_up=abs(leg.start - motion.start),
            run_up_time=timing.ramp + timing.settle,
            min_velocity=max(slowest, 0.0),
            motion=motion,
            approach_velocity=timing.way_velocity,
            approach_acceleration=timing.way_acceleration,
            overhead=timing.overhead,
        )
        return MotionPlan(leg, envelope)

    async def moving(self) -> str:
        """Return the name of the monochromator while it moves."""
        mono = self.monochromator
        return mono.name if await mono.movable_logic.is_moving() else ""

    async def prepare(self, plan: MotionPlan) -> None:
        """Go to the ramp's start, and write the sweep's parameters."""
        mono, sweep, leg = self.monochromator, self.monochromator.sweep, plan.leg
        self._standing.begin()
        await mono.set(plan.motion.start)
        # Without a look at what they hold: two passes in a row have never the same.
        ends = [(sweep.start, leg.start), (sweep.end, leg.stop)]
        await self._settings.set_all(ends, always=True)
        accepted = await self._settings.request(sweep.velocity, leg.velocity)
        if abs(accepted - leg.velocity) > 1e-6 * leg.velocity:
            raise FlightError(
                f"{mono.name} was asked to fly at {leg.velocity:g} eV/s, but its controller "
                f"set {accepted:g} eV/s; choose a velocity that it takes."
            )
        await self._get_ready(leg)

    async def _get_ready(self, leg: Leg) -> None:
        mono, sweep = self.monochromator, self.monochromator.sweep
        async with watch(sweep.state, mono.readback) as seen:
            before = seen.timestamp(sweep.state)
            distance = abs(seen.value(mono.readback) - leg.start)
            await sweep.action.set(SweepAction.INITIALISE)
            bound = self.bounds.ready + distance / SLOWEST_APPROACH
            if not await seen.until(
                lambda: (
                    seen.value(sweep.state) == SweepState.READY
                    and seen.timestamp(sweep.state) > before
                ),
                bound,
            ):
                raise FlightError(
                    f"{mono.name} did not get ready for the sweep from {leg.start:g} eV within "
                    f"{bound:.0f} s: {self._where(seen)}."
                )

    async def start(self, plan: MotionPlan) -> None:
        """Run the sweep; return when it moves."""
        mono, sweep = self.monochromator, self.monochromator.sweep
        async with watch(sweep.state, mono.readback) as seen:
            if seen.value(sweep.state) != SweepState.READY:
                raise FlightError(f"{mono.name} is not ready to sweep: {self._where(seen)}.")
            await sweep.action.set(SweepAction.RUN)
            if not await seen.until(
                lambda: seen.value(sweep.state) in MOVING_STATES, self.bounds.started
            ):
                raise FlightError(
                    f"{mono.name} did not start to sweep within {self.bounds.started:g} s: "
                    f"{self._where(seen)}."
                )

    async def follow(self, plan: MotionPlan) -> None:
        """Watch the sweep to its end: finished, stalled, ended early or overdue."""
        mono, sweep, bounds = self.monochromator, self.monochromator.sweep, self.bounds
        follower = MotionFollower(
            mono.name,
            mono.readback,
            plan,
            "sweep",
            stalled=bounds.stalled,
            ending=bounds.finished,
            tolerance=bounds.tolerance,
        )
        async with watch(sweep.state, mono.readback) as seen:
            await follower.follow(
                seen,
                lambda: seen.value(sweep.state) in FINISHED_STATES,
                lambda: self._where(seen),
            )

    async def halt(self) -> None:
        """Stop the monochromator; return when it stands."""
        await self._standing.stop(self.monochromator.movable_logic.stop())

    async def restore(self) -> None:
        """Put back the parameters of the sweep."""
        await self._settings.restore(self._standing.patience)

    def _where(self, seen: Watch) -> str:
        mono = self.monochromator
        state = seen.value(mono.sweep.state)
        known = state in {int(code) for code in SweepState}
        meaning = f" ({SweepState(state).name.lower().replace('_', ' ')})" if known else ""
        return (
            f"it is at {seen.value(mono.readback):.3f} eV and its sweep state is "
            f"0x{state:02X}{meaning}"
        )


__all__ = ["ControllerSweep", "SweepBounds"]
