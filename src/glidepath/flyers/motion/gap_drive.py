"""Drives an undulator's gap along its path, in step with the energy that is measured."""

import asyncio
import time
from dataclasses import dataclass, field

from ophyd_async.core import SignalR

from glidepath.devices.signals import Watch, watch
from glidepath.devices.undulator import STANDING, Undulator
from glidepath.physics import GapCurve
from glidepath.trajectory import GapPath

from .back_end import FlightError
from .stall import why_stalled

CORRECTION_TIME = 1.0
"""Seconds in which an error of the phase is taken out: several times what a measured gap and a
new velocity need on their way, so that the correction does not swing."""

DEAD_BAND = 0.1
"""Share of the bound below which an error of the phase is left alone."""

SMALLEST_CHANGE = 0.02
"""Relative change of the velocity below which no command is sent."""

COMMAND_LATENCY = 0.05
"""Seconds from a command to what it does, as far as it is known beforehand."""

LONGEST_GUESS = 0.5
"""Seconds for which the energy is extrapolated behind its newest update."""

LONGEST_WAIT = 0.25
"""Seconds after which the loop looks around though nothing was heard."""

PUT_TIMEOUT = 3.0
"""Seconds within which the undulator must take a new velocity."""

SMALLEST_TRAVEL = 0.003
"""Travel of the gap in mm that is well above its noise."""


@dataclass(frozen=True)
class DriveBounds:
    """How long the gap may take to do what it was told (s), and how wrong it may be.

    Parameters
    ----------
    started
        Time from the start command to the first movement.
    stalled
        Time without progress in mid flight.
    lost
        How long the harmonic may be off the energy by more than half of its width.
    arrived
        At the end, on top of the way that is left.
    """

    started: float = 5.0
    stalled: float = 1.5
    lost: float = 2.0
    arrived: float = 10.0


@dataclass
class MeasuredEnergy:
    """Where an axis is at any time, from its newest updates; times are those of its server."""

    direction: int
    top_velocity: float
    position: float
    timestamp: float
    velocity: float = 0.0

    def update(self, position: float, timestamp: float) -> None:
        """Take in an update."""
        if timestamp > self.timestamp:
            moved = self.direction * (position - self.position) / (timestamp - self.timestamp)
            # Noise of an axis at rest, and the jump of an axis that was silent meanwhile.
            self.velocity = min(max(moved, 0.0), self.top_velocity)
            self.position, self.timestamp = position, timestamp

    def at(self, when: float) -> float:
        """Return the position at a time near the newest update."""
        age = min(max(when - self.timestamp, -LONGEST_GUESS), LONGEST_GUESS)
        return self.position + self.direction * self.velocity * age


@dataclass
class GapDrive:
    """Drives the gap at the velocity of the path's pieces, and corrects it against the energy.

    The gap moves by itself between two commands, towards a setpoint behind the end of the path:
    a command only changes its velocity on the way. The velocity is that of the piece of the path
    in which the energy is, plus what takes out the measured error of the phase. So an error of
    the start, a lag, or a command that comes late on a busy machine does not accumulate: a late
    change of velocity costs its size times its lateness, and that is measured and taken out too.
    Gap and energy are compared at their servers' own times, whenever their updates arrive.

    Parameters
    ----------
    undulator
        The undulator whose gap is driven.
    energy
        The energy that is measured.
    curve, path
        The gap against energy, and how it is to be driven.
    start, stop
        The range, eV.
    velocity
        Velocity of the energy, eV/s.
    velocities
        Lowest and highest velocity of the gap, mm/s.
    bound
        Largest distance between harmonic and energy, in units of the harmonic's width.
    bounds
        Time bounds.

    Attributes
    ----------
    under_way
        Set when the gap moves.
    due
        When the gap is to be started though the energy has not been seen to come in phase: its
        updates may be late (s, of ``time.monotonic``).
    """

    undulator: Undulator
    energy: SignalR[float]
    curve: GapCurve
    path: GapPath
    start: float
    stop: float
    velocity: float
    velocities: tuple[float, float]
    bound: float
    bounds: DriveBounds = field(default_factory=DriveBounds)
    under_way: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    due: float = field(default=float("inf"), init=False)
    _sent: float = field(default=0.0, init=False)

    async def run(self, patience: float) -> None:
        """Wait for the energy to move, drive the gap until the energy has passed the stop.

        Parameters
        ----------
        patience
            Seconds that all of it may take.

        Raises
        ------
        FlightError
            If the gap does not start, stalls, stops, or loses step; or it takes too long.
        """
        gap = self.undulator.gap
        async with watch(self.energy, gap.readback, gap.status) as seen:
            await self._drive(seen, time.monotonic() + patience)

    async def arrive(self) -> None:
        """Wait until the gap stands behind the end of the range.

        Raises
        ------
        FlightError
            If it still moves when it should stand.
        """
        gap = self.undulator.gap
        left = abs(float(self.path.gaps[-1] - self.path.gap(self.stop)))
        bound = self.bounds.arrived + left / max(self._sent, SMALLEST_TRAVEL)
        async with watch(gap.status) as seen:
            if not await seen.until(lambda: seen.value(gap.status) == STANDING, bound):
                raise FlightError(
                    f"The gap of {self.undulator.name} still moves {bound:.0f} s after the energy "
                    f"has passed {self.stop:g} eV: {gap.status.source} is "
                    f"{seen.value(gap.status)!r}."
                )

    async def _drive(self, seen: Watch, deadline: float) -> None:
        gap, path, direction = self.undulator.gap, self.path, self.path.direction
        moved_off = seen.latch(lambda: seen.value(gap.status) != STANDING)
        energy = MeasuredEnergy(
            direction, 1.2 * self.velocity, seen.value(self.energy), seen.timestamp(self.energy)
        )
        progress = _Progress(seen.value(gap.readback), seen.timestamp(gap.readback))
        clock = float("inf")
        lost_since: float | None = None
        # Half of the time that the gap needs to come to its velocity, it is behind the energy.
        signal = path.energies[0] - direction * self.velocity * self.head_start
        while True:
            energy.update(seen.value(self.energy), seen.timestamp(self.energy))
            heard = (seen.timestamp(self.energy), seen.timestamp(gap.readback))
            clock = min(clock, time.time() - max(heard))
            here = energy.at(time.time() - clock)
            if direction * (energy.position - self.stop) >= 0:
                self.under_way.set()
                return
            if time.monotonic() > deadline:
                raise FlightError(
                    f"The energy did not pass {self.stop:g} eV in time: it is at "
                    f"{energy.position:.3f} eV."
                )
            piece = path.piece(here)
            nominal = path.slopes[piece] * self.velocity
            if self._sent == 0.0:
                if direction * (here - signal) >= 0 or time.monotonic() >= self.due:
                    await self._command(nominal)
                    progress = _Progress(seen.value(gap.readback), seen.timestamp(gap.readback))
            else:
                position, when = seen.value(gap.readback), seen.timestamp(gap.readback)
                then = energy.at(when)
                ahead = direction * (position - float(path.gap(then)))
                await self._check_progress(seen, progress, moved_off())
                lost_since = self._check_step(position, float(path.gap(then)), then, lost_since)
                await self._correct(nominal, path.slopes[piece], ahead, here)
            await seen.until(
                lambda: (
                    heard  # noqa: B023 (awaited here)
                    != (seen.timestamp(self.energy), seen.timestamp(gap.readback))
                ),
                self._until_next_knot(energy, here, piece),
            )

    @property
    def head_start(self) -> float:
        """Seconds by which the gap is told to start before the energy is where it stands.

        Half of the time that it needs to come to its velocity, and the command's own.
        """
        ramp = self.path.slopes[0] * self.velocity / self.undulator.gap_acceleration
        return float(0.5 * ramp + COMMAND_LATENCY)

    def _until_next_knot(self, energy: MeasuredEnergy, here: float, piece: int) -> float:
        """Return the seconds after which the velocity is to be changed, at most the longest."""
        if self._sent == 0.0:
            return min(max(self.due - time.monotonic(), 0.001), LONGEST_WAIT)
        if piece + 2 >= len(self.path.energies) or energy.velocity <= 0:
            return LONGEST_WAIT
        left = self.path.direction * (self.path.energies[piece + 1] - here) / energy.velocity
        return min(max(left, 0.001), LONGEST_WAIT)

    async def _correct(self, nominal: float, slope: float, ahead: float, here: float) -> None:
        """Send another velocity if the piece or the error of the phase asks for it."""
        known = min(max(here, self.curve.low), self.curve.high)
        tolerated = DEAD_BAND * self.bound * float(self.curve.width(known)) * slope
        wanted = nominal
        if abs(ahead) > tolerated:
            # Never backwards, and not to rest either: the phase is taken out on the way.
            wanted = max(nominal - ahead / CORRECTION_TIME, 0.2 * nominal)
        wanted = min(max(wanted, self.velocities[0]), self.velocities[1])
        if abs(wanted - self._sent) > SMALLEST_CHANGE * nominal:
            await self._command(wanted)

    async def _command(self, velocity: float) -> None:
        gap = self.undulator.gap
        velocity = min(max(velocity, self.velocities[0]), self.velocities[1])
        try:
            await gap.velocity.set(velocity, timeout=PUT_TIMEOUT)
            await gap.calculate.set(1, timeout=PUT_TIMEOUT)
        except TimeoutError as error:
            raise FlightError(
                f"The gap of {self.undulator.name} took no new velocity within "
                f"{PUT_TIMEOUT:g} s: {gap.velocity.source} does not answer."
            ) from error
        self._sent = velocity

    async def _check_progress(self, seen: Watch, progress: "_Progress", moved_off: bool) -> None:
        """Raise if the gap has not started, stands, or has stopped by itself."""
        name, gap = self.undulator.name, self.undulator.gap
        position, when = seen.value(gap.readback), seen.timestamp(gap.readback)
        status = f"{gap.status.source} is {seen.value(gap.status)!r}"
        if not self.under_way.is_set():
            if abs(position - progress.position) > SMALLEST_TRAVEL or moved_off:
                self.under_way.set()
                progress.restart(position, when)
            elif time.monotonic() - progress.since > self.bounds.started:
                raise FlightError(
                    f"The gap of {name} did not start to move within {self.bounds.started:g} s: "
                    f"it is at {position:.3f} mm and {status}."
                )
            return
        left = abs(self.path.gaps[-1] - position)
        if moved_off and seen.value(gap.status) == STANDING and left > 2 * SMALLEST_TRAVEL:
            raise FlightError(
                f"The gap of {name} stopped by itself at {position:.3f} mm: {status}."
            )
        seconds = progress.look(self._sent, when, self.bounds.stalled)
        if seconds > self.bounds.stalled and progress.expected > SMALLEST_TRAVEL:
            cause = await why_stalled(
                lambda: abs(seen.value(gap.readback) - progress.position),
                progress.expected,
                gap.readback,
                gap.status,
                otherwise=f"no progress for {seconds:.1f} s while {status}",
            )
            if cause:
                raise FlightError(f"The gap of {name} stalled at {position:.3f} mm: {cause}.")
            progress.restart(seen.value(gap.readback), seen.timestamp(gap.readback))

    def _check_step(
        self, position: float, path: float, energy: float, since: float | None
    ) -> float | None:
        """Raise if the gap was far off its path for too long; return since when it is."""
        off = float(self.curve.energy(position) - self.curve.energy(path))
        inside = self.path.direction * (energy - self.start) >= 0
        if not (inside and abs(off) > 0.5 * float(self.curve.width(energy))):
            return None
        now = time.monotonic()
        if since is not None and now - since > self.bounds.lost:
            where = "behind" if off * self.path.direction < 0 else "ahead on"
            raise FlightError(
                f"{self.undulator.name} lost step: at {energy:.2f} eV its harmonic is "
                f"{abs(off):.2f} eV {where} its path, more than half of its width, for "
                f"{self.bounds.lost:g} s."
            )
        return now if since is None else since


class _Progress:
    """What the gap has done since some update of it, and what it should have done.

    Counted in its server's time: that this machine was busy meanwhile is no stall of the gap.
    """

    def __init__(self, position: float, when: float) -> None:
        self.since = time.monotonic()
        self.restart(position, when)

    def restart(self, position: float, when: float) -> None:
        """Begin to count, at a position in mm and its time in s."""
        self.position = position
        self._begin = self._looked = self._newest = when
        self._heard = time.monotonic()
        self.expected = 0.0

    def look(self, velocity: float, when: float, patience: float) -> float:
        """Add what a velocity in mm/s makes since the last look; return the seconds counted.

        Where no update comes for longer than a patience in s, the time goes on without one.
        """
        if when != self._newest:
            self._newest, self._heard = when, time.monotonic()
        now = when + max(time.monotonic() - self._heard - patience, 0.0)
        self.expected += velocity * (now - self._looked)
        self._looked = now
        return now - self._begin


__all__ = ["DriveBounds", "GapDrive", "MeasuredEnergy"]
