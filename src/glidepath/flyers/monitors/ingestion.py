"""How updates get from the control system into memory: the quickest monitors that work here."""

import logging
from collections.abc import Sequence

from glidepath.devices.sampled import SampledChannel

from .fast import FastMonitors
from .inbox import FastPathUnavailable
from .portable import PortableMonitors
from .updates import CAPACITY, CONNECT_TIMEOUT, Batch, Monitors, pv_name

log = logging.getLogger(__name__)


class ChosenMonitors:
    """The fast monitors if a check shows that they work here, else the portable ones.

    Parameters
    ----------
    channels
        What to subscribe to.
    capacity
        Values per channel that are kept until they are drained.

    Attributes
    ----------
    path
        ``"fast"`` or ``"portable"``; what was chosen is known after `open`.
    reason
        Why the fast one was not chosen; empty if it was.
    """

    def __init__(self, channels: Sequence[SampledChannel], capacity: int = CAPACITY) -> None:
        self._channels, self._capacity = list(channels), capacity
        self._monitors: Monitors = FastMonitors(channels, capacity)
        self.path = "fast"
        self.reason = ""

    async def open(self, timeout: float = CONNECT_TIMEOUT) -> None:
        """Subscribe to all channels; see `Monitors.open`."""
        try:
            await self._monitors.open(timeout)
        except FastPathUnavailable as unavailable:
            self.path, self.reason = "portable", str(unavailable)
            log.warning("The slower, portable monitors are used: %s.", self.reason)
            self._monitors = PortableMonitors(self._channels, self._capacity)
            await self._monitors.open(timeout)

    @property
    def lost(self) -> tuple[int, ...]:
        """Values thrown away so far, one number per channel; see `Monitors.lost`."""
        return self._monitors.lost

    def drain(self) -> list[Batch]:
        """Return what arrived since the last call."""
        return self._monitors.drain()

    def close(self) -> None:
        """End all subscriptions."""
        self._monitors.close()


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
