"""Follows the runs of a data directory from another process, by their journals.

The journal is written at once and holds exactly the documents of the run engine, so it is the
quickest way to know what another process measures; Tiled comes later.
"""

import json
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from .follower import PrimaryFollower

POLL_PERIOD = 0.05
"""Seconds between two looks into the journal."""

SUFFIX = ".jsonl"


class JournalFollower:
    """Feeds a `PrimaryFollower` with the newest run of a data directory, while it is entered.

    Parameters
    ----------
    root
        The data directory.
    """

    def __init__(self, root: Path) -> None:
        self.follower = PrimaryFollower(root)
        self._folder = Path(root) / "journal"
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
            self.poll()
            self._stopping.wait(POLL_PERIOD)

    def poll(self) -> None:
        """Take what has been written since the last time."""
        newest = self._newest()
        if newest is None:
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
        if self._path is not None and self.follower.running and self._path.exists():
            return self._path
        try:
            found = [(path.stat().st_mtime, path) for path in self._folder.glob(f"*{SUFFIX}")]
        except OSError:
            return None
        return max(found)[1] if found else None


__all__ = ["JournalFollower"]
