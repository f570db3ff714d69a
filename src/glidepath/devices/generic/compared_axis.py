"""Axes and power supplies without a status: done when the readback is near and stays there."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ophyd_async.core import (
    MovableLogic,
    SignalR,
    SignalRW,
    StandardMovable,
    StandardReadable,
    TimeoutCalculator,
    default_mock_class,
)
from ophyd_async.core import StandardReadableFormat as Format

from glidepath.devices.positioning import (
    InstantMove,
    MotionError,
    check_range,
    disconnected,
    end_task,
)
from glidepath.devices.signals import (
    NoAnswerError,
    Watch,
    ask,
    read_limits,
    signal_r,
    signal_rw,
    tell,
    watch,
)

from .names import pv_names

__all__ = ["ComparedAxis", "ComparedMove", "Tolerance"]

UPDATED = 1.0
"""Seconds within which a monitor has what its server says when it is asked."""


@dataclass(frozen=True)
class Tolerance:
    """How near a readback must be to its target, for how long, and how soon.

    The readback is near if it is within the absolute *or* the relative bound; the relative one is
    a share of the target.

    Attributes
    ----------
    absolute
        An absolute difference in the unit of the axis.
    relative
        Share of the target's magnitude.
    settle
        Seconds for which it must stay near.
    timeout
        Seconds within which a move must end.
    """

    absolute: float = 0.005
    relative: float = 0.0
    settle: float = 0.0
    timeout: float = 30.0

    def near(self, position: float, target: float) -> bool:
        """Return whether a position is near enough to its target."""
        return abs(position - target) <= max(self.absolute, self.relative * abs(target))


@dataclass
class ComparedMove(MovableLogic[float]):
    """Moves by comparison; see `ComparedAxis`."""

    tolerance: Tolerance
    unit: str
    limits: Callable[[], Any]
    stop_value: float | None
    _moving: asyncio.Task[Any] | None = field(default=None, init=False, repr=False)

    async def check_move(self, new_position: float) -> None:
        """Refuse a position outside the limits (ValueError)."""
        check_range(self.readback.name, new_position, await self.limits(), self.unit)

    async def get_units_precision(self) -> tuple[str | None, int | None]:
        """Return the unit of positions and the decimal places of the readback."""
        unit, precision = await super().get_units_precision()
        return self.unit or unit, precision

    async def calculate_timeout(self, old_position: float, new_position: float) -> float:
        """Return the seconds that a move may take."""
        return self.tolerance.timeout

    async def move(self, new_position: float, timeout: TimeoutCalculator) -> None:
        """Set, and wait until the readback is near and has stayed so."""
        await self.go([new_position], timeout)

    async def go(self, way: Sequence[float], time_left: TimeoutCalculator) -> None:
        """Go from one position to the next, to the last; at each the readback must settle."""
        self._moving = asyncio.current_task()
        try:
            async with watch(self.readback) as seen:
                for position in way:
                    await self.setpoint.set(position)
                    await self._settled(position, seen, time_left)
        finally:
            self._moving = None

    async def _settled(self, target: float, seen: Watch, time_left: TimeoutCalculator) -> None:
        def near() -> bool:
            return self.tolerance.near(seen.value(self.readback), target)

        while await seen.until(near, time_left()):
            if await seen.until(lambda: not near(), self.tolerance.settle):
                continue
            # What was shown last by a server that is gone, or that hangs, is no arrival.
            try:
                now = await ask(self.readback)
            except NoAnswerError as error:
                raise MotionError(
                    f"{self.readback.name} was set to {target:g} {self.unit}, and nobody knows "
                    f"whether it is there, for {error}: it has shown "
                    f"{seen.value(self.readback):g} {self.unit} before."
                ) from error
            if self.tolerance.near(now, target):
                return
            # Its monitors were not told, or not yet.
            if not await seen.until(lambda: not near(), self.tolerance.settle + UPDATED):
                break
        raise MotionError(
            f"{self.readback.name} was set to {target:g} {self.unit} and is not there in time: "
            f"{self.readback.source} is {seen.value(self.readback):g} {self.unit}"
            f"{disconnected(self.readback)}."
        )

    async def stop(self) -> None:
        """Set what is safe: the value for stops, or where the axis is now."""
        await end_task(self._moving)
        try:
            value = self.stop_value
            if value is None:
                value = await ask(self.readback)
            await tell(self.setpoint, value)
        except (NoAnswerError, TimeoutError) as error:
            raise MotionError(
                f"{self.readback.name} could not be stopped and may still be moving: {error}"
            ) from error


@default_mock_class(InstantMove)
class ComparedAxis(StandardReadable, StandardMovable[float]):
    """An axis, or a power supply, whose moves are done when its readback is at the target.

    Parameters
    ----------
    prefix
        What ``{}`` stands for in PV names.
    name
        Name of the axis and of its position in the data.
    pvs
        PV names that differ from the defaults: ``setpoint`` (``"{}set"``), ``readback``
        (``"{}rdbk"``).
    unit
        Unit of the positions, where the records have none.
    tolerance
        When a move is done, and how long it may take.
    limits
        Range of positions; None: the drive limits of the setpoint's record.
    stop_value
        What is set to stop it; None: the position at that moment.
    """

    setpoint: SignalRW[float]
    readback: SignalR[float]

    def __init__(
        self,
        prefix: str,
        name: str = "",
        *,
        pvs: Mapping[str, str] | None = None,
        unit: str = "",
        tolerance: Tolerance | None = None,
        limits: tuple[float, float] | None = None,
        stop_value: float | None = None,
    ) -> None:
        names = pv_names(prefix, {"setpoint": "{}set", "readback": "{}rdbk"}, pvs)
        self.tolerance = tolerance or Tolerance()
        self._unit, self._limits, self._stop_value = unit, limits, stop_value
        self.setpoint = signal_rw(float, names["setpoint"], unit=unit, wait=False)
        with self.add_children_as_readables(Format.HINTED_SIGNAL):
            self.readback = signal_r(float, names["readback"], unit=unit)
        super().__init__(name)

    @cached_property
    def movable_logic(self) -> MovableLogic[float]:
        """How it moves."""
        return ComparedMove(
            self.setpoint,
            self.readback,
            self.tolerance,
            self._unit,
            self.limits,
            self._stop_value,
        )

    async def limits(self) -> tuple[float, float] | None:
        """Return the range of positions, None where it is not known."""
        return self._limits or await read_limits(self.setpoint)
