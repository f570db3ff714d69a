"""Monitors of what is no process variable of Channel Access: each channel has a feed of its own."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from glidepath.devices.feeds import Feed, feed_by_source
from glidepath.devices.sampled import SampledChannel

from .updates import (
    CAPACITY,
    CONNECT_TIMEOUT,
    LOST,
    Batch,
    Link,
    batch_of,
    until_none,
)


def is_fed(sampled: SampledChannel) -> bool:
    """Return whether the updates of a channel come from a feed, not from Channel Access."""
    return sampled.feed is not None or feed_by_source(sampled.source) is not None


@dataclass(frozen=True)
class _Update:
    seconds: float
    nanoseconds: float
    arrival: float
    severity: int
    values: Any


class _Tray:
    """Takes in the updates of one channel, in whatever thread they come."""

    def __init__(self, index: int, sampled: SampledChannel, capacity: int) -> None:
        self.lost = self._reported = 0
        self.heard = False
        self._index, self._sampled, self._capacity = index, sampled, capacity
        self._updates: list[_Update] = []
        self._kept = 0
        self._guard = threading.Lock()
        self._open = True
        feed = sampled.feed or feed_by_source(sampled.source)
        assert feed is not None
        self._feed: Feed = feed

    def open(self) -> None:
        self._feed.open(self._receive)

    def close(self) -> None:
        self._open = False
        self._feed.close()

    def _receive(self, value: Any, timestamp: float, severity: int = 0) -> None:
        values = np.atleast_1d(np.asarray(value, np.float64))
        lost = not np.isfinite(timestamp)
        seconds = 0.0 if lost else np.floor(timestamp)
        nanoseconds = LOST if lost else np.round((timestamp - seconds) * 1e9)
        update = _Update(seconds, nanoseconds, time.time(), severity, values)
        with self._guard:
            if not self._open:
                return
            # The mark of a loss is kept even if there is no room.
            if not lost and (self._kept + len(values) > self._capacity or self._lost_since):
                self.lost += len(values)
                return
            self._updates.append(update)
            self._kept += len(values)
            self.heard = self.heard or not lost

    @property
    def _lost_since(self) -> bool:
        # What is lost follows all that is kept: the reader must know where the gap is.
        return self.lost > self._reported

    def decode(self) -> Batch:
        with self._guard:
            updates, self._updates, self._kept = self._updates, [], 0
            lost, self._reported = self.lost - self._reported, self.lost
        counts = np.array([len(update.values) for update in updates], np.int64)
        channel = self._sampled.channel
        interval = self._sampled.interval or channel.aperture
        longest = int(counts.max(initial=1))
        if longest > 1 and not interval > 0:
            raise ValueError(
                f"{channel.name} ({self._sampled.source}) is an array of {longest} elements, but "
                "nobody said how far they are apart: give it with sampled(..., interval=...)."
            )
        return batch_of(
            self._index,
            Link(self._sampled.source, longest, interval),
            (
                np.array([update.seconds for update in updates], np.float64),
                np.array([update.nanoseconds for update in updates], np.float64),
            ),
            np.concatenate([np.empty(0), *(update.values for update in updates)]),
            np.array([update.arrival for update in updates], np.float64),
            np.array([update.severity for update in updates], np.uint8),
            counts,
            lost,
        )


class FeedMonitors:
    """Monitors of channels that have feeds: PV Access, Tango, soft signals, readable devices.

    Parameters
    ----------
    channels
        What to subscribe to.
    capacity
        Values per channel that are kept until they are drained.
    """

    def __init__(self, channels: Sequence[SampledChannel], capacity: int = CAPACITY) -> None:
        self._channels = list(channels)
        self._trays = [_Tray(index, c, capacity) for index, c in enumerate(self._channels)]
        self._opened: list[_Tray] = []

    @property
    def lost(self) -> tuple[int, ...]:
        """Values thrown away so far, one number per channel."""
        return tuple(tray.lost for tray in self._trays)

    async def open(self, timeout: float = CONNECT_TIMEOUT) -> None:
        """Subscribe to all channels; see `Monitors.open`."""
        deadline = time.monotonic() + timeout
        try:
            for tray in self._trays:
                self._opened.append(tray)
                tray.open()
            await until_none(self._silent, deadline, timeout)
        except BaseException:
            self.close()
            raise

    def _silent(self) -> list[SampledChannel]:
        pairs = zip(self._channels, self._trays, strict=True)
        return [sampled for sampled, tray in pairs if not tray.heard]

    def drain(self) -> list[Batch]:
        """Return what arrived since the last call."""
        batches = [tray.decode() for tray in self._trays]
        return [batch for batch in batches if len(batch.values) or batch.lost]

    def close(self) -> None:
        """End all subscriptions."""
        while self._opened:
            self._opened.pop().close()


__all__ = ["FeedMonitors", "is_fed"]
