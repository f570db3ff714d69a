"""Follows the runs of a data directory from another process, by their journals.

The journal is written at once and holds exactly the documents of the run engine, so it is the
quickest way to know what another process measures; Tiled comes later.
"""

import json
import os
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from glidepath.storage import FileLock, Presence

from .follower import PrimaryFollower

POLL_PERIOD = 0.02
"""Seconds between two looks into the journal of a run."""

SETTLED = 1.0
"""Seconds after which a folder's time of change says that nothing was added since."""

IDLE_PERIOD = 0.05
"""Seconds between two looks for a run that begins."""

SUFFIX = ".jsonl"


class JournalFollower:
    """Feeds a `PrimaryFollower` with the newest run of a data directory, while it is entered.

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
        self._path: Path | None = None
        self._offset = 0
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
            if self.watched:
                self._presence.renew()
            self.poll()
            self._stopping.wait(POLL_PERIOD if self.follower.running else IDLE_PERIOD)

    def poll(self) -> None:
        """Take what has been written since the last time."""
        newest = self._newest()
        if newest is None:
            return
        if newest == self._path and newest.stat().st_size == self._offset:
            return
        if newest != self._path:
            self._path, self._offset = newest, 0
        with newest.open("rb") as file:
            file.seek(self._offset)
            text = file.read()
        # The last line may still be on its way: it is read again.
        whole = text[: text.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            entry = json.loads(line)
            self.follower(entry["name"], entry["doc"])

    def _newest(self) -> Path | None:
        """Return the journal that was begun last; the running one is kept until it ends."""
        try:
            # A folder of ten thousand journals is looked through only when one was added.
            changed, now = self._folder.stat().st_mtime_ns, time.monotonic()
            if changed != self._looked:
                self._looked, self._look_until = changed, now + SETTLED
            elif now > self._look_until:
                return self._path
            if self._path is not None and self.follower.running and _is_written(self._path):
                return self._path
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
