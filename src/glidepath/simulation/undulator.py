"""The simulated undulator: a gap that follows the monochromator, or a panel's commands."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np

from glidepath.physics import HC_EV_NM, UndulatorLaw

from .channels import Database, Number
from .jobs import LEAD_SECONDS, Job, sleep_until, ticks
from .motion import FOREVER, Axis, Segment, plan_follow, plan_move, plan_stop

__all__ = ["Undulator"]

_GAP_LIMITS = (15.0, 200.0)
_SLOWEST, _VELOCITY, _ACCELERATION = 1e-4, 1.0, 4.0
_DEAD_BAND = 2e-4
_GAP_NOISE = 3e-5
_PERIOD = 0.1
_PERIODS_AHEAD = 3
"""For which it goes on by itself: a controller has a processor of its own, and this process may
have to wait for one."""
_PANEL, _MONOCHROMATOR = "panel", "monochromator"


class _Drive:
    """One drive of the undulator (gap or shift), as its panel sees it."""

    def __init__(
        self, database: Database, name: str, axis: Axis, limits: tuple[float, float]
    ) -> None:
        self.axis = axis
        self.stalled = False
        self._job = Job()
        position = axis.position(0.0)
        self.setpoint = database.number(
            f"{name}BaseParGapsel.B",
            position,
            "mm",
            limits=limits,
        )
        self.status = database.choice(f"{name}BaseStatISLbl", "STOP", ("STOP", "MOVE"))
        self.command = database.choice(
            f"{name}BaseCmdMcmd", "START", ("STOP", "START"), writable=True
        )
        self.step = database.number(f"{name}BaseParGapTrs", 0.0, "mm", writable=True)
        self.velocity = database.number(
            f"{name}DiagPhyVelSet",
            _VELOCITY,
            "mm/s",
            limits=(_SLOWEST, _VELOCITY),
        )

    async def execute(self, delay: float = LEAD_SECONDS) -> None:
        """Do what the command says, ``delay`` seconds after it.

        An axis that moves takes a new setpoint and a new velocity on its way, without a stop.
        """
        if self.stalled:
            return
        if self.command.value == "START":
            await self.move(float(self.setpoint.value), float(self.velocity.value), delay)
        else:
            await self.stop()

    async def move(self, target: float, velocity: float, delay: float = LEAD_SECONDS) -> None:
        """Begin a move to ``target``."""
        self.axis.plan(plan_move(self.axis, time.time() + delay, target, velocity, _ACCELERATION))
        await self.status.change("MOVE")
        await self._job.start(self._finish())

    async def stop(self) -> None:
        """Slow down to rest."""
        self._brake()
        await self._job.start(self._finish())

    async def stall(self, stalled: bool) -> None:
        """Stop as if the drive had failed: nothing is told to anybody, no command is obeyed."""
        self.stalled = stalled
        if stalled:
            await self._job.stop()
            self._brake()

    def _brake(self) -> None:
        now = time.time() + LEAD_SECONDS
        # A motion that has been commanded may not have begun.
        if self.axis.rests_from() > now:
            _, velocity = self.axis.state(now)
            self.axis.plan(plan_stop(self.axis, now, abs(velocity) / _ACCELERATION))

    async def release(self) -> None:
        """Leave the axis to somebody else."""
        await self._job.stop()

    async def _finish(self) -> None:
        end = self.axis.rests_from()
        await sleep_until(end)
        await self.status.change("STOP", end)


class Undulator:
    """Undulator with gap and shift drives, panel and monochromator control.

    Parameters
    ----------
    database
        Where the process variables are added.
    name
        Name of the device, a part of the process variables' names.
    energy
        Axis of the monochromator that it follows.
    law
        Energy of its harmonics as a function of gap and shift, as its controller knows it.
    seed
        Seed of the noise of the readbacks.
    """

    def __init__(
        self, database: Database, name: str, energy: Axis, law: UndulatorLaw, seed: int
    ) -> None:
        self._energy = energy
        self._law = law
        self._noise = np.random.default_rng([seed, 2])
        self.harmonic = 1
        self.on_harmonic: Callable[[int], None] | None = None
        self.enabled = True
        self.gap = Axis("gap", float(law.gap(energy.position(0.0))))
        self.shift = Axis("shift", 0.0)
        self._gap_drive = _Drive(database, name, self.gap, _GAP_LIMITS)
        half = law.period_mm / 2
        self._shift_drive = _Drive(database, f"{name}S", self.shift, (-half, half))
        self._in_sweep = False
        self._gap_readback = database.number(f"{name}BaseIPmGap.A", self.gap.position(0.0), "mm", 5)
        self._shift_readbacks: list[Number] = [
            database.number(f"{name}SBaseIPmGap.{field}", 0.0, "mm") for field in "EF"
        ]
        self._line = database.number(f"{name}BasePmEnergy", energy.position(0.0), "eV")
        self._wavelength = database.number(
            f"{name}BasePmWLength", HC_EV_NM / energy.position(0.0), "nm"
        )
        self._control = database.choice(
            f"{name}BaseCmdLswitch", _MONOCHROMATOR, (_PANEL, _MONOCHROMATOR), on_put=self._switch
        )
        self._user_stop = database.integer(
            f"{name}BaseCmnUsrStop", 0, on_put=lambda value: self._stop(bool(value))
        )
        database.integer(f"{name}BaseCmdCalc.PROC", 0, on_put=lambda _: self._execute())
        database.integer(
            f"{name}SBaseCmdCalc.PROC", 0, on_put=lambda _: self._shift_drive.execute()
        )
        self._lag = database.number("FAULT:gap_lag", 0.05, "s", limits=(0.05, 10.0))
        database.integer(
            "FAULT:gap_stall", 0, on_put=lambda stalled: self._gap_drive.stall(bool(stalled))
        )

    @property
    def following(self) -> bool:
        """Whether the gap follows the monochromator's energy."""
        return (
            self.enabled
            and self._control.value == _MONOCHROMATOR
            and not self._user_stop.value
            and not self._in_sweep
        )

    @property
    def controlled(self) -> bool:
        """Whether the monochromator commands the gap, in a sweep or by being followed."""
        return self.enabled and self._control.value == _MONOCHROMATOR

    def use_harmonic(self, harmonic: int) -> None:
        """Use another harmonic from now on."""
        self.harmonic = harmonic
        if self.on_harmonic is not None:
            self.on_harmonic(harmonic)

    async def close(self) -> None:
        """End all work."""
        await self._gap_drive.release()
        await self._shift_drive.release()

    def gap_for(self, energy: float) -> float:
        """Gap in mm that the table gives for an energy; ValueError if out of reach."""
        gap = float(self._law.gap(energy, self.harmonic))
        if not _GAP_LIMITS[0] <= gap <= _GAP_LIMITS[1]:
            raise ValueError(
                f"{energy:g} eV in harmonic {self.harmonic} needs a gap of {gap:.1f} mm, but the "
                f"gap goes from {_GAP_LIMITS[0]:g} to {_GAP_LIMITS[1]:g} mm."
            )
        return gap

    async def prepare_sweep(self, gap: float) -> None:
        """Go to the gap from which a sweep begins, and stop following."""
        self._in_sweep = True
        await self._gap_drive.move(gap, _VELOCITY)
        await sleep_until(self.gap.rests_from())

    def sweep(self, segments: Sequence[Segment], scale: float, energy: float, gap: float) -> None:
        """Move linearly with the energy of a sweep: ``gap`` at ``energy``, ``scale`` in mm/eV."""
        self.gap.plan(
            [
                Segment(
                    segment.start,
                    segment.duration,
                    gap + scale * (segment.position - energy),
                    scale * segment.velocity,
                    scale * segment.acceleration,
                )
                for segment in segments
            ]
        )

    def end_sweep(self, time_of_stop: float | None = None, seconds: float = 0.2) -> None:
        """Follow again; if ``time_of_stop`` is given, slow down to rest from then on first."""
        if self._in_sweep and time_of_stop is not None:
            self.gap.plan(plan_stop(self.gap, time_of_stop, seconds))
        self._in_sweep = False

    async def run(self) -> None:
        """Follow the monochromator, ten times a second, for ever."""
        async for tick in ticks(_PERIOD):
            await self._follow(tick)

    async def publish(self) -> None:
        """Publish the measured gap, ten times a second, for ever."""
        async for tick in ticks(0.1):
            gap = self.gap.position(tick) + self._noise.normal(0.0, _GAP_NOISE)
            await self._gap_readback.post(gap, tick)
            line = float(self._law.energy(gap, shift_mm=self.shift.position(tick)))
            await self._line.post(line, tick)
            await self._wavelength.post(HC_EV_NM / line, tick)
            for readback in self._shift_readbacks:
                await readback.change(round(self.shift.position(tick), 5), tick)

    async def _follow(self, tick: float) -> None:
        if self._gap_drive.stalled:
            return
        if not self.following:
            if self.gap.rests_from() < tick:
                await self._gap_drive.status.change("STOP")
            return
        now = max(tick, time.time())
        targets = []
        with suppress(ValueError):
            for ahead in range(_PERIODS_AHEAD):
                targets.append(self.gap_for(self._energy.position(now + ahead * _PERIOD)))
        if not targets:
            return
        target, start = targets[0], now + LEAD_SECONDS
        position, velocity = self.gap.state(start)
        if abs(target - position) < _DEAD_BAND and abs(velocity) < _DEAD_BAND:
            if velocity != 0:
                self.gap.plan([Segment(start, FOREVER, position)])
            await self._gap_drive.status.change("STOP")
            return
        if self.gap.segment(start).resting:
            await self._gap_drive.release()
        await self._gap_drive.status.change("MOVE")
        self.gap.plan(
            plan_follow(
                self.gap,
                start,
                targets,
                _VELOCITY,
                _ACCELERATION,
                lag=float(self._lag.value),
                period=_PERIOD,
            )
        )

    async def _execute(self) -> None:
        if not self.controlled and not self._user_stop.value:
            # Its commands, too, need their time on their way.
            await self._gap_drive.execute(float(self._lag.value))

    async def _switch(self, control: str) -> None:
        if control == _PANEL:
            self.end_sweep()
            await self._gap_drive.stop()

    async def _stop(self, stopped: bool) -> None:
        if stopped:
            self.end_sweep()
            await self._gap_drive.stop()
            await self._shift_drive.stop()
