"""The photon energy as one axis: a monochromator, and an undulator that follows it."""

import asyncio
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from ophyd_async.core import (
    Device,
    DeviceMock,
    MovableLogic,
    Reference,
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

from .monochromator import CoupledMonochromator
from .positioning import MotionError, check_range, end_task
from .sampled import Derived, SampledChannel
from .signals import watch
from .undulator import STANDING, ControlMode, Undulator

__all__ = ["EnergyAxis"]

STATUS_PERIOD = 0.1
"""Seconds between two updates of an undulator's status (it is measured at 10 Hz)."""

TRACKING_BOUND = 0.05
"""Share of the harmonic's width 1/(nN) by which it may be off the energy during a scan."""

SMALLEST_GAP_STEP = 0.001
"""Changes of the gap in mm below which the undulator may not move at all."""


@dataclass
class _EnergyMove(MovableLogic[float]):
    """Move the monochromator, then wait for the undulator that follows it."""

    monochromator: CoupledMonochromator
    undulator: Undulator | None
    tolerance: float | None
    _moving: asyncio.Task[Any] | None = field(default=None, init=False, repr=False)

    async def check_move(self, new_position: float) -> None:
        """Refuse an energy that one of the two cannot reach (ValueError)."""
        await self.monochromator.check_value(new_position)
        if self.undulator is not None:
            check_range(
                f"{self.undulator.name} in harmonic {self.undulator.harmonic}",
                new_position,
                await self.undulator.energy_limits(),
                "eV",
            )

    async def move(self, new_position: float, timeout: TimeoutCalculator) -> None:
        """Move both; each wait inside has its own bound."""
        self._moving = asyncio.current_task()
        try:
            if self.undulator is None:
                await self.monochromator.set(new_position)
                return
            # Checked first: a switch that is on already may do something when it is set again.
            if not await self.monochromator.id_on.get_value():
                await self.monochromator.id_on.set(True)
            if await self.undulator.control_mode.get_value() != ControlMode.MONOCHROMATOR:
                await self.undulator.set_control(ControlMode.MONOCHROMATOR)
            await self.monochromator.set(new_position)
            await self._follow(self.undulator, new_position)
        finally:
            self._moving = None

    async def _follow(self, undulator: Undulator, target: float) -> None:
        """Wait until the harmonic is at the energy and the gap has come to rest."""
        width = target * undulator.law.relative_width(undulator.harmonic)
        tolerance = width / 2 if self.tolerance is None else self.tolerance
        status, gap = undulator.gap.status, undulator.gap.readback
        distance = float(undulator.law.gap(target, undulator.harmonic))
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
                f"is {seen.value(gap):.3f} mm (harmonic {undulator.harmonic} at {energy:.1f} eV) "
                f"and {status.source} is {seen.value(status)!r}."
            )

    @staticmethod
    def _settling(undulator: Undulator) -> float:
        return undulator.following_lag + STATUS_PERIOD

    async def stop(self) -> None:
        """Stop both, the monochromator first: the undulator follows it."""
        await end_task(self._moving)
        try:
            await self.monochromator.stop()
        finally:
            if self.undulator is not None:
                await self.undulator.stop()


class _EnergyMock(DeviceMock["EnergyAxis"]):
    """Mock of the coupling: the gap is right as soon as the energy is set.

    The devices of the axis must have been connected in mock mode before it.
    """

    async def connect(self, device: "EnergyAxis") -> None:
        monochromator, undulator = device.monochromator(), device.undulator()

        def arrive(energy: float) -> None:
            set_mock_value(monochromator.readback, energy)
            if undulator is not None:
                gap = float(undulator.law.gap(energy, undulator.harmonic))
                set_mock_value(undulator.gap.readback, gap)

        callback_on_mock_put(monochromator.setpoint, arrive)


@default_mock_class(_EnergyMock)
class EnergyAxis(StandardReadable, StandardMovable[float]):
    """The photon energy in eV, as scientists think of it: set it, scan it, fly it.

    ``set`` switches the coupling on (``SetIdOn``, the undulator under the monochromator's
    control), moves the monochromator, and ends when both stand at the energy. ``stop`` stops both.
    The two devices are referred to, not adopted: connect them as devices of their own.

    Parameters
    ----------
    monochromator
        The monochromator.
    undulator
        The undulator that follows it; None for a beamline without one.
    name
        Name of the axis and of the energy in the data.
    tolerance
        Largest distance in eV between the harmonic and the energy at the end of a move; None:
        half of the harmonic's natural width 1/(nN).

    Attributes
    ----------
    readback
        Energy that the monochromator reads back, eV.
    setpoint
        Energy that it was last sent to, eV.
    undulator_energy
        Energy of the harmonic at the gap that is read back, eV; only with an undulator.
    """

    def __init__(
        self,
        monochromator: CoupledMonochromator,
        undulator: Undulator | None = None,
        name: str = "energy",
        *,
        tolerance: float | None = None,
    ) -> None:
        self.monochromator = Reference(monochromator)
        self.undulator = Reference(undulator)
        self._tolerance = tolerance
        with self.add_children_as_readables(Format.HINTED_SIGNAL):
            self.readback = derived_signal_r(
                _same, derived_units="eV", energy=monochromator.readback
            )
        with self.add_children_as_readables(Format.UNCACHED_SIGNAL):
            self.setpoint = derived_signal_rw(
                _same, self._put_setpoint, derived_units="eV", energy=monochromator.setpoint
            )
        if undulator is not None:
            with self.add_children_as_readables(Format.HINTED_SIGNAL):
                self.undulator_energy = derived_signal_r(
                    undulator.energy_at, derived_units="eV", gap=undulator.gap.readback
                )
        super().__init__(name)

    async def _put_setpoint(self, value: float) -> None:
        await self.monochromator().setpoint.set(value)

    @cached_property
    def movable_logic(self) -> _EnergyMove:
        """How the energy moves."""
        return _EnergyMove(
            self.setpoint,
            self.readback,
            self.monochromator(),
            self.undulator(),
            self._tolerance,
        )

    async def limits(self) -> tuple[float, float] | None:
        """Return the range of energies in eV that all devices of the axis reach."""
        ranges = [await self.monochromator().limits()]
        if (undulator := self.undulator()) is not None:
            ranges.append(await undulator.energy_limits())
        known = [limits for limits in ranges if limits is not None]
        if not known:
            return None
        return max(low for low, _ in known), min(high for _, high in known)

    async def channels(self) -> list[SampledChannel]:
        """Return the energy, and the gap of the undulator, as continuous readbacks."""
        channels = await self.monochromator().channels()
        energy = [
            SampledChannel(replace(sampled.channel, name=self.name), sampled.source)
            for sampled in channels
        ]
        if (undulator := self.undulator()) is not None:
            return energy + await undulator.channels()
        return energy

    def parts(self) -> list[Device]:
        """Return the devices that the axis refers to: they must be connected as well."""
        undulator = self.undulator()
        return [self.monochromator()] + ([] if undulator is None else [undulator])

    def derived(self) -> list[Derived]:
        """Return the harmonic's energy and its distance from the axis, eV, for each row."""
        undulator = self.undulator()
        if undulator is None:
            return []
        law, harmonic = undulator.law, undulator.harmonic
        harmonic_energy = f"{undulator.name}_energy"
        return [
            Derived(
                harmonic_energy,
                "eV",
                (f"{undulator.name}_gap",),
                lambda gap: np.asarray(law.energy(gap, harmonic)),
            ),
            Derived(
                "tracking_error",
                "eV",
                (harmonic_energy, self.name),
                np.subtract,
                bound=lambda _, energy: TRACKING_BOUND * law.relative_width(harmonic) * energy,
            ),
        ]


def _same(energy: float) -> float:
    return energy
