"""Monitors on aioca's public interface; correct everywhere, about a hundred thousand a second."""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from glidepath.devices.sampled import SampledChannel

from .monitors import (
    CAPACITY,
    CONNECT_TIMEOUT,
    INVALID,
    Batch,
    Link,
    connect,
    first_values,
    times_of_elements,
)
from .receive_threads import BriskSwitching, PinnedThreads

Update = tuple[float, float, float, int]


class PortableMonitors:
    """Monitors on aioca's public interface, with libca's threads kept alive.

    If the event loop is blocked while a server restarts, the mark of the loss can come behind
    the first updates after it: aioca hands on updates and losses in two ways.

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
        self._pending: list[list[Update]] = [[] for _ in channels]
        self._first = [asyncio.Event() for _ in channels]
        self._overrun = [0] * len(self._channels)
        self._reported = [0] * len(self._channels)
        self._subscriptions: list[Any] = []
        self._pins: PinnedThreads | None = None
        self._switching: BriskSwitching | None = None

    @property
    def lost(self) -> tuple[int, ...]:
        """Values thrown away so far, one number per channel."""
        return tuple(self._overrun)

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
                self._subscriptions.append(
                    camonitor(
                        link.name,
                        self._receiver(index, link),
                        datatype=float,
                        format=FORMAT_TIME,
                        count=link.count,
                        all_updates=True,
                        notify_disconnect=True,
                    )
                )
            await first_values(self._channels, self._first, max(deadline - time.monotonic(), 0))
        except BaseException:
            self.close()
            raise

    def _receiver(self, index: int, link: Link) -> Callable[[Any], None]:
        pending, keep = self._pending[index], self._pending[index].append
        first, now, capacity = self._first[index], time.time, self._capacity

        def receive(value: Any) -> None:
            if not value.ok:
                keep((math.nan, math.nan, now(), INVALID))
                return
            if len(pending) >= capacity:
                self._overrun[index] += np.size(value)
                return
            # Not value.timestamp, which is rounded to whole microseconds.
            seconds, nanoseconds = value.raw_stamp
            timestamp = seconds + nanoseconds * 1e-9
            if link.elements == 1:
                keep((timestamp, float(value), now(), value.severity))
            else:
                elements = np.atleast_1d(value)
                times = times_of_elements(timestamp, len(elements), link.interval)
                arrival, severity = now(), value.severity
                for time_of, element in zip(times.tolist(), elements.tolist(), strict=True):
                    keep((time_of, element, arrival, severity))
            if not first.is_set():
                first.set()

        return receive

    def drain(self) -> list[Batch]:
        """Return what arrived since the last call."""
        batches = []
        for index, pending in enumerate(self._pending):
            if pending:
                table = np.array(pending)
                pending.clear()
                lost = self._overrun[index] - self._reported[index]
                self._reported[index] += lost
                times, values, arrivals, severities = table.T.copy()
                batches.append(
                    Batch(index, times, values, arrivals, severities.astype(np.uint8), lost)
                )
        return batches

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
