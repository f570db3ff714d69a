"""What is known of each run on its way to the disk and into Tiled, under one lock.

Two threads report here, the journal's and Tiled's, and the run engine's asks. Nothing is written
and nobody is waited for while the lock is held.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from glidepath.catalog.journal import JournalWriter

_log = logging.getLogger(__name__)

BEHIND_AFTER = 10.0
"""Seconds of uninterrupted work after which the status is 'behind'."""

State = Literal["ok", "behind", "journal only", "no journal"]
Line = tuple[str, str, bytes]
"""Uid of the run, name of the document, its line of the journal."""


@dataclass(frozen=True)
class PublisherStatus:
    """How the documents fare.

    Parameters
    ----------
    state
        ``"ok"``; ``"behind"``: Tiled takes longer than documents come; ``"journal only"``: Tiled
        does not take them, or there is none; ``"no journal"``: the disk does not take them.
    error
        The last error as one sentence, or None.
    queued
        Documents that wait for Tiled.
    to_replay
        Uids of the runs of this process that are only in the journal or incomplete in Tiled.
    """

    state: State
    error: str | None
    queued: int
    to_replay: tuple[str, ...]


class Ledger:
    """The state of all runs of one publisher.

    Parameters
    ----------
    journal
        Folder of the journals, for what is said.
    has_catalogue
        Whether there is a Tiled that documents go to.
    queue_limit
        So many documents may wait for it.
    """

    def __init__(self, journal: Path, has_catalogue: bool, queue_limit: int) -> None:
        self._journal = journal
        self._has_catalogue = has_catalogue
        self._queue_limit = queue_limit
        self._condition = threading.Condition()
        self._waiting: deque[Line] = deque()
        self._complete = False
        self._begun: dict[str, None] = {}
        self._published: set[str] = set()
        self._to_replay: dict[str, None] = {}
        self._recorded: dict[str, JournalWriter] = {}
        self._catalogue_error: str | None = None
        self._journal_error: str | None = None
        self._busy_since: float | None = None

    # For the run engine and the user.

    @property
    def status(self) -> PublisherStatus:
        """How the documents fare just now."""
        with self._condition:
            busy = self._busy_since
            state: State = "ok"
            if self._journal_error is not None:
                state = "no journal"
            elif not self._has_catalogue or self._catalogue_error is not None:
                state = "journal only"
            elif busy is not None and time.monotonic() - busy > BEHIND_AFTER:
                state = "behind"
            return PublisherStatus(
                state,
                self._journal_error or self._catalogue_error,
                len(self._waiting),
                tuple(self._to_replay),
            )

    def begin(self, uid: str) -> None:
        """Note that a run has begun."""
        with self._condition:
            self._begun[uid] = None

    def wait_published(self, uid: str, timeout: float) -> bool:
        """Wait (s) until a run is complete in Tiled, or will not be; return which."""
        with self._condition:
            self._condition.wait_for(lambda: self._is_decided(uid), timeout)
            return uid in self._published

    def abandon(self) -> list[str]:
        """Leave for a replay whatever is not finished; return the uids of these runs."""
        with self._condition:
            # Of all that began: a document of it may be anywhere, in neither queue just now.
            unfinished = [uid for uid in self._begun if not self._is_decided(uid)]
            self._to_replay.update(dict.fromkeys(unfinished))
            self._waiting.clear()
            self._condition.notify_all()
        return unfinished

    # For the journal's thread.

    def pass_on(self, lines: Sequence[Line]) -> None:
        """Let Tiled's thread have documents that are on the disk, or cannot get there."""
        too_many: set[str] = set()
        with self._condition:
            for line in lines:
                uid = line[0]
                if not self._has_catalogue:
                    self._to_replay[uid] = None
                if uid in self._to_replay:
                    continue
                if len(self._waiting) < self._queue_limit:
                    self._waiting.append(line)
                    continue
                too_many.add(uid)
                self._to_replay[uid] = None
                self._waiting = deque(other for other in self._waiting if other[0] != uid)
            self._condition.notify_all()
        for uid in too_many:
            self.give_up(
                uid, f"Tiled is too slow: more than {self._queue_limit} documents wait for it."
            )

    def recorded(self, uid: str, journal: JournalWriter) -> None:
        """Note that the journal of a run is complete.

        It is released later: until Tiled's thread is done with the run, a replay would collide.
        """
        with self._condition:
            self._recorded[uid] = journal
            self._condition.notify_all()

    def all_passed_on(self) -> None:
        """Note that no more documents will come."""
        with self._condition:
            self._complete = True
            self._condition.notify_all()

    def journal_failed(self, error: OSError) -> None:
        """Note that the disk does not take a journal; said once until it works again."""
        with self._condition:
            first = self._journal_error is None
            self._journal_error = (
                f"The journal in {self._journal} cannot be written ({error.strerror}); make room "
                "or rights there."
            )
        if first:
            _log.error("%s", self._journal_error)

    def journal_works(self) -> None:
        """Note that the disk takes the journals."""
        with self._condition:
            self._journal_error = None

    # For Tiled's thread.

    def take(
        self, late: bool | None, pause: float | None, open_runs: Collection[str]
    ) -> list[Line] | None:
        """Wait for documents and take them.

        Parameters
        ----------
        late
            Whether something else is overdue; None: there is nothing else to do.
        pause
            Seconds to wait at most; None: until something comes.
        open_runs
            Uids of the runs that Tiled's thread still works on.

        Returns
        -------
        list or None
            Documents, perhaps none; None if no more will come.
        """
        with self._condition:
            behind = bool(self._waiting) if late is None else late
            self._busy_since = (self._busy_since or time.monotonic()) if behind else None
            self._condition.wait_for(
                lambda: self._waiting or self._complete or self._releasable(open_runs), pause
            )
            lines = list(self._waiting)
            self._waiting.clear()
            if self._complete and not lines:
                return None
            self._busy_since = self._busy_since or time.monotonic()
            return lines

    def is_given_up(self, uid: str) -> bool:
        """Whether a run is left for a replay."""
        with self._condition:
            return uid in self._to_replay

    def give_up(self, uid: str, reason: str) -> None:
        """Leave a run for a replay; the reason is said once until Tiled works again."""
        with self._condition:
            first = self._catalogue_error is None
            self._to_replay[uid] = None
            self._catalogue_error = reason
            self._condition.notify_all()
        if first:
            _log.warning(
                "%s The scan goes on; its documents are kept in %s and can be replayed.",
                reason,
                self._journal,
            )

    def publish(self, uid: str) -> None:
        """Note that a run is complete in Tiled."""
        with self._condition:
            recovered, self._catalogue_error = self._catalogue_error is not None, None
            self._published.add(uid)
            self._condition.notify_all()
        if recovered:
            _log.warning("Tiled takes documents again; runs before may have to be replayed.")

    def release_journals(self, open_runs: Collection[str]) -> None:
        """Let go of the journals with which both threads are done."""
        with self._condition:
            for uid in self._releasable(open_runs):
                self._recorded.pop(uid).release()

    def _is_decided(self, uid: str) -> bool:
        return uid in self._published or uid in self._to_replay

    def _releasable(self, open_runs: Collection[str]) -> list[str]:
        return [uid for uid in self._recorded if self._is_decided(uid) and uid not in open_runs]


__all__ = ["BEHIND_AFTER", "Ledger", "Line", "PublisherStatus", "State"]
