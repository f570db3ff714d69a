"""Monochromators as the BESSY II control system shows them: PGM, SGM and crystal monochromators.

Process variables: the Qt panels and ophyd classes of BESSY II (``hz-b/bessyii_devices``, files
``pgm.py``, ``dcm.py``, ``dcm_kmc3.py``); codes of ``MonoAktion.PROC`` and ``GetSweepState`` from
the same source. Energies are in eV, angles in degrees, as at the PVs.
"""

import asyncio
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from functools import cached_property
from typing import Any

from ophyd_async.core import (
    DeviceMock,
    SignalR,
    SignalRW,
    StandardMovable,
    StandardReadable,
    default_mock_class,
    set_mock_value,
)
from ophyd_async.core import StandardReadableFormat as Format

from glidepath.timeline.channel import Channel, ChannelKind

from .positioning import ControllerMove, InstantMove, Pace
from .restoring import RestoredSetting, Restoring, until_at_rest, until_there
from .sampled import SampledChannel
from .signals import Watch, read_limits, signal_r, signal_rw, tell

__all__ = [
    "DCM",
    "KMC3DCM",
    "PGM",
    "SGM",
    "GapMethod",
    "Monochromator",
    "MoveTiming",
    "SimpleMonochromator",
    "Sweep",
    "SweepAction",
    "SweepState",
    "SweepTiming",
]


class SweepAction(IntEnum):
    """Commands of ``MonoAktion.PROC``."""

    STOP = 0
    """Stop all motors."""
    ZERO_ORDER = 2
    """Go to zero order."""
    CLEAR_ERRORS = 10
    """Clear the errors of the controller."""
    INITIALISE = 20
    """Go to the beginning of the ramp of the sweep that is set up."""
    RUN = 21
    """Run the sweep."""
    LAST_ENERGY = 60
    """Move to the last energy."""


class SweepState(IntEnum):
    """Codes of ``GetSweepState``.

    The code of the sweep before stays until the next one begins: a wait for ``READY`` or a
    finished state must begin by seeing another one. The signal is a plain ``int``, because a
    controller that has never swept shows a code of its own.
    """

    GOING_TO_START = 0x02
    """On the way to the beginning of the ramp."""
    READY = 0x04
    """Standing at the beginning of the ramp."""
    STARTED = 0x20
    """Accelerating towards the start energy."""
    IN_RANGE = 0x40
    """Between start and end energy, at constant velocity."""
    FINISHED = 0x80
    """Finished."""
    FINISHED_OR_ERROR = 0xFF
    """Finished, or ended by an error."""


class GapMethod(StrEnum):
    """How the controller computes the undulator's gap during a sweep (``SetSweepGapMeth``)."""

    QUADRATIC = "quadr."
    LINEAR = "linear"


@dataclass(frozen=True)
class SweepTiming:
    """How long a controller takes for a sweep and for what goes with it: for predictions only.

    Nothing waits for these times. Measure them at a beamline, so that the pre-flight's duration
    is right.

    Parameters
    ----------
    ramp
        Seconds of acceleration, and of slowing down, whatever the velocity.
    settle
        Seconds at constant velocity between the acceleration and the start energy.
    overhead
        Seconds that a sweep takes beside its motion: setting it up, getting ready, starting.
    way_velocity, way_acceleration
        Velocity and acceleration of an ordinary move in eV/s and eV/s²; None where they are not
        known.
    """

    ramp: float = 0.5
    settle: float = 0.3
    overhead: float = 0.0
    way_velocity: float | None = None
    way_acceleration: float | None = None


@dataclass(frozen=True)
class MoveTiming:
    """How an ordinary move of a monochromator goes, as measured at the beamline.

    Where the controller has no setting for the velocity, flights are at this one.

    Parameters
    ----------
    velocity
        Velocity of a move, eV/s.
    acceleration
        At its ends, eV/s²: how long the run-up is.
    overhead
        Seconds that a flight takes beside its motions: for predictions only.
    """

    velocity: float
    acceleration: float
    overhead: float = 0.5

    def __post_init__(self) -> None:
        """Refuse what moves nothing."""
        if not (self.velocity > 0 and self.acceleration > 0):
            raise ValueError(
                f"A move at {self.velocity:g} eV/s with {self.acceleration:g} eV/s² does not move; "
                "give numbers above zero."
            )


class Sweep(StandardReadable):
    """The sweep of a monochromator's own controller: linear in energy, with its own run-up.

    ``start`` and ``end`` in eV, ``velocity`` in eV/s, ``gap_method`` a :class:`GapMethod`,
    ``action`` a :class:`SweepAction`, ``state`` a :class:`SweepState` code.
    """

    start: SignalRW[float]
    end: SignalRW[float]
    velocity: SignalRW[float]
    gap_method: SignalRW[str]
    action: SignalRW[int]
    state: SignalR[int]

    def __init__(self, prefix: str, name: str = "") -> None:
        with self.add_children_as_readables(Format.CONFIG_SIGNAL):
            self.start = signal_rw(float, f"{prefix}SetSweepStart", unit="eV")
            self.end = signal_rw(float, f"{prefix}SetSweepEnd", unit="eV")
            self.velocity = signal_rw(float, f"{prefix}SetSweepVel", unit="eV/s")
            self.gap_method = signal_rw(str, f"{prefix}SetSweepGapMeth")
        # Processing may last as long as the action: what it did is read from the state.
        self.action = signal_rw(int, f"{prefix}MonoAktion.PROC", wait=False)
        self.state = signal_r(int, f"{prefix}GetSweepState")
        super().__init__(name)


OPTICS_TIMEOUT = 120.0
"""Seconds in which a grating is exchanged, or mirror and grating have turned."""

SLIT_TIMEOUT = 60.0
"""Seconds in which a slit has moved."""

SLIT_TOLERANCE = 0.5
"""Distance in µm between a slit and where it was sent."""

CFF_TOLERANCE = 0.001
"""Distance between a cff and what it was set to."""

_ENERGY_PACE = Pace(slowest=1.0, allowance=30.0)
# A small part of a soft X-ray line's width, and well above the servo's ripple.
_ENERGY_TOLERANCE = 0.02


def _energy_move(
    device: "PGM | SGM | DCM | KMC3DCM",
    action: SignalRW[int] | None,
    tolerance: float,
    pace: Pace,
    standing: int = 0,
) -> ControllerMove:
    """Return how such a monochromator moves; ``standing`` is the value of its status at rest."""

    async def halt() -> None:
        if action is not None:
            await tell(action, SweepAction.STOP)
        else:
            # There is no command to stop: send it to where it is.
            await device.setpoint.set(await device.readback.get_value(cached=False))

    return ControllerMove(
        device.setpoint,
        device.readback,
        status=device.status,
        is_done=lambda status: status == standing,
        halt=halt,
        limits=device.limits,
        unit="eV",
        tolerance=tolerance,
        pace=pace,
    )


class _MonochromatorMock(DeviceMock["PGM | SGM | DCM"]):
    """Mock of a monochromator that stands, has a range, and arrives at once."""

    async def connect(self, device: "PGM | SGM | DCM") -> None:
        await InstantMove().connect(device)
        set_mock_value(device.min_energy, 10.0)
        set_mock_value(device.max_energy, 20_000.0)


class _Monochromator(StandardReadable, StandardMovable[float]):
    """What they have in common: an energy with a range, which is a continuous readback."""

    readback: SignalR[float]
    latency: float
    min_energy: SignalR[float]
    max_energy: SignalR[float]

    async def limits(self) -> tuple[float, float] | None:
        """Return the range of energies in eV that can be reached now, None if not known."""
        lowest, highest = await asyncio.gather(
            self.min_energy.get_value(), self.max_energy.get_value()
        )
        # An IOC that was never configured shows zero for both.
        return None if lowest == highest == 0 else (lowest, highest)

    async def channels(self) -> list[SampledChannel]:
        """Return the energy as a continuous readback named like the device."""
        channel = Channel(self.name, ChannelKind.READBACK, "eV", latency=self.latency)
        return [SampledChannel(channel, self.readback.source)]


@default_mock_class(_MonochromatorMock)
class PGM(_Monochromator):
    """Plane-grating monochromator: one movable energy, its optics, and a sweep of its own.

    ``set(energy)`` in eV ends when ``IStatus`` says done and ``monoGetEnergy`` has arrived.

    Parameters
    ----------
    prefix
        Prefix of the process variables, for example ``"ue481pgm1:"``.
    name
        Name of the device and of its energy in the data.
    tolerance
        Largest distance in eV between readback and target at the end of a move.
    pace
        Time bounds of a move.
    latency
        Seconds between the measurement of the energy and its timestamp.
    timing
        How long its sweeps take, for predictions.

    Attributes
    ----------
    readback, setpoint
        ``monoGetEnergy``, ``monoSetEnergy``, eV.
    status
        ``IStatus``, 0 when the monochromator stands.
    min_energy, max_energy
        ``minEnergy``, ``maxEnergy``, eV: the range of the grating in use.
    sweep
        The controller's own sweep.
    id_on
        ``SetIdOn``: whether the undulator follows.
    cff, order, grating, line_density, harmonic, formula_mode, branch, slit, alpha, beta, theta
        Configuration; ``line_density`` in 1/mm, ``slit`` in µm, angles in degrees.
    grating_done, mirror_done, slit_status
        ``gratingDone``, ``mirrorDone``, ``ES_STATUS``.
    cff_setpoint, slit_setpoint
        ``SetCff``, ``SlitInput``: what both were sent to last.
    """

    def __init__(
        self,
        prefix: str,
        name: str = "",
        *,
        tolerance: float = _ENERGY_TOLERANCE,
        pace: Pace = _ENERGY_PACE,
        latency: float = 0.0,
        timing: SweepTiming = SweepTiming(),
    ) -> None:
        self._tolerance = tolerance
        self._pace = pace
        self.latency = latency
        self.timing = timing
        with self.add_children_as_readables(Format.HINTED_SIGNAL):
            self.readback = signal_r(float, f"{prefix}monoGetEnergy", unit="eV")
        with self.add_children_as_readables(Format.CONFIG_SIGNAL):
            self.min_energy = signal_r(float, f"{prefix}minEnergy", unit="eV")
            self.max_energy = signal_r(float, f"{prefix}maxEnergy", unit="eV")
            self.cff = signal_rw(float, f"{prefix}cff", f"{prefix}SetCff")
            self.order = signal_rw(int, f"{prefix}Order", f"{prefix}SetOrder")
            self.grating = signal_rw(str, f"{prefix}SetGratingNo")
            self.line_density = signal_r(float, f"{prefix}lineDensity", unit="1/mm")
            self.id_on = signal_rw(bool, f"{prefix}SetIdOn")
            self.harmonic = signal_rw(str, f"{prefix}GetIdHarmonic", f"{prefix}Harmonic")
            self.formula_mode = signal_rw(str, f"{prefix}GetFormulaMode", f"{prefix}SetFormulaMode")
            self.branch = signal_rw(str, f"{prefix}SetBranch")
            self.slit = signal_rw(float, f"{prefix}slitwidth", f"{prefix}SlitInput", unit="um")
            self.alpha = signal_rw(float, f"{prefix}Alpha", f"{prefix}SetAlpha", unit="deg")
            self.beta = signal_rw(float, f"{prefix}Beta", f"{prefix}SetBeta", unit="deg")
            self.theta = signal_rw(float, f"{prefix}Theta", f"{prefix}SetTheta", unit="deg")
        with self.add_children_as_readables():
            self.sweep = Sweep(prefix)
        # Starts the motion: its processing may last as long, the end is seen in the status.
        self.setpoint = signal_rw(float, f"{prefix}monoSetEnergy", unit="eV", wait=False)
        self.status = signal_r(int, f"{prefix}IStatus")
        self.grating_done = signal_r(int, f"{prefix}gratingDone")
        self.mirror_done = signal_r(int, f"{prefix}mirrorDone")
        self.slit_status = signal_r(int, f"{prefix}ES_STATUS")
        self.cff_setpoint = signal_rw(float, f"{prefix}SetCff")
        self.slit_setpoint = signal_rw(float, f"{prefix}SlitInput", unit="um")
        super().__init__(name)

    @cached_property
    def movable_logic(self) -> ControllerMove:
        """How the energy moves."""
        return _energy_move(self, self.sweep.action, self._tolerance, self._pace)

    def restoring(self) -> Restoring:
        """Return what is brought back: the optics, the slit, the sweep, then the energy.

        The angles follow from energy and cff. The undulator does not follow meanwhile.
        """
        sweep = self.sweep
        plain: tuple[SignalRW[Any], ...]
        plain = (self.harmonic, self.formula_mode, self.branch, self.order)
        of_sweep: tuple[SignalRW[Any], ...]
        of_sweep = (sweep.start, sweep.end, sweep.velocity, sweep.gap_method)
        return Restoring(
            settings=(
                *(RestoredSetting(signal) for signal in plain),
                RestoredSetting(self.grating, arrived=self._grating_arrived),
                RestoredSetting(self.cff, self.cff_setpoint, self._cff_arrived, CFF_TOLERANCE),
                RestoredSetting(self.slit, self.slit_setpoint, self._slit_arrived, SLIT_TOLERANCE),
                *(RestoredSetting(signal) for signal in of_sweep),
            ),
            axes=(self,),
            coupling=self.id_on,
            limits=(self.min_energy.name, self.max_energy.name),
        )

    async def _optics_rest(self) -> None:
        def resting(seen: Watch) -> bool:
            return bool(seen.value(self.grating_done) and seen.value(self.mirror_done))

        await until_at_rest(
            f"{self.name}'s optics", (self.grating_done, self.mirror_done), resting, OPTICS_TIMEOUT
        )

    async def _grating_arrived(self, value: str) -> None:
        await until_there(self.grating, value)
        await self._optics_rest()

    async def _cff_arrived(self, value: float) -> None:
        await self._optics_rest()
        await until_there(self.cff, value, CFF_TOLERANCE)

    async def _slit_arrived(self, value: float) -> None:
        def resting(seen: Watch) -> bool:
            return not seen.value(self.slit_status)

        await until_at_rest(f"{self.name}'s slit", (self.slit_status,), resting, SLIT_TIMEOUT)
        await until_there(self.slit, value, SLIT_TOLERANCE)


def _velocity_setting(prefix: str, name: str | None) -> SignalRW[float] | None:
    return None if name is None else signal_rw(float, f"{prefix}{name}", unit="eV/s")


@default_mock_class(_MonochromatorMock)
class SGM(_Monochromator):
    """Spherical-grating monochromator: one movable energy, without a sweep of its own.

    Parameters
    ----------
    prefix, name, tolerance, pace, latency
        As for :class:`PGM`.
    timing
        How its moves go; flights need it.
    velocity_pv
        Name behind the prefix of the setting for the velocity of moves, eV/s, where the
        controller has one: flights set it.

    Attributes
    ----------
    readback, setpoint, status, min_energy, max_energy
        As for :class:`PGM`.
    c
        ``c``, mm: the distance that keeps the exit slit in focus.
    """

    def __init__(
        self,
        prefix: str,
        name: str = "",
        *,
        tolerance: float = _ENERGY_TOLERANCE,
        pace: Pace = _ENERGY_PACE,
        latency: float = 0.0,
        timing: MoveTiming | None = None,
        velocity_pv: str | None = None,
    ) -> None:
        self._tolerance = tolerance
        self._pace = pace
        self.latency = latency
        self.timing = timing
        self.velocity = _velocity_setting(prefix, velocity_pv)
        with self.add_children_as_readables(Format.HINTED_SIGNAL):
            self.readback = signal_r(float, f"{prefix}monoGetEnergy", unit="eV")
        with self.add_children_as_readables(Format.CONFIG_SIGNAL):
            self.min_energy = signal_r(float, f"{prefix}minEnergy", unit="eV")
            self.max_energy = signal_r(float, f"{prefix}maxEnergy", unit="eV")
            self.c = signal_r(float, f"{prefix}c", unit="mm")
        self.setpoint = signal_rw(float, f"{prefix}monoSetEnergy", unit="eV", wait=False)
        self.status = signal_r(int, f"{prefix}IStatus")
        super().__init__(name)

    @cached_property
    def movable_logic(self) -> ControllerMove:
        """How the energy moves."""
        return _energy_move(self, None, self._tolerance, self._pace)


@default_mock_class(_MonochromatorMock)
class DCM(_Monochromator):
    """Double-crystal monochromator with BESSY's monochromator software (EMIL's U17 beamline).

    Parameters
    ----------
    prefix, name, tolerance, pace, latency
        As for :class:`PGM`; the prefix is for example ``"u171dcm1:"``.
    timing
        How its moves go; flights need it.
    velocity_pv
        Name behind the prefix of the setting for the velocity of moves, eV/s, where the
        controller has one: flights set it.

    Attributes
    ----------
    readback, setpoint, min_energy, max_energy, id_on
        As for :class:`PGM`.
    harmonic
        ``Harmonic``.
    status
        ``GK_STATUS``, 0 when the monochromator stands.
    crystal
        ``SetGratingNo``: the crystal in use.
    lattice_spacing
        ``d_hkl``, nm.
    bandwidth
        ``crystal_bw``, eV.
    theta
        ``Theta`` / ``SetTheta``, degrees.
    first_crystal, second_crystal
        ``dcm:CR1`` / ``dcm:setCR1`` and ``dcm:CR2`` / ``dcm:setCR2``.
    """

    def __init__(
        self,
        prefix: str,
        name: str = "",
        *,
        tolerance: float = 0.1,
        pace: Pace = _ENERGY_PACE,
        latency: float = 0.0,
        timing: MoveTiming | None = None,
        velocity_pv: str | None = None,
    ) -> None:
        self._tolerance = tolerance
        self._pace = pace
        self.latency = latency
        self.timing = timing
        self.velocity = _velocity_setting(prefix, velocity_pv)
        with self.add_children_as_readables(Format.HINTED_SIGNAL):
            self.readback = signal_r(float, f"{prefix}monoGetEnergy", unit="eV")
        with self.add_children_as_readables(Format.CONFIG_SIGNAL):
            self.min_energy = signal_r(float, f"{prefix}minEnergy", unit="eV")
            self.max_energy = signal_r(float, f"{prefix}maxEnergy", unit="eV")
            self.crystal = signal_rw(str, f"{prefix}SetGratingNo")
            self.lattice_spacing = signal_r(float, f"{prefix}d_hkl", unit="nm")
            self.bandwidth = signal_r(float, f"{prefix}crystal_bw", unit="eV")
            self.theta = signal_rw(float, f"{prefix}Theta", f"{prefix}SetTheta", unit="deg")
            self.first_crystal = signal_rw(float, f"{prefix}dcm:CR1", f"{prefix}dcm:setCR1")
            self.second_crystal = signal_rw(float, f"{prefix}dcm:CR2", f"{prefix}dcm:setCR2")
            self.id_on = signal_rw(bool, f"{prefix}SetIdOn")
            self.harmonic = signal_rw(str, f"{prefix}Harmonic")
        self.setpoint = signal_rw(float, f"{prefix}monoSetEnergy", unit="eV", wait=False)
        self.status = signal_r(int, f"{prefix}GK_STATUS")
        super().__init__(name)

    @cached_property
    def movable_logic(self) -> ControllerMove:
        """How the energy moves."""
        return _energy_move(self, None, self._tolerance, self._pace)


class _ReadyCrystals(DeviceMock["KMC3DCM"]):
    """Mock of a crystal monochromator that is ready and arrives at once."""

    async def connect(self, device: "KMC3DCM") -> None:
        await InstantMove().connect(device)
        set_mock_value(device.status, 1)


@default_mock_class(_ReadyCrystals)
class KMC3DCM(_Monochromator):
    """The double-crystal monochromator of the KMC-3 beamline, which has a controller of its own.

    Parameters
    ----------
    prefix, name, tolerance, pace, latency
        As for :class:`PGM`; the prefix is for example ``"DCM1OB013L:"``.
    timing
        How its moves go; flights need it.
    velocity_pv
        Name behind the prefix of the setting for the velocity of moves, eV/s, where the
        controller has one: flights set it.

    Attributes
    ----------
    readback, setpoint
        ``DCM_ENERGY_MON.M``, ``DCM_ENERGY_SP``, eV.
    status
        ``DCM_ERDY_STS``, 1 when the energy is ready.
    """

    def __init__(
        self,
        prefix: str,
        name: str = "",
        *,
        tolerance: float = 0.1,
        pace: Pace = _ENERGY_PACE,
        latency: float = 0.0,
        timing: MoveTiming | None = None,
        velocity_pv: str | None = None,
    ) -> None:
        self._tolerance = tolerance
        self._pace = pace
        self.latency = latency
        self.timing = timing
        self.velocity = _velocity_setting(prefix, velocity_pv)
        with self.add_children_as_readables(Format.HINTED_SIGNAL):
            self.readback = signal_r(float, f"{prefix}DCM_ENERGY_MON.M", unit="eV")
        self.setpoint = signal_rw(float, f"{prefix}DCM_ENERGY_SP", unit="eV", wait=False)
        self.status = signal_r(int, f"{prefix}DCM_ERDY_STS")
        super().__init__(name)

    @cached_property
    def movable_logic(self) -> ControllerMove:
        """How the energy moves."""
        return _energy_move(self, None, self._tolerance, self._pace, standing=1)

    async def limits(self) -> tuple[float, float] | None:
        """Return the drive limits of the setpoint in eV, None where it has none."""
        return await read_limits(self.setpoint)


SimpleMonochromator = SGM | DCM | KMC3DCM
"""Monochromators without a sweep of their own."""

Monochromator = PGM | SimpleMonochromator
"""Monochromators of any kind."""
