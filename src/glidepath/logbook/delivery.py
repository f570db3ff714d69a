"""Sends what the outbox holds: one thread for each destination, in order, never in a scan's way."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from glidepath.sentences import sentence_of

from .outbox import Entry, Message, Outbox

_log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 300.0
"""Seconds between two attempts: at first, and at most; each pause is twice the one before."""

PICTURE_PATIENCE = 20.0
"""Seconds for which the entry of a run waits for the run's picture and NeXus file."""


class NotDelivered(Exception):  # noqa: N818 (an outcome, not a fault)
    """A destination did not take a message now; it is tried again. The text is a sentence.

    Parameters
    ----------
    sure
        Whether it is certain that the destination does not have the message.
    """

    def __init__(self, sentence: str, *, sure: bool) -> None:
        super().__init__(sentence)
        self.sure = sure


class Refused(Exception):  # noqa: N818 (an outcome, not a fault)
    """A destination will never take this message; the text says why in a sentence."""


class Destination(Protocol):
    """Where messages are sent to."""

    name: str

    def send(self, message: Message) -> None:
        """Send a message; return when the destination has it.

        Raises
        ------
        NotDelivered
            If it is to be tried again.
        Refused
            If that makes no sense.
        """

    def has(self, message: Message) -> bool:
        """Tell whether the destination has a message, for one whose sending was interrupted.

        A destination that cannot be asked returns False: it may then get the message twice.

        Raises
        ------
        NotDelivered
            If it does not answer.
        """


@dataclass
class Standing:
    """How a destination fares.

    Attributes
    ----------
    delivered
        Messages that it took from this process.
    trouble
        Why it does not take them now, in a sentence; an empty text if it does.
    """

    delivered: int = 0
    trouble: str = ""


def growing_pauses(first: float, longest: float) -> Iterator[float]:
    """Yield the seconds between attempts: each twice as long as the one before, up to a bound."""
    pause = first
    while True:
        yield pause
        pause = min(2 * pause, longest)


class Delivery:
    """Sends the messages of an outbox until it is closed.

    Parameters
    ----------
    outbox
        Where they wait.
    destinations
        Where they go.
    first_pause, longest_pause
        Seconds between attempts.
    picture_patience
        Seconds for which the entry of a run waits for the run's picture and NeXus file.
    """

    def __init__(
        self,
        outbox: Outbox,
        destinations: Iterable[Destination],
        *,
        first_pause: float = FIRST_PAUSE,
        longest_pause: float = LONGEST_PAUSE,
        picture_patience: float = PICTURE_PATIENCE,
    ) -> None:
        self._outbox = outbox
        self._pauses = first_pause, longest_pause
        self._patience = picture_patience
        self._closing = threading.Event()
        self._news = {one.name: threading.Event() for one in destinations}
        self.standing = {name: Standing() for name in self._news}
        self._threads = [
            threading.Thread(target=self._work, args=(one,), name=f"outbox {one.name}", daemon=True)
            for one in destinations
        ]
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Say that there are new messages, or that those who wait for a picture need not."""
        for event in self._news.values():
            event.set()

    def close(self, timeout: float = 2.0) -> None:
        """End the threads, within ``timeout`` s; what was not sent stays in the outbox.

        A destination that hangs is left behind: its message is asked for next time.
        """
        self._closing.set()
        self.wake()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _work(self, destination: Destination) -> None:
        standing = self.standing[destination.name]
        news = self._news[destination.name]
        pauses = growing_pauses(*self._pauses)
        while not self._closing.is_set():
            news.clear()
            try:
                self._send_all(destination, standing)
            # Whatever a destination raises is caught: a thread that ended would be silent.
            except Exception as error:
                said = sentence_of(error)
                if said != standing.trouble:
                    _log.warning("%s: %s", destination.name, said)
                standing.trouble = said
                # New messages wait too: the order is kept, and a server in trouble is spared.
                self._closing.wait(next(pauses))
            else:
                standing.trouble, pauses = "", growing_pauses(*self._pauses)
                news.wait(self._pauses[0] if self._outbox.waiting(destination.name) else None)

    def _send_all(self, destination: Destination, standing: Standing) -> None:
        """Send what waits, while nobody else does."""
        lock = self._outbox.lock(destination.name)
        try:
            lock.acquire()
        except BlockingIOError:
            # Another process sends to it; what we put in, it sends.
            return
        with lock:
            for entry in self._outbox.waiting(destination.name):
                if self._closing.is_set() or not _is_due(entry.message, self._patience):
                    return
                deliver(self._outbox, destination, entry)
                standing.delivered += 1


def _is_due(message: Message, patience: float) -> bool:
    run = message.run
    if message.kind != "run" or run is None or not run.folder:
        return True
    written = run.picture is not None and any(Path(run.folder).glob("*.nxs"))
    return written or time.time() - message.created > patience


def deliver(outbox: Outbox, destination: Destination, entry: Entry) -> None:
    """Send one message and remove it when the destination has it.

    Raises
    ------
    NotDelivered
        If it is to be tried again.
    """
    if entry.interrupted and destination.has(entry.message):
        outbox.acknowledge(entry)
        return
    sending = outbox.begin(entry)
    try:
        destination.send(entry.message)
    except NotDelivered as error:
        if error.sure:
            outbox.give_back(sending)
        raise
    except Refused as error:
        outbox.refuse(sending, str(error))
        _log.warning("%s refused a message: %s", destination.name, error)
        return
    outbox.acknowledge(sending)


def send_now(
    outbox: Outbox, destinations: Iterable[Destination], said: Callable[[str], None]
) -> None:
    """Try once to send all that waits; say for each destination what came of it."""
    for destination in destinations:
        sent = 0
        try:
            with outbox.lock(destination.name):
                for entry in outbox.waiting(destination.name):
                    deliver(outbox, destination, entry)
                    sent += 1
        except BlockingIOError:
            said(f"{destination.name}: another process sends to it just now.")
        except Exception as error:  # of one destination; the others are tried all the same
            said(f"{destination.name}: {sentence_of(error)}")
        if sent:
            said(f"{destination.name}: {sent} sent.")


__all__ = [
    "Delivery",
    "Destination",
    "NotDelivered",
    "Refused",
    "Standing",
    "deliver",
    "send_now",
]
