"""How updates get from the control system into memory: Channel Access monitors."""

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from glidepath.devices.sampled import SampledChannel

Floats = NDArray[np.float64]

CONNECT_TIMEOUT = 5.0
"""Seconds in which every channel must have sent its first value."""


@dataclass(frozen=True)
class Batch:
    """Updates of one channel, in the order in which they arrived.

    Attributes
    ----------
    index
        Number of the channel.
    timestamps, values, arrivals
        Shape (n,): the server's timestamp (POSIX s), the value, the local clock at arrival
        (POSIX s). A NaN timestamp marks the loss of the connection at ``arrivals``.
    """

    index: int
    timestamps: Floats
    values: Floats
    arrivals: Floats


class Monitors(Protocol):
    """Receives every update of a set of channels."""

    async def open(self, timeout: float = CONNECT_TIMEOUT) -> None:
        """Subscribe, and return when every channel has sent a first value.

        Raises
        ------
        ConnectionError
            Naming the channels that did not answer.
        """
        ...

    def drain(self) -> list[Batch]:
        """Return what arrived since the last call."""
        ...

    def close(self) -> None:
        """End all subscriptions. Closing twice is harmless."""
        ...


class PortableMonitors:
    """Monitors on aioca's public interface; correct everywhere, tens of thousands a second."""

    def __init__(self, channels: Sequence[SampledChannel]) -> None:
        self._channels = list(channels)
        self._pending: list[list[tuple[float, float, float]]] = [[] for _ in channels]
        self._first = [asyncio.Event() for _ in channels]
        self._subscriptions: list[Any] = []

    async def open(self, timeout: float = CONNECT_TIMEOUT) -> None:
        """Subscribe to all channels; see `Monitors.open`."""
        # aioca reads EPICS_* from the environment when it is first imported.
        from aioca import FORMAT_TIME, camonitor

        for index, sampled in enumerate(self._channels):
            self._subscriptions.append(
                camonitor(
                    pv_name(sampled.source),
                    self._receiver(index),
                    format=FORMAT_TIME,
                    all_updates=True,
                    notify_disconnect=True,
                )
            )
        waiting = asyncio.gather(*(event.wait() for event in self._first))
        try:
            await asyncio.wait_for(waiting, timeout)
        except TimeoutError:
            silent = [
                f"{sampled.channel.name} ({pv_name(sampled.source)})"
                for sampled, event in zip(self._channels, self._first, strict=True)
                if not event.is_set()
            ]
            self.close()
            raise ConnectionError(
                f"No value came from {', '.join(silent)} within {timeout:g} s; "
                "check that its server runs and can be reached."
            ) from None

    def _receiver(self, index: int):
        append = self._pending[index].append
        first = self._first[index]

        def receive(value: Any) -> None:
            now = time.time()
            if not value.ok:
                append((math.nan, math.nan, now))
                return
            first.set()
            if getattr(value, "shape", ()):
                # A waveform: its elements end at the timestamp; see the channel's definition.
                append((value.timestamp, float(value[-1]), now))
            else:
                append((value.timestamp, float(value), now))

        return receive

    def drain(self) -> list[Batch]:
        """Return what arrived since the last call."""
        batches = []
        for index, pending in enumerate(self._pending):
            if pending:
                table = np.array(pending)
                pending.clear()
                batches.append(Batch(index, table[:, 0], table[:, 1], table[:, 2]))
        return batches

    def close(self) -> None:
        """End all subscriptions."""
        for subscription in self._subscriptions:
            subscription.close()
        self._subscriptions.clear()


def pv_name(source: str) -> str:
    """Return the Channel Access name in a source such as ``ca://SIM:PGM1:monoGetEnergy``.

    Raises
    ------
    ValueError
        If the source is of another protocol.
    """
    protocol, found, name = source.partition("://")
    if not found:
        return source
    if protocol != "ca":
        raise ValueError(
            f"{source} cannot be sampled: only Channel Access sources (ca://NAME) can be."
        )
    return name


__all__ = ["CONNECT_TIMEOUT", "Batch", "Monitors", "PortableMonitors", "pv_name"]
