"""The photon energy as one axis: a monochromator, and the undulator that belongs to it."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from math import nan
from typing import Any, Protocol, runtime_checkable

import numpy as np
from bluesky.protocols import Flyable, Preparable
from ophyd_async.core import (
    AsyncStatus,
    Device,
    DeviceMock,
    MovableLogic,
    Reference,
    SignalR,
    SignalRW,
    SoftSignalBackend,
    StandardMovable,
    StandardReadable,
    TimeoutCalculator,
    callback_on_mock_put,
    default_mock_class,
    derived_signal_r,
    derived_signal_rw,
    set_mock_value,
)
from ophyd_async.core import StandardReadableFormat as Format
from ophyd_async.epics.motor import Motor as EpicsMotor

from glidepath.timeline.channel import ChannelKind
from glidepath.trajectory import TRACKING_BOUND

from .flying import AxisFlying
from .motor_record import soft_limits
from .positioning import MotionError, WithLimits, end_task, together
from .sampled import Derived, SampledChannel, channels_for
from .signals import watch
from .undulator import STANDING, ControlMode, Undulator

__all__ = ["Coupling", "EnergyAxis", "LeadsUndulator"]

STATUS_PERIOD = 0.1
"""Seconds between two updates of an undulator's status (it is measured at 10 Hz)."""

SMALLEST_GAP_STEP = 0.001
"""Changes of the gap in mm below which the undulator may not move at all."""


AnyMonochromator = StandardMovable[float]
"""What moves the energy: one of ours, a motor record, or a class of somebody else."""


@runtime_checkable
class LeadsUndulator(Protocol):
    """A monochromator whose controller can bring an undulator along, such as `PGM` and `DCM`."""

    @property
    def id_on(self) -> SignalRW[bool]:
        """Whether the undulator follows."""
        ...

    @property
    def harmonic(self) -> SignalRW[str]:
        """The harmonic in which it follows."""
        ...


class Coupling(StrEnum):
    """Who brings the undulator along with the energy."""

    FOLLOWING = "following"
    """The controllers among themselves: the undulator follows the monochromator."""
    SEPARATE = "separate"
    """We do: both are axes of their own, and the gap is driven by its panel's commands."""


@dataclass
class _EnergyMove(MovableLogic[float]):
    """Move the monochromator and the undulator, and wait for both."""

    monochromator: AnyMonochromator
    undulator: Undulator | None
    coupling: Coupling
    tolerance: float | None
    _moving: asyncio.Task[Any] | None = field(default=None, init=False, repr=False)

    async def check_move(self, new_position: float) -> None:
        """Refuse an energy that one of the two cannot reach (ValueError)."""
        await self.monochromator.check_value(new_position)
        if self.undulator is not None:
            await self.undulator.check_energy(new_position)

    async def move(self, new_position: float, timeout: TimeoutCalculator) -> None:
        """Move both; each wait inside has its own bound."""
        self._moving = asyncio.current_task()
        try:
            if self.undulator is None:
                await self.monochromator.set(new_position)
            elif self.coupling is Coupling.SEPARATE:
                await self._move_apart(self.undulator, new_position)
            else:
                await self._move_coupled(self.undulator, new_position)
        finally:
            self._moving = None

    async def _move_apart(self, undulator: Undulator, target: float) -> None:
        await decouple(self.monochromator, undulator)
        curve = undulator.curve
        moves: list[Awaitable[None]] = [
            self.monochromator.set(target),
            undulator.gap.set(float(curve.gap(target))),
        ]
        shift = float(curve.shift(target))
        if not await undulator.has_shift(shift):
            moves.append(undulator.shift.set(shift))
        try:
            await together(*moves)
        except Exception:
            # One alone would leave the beamline detuned, and go on moving unseen.
            await self._stop_both()
            raise

    async def _move_coupled(self, undulator: Undulator, target: float) -> None:
        monochromator = self.monochromator
        assert isinstance(monochromator, LeadsUndulator)
        # Checked first: a switch that is on already may do something when it is set again.
        if not await monochromator.id_on.get_value():
            await monochromator.id_on.set(True)
        if await undulator.control_mode.get_value() != ControlMode.MONOCHROMATOR:
            await undulator.set_control(ControlMode.MONOCHROMATOR)
        await monochromator.set(target)
        await self.follow(undulator, target)

    async def follow(self, undulator: Undulator, target: float) -> None:
        """Wait until the harmonic is at an energy (eV) and the gap has come to rest.

        Raises
        ------
        MotionError
            If it does not come there in time.
        """
        curve = undulator.curve
        tolerance = float(curve.width(target)) / 2 if self.tolerance is None else self.tolerance
        status, gap = undulator.gap.status, undulator.gap.readback
        distance = float(curve.gap(target))
        async with watch(status, gap) as seen:

            def tuned() -> bool:
                energy = undulator.energy_at(seen.value(gap))
                return abs(energy - target) <= tolerance

            def standing() -> bool:
                return seen.value(status) == STANDING and tuned()

            distance -= seen.value(gap)
            bound = await undulator.gap.movable_logic.calculate_timeout(0.0, distance)
            deadline = asyncio.get_running_loop().time() + bound
            rest = 0.0 if abs(distance) < SMALLEST_GAP_STEP else self._settling(undulator)
            while (left := deadline - asyncio.get_running_loop().time()) > 0:
                if not await seen.until(standing, left):
                    break
                # It may stand because it has not heard yet that the energy has changed.
                if not await seen.until(lambda: not standing(), rest):
                    return
            energy = undulator.energy_at(seen.value(gap))
            raise MotionError(
                f"{undulator.name} did not follow to {target:g} eV within {bound:.0f} s: its gap "
                f"is {seen.value(gap):.3f} mm (harmonic {curve.harmonic} at {energy:.1f} eV) "
                f"and {status.source} is {seen.value(status)!r}."
            )

    @staticmethod
    def _settling(undulator: Undulator) -> float:
        return undulator.following_lag + STATUS_PERIOD

    async def stop(self) -> None:
        """Stop both, the monochromator first: the undulator may follow it."""
        await end_task(self._moving)
        await self._stop_both()

    async def _stop_both(self) -> None:
        try:
            await self.monochromator.stop()
        finally:
            if self.undulator is not None:
                await self.undulator.stop()


async def decouple(monochromator: AnyMonochromator, undulator: Undulator) -> None:
    """Let the undulator obey its own commands, whatever the monochromator does."""
    if isinstance(monochromator, LeadsUndulator) and await monochromator.id_on.get_value():
        await monochromator.id_on.set(False)
    if await undulator.control_mode.get_value() != ControlMode.PANEL:
        await undulator.set_control(ControlMode.PANEL)


class _EnergyMock(DeviceMock["EnergyAxis"]):
    """Mock of the coupling: the gap is right as soon as the energy is set.

    The devices of the axis must have been connected in mock mode before it.
    """

    async def connect(self, device: "EnergyAxis") -> None:
        monochromator, undulator = device.monochromator(), device.undulator()

        def arrive(energy: float) -> None:
            set_mock_value(monochromator.movable_logic.readback, energy)
            if undulator is not None and device.coupling is Coupling.FOLLOWING:
                set_mock_value(undulator.gap.readback, float(undulator.curve.gap(energy)))

        callback_on_mock_put(monochromator.movable_logic.setpoint, arrive)


@default_mock_class(_EnergyMock)
class EnergyAxis(StandardReadable, StandardMovable[float], Preparable, Flyable):
    """The photon energy in eV, as scientists think of it: set it, scan it, fly it.

    ``set`` moves the monochromator and the undulator, and ends when both stand at the energy.
    Where the undulator follows by itself, that is switched on first (``SetIdOn``, the undulator
    under the monochromator's control); as separate axes, it is switched off first. ``stop`` stops
    both, also in flight. A plan that flies the axis should stage it: unstaging ends a flight that
    was aborted.

    ``prepare`` takes what is to be flown: a ``Leg``, a ``Region``, a tuple ``(start, stop,
    velocity)`` in eV and eV/s, or ophyd-async's ``FlyMotorInfo``. ``kickoff`` and ``complete``
    fly it; when ``complete`` is done, all settings are as they were. ``pause`` makes both stand,
    ``resume`` flies the rest with a new run-up.

    The two devices are referred to, not adopted: connect them as devices of their own.

    Parameters
    ----------
    monochromator
        The monochromator: one of ours, a motor record in eV, ophyd-async's own ``Motor`` too, or
        any ``StandardMovable`` of ophyd-async in eV; its ``limits()``, if it has them, are what it
        reaches. One that an undulator follows by itself must be a `LeadsUndulator`.
    undulator
        The undulator that belongs to it; None for a beamline without one.
    name
        Name of the axis and of the energy in the data.
    coupling
        Who brings the undulator along.
    tolerance
        Largest distance in eV between the harmonic and the energy at the end of a move of
        coupled controllers; None: half of the harmonic's natural width 1/(nN).
    tracking_bound
        Share of the harmonic's width by which it may be off the energy during a scan: rows
        beyond it are marked, and the gap of separate axes is driven so that it is kept.
    gap_segments
        In how many straight pieces the gap of separate axes is driven over a scan; None: as few
        as the bound allows.

    Attributes
    ----------
    readback
        Energy that the monochromator reads back, eV.
    setpoint
        Energy that it was last sent to, eV.
    low_limit, high_limit
        Energies that all devices of the axis reach, eV; NaN where not known.
    undulator_energy
        Energy of the harmonic at the gap that is read back, eV; only with an undulator, as the
        next ones.
    harmonic, polarisation
        In use; can be set, and the next move takes them into account. Where the undulator
        follows by itself, the monochromator is told the harmonic, and the polarisation is fixed.
    offset
        The harmonic's distance in eV from where its table says it is; can be set.
    """

    def __init__(
        self,
        monochromator: AnyMonochromator,
        undulator: Undulator | None = None,
        name: str = "energy",
        *,
        coupling: Coupling | str = Coupling.FOLLOWING,
        tolerance: float | None = None,
        tracking_bound: float = TRACKING_BOUND,
        gap_segments: int | None = None,
    ) -> None:
        self.coupling = Coupling(coupling)
        self._flying = AxisFlying(self)
        follows = undulator is not None and self.coupling is Coupling.FOLLOWING
        if follows and not isinstance(monochromator, LeadsUndulator):
            raise TypeError(
                f"No undulator can follow {monochromator.name} by itself: it has no signals id_on "
                "and harmonic, which tell its controller to bring one along; give them to its "
                'class, or give the energy axis coupling="separate".'
            )
        self.monochromator = Reference(monochromator)
        self.undulator = Reference(undulator)
        self._tolerance = tolerance
        self.tracking_bound = tracking_bound
        self.gap_segments = gap_segments
        with self.add_children_as_readables(Format.HINTED_SIGNAL):
            self.readback = derived_signal_r(
                _same, derived_units="eV", energy=monochromator.movable_logic.readback
            )
        with self.add_children_as_readables(Format.UNCACHED_SIGNAL):
            self.setpoint = derived_signal_rw(
                _same,
                self._put_setpoint,
                derived_units="eV",
                energy=monochromator.movable_logic.setpoint,
            )
        with self.add_children_as_readables(Format.CONFIG_SIGNAL):
            self.low_limit = SignalR(SoftSignalBackend(float, nan, "eV", getter=self._low))
            self.high_limit = SignalR(SoftSignalBackend(float, nan, "eV", getter=self._high))
        if undulator is not None:
            with self.add_children_as_readables(Format.HINTED_SIGNAL):
                self.undulator_energy = derived_signal_r(
                    undulator.energy_at, derived_units="eV", gap=undulator.gap.readback
                )
            with self.add_children_as_readables(Format.CONFIG_SIGNAL):
                self.harmonic = derived_signal_rw(
                    _same_number, self._put_harmonic, number=undulator.harmonic
                )
                self.polarisation = derived_signal_rw(
                    _same_text, self._put_polarisation, text=undulator.polarisation
                )
                self.offset = derived_signal_rw(
                    _same, self._put_offset, derived_units="eV", energy=undulator.offset
                )
        super().__init__(name)

    async def _put_setpoint(self, value: float) -> None:
        await self.monochromator().movable_logic.setpoint.set(value)

    async def _low(self) -> float:
        limits = await self.limits()
        return nan if limits is None else limits[0]

    async def _high(self) -> float:
        limits = await self.limits()
        return nan if limits is None else limits[1]

    async def _put_harmonic(self, value: int) -> None:
        monochromator, undulator = self.monochromator(), self.undulator()
        assert undulator is not None
        await undulator.harmonic.set(value)
        if self.coupling is Coupling.FOLLOWING:
            assert isinstance(monochromator, LeadsUndulator)
            await monochromator.harmonic.set(str(value))

    async def _put_polarisation(self, value: str) -> None:
        undulator = self.undulator()
        assert undulator is not None
        if self.coupling is Coupling.FOLLOWING and value != undulator.curve.polarisation:
            raise ValueError(
                f"{undulator.name} follows {self.monochromator().name}, which knows no "
                f"polarisation {value!r}; change it in their controllers, or use an energy axis "
                'with coupling="separate".'
            )
        await undulator.polarisation.set(value)

    async def _put_offset(self, value: float) -> None:
        undulator = self.undulator()
        assert undulator is not None
        await undulator.offset.set(value)

    @cached_property
    def movable_logic(self) -> _EnergyMove:
        """How the energy moves."""
        return _EnergyMove(
            self.setpoint,
            self.readback,
            self.monochromator(),
            self.undulator(),
            self.coupling,
            self._tolerance,
        )

    @AsyncStatus.wrap
    async def prepare(self, value: Any) -> None:
        """Check what is to be flown (PreflightError), go to its run-up, set up the flight."""
        await self._flying.prepare(value)

    @AsyncStatus.wrap
    async def kickoff(self) -> None:
        """Start the flight that was prepared; done when the axis is under way."""
        await self._flying.kickoff()

    @AsyncStatus.wrap
    async def complete(self) -> None:
        """Be done when the axis has passed the stop and its settings are as they were."""
        await self._flying.complete()

    async def pause(self) -> None:
        """Make the axis stand and put its settings back; a flight goes on with `resume`."""
        await self._flying.pause()

    async def resume(self) -> None:
        """Let a paused flight go on behind the place where it was paused."""
        self._flying.resume()

    async def stop(self, success: bool = False) -> None:
        """Make both stand, whether the axis moves or flies.

        With ``success``, which is how the run engine stops everything before a pause, a flight
        can go on: see `pause`. Without, it is over.
        """
        if success:
            await self._flying.pause()
        else:
            await self._flying.end(success=False)
        await super().stop(success)

    @AsyncStatus.wrap
    async def unstage(self) -> None:
        """End a flight that is still under way."""
        # Quietly: the plan is over, and an error now would hide why.
        await self._flying.end(success=True)
        await super().unstage()

    async def limits(self) -> tuple[float, float] | None:
        """Return the range of energies in eV that all devices of the axis reach."""
        monochromator = self.monochromator()
        ranges: list[tuple[float, float] | None] = []
        if isinstance(monochromator, EpicsMotor):
            ranges.append(await soft_limits(monochromator))
        elif isinstance(monochromator, WithLimits):
            ranges.append(await monochromator.limits())
        if (undulator := self.undulator()) is not None:
            ranges.append(await undulator.energy_limits())
        known = [limits for limits in ranges if limits is not None]
        if not known:
            return None
        return max(low for low, _ in known), min(high for _, high in known)

    async def channels(self) -> list[SampledChannel]:
        """Return the energy, and the gap of the undulator, as continuous readbacks."""
        energy = [
            replace(sampled, channel=replace(sampled.channel, name=self.name))
            for sampled in await channels_for(self.monochromator())
            if sampled.channel.kind is ChannelKind.READBACK
        ]
        if (undulator := self.undulator()) is not None:
            return energy + await undulator.channels()
        return energy

    async def undulator_follows(self) -> None:
        """Return when the undulator has followed to where the monochromator is, and stands.

        Raises
        ------
        MotionError
            If it does not follow in time.
        """
        undulator = self.undulator()
        if undulator is not None:
            readback = self.monochromator().movable_logic.readback
            await self.movable_logic.follow(undulator, await readback.get_value())

    def parts(self) -> list[Device]:
        """Return the devices that the axis refers to: they must be connected as well."""
        undulator = self.undulator()
        return [self.monochromator()] + ([] if undulator is None else [undulator])

    def derived(self) -> list[Derived]:
        """Return the harmonic's energy and its distance from the axis, eV, for each row."""
        undulator = self.undulator()
        if undulator is None:
            return []
        # As it is set up now: a curve does not change.
        curve, bound = undulator.curve, self.tracking_bound
        harmonic_energy = f"{undulator.name}_energy"
        return [
            Derived(harmonic_energy, "eV", (f"{undulator.name}_gap",), curve.energy),
            Derived(
                "tracking_error",
                "eV",
                (harmonic_energy, self.name),
                np.subtract,
                bound=lambda _, energy: bound * curve.width(energy),
            ),
        ]


def _same(energy: float) -> float:
    return energy


def _same_number(number: int) -> int:
    return number


def _same_text(text: str) -> str:
    return text
