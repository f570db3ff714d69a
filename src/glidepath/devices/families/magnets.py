"""Power converters, the multiplexer that shares one, kickers and delays (BESSY II)."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isfinite

from bluesky.protocols import Locatable, Location, Stoppable
from ophyd_async.core import (
    AsyncStatus,
    Device,
    MovableLogic,
    Reference,
    StandardReadable,
    TimeoutCalculator,
    WatchableAsyncStatus,
    WatcherUpdate,
    soft_signal_rw,
)
from ophyd_async.core import StandardReadableFormat as Format

from glidepath.devices.generic import ComparedAxis, Tolerance, pv_names
from glidepath.devices.generic.compared_axis import ComparedMove
from glidepath.devices.generic.work import Work
from glidepath.devices.positioning import MotionError, check_range, disconnected
from glidepath.devices.signals import NoAnswerError, Watch, ask, signal_r, signal_rw, tell, watch

__all__ = ["DelayLine", "Hysteresis", "Kicker", "Multiplexer", "PowerConverter"]

STEERER = Tolerance(absolute=1e-2, relative=6e-2, settle=0.5, timeout=20.0)
"""When a converter has arrived, in A and s (``hz-b/bact2``: steerers)."""

GLIMPSE = 1.0
"""Seconds that a report of progress may wait for what is chosen."""

KICKER = Tolerance(absolute=4e-2, relative=2e-2, timeout=30.0)
"""When a kicker's supply has arrived, in kV and s; down is a discharge, which takes longer."""


@dataclass(frozen=True)
class Hysteresis:
    """How a magnet is kept on one branch of its hysteresis.

    The field of a magnet depends on where its current came from. Targets that are always reached
    from the same side, after a cycle between two currents, have the same field each time.

    Attributes
    ----------
    overshoot
        A by which the current goes beyond a target that lies on the other side, to come to it
        from the right one: above zero targets are reached with rising, below zero with falling
        current. It must be more than the width of the hysteresis and the tolerance together.
    top, bottom
        Ends of a cycle, A.
    cycles
        How often both are reached; the last end is the one from which targets are reached.
    pause
        Seconds for which each end is held.
    """

    overshoot: float
    top: float
    bottom: float
    cycles: int = 3
    pause: float = 0.0

    def __post_init__(self) -> None:
        """Refuse (ValueError) what makes no cycle."""
        if not (isfinite(self.overshoot) and self.overshoot):
            raise ValueError(
                f"An overshoot of {self.overshoot!r} A comes from no side; give A above zero for "
                "rising current, below zero for falling."
            )
        if not (self.bottom < self.top and self.cycles >= 1 and self.pause >= 0):
            raise ValueError(
                f"{self.cycles} cycles between {self.bottom:g} and {self.top:g} A, held for "
                f"{self.pause:g} s, are none; give a bottom below the top, and one cycle or more."
            )

    def ends(self) -> list[str]:
        """Return the ends of all cycles, ``"top"`` and ``"bottom"``, in order."""
        return (["top", "bottom"] if self.overshoot > 0 else ["bottom", "top"]) * self.cycles


@dataclass
class OneSided(ComparedMove):
    """Moves by comparison that reach each target from the same side.

    Parameters
    ----------
    overshoot
        See `Hysteresis`.
    """

    overshoot: float = 0.0

    async def check_move(self, new_position: float) -> None:
        """Refuse (ValueError) what is outside the limits, or cannot be reached from its side."""
        await super().check_move(new_position)
        for position in await self._way(new_position):
            try:
                await super().check_move(position)
            except ValueError as error:
                side = "below" if self.overshoot > 0 else "above"
                raise ValueError(
                    f"{self.readback.name} cannot be brought to {new_position:g} {self.unit} from "
                    f"{side}: {error}"
                ) from error

    async def _way(self, target: float) -> list[float]:
        # What was set last, and not what is read: a readback has noise.
        last = await ask(self.setpoint)
        wrong_side = (last - target) * self.overshoot > 0
        return [target - self.overshoot, target] if wrong_side else [target]

    async def calculate_timeout(self, old_position: float, new_position: float) -> float:
        """Return the seconds that a move may take: it may be two."""
        return 2 * await super().calculate_timeout(old_position, new_position)

    async def move(self, new_position: float, timeout: TimeoutCalculator) -> None:
        """Go beyond the target first if it lies on the other side, then to it."""
        await self.go(await self._way(new_position), timeout)


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
    hysteresis
        How its magnet is kept on one branch of its hysteresis; None: targets are gone to
        directly, and there are no cycles.

    Attributes
    ----------
    cycle
        Where the magnet is in its cycle: ``"unknown"``, ``"ramp up"``, ``"top"``,
        ``"ramp down"``, ``"bottom"`` or ``"failed"``.
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
        hysteresis: Hysteresis | None = None,
    ) -> None:
        self.hysteresis = hysteresis
        self.cycle = soft_signal_rw(str, "unknown")
        super().__init__(
            prefix,
            name,
            pvs=pvs,
            unit="A",
            tolerance=tolerance,
            limits=limits,
            stop_value=stop_value,
        )

    @cached_property
    def movable_logic(self) -> MovableLogic[float]:
        """How it moves."""
        plain = super().movable_logic
        if self.hysteresis is None:
            return plain
        return OneSided(
            self.setpoint,
            self.readback,
            self.tolerance,
            self._unit,
            self.limits,
            self._stop_value,
            overshoot=self.hysteresis.overshoot,
        )

    async def standardise(self) -> None:
        """Cycle the magnet, so that its field depends on the current only.

        It ends at the bottom if targets are reached with rising current, else at the top.

        Raises
        ------
        ValueError
            If it was given no hysteresis, or an end is outside its limits; nothing has moved.
        MotionError
            If an end is not reached in time.
        """
        found, logic = self.hysteresis, self.movable_logic
        if found is None or not isinstance(logic, OneSided):
            raise ValueError(
                f"{self.name} has no cycle; give it one, as in hysteresis=Hysteresis(0.5, 4.0, "
                "-4.0)."
            )
        currents = {"top": found.top, "bottom": found.bottom}
        for current in currents.values():
            check_range(self.name, current, await self.limits(), "A")
        try:
            for end in found.ends():
                await self.cycle.set("ramp up" if end == "top" else "ramp down")
                await logic.go([currents[end]], _until(self.tolerance.timeout))
                await self.cycle.set(end)
                await asyncio.sleep(found.pause)
        except BaseException:
            await self.cycle.set("failed")
            await self.stop()
            raise


def _until(seconds: float) -> Callable[[], float]:
    """Return a function that tells how much is left of a time."""
    deadline = time.monotonic() + seconds
    return lambda: max(deadline - time.monotonic(), 0.0)


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
            try:
                reached = float(await ask(self.chosen, GLIMPSE) == value)
            except NoAnswerError:
                # What comes of it is said by the work itself.
                continue
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
                f"{self.chosen.source} is {seen.value(self.chosen)!r}{disconnected(self.chosen)}."
            )

    async def stop(self, success: bool = False) -> None:
        """Wait no longer, and bring the converter to zero."""
        await self._work.give_up(success)
        await self._converter().stop(success=success)
