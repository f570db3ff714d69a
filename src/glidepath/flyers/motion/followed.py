"""Flies a monochromator whose controller brings the undulator along by itself."""

from dataclasses import replace
from typing import Any

import numpy as np

from glidepath.devices.energy import EnergyAxis, LeadsUndulator
from glidepath.devices.settings import Settings
from glidepath.devices.undulator import ControlMode, Undulator
from glidepath.trajectory import Companion, Leg, Motion

from .back_end import BackEnd, MotionPlan
from .companions import harmonic_companion, reaches
from .standing import Standing


class Followed(BackEnd[MotionPlan]):
    """Flies the energy as its own back end does it; the undulator is switched to follow.

    Parameters
    ----------
    axis
        An energy axis with an undulator that follows its monochromator.
    energy_end
        Flies the monochromator.
    """

    def __init__(self, axis: EnergyAxis, energy_end: BackEnd[Any]) -> None:
        undulator, monochromator = axis.undulator(), axis.monochromator()
        if undulator is None or not isinstance(monochromator, LeadsUndulator):
            raise TypeError(f"{axis.name} has no undulator that follows its monochromator.")
        self.axis = axis
        self.energy_end = energy_end
        self.monochromator: LeadsUndulator = monochromator
        self.undulator: Undulator = undulator
        self._settings = Settings(axis.name)
        self._standing = Standing(axis.name)

    async def plan(self, leg: Leg) -> MotionPlan:
        """Return how the monochromator flies, and what the undulator has to do meanwhile."""
        plan: MotionPlan = await self.energy_end.plan(leg)
        lag = self.undulator.following_lag
        width = float(self.undulator.curve.width(plan.motion.reach[0]))
        envelope = replace(
            plan.envelope,
            mismatch=leg.velocity * lag,
            mismatch_bound=self.axis.tracking_bound * width,
            mismatch_at=lambda _, velocity: np.abs(velocity) * lag,
            companions=await self._companions(plan.motion),
        )
        return replace(plan, envelope=envelope)

    async def _companions(self, motion: Motion) -> tuple[Companion, ...]:
        """Return the harmonic's reach and the gap, with what the flight needs of them."""
        undulator = self.undulator
        curve = await undulator.reach()
        smallest, largest = await undulator.gap.limits() or (None, None)
        velocity = await undulator.gap.velocity.get_value()
        harmonic = harmonic_companion(undulator, curve, *motion.reach)
        if not reaches(curve, *motion.reach):
            # There is no gap for such an energy, and nothing more to say.
            return (harmonic,)
        gap = Companion(
            f"{undulator.name}_gap",
            "mm",
            smallest,
            largest,
            max_velocity=velocity if velocity > 0 else None,
            # The way to the run-up may begin anywhere.
            law=lambda energy: curve.gap(np.clip(energy, curve.low, curve.high)),
        )
        return harmonic, motion.needs(gap)

    async def moving(self) -> str:
        """Return the name of the monochromator, or of the gap, while it moves."""
        gap = self.undulator.gap
        moves = await gap.movable_logic.is_moving()
        return await self.energy_end.moving() or (gap.name if moves else "")

    async def prepare(self, plan: MotionPlan) -> None:
        """Couple the undulator, set up the flight at its run-up; return when both stand there."""
        self._standing.begin()
        await self._settings.lend(self.undulator.control_mode)
        await self._settings.set(self.monochromator.id_on, True)
        await self.undulator.set_control(ControlMode.MONOCHROMATOR)
        await self.energy_end.prepare(plan)
        await self.axis.undulator_follows()

    async def start(self, plan: MotionPlan) -> None:
        """Start the monochromator; return when it moves."""
        await self.energy_end.start(plan)

    async def follow(self, plan: MotionPlan) -> None:
        """Return when the monochromator has passed the stop."""
        await self.energy_end.follow(plan)

    async def halt(self) -> None:
        """Stop the monochromator and the undulator; return when they stand."""
        stops = [self.energy_end.halt()]
        if self._settings.changed:
            stops.append(self._stop_undulator())
        await self._standing.stop(*stops)

    async def _stop_undulator(self) -> None:
        await self.undulator.stop()

    async def restore(self) -> None:
        """Put back what the flight has set, ID control and the undulator's control mode."""
        try:
            await self.energy_end.restore()
        finally:
            await self._settings.restore(self._standing.patience)


__all__ = ["Followed"]
