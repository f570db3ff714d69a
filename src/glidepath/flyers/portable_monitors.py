"""Monitors on aioca's public interface; correct everywhere, about twice as fast as bare aioca."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any

import numpy as np

from glidepath.devices.sampled import SampledChannel

from .monitors import (
    CAPACITY,
    CONNECT_TIMEOUT,
    INVALID,
    Batch,
    Floats,
    Link,
    connect,
    first_values,
    times_of_elements,
)
from .receive_threads import BriskSwitching, PinnedThreads

REST = 0.005
WORK = 0.002
"""Seconds for which a channel's updates pile up in aioca, and for which they are then taken in.

Taken one by one each would wake a task. The arrival of an update can be noted `REST` too late.
"""


class _Done:
    """Something to await that takes no time."""

    def __await__(self) -> Generator[Any, None, None]:
        return
        yield


_DONE = _Done()


class _Receiver:
    """Takes in the updates of one channel in the event loop."""

    def __init__(self, index: int, link: Link, capacity: int) -> None:
        self.first = asyncio.Event()
        self.lost = self._reported = 0
        self._index, self._link = index, link
        self._values: list[Any] = []
        self._stamps: list[float] = []
        self.receive = self._receive_into(max(capacity // link.elements, 1))

    def _receive_into(self, capacity: int) -> Callable[[Any], Awaitable[None]]:
        values, keep, stamp = self._values, self._values.append, self._stamps.append
        first, now = self.first, time.time
        resting, begin, waiting = False, -math.inf, True

        def receive(value: Any) -> Awaitable[None]:
            # With a plain function aioca stays in its loop as long as updates come, and nothing
            # else runs, not even a drain. What is awaitable may rest, and lets others work.
            nonlocal resting, begin, waiting
            arrival = now()
            if len(values) < capacity:
                stamp(arrival)
                keep(value)
            else:
                self.lost += np.size(value)
            if waiting and value.ok:
                waiting = False
                first.set()
            if resting:
                resting, begin = False, arrival
            elif not 0.0 <= arrival - begin < WORK:
                resting = True
                return asyncio.sleep(REST)
            return _DONE

        return receive

    def decode(self) -> Batch | None:
        """Return what was kept and forget it; None if there is nothing."""
        if not self._values:
            return None
        values, arrivals = self._values[:], np.array(self._stamps)
        self._values.clear()
        self._stamps.clear()
        lost, self._reported = self.lost - self._reported, self.lost
        if self._link.elements == 1:
            numbers = np.array([value if value.ok else np.nan for value in values], np.float64)
        else:
            parts = [np.atleast_1d(value) if value.ok else np.array([np.nan]) for value in values]
            numbers = np.concatenate(parts).astype(np.float64)
        times = _timestamps(values)
        severities = np.array([v.severity if v.ok else INVALID for v in values], np.uint8)
        if self._link.elements > 1:
            counts = [len(part) for part in parts]
            times = np.concatenate(
                [
                    times_of_elements(last, count, self._link.interval)
                    for last, count in zip(times, counts, strict=True)
                ]
            )
            arrivals, severities = np.repeat(arrivals, counts), np.repeat(severities, counts)
        return Batch(self._index, times, numbers, arrivals, severities, lost)


def _timestamps(values: Sequence[Any]) -> Floats:
    """Return POSIX s, NaN for losses; shape (n,)."""
    # Not value.timestamp, which is rounded to whole microseconds.
    stamps = np.array([v.raw_stamp if v.ok else (np.nan, 0) for v in values])
    timestamps: Floats = stamps[:, 0] + stamps[:, 1] * 1e-9
    return timestamps


class PortableMonitors:
    """Monitors on aioca's public interface, with libca's threads kept alive.

    If the event loop is blocked while a server restarts, the mark of the loss can come behind
    the first updates after it, for aioca hands on updates and losses in two ways; and aioca
    keeps without bound what the event loop does not fetch.

    Parameters
    ----------
    channels
        What to subscribe to.
    capacity
        Values per channel that are kept until they are drained.
    pin
        Keep the state of libca's threads alive; see `receive_threads`.
    """

    def __init__(
        self, channels: Sequence[SampledChannel], capacity: int = CAPACITY, *, pin: bool = True
    ) -> None:
        self._channels = list(channels)
        self._capacity = capacity
        self._pin = pin
        self._receivers: list[_Receiver] = []
        self._subscriptions: list[Any] = []
        self._pins: PinnedThreads | None = None
        self._switching: BriskSwitching | None = None

    @property
    def lost(self) -> tuple[int, ...]:
        """Values thrown away so far, one number per channel."""
        return tuple(r.lost for r in self._receivers) or (0,) * len(self._channels)

    async def open(self, timeout: float = CONNECT_TIMEOUT) -> None:
        """Subscribe to all channels; see `Monitors.open`."""
        from aioca import FORMAT_TIME, camonitor

        deadline = time.monotonic() + timeout
        links = await connect(self._channels, timeout)
        self._switching = BriskSwitching()
        try:
            if self._pin:
                self._pins = PinnedThreads({link.host: link.name for link in links}.values())
            for index, link in enumerate(links):
                receiver = _Receiver(index, link, self._capacity)
                self._receivers.append(receiver)
                self._subscriptions.append(
                    camonitor(
                        link.name,
                        receiver.receive,
                        datatype=float,
                        format=FORMAT_TIME,
                        count=link.count,
                        all_updates=True,
                        notify_disconnect=True,
                    )
                )
            first = [receiver.first for receiver in self._receivers]
            await first_values(self._channels, first, max(deadline - time.monotonic(), 0))
        except BaseException:
            self.close()
            raise

    def drain(self) -> list[Batch]:
        """Return what arrived since the last call."""
        return [batch for r in self._receivers if (batch := r.decode()) is not None]

    def close(self) -> None:
        """End all subscriptions."""
        for subscription in self._subscriptions:
            subscription.close()
        self._subscriptions.clear()
        if self._pins is not None:
            self._pins.close()
        if self._switching is not None:
            self._switching.close()


__all__ = ["PortableMonitors"]
