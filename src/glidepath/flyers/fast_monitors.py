"""Monitors that do no more per update than keep its bytes; hundreds of thousands a second."""

import asyncio
import ctypes
import inspect
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from glidepath.devices.sampled import SampledChannel

from .monitors import CAPACITY, CONNECT_TIMEOUT, Batch, Link, connect, no_answer
from .receive_threads import BriskSwitching

if TYPE_CHECKING:
    from .fast_subscription import FastSubscription

POLL_PERIOD = 0.001
"""Seconds between two looks for first values; they do not wake the event loop."""

CHECK_TIMEOUT = 2.0
"""Seconds to wait for the update that is compared with a reading."""

CHECKED_CHANNELS = 4
"""Channels of each kind (scalar, waveform) that are read for the comparison."""


class FastPathUnavailable(RuntimeError):  # noqa: N818
    """What the fast path relies on is not so here; the text says what."""


class FastMonitors:
    """Monitors on a subclass of aioca's subscription, see `fast_subscription`.

    It leans on names inside aioca and on the layout of libca's records. `open` checks both,
    the latter by comparing one update with a reading of the same instant through aioca's public
    interface.

    Parameters
    ----------
    channels
        What to subscribe to.
    capacity
        Values per channel that are kept until they are drained.
    """

    def __init__(self, channels: Sequence[SampledChannel], capacity: int = CAPACITY) -> None:
        self._channels = list(channels)
        self._capacity = capacity
        self._subscriptions: list[FastSubscription] = []
        self._switching: BriskSwitching | None = None
        self._early: list[Batch] = []
        self._lost: tuple[int, ...] = (0,) * len(self._channels)

    @property
    def lost(self) -> tuple[int, ...]:
        """Values thrown away so far, one number per channel."""
        if self._subscriptions:
            self._lost = tuple(subscription.lost for subscription in self._subscriptions)
        return self._lost

    async def open(self, timeout: float = CONNECT_TIMEOUT) -> None:
        """Subscribe to all channels; see `Monitors.open`.

        Raises
        ------
        FastPathUnavailable
            If the check fails. Nothing is left behind.
        """
        check_names()
        from .fast_subscription import FastSubscription

        deadline = time.monotonic() + timeout
        links = await connect(self._channels, timeout)
        self._switching = BriskSwitching()
        try:
            for index, link in enumerate(links):
                self._subscriptions.append(FastSubscription(index, link, self._capacity))
            await self._first_values(deadline, timeout)
            await self._check_records(links)
        except BaseException:
            self.close()
            raise

    async def _first_values(self, deadline: float, timeout: float) -> None:
        while silent := [
            sampled
            for sampled, subscription in zip(self._channels, self._subscriptions, strict=True)
            if not subscription.has_updates
        ]:
            if time.monotonic() > deadline:
                raise no_answer(silent, timeout)
            await asyncio.sleep(POLL_PERIOD)

    async def _check_records(self, links: Sequence[Link]) -> None:
        """Compare an update of each kind of channel with a reading of the same instant.

        Waveforms that are all empty have nothing to compare.
        """
        for waveforms in (False, True):
            indices = [k for k, link in enumerate(links) if (link.elements > 1) is waveforms]
            if indices:
                await self._check(indices[:CHECKED_CHANNELS], links)

    async def _check(self, indices: Sequence[int], links: Sequence[Link]) -> None:
        from aioca import FORMAT_TIME, caget

        readings = await asyncio.gather(
            *(
                caget(links[k].name, datatype=float, format=FORMAT_TIME, count=links[k].count)
                for k in indices
            )
        )
        if not any(np.size(reading) for reading in readings):
            return
        deadline = time.monotonic() + CHECK_TIMEOUT
        while time.monotonic() < deadline:
            self._early += self._decode()
            for batch in self._early:
                if batch.index in indices:
                    reading = readings[indices.index(batch.index)]
                    if _agrees(batch, reading, links[batch.index]):
                        return
            await asyncio.sleep(POLL_PERIOD)
        raise FastPathUnavailable(
            f"no update of {', '.join(links[k].name for k in indices)} was found again "
            "in a reading of the same instant"
        )

    def _decode(self) -> list[Batch]:
        return [s.decode() for s in self._subscriptions if s.has_updates]

    def drain(self) -> list[Batch]:
        """Return what arrived since the last call."""
        early, self._early = self._early, []
        return early + self._decode()

    def close(self) -> None:
        """End all subscriptions."""
        _ = self.lost
        for subscription in self._subscriptions:
            subscription.close()
        self._subscriptions.clear()
        if self._switching is not None:
            self._switching.close()
            self._switching = None


def check_names() -> None:
    """Check that aioca and Python are built as the fast path supposes.

    Raises
    ------
    FastPathUnavailable
        Naming what is missing.
    """
    if sys.implementation.name != "cpython":
        raise FastPathUnavailable(f"{sys.implementation.name} has no PyGILState_Ensure")
    import aioca
    from epicscorelibs.ca import cadef

    from .fast_subscription import ON_EVENT, EventArguments

    handler = getattr(aioca.Subscription, ON_EVENT, None)
    if not isinstance(handler, cadef.event_handler):
        raise FastPathUnavailable(f"aioca {aioca.__version__} has no handler {ON_EVENT}")
    if not inspect.isfunction(getattr(aioca.Subscription, "_on_connect", None)):
        raise FastPathUnavailable(f"aioca {aioca.__version__} has no Subscription._on_connect")
    ours = _layout(EventArguments)
    theirs = _layout(cadef.event_handler_args)
    if ours != theirs:
        raise FastPathUnavailable(f"libca's arguments of an update are {theirs}, not {ours}")


def _layout(structure: type[ctypes.Structure]) -> list[tuple[str, int, int]]:
    names = [field[0] for field in structure._fields_]
    return [(n, getattr(structure, n).offset, getattr(structure, n).size) for n in names]


def _agrees(batch: Batch, reading: Any, link: Link) -> bool:
    """Return True if a batch has the update that was read.

    Raises
    ------
    FastPathUnavailable
        If it has one of that instant with another value.
    """
    seconds, nanoseconds = reading.raw_stamp
    timestamp = seconds + nanoseconds * 1e-9
    expected = np.atleast_1d(np.asarray(reading, float))
    ends = np.flatnonzero(batch.timestamps == timestamp)
    for end in ends:
        found = batch.values[max(end + 1 - len(expected), 0) : end + 1]
        same = np.array_equal(found, expected, equal_nan=True)
        if same and batch.severities[end] == reading.severity:
            return True
    if len(ends):
        raise FastPathUnavailable(
            f"the update of {link.name} at {timestamp:.6f} was taken for "
            f"{batch.values[ends[-1]]!r}, but is {expected[-1]!r}"
        )
    return False


__all__ = ["FastMonitors", "FastPathUnavailable", "check_names"]
