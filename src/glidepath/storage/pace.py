"""How often growing files are flushed and announced: more often while somebody watches.

Views in this process count themselves. Views in other processes touch a file of the data directory
again and again; that it changes is what counts, so that no clock has to agree with another.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ALONE = 0.5
"""Seconds between two flushes where nobody watches."""

WATCHED = 0.1
"""Seconds between two flushes while somebody watches."""

FILE_NAME = "watched"
"""File of the data directory that views in other processes touch."""

TOUCH_PERIOD = 0.5
"""Seconds between two touches of a view."""

LOOK_PERIOD = 0.25
"""Seconds between two looks at the file."""

REMEMBERED = 2.0
"""Seconds after its last touch for which a view counts."""


class _Process:
    """What holds for all growing files of this process."""

    alone = ALONE
    watched = WATCHED
    lock = threading.Lock()
    views = 0


def use_flush_periods(alone: float, watched: float) -> None:
    """Set how often the files of the runs to come are flushed in this process.

    Parameters
    ----------
    alone, watched
        Seconds between two flushes, where nobody watches and while somebody does; never less
        often while somebody does.
    """
    _Process.alone, _Process.watched = alone, min(alone, watched)


@contextmanager
def watching() -> Iterator[None]:
    """Let the runs of this process be flushed often: somebody watches them here."""
    with _Process.lock:
        _Process.views += 1
    try:
        yield
    finally:
        with _Process.lock:
            _Process.views -= 1


class Presence:
    """Tells whoever measures in a data directory that somebody watches, in another process.

    Parameters
    ----------
    root
        The data directory. Where it may only be read, runs are flushed as if nobody watched.
    """

    def __init__(self, root: Path) -> None:
        self._file = Path(root) / FILE_NAME
        self._next = 0.0

    def renew(self) -> None:
        """Say that somebody watches just now; may be called as often as one likes."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + TOUCH_PERIOD
        with suppress(OSError):
            try:
                os.utime(self._file)
            except FileNotFoundError:
                self._file.touch()


class Pace:
    """Says, again and again, how long to wait for the next flush of a file.

    Parameters
    ----------
    root
        The data directory that the file is in.
    """

    def __init__(self, root: Path) -> None:
        self._file = Path(root) / FILE_NAME
        self._touched = self._time_of_touch()
        self._next_look = 0.0
        self._until = 0.0

    @property
    def period(self) -> float:
        """Seconds between two flushes, as it is now."""
        return _Process.watched if self.watched else _Process.alone

    @property
    def watched(self) -> bool:
        """Whether somebody watches, here or in another process."""
        if _Process.views:
            return True
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + LOOK_PERIOD
            touched = self._time_of_touch()
            if touched != self._touched:
                self._touched, self._until = touched, now + REMEMBERED
        return now < self._until

    def _time_of_touch(self) -> int:
        try:
            return self._file.stat().st_mtime_ns
        except OSError:
            return 0


__all__ = ["ALONE", "WATCHED", "Pace", "Presence", "use_flush_periods", "watching"]
