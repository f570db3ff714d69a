"""Flies a monochromator and an undulator as separate axes, the gap through knots."""

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import numpy as np

from glidepath.devices.energy import EnergyAxis, LeadsUndulator, decouple
from glidepath.devices.positioning import end_task, together
from glidepath.devices.settings import Settings
from glidepath.devices.undulator import Undulator
from glidepath.physics import GapCurve
from glidepath.trajectory import Companion, Envelope, GapPath, Leg, Motion, Region, gap_path

from .back_end import BackEnd, FlightError, MotionPlan
from .companions import harmonic_companion, reaches
from .gap_drive import CORRECTION_TIME, DriveBounds, GapDrive
from .standing import Standing

LEAD = 2.5 * CORRECTION_TIME
"""Seconds for which both fly in step before the range: an error of the start is gone by then."""

RUN_OUT = 0.5
"""Seconds for which the gap keeps its velocity behind the range: it may be ahead."""

TIMING = 0.02
"""Seconds of flight by which the drive may be off its path; a part of the predicted mismatch."""

RESERVE = 0.9
"""Share of the gap's highest velocity that a path may use; the rest is for corrections."""


@dataclass(frozen=True)
class CoupledPlan(MotionPlan):
    """A leg in which the gap is driven in step with the energy.

    Attributes
    ----------
    energy
        How the monochromator flies, from where the gap joins it.
    path
        How the gap is driven; None where the harmonic does not reach all of the leg.
    velocities
        Lowest and highest velocity of the gap, mm/s.
    shift
        Where the shift stands meanwhile, mm.
    """

    energy: MotionPlan
    path: GapPath | None
    velocities: tuple[float, float]
    shift: float


@dataclass
class _CoupledFlight:
    """One flight of both axes: what drives the gap, and which of the two failed first."""

    drive: GapDrive
    driving: asyncio.Task[None] | None = None
    reason: Exception | None = None


class Coupled(BackEnd[CoupledPlan]):
    """Flies the energy as its own back end does it, and the gap in step with it.

    Both run up: the gap is at its own velocity, and in phase, when the energy enters the range.
    If one of them fails, the other is stopped at once. The shift of an elliptical undulator is
    held at what the middle of the range needs.

    Parameters
    ----------
    axis
        An energy axis with an undulator, as separate axes.
    energy_end
        Flies the monochromator, which does not move the undulator.
    bounds
        Time bounds of the gap.
    """

    def __init__(
        self, axis: EnergyAxis, energy_end: BackEnd[Any], bounds: DriveBounds | None = None
    ) -> None:
        undulator = axis.undulator()
        if undulator is None:
            raise TypeError(f"{axis.name} has no undulator that could be flown.")
        self.axis = axis
        self.energy_end = energy_end
        self.bounds = bounds or DriveBounds()
        self.undulator: Undulator = undulator
        self._settings = Settings(undulator.name)
        self._standing = Standing(axis.name)
        self._flight: _CoupledFlight | None = None

    async def plan(self, leg: Leg) -> CoupledPlan:
        """Return what the monochromator can do, what the gap has to do, and the mismatch."""
        undulator = self.undulator
        velocities = await undulator.gap_velocities() or (0.0, inf)
        lead = LEAD
        if velocities[1] != inf:
            # The seconds in which the gap comes to its velocity.
            lead += velocities[1] / undulator.gap_acceleration
        energy = await self.energy_end.plan(_whole(leg, lead))
        motion = _inside(energy.motion, lead)
        reach = await undulator.reach()
        envelope = replace(
            energy.envelope,
            run_up=abs(leg.start - motion.start),
            run_up_time=motion.passages[0].begin,
            motion=motion,
            companions=(harmonic_companion(undulator, reach, *motion.reach),),
            overhead=energy.envelope.overhead + RUN_OUT,
        )
        if not reaches(reach, *motion.reach):
            # There is no gap for such an energy, and nothing more to say.
            return CoupledPlan(leg, envelope, energy, None, velocities, 0.0)
        path = self._path(leg, reach, lead)
        envelope = await self._with_gap(envelope, leg, reach, path, velocities)
        shift = float(undulator.curve.shift(0.5 * (leg.start + leg.stop)))
        return CoupledPlan(leg, envelope, energy, path, velocities, shift)

    def _path(self, leg: Leg, reach: GapCurve, lead: float) -> GapPath:
        return gap_path(
            reach,
            leg.start,
            leg.stop,
            run_up=leg.velocity * lead,
            run_down=leg.velocity * (RUN_OUT + lead - LEAD),
            bound=self.axis.tracking_bound,
            allowance=leg.velocity * TIMING,
            segments=self.axis.gap_segments,
        )

    async def _with_gap(
        self,
        envelope: Envelope,
        leg: Leg,
        reach: GapCurve,
        path: GapPath,
        velocities: tuple[float, float],
    ) -> Envelope:
        """Return the envelope with what the gap has to do, and how far it will be off."""
        undulator = self.undulator
        slowest, fastest = velocities
        smallest, largest = await undulator.gap.limits() or (None, None)
        # What it needs, the reserve for corrections included.
        needed = float(max(path.slopes)) * leg.velocity / RESERVE
        gap = Companion(
            f"{undulator.name}_gap",
            "mm",
            smallest,
            largest,
            max_velocity=None if fastest == inf else fastest,
            law=path.gap,
        ).needing(float(min(path.gaps)), float(max(path.gaps)), needed)
        return replace(
            envelope,
            min_velocity=max(envelope.min_velocity, slowest / float(min(path.slopes))),
            mismatch=path.mismatch + TIMING * leg.velocity,
            mismatch_bound=self.axis.tracking_bound * float(reach.width(min(leg.start, leg.stop))),
            mismatch_at=lambda energy, velocity: (
                np.abs(reach.energy(path.gap(energy)) - energy) + TIMING * np.abs(velocity)
            ),
            companions=(*envelope.companions, gap),
        )

    async def moving(self) -> str:
        """Return the name of the monochromator, or of the gap, while it moves."""
        gap = self.undulator.gap
        moves = await gap.movable_logic.is_moving()
        return await self.energy_end.moving() or (gap.name if moves else "")

    async def prepare(self, plan: CoupledPlan) -> None:
        """Take over the gap, and bring both to their run-ups."""
        undulator, gap, path, leg = self.undulator, self.undulator.gap, plan.path, plan.leg
        if path is None:
            raise FlightError(f"{undulator.name} does not reach all energies of this flight.")
        self._standing.begin()
        await self._take_over()
        moves: list[Awaitable[None]] = [
            self.energy_end.prepare(plan.energy),
            gap.set(float(path.gaps[0])),
        ]
        if not await undulator.has_shift(plan.shift):
            moves.append(undulator.shift.set(plan.shift))
        await together(*moves)
        await gap.setpoint.set(float(path.gaps[-1]))
        self._flight = _CoupledFlight(
            GapDrive(
                undulator,
                self.axis.monochromator().movable_logic.readback,
                undulator.curve,
                path,
                leg.start,
                leg.stop,
                leg.velocity,
                plan.velocities,
                self.axis.tracking_bound,
                self.bounds,
            )
        )

    async def start(self, plan: CoupledPlan) -> None:
        """Start the energy, and the gap when the energy is in phase; return when both move."""
        flight = self._prepared()
        drive = flight.drive
        run_up = plan.energy.motion.passages[0].begin
        patience = run_up + self.bounds.started
        flight.driving = driving = asyncio.create_task(
            self._watch_over(flight, drive.run(plan.energy.leg.duration + 2 * patience))
        )
        told = time.monotonic()
        await self.energy_end.start(plan.energy)
        drive.due = told + run_up - drive.head_start
        moving = asyncio.ensure_future(drive.under_way.wait())
        try:
            await asyncio.wait(
                {moving, driving},
                timeout=patience + self.bounds.started,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            moving.cancel()
        if driving.done():
            driving.result()
        if not drive.under_way.is_set():
            raise FlightError(
                f"The gap of {self.undulator.name} was not started within "
                f"{patience + self.bounds.started:.0f} s: the energy did not come to "
                f"{drive.path.energies[0]:g} eV, where the gap joins it."
            )

    async def follow(self, plan: CoupledPlan) -> None:
        """Return when both have passed the stop; if one fails, stop the other at once."""
        flight = self._prepared()
        driving = flight.driving
        if driving is None:
            raise FlightError(f"{self.axis.name} was not started.")

        async def follow_gap() -> None:
            await asyncio.shield(driving)
            await flight.drive.arrive()

        try:
            energy = self.energy_end.follow(plan.energy)
            await together(self._watch_over(flight, energy), follow_gap())
        except Exception as error:
            await self.halt()
            # What one did because the other had failed is no reason.
            raise flight.reason or error from None

    def _prepared(self) -> _CoupledFlight:
        if self._flight is None:
            raise FlightError(f"{self.axis.name} was not prepared.")
        return self._flight

    async def _watch_over(self, flight: _CoupledFlight, work: Awaitable[None]) -> None:
        """Await the flight of one axis; if it fails, remember that it was the first, stop both."""
        try:
            await work
        except Exception as error:
            if flight.reason is None:
                flight.reason = error
                await self._stop_both()
            raise

    async def halt(self) -> None:
        """Stop both; return when they stand."""
        driving = None if self._flight is None else self._flight.driving
        await end_task(driving)
        if driving is not None and driving.done() and not driving.cancelled():
            # Whoever waited for the flight has heard of it.
            driving.exception()
        await self._stop_both()

    async def _stop_both(self) -> None:
        stops: list[Awaitable[None]] = [self.energy_end.halt()]
        if self._settings.changed:
            stops.append(self.undulator.stop())
        await self._standing.stop(*stops)

    async def restore(self) -> None:
        """Put back the gap's velocity and setpoint, ID control, and the control mode."""
        self._flight = None
        try:
            await self.energy_end.restore()
        finally:
            await self._settings.restore(self._standing.patience)

    async def _take_over(self) -> None:
        undulator, monochromator = self.undulator, self.axis.monochromator()
        gap, settings = undulator.gap, self._settings
        if isinstance(monochromator, LeadsUndulator):
            await settings.lend(monochromator.id_on)
        await settings.lend(gap.setpoint, gap.velocity, undulator.control_mode)
        # The flight before was perhaps a slow one.
        await settings.set(gap.velocity, settings.before(gap.velocity))
        await decouple(monochromator, undulator)


def _whole(leg: Leg, lead: float) -> Leg:
    """Return the leg from where the gap joins: the energy is at its velocity from there on."""
    (region,) = leg.regions
    assert isinstance(region, Region)
    start = region.start - region.direction * region.velocity * lead
    return replace(leg, regions=(replace(region, start=start),))


def _inside(motion: Motion, lead: float) -> Motion:
    """Return the same motion, of which the first seconds of the range belong to the run-up."""
    (passage,) = motion.passages
    begin = passage.begin + lead
    return replace(motion, passages=(replace(passage, begin=begin, steady_begin=begin),))


__all__ = ["Coupled"]
