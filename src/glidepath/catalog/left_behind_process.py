"""What runs in the process that a command leaves behind; see `glidepath.catalog.left_behind`.

It reads the journals of the runs that were handed over, as they are written, and lets the feeder
bring them into the catalogue. What the feeder gives up, and what was killed, is replayed once when
nothing else is left to do; what is refused then keeps its note and is tried again by the next one.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from glidepath.catalog.errors import CatalogError
from glidepath.catalog.feeder import Feeder
from glidepath.catalog.journal import LOCK, is_published
from glidepath.catalog.ledger import Ledger
from glidepath.catalog.left_behind import DATABASE, TROUBLE, LeftBehind
from glidepath.sentences import sentence_of
from glidepath.storage.lines import GrowingLines
from glidepath.storage.locks import FileLock

NICENESS = 10
"""Scans go first: this process gets what they leave of the processors."""

POLL_PERIOD = 0.1
"""Seconds between two looks into the journals."""

BEGIN_TIMEOUT = 10.0
"""Seconds in which the journal of a run that was handed over must be there."""

QUEUE_LIMIT = 100_000
"""Documents that wait for the catalogue at most."""

READ_AHEAD = 5_000
"""Documents that wait for the catalogue above which no journal is read further."""

_log = logging.getLogger(__name__)


class JournalTail:
    """The lines of a journal as they are written, and whether more can come.

    Parameters
    ----------
    path
        The journal.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = GrowingLines(path)
        self._lock = FileLock(path)
        self._held = False
        self._begun = time.monotonic()
        self.stopped = False
        """Whether the stop document was read."""

    def read(self) -> list[bytes]:
        """Return the lines that were written since the last time."""
        # First of all: what the writer has written before it let go is read below.
        self._hold()
        return self._lines.read()

    @property
    def over(self) -> bool:
        """Whether nothing more can come: its writer has ended, or has never begun."""
        return self._held or (
            not self._path.exists() and time.monotonic() > self._begun + BEGIN_TIMEOUT
        )

    def _hold(self) -> None:
        """Take the journal when its writer lets go of it: a replay would collide."""
        if not self._held:
            with suppress(OSError):
                # A lock that writes would make a file that is not there.
                if self._path.exists():
                    self._lock.acquire()
                    self._held = True

    def release(self) -> None:
        """Let others have the journal."""
        self._lock.release()


class Shift:
    """One time of work: from the first run that waits until none is left on its way.

    Parameters
    ----------
    left_behind
        Which runs wait.
    connect
        Returns a new Tiled client that may write.
    """

    def __init__(self, left_behind: LeftBehind, connect: Callable[[], Any]) -> None:
        self._waits = left_behind
        self._connect = connect
        self._tails: dict[str, JournalTail] = {}
        self._ledger = Ledger(left_behind.journal, True, QUEUE_LIMIT)
        feeder = Feeder(left_behind.journal, self._ledger, connect)
        self._feeding = threading.Thread(target=feeder.work, name="document feed", daemon=True)

    def work(self, refused: set[str]) -> None:
        """Bring all waiting runs but those refused before into the catalogue.

        Parameters
        ----------
        refused
            Uids; those that are refused now are added.
        """
        self._feeding.start()
        while self._poll(refused):
            time.sleep(POLL_PERIOD)
        self._ledger.all_passed_on()
        self._feeding.join()
        for uid, tail in self._tails.items():
            if not self._is_done(uid) and not self._replayed(uid):
                refused.add(uid)
            tail.release()

    def _poll(self, refused: set[str]) -> bool:
        """Read what is new; return whether anything is still to come."""
        for uid in self._waits.waiting:
            if uid in self._tails or uid in refused:
                continue
            # Somebody may have replayed it meanwhile.
            if not self._is_done(uid):
                self._tails[uid] = JournalTail(self._journal(uid))
                self._ledger.begin(uid)
        busy = self._ledger.status.queued > READ_AHEAD
        coming = busy
        for uid, tail in self._tails.items():
            if tail.stopped:
                self._is_done(uid)
                continue
            if busy:
                continue
            over = tail.over
            lines = tail.read()
            self._ledger.pass_on([(uid, _name_of(line), line) for line in lines])
            tail.stopped = bool(lines) and _name_of(lines[-1]) == "stop"
            coming |= not tail.stopped and not (over and not lines)
        return coming

    def _replayed(self, uid: str) -> bool:
        """Put a run into the catalogue at once; return whether it is there."""
        from glidepath.catalog.replay import write_run

        path = self._journal(uid)
        if not path.exists():
            # Its process has ended before anything was recorded.
            self._done(uid)
            return True
        try:
            with closing(_Client(self._connect())) as client:
                _log.warning("%s", write_run(path, client.opened))
        except Exception as error:
            _log.warning("Run %s was refused.", uid, exc_info=True)
            with suppress(OSError):
                (self._waits.folder / TROUBLE).write_text(sentence_of(error))
            return False
        self._done(uid)
        return True

    def _is_done(self, uid: str) -> bool:
        """Return whether a run is in the catalogue; its note goes then."""
        if not is_published(self._journal(uid)):
            return False
        self._done(uid)
        return True

    def _done(self, uid: str) -> None:
        (self._waits.folder / uid).unlink(missing_ok=True)

    def _journal(self, uid: str) -> Path:
        return self._waits.journal / f"{uid}.jsonl"


class _Client:
    """A Tiled client that is closed."""

    def __init__(self, opened: Any) -> None:
        self.opened = opened

    def close(self) -> None:
        self.opened.context.http_client.close()


def _name_of(line: bytes) -> str:
    """Return the name of a document without decoding it: the journal writes it first."""
    head = line[:40].split(b'"', 4)
    return head[3].decode(errors="replace") if len(head) == 5 else ""


def main(root: Path, uri: str | None) -> None:
    """Bring what waits into the catalogue, and end.

    Parameters
    ----------
    root
        The data directory.
    uri
        Address of the user's server; None: the data directory's own one is started or joined.
    """
    waits = LeftBehind(root, uri, os.environ.get(DATABASE))
    lock = FileLock(waits.folder / LOCK)
    refused: set[str] = set()
    while set(waits.waiting) - refused:
        try:
            lock.acquire()
        except BlockingIOError:
            # The one that is at work sees what waits before it ends.
            return
        try:
            (waits.folder / TROUBLE).unlink(missing_ok=True)
            _work(waits, refused)
        finally:
            lock.release()


def _work(waits: LeftBehind, refused: set[str]) -> None:
    if waits.uri is not None:
        uri, key = waits.uri, os.environ.get("TILED_API_KEY")

        def connect() -> Any:
            from glidepath.catalog.connection import open_catalog

            return open_catalog(uri, key, writable=True)

        Shift(waits, connect).work(refused)
        return

    from glidepath.catalog.server import LocalTiledServer

    server: LocalTiledServer | None = None
    try:
        server = LocalTiledServer(waits.root, database=waits.database).start()
        Shift(waits, lambda: server.wait_ready().client()).work(refused)
    except CatalogError as error:
        # Another computer's server, a folder that cannot be written: all of them are refused.
        refused.update(waits.waiting)
        (waits.folder / TROUBLE).write_text(str(error))
    finally:
        if server is not None:
            server.stop()


if __name__ == "__main__":
    os.nice(NICENESS)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
