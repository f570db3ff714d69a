"""What of a device is brought back to where it was in a run, in which order, and how that ends."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from ophyd_async.core import SignalR, SignalRW

from .positioning import MotionError
from .settings import same
from .signals import Watch, watch

__all__ = ["RestoredSetting", "Restoring", "WithRestoring", "until_at_rest", "until_there"]

SHOWN = 1.0
"""Seconds in which a controller shows that it moves, if it does."""

ARRIVAL = 5.0
"""Seconds in which a setting reads back what it was set to, when everything rests."""


@dataclass(frozen=True)
class RestoredSetting:
    """One setting that is brought back.

    Attributes
    ----------
    signal
        What is set; it reads what is there.
    target
        Signal whose record has the limits, where that is another one.
    arrived
        Awaited with the value after it was set: returns when the device has done it, or raises.
        None: it is done when the server has taken it.
    tolerance
        What it may differ by without having to be moved.
    """

    signal: SignalRW[Any]
    target: SignalR[Any] | None = None
    arrived: Callable[[Any], Awaitable[None]] | None = None
    tolerance: float = 0.0


@dataclass(frozen=True)
class Restoring:
    """What is brought back of one device.

    Attributes
    ----------
    settings
        In the order in which they are set.
    axes
        Movable devices that are moved afterwards, each by the name under which it is read.
    axes_if
        A setting and the value that it must have had for the axes to be moved; None: always.
    coupling
        Switch that is off meanwhile, and as it was in the run afterwards; None: there is none.
    limits
        Names, in the run's baseline, of the lowest and the highest position of the first axis:
        they hold where a setting changes them, such as another grating. None: they do not change.
    """

    settings: tuple[RestoredSetting, ...] = ()
    axes: tuple[Any, ...] = ()
    axes_if: tuple[SignalRW[Any], Any] | None = None
    coupling: SignalRW[Any] | None = None
    limits: tuple[str, str] | None = None


@runtime_checkable
class WithRestoring(Protocol):
    """A device that says what is brought back of it; of others it is found out."""

    def restoring(self) -> Restoring:
        """Return what is brought back."""
        ...


async def until_at_rest(
    name: str, signals: tuple[SignalR[Any], ...], resting: Callable[[Watch], bool], within: float
) -> None:
    """Return when what was set in motion rests: it is given a moment to show that it moves.

    Raises
    ------
    MotionError
        If it does not come to rest in time.
    """
    async with watch(*signals) as seen:
        await seen.until(lambda: not resting(seen), SHOWN)
        if not await seen.until(lambda: resting(seen), within):
            shown = ", ".join(f"{signal.source} is {seen.value(signal)!r}" for signal in signals)
            raise MotionError(f"{name} still moves after {within:g} s: {shown}.")


async def until_there(signal: SignalR[Any], value: Any, tolerance: float = 0.0) -> None:
    """Return when a signal reads a value, or is as near as its tolerance.

    Raises
    ------
    MotionError
        If it does not.
    """

    def there() -> bool:
        shown = seen.value(signal)
        if tolerance:
            return abs(float(shown) - float(value)) <= tolerance
        return same(shown, value)

    async with watch(signal) as seen:
        if not await seen.until(there, ARRIVAL):
            raise MotionError(
                f"{signal.name} was set to {value!r} and reads {seen.value(signal)!r}."
            )
