"""Monitors whose updates compiled code keeps; as many a second as libca itself takes in."""

import ctypes
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from epicscorelibs import path
from epicscorelibs.ca import cadef, dbr
from numpy.typing import NDArray

from glidepath.devices.sampled import SampledChannel

from .inbox import Inbox, load
from .updates import (
    CAPACITY,
    CONNECT_TIMEOUT,
    EPICS_EPOCH,
    LOST,
    Batch,
    Floats,
    Link,
    batch_of,
    link,
    pv_name,
    until_none,
)

# A handle of our own, because cadef declares the user arguments as Python objects.
libca = ctypes.CDLL(path.get_lib("ca"))
libca.ca_create_channel.argtypes = [
    *(ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_void_p)
]
libca.ca_create_channel.errcheck = cadef.expect_ECA_NORMAL
libca.ca_create_subscription.argtypes = [
    *(ctypes.c_long, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_long),
    *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p),
]
libca.ca_create_subscription.errcheck = cadef.expect_ECA_NORMAL


class _Channel:
    """A channel of libca with its inbox; the calling thread must be attached to the context."""

    def __init__(self, name: str, library: Any) -> None:
        self.inbox = Inbox(library)
        self._handler = library.inbox_update
        self._id, self._subscription = ctypes.c_void_p(), ctypes.c_void_p()
        libca.ca_create_channel(
            name.encode(),
            library.inbox_connection,
            self.inbox.address,
            0,
            ctypes.byref(self._id),
        )

    def link(self, sampled: SampledChannel) -> Link | None:
        """Return what the server says of it; None as long as it is not connected."""
        try:
            return link(sampled, cadef.ca_field_type(self._id), cadef.ca_element_count(self._id))
        except cadef.Disconnected:
            return None

    def subscribe(self, count: int, capacity: int) -> None:
        self.inbox.open(capacity)
        libca.ca_create_subscription(
            dbr.DBR_TIME_DOUBLE,
            count,
            self._id,
            cadef.DBE_VALUE | cadef.DBE_ALARM,
            self._handler,
            self.inbox.address,
            ctypes.byref(self._subscription),
        )

    def unsubscribe(self) -> None:
        if self._subscription:
            # libca calls no handler of it after this has returned.
            cadef.ca_clear_subscription(self._subscription)
            self._subscription = ctypes.c_void_p()
        self.inbox.close()

    @property
    def connected(self) -> bool:
        return bool(cadef.ca_state(self._id) == cadef.cs_conn)

    def clear(self) -> None:
        cadef.ca_clear_channel(self._id)
        self.inbox.destroy()


_idle: dict[str, list[_Channel]] = defaultdict(list)
"""Channels that nobody subscribes to, by name. They stay connected for the next scan, to which a
new search for their servers would cost some 40 ms; aioca keeps its channels likewise."""


def close_idle_channels() -> None:
    """Close the channels that are kept for the next scan: there will be none.

    In a thread that scanned. A channel whose server ends is loud, a closed one is silent.
    """
    for channels in _idle.values():
        for channel in channels:
            channel.clear()
    if _idle:
        cadef.ca_flush_io()
    _idle.clear()


class FastMonitors:
    """Monitors on libca itself, with handlers in C; see `inbox`.

    Parameters
    ----------
    channels
        What to subscribe to.
    capacity
        Values per channel that are kept until they are drained.
    """

    def __init__(self, channels: Sequence[SampledChannel], capacity: int = CAPACITY) -> None:
        self._sampled = list(channels)
        self._capacity = capacity
        self._channels: list[_Channel] = []
        self._links: list[Link] = []
        self._silent: set[int] = set()
        self._early: list[Batch] = []
        self._lost: tuple[int, ...] = (0,) * len(self._sampled)

    @property
    def lost(self) -> tuple[int, ...]:
        """Values thrown away so far, one number per channel."""
        if self._channels:
            self._lost = tuple(channel.inbox.lost for channel in self._channels)
        return self._lost

    async def open(self, timeout: float = CONNECT_TIMEOUT) -> None:
        """Subscribe to all channels; see `Monitors.open`.

        Raises
        ------
        FastPathUnavailable
            If the compiled code is missing, or is not what it should be. Nothing is left behind.
        """
        library = load()
        # aioca reads EPICS_* from the environment when it is first imported.
        import aioca

        # Attaches this thread to aioca's context, which lives as long as the process.
        aioca.get_channel_infos()
        deadline = time.monotonic() + timeout
        try:
            for sampled in self._sampled:
                name = pv_name(sampled.source)
                idle = _idle[name]
                self._channels.append(idle.pop() if idle else _Channel(name, library))
            cadef.ca_flush_io()
            await until_none(self._unknown, deadline, timeout)
            for channel, known in zip(self._channels, self._links, strict=True):
                channel.subscribe(known.count, known.capacity(self._capacity))
            cadef.ca_flush_io()
            self._silent = set(range(len(self._channels)))
            await until_none(self._unheard, deadline, timeout)
        except BaseException:
            self.close()
            raise

    def _unknown(self) -> list[SampledChannel]:
        """Look at what is connected."""
        pairs = list(zip(self._channels, self._sampled, strict=True))
        links = [channel.link(sampled) for channel, sampled in pairs]
        self._links = [known for known in links if known is not None]
        return [s for s, known in zip(self._sampled, links, strict=True) if known is None]

    def _unheard(self) -> list[SampledChannel]:
        """Take what has come; return from whom nothing has."""
        for index, heads, values, lost in self._take():
            self._early.append(self._batch(index, heads, values, lost))
            if np.any(heads["nanoseconds"] != LOST):
                self._silent.discard(index)
        return [self._sampled[index] for index in sorted(self._silent)]

    def _take(self) -> Iterator[tuple[int, NDArray[np.void], Floats, int]]:
        for index, channel in enumerate(self._channels):
            heads, values, lost = channel.inbox.take()
            if len(heads) or lost:
                yield index, heads, values, lost

    def _batch(self, index: int, heads: NDArray[np.void], values: Floats, lost: int) -> Batch:
        return batch_of(
            index,
            self._links[index],
            (heads["seconds"].astype(np.int64) + EPICS_EPOCH, heads["nanoseconds"]),
            values,
            heads["arrival"].copy(),
            heads["severity"].astype(np.uint8),
            heads["count"],
            lost,
        )

    def drain(self) -> list[Batch]:
        """Return what arrived since the last call."""
        batches = [*self._early, *(self._batch(*taken) for taken in self._take())]
        self._early.clear()
        # Waveforms can be empty.
        return [batch for batch in batches if len(batch.values) or batch.lost]

    def close(self) -> None:
        """End all subscriptions."""
        _ = self.lost
        for channel, sampled in zip(self._channels, self._sampled, strict=False):
            channel.unsubscribe()
            if channel.connected:
                _idle[pv_name(sampled.source)].append(channel)
            else:
                channel.clear()
        if self._channels:
            cadef.ca_flush_io()
        self._channels.clear()


__all__ = ["FastMonitors", "close_idle_channels"]
