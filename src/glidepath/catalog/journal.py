"""Keeps every document of a run on disk, written before anything else may fail.

One file per run, ``<folder>/<uid>.jsonl``; one line per document, ``{"name": ..., "doc": {...}}``,
in the order of arrival. Numbers that are not finite stay as they are (``NaN``, ``Infinity``).
An empty file ``<uid>.published`` beside it says that the run is complete in Tiled.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from glidepath.catalog.errors import CatalogError
from glidepath.storage.lines import document_in
from glidepath.storage.locks import FileLock

_SUFFIX = ".jsonl"
_PUBLISHED = ".published"
_BEGUN = ".begun"

WAITING = "waiting"
"""Folder of notes beside the journals: which runs another process brings into a catalogue."""

LOCK = "lock"
"""File in each of its folders that this process holds a lock on."""

_UNUSUAL = re.compile(rb"\\u[dD]|[0-9]{19}")
"""What a line has that holds half a character or a very long integer."""


def encode(name: str, document: Mapping[str, Any]) -> bytes:
    """Return one line of a journal, ending with a newline.

    numpy scalars and arrays become numbers and lists; what JSON cannot hold becomes its text.
    """
    try:
        text = json.dumps({"name": name, "doc": document}, default=_plain)
    except (TypeError, ValueError):  # keys that are not text
        text = json.dumps({"name": name, "doc": _with_text_keys(document)}, default=_plain)
    return text.encode() + b"\n"


def decode(line: bytes) -> tuple[str, dict[str, Any]]:
    """Return name and document of one line, as other programs can take it.

    Python's text may hold halves of characters (of file names in another encoding), and its
    integers may have any length; neither can be sent to a server. The former become a replacement
    character, the latter text.

    Raises
    ------
    ValueError
        The line is damaged.
    """
    name, document = document_in(line)
    if _UNUSUAL.search(line):
        document = _usual(document)
    return name, document


def _usual(value: Any) -> Any:
    if isinstance(value, dict):
        return {_usual(key): _usual(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_usual(item) for item in value]
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return str(value)
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)


def _with_text_keys(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _with_text_keys(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_text_keys(item) for item in value]
    return value


class JournalWriter:
    """The journal of one run while it is recorded.

    The file is locked, so that a replay can tell a run that is still recorded, or on its way into
    Tiled, from one whose process was killed. What could not be written (disk full) is kept and
    tried again.

    Parameters
    ----------
    folder
        The journal's folder; made if needed.
    uid
        The run.
    """

    def __init__(self, folder: Path, uid: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{uid}{_SUFFIX}"
        # It gets its name when it is locked: a replay must not find it free and empty.
        unnamed = self.path if self.path.exists() else self.path.with_suffix(_BEGUN)
        self._descriptor = os.open(unnamed, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._lock = FileLock(unnamed, known_as=self.path)
        try:
            self._lock.acquire()
        except OSError:
            os.close(self._descriptor)
            raise
        unnamed.rename(self.path)
        self._unwritten = bytearray()

    def write(self, lines: bytes) -> None:
        """Append whole lines and hand them to the operating system.

        Raises
        ------
        OSError
            They could not be written; they are kept for the next call.
        """
        self._unwritten += lines
        while self._unwritten:
            del self._unwritten[: os.write(self._descriptor, self._unwritten)]

    def finish(self) -> None:
        """Write what is left and force it to the disk.

        Raises
        ------
        OSError
            It could not be written; it can be tried again.
        """
        self.write(b"")
        os.fsync(self._descriptor)

    def release(self) -> None:
        """Close the file and give up its lock: from now on the run may be replayed."""
        os.close(self._descriptor)
        self._lock.release()


def read_journal(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and document of every line; a last line that was cut short is left out.

    Raises
    ------
    CatalogError
        There is no such file, or a line before the last one is damaged.
    """
    try:
        file = open(path, "rb")  # noqa: SIM115
    except OSError as error:
        raise CatalogError(
            f"The journal {path} cannot be read ({error.strerror}); check the path."
        ) from error
    with file:
        damaged: int | None = None
        for number, line in enumerate(file, 1):
            if damaged is not None:
                raise CatalogError(
                    f"Line {damaged} of the journal {path} is damaged; repair or remove it and "
                    "try again."
                )
            try:
                document = decode(line)
            except ValueError:
                damaged = number
            else:
                yield document


def read_undamaged(path: Path) -> tuple[list[tuple[str, dict[str, Any]]], int]:
    """Return all documents of a journal that can be read, and how many lines cannot.

    A last line that was cut short does not count: a process that was killed leaves one.

    Raises
    ------
    CatalogError
        There is no such file.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise CatalogError(
            f"The journal {path} cannot be read ({error.strerror}); check the path."
        ) from error
    documents, damaged = [], 0
    for number, line in enumerate(lines, 1):
        try:
            documents.append(decode(line))
        except ValueError:
            damaged += number < len(lines)
    return documents, damaged


def find_journal(folder: Path, uid: str) -> Path:
    """Return the journal of the run with this uid, or with a uid that begins like this.

    Raises
    ------
    CatalogError
        There is none, or more than one.
    """
    found = sorted(path for path in folder.glob(f"*{_SUFFIX}") if path.stem.startswith(uid))
    if not uid or not found:
        raise CatalogError(f"{folder} holds no journal of a run {uid!r}; check uid and folder.")
    if len(found) > 1:
        raise CatalogError(
            f"{folder} holds {len(found)} journals of runs that begin with {uid!r}; give more "
            "letters of the uid."
        )
    return found[0]


def mark_published(path: Path) -> None:
    """Note beside a journal that its run is complete in Tiled."""
    path.with_suffix(_PUBLISHED).touch()


def unpublished(folder: Path) -> list[Path]:
    """Return the journals whose runs are not known to be complete in Tiled, oldest first."""
    waiting = [
        path
        for path in folder.glob(f"*{_SUFFIX}")
        if not path.with_suffix(_PUBLISHED).exists() and not is_recording(path)
    ]
    return sorted(waiting, key=lambda path: path.stat().st_mtime)


def is_published(path: Path) -> bool:
    """Tell whether the run of a journal is known to be complete in Tiled."""
    return path.with_suffix(_PUBLISHED).exists()


def is_recording(path: Path) -> bool:
    """Tell whether some process still records this run, or brings it into Tiled."""
    notes = (path.parent / WAITING).glob(f"*/{path.stem}")
    return is_locked(path) or any(is_locked(note.with_name(LOCK)) for note in notes)


def is_locked(path: Path) -> bool:
    """Tell whether some process holds a lock on a file."""
    try:
        lock = FileLock(path)
        lock.acquire(shared=True)
        lock.release()
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
