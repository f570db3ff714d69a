"""Tiled's thread: brings the documents of runs into the catalogue, while the scans go on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glidepath.catalog.errors import CatalogError
from glidepath.catalog.journal import decode, mark_published
from glidepath.catalog.ledger import Ledger

if TYPE_CHECKING:
    from glidepath.catalog.feed import RunFeed

_log = logging.getLogger(__name__)

LIVE_STREAM = "primary"
LIVE_PERIOD = 0.5
"""Seconds between two flushes of the primary stream and of events."""
BULK_PERIOD = 5.0
"""Seconds between two flushes of a raw stream."""
AT_ONCE = 8
"""Streams of a run that are flushed together."""


@dataclass
class _LiveRun:
    feed: RunFeed
    flushed: dict[str, float] = field(default_factory=dict)


class Feeder:
    """Merges documents, writes them at a bounded rate, and gives a run up on an error.

    Parameters
    ----------
    journal
        Folder of the journals, where a run that is complete is marked.
    ledger
        Where documents come from, and what is told to the other threads.
    connect
        Returns a new Tiled client that may write; None: there is no Tiled.
    """

    def __init__(self, journal: Path, ledger: Ledger, connect: Callable[[], Any] | None) -> None:
        self._journal = journal
        self._ledger = ledger
        self._connect = connect
        self._client: Any = None
        self._runs: dict[str, _LiveRun] = {}
        self._rest_until = 0.0

    def work(self) -> None:
        """Run until there is nothing more to come, then write what is left."""
        if self._connect is not None:
            # Seconds of imports: now, in this thread, while the scan is still being prepared.
            import glidepath.catalog.feed  # noqa: F401
        while (lines := self._ledger.take(*self._outlook(), self._runs)) is not None:
            for uid, name, line in lines:
                if not self._ledger.is_given_up(uid):
                    self._deliver(uid, name, line)
            self._forget_given_up()
            self._ledger.release_journals(self._runs)
            self._flush_most_urgent()
        for uid in list(self._runs):
            self._try(uid, self._flush_all, uid)
            self._runs.pop(uid, None)
            self._ledger.give_up(uid, f"Run {uid} ended without a stop document.")
        self._ledger.release_journals(self._runs)
        self._disconnect()

    def _deliver(self, uid: str, name: str, line: bytes) -> None:
        # Decoding the journal's line gives Tiled its own copy (its writer changes documents),
        # and exactly the same one that a replay would give.
        try:
            document = decode(line)[1]
        except ValueError:
            # Of a journal that somebody else has written; a replay stores what can be read.
            self._runs.pop(uid, None)
            self._ledger.give_up(uid, f"A line of the journal of run {uid} is damaged.")
            return
        if name == "start":
            self._try(uid, self._begin, uid, document)
        elif uid in self._runs:
            self._try(uid, self._runs[uid].feed, name, document)
            if name == "stop" and uid in self._runs:
                del self._runs[uid]
                try:
                    mark_published(self._journal / f"{uid}.jsonl")
                except OSError as error:
                    self._ledger.journal_failed(error)
                self._ledger.publish(uid)

    def _begin(self, uid: str, document: dict[str, Any]) -> None:
        if self._client is None:
            assert self._connect is not None
            self._client = self._connect()
        from glidepath.catalog.feed import RunFeed

        feed = RunFeed(self._client)
        feed("start", document)
        self._runs[uid] = _LiveRun(feed)

    def _flush_all(self, uid: str) -> None:
        feed = self._runs[uid].feed
        feed.flush(*sorted(feed.waiting))

    def _flush_most_urgent(self) -> None:
        now = time.monotonic()
        if now < self._rest_until:
            return
        due = sorted((item for item in self._urgencies(now) if item[0] >= 1), reverse=True)
        if not due:
            return
        _, live, uid, _ = due[0]
        # Not with each other: what is live must not wait for all the rest.
        streams = [stream for _, *kind, stream in due if kind == [live, uid]][:AT_ONCE]
        run = self._runs[uid]
        self._try(uid, run.feed.flush, *streams)
        run.flushed.update(dict.fromkeys(streams, now))
        # Rest as long as the requests took: at most half of the time goes to Tiled.
        ended = time.monotonic()
        self._rest_until = ended + (ended - now)

    def _urgencies(self, now: float) -> list[tuple[float, bool, str, str]]:
        """Return (waiting time over period, is live, run, stream) of what can be flushed."""
        found = []
        for uid, run in self._runs.items():
            for stream in run.feed.waiting:
                live = stream == LIVE_STREAM or run.feed.has_events(stream)
                period = LIVE_PERIOD if live else BULK_PERIOD
                # The first rows of a stream are due at once.
                waited = now - run.flushed.get(stream, now - period)
                found.append((waited / period, live, uid, stream))
        return found

    def _outlook(self) -> tuple[bool | None, float | None]:
        """Return whether something is late, and how long (s) there is nothing to do."""
        now = time.monotonic()
        urgencies = self._urgencies(now)
        if not urgencies:
            return None, None
        late = any(urgency > 2 for urgency, *_ in urgencies)
        next_due = min(
            max(0.0, (1 - urgency) * (LIVE_PERIOD if live else BULK_PERIOD))
            for urgency, live, *_ in urgencies
        )
        return late, max(next_due, self._rest_until - now)

    def _try(self, uid: str, action: Callable[..., Any], *arguments: Any) -> None:
        try:
            action(*arguments)
        except Exception as error:
            _log.debug("Tiled did not take a document of run %s.", uid, exc_info=True)
            self._runs.pop(uid, None)
            if not self._runs:
                self._disconnect()
            self._ledger.give_up(uid, _sentence(error))

    def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.context.http_client.close()

    def _forget_given_up(self) -> None:
        for uid in [uid for uid in self._runs if self._ledger.is_given_up(uid)]:
            del self._runs[uid]


def _sentence(error: Exception) -> str:
    if isinstance(error, CatalogError):
        return str(error)
    text = " ".join(str(error).split()) or type(error).__name__
    return f"Tiled does not take the documents ({type(error).__name__}: {text[:200]})."


__all__ = ["Feeder"]
