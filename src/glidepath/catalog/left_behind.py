"""Hands runs over to a process that brings them into Tiled and is left behind by a command.

A command ends when its run is in the journal; whoever typed it gets the prompt. The process that it
leaves behind follows the journals of the runs that were handed over, while they are recorded and
after that, and ends by itself when all of them are in Tiled or refused. One such process serves a
data directory and a catalogue, whoever hands over.

Handing over is a file, ``<journal>/waiting/<catalogue>/<uid>``; it goes when the run is in Tiled.
It is made before the process is started: one that is about to end looks once more after it has
given up its lock.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

from glidepath.catalog.journal import LOCK, WAITING, is_locked, is_published
from glidepath.storage.lines import ends_with_stop

TROUBLE = "trouble"
"""Name of the file with the reason why the process could not bring runs into Tiled."""

LOG = "log"
"""Name of its log."""

DATABASE = "GLIDEPATH_DATABASE"
"""Variable of the environment that says in which PostgreSQL database the catalogue is."""

LOCAL = "local"
"""Stands for the catalogue of the data directory's own server."""

_left_running: list[subprocess.Popen[bytes]] = []
"""Processes that this one has started: they go on when it ends."""


class LeftBehind:
    """The process that brings the runs of a data directory into a catalogue.

    Parameters
    ----------
    root
        The data directory.
    uri
        Address of the user's own server, with its key in the environment's ``TILED_API_KEY``;
        None: the data directory's own one.
    database
        PostgreSQL database of the own server's catalogue; None: where it is.
    """

    def __init__(self, root: Path, uri: str | None = None, database: str | None = None) -> None:
        self.root = Path(root).resolve()
        self.uri = uri
        self.database = database
        self.journal = self.root / "journal"
        name = LOCAL if uri is None else hashlib.sha256(uri.encode()).hexdigest()[:16]
        self.folder = self.journal / WAITING / name
        self._process: subprocess.Popen[bytes] | None = None

    def hand_over(self, uid: str) -> None:
        """Let a run be brought into the catalogue, beginning now; it may have just begun.

        Raises
        ------
        OSError
            If the disk does not take the note.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / uid).touch()
        if not self.works:
            self._start()

    @property
    def works(self) -> bool:
        """Whether the process is there."""
        return is_locked(self.folder / LOCK)

    @property
    def waiting(self) -> list[str]:
        """Uids of the runs that were handed over and are not in the catalogue yet."""
        try:
            names = os.listdir(self.folder)
        except OSError:
            return []
        return sorted(name for name in names if name not in (LOCK, TROUBLE, LOG))

    @property
    def trouble(self) -> str:
        """Why the last run that was refused was refused, in a sentence, or an empty text."""
        try:
            return (self.folder / TROUBLE).read_text().strip()
        except OSError:
            return ""

    def is_refused(self, uid: str) -> bool:
        """Return whether a run that was handed over has been left for a replay."""
        begins = self._process is not None and self._process.poll() is None
        return not begins and not self.works and (self.folder / uid).exists()

    def wait(self, timeout: float) -> bool:
        """Wait until the runs that have ended are in the catalogue, or refused.

        Parameters
        ----------
        timeout
            Seconds to wait at most.

        Returns
        -------
        bool
            False if they are still on their way.
        """
        deadline = time.monotonic() + timeout
        while self.works and any(not self._is_recorded(uid) for uid in self.waiting):
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.05)
        return True

    def _is_recorded(self, uid: str) -> bool:
        """Return whether some process still records a run: that can take hours."""
        journal = self.journal / f"{uid}.jsonl"
        # The process itself holds the journals of runs that have ended.
        return not is_published(journal) and is_locked(journal) and not ends_with_stop(journal)

    def _start(self) -> None:
        """Start the process; it is left alone then."""
        _left_running[:] = [process for process in _left_running if process.poll() is None]
        arguments = [str(self.root)] if self.uri is None else [str(self.root), self.uri]
        environment = dict(os.environ)
        if "PYTHONPATH" in environment:  # it works in another directory
            parts = environment["PYTHONPATH"].split(os.pathsep)
            environment["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, parts))
        if self.database is not None:
            environment[DATABASE] = self.database
        (self.folder / TROUBLE).unlink(missing_ok=True)
        log = os.open(self.folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(log, "wb") as log_file:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "glidepath.catalog.left_behind_process", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=log_file,
                env=environment,
                cwd=self.root,
                # Ctrl-C in the terminal and its end are the scan's, not this process's.
                start_new_session=True,
            )
        self._process = process
        _left_running.append(process)


def wait_for_all(root: Path, timeout: float) -> bool:
    """Wait (s) until all ended runs that were handed over are in their catalogues, or refused."""
    deadline = time.monotonic() + timeout
    done = True
    for folder in sorted((Path(root) / "journal" / WAITING).glob("*")):
        one = LeftBehind(root)
        one.folder = folder
        done &= one.wait(max(deadline - time.monotonic(), 0.0))
    return done


__all__ = ["LOCAL", "LOG", "TROUBLE", "LeftBehind", "wait_for_all"]
