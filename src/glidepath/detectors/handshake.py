"""Settings and commands that count only when the device has confirmed them."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from bluesky.protocols import Reading
from ophyd_async.core import SignalDatatypeT, SignalR, SignalRW

from glidepath.devices.signals import watch

CONFIRMATION: Final = 5.0
"""Seconds within which a setting must read back."""

REREAD_PERIOD: Final = 0.005
"""Seconds between two looks at arrays that are not updated yet."""


async def confirm(
    signal: SignalR[SignalDatatypeT],
    accepted: Callable[[SignalDatatypeT], bool],
    wanted: str,
    within: float = CONFIRMATION,
) -> None:
    """Wait until a signal's value is accepted.

    Raises
    ------
    TimeoutError
        If it is not within that time in s; it says what was ``wanted`` and what is there.
    """
    async with watch(signal) as seen:
        if not await seen.until(lambda: accepted(seen.value(signal)), within):
            raise TimeoutError(
                f"{pv_of(signal)} did not become {wanted} within {within:g} s: it is "
                f"{seen.value(signal)!r}."
            )


async def put_and_confirm(
    signal: SignalRW[SignalDatatypeT], value: SignalDatatypeT, within: float = CONFIRMATION
) -> None:
    """Set a signal and wait until it reads back; see `confirm`."""
    await signal.set(value)
    await confirm(signal, lambda found: bool(found == value), repr(value), within)


async def read_together(
    signals: Sequence[SignalR[Any]], update: Callable[[], Any], within: float = CONFIRMATION
) -> list[Any]:
    """Return the values of arrays that one command updates, all of them as it left them.

    Nobody else may give the command meanwhile. Its put may end before the records that hold the
    arrays have been processed: what counts are their timestamps.

    Parameters
    ----------
    signals
        The arrays.
    update
        Gives the command; awaited.

    Raises
    ------
    TimeoutError
        If one of them was not updated within that time in s.
    """
    before = [reading["timestamp"] for reading in await _readings(signals)]
    await update()
    deadline = time.monotonic() + within
    while True:
        readings = await _readings(signals)
        old = [
            signal
            for signal, reading, last in zip(signals, readings, before, strict=True)
            if not reading["timestamp"] > last
        ]
        if not old:
            return [reading["value"] for reading in readings]
        if time.monotonic() > deadline:
            raise TimeoutError(
                f"{pv_of(old[0])} was not updated within {within:g} s; is it still collected?"
            )
        await asyncio.sleep(REREAD_PERIOD)


async def _readings(signals: Sequence[SignalR[Any]]) -> list[Reading]:
    found = await asyncio.gather(*(signal.read(cached=False) for signal in signals))
    return [next(iter(reading.values())) for reading in found]


def pv_of(signal: SignalR[Any]) -> str:
    """Return the process variable that a signal reads."""
    return signal.source.removeprefix("ca://")


__all__ = ["CONFIRMATION", "confirm", "put_and_confirm", "pv_of", "read_together"]
