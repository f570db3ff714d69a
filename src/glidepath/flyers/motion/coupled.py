"""Flies a monochromator and an undulator as separate axes, the gap through knots."""

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

import numpy as np

from glidepath.devices.energy import EnergyAxis, decouple
from glidepath.devices.monochromator import DCM, PGM
from glidepath.devices.positioning import end_task, together
from glidepath.devices.signals import (
    GONE_TIMEOUT,
    NoAnswerError,
    put_back,
)
from glidepath.devices.undulator import Undulator
from glidepath.trajectory import Companion, Envelope, GapPath, Leg, Motion, Region, gap_path

from .flight import BackEnd, FlightError
from .gap_drive import CORRECTION_TIME, DriveBounds, GapDrive

LEAD = 2.5 * CORRECTION_TIME
"""Seconds for which both fly in step before the range: an error of the start is gone by then."""

RUN_OUT = 0.5
"""Seconds for which the gap keeps its velocity behind the range: it may be ahead."""

TIMING = 0.02
"""Seconds of flight by which the drive may be off its path; a part of the predicted mismatch."""

RESERVE = 0.9
"""Share of the gap's highest velocity that a path may use; the rest is for corrections."""


@dataclass
class Coupled(BackEnd):
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

    axis: EnergyAxis
    energy_end: BackEnd
    bounds: DriveBounds = field(default_factory=DriveBounds)
    undulator: Undulator = field(init=False)
    _saved: list[tuple[Any, Any]] = field(default_factory=list, init=False)
    _drive: GapDrive | None = field(default=None, init=False)
    _driving: asyncio.Task[None] | None = field(default=None, init=False)
    _whole: Leg | None = field(default=None, init=False)
    _reason: Exception | None = field(default=None, init=False)
    _lost: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        undulator = self.axis.undulator()
        if undulator is None:
            raise TypeError(f"{self.axis.name} has no undulator that could be flown.")
        self.undulator = undulator

    async def envelope(self, leg: Leg) -> Envelope:
        """Return what the monochromator can do, what the gap has to do, and the mismatch."""
        undulator = self.undulator
        lead = await self._lead()
        inner = await self.energy_end.envelope(_whole(leg, lead))
        motion = _inside(_motion(inner, _whole(leg, lead)), lead)
        reach = await undulator.reach()
        low, high = motion.reach
        harmonic = Companion(
            f"{undulator.name} in harmonic {reach.harmonic}",
            "eV",
            reach.low,
            reach.high,
            advice="choose another harmonic, or start and stop inside it",
        ).needing(low, high, 0.0)
        envelope = replace(
            inner,
            run_up=abs(leg.start - motion.start),
            run_up_time=motion.passages[0].begin,
            motion=motion,
            companions=(harmonic,),
            overhead=inner.overhead + RUN_OUT,
        )
        if not reach.low <= low <= high <= reach.high:
            # There is no gap for such an energy, and nothing more to say.
            return envelope
        path = await self._path(leg)
        slowest, fastest = await self._velocities()
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
        allowance = TIMING * leg.velocity
        return replace(
            envelope,
            min_velocity=max(inner.min_velocity, slowest / float(min(path.slopes))),
            mismatch=path.mismatch + allowance,
            mismatch_bound=self.axis.tracking_bound * float(reach.width(min(leg.start, leg.stop))),
            mismatch_at=lambda energy, velocity: (
                np.abs(reach.energy(path.gap(energy)) - energy) + TIMING * np.abs(velocity)
            ),
            companions=(harmonic, gap),
        )

    async def moving(self) -> str:
        """Return the name of the monochromator, or of the gap, while it moves."""
        gap = self.undulator.gap
        moves = await gap.movable_logic.is_moving()
        return await self.energy_end.moving() or (gap.name if moves else "")

    async def prepare(self, leg: Leg) -> None:
        """Take over the gap, and bring both to their run-ups."""
        undulator, gap = self.undulator, self.undulator.gap
        self._lost = False
        await self._take_over()
        self._whole = _whole(leg, await self._lead())
        path = await self._path(leg)
        curve = undulator.curve
        shift = float(curve.shift(0.5 * (leg.start + leg.stop)))
        moves: list[Awaitable[None]] = [
            self.energy_end.prepare(self._whole),
            gap.set(float(path.gaps[0])),
        ]
        if not await undulator.has_shift(shift):
            moves.append(undulator.shift.set(shift))
        await together(*moves)
        await gap.setpoint.set(float(path.gaps[-1]))
        self._drive = GapDrive(
            undulator,
            self.axis.monochromator().readback,
            curve,
            path,
            leg.start,
            leg.stop,
            leg.velocity,
            await self._velocities(),
            self.axis.tracking_bound,
            self.bounds,
        )

    async def start(self, leg: Leg) -> None:
        """Start the energy, and the gap when the energy is in phase; return when both move."""
        drive, whole = self._drive, self._whole
        if drive is None or whole is None:
            raise FlightError(f"{self.axis.name} was not prepared.")
        self._reason = None
        motion = _motion(await self.energy_end.envelope(whole), whole)
        run_up = motion.passages[0].begin
        patience = run_up + self.bounds.started
        self._driving = asyncio.create_task(
            self._watch_over(drive.run(whole.duration + 2 * patience))
        )
        told = time.monotonic()
        await self.energy_end.start(whole)
        drive.due = told + run_up - drive.head_start
        moving = asyncio.ensure_future(drive.under_way.wait())
        try:
            await asyncio.wait(
                {moving, self._driving},
                timeout=patience + self.bounds.started,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            moving.cancel()
        if self._driving.done():
            self._driving.result()
        if not drive.under_way.is_set():
            raise FlightError(
                f"The gap of {self.undulator.name} was not started within "
                f"{patience + self.bounds.started:.0f} s: the energy did not come to "
                f"{drive.path.energies[0]:g} eV, where the gap joins it."
            )

    async def follow(self, leg: Leg) -> None:
        """Return when both have passed the stop; if one fails, stop the other at once."""
        driving, drive, whole = self._driving, self._drive, self._whole
        if driving is None or drive is None or whole is None:
            raise FlightError(f"{self.axis.name} was not started.")

        async def follow_gap() -> None:
            await asyncio.shield(driving)
            await drive.arrive()

        try:
            await together(self._watch_over(self.energy_end.follow(whole)), follow_gap())
        except Exception as error:
            await self.halt()
            # What one did because the other had failed is no reason.
            raise self._reason or error from None

    async def _watch_over(self, work: Awaitable[None]) -> None:
        """Await the flight of one axis; if it fails, remember that it was the first, stop both."""
        try:
            await work
        except Exception as error:
            if self._reason is None:
                self._reason = error
                await self._stand()
            raise

    async def halt(self) -> None:
        """Stop both; return when they stand."""
        driving, self._driving = self._driving, None
        await end_task(driving)
        if driving is not None and driving.done() and not driving.cancelled():
            # Whoever waited for the flight has heard of it.
            driving.exception()
        await self._stand()

    async def _stand(self) -> None:
        stops = [self.energy_end.halt()]
        if self._saved:
            stops.append(self.undulator.stop())
        results = await asyncio.gather(*stops, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                self._lost = isinstance(result.__cause__, NoAnswerError | TimeoutError)
                raise result

    async def restore(self) -> None:
        """Put back the gap's velocity and setpoint, ID control, and the control mode."""
        self._drive = self._whole = None
        saved, self._saved = self._saved, []
        try:
            await self.energy_end.restore()
        finally:
            await put_back(saved, GONE_TIMEOUT if self._lost else None)

    async def _take_over(self) -> None:
        undulator, monochromator = self.undulator, self.axis.monochromator()
        if not self._saved:
            gap = undulator.gap
            changed: list[Any] = [undulator.control_mode, gap.velocity, gap.setpoint]
            if isinstance(monochromator, PGM | DCM):
                changed.append(monochromator.id_on)
            self._saved = [(signal, await signal.get_value()) for signal in changed]
        else:
            # The flight before was perhaps a slow one.
            await put_back((s, value) for s, value in self._saved if s is undulator.gap.velocity)
        await decouple(monochromator, undulator)

    async def _lead(self) -> float:
        """Return the seconds in which the gap comes to its velocity and into phase."""
        _, fastest = await self._velocities()
        return LEAD + (0.0 if fastest == inf else fastest / self.undulator.gap_acceleration)

    async def _velocities(self) -> tuple[float, float]:
        return await self.undulator.gap_velocities() or (0.0, inf)

    async def _path(self, leg: Leg) -> GapPath:
        lead = await self._lead()
        return gap_path(
            await self.undulator.reach(),
            leg.start,
            leg.stop,
            run_up=leg.velocity * lead,
            run_down=leg.velocity * (RUN_OUT + lead - LEAD),
            bound=self.axis.tracking_bound,
            allowance=leg.velocity * TIMING,
            segments=self.axis.gap_segments,
        )


def _whole(leg: Leg, lead: float) -> Leg:
    """Return the leg from where the gap joins: the energy is at its velocity from there on."""
    (region,) = leg.regions
    assert isinstance(region, Region)
    start = region.start - region.direction * region.velocity * lead
    return replace(leg, regions=(replace(region, start=start),))


def _motion(envelope: Envelope, leg: Leg) -> Motion:
    """Return how a leg is flown."""
    return envelope.motion or Motion.plain(leg, envelope.run_up, envelope.run_up_time)


def _inside(motion: Motion, lead: float) -> Motion:
    """Return the same motion, of which the first seconds of the range belong to the run-up."""
    (passage,) = motion.passages
    begin = passage.begin + lead
    return replace(motion, passages=(replace(passage, begin=begin, steady_begin=begin),))


__all__ = ["Coupled"]
