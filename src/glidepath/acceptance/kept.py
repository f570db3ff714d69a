"""Puts back what a test has moved or set, however the test ends."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import numpy as np
from ophyd_async.core import Device, SignalRW, walk_devices

from glidepath.devices.signals import put_back
from glidepath.sentences import joined, sentence_of

from .axis import Axis
from .outcomes import Failed

__all__ = ["kept_axis", "kept_settings"]


@asynccontextmanager
async def kept_axis(axis: Axis, tolerance: float) -> AsyncIterator[float]:
    """Give where an axis stands, and bring it back there when the block ends.

    Raises
    ------
    Failed
        If it is not back, beside what the block itself says.
    """
    start = await axis.position()
    try:
        yield start
    except BaseException as error:
        with suppress(Exception):
            # What does not stop is told below: it does not come back either.
            await axis.stop()
        if problem := await _brought_back(axis, start, tolerance):
            said = str(error) if isinstance(error, Failed) else sentence_of(error)
            raise Failed(f"{joined(said)}; {problem}.") from error
        raise
    if problem := await _brought_back(axis, start, tolerance):
        raise Failed(f"{problem}.")


async def _brought_back(axis: Axis, start: float, tolerance: float) -> str:
    """Bring an axis back; return why it is not, as a part of a sentence."""
    try:
        if abs(await axis.position() - start) <= tolerance / 2:
            return ""
        await axis.go(start)
        now = await axis.position()
        if abs(now - start) <= tolerance:
            return ""
        return f"{axis.name} is not back at {start:g} but at {now:g}"
    except Exception as error:
        return f"{axis.name} is not back at {start:g}: {joined(sentence_of(error))}"


def _settings_of(device: Any) -> dict[str, SignalRW[Any]]:
    """Return what of a device, and of the devices that it refers to, can be set, by name."""
    owners = [device, *getattr(device, "parts", list)()]
    signals = [
        part
        for owner in owners
        if isinstance(owner, Device)
        for part in (owner, *walk_devices(owner).values())
        if isinstance(part, SignalRW)
    ]
    return {signal.name: signal for signal in signals}


async def _configuration(device: Any) -> dict[str, Any]:
    owners = [device, *getattr(device, "parts", list)()]
    found: dict[str, Any] = {}
    for owner in owners:
        if callable(getattr(owner, "read_configuration", None)):
            readings = await owner.read_configuration()
            found |= {name: reading["value"] for name, reading in readings.items()}
    return found


@asynccontextmanager
async def kept_settings(device: Any) -> AsyncIterator[None]:
    """Put back, when the block ends, what of the configuration of a device was changed.

    Raises
    ------
    Failed
        If something could not be put back.
    """
    before = await _configuration(device)
    try:
        yield
    finally:
        after = await _configuration(device)
        changed = {name for name in before if not _same(after.get(name), before[name])}
        settings = _settings_of(device)
        try:
            await put_back((settings[name], before[name]) for name in changed if name in settings)
        except (ConnectionError, TimeoutError) as error:
            raise Failed(f"Settings of {_name(device)} {joined(str(error))}.") from error


def _same(one: Any, other: Any) -> bool:
    return bool(np.array_equal(np.asarray(one), np.asarray(other)))


def _name(device: Any) -> str:
    return str(getattr(device, "name", device))
