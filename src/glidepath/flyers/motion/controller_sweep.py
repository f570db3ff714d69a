"""Flies a monochromator whose controller ramps its own energy (the BESSY II sweep)."""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from glidepath.devices.energy import EnergyAxis
from glidepath.devices.monochromator import PGM, SweepAction, SweepState
from glidepath.devices.signals import (
    GONE_TIMEOUT,
    NoAnswerError,
    Watch,
    put_back,
    read_limits,
    silent,
    watch,
)
from glidepath.devices.undulator import ControlMode, Undulator
from glidepath.trajectory import TRACKING_BOUND, Companion, Envelope, Leg, Motion

from .flight import BackEnd, FlightError


@dataclass(frozen=True)
class SweepBounds:
    """How long each step of a sweep may take (s), and how little is 'not moving'.

    Parameters
    ----------
    ready
        From the initialisation to standing at the ramp's start, on top of the way there.
    started
        From the start command to the first movement.
    stalled
        Without progress in mid flight.
    finished
        On top of the flight's own duration.
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


@dataclass
class ControllerSweep(BackEnd):
    """Sets up and runs the controller's sweep; it brings the undulator along itself.

    The state of the sweep before is still there when the next one is set up: ready and
    finished count only after another state was seen, or with a newer timestamp.

    Parameters
    ----------
    axis
        A monochromator with a sweep of its own, or an energy axis on one: then the undulator
        of the axis follows during the flight.
    bounds
        Time bounds.
    """

    axis: EnergyAxis | PGM
    bounds: SweepBounds = field(default_factory=SweepBounds)
    monochromator: PGM = field(init=False)
    undulator: Undulator | None = field(init=False)
    _saved: list[tuple[Any, Any]] = field(default_factory=list, init=False)
    _saved_mode: ControlMode | None = field(default=None, init=False)
    _lost: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        energy = self.axis if isinstance(self.axis, EnergyAxis) else None
        monochromator = energy.monochromator() if energy else self.axis
        if not isinstance(monochromator, PGM):
            raise TypeError(f"{monochromator.name} has no sweep of its own.")
        self.monochromator = monochromator
        self.undulator = energy.undulator() if energy else None

    async def envelope(self, leg: Leg) -> Envelope:
        """Return range and velocity of the sweep, and what the undulator has to do meanwhile."""
        mono = self.monochromator
        timing = mono.timing
        limits = await mono.limits()
        low, high = limits if limits else (None, None)
        velocities = await read_limits(mono.sweep.velocity)
        slowest, fastest = velocities if velocities else (0.0, None)
        motion = self._motion(leg)
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
        if self.undulator is None:
            return envelope
        bound = self.axis.tracking_bound if isinstance(self.axis, EnergyAxis) else TRACKING_BOUND
        lag, width = self.undulator.following_lag, self.undulator.curve.width(motion.reach[0])
        return replace(
            envelope,
            mismatch=leg.velocity * lag,
            mismatch_bound=bound * float(width),
            mismatch_at=lambda _, velocity: np.abs(velocity) * lag,
            companions=await self._companions(self.undulator, motion),
        )

    def _motion(self, leg: Leg) -> Motion:
        timing = self.monochromator.timing
        return Motion.along(leg, leg.velocity / timing.ramp, settle=timing.settle)

    @staticmethod
    async def _companions(undulator: Undulator, motion: Motion) -> tuple[Companion, ...]:
        """Return the harmonic's reach and the gap, with what the flight needs of them."""
        curve = await undulator.reach()
        reach = (curve.low, curve.high)
        smallest, largest = await undulator.gap.limits() or (None, None)
        velocity = await undulator.gap.velocity.get_value()
        harmonic = Companion(
            f"{undulator.name} in harmonic {curve.harmonic}",
            "eV",
            *reach,
            advice="choose another harmonic, or start and stop inside it",
        ).needing(*motion.reach, 0.0)
        if not reach[0] <= motion.reach[0] <= motion.reach[1] <= reach[1]:
            # There is no gap for such an energy, and nothing more to say.
            return (harmonic,)
        gap = Companion(
            f"{undulator.name}_gap",
            "mm",
            smallest,
            largest,
            max_velocity=velocity if velocity > 0 else None,
            # The way to the run-up may begin anywhere.
            law=lambda energy: curve.gap(np.clip(energy, *reach)),
        )
        return harmonic, motion.needs(gap)

    async def moving(self) -> str:
        """Return the name of the monochromator, or of the gap, while it moves."""
        mono, undulator = self.monochromator, self.undulator
        if await mono.movable_logic.is_moving():
            return mono.name
        if undulator is not None and await undulator.gap.movable_logic.is_moving():
            return undulator.gap.name
        return ""

    async def prepare(self, leg: Leg) -> None:
        """Couple the undulator, write the sweep's parameters, go to the ramp's start."""
        mono, sweep = self.monochromator, self.monochromator.sweep
        self._lost = False
        if self.undulator is not None:
            self._saved_mode = ControlMode(await self.undulator.control_mode.get_value())
            await self._change(mono.id_on, True)
            await self.undulator.set_control(ControlMode.MONOCHROMATOR)
        # An ordinary move waits for the undulator too: both stand before the ramp begins.
        await self.axis.set(self._motion(leg).start)
        await self._change(sweep.start, leg.start)
        await self._change(sweep.end, leg.stop)
        await self._change(sweep.velocity, leg.velocity)
        accepted = await sweep.velocity.get_value()
        if abs(accepted - leg.velocity) > 1e-6 * leg.velocity:
            raise FlightError(
                f"{mono.name} was asked to fly at {leg.velocity:g} eV/s, but its controller "
                f"set {accepted:g} eV/s; choose a velocity that it takes."
            )
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

    async def start(self, leg: Leg) -> None:
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

    async def follow(self, leg: Leg) -> None:
        """Watch the sweep to its end: finished, stalled, ended early or overdue."""
        mono, sweep = self.monochromator, self.monochromator.sweep
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._motion(leg).duration + self.bounds.finished
        async with watch(sweep.state, mono.readback) as seen:

            def finished() -> bool:
                return seen.value(sweep.state) in FINISHED_STATES

            def ahead() -> float:
                return leg.direction * (seen.value(mono.readback) - leg.stop)

            while not finished():
                place = ahead()
                ended = await seen.until(finished, self.bounds.stalled)
                slow = ahead() - place < 0.2 * leg.velocity * self.bounds.stalled
                if not ended and slow and ahead() < 0:
                    cause = await silent(mono.readback, sweep.state)
                    if not cause and ahead() - place >= 0.2 * leg.velocity * self.bounds.stalled:
                        # It was the connection: now it is back, and the axis goes on.
                        continue
                    raise FlightError(
                        f"{mono.name} stalled at {seen.value(mono.readback):.3f} eV on its way to "
                        f"{leg.stop:g} eV: {cause or f'no progress for {self.bounds.stalled:g} s'}."
                    )
                if not ended and loop.time() > deadline:
                    raise FlightError(
                        f"{mono.name} did not finish its sweep in time: {self._where(seen)}."
                    )
            # The readback's newest update may be older than the state's.
            arrived = await seen.until(lambda: ahead() >= -self.bounds.tolerance, 1.0)
            if not arrived:
                cause = await silent(mono.readback)
                raise FlightError(
                    f"{mono.name} ended its sweep early, or its readback does not follow: "
                    f"{self._where(seen)}, and not beyond {leg.stop:g} eV{cause and f': {cause}'}."
                )

    async def halt(self) -> None:
        """Stop the monochromator and the undulator; return when they stand."""
        stops = [self.monochromator.movable_logic.stop()]
        if self.undulator is not None and self._saved_mode is not None:
            stops.append(self._halt_undulator(self.undulator))
        results = await asyncio.gather(*stops, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                self._lost = isinstance(result.__cause__, NoAnswerError | TimeoutError)
                raise result

    @staticmethod
    async def _halt_undulator(undulator: Undulator) -> None:
        await undulator.stop()

    async def restore(self) -> None:
        """Put back sweep parameters, ID control and the undulator's control mode."""
        saved, self._saved = self._saved, []
        mode, self._saved_mode = self._saved_mode, None
        if mode is not None and self.undulator is not None:
            saved.insert(0, (self.undulator.control_mode, mode))
        await put_back(reversed(saved), GONE_TIMEOUT if self._lost else None)

    async def _change(self, signal: Any, value: Any) -> None:
        if all(signal is not known for known, _ in self._saved):
            self._saved.append((signal, await signal.get_value()))
        await signal.set(value)

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
