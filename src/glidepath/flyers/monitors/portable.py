"""Monitors on aioca's public interface; correct everywhere, about twice as fast as bare aioca."""

import asyncio
import contextlib
import functools
import threading
import time
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from glidepath.devices.sampled import SampledChannel

from .receive_threads import BriskInterpreter, PinnedThreads
from .updates import (
    CAPACITY,
    CONNECT_TIMEOUT,
    INVALID,
    LOST,
    Batch,
    Link,
    batch_of,
    link,
    no_answer,
    pv_name,
    until_none,
)

CLOSE_TIMEOUT = 0.5
"""Seconds to wait for the end of subscriptions.

libca ends one between two updates, for which a flood of them may leave no room: measured, up to
15 s. It then ends later, and its updates are ignored.
"""


class _Loss(float):
    """Stands for a lost connection among the values that aioca hands on."""

    severity = INVALID
    raw_stamp = (0, LOST)


_LOSS = _Loss("nan")


class _Receiver:
    """Takes in the updates of one channel, as aioca made them; in the thread of `_loop`.

    The less is done for each, the sooner libca's thread gets the interpreter back.
    """

    def __init__(self, index: int, link: Link, capacity: int) -> None:
        self.lost = self._reported = 0
        self._index, self._link = index, link
        self._room = max(capacity // link.elements, 1)
        self._values: list[Any] = []
        self._arrivals: list[float] = []
        self._subscription: Any = None

    def subscribe(self) -> None:
        from aioca import FORMAT_TIME, camonitor

        self._subscription = camonitor(
            self._link.name,
            self._receive(),
            datatype=float,
            format=FORMAT_TIME,
            count=self._link.count,
            all_updates=True,
            notify_disconnect=True,
        )

    def _receive(self) -> Callable[[Any], None]:
        values, keep, note = self._values, self._values.append, self._arrivals.append
        now = time.time

        def receive(value: Any) -> None:
            if len(values) < self._room:
                keep(value if value.ok else _LOSS)
                note(now())
            elif self._room:
                self.lost += np.size(value)

        return receive

    def ignore(self) -> None:
        """Spend no more time on updates, so that the end has its turn; in any thread."""
        self._room = 0

    def unsubscribe(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.close()

    @property
    def answered(self) -> bool:
        """Whether a value waits to be decoded."""
        return any(value is not _LOSS for value in self._values)

    def decode(self) -> Batch:
        """Return what was kept and forget it; in any thread."""
        count = len(self._arrivals)
        values, arrivals = self._values[:count], np.array(self._arrivals[:count])
        # Before there is room again: what was lost until now is behind these.
        lost, self._reported = self.lost - self._reported, self.lost
        del self._arrivals[:count]
        del self._values[:count]
        # Not value.timestamp, which is rounded to whole microseconds.
        stamps = chain.from_iterable([value.raw_stamp for value in values])
        seconds, nanoseconds = np.fromiter(stamps, np.int64).reshape(-1, 2).T
        if self._link.elements == 1:
            counts = np.ones(len(values), np.int64)
            numbers = np.array(values, np.float64)
        else:
            parts = [np.atleast_1d(value) for value in values]
            counts = np.array([len(part) for part in parts], np.int64)
            numbers = np.concatenate([np.empty(0), *parts])
        return batch_of(
            self._index,
            self._link,
            (seconds, nanoseconds),
            numbers,
            arrivals,
            np.array([value.severity for value in values], np.uint8),
            counts,
            lost,
        )


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    """Return the event loop in which aioca works for us, in a thread of its own.

    aioca stays in its callbacks as long as updates come faster than they are taken, and keeps
    everything else in its event loop waiting: the scan's own is not to be that one. It lives as
    long as the process, for aioca keeps the channels of a loop.
    """
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="aioca", daemon=True).start()
    return loop


class PortableMonitors:
    """Monitors on aioca's public interface, with an interpreter that is quick for it.

    If its thread is busy while a server restarts, the mark of the loss can come behind the first
    updates after it, for aioca hands on updates and losses in two ways.

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
        self._pins: PinnedThreads | None = None
        self._interpreter: BriskInterpreter | None = None

    @property
    def lost(self) -> tuple[int, ...]:
        """Values thrown away so far, one number per channel."""
        return tuple(r.lost for r in self._receivers) or (0,) * len(self._channels)

    async def open(self, timeout: float = CONNECT_TIMEOUT) -> None:
        """Subscribe to all channels; see `Monitors.open`."""
        deadline = time.monotonic() + timeout
        self._interpreter = BriskInterpreter()
        try:
            subscribing = asyncio.run_coroutine_threadsafe(self._subscribe(timeout), _loop())
            await asyncio.wrap_future(subscribing)
            await until_none(self._silent, deadline, timeout)
        except BaseException:
            self.close()
            raise

    async def _subscribe(self, timeout: float) -> None:
        # aioca reads EPICS_* from the environment when it is first imported.
        from aioca import cainfo

        names = [pv_name(sampled.source) for sampled in self._channels]
        infos = await cainfo(names, timeout=timeout, throw=False)
        pairs = list(zip(self._channels, infos, strict=True))
        if silent := [sampled for sampled, info in pairs if not info.ok]:
            raise no_answer(silent, timeout)
        links = [link(sampled, info.datatype, info.count) for sampled, info in pairs]
        if self._pin:
            self._pins = PinnedThreads({info.host: info.name for info in infos}.values())
        for index, known in enumerate(links):
            self._receivers.append(_Receiver(index, known, self._capacity))
            self._receivers[-1].subscribe()

    def _silent(self) -> list[SampledChannel]:
        pairs = zip(self._channels, self._receivers, strict=True)
        return [sampled for sampled, receiver in pairs if not receiver.answered]

    def drain(self) -> list[Batch]:
        """Return what arrived since the last call."""
        batches = [receiver.decode() for receiver in self._receivers]
        # Waveforms can be empty.
        return [batch for batch in batches if len(batch.values) or batch.lost]

    def close(self) -> None:
        """End all subscriptions."""
        if self._interpreter is None:
            return
        for receiver in self._receivers:
            receiver.ignore()
        ending = asyncio.run_coroutine_threadsafe(self._unsubscribe(), _loop())
        with contextlib.suppress(TimeoutError):
            ending.result(CLOSE_TIMEOUT)
        self._interpreter.close()
        self._interpreter = None

    async def _unsubscribe(self) -> None:
        for receiver in self._receivers:
            receiver.unsubscribe()
        if self._pins is not None:
            self._pins.close()
            self._pins = None


__all__ = ["PortableMonitors"]
