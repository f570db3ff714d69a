"""Tells the destinations of each run that ends and of each note, by way of the outbox."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from .delivery import FIRST_PAUSE, PICTURE_PATIENCE, Delivery, Destination
from .outbox import Message, Outbox
from .run_record import RunRecord

_log = logging.getLogger(__name__)

ACCEPTANCE_TEST = "acceptance test"
"""``purpose`` in the start documents of runs that only test the hardware."""

FolderOf = Callable[[Mapping[str, Any]], Path | None]
"""Returns the folder of a run, from its start document."""


class Logbook:
    """Subscribe it to the run engine: ``RE.subscribe(logbook)``.

    Runs that only test the hardware (``purpose`` is `ACCEPTANCE_TEST`) are no part of anyone's
    experiment: nothing is told of them. What was found is a run of its own, which is told.

    The run engine pays for two comparisons for each document. A thread writes the messages into the
    outbox; while the disk is full it keeps them and tries again.

    Parameters
    ----------
    root
        The data directory.
    destinations
        Where messages go.
    folder_of
        Finds a run's folder.
    first_pause
        Seconds before the first repetition of what did not succeed.
    picture_patience
        Seconds for which the entry of a run waits for its picture; 0 where nobody makes one.
    """

    def __init__(
        self,
        root: Path,
        destinations: Iterable[Destination],
        folder_of: FolderOf = lambda _: None,
        *,
        first_pause: float = FIRST_PAUSE,
        picture_patience: float = PICTURE_PATIENCE,
    ) -> None:
        chosen = list(destinations)
        self.outbox = Outbox(root)
        self.delivery = Delivery(
            self.outbox, chosen, first_pause=first_pause, picture_patience=picture_patience
        )
        self._names = [one.name for one in chosen]
        self._folder_of = folder_of
        self._pause = first_pause
        self._starts: dict[str, Mapping[str, Any]] = {}
        self._last: RunRecord | None = None
        self._arrived: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="logbook", daemon=True)
        self._thread.start()

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take one document; never blocks, never fails."""
        if name == "start":
            if document.get("purpose") == ACCEPTANCE_TEST:
                return
            self._starts[document["uid"]] = dict(document)
        elif name == "stop":
            start = self._starts.pop(document["run_start"], None)
            if start is not None:
                self._last = RunRecord.of(start, document, self._folder_of(start))
                self._arrived.put(Message("run", run=self._last, identifier=start["uid"]))

    def note(self, text: str, run: RunRecord | None = None, author: str = "") -> None:
        """Say something about a run; without one, about the last of this session, if any.

        Raises
        ------
        ValueError
            If there is nothing to say.
        """
        if not text.strip():
            raise ValueError("A note needs a text.")
        self._arrived.put(Message("note", text.strip(), run or self._last, author))

    def close(self, timeout: float = 5.0, *, send: bool = True) -> list[str]:
        """Write all messages down, and give the sending ``timeout`` s; return what waits.

        Parameters
        ----------
        timeout
            Seconds for writing and sending.
        send
            False: the sending is left to another process.

        Returns
        -------
        list of str
            One sentence for each destination that has not got everything yet.
        """
        deadline = time.monotonic() + timeout
        self._closing.set()
        self._arrived.put(None)
        self._thread.join(timeout)
        if self._thread.is_alive():
            _log.error("The outbox in %s cannot be written; messages are lost.", self.outbox.folder)
        if not send:
            self.delivery.close(0.1)
            return []
        while time.monotonic() < deadline and any(map(self._can_go_on, self._names)):
            time.sleep(0.05)
        self.delivery.close(max(0.5, deadline - time.monotonic()))
        return [
            f"{count} {'entry waits' if count == 1 else 'entries wait'} for {name}"
            + (f": {self.delivery.standing[name].trouble}" if self._in_trouble(name) else ".")
            for name in self._names
            if (count := len(self.outbox.waiting(name)))
        ]

    def _in_trouble(self, name: str) -> bool:
        return bool(self.delivery.standing[name].trouble)

    def _can_go_on(self, name: str) -> bool:
        return not self._in_trouble(name) and bool(self.outbox.waiting(name))

    def _work(self) -> None:
        unwritten: list[tuple[str, Message]] = []
        while True:
            try:
                message = self._arrived.get(timeout=self._pause if unwritten else None)
            except queue.Empty:
                message = None
            if message is not None:
                unwritten += [(name, message) for name in self._names]
            unwritten = self._write(unwritten)
            self.delivery.wake()
            if self._closing.is_set() and not unwritten and self._arrived.empty():
                return

    def _write(self, messages: list[tuple[str, Message]]) -> list[tuple[str, Message]]:
        """Put messages into the outbox, in their order; return those that the disk refuses."""
        for number, (name, message) in enumerate(messages):
            try:
                self.outbox.put(name, message)
            except OSError as error:
                reason = error.strerror
                _log.warning("The outbox cannot be written (%s); it is tried again.", reason)
                return messages[number:]
            # Of metadata that no text can hold, say: a thread that ended would be silent.
            except Exception:
                _log.exception("A message for %s could not be written and is left out.", name)
        return []


__all__ = ["Logbook"]
