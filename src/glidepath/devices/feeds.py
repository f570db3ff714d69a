"""Where the updates of a channel come from when it is no process variable of Channel Access.

A feed brings every update with the time stamp that its source gave it. What a control system's
own client can subscribe to by name is subscribed to here; everything else goes through the
device's subscription, and what offers none is read again and again.
"""

import asyncio
import atexit
import functools
import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from .pv_access import NO_PV_ACCESS_CHANNEL

__all__ = [
    "ClassicFeed",
    "Feed",
    "PolledFeed",
    "PvAccessFeed",
    "Receive",
    "SubscribedFeed",
    "feed_by_source",
]

POLL_PERIOD = 0.1
"""Seconds between two readings of a device that cannot be subscribed to."""

INVALID = 3
"""Severity of a value that must not be used (EPICS: INVALID_ALARM)."""

PV_ACCESS = "pva"


class Receive(Protocol):
    """Takes one update; in any thread."""

    def __call__(self, value: Any, timestamp: float, severity: int = 0) -> None:
        """Take a number or an array of them, its time (POSIX s) and the severity of its alarm.

        A NaN as the time marks the loss of the connection.
        """
        ...


class Feed(Protocol):
    """A source of updates. It is opened and closed in one event loop, once each."""

    def open(self, receive: Receive) -> None:
        """Begin to hand on updates, the present value first."""
        ...

    def close(self) -> None:
        """Hand on nothing more. Closing twice is harmless."""
        ...


def number_of(value: Any, choices: Sequence[str] = ()) -> Any:
    """Return a value as a float or an array of floats; a choice as its number.

    NaN for what is no number: nothing is invented.
    """
    if isinstance(value, str):
        return float(choices.index(value)) if value in choices else np.nan
    try:
        return float(value) if np.ndim(value) == 0 else np.asarray(value, np.float64)
    except (TypeError, ValueError):
        return np.nan


@dataclass(eq=False)
class SubscribedFeed:
    """What has ``subscribe_reading``: signals of ophyd-async of every protocol, soft ones too.

    Parameters
    ----------
    device
        The signal or device.
    key
        Which of its readings.
    choices
        Labels of an enumeration, in the order of their numbers.
    """

    device: Any
    key: str
    choices: Sequence[str] = ()
    _function: Callable[[dict[str, Any]], None] | None = None

    def open(self, receive: Receive) -> None:
        """Subscribe."""

        def update(readings: dict[str, Any]) -> None:
            reading = readings[self.key]
            # ophyd-async says -1 of a value that is not valid.
            severity = reading.get("alarm_severity", 0)
            receive(
                number_of(reading["value"], self.choices),
                reading["timestamp"],
                INVALID if severity < 0 else severity,
            )

        self._function = update
        self.device.subscribe_reading(update)

    def close(self) -> None:
        """End the subscription."""
        if self._function is not None:
            self.device.clear_sub(self._function)
            self._function = None


@dataclass(eq=False)
class ClassicFeed:
    """A signal of classic ophyd that is no process variable: a soft or a derived one."""

    signal: Any
    choices: Sequence[str] = ()
    _identifier: Any = None

    def open(self, receive: Receive) -> None:
        """Subscribe; updates come in ophyd's threads."""

        def update(*_: Any, value: Any, timestamp: float, **__: Any) -> None:
            receive(number_of(value, self.choices), timestamp)

        self._identifier = self.signal.subscribe(update, run=False)
        # ophyd replays a value only if it has changed before.
        update(value=self.signal.get(), timestamp=self.signal.timestamp)

    def close(self) -> None:
        """End the subscription."""
        if self._identifier is not None:
            self.signal.unsubscribe(self._identifier)
            self._identifier = None


@dataclass(eq=False)
class PolledFeed:
    """A reading of a device that offers no subscription; it is read ten times a second.

    A reading with the time stamp of the one before is no update.
    """

    device: Any
    key: str
    choices: Sequence[str] = ()
    _task: asyncio.Task[None] | None = None

    def open(self, receive: Receive) -> None:
        """Begin to read."""
        self._task = asyncio.create_task(self._poll(receive), name=f"polling {self.key}")

    async def _poll(self, receive: Receive) -> None:
        last = -np.inf
        while True:
            try:
                reading = (await read_of(self.device, "read"))[self.key]
            except Exception:
                # What cannot be read is not known; it may come back.
                receive(np.nan, np.nan, INVALID)
            else:
                if reading["timestamp"] > last:
                    last = reading["timestamp"]
                    receive(number_of(reading["value"], self.choices), last)
            await asyncio.sleep(POLL_PERIOD)

    def close(self) -> None:
        """Read no more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None


async def read_of(device: Any, method: str) -> dict[str, Any]:
    """Call a method of Bluesky's protocols, which may be a coroutine or may block."""
    function = getattr(device, method)
    if inspect.iscoroutinefunction(function):
        return dict(await function())
    found = await asyncio.to_thread(function)
    return dict(await found if inspect.isawaitable(found) else found)


@dataclass(eq=False)
class PvAccessFeed:
    """A process variable of PV Access, whose losses of the connection are seen.

    ophyd-async's own subscription says nothing when the server is gone: the last value would be
    held for ever.
    """

    name: str
    _subscription: Any = field(default=None, repr=False)

    def open(self, receive: Receive) -> None:
        """Subscribe; updates come in p4p's threads.

        Raises
        ------
        RuntimeError
            If p4p is not installed.
        """
        heard = False

        def update(found: Any) -> None:
            nonlocal heard
            if not isinstance(found, Exception):
                heard = True
                receive(*_of_structure(found))
            elif heard:
                receive(np.nan, np.nan, INVALID)

        self._subscription = _pv_access().monitor(self.name, update, notify_disconnect=True)

    def close(self) -> None:
        """End the subscription."""
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = None


@functools.cache
def _pv_access() -> Any:
    try:
        from p4p.client.thread import Context
    except ImportError:
        raise RuntimeError(NO_PV_ACCESS_CHANNEL) from None
    # Without unwrapping: the structures come as they are, with nanoseconds and severities.
    context = Context(PV_ACCESS, nt=False)
    atexit.register(context.close)
    return context


def _of_structure(found: Any) -> tuple[Any, float, int]:
    """Return value, time (POSIX s) and severity of a normative type (scalar, array or enum)."""
    value = found["value"]
    if hasattr(value, "index") and hasattr(value, "choices"):
        value = value["index"]
    stamp = found.get("timeStamp")
    seconds = 0.0
    if stamp is not None:
        seconds = stamp["secondsPastEpoch"] + stamp["nanoseconds"] * 1e-9
    alarm = found.get("alarm")
    severity = 0 if alarm is None else int(alarm["severity"])
    # Some servers send no time with enumerations; the time of arrival is the best there is.
    return number_of(value), seconds or time.time(), severity


def feed_by_source(source: str) -> Feed | None:
    """Return the feed of a source that a client of its own can subscribe to, else None."""
    protocol, found, name = source.partition("://")
    return PvAccessFeed(name) if found and protocol == PV_ACCESS else None
