"""Four blades as gaps and centres: one class for all slits, whatever the signs of their axes."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ophyd_async.core import (
    MovableLogic,
    Reference,
    StandardMovable,
    StandardReadable,
    TimeoutCalculator,
    derived_signal_r,
    soft_signal_rw,
)
from ophyd_async.core import StandardReadableFormat as Format

from glidepath.devices.positioning import MotionError, end_task, together
from glidepath.devices.signals import ask

__all__ = ["BladeSlits", "SlitAxis"]

Blade = StandardMovable[float]


@dataclass
class _Pair(MovableLogic[float]):
    """Moves two blades so that their gap, or their centre, changes and the other stays."""

    plus: Blade
    minus: Blade
    signs: tuple[int, int]
    centre: bool
    unit: str
    smallest_gap: float
    _moving: asyncio.Task[Any] | None = field(default=None, init=False, repr=False)

    async def _edges(self) -> tuple[float, float]:
        """Return where the edges are, in the direction in which the gap is counted."""
        at = [await ask(blade.movable_logic.readback) for blade in (self.plus, self.minus)]
        return self.signs[0] * at[0], self.signs[1] * at[1]

    async def _targets(self, position: float) -> tuple[float, float]:
        high, low = await self._edges()
        if self.centre:
            shift = position - (high + low) / 2
            return high + shift, low + shift
        middle = (high + low) / 2
        return middle + position / 2, middle - position / 2

    async def check_move(self, new_position: float) -> None:
        """Refuse a gap that is too small, and what a blade refuses, before any blade moves."""
        if not self.centre and not new_position >= self.smallest_gap:
            raise ValueError(
                f"{self.readback.name} cannot be {new_position:g} {self.unit}: the blades would "
                f"touch; {self.smallest_gap:g} {self.unit} is the smallest gap."
            )
        for blade, sign, edge in zip(
            (self.plus, self.minus), self.signs, await self._targets(new_position), strict=True
        ):
            await blade.check_value(sign * edge)

    async def get_units_precision(self) -> tuple[str | None, int | None]:
        """Return the unit and the decimal places of the blades."""
        _, precision = await self.plus.movable_logic.get_units_precision()
        return self.unit, precision

    async def move(self, new_position: float, timeout: TimeoutCalculator) -> None:
        """Move the blades that go outwards first, then the others, so that they never touch."""
        self._moving = asyncio.current_task()
        try:
            (high, low), (to_high, to_low) = await self._edges(), await self._targets(new_position)
            plus = (self.plus, self.signs[0] * to_high)
            minus = (self.minus, self.signs[1] * to_low)
            outwards = [plus] * (to_high > high) + [minus] * (to_low < low)
            inwards = [plus] * (to_high < high) + [minus] * (to_low > low)
            for moves in (outwards, inwards):
                if moves:
                    await together(*(blade.set(target) for blade, target in moves))
            await self.setpoint.set(new_position)
        except MotionError:
            await self._stand()
            raise
        finally:
            self._moving = None

    async def stop(self) -> None:
        """Stop both blades."""
        await end_task(self._moving)
        await self._stand()

    async def _stand(self) -> None:
        await together(self.plus.stop(), self.minus.stop())


class SlitAxis(StandardReadable, StandardMovable[float]):
    """Gap or centre of two blades.

    Parameters
    ----------
    plus, minus
        The blades at the high and at the low end.
    signs
        +1 or -1 for each: whether its axis counts in the same direction as the gap.
    centre
        Whether this is the centre; if not, the gap.
    unit
        Unit of the positions.
    smallest_gap
        Gaps below it are refused.
    name
        Name of the axis and of its position in the data.
    """

    def __init__(
        self,
        plus: Blade,
        minus: Blade,
        signs: tuple[int, int] = (1, 1),
        *,
        centre: bool = False,
        unit: str = "mm",
        smallest_gap: float = 0.0,
        name: str = "",
    ) -> None:
        self._blades = Reference(plus), Reference(minus)
        self._options = signs, centre, unit, smallest_gap
        self.setpoint = soft_signal_rw(float, units=unit)
        with self.add_children_as_readables(Format.HINTED_SIGNAL):
            self.readback = derived_signal_r(
                self._position,
                derived_units=unit,
                high=plus.movable_logic.readback,
                low=minus.movable_logic.readback,
            )
        super().__init__(name)

    @property
    def blades(self) -> tuple[Blade, Blade]:
        """The blades at the high and at the low end."""
        plus, minus = self._blades
        return plus(), minus()

    def _position(self, high: float, low: float) -> float:
        (high_sign, low_sign), centre, *_ = self._options
        if centre:
            return (high_sign * high + low_sign * low) / 2
        return high_sign * high - low_sign * low

    @cached_property
    def movable_logic(self) -> MovableLogic[float]:
        """How both blades move."""
        plus, minus = self.blades
        return _Pair(self.setpoint, self.readback, plus, minus, *self._options)


class BladeSlits(StandardReadable):
    """Four blades, as gaps and centres.

    Parameters
    ----------
    top, bottom, left, right
        The blades: any movable axes.
    signs
        Blade -> -1 where its axis counts the other way: the vertical gap is top minus bottom,
        the horizontal one right minus left.
    unit
        Unit of the positions.
    smallest_gap
        Gaps below it are refused.
    name
        Name of the device.

    Attributes
    ----------
    hgap, hcenter, vgap, vcenter
        Movable axes (`SlitAxis`).
    """

    def __init__(
        self,
        top: Blade,
        bottom: Blade,
        left: Blade,
        right: Blade,
        name: str = "",
        *,
        signs: Mapping[str, int] | None = None,
        unit: str = "mm",
        smallest_gap: float = 0.0,
    ) -> None:
        known = {"top": 1, "bottom": 1, "left": 1, "right": 1}
        unknown = [blade for blade in signs or () if blade not in known]
        if unknown or any(sign not in (1, -1) for sign in (signs or {}).values()):
            raise ValueError(
                f"Signs of blades are +1 or -1 for {', '.join(known)}, but {signs!r} was given."
            )
        sign = {**known, **(signs or {})}
        vertical, horizontal = (sign["top"], sign["bottom"]), (sign["right"], sign["left"])
        self.top, self.bottom, self.left, self.right = top, bottom, left, right
        options: dict[str, Any] = {"unit": unit, "smallest_gap": smallest_gap}
        with self.add_children_as_readables():
            self.vgap = SlitAxis(top, bottom, vertical, **options)
            self.vcenter = SlitAxis(top, bottom, vertical, centre=True, **options)
            self.hgap = SlitAxis(right, left, horizontal, **options)
            self.hcenter = SlitAxis(right, left, horizontal, centre=True, **options)
        super().__init__(name)

    async def stop(self, success: bool = False) -> None:
        """Stop all blades."""
        blades = (self.top, self.bottom, self.left, self.right)
        await together(*(blade.stop(success=success) for blade in blades))
