"""Channels of classic ophyd's signals and devices: by their process variables.

Classic ophyd is recognised by what its classes offer, so that it need not be installed. What it
has in the way of process variables is monitored by our own Channel Access client, and so does not
depend on whether, and how, ophyd's is connected.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from glidepath.timeline.channel import Channel, ChannelKind

from .feeds import ClassicFeed, read_of
from .sampled import SampledChannel

__all__ = ["classic_channels", "is_classic"]

READ, CONFIGURATION = 1, 2
"""Bits of ophyd's ``Kind``: what ``read`` returns, and what ``read_configuration`` returns."""

HINTED = 5
"""The kind of a signal that its device is looked at for: a hint, and read."""

STRING, ENUM = 0, 3
"""Channel Access types (DBF_STRING, DBF_ENUM)."""

ANSWER_TIMEOUT = 5.0
"""Seconds in which a process variable must say what it is."""


@dataclass(frozen=True)
class _Found:
    signal: Any
    name: str
    continuous: bool
    setting: bool


def is_classic(device: Any) -> bool:
    """Return whether a device is a signal or a device of classic ophyd."""
    return _is_signal(device) or hasattr(device, "component_names")


def _is_signal(device: Any) -> bool:
    return (
        hasattr(device, "subscribe")
        and hasattr(device, "kind")
        and hasattr(device, "get")
        and (not hasattr(device, "component_names"))
    )


async def classic_channels(device: Any) -> list[SampledChannel]:
    """Return the channels of a signal or device of classic ophyd.

    A positioner has its readback. Another device has what it reads, and of its configuration what
    is a number or a choice.

    Raises
    ------
    ConnectionError
        If a process variable does not answer.
    ValueError
        If it has nothing that can be sampled, or a reading that is text or an array.
    """
    if _is_signal(device):
        found = [_Found(device, device.name, continuous=False, setting=False)]
    else:
        # Making the signals of a device may wait for their servers.
        found = await asyncio.to_thread(lambda: list(_signals(device)))
    channels = await asyncio.gather(*(_channel(one) for one in found))
    known = [channel for channel in channels if channel is not None]
    if not known:
        raise ValueError(
            f"{device.name} cannot be sampled: it has no readings; give its signals instead."
        )
    return known


def _signals(device: Any, wanted: int = READ | CONFIGURATION) -> Iterator[_Found]:
    """Yield what a device reads and is configured by, without what is omitted."""
    parts = [getattr(device, name) for name in device.component_names]
    # The class is asked: the position of a device that is not connected cannot be.
    if hasattr(type(device), "position") and hasattr(type(device), "set"):
        readbacks = [p for p in parts if _is_signal(p) and int(p.kind) & HINTED == HINTED]
        yield from (_Found(p, device.name, True, False) for p in readbacks[:1])
        return
    for part in parts:
        kind = int(part.kind) & wanted
        if not kind:
            continue
        if _is_signal(part):
            yield _Found(part, part.name, continuous=False, setting=not kind & READ)
        elif hasattr(part, "component_names"):
            yield from _signals(part, kind)


async def _channel(found: _Found) -> SampledChannel | None:
    pv = getattr(found.signal, "pvname", None)
    unit, numeric, holds = await (_look_at(pv) if pv else _ask(found.signal))
    if holds:
        if found.setting:
            return None
        raise ValueError(
            f"{found.name} ({pv or 'a soft signal'}) holds {holds}, which cannot be sampled: "
            "choose signals that hold a number or a choice."
        )
    if found.continuous:
        kind = ChannelKind.READBACK
    elif found.setting or not numeric:
        kind = ChannelKind.STATE
    else:
        kind = ChannelKind.DETECTOR
    channel = Channel(found.name, kind, unit)
    if pv:
        return SampledChannel(channel, f"ca://{pv}")
    return SampledChannel(channel, f"soft://{found.name}", feed=ClassicFeed(found.signal))


async def _look_at(pv: str) -> tuple[str, bool, str]:
    """Return unit of a process variable, whether it is a number, and what hinders sampling it."""
    # aioca reads EPICS_* from the environment when it is first imported.
    from aioca import FORMAT_CTRL, caget

    value = await caget(pv, format=FORMAT_CTRL, timeout=ANSWER_TIMEOUT, throw=False)
    if not value.ok:
        raise ConnectionError(
            f"{pv} does not answer; check that its server runs and can be reached."
        )
    holds = "text" if value.datatype == STRING else ""
    if value.element_count > 1:
        holds = f"an array of up to {value.element_count} elements"
    return str(getattr(value, "units", "") or ""), value.datatype != ENUM, holds


async def _ask(signal: Any) -> tuple[str, bool, str]:
    """Return the same of a soft signal, from its descriptor."""
    (key,) = (await read_of(signal, "describe")).values()
    dtype = key["dtype"]
    holds = {"string": "text", "array": "an array"}.get(dtype, "")
    return str(key.get("units") or ""), dtype != "boolean", holds
