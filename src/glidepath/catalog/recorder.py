"""The journal's thread: finds the run of each document, writes it down, passes it on."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from glidepath.catalog.journal import JournalWriter, encode
from glidepath.catalog.ledger import Ledger, Line
from glidepath.storage import folder_in_path, keep_documents

_log = logging.getLogger(__name__)

_PERIOD = 0.02
"""Seconds between two looks for documents while a run is open."""
_RETRY_PERIOD = 1.0
"""Seconds between two attempts to write what the disk did not take."""
_BATCH = 2000


class Recorder:
    """Takes documents from the run engine without making it wait, and keeps them on the disk.

    Parameters
    ----------
    folder
        Folder of the journals.
    ledger
        What is told to the other thread.
    """

    def __init__(self, folder: Path, ledger: Ledger) -> None:
        self._folder = folder
        self._ledger = ledger
        # Appending to a deque wakes nobody: waking a thread for each document would make the two
        # fight for the interpreter.
        self._arrived: deque[tuple[str, dict[str, Any]]] = deque()
        self._wake = threading.Event()
        self._closing = False
        self._open: dict[str, _Journal] = {}
        self._unfinished: dict[str, _Journal] = {}
        self._next_try = 0.0
        # uid of a descriptor or stream resource -> uid of its run
        self._run_of: dict[str, str] = {}

    def take(self, name: str, document: Mapping[str, Any]) -> None:
        """Take one document; called by the run engine."""
        # A copy, because another subscriber may change the document before it is recorded.
        self._arrived.append((name, dict(document)))
        if name == "start":
            self._wake.set()

    def close(self) -> None:
        """Let the thread end when it has written what has come."""
        self._closing = True
        self._wake.set()

    def work(self) -> None:
        """Run until the recorder is closed and nothing is left."""
        while True:
            if self._arrived:
                self._record_batch()
            elif self._closing:
                break
            elif self._open:
                time.sleep(_PERIOD)
            else:
                self._wake.wait(_RETRY_PERIOD if self._unfinished else None)
                self._wake.clear()
            if self._unfinished and time.monotonic() >= self._next_try:
                self._finish()
        for uid in list(self._open):
            self._end(uid)
        self._finish(last=True)
        self._ledger.all_passed_on()

    def _record_batch(self) -> None:
        passed: list[Line] = []
        lines: dict[str, bytearray] = {}
        ended: list[str] = []
        for _ in range(min(len(self._arrived), _BATCH)):
            name, document = self._arrived.popleft()
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
            self._tell(self._open[uid].write, bytes(text))
            self._open[uid].keep_in_folder()
        for uid in ended:
            self._end(uid)
        self._ledger.pass_on(passed)

    def _route(self, name: str, document: dict[str, Any]) -> str:
        """Return the uid of the run that a document belongs to.

        Raises
        ------
        KeyError
            It belongs to none that is open.
        """
        if name == "start":
            uid: str = document["uid"]
            self._open[uid] = _Journal(self._folder, uid)
        elif "run_start" in document:
            uid = document["run_start"]
            if name != "stop":
                self._run_of[document["uid"]] = uid
            if name == "stream_resource":
                self._open[uid].stored_at(document)
        elif "descriptor" in document:
            uid = self._run_of[document["descriptor"]]
        else:
            uid = self._run_of[document["resource"]]
        if uid not in self._open:
            raise KeyError(f"no run {uid} is open")
        return uid

    def _end(self, uid: str) -> None:
        self._unfinished[uid] = self._open.pop(uid)
        self._run_of = {key: run for key, run in self._run_of.items() if run != uid}
        self._finish()

    def _finish(self, last: bool = False) -> None:
        """Finish the journals of runs that have ended; try again later what the disk refuses."""
        self._next_try = time.monotonic() + _RETRY_PERIOD
        for uid, journal in list(self._unfinished.items()):
            if self._tell(journal.finish) or last:
                journal.keep_in_folder(complete=True)
                del self._unfinished[uid]
                if journal.writer is not None:
                    self._ledger.recorded(uid, journal.writer)

    def _tell(self, action: Any, *arguments: Any) -> bool:
        """Do something with a journal; tell the ledger whether the disk took it."""
        try:
            action(*arguments)
        except OSError as error:
            self._ledger.journal_failed(error)
            return False
        self._ledger.journal_works()
        return True


class _Journal:
    """The journal of one run; its file is made when the disk allows, and nothing is lost before."""

    def __init__(self, folder: Path, uid: str) -> None:
        self._folder = folder
        self._uid = uid
        self._unwritten = bytearray()
        self._run_folder: Path | None = None
        self._is_kept = False
        self.writer: JournalWriter | None = None

    def write(self, lines: bytes) -> None:
        """Append lines; OSError if the disk does not take them, and they are kept."""
        self._unwritten += lines
        if self.writer is None:
            self.writer = JournalWriter(self._folder, self._uid)
        # What it cannot write it keeps itself.
        lines, self._unwritten = bytes(self._unwritten), bytearray()
        self.writer.write(lines)

    def stored_at(self, resource: Mapping[str, Any]) -> None:
        """Note the run's folder, from a document that points to a file in it."""
        if self._run_folder is None:
            path = Path(unquote(urlparse(str(resource.get("uri", ""))).path))
            self._run_folder = folder_in_path(path, self._uid)

    def keep_in_folder(self, *, complete: bool = False) -> None:
        """Let the run's folder have the documents, once when it is known and once at the end."""
        if self._run_folder is None or self.writer is None or (self._is_kept and not complete):
            return
        self._is_kept = True
        try:
            keep_documents(self.writer.path, self._run_folder)
        except OSError as error:
            _log.warning(
                "The documents of run %s are not in its folder %s (%s), only in the journal.",
                self._uid,
                self._run_folder,
                error.strerror,
            )

    def finish(self) -> None:
        """Write what is left and force it to the disk; OSError if that cannot be."""
        self.write(b"")
        assert self.writer is not None
        self.writer.finish()


__all__ = ["Recorder"]
