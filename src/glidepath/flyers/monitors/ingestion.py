"""How updates get from the control system into memory: the quickest monitors that work here."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from glidepath.devices.sampled import SampledChannel

from .fast import FastMonitors
from .feeds import FeedMonitors, is_fed
from .inbox import FastPathUnavailable
from .portable import PortableMonitors
from .updates import CAPACITY, CONNECT_TIMEOUT, Batch, Monitors, pv_name

log = logging.getLogger(__name__)


class ChosenMonitors:
    """Every channel by the quickest monitors that serve it.

    Channel Access by the fast monitors if a check shows that they work here, else by the portable
    ones; all other sources by their feeds, beside.

    Parameters
    ----------
    channels
        What to subscribe to.
    capacity
        Values per channel that are kept until they are drained.

    Attributes
    ----------
    path
        ``"fast"`` or ``"portable"``: what serves Channel Access; known after `open`.
    reason
        Why the fast one was not chosen; empty if it was.
    """

    def __init__(self, channels: Sequence[SampledChannel], capacity: int = CAPACITY) -> None:
        self._channels, self._capacity = list(channels), capacity
        fed = [is_fed(channel) for channel in self._channels]
        # Positions of the channels that each group serves, which counts its own from 0.
        self._named = [index for index, other in enumerate(fed) if not other]
        self._fed = [index for index, other in enumerate(fed) if other]
        self._monitors: Monitors = FastMonitors(self._of(self._named), capacity)
        self._feeds = FeedMonitors(self._of(self._fed), capacity)
        self.path = "fast"
        self.reason = ""

    def _of(self, indices: Sequence[int]) -> list[SampledChannel]:
        return [self._channels[index] for index in indices]

    async def open(self, timeout: float = CONNECT_TIMEOUT) -> None:
        """Subscribe to all channels; see `Monitors.open`."""
        try:
            if self._named:
                await self._open_named(timeout)
            await self._feeds.open(timeout)
        except BaseException:
            self.close()
            raise

    async def _open_named(self, timeout: float) -> None:
        try:
            await self._monitors.open(timeout)
        except FastPathUnavailable as unavailable:
            self.path, self.reason = "portable", str(unavailable)
            log.warning("The slower, portable monitors are used: %s.", self.reason)
            self._monitors = PortableMonitors(self._of(self._named), self._capacity)
            await self._monitors.open(timeout)

    @property
    def lost(self) -> tuple[int, ...]:
        """Values thrown away so far, one number per channel; see `Monitors.lost`."""
        found = dict(zip(self._named, self._monitors.lost, strict=True))
        found.update(zip(self._fed, self._feeds.lost, strict=True))
        return tuple(found[index] for index in range(len(self._channels)))

    def drain(self) -> list[Batch]:
        """Return what arrived since the last call."""
        named = self._monitors.drain() if self._named else []
        return [
            *(replace(batch, index=self._named[batch.index]) for batch in named),
            *(replace(batch, index=self._fed[batch.index]) for batch in self._feeds.drain()),
        ]

    def close(self) -> None:
        """End all subscriptions."""
        self._monitors.close()
        self._feeds.close()


def choose_monitors(channels: Sequence[SampledChannel], capacity: int = CAPACITY) -> ChosenMonitors:
    """Return monitors that choose their implementation when they are opened."""
    return ChosenMonitors(channels, capacity)


__all__ = [
    "CAPACITY",
    "CONNECT_TIMEOUT",
    "Batch",
    "ChosenMonitors",
    "FastMonitors",
    "FastPathUnavailable",
    "Monitors",
    "PortableMonitors",
    "choose_monitors",
    "pv_name",
]
