"""Follows the runs of a data directory from another process, by their journals.

The journal is written at once and holds exactly the documents of the run engine, so it is the
quickest way to know what another process measures; Tiled comes later.
"""

import logging
import os
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from glidepath.storage import FileLock, GrowingLines, Presence, document_in

from .follower import PrimaryFollower

POLL_PERIOD = 0.02
"""Seconds between two looks into the journal of a run."""

SETTLED = 1.0
"""Seconds after which a folder's time of change says that nothing was added since."""

IDLE_PERIOD = 0.05
"""Seconds between two looks for a run that begins."""

SUFFIX = ".jsonl"

_log = logging.getLogger(__name__)


class JournalFollower:
    """Feeds a `PrimaryFollower` with the newest run of a data directory, while it is entered.

    A line that nobody can read, such as a full disk leaves behind, is left out, and the log says
    so; a run whose first document is such a line is not shown.

    Parameters
    ----------
    root
        The data directory.
    watched
        Whether somebody watches: then whoever measures there announces rows more often.
    """

    def __init__(self, root: Path, watched: bool = True) -> None:
        self.follower = PrimaryFollower(root)
        self.watched = watched
        self._presence = Presence(root)
        self._folder = Path(root) / "journal"
        self._looked: int | None = None
        self._look_until = 0.0
        self._lines: GrowingLines | None = None
        self._begun = False
        self._trouble = ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="glidepath journal follower")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if self.watched:
                    self._presence.renew()
                self.poll()
            # Whatever it is: a thread that ended would leave a view that waits for ever.
            except Exception as error:
                if repr(error) != self._trouble:
                    self._trouble = repr(error)
                    _log.exception("The journals in %s cannot be followed.", self._folder)
            self._stopping.wait(POLL_PERIOD if self.follower.running else IDLE_PERIOD)

    def poll(self) -> None:
        """Take what has been written since the last time."""
        newest = self._newest()
        if newest is None:
            return
        if self._lines is None or newest != self._lines.path:
            self._lines, self._begun = GrowingLines(newest), False
        for line in self._lines.read():
            try:
                self._take(*document_in(line))
            except (ValueError, KeyError, TypeError, AttributeError):
                _log.warning("A line of the journal %s is damaged and is left out.", newest)

    def _take(self, name: str, document: dict[str, Any]) -> None:
        """Hand on a document; those before the first start would count for the run before."""
        self._begun |= name == "start"
        if self._begun:
            self.follower(name, document)

    def _newest(self) -> Path | None:
        """Return the journal that was begun last; the running one is kept until it ends."""
        path = None if self._lines is None else self._lines.path
        try:
            # A folder of ten thousand journals is looked through only when one was added.
            changed, now = self._folder.stat().st_mtime_ns, time.monotonic()
            if changed != self._looked:
                self._looked, self._look_until = changed, now + SETTLED
            elif now > self._look_until:
                return path
            if path is not None and self.follower.running and _is_written(path):
                return path
            with os.scandir(self._folder) as entries:
                found = [
                    (entry.stat().st_mtime_ns, entry.path)
                    for entry in entries
                    if entry.name.endswith(SUFFIX)
                ]
        except OSError:
            return None
        return Path(max(found)[1]) if found else None


def _is_written(journal: Path) -> bool:
    """Return whether the process that records a run is still there."""
    try:
        lock = FileLock(journal)
        lock.acquire(shared=True)
        lock.release()
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


__all__ = ["JournalFollower"]
