"""Power converters, the multiplexer that shares one, kickers and delays (BESSY II)."""

from collections.abc import AsyncIterator, Mapping

from bluesky.protocols import Locatable, Location, Stoppable
from ophyd_async.core import (
    AsyncStatus,
    Device,
    Reference,
    StandardReadable,
    WatchableAsyncStatus,
    WatcherUpdate,
    soft_signal_rw,
)
from ophyd_async.core import StandardReadableFormat as Format

from glidepath.devices.generic import ComparedAxis, Tolerance, pv_names
from glidepath.devices.generic.work import Work
from glidepath.devices.positioning import MotionError
from glidepath.devices.signals import Watch, ask, signal_r, signal_rw, tell, watch

__all__ = ["DelayLine", "Kicker", "Multiplexer", "PowerConverter"]

STEERER = Tolerance(absolute=1e-2, relative=6e-2, settle=0.5, timeout=20.0)
"""When a converter has arrived, in A and s (``hz-b/bact2``: steerers)."""

KICKER = Tolerance(absolute=4e-2, relative=2e-2, timeout=30.0)
"""When a kicker's supply has arrived, in kV and s; down is a discharge, which takes longer."""


class PowerConverter(ComparedAxis):
    """A power converter of a magnet, in A.

    Parameters
    ----------
    prefix
        Prefix of the process variables, for example ``"HS4P1D4R:"``.
    name, pvs, limits, stop_value
        See `ComparedAxis`; MLS has the PVs ``{"setpoint": "{}setCur", "readback": "{}rdCur"}``.
    tolerance
        When it has arrived.
    """

    def __init__(
        self,
        prefix: str,
        name: str = "",
        *,
        pvs: Mapping[str, str] | None = None,
        tolerance: Tolerance = STEERER,
        limits: tuple[float, float] | None = None,
        stop_value: float | None = None,
    ) -> None:
        super().__init__(
            prefix,
            name,
            pvs=pvs,
            unit="A",
            tolerance=tolerance,
            limits=limits,
            stop_value=stop_value,
        )


class Kicker(ComparedAxis):
    """The supply of a kicker, in kV: staged only if power and high voltage are on; stops at zero.

    Parameters
    ----------
    prefix
        What ``{}`` stands for in PV names.
    name
        Name of the device and of its voltage in the data.
    pvs
        PV names that differ from the defaults: ``setpoint``, ``readback``, ``power``
        (``"{}stat1"``), ``high_voltage`` (``"{}stat2"``).
    """

    def __init__(
        self, prefix: str, name: str = "", *, pvs: Mapping[str, str] | None = None
    ) -> None:
        defaults = {"setpoint": "{}set", "readback": "{}rdbk"}
        names = pv_names(prefix, {**defaults, "power": "{}stat1", "high_voltage": "{}stat2"}, pvs)
        self.power = signal_r(int, names.pop("power"))
        self.high_voltage = signal_r(int, names.pop("high_voltage"))
        super().__init__(prefix, name, pvs=names, unit="kV", tolerance=KICKER, stop_value=0.0)

    @AsyncStatus.wrap
    async def stage(self) -> None:
        """Refuse (MotionError) a supply whose power or high voltage is off."""
        off = [s.source for s in (self.power, self.high_voltage) if not await ask(s)]
        if off:
            raise MotionError(
                f"{self.name} cannot be used, for {' and '.join(off)} is off; switch it on first."
            )
        await super().stage()


class DelayLine(ComparedAxis):
    """A delay of a trigger, in ns; staged only if it is switched on.

    Parameters
    ----------
    prefix
        What ``{}`` stands for in PV names.
    name
        Name of the device and of its delay in the data.
    pvs
        PV names that differ from the defaults: ``setpoint`` and ``readback``
        (``"{}sDelay"``), ``switch`` (``"{}switch"``).
    """

    def __init__(
        self, prefix: str, name: str = "", *, pvs: Mapping[str, str] | None = None
    ) -> None:
        defaults = {"setpoint": "{}sDelay", "readback": "{}sDelay", "switch": "{}switch"}
        names = pv_names(prefix, defaults, pvs)
        self.switch = signal_r(int, names.pop("switch"))
        super().__init__(prefix, name, pvs=names, unit="ns", tolerance=Tolerance(1e-3))

    @AsyncStatus.wrap
    async def stage(self) -> None:
        """Refuse (MotionError) a delay that is switched off."""
        if not await ask(self.switch):
            raise MotionError(
                f"{self.name} cannot be used, for {self.switch.source} is off; switch it on first."
            )
        await super().stage()


class Multiplexer(StandardReadable, Locatable[str], Stoppable):
    """Relays that connect one power converter to one of many quadrupoles, or to none.

    The relays are switched only without current: setting it first brings the converter to zero,
    then the relays to off, then to the quadrupole.

    Parameters
    ----------
    prefix
        Prefix of the process variables, for example ``"PMUXZR:"``.
    converter
        What it connects.
    name
        Name of the device and of the chosen quadrupole in the data.
    quadrupoles
        Names that can be chosen.
    pvs
        PV names that differ from the defaults: ``name`` (``"{}name"``), ``off`` (``"{}off"``),
        ``choose`` (``"{}{quadrupole}"``).
    off
        What the name shows when no quadrupole is connected.
    timeout
        Seconds within which the relays must have switched.

    Attributes
    ----------
    chosen
        Name of the quadrupole that is connected, or what ``off`` says.
    quadrupoles, off
        As they were given.
    """

    def __init__(
        self,
        prefix: str,
        converter: ComparedAxis,
        name: str = "",
        *,
        quadrupoles: tuple[str, ...],
        pvs: Mapping[str, str] | None = None,
        off: str = "Mux OFF",
        timeout: float = 10.0,
    ) -> None:
        defaults = {"name": "{}name", "off": "{}off", "choose": "{}{quadrupole}"}
        names = pv_names(prefix, defaults, pvs)
        self.off, self._timeout, self.quadrupoles = off, timeout, quadrupoles
        self._converter, self._work = Reference(converter), Work()
        self.off_command = signal_rw(int, names["off"], wait=False)
        self.target = soft_signal_rw(str)
        for quadrupole in quadrupoles:
            pv = names["choose"].replace("{quadrupole}", quadrupole)
            setattr(self, f"choose_{quadrupole.lower()}", signal_rw(int, pv, wait=False))
        with self.add_children_as_readables(Format.HINTED_SIGNAL):
            self.chosen = signal_r(str, names["name"])
        super().__init__(name)

    def parts(self) -> list[Device]:
        """Return the device that it refers to: it must be connected as well."""
        return [self._converter()]

    async def locate(self) -> Location[str]:
        """Return what was chosen last, and what is connected."""
        chosen = await ask(self.chosen)
        return Location(setpoint=await self.target.get_value() or chosen, readback=chosen)

    @WatchableAsyncStatus.wrap
    async def set(self, value: str) -> AsyncIterator[WatcherUpdate[float]]:
        """Connect a quadrupole, or none.

        Raises
        ------
        ValueError
            If there is no such quadrupole.
        MotionError
            If the current does not go to zero, or the relays do not switch in time.
        """
        if value not in (*self.quadrupoles, self.off):
            raise ValueError(
                f"{self.name} cannot connect {value!r}; choose {self.off!r} or one of "
                f"{', '.join(self.quadrupoles)}."
            )
        await self.target.set(value)
        async for _ in self._work.steps(self.name, self._connect(value)):
            reached = float(await self.chosen.get_value() == value)
            yield WatcherUpdate(reached, 0.0, 1.0, self.name)

    async def _connect(self, value: str) -> None:
        async with watch(self.chosen) as seen:
            if seen.value(self.chosen) == value:
                return
            await self._converter().set(0.0)
            if seen.value(self.chosen) != self.off:
                await tell(self.off_command, 1)
                await self._shows(self.off, seen)
            if value != self.off:
                await tell(getattr(self, f"choose_{value.lower()}"), 1)
                await self._shows(value, seen)

    async def _shows(self, name: str, seen: Watch) -> None:
        if not await seen.until(lambda: seen.value(self.chosen) == name, self._timeout):
            raise MotionError(
                f"{self.name} did not switch to {name!r} within {self._timeout:g} s: "
                f"{self.chosen.source} is {seen.value(self.chosen)!r}."
            )

    async def stop(self, success: bool = False) -> None:
        """Wait no longer, and bring the converter to zero."""
        await self._work.give_up(success)
        await self._converter().stop(success=success)
