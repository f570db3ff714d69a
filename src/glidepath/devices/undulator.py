"""Undulators as the BESSY II control system shows them: gap, shift, and who drives them.

Process variables: ``hz-b/bessyii_devices`` (``undulator.py``) and BESSY's user panels for
insertion devices. A move of the gap or of the shift is: write the setpoint, process the 'calc'
command, wait until the status label says ``STOP``. Lengths in mm, energies in eV.
"""

from dataclasses import replace
from enum import StrEnum
from functools import cached_property
from math import nan
from typing import Any

import numpy as np
from ophyd_async.core import (
    DeviceMock,
    Reference,
    SignalRW,
    StandardMovable,
    StandardReadable,
    default_mock_class,
    derived_signal_r,
    set_mock_value,
    soft_signal_rw,
)
from ophyd_async.core import StandardReadableFormat as Format

from glidepath.physics import (
    HORIZONTAL,
    Calibration,
    GapCurve,
    GapTable,
    UndulatorLaw,
)
from glidepath.timeline.channel import Channel, ChannelKind

from .positioning import ControllerMove, InstantMove, MotionError, Pace, check_range
from .restoring import RestoredSetting, Restoring, until_there
from .sampled import SampledChannel
from .signals import (
    GONE_TIMEOUT,
    NoAnswerError,
    patience_with,
    read_limits,
    signal_r,
    signal_rw,
    tell,
    watch,
)

__all__ = ["ControlMode", "Undulator", "UndulatorAxis"]

STANDING = "STOP"
"""What the status label shows while an axis stands."""

ENABLED, STOPPED = 0, 1
"""Values of ``BaseCmnUsrStop``."""

SWITCH_TIMEOUT = 10.0
"""Seconds within which a switch of the control must be confirmed."""


LAW_STEP = 0.25
"""Distance in mm of the points of a table that is computed from a law."""

LAW_RANGE = (5.0, 250.0)
"""Gaps in mm of such a table, if the range of the gap is not given."""

SMALLEST_SHIFT = 0.005
"""Changes of the shift in mm that are not worth a move."""

_GAP_PACE = Pace(slowest=0.1, allowance=30.0)


class ControlMode(StrEnum):
    """Who drives the gap (labels of ``BaseCmdLswitch``)."""

    PANEL = "panel"
    """The control system: gap and shift are moved by their setpoints."""
    MONOCHROMATOR = "monochromator"
    """The monochromator: the gap follows its energy."""


class _StandingAxis(DeviceMock["UndulatorAxis"]):
    """Mock of an axis that stands and arrives at once."""

    async def connect(self, device: "UndulatorAxis") -> None:
        await InstantMove().connect(device)
        set_mock_value(device.status, STANDING)
        set_mock_value(device.velocity, 1.0)


@default_mock_class(_StandingAxis)
class UndulatorAxis(StandardReadable, StandardMovable[float]):
    """Gap or shift of an undulator, in mm.

    Parameters
    ----------
    prefix
        Prefix of the axis: the undulator's for the gap, the same and ``S`` for the shift.
    readback
        Suffix of the position, for example ``"BaseIPmGap.A"``.
    control_mode, user_stop
        Signals of the undulator that both axes share.
    limits
        Range in mm; None: the drive limits of the setpoint's record.
    name
        Name of the axis and of its position in the data.
    tolerance
        Largest distance in mm between position and target at the end of a move.

    Attributes
    ----------
    readback, setpoint
        Position and target, mm.
    status
        ``BaseStatISLbl``: ``"STOP"`` when the axis stands.
    velocity
        ``DiagPhyVelSet``, mm/s.
    drive
        ``BaseCmdMcmd``: a move needs ``"START"``.
    calculate
        ``BaseCmdCalc.PROC``: starts the move.
    increment
        ``BaseParGapTrs``, mm.
    """

    def __init__(
        self,
        prefix: str,
        readback: str,
        control_mode: SignalRW[str],
        user_stop: SignalRW[int],
        limits: tuple[float, float] | None = None,
        name: str = "",
        *,
        tolerance: float = 0.005,
    ) -> None:
        self._control_mode = Reference(control_mode)
        self._user_stop = Reference(user_stop)
        self._limits = limits
        self._tolerance = tolerance
        with self.add_children_as_readables(Format.HINTED_SIGNAL):
            self.readback = signal_r(float, f"{prefix}{readback}", unit="mm")
        with self.add_children_as_readables(Format.CONFIG_SIGNAL):
            self.velocity = signal_rw(float, f"{prefix}DiagPhyVelSet", unit="mm/s")
        self.setpoint = signal_rw(float, f"{prefix}BaseParGapsel.B", unit="mm")
        self.increment = signal_rw(float, f"{prefix}BaseParGapTrs", unit="mm")
        self.status = signal_r(str, f"{prefix}BaseStatISLbl")
        self.drive = signal_rw(str, f"{prefix}BaseCmdMcmd")
        # Starts the motion: its processing may last as long.
        self.calculate = signal_rw(int, f"{prefix}BaseCmdCalc.PROC", wait=False)
        super().__init__(name)

    @cached_property
    def movable_logic(self) -> ControllerMove:
        """How the axis moves."""
        return ControllerMove(
            self.setpoint,
            self.readback,
            status=self.status,
            is_done=lambda label: label == STANDING,
            halt=self._halt,
            limits=self.limits,
            unit="mm",
            tolerance=self._tolerance,
            pace=_GAP_PACE,
            velocity=self.velocity,
            before=self._enable,
            go=self._go,
        )

    async def _enable(self) -> None:
        if await self._control_mode().get_value() == ControlMode.MONOCHROMATOR:
            raise ValueError(
                f"{self.name} follows the monochromator and cannot be moved by itself; "
                f"set {self._control_mode().name} to {ControlMode.PANEL.value!r} first."
            )
        await self.drive.set("START")

    async def _go(self) -> None:
        await self.calculate.set(1)

    async def _halt(self) -> None:
        # A latching switch: let go again, or nothing will ever move any more.
        user_stop = self._user_stop()
        patience = None
        try:
            await tell(user_stop, STOPPED)
            async with watch(self.status, within=patience_with(self.status)) as seen:
                await seen.until(lambda: seen.value(self.status) == STANDING, SWITCH_TIMEOUT)
        except (NoAnswerError, TimeoutError):
            patience = GONE_TIMEOUT
            raise
        finally:
            # Also if it did not answer: it may hang, and do both later.
            await tell(user_stop, ENABLED, patience)

    async def limits(self) -> tuple[float, float] | None:
        """Return the range of positions in mm, None if not known."""
        return self._limits or await read_limits(self.setpoint)


class _UndulatorMock(DeviceMock["Undulator"]):
    """Mock of an undulator that stands at a gap of 30 mm under the control of the panel."""

    async def connect(self, device: "Undulator") -> None:
        set_mock_value(device.gap.readback, 30.0)
        set_mock_value(device.control_mode, ControlMode.PANEL)


@default_mock_class(_UndulatorMock)
class Undulator(StandardReadable):
    """An elliptical undulator: gap, shift, and the energy of the harmonic that follows from them.

    Parameters
    ----------
    prefix
        Prefix of the process variables, for example ``"UE48IT6R:"``.
    table
        Gap against energy per harmonic and polarisation (`read_gap_table`), or a law from which
        such a table is computed.
    harmonic
        Number of the harmonic in use at the beginning.
    name
        Name of the device.
    polarisation
        Name of the polarisation in use at the beginning.
    calibration
        Where the harmonic truly is against the table.
    gap_range
        Range of the gap in mm; None: the drive limits of the setpoint's record.
    gap_velocities
        Lowest and highest velocity of the gap in mm/s; None: the drive limits of the velocity's
        record.
    gap_acceleration
        How fast the gap changes its velocity, mm/s^2.
    following_lag
        Seconds by which the gap is behind the monochromator's energy when it follows: what the
        pre-flight uses to predict the mismatch during a scan.

    Attributes
    ----------
    gap, shift
        Movable axes (:class:`UndulatorAxis`), mm.
    energy
        Energy in eV of the harmonic at the gap that is read back, NaN outside the table.
    harmonic, polarisation
        Which curve of the table is in use: settings, which the next move takes into account.
    offset, slope
        Calibration: the harmonic is at ``offset + slope * energy of the table``, eV.
    table_energy
        ``BasePmEnergy``: the control system's own opinion for the first harmonic, eV.
    control_mode
        ``BaseCmdLswitch``: a :class:`ControlMode`.
    user_stop
        ``BaseCmnUsrStop``: 1 stops every axis and holds them, 0 lets go.
    """

    def __init__(
        self,
        prefix: str,
        table: GapTable | UndulatorLaw,
        harmonic: int = 1,
        name: str = "",
        *,
        polarisation: str = HORIZONTAL,
        calibration: Calibration | None = None,
        gap_range: tuple[float, float] | None = None,
        gap_velocities: tuple[float, float] | None = None,
        gap_acceleration: float = 1.0,
        following_lag: float = 0.15,
    ) -> None:
        if isinstance(table, UndulatorLaw):
            low, high = gap_range or LAW_RANGE
            table = GapTable.from_law(
                table, np.linspace(low, high, int(np.ceil((high - low) / LAW_STEP)) + 1)
            )
        self.table = table
        self._use(table.curve(harmonic, polarisation), calibration or Calibration())
        self._gap_velocities = gap_velocities
        self.gap_acceleration = gap_acceleration
        self.following_lag = following_lag
        self.user_stop = signal_rw(int, f"{prefix}BaseCmnUsrStop")
        with self.add_children_as_readables(Format.CONFIG_SIGNAL):
            self.control_mode = signal_rw(str, f"{prefix}BaseCmdLswitch")
            self.harmonic = soft_signal_rw(
                int, getter=lambda: self.curve.harmonic, setter=self._use_harmonic
            )
            self.polarisation = soft_signal_rw(
                str, getter=lambda: self.curve.polarisation, setter=self._use_polarisation
            )
            self.offset = soft_signal_rw(
                float,
                units="eV",
                getter=lambda: self.calibration.offset,
                setter=self._use_offset,
            )
            self.slope = soft_signal_rw(
                float, getter=lambda: self.calibration.slope, setter=self._use_slope
            )
        with self.add_children_as_readables(Format.UNCACHED_SIGNAL):
            self.table_energy = signal_r(float, f"{prefix}BasePmEnergy", unit="eV")
        shared = (self.control_mode, self.user_stop)
        with self.add_children_as_readables():
            self.gap = UndulatorAxis(prefix, "BaseIPmGap.A", *shared, gap_range)
            self.shift = UndulatorAxis(f"{prefix}S", "BaseIPmGap.E", *shared)
        with self.add_children_as_readables(Format.HINTED_SIGNAL):
            self.energy = derived_signal_r(
                self.energy_at, derived_units="eV", gap=self.gap.readback
            )
        super().__init__(name)

    @property
    def curve(self) -> GapCurve:
        """Gap against energy as it is in use: harmonic, polarisation, calibration."""
        return self._curve

    @property
    def calibration(self) -> Calibration:
        """Where the harmonic truly is against the table."""
        return self._calibration

    def calibrate(self, calibration: Calibration) -> None:
        """Use another calibration from now on."""
        self._use(self.table.curve(self.curve.harmonic, self.curve.polarisation), calibration)

    def _use(self, curve: GapCurve, calibration: Calibration) -> None:
        self._curve, self._calibration = curve.calibrated(calibration), calibration

    def _use_harmonic(self, harmonic: Any) -> int:
        self._use(self.table.curve(int(harmonic), self.curve.polarisation), self.calibration)
        return self.curve.harmonic

    def _use_polarisation(self, polarisation: Any) -> str:
        self._use(self.table.curve(self.curve.harmonic, str(polarisation)), self.calibration)
        return self.curve.polarisation

    def _use_offset(self, offset: Any) -> float:
        self.calibrate(replace(self.calibration, offset=float(offset), offset_error=nan))
        return self.calibration.offset

    def _use_slope(self, slope: Any) -> float:
        self.calibrate(replace(self.calibration, slope=float(slope), slope_error=nan))
        return self.calibration.slope

    def energy_at(self, gap: float) -> float:
        """Return the energy in eV of the harmonic at a gap in mm, NaN outside the table."""
        return float(self.curve.energy(gap))

    async def reach(self) -> GapCurve:
        """Return the part of the curve in use that lies between the limits of the gap."""
        gaps = await self.gap.limits()
        return self.curve if gaps is None else self.curve.between(*gaps)

    async def energy_limits(self) -> tuple[float, float]:
        """Return the energies in eV that the harmonic reaches between the limits of the gap."""
        reach = await self.reach()
        return reach.low, reach.high

    async def check_energy(self, energy: float) -> None:
        """Refuse (ValueError) an energy in eV that the harmonic in use does not reach."""
        curve = self.curve
        try:
            check_range(
                f"{self.name} in harmonic {curve.harmonic}",
                energy,
                await self.energy_limits(),
                "eV",
            )
        except ValueError as error:
            others = [
                number
                for number in self.table.harmonics(curve.polarisation)
                if await self._reaches(number, energy)
            ]
            if not others:
                raise
            text = str(error).removesuffix(".")
            raise ValueError(f"{text}, but harmonic {others[0]} reaches it.") from None

    async def _reaches(self, harmonic: int, energy: float) -> bool:
        gaps = await self.gap.limits()
        curve = self.table.curve(harmonic, self.curve.polarisation).calibrated(self.calibration)
        curve = curve if gaps is None else curve.between(*gaps)
        return curve.low <= energy <= curve.high

    async def has_shift(self, shift: float) -> bool:
        """Return whether the shift is at a place in mm already, or as near as makes no sense."""
        return abs(await self.shift.readback.get_value() - shift) <= SMALLEST_SHIFT

    async def gap_velocities(self) -> tuple[float, float] | None:
        """Return the lowest and highest velocity of the gap in mm/s, None if not known."""
        return self._gap_velocities or await read_limits(self.gap.velocity)

    async def set_control(self, mode: ControlMode) -> None:
        """Let the panel or the monochromator drive the gap.

        Raises
        ------
        MotionError
            If the undulator did not accept it within ten seconds.
        """
        await self.control_mode.set(mode)
        async with watch(self.control_mode) as seen:
            if not await seen.until(lambda: seen.value(self.control_mode) == mode, SWITCH_TIMEOUT):
                raise MotionError(
                    f"{self.name} did not hand the control of its gap to the {mode} within "
                    f"{SWITCH_TIMEOUT:g} s: {self.control_mode.source} is "
                    f"{seen.value(self.control_mode)!r}."
                )

    def restoring(self) -> Restoring:
        """Return what is brought back: who drives the gap, what is in use, velocities, gap, shift.

        Gap and shift are moved only where the panel drives them: else they follow the energy.
        """
        in_use: tuple[SignalRW[Any], ...]
        in_use = (self.harmonic, self.polarisation, self.offset, self.slope)
        return Restoring(
            settings=(
                RestoredSetting(self.control_mode, arrived=self._control_arrived),
                *(RestoredSetting(signal) for signal in in_use),
                RestoredSetting(self.gap.velocity),
                RestoredSetting(self.shift.velocity),
            ),
            axes=(self.gap, self.shift),
            axes_if=(self.control_mode, ControlMode.PANEL.value),
        )

    async def _control_arrived(self, value: str) -> None:
        await until_there(self.control_mode, value)

    async def stop(self, success: bool = False) -> None:
        """Stop gap and shift, whoever drives them, and wait until they stand."""
        # One switch stops both; two of them at once would let go too early.
        await self.gap.stop(success=success)
        await self.shift.stop(success=success)

    async def channels(self) -> list[SampledChannel]:
        """Return the gap as a continuous readback."""
        return [
            SampledChannel(
                Channel(f"{self.name}_gap", ChannelKind.READBACK, "mm"), self.gap.readback.source
            )
        ]
