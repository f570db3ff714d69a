"""Takes documents from the run engine at once, keeps them on disk and feeds them to Tiled.

The run engine pays for a copy of one dictionary. Everything else happens in two threads: one
writes the journal, one talks to Tiled. Whatever happens to Tiled, the scan does not notice and
the journal is complete.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from glidepath.catalog.errors import CatalogError
from glidepath.catalog.journal import JournalWriter, decode, encode, mark_published

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
BEHIND_AFTER = 10.0
"""Seconds of uninterrupted work after which the status is 'behind'."""
_JOURNAL_PERIOD = 0.02
_RETRY_PERIOD = 1.0
"""Seconds between two attempts to finish a journal that the disk did not take."""
_BATCH = 2000

State = Literal["ok", "behind", "journal only", "no journal"]


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


@dataclass
class _LiveRun:
    feed: RunFeed
    flushed: dict[str, float] = field(default_factory=dict)


class Publisher:
    """Subscribe it to the run engine: ``RE.subscribe(publisher)``.

    Parameters
    ----------
    journal
        Folder of the journals.
    connect
        Returns a new Tiled client that may write, which the publisher closes; called in the
        publisher's own thread when a run starts and there is no connection. None: keep the
        journal only.
    queue_limit
        So many documents may wait for Tiled. When there are more, the run is given up there and
        is to be replayed; its journal stays complete.

    Examples
    --------
    >>> server = LocalTiledServer(root).start()  # doctest: +SKIP
    >>> publisher = Publisher(root / "journal", server.client)  # doctest: +SKIP
    >>> RE.subscribe(publisher)  # doctest: +SKIP
    """

    def __init__(
        self,
        journal: Path,
        connect: Callable[[], Any] | None = None,
        *,
        queue_limit: int = 100_000,
    ) -> None:
        self.journal = Path(journal)
        self._connect = connect
        self._queue_limit = queue_limit

        # Run engine -> journal thread. Appending to a deque wakes nobody: waking a thread for
        # each document would make the two fight for the interpreter.
        self._arrived: deque[tuple[str, dict[str, Any]]] = deque()
        self._something_to_record = threading.Event()
        self._closing = False
        self._closed = False

        # Journal thread -> Tiled thread, and what both report; guarded by the condition.
        self._condition = threading.Condition()
        self._lines: deque[tuple[str, str, bytes]] = deque()
        self._no_more_lines = False
        self._begun: dict[str, None] = {}
        self._published: set[str] = set()
        self._recorded: dict[str, JournalWriter] = {}
        self._to_replay: dict[str, None] = {}
        self._tiled_error: str | None = None
        self._journal_error: str | None = None
        self._busy_since: float | None = None

        self._recorder = _Recorder(self)
        self._feeder = _Feeder(self)
        self._threads = [
            threading.Thread(target=self._recorder.work, name="document journal", daemon=True),
            threading.Thread(target=self._feeder.work, name="document feed", daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        atexit.register(self.close)

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take one document; a few microseconds, never blocks, never fails."""
        if self._closed:
            raise CatalogError("This publisher is closed; make a new one and subscribe that.")
        # A copy, because another subscriber may change the document before it is recorded.
        self._arrived.append((name, dict(doc)))
        if name == "start":
            self._begun[doc["uid"]] = None
            self._something_to_record.set()

    @property
    def status(self) -> PublisherStatus:
        """How the documents fare just now."""
        with self._condition:
            busy = self._busy_since
            state: State = "ok"
            if self._journal_error is not None:
                state = "no journal"
            elif self._connect is None or self._tiled_error is not None:
                state = "journal only"
            elif busy is not None and time.monotonic() - busy > BEHIND_AFTER:
                state = "behind"
            return PublisherStatus(
                state,
                self._journal_error or self._tiled_error,
                len(self._lines),
                tuple(self._to_replay),
            )

    def wait_published(self, uid: str, timeout: float = 30.0) -> bool:
        """Wait until a run is complete in Tiled.

        Parameters
        ----------
        uid
            The run.
        timeout
            Seconds to wait at most.

        Returns
        -------
        bool
            True if it is there; False if it is not yet, or has to be replayed.
        """
        with self._condition:
            self._condition.wait_for(
                lambda: uid in self._published or uid in self._to_replay, timeout
            )
            return uid in self._published

    def close(self, timeout: float = 10.0) -> PublisherStatus:
        """Take no more documents, write what has come, and end the threads.

        Parameters
        ----------
        timeout
            Seconds to wait at most. What Tiled has not taken then is to be replayed.

        Returns
        -------
        PublisherStatus
            The last status.
        """
        deadline = time.monotonic() + timeout
        self._closed = True
        self._closing = True
        self._something_to_record.set()
        atexit.unregister(self.close)
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if self._threads[1].is_alive():
            unfinished = self._feeder.abandon_all()
            if unfinished:
                _log.warning(
                    "Tiled did not take all documents within %g s; to be replayed: %s.",
                    timeout,
                    ", ".join(unfinished),
                )
        return self.status

    # What the two threads tell; each is called from either of them.

    def _pass_on(self, lines: list[tuple[str, str, bytes]]) -> None:
        with self._condition:
            for uid, name, line in lines:
                if self._connect is None:
                    self._to_replay[uid] = None
                if uid in self._to_replay:
                    continue
                if len(self._lines) >= self._queue_limit:
                    self._give_up(
                        uid,
                        f"Tiled is too slow: more than {self._queue_limit} documents wait for it.",
                    )
                    self._lines = deque(item for item in self._lines if item[0] != uid)
                    continue
                self._lines.append((uid, name, line))
            self._condition.notify_all()

    def _give_up(self, uid: str, reason: str) -> None:
        with self._condition:
            first = self._tiled_error is None
            self._to_replay[uid] = None
            self._tiled_error = reason
            self._condition.notify_all()
        if first:
            _log.warning(
                "%s The scan goes on; its documents are kept in %s and can be replayed.",
                reason,
                self.journal,
            )

    def _finished(self, uid: str) -> None:
        with self._condition:
            recovered, self._tiled_error = self._tiled_error is not None, None
            self._published.add(uid)
            self._condition.notify_all()
        if recovered:
            _log.warning("Tiled takes documents again; runs before may have to be replayed.")

    def _journal_failed(self, error: OSError) -> None:
        with self._condition:
            first, self._journal_error = (
                self._journal_error is None,
                f"The journal in {self.journal} cannot be written ({error.strerror}); make room "
                "or rights there.",
            )
        if first:
            _log.error("%s", self._journal_error)

    def _journal_works(self) -> None:
        with self._condition:
            self._journal_error = None


class _Recorder:
    """The journal's thread: finds each document's run, writes it down, passes it on."""

    def __init__(self, owner: Publisher) -> None:
        self._owner = owner
        self._journals: dict[str, JournalWriter | None] = {}
        self._unfinished: dict[str, JournalWriter] = {}
        self._next_try = 0.0
        # uid of a descriptor or stream resource -> uid of its run
        self._run_of: dict[str, str] = {}

    def work(self) -> None:
        """Run until the publisher closes and nothing is left."""
        owner = self._owner
        while True:
            if owner._arrived:
                self._record_batch()
            elif owner._closing:
                break
            elif self._journals:
                time.sleep(_JOURNAL_PERIOD)
            else:
                owner._something_to_record.wait(_RETRY_PERIOD if self._unfinished else None)
                owner._something_to_record.clear()
            if self._unfinished and time.monotonic() >= self._next_try:
                self._finish()
        for uid in list(self._journals):
            self._end(uid)
        self._finish(last=True)
        with owner._condition:
            owner._no_more_lines = True
            owner._condition.notify_all()

    def _record_batch(self) -> None:
        arrived = self._owner._arrived
        passed: list[tuple[str, str, bytes]] = []
        lines: dict[str, bytearray] = {}
        ended: list[str] = []
        for _ in range(min(len(arrived), _BATCH)):
            name, document = arrived.popleft()
            try:
                uid = self._route(name, document)
                line = encode(name, document)
            except Exception:
                _log.exception("A %r document was not understood and is not recorded.", name)
                continue
            lines.setdefault(uid, bytearray()).extend(line)
            passed.append((uid, name, line))
            if name == "stop":
                ended.append(uid)
        for uid, text in lines.items():
            self._write(uid, bytes(text))
        for uid in ended:
            self._end(uid)
        self._owner._pass_on(passed)

    def _route(self, name: str, document: dict[str, Any]) -> str:
        if name == "start":
            uid: str = document["uid"]
            self._journals[uid] = None
        elif "run_start" in document:
            uid = document["run_start"]
            if name != "stop":
                self._run_of[document["uid"]] = uid
        elif "descriptor" in document:
            uid = self._run_of[document["descriptor"]]
        else:
            uid = self._run_of[document["resource"]]
        if uid not in self._journals:
            raise KeyError(f"no run {uid} is open")
        return uid

    def _write(self, uid: str, lines: bytes) -> None:
        try:
            journal = self._journals[uid]
            if journal is None:
                journal = self._journals[uid] = JournalWriter(self._owner.journal, uid)
            journal.write(lines)
        except OSError as error:
            self._owner._journal_failed(error)
        else:
            self._owner._journal_works()

    def _end(self, uid: str) -> None:
        journal = self._journals.pop(uid)
        self._run_of = {key: run for key, run in self._run_of.items() if run != uid}
        if journal is not None:
            self._unfinished[uid] = journal
            self._finish()

    def _finish(self, last: bool = False) -> None:
        """Finish the journals of runs that have ended; try again later what the disk refuses."""
        self._next_try = time.monotonic() + _RETRY_PERIOD
        for uid, journal in list(self._unfinished.items()):
            try:
                journal.finish()
            except OSError as error:
                self._owner._journal_failed(error)
                if not last:
                    continue
            else:
                self._owner._journal_works()
            del self._unfinished[uid]
            # Not released yet: until the other thread is done with the run, a replay would collide.
            with self._owner._condition:
                self._owner._recorded[uid] = journal


class _Feeder:
    """Tiled's thread: merges documents, writes them at a bounded rate, gives up on errors."""

    def __init__(self, owner: Publisher) -> None:
        self._owner = owner
        self._client: Any = None
        self._runs: dict[str, _LiveRun] = {}
        self._rest_until = 0.0

    def work(self) -> None:
        """Run until there is nothing more to come, then write what is left."""
        owner = self._owner
        if owner._connect is not None:
            # Seconds of imports: now, in this thread, while the scan is still being prepared.
            import glidepath.catalog.feed  # noqa: F401
        while True:
            with owner._condition:
                overdue, pause = self._outlook()
                owner._busy_since = (owner._busy_since or time.monotonic()) if overdue else None
                owner._condition.wait_for(
                    lambda: owner._lines or owner._no_more_lines or self._done_with(), pause
                )
                lines, owner._lines = owner._lines, deque()
                if owner._no_more_lines and not lines:
                    break
                owner._busy_since = owner._busy_since or time.monotonic()
            for uid, name, line in lines:
                if uid not in owner._to_replay:
                    self._deliver(uid, name, line)
            self._forget_given_up()
            self._release_journals()
            self._flush_most_urgent()
        for uid in list(self._runs):
            self._try(uid, self._flush_all, uid)
            self._runs.pop(uid, None)
            owner._give_up(uid, f"Run {uid} ended without a stop document.")
        self._release_journals()
        self._disconnect()

    def abandon_all(self) -> list[str]:
        """Mark what is not finished as to be replayed (from the closing thread)."""
        owner = self._owner
        with owner._condition:
            # Of all that began: a document of it may be anywhere, in neither queue just now.
            done = owner._published | owner._to_replay.keys()
            unfinished = dict.fromkeys(uid for uid in list(owner._begun) if uid not in done)
            owner._to_replay.update(unfinished)
            owner._lines.clear()
            owner._condition.notify_all()
        return list(unfinished)

    def _deliver(self, uid: str, name: str, line: bytes) -> None:
        # Decoding the journal's line gives Tiled its own copy (its writer changes documents),
        # and exactly the same one that a replay would give.
        document = decode(line)[1]
        if name == "start":
            self._try(uid, self._begin, uid, document)
        elif uid in self._runs:
            self._try(uid, self._runs[uid].feed, name, document)
            if name == "stop" and uid in self._runs:
                del self._runs[uid]
                try:
                    mark_published(self._owner.journal / f"{uid}.jsonl")
                except OSError as error:
                    self._owner._journal_failed(error)
                self._owner._finished(uid)

    def _begin(self, uid: str, document: dict[str, Any]) -> None:
        if self._client is None:
            assert self._owner._connect is not None
            self._client = self._owner._connect()
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

    def _outlook(self) -> tuple[bool, float | None]:
        """Return whether something is late, and how long (s) there is nothing to do."""
        now = time.monotonic()
        urgencies = self._urgencies(now)
        if not urgencies:
            return bool(self._owner._lines), None
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
            self._owner._give_up(uid, _sentence(error))

    def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.context.http_client.close()

    def _forget_given_up(self) -> None:
        for uid in [uid for uid in self._runs if uid in self._owner._to_replay]:
            del self._runs[uid]

    def _done_with(self) -> list[str]:
        """Return the recorded runs with which both threads are done; called with the condition."""
        done = self._owner._published | self._owner._to_replay.keys()
        return [uid for uid in self._owner._recorded if uid in done and uid not in self._runs]

    def _release_journals(self) -> None:
        with self._owner._condition:
            for uid in self._done_with():
                self._owner._recorded.pop(uid).release()


def _sentence(error: Exception) -> str:
    if isinstance(error, CatalogError):
        return str(error)
    text = " ".join(str(error).split()) or type(error).__name__
    return f"Tiled does not take the documents ({type(error).__name__}: {text[:200]})."
