"""Flies a monochromator and an undulator as separate axes, the gap through knots."""

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

from glidepath.devices.energy import EnergyAxis, decouple
from glidepath.devices.monochromator import DCM, PGM
from glidepath.devices.positioning import end_task, together
from glidepath.devices.undulator import ControlMode, Undulator
from glidepath.trajectory import Envelope, GapPath, Leg, gap_path

from .flight import BackEnd, FlightError
from .gap_drive import CORRECTION_TIME, DriveBounds, GapDrive

LEAD = 2.5 * CORRECTION_TIME
"""Seconds for which both fly in step before the range: an error of the start is gone by then."""

TIMING = 0.02
"""Seconds of flight by which the drive may be off its path; a part of the predicted mismatch."""

RUN_OUT = 0.5
"""Seconds for which the gap keeps its velocity behind the range: it may be ahead."""

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
    _saved_mode: ControlMode | None = field(default=None, init=False)
    _drive: GapDrive | None = field(default=None, init=False)
    _driving: asyncio.Task[None] | None = field(default=None, init=False)
    _whole: Leg | None = field(default=None, init=False)
    _reason: Exception | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        undulator = self.axis.undulator()
        if undulator is None:
            raise TypeError(f"{self.axis.name} has no undulator that could be flown.")
        self.undulator = undulator

    async def envelope(self, leg: Leg) -> Envelope:
        """Return what both can do together, and the predicted mismatch."""
        lead = await self._lead()
        inner = await self.energy_end.envelope(_extended(leg, lead))
        reach = await self.undulator.reach()
        run_up = inner.run_up + lead * leg.velocity
        low = reach.low if inner.low is None else max(inner.low, reach.low)
        high = reach.high if inner.high is None else min(inner.high, reach.high)
        fastest, slowest = inner.max_velocity, inner.min_velocity
        mismatch = None
        ends = (leg.start - leg.direction * run_up, leg.stop + leg.direction * run_up)
        if low <= min(ends) and max(ends) <= high:
            path = await self._path(leg)
            slowest_gap, fastest_gap = await self._velocities()
            by_gap = RESERVE * fastest_gap / max(path.slopes)
            fastest = by_gap if fastest is None else min(fastest, by_gap)
            slowest = max(slowest, slowest_gap / min(path.slopes))
            mismatch = path.mismatch + TIMING * leg.velocity
        return Envelope(
            low,
            high,
            None if fastest == inf else fastest,
            "eV",
            run_up=run_up,
            run_up_time=inner.run_up_time + lead,
            min_velocity=slowest,
            mismatch=mismatch,
        )

    async def prepare(self, leg: Leg) -> None:
        """Take over the gap, and bring both to their run-ups."""
        undulator, gap = self.undulator, self.undulator.gap
        await self._take_over()
        self._whole = _extended(leg, await self._lead())
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
        await self._change(gap.setpoint, float(path.gaps[-1]))
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
        run_up = (await self.energy_end.envelope(whole)).run_up_time
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
        if self._saved_mode is not None:
            stops.append(self.undulator.stop())
        results = await asyncio.gather(*stops, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def restore(self) -> None:
        """Put back the gap's velocity and setpoint, ID control, control mode; all of it or not."""
        self._drive = self._whole = None
        saved, self._saved = self._saved, []
        mode, self._saved_mode = self._saved_mode, None
        undo = [self.energy_end.restore()]
        undo += [_put(signal, value) for signal, value in reversed(saved)]
        if mode is not None:
            undo.append(self.undulator.set_control(mode))
        failures = []
        for work in undo:
            try:
                await work
            except Exception as error:
                failures.append(error)
        if failures:
            raise failures[0]

    async def _take_over(self) -> None:
        undulator, monochromator = self.undulator, self.axis.monochromator()
        if self._saved_mode is None:
            self._saved_mode = ControlMode(await undulator.control_mode.get_value())
            if isinstance(monochromator, PGM | DCM):
                await self._save(monochromator.id_on)
            await self._save(undulator.gap.velocity)
            await self._save(undulator.gap.setpoint)
        await decouple(monochromator, undulator)

    async def _save(self, signal: Any) -> None:
        if all(signal is not known for known, _ in self._saved):
            self._saved.append((signal, await signal.get_value()))

    async def _change(self, signal: Any, value: Any) -> None:
        await self._save(signal)
        await signal.set(value)

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


def _extended(leg: Leg, lead: float) -> Leg:
    """Return the leg from where the gap joins: the energy is at its velocity from there on."""
    (region,) = leg.regions
    start = region.start - region.direction * region.velocity * lead
    return replace(leg, regions=(replace(region, start=start),))


async def _put(signal: Any, value: Any) -> None:
    await signal.set(value)


__all__ = ["Coupled"]
