"""The simulated monochromators: the plane grating one with its sweep, and two simpler ones."""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from glidepath.physics import bragg_angle, grating_angles, grating_energy

from .channels import Choice, Database, Integer, Number
from .jobs import LEAD_SECONDS, Job, sleep_until, ticks
from .motion import (
    FOREVER,
    Axis,
    Segment,
    plan_move,
    plan_stop,
    plan_sweep,
    run_up_distance,
)
from .undulator import Undulator

__all__ = [
    "CrystalMonochromator",
    "GratingMonochromator",
    "SimpleMonochromator",
    "SphericalMonochromator",
    "SweepState",
]

_STOP, _SWEEP_INIT, _SWEEP_RUN = 0, 20, 21
_STOP_SECONDS = 0.15
_STALE_SECONDS = 0.1
_MOVE_VELOCITY, _MOVE_ACCELERATION = 25.0, 50.0
_SWEEP_VELOCITY_LIMIT = 10.0
_SWEEP_VELOCITY_MINIMUM = 0.001
_GRATINGS = {1: 600.0, 2: 1200.0}
_GRATING_SECONDS = 3.0
_CFF_LIMITS = (1.2, 20.0)
_CFF_VELOCITY, _CFF_ACCELERATION = 0.5, 1.0
_LINEAR = "linear"


class SweepState:
    """Values of ``GetSweepState``."""

    TO_RAMP_START = 0x02
    READY = 0x04
    STARTED = 0x20
    IN_RANGE = 0x40
    PASSED = 0x80
    FINISHED = 0xFF


@dataclass(frozen=True)
class _Sweep:
    """The sweep that the controller has been initialised with."""

    first: float
    last: float
    velocity: float
    linear_gap: bool

    @property
    def begin(self) -> float:
        """Energy at which the run-up begins, eV."""
        sign = math.copysign(1.0, self.last - self.first)
        return self.first - sign * run_up_distance(self.velocity)


class _EnergyMover:
    """The energy set point, readback and status that all monochromators have."""

    def __init__(
        self,
        database: Database,
        axis: Axis,
        names: tuple[str, str, str],
        limits: tuple[float, float],
        noise: tuple[float, np.random.Generator],
        ripple: float = 0.0,
        done_value: int = 0,
    ) -> None:
        self.axis = axis
        self.limits = limits
        self.job = Job()
        self.velocity: Number | None = None
        self._noise, self._generator = noise
        self._ripple = ripple
        self._done_value = done_value
        position = axis.position(0.0)
        self.setpoint = database.number(
            names[0],
            position,
            "eV",
            limits=limits,
            on_put=self.move,
        )
        self.readback = database.number(names[1], position, "eV")
        self.status = database.integer(names[2], done_value)

    def reaches(self, energy: float) -> bool:
        """Whether an energy is within the limits."""
        return bool(self.limits[0] <= energy <= self.limits[1])

    async def move(self, energy: float) -> None:
        """Begin a move."""
        await self.job.stop()
        self.plan_move(energy)
        await self.job.start(self.finish())

    def plan_move(self, energy: float) -> None:
        """Plan a move from just after now on."""
        velocity = _MOVE_VELOCITY if self.velocity is None else float(self.velocity.value)
        self.axis.plan(
            plan_move(
                self.axis,
                time.time() + LEAD_SECONDS,
                energy,
                velocity,
                _MOVE_ACCELERATION,
                self._ripple,
            )
        )

    async def stop(self) -> None:
        """Slow down to rest."""
        await self.job.stop()
        now = time.time()
        if self.axis.rests_from() > now:
            self.axis.plan(plan_stop(self.axis, now, _STOP_SECONDS))
        await self.job.start(self.finish())

    async def finish(self) -> None:
        """Wait for the end of the planned motion, keeping the status."""
        await self.set_moving(True)
        end = self.axis.rests_from()
        await sleep_until(end)
        await self.set_moving(False, end)

    async def set_moving(self, moving: bool, when: float | None = None) -> None:
        """Publish whether the monochromator moves."""
        await self.status.change(1 - self._done_value if moving else self._done_value, when)

    async def post_readback(self, tick: float) -> None:
        """Publish the measured energy of one instant."""
        noise = self._generator.normal(0.0, self._noise) if self._noise > 0 else 0.0
        await self.readback.post(self.axis.position(tick) + noise, tick)


def _noise(seed: int, number: int, sigma: float) -> tuple[float, np.random.Generator]:
    return sigma, np.random.default_rng([seed, 1, number])


class GratingMonochromator:
    """Plane grating monochromator whose controller sweeps the energy and drives the undulator.

    Parameters
    ----------
    database
        Where the process variables are added.
    name
        Name of the device, a part of the process variables' names.
    axis
        Its energy, eV.
    seed, readback_Hz, encoder_noise_eV, ripple_eV
        As of :class:`~glidepath.simulation.SimulatedBeamline`.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        axis: Axis,
        seed: int,
        readback_Hz: float,
        encoder_noise_eV: float,
        ripple_eV: float,
    ) -> None:
        self.axis = axis
        self.undulator: Undulator | None = None
        self.on_diffraction: Callable[[], None] = lambda: None
        self.cff = Axis("cff", 2.25)
        self.slit = Axis("slit", 25.0)
        self._period = 1 / readback_Hz
        self._ripple = ripple_eV
        self._sweep: _Sweep | None = None
        self._grating_job, self._cff_job, self._slit_job = Job(), Job(), Job()
        self._grating_moves = False
        limits = (60.0, 1600.0)
        self._mover = _EnergyMover(
            database,
            axis,
            (f"{name}monoSetEnergy", f"{name}monoGetEnergy", f"{name}IStatus"),
            limits,
            _noise(seed, 1, encoder_noise_eV),
            ripple_eV,
        )
        database.number(f"{name}minEnergy", limits[0], "eV")
        database.number(f"{name}maxEnergy", limits[1], "eV")
        self._build_optics(database, name)
        self._build_undulator_control(database, name)
        self._build_sweep(database, name)
        self._never_ready = database.integer("FAULT:sweep_init_never_ready", 0, writable=True)
        self._stale = database.number(
            "FAULT:sweep_stale", _STALE_SECONDS, "s", limits=(_STALE_SECONDS, 60.0)
        )
        self._stalls = database.integer("FAULT:sweep_stall", 0, on_put=self._stall)
        self._frozen = database.integer("FAULT:readback_frozen", 0, writable=True)

    def _build_optics(self, database: Database, name: str) -> None:
        self._cff_readback = database.number(f"{name}cff", 2.25)
        database.number(
            f"{name}SetCff",
            2.25,
            limits=_CFF_LIMITS,
            on_put=self._move_cff,
        )
        database.integer(
            f"{name}SetGratingNo",
            1,
            accept=lambda number: number if number in _GRATINGS else None,
            on_put=self._change_grating,
        )
        self._lines = database.number(f"{name}lineDensity", _GRATINGS[1], "1/mm")
        self._order = database.integer(f"{name}Order", 1)
        database.integer(
            f"{name}SetOrder",
            1,
            accept=lambda order: order if order in (1, 2, 3) else None,
            on_put=self._change_order,
        )
        alpha, beta = self._angles(0.0)
        self._readbacks: dict[str, Number] = {}
        for angle, value in (("Alpha", alpha), ("Beta", beta), ("Theta", (alpha - beta) / 2)):
            self._readbacks[angle] = database.number(f"{name}{angle}", value, "deg", 6)
        database.number(f"{name}SetAlpha", alpha, "deg", 6, on_put=self._set_alpha)
        database.number(f"{name}SetBeta", beta, "deg", 6, on_put=self._set_beta)
        database.number(f"{name}SetTheta", (alpha - beta) / 2, "deg", 6, on_put=self._set_theta)
        self._grating_done = database.integer(f"{name}gratingDone", 1)
        self._mirror_done = database.integer(f"{name}mirrorDone", 1)
        self._slit_readback = database.number(f"{name}slitwidth", 25.0, "um")
        self._slit_status = database.integer(f"{name}ES_STATUS", 0)
        database.number(
            f"{name}SlitInput",
            25.0,
            "um",
            limits=(5.0, 1000.0),
            on_put=self._move_slit,
        )
        database.integer(f"{name}SetBranch", 1, writable=True)

    def _build_undulator_control(self, database: Database, name: str) -> None:
        database.integer(f"{name}SetIdOn", 1, on_put=self._couple)
        for read, write, choices in (
            ("GetIdHarmonic", "Harmonic", (1, 3, 5)),
            ("GetFormulaMode", "SetFormulaMode", (0, 1)),
        ):
            readback = database.integer(f"{name}{read}", choices[-1] if choices[0] == 0 else 1)

            def accept(value: int, choices: tuple[int, ...] = choices) -> int | None:
                return value if value in choices else None

            async def on_put(value: int, readback: Integer = readback) -> None:
                await readback.post(value)
                if self.undulator is not None and readback is self._harmonic:
                    self.undulator.use_harmonic(value)

            database.integer(f"{name}{write}", readback.value, accept=accept, on_put=on_put)
            if read == "GetIdHarmonic":
                self._harmonic = readback

    def _build_sweep(self, database: Database, name: str) -> None:
        self._sweep_first = database.number(f"{name}SetSweepStart", 395.0, "eV", writable=True)
        self._sweep_last = database.number(f"{name}SetSweepEnd", 405.0, "eV", writable=True)
        self._sweep_velocity = database.number(
            f"{name}SetSweepVel",
            0.2,
            "eV/s",
            limits=(_SWEEP_VELOCITY_MINIMUM, _SWEEP_VELOCITY_LIMIT),
        )
        self._gap_method: Choice = database.choice(
            f"{name}SetSweepGapMeth", "quadr.", ("quadr.", _LINEAR), writable=True
        )
        self._state = database.integer(f"{name}GetSweepState", 0)
        database.integer(f"{name}MonoAktion.PROC", 0, on_put=self._act)

    async def run(self) -> None:
        """Publish the measured energy at its own rate, for ever."""
        async for tick in ticks(self._period):
            if not self._frozen.value:
                await self._mover.post_readback(tick)

    async def publish(self) -> None:
        """Publish angles, cff, slit and status bits when they have changed, for ever."""
        async for tick in ticks(0.1):
            await self._publish_changes(tick)

    async def _publish_changes(self, tick: float) -> None:
        alpha, beta = self._angles(tick)
        for name, value in (("Alpha", alpha), ("Beta", beta), ("Theta", (alpha - beta) / 2)):
            await self._readbacks[name].change(round(value, 7), tick)
        await self._cff_readback.change(round(self.cff.position(tick), 6), tick)
        await self._slit_readback.change(round(self.slit.position(tick), 3), tick)
        await self._publish_done(tick)

    async def _publish_done(self, tick: float) -> None:
        turning = self.axis.rests_from() > tick or self.cff.rests_from() > tick
        await self._mirror_done.change(int(not turning), tick)
        await self._grating_done.change(int(not turning and not self._grating_moves), tick)

    def _angles(self, when: float) -> tuple[float, float]:
        """Alpha and beta in degrees."""
        alpha, beta = grating_angles(
            self.axis.position(when),
            float(self._lines.value),
            self.cff.position(when),
            int(self._order.value),
        )
        return math.degrees(alpha), math.degrees(beta)

    # -- commands ----------------------------------------------------------------------------

    async def _act(self, action: int) -> None:
        if action == _STOP:
            await self._stop()
        elif action == _SWEEP_INIT:
            await self._mover.job.start(self._init_sweep())
        elif action == _SWEEP_RUN and self._state.value == SweepState.READY:
            await self._mover.job.start(self._run_sweep())

    async def _stop(self) -> None:
        await self._mover.stop()
        if self.undulator is not None:
            self.undulator.end_sweep(time.time(), _STOP_SECONDS)
        if self._sweep is not None:
            self._sweep = None
            await self._state.change(SweepState.FINISHED)

    async def _init_sweep(self) -> None:
        await asyncio.sleep(float(self._stale.value))
        sweep = _Sweep(
            float(self._sweep_first.value),
            float(self._sweep_last.value),
            float(self._sweep_velocity.value),
            self._gap_method.value == _LINEAR,
        )
        # The end of the run-down lies as far out as a shorter run-up would.
        reachable = all(map(self._mover.reaches, (sweep.begin, sweep.last)))
        if not reachable or sweep.first == sweep.last:
            self._sweep = None
            await self._state.post(SweepState.FINISHED)
            return
        self._sweep = sweep
        self._mover.plan_move(sweep.begin)
        await self._state.post(SweepState.TO_RAMP_START)
        await self._mover.set_moving(True)
        undulator = self.undulator
        if undulator is not None:
            undulator.end_sweep()
            if sweep.linear_gap and undulator.controlled:
                scale, gap = self._gap_law(sweep, undulator)
                await undulator.prepare_sweep(gap + scale * (sweep.begin - sweep.first))
        end = self.axis.rests_from()
        await sleep_until(end)
        await self._mover.set_moving(False, end)
        await asyncio.sleep(_STALE_SECONDS)
        async for _ in ticks(0.05):
            if not self._never_ready.value:
                break
        await self._state.post(SweepState.READY)

    @staticmethod
    def _gap_law(sweep: _Sweep, undulator: Undulator) -> tuple[float, float]:
        """Slope in mm/eV and gap at the first energy of a gap that is linear in time."""
        first, last = undulator.gap_for(sweep.first), undulator.gap_for(sweep.last)
        return (last - first) / (sweep.last - sweep.first), first

    async def _run_sweep(self) -> None:
        sweep = self._sweep
        assert sweep is not None
        undulator = self.undulator
        segments, entered, passed = plan_sweep(
            time.time() + 5 * LEAD_SECONDS, sweep.first, sweep.last, sweep.velocity, self._ripple
        )
        self.axis.plan(segments)
        if undulator is not None and sweep.linear_gap and undulator.controlled:
            scale, gap = self._gap_law(sweep, undulator)
            undulator.sweep(segments, scale, sweep.first, gap)
        await self._mover.set_moving(True)
        await self._state.post(SweepState.STARTED)
        await sleep_until(entered)
        await self._state.post(SweepState.IN_RANGE, entered)
        if self._stalls.value:
            await sleep_until((entered + passed) / 2)
            self._hold()
            return
        await sleep_until(passed)
        await self._state.post(SweepState.PASSED, passed)
        end = self.axis.rests_from()
        await sleep_until(end)
        if undulator is not None:
            undulator.end_sweep()
        self._sweep = None
        await self._mover.set_moving(False, end)
        await self._state.post(SweepState.FINISHED, end)

    def _hold(self) -> None:
        """Stop the axis as if it had failed: nothing is told to anybody."""
        now = time.time()
        self.axis.plan(plan_stop(self.axis, now, _STOP_SECONDS))
        if self.undulator is not None:
            self.undulator.end_sweep(now, _STOP_SECONDS)

    async def _stall(self, stalled: int) -> None:
        if stalled and self._state.value == SweepState.IN_RANGE:
            await self._mover.job.stop()
            self._hold()

    async def _couple(self, enabled: int) -> None:
        if self.undulator is not None:
            self.undulator.enabled = bool(enabled)

    async def _move_cff(self, target: float) -> None:
        self.cff.plan(
            plan_move(
                self.cff, time.time() + LEAD_SECONDS, target, _CFF_VELOCITY, _CFF_ACCELERATION
            )
        )
        await self._publish_done(time.time())

    def diffraction(self) -> dict[str, float]:
        """Line density (1/mm) and order, by which the angles belong to an energy."""
        return {"lines": float(self._lines.value), "order": int(self._order.value)}

    async def _change_order(self, order: int) -> None:
        await self._order.post(order)
        self.on_diffraction()

    async def _change_grating(self, number: int) -> None:
        if _GRATINGS[number] != self._lines.value:
            self._grating_moves = True
            await self._publish_done(time.time())
            await self._grating_job.start(self._exchange(_GRATINGS[number]))

    async def _exchange(self, lines: float) -> None:
        await asyncio.sleep(_GRATING_SECONDS)
        await self._lines.post(lines)
        self.on_diffraction()
        self._grating_moves = False
        await self._publish_changes(time.time())

    async def _move_slit(self, width: float) -> None:
        self.slit.plan(plan_move(self.slit, time.time() + LEAD_SECONDS, width, 100.0, 200.0))
        await self._slit_status.change(1)
        await self._slit_job.start(self._finish_slit())

    async def _finish_slit(self) -> None:
        await sleep_until(self.slit.rests_from())
        await self._slit_readback.post(self.slit.position(time.time()))
        await self._slit_status.change(0)

    async def _set_alpha(self, alpha: float) -> None:
        _, beta = self._angles(time.time())
        await self._select(alpha, beta)

    async def _set_beta(self, beta: float) -> None:
        # The grating turns, the mirror stays: the angle between the two beams is kept.
        old_alpha, old_beta = self._angles(time.time())
        await self._select(old_alpha - old_beta + beta, beta)

    async def _set_theta(self, theta: float) -> None:
        # The mirror turns, the grating stays: the exit direction fixes beta.
        _, beta = self._angles(time.time())
        await self._select(2 * theta + beta, beta)

    async def _select(self, alpha: float, beta: float) -> None:
        """Move to the energy and cff that two angles (degrees) select, if they are in reach."""
        alpha, beta = math.radians(alpha), math.radians(beta)
        try:
            energy = float(
                grating_energy(alpha, beta, float(self._lines.value), int(self._order.value))
            )
        except ValueError:
            return
        cff = math.cos(beta) / math.cos(alpha)
        if self._mover.reaches(energy) and _CFF_LIMITS[0] <= cff <= _CFF_LIMITS[1]:
            await self._mover.move(energy)
            await self._move_cff(cff)

    async def close(self) -> None:
        """End all work."""
        for job in (self._mover.job, self._grating_job, self._cff_job, self._slit_job):
            await job.stop()


class SimpleMonochromator:
    """Monochromator with an energy set point, a readback and a status, and nothing more.

    Parameters
    ----------
    database
        Where the process variables are added.
    names
        Names of the set point, the readback and the status.
    axis
        Its energy, eV.
    limits
        Lowest and highest energy, eV.
    seed, encoder_noise_eV
        As of :class:`~glidepath.simulation.SimulatedBeamline`.
    done_value
        Value of the status at rest.
    """

    def __init__(
        self,
        database: Database,
        names: tuple[str, str, str],
        axis: Axis,
        limits: tuple[float, float],
        seed: int,
        encoder_noise_eV: float,
        done_value: int = 0,
    ) -> None:
        self.axis = axis
        number = sum(names[0].encode())
        noise = _noise(seed, number, encoder_noise_eV)
        self._mover = _EnergyMover(database, axis, names, limits, noise, done_value=done_value)

    def _let_velocity_be_set(self, database: Database, name: str) -> None:
        """Add a setting for the velocity of moves; there is no common name for it."""
        self._mover.velocity = database.number(
            name, _MOVE_VELOCITY, "eV/s", limits=(_SWEEP_VELOCITY_MINIMUM, _MOVE_VELOCITY)
        )

    async def run(self) -> None:
        """Publish the measured energy ten times a second, for ever."""
        async for tick in ticks(0.1):
            await self._mover.post_readback(tick)

    async def close(self) -> None:
        """End all work."""
        await self._mover.job.stop()


class SphericalMonochromator(SimpleMonochromator):
    """Spherical grating monochromator: a simple one with gratings, a slit, and a stop.

    Parameters
    ----------
    database, axis, seed, encoder_noise_eV
        As of :class:`SimpleMonochromator`.
    name
        Name of the device, a part of the process variables' names.
    """

    def __init__(
        self, database: Database, name: str, axis: Axis, seed: int, encoder_noise_eV: float
    ) -> None:
        limits = (50.0, 700.0)
        super().__init__(
            database,
            (f"{name}monoSetEnergy", f"{name}monoGetEnergy", f"{name}IStatus"),
            axis,
            limits,
            seed,
            encoder_noise_eV,
        )
        database.number(f"{name}minEnergy", limits[0], "eV")
        database.number(f"{name}maxEnergy", limits[1], "eV")
        database.number(f"{name}c", 30.0, "mm")
        self._let_velocity_be_set(database, f"{name}monoSetVel")
        for read, write, value in (
            ("Order", "SetOrder", 1),
            ("ShowIdHarmonic", "Harmonic", 1),
        ):
            readback = database.integer(f"{name}{read}", value)
            database.integer(f"{name}{write}", value, on_put=readback.post)
        self._lines = database.number(f"{name}lineDensity", _GRATINGS[1], "1/mm")
        database.integer(
            f"{name}SetGratingNo",
            1,
            accept=lambda number: number if number in _GRATINGS else None,
            on_put=lambda number: self._lines.post(_GRATINGS[number]),
        )
        slit = database.number(f"{name}slitwidth", 25.0, "um")
        database.number(f"{name}SlitInput", 25.0, "um", on_put=slit.post)
        database.integer(f"{name}SetIdOn", 0, writable=True)
        database.integer(f"{name}MonoAktion.PROC", 0, on_put=self._act)

    async def _act(self, action: int) -> None:
        if action == _STOP:
            await self._mover.stop()


class CrystalMonochromator(SimpleMonochromator):
    """Double-crystal monochromator: a simple one with crystals and a Bragg angle.

    Parameters
    ----------
    database, axis, seed, encoder_noise_eV
        As of :class:`SimpleMonochromator`.
    name
        Name of the device, a part of the process variables' names.
    """

    _CRYSTALS = (("Si111", 0.313560), ("Si311", 0.163748), ("Si422", 0.110860))

    def __init__(
        self, database: Database, name: str, axis: Axis, seed: int, encoder_noise_eV: float
    ) -> None:
        limits = (2000.0, 12000.0)
        super().__init__(
            database,
            (f"{name}monoSetEnergy", f"{name}monoGetEnergy", f"{name}GK_STATUS"),
            axis,
            limits,
            seed,
            encoder_noise_eV,
        )
        self._let_velocity_be_set(database, f"{name}monoSetVel")
        self._spacing = database.number(f"{name}d_hkl", self._CRYSTALS[0][1], "nm", 6)
        self._band_width = database.number(f"{name}crystal_bw", 1.3, "eV")
        database.number(f"{name}minEnergy", limits[0], "eV")
        database.number(f"{name}maxEnergy", limits[1], "eV")
        database.integer(
            f"{name}SetGratingNo",
            0,
            accept=lambda number: number if 0 <= number < len(self._CRYSTALS) else None,
            on_put=self._change_crystal,
        )
        self._theta = database.number(f"{name}Theta", self._angle(0.0), "deg", 6)
        database.number(f"{name}SetTheta", self._angle(0.0), "deg", 6, on_put=self._set_theta)
        for crystal in ("CR1", "CR2"):
            readback = database.number(f"{name}dcm:{crystal}", 0.0, "urad")
            database.number(f"{name}dcm:set{crystal}", 0.0, "urad", on_put=readback.post)
        database.integer(f"{name}SetIdOn", 0, writable=True)
        database.integer(f"{name}Harmonic", 1, writable=True)

    async def run(self) -> None:
        """Publish the measured energy and angle ten times a second, for ever."""
        async for tick in ticks(0.1):
            await self._mover.post_readback(tick)
            await self._theta.change(round(self._angle(tick), 6), tick)

    def _angle(self, when: float) -> float:
        return math.degrees(bragg_angle(self.axis.position(when), float(self._spacing.value)))

    async def _change_crystal(self, number: int) -> None:
        now = time.time()
        _, spacing = self._CRYSTALS[number]
        await self._spacing.post(spacing)
        await self._band_width.post(1.3 * (spacing / self._CRYSTALS[0][1]) ** 2)
        lowest = 1239.842 / (2 * spacing)
        if self.axis.position(now) < 1.05 * lowest:
            self.axis.plan([Segment(now, FOREVER, 1.05 * lowest)])

    async def _set_theta(self, theta: float) -> None:
        if 0 < theta < 90:
            energy = 1239.841984 / (2 * float(self._spacing.value) * math.sin(math.radians(theta)))
            if self._mover.reaches(energy):
                await self._mover.move(energy)
