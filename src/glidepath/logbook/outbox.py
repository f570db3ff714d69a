"""Keeps what is to be sent on disk until it was acknowledged: nothing is lost, nothing twice.

Each destination has a folder, each message a file in it; the names are in the order of the
messages. A file is written whole before anything is sent. Before a message is sent its file gets
the ending ``.sending``: a process that was killed meanwhile leaves it behind, and whoever comes
next asks the destination whether it has the message before sending it again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from glidepath.storage.locks import FileLock

from .run_record import RunRecord, iso

FOLDER = "outbox"
"""Name of the outbox in a data directory."""

_WAITING, _SENDING, _REFUSED, _UNREADABLE = ".json", ".sending", ".refused", ".unreadable"

_log = logging.getLogger(__name__)

Kind = Literal["run", "note"]


@dataclass(frozen=True)
class Message:
    """Something to tell.

    Attributes
    ----------
    kind
        ``"run"``: a run ended; ``"note"``: a user says something.
    identifier
        Identifier of this message; destinations keep it, to know the message again.
    created
        POSIX s.
    text
        What the user says.
    run
        The run that it is about, or None.
    author
        Who says it.
    """

    kind: Kind
    text: str = ""
    run: RunRecord | None = None
    author: str = ""
    identifier: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: float = field(default_factory=time.time)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        run = None if self.run is None else self.run.to_json()
        return {
            "kind": self.kind,
            "text": self.text,
            "run": run,
            "author": self.author,
            "identifier": self.identifier,
            "created": self.created,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Message:
        """Return the message of `to_json`."""
        run = stored["run"]
        return cls(**{**stored, "run": None if run is None else RunRecord(**run)})

    def lines(self) -> list[str]:
        """Return what a logbook prints."""
        if self.kind == "run" and self.run is not None:
            return self.run.lines()
        about = "" if self.run is None else f" (on scan {self.run.scan_id}, {self.run.uid[:8]})"
        by = f" by {self.author}" if self.author else ""
        return [f"Note{by}{about}, {iso(self.created)}", *self.text.splitlines()]


@dataclass(frozen=True)
class Entry:
    """A message in the outbox of one destination.

    Attributes
    ----------
    path
        Its file.
    message
        What it holds.
    interrupted
        Whether somebody began to send it and did not come back.
    """

    path: Path
    message: Message
    interrupted: bool


class Outbox:
    """The messages of one data directory that wait to be sent.

    Parameters
    ----------
    root
        The data directory.
    """

    def __init__(self, root: Path) -> None:
        self.folder = Path(root) / FOLDER

    def put(self, destination: str, message: Message) -> Path:
        """Write a message down; return its file when it is safe on the disk.

        Putting the same message twice is harmless.

        Raises
        ------
        OSError
            If the disk does not take it; nothing is left behind.
        """
        folder = self.folder / destination
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{int(message.created * 1e6):020d}-{message.identifier}"
        path = folder / f"{name}{_WAITING}"
        new = folder / f".{name}.{os.getpid()}.new"
        try:
            with open(new, "wb") as file:
                file.write(json.dumps(message.to_json()).encode())
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, path)
        finally:
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)
        return path

    def destinations(self) -> list[str]:
        """Return the names of all destinations that ever had a message."""
        if not self.folder.is_dir():
            return []
        return sorted(path.name for path in self.folder.iterdir() if path.is_dir())

    def waiting(self, destination: str) -> list[Entry]:
        """Return the messages that wait for a destination, in the order in which they were made."""
        entries = []
        folder = self.folder / destination
        for path in sorted(folder.glob("*")) if folder.is_dir() else ():
            if path.suffix in (_WAITING, _SENDING) and not path.name.startswith("."):
                entry = _read(path)
                if entry is not None:
                    entries.append(entry)
        return entries

    def refused(self, destination: str) -> list[tuple[Message, str]]:
        """Return the messages that a destination refused for good, each with its reason."""
        found = []
        for path in sorted((self.folder / destination).glob(f"*{_REFUSED}")):
            stored = json.loads(path.read_bytes())
            found.append((Message.from_json(stored["message"]), stored["reason"]))
        return found

    def begin(self, entry: Entry) -> Entry:
        """Note that a message is being sent."""
        path = entry.path.with_suffix(_SENDING)
        entry.path.rename(path)
        return Entry(path, entry.message, entry.interrupted)

    def give_back(self, entry: Entry) -> None:
        """Note that a message was surely not taken, and waits again."""
        entry.path.rename(entry.path.with_suffix(_WAITING))

    def acknowledge(self, entry: Entry) -> None:
        """Remove a message that the destination has."""
        entry.path.unlink(missing_ok=True)

    def refuse(self, entry: Entry, reason: str) -> None:
        """Put a message aside that the destination will never take."""
        path = entry.path.with_suffix(_REFUSED)
        path.write_text(json.dumps({"reason": reason, "message": entry.message.to_json()}))
        entry.path.unlink(missing_ok=True)

    def retry_refused(self, destination: str) -> int:
        """Let the refused messages of a destination wait again; return how many they are."""
        again = self.refused(destination)
        for message, _ in again:
            self.put(destination, message)
        for path in (self.folder / destination).glob(f"*{_REFUSED}"):
            path.unlink()
        return len(again)

    def lock(self, destination: str) -> FileLock:
        """Return the lock that who sends to a destination holds: one process at a time."""
        folder = self.folder / destination
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / ".lock")


def _read(path: Path) -> Entry | None:
    try:
        message = Message.from_json(json.loads(path.read_bytes()))
    except FileNotFoundError:  # another process has just sent it
        return None
    except (ValueError, KeyError, TypeError) as error:
        # One file that a disk or another version spoiled does not hold up all that follow.
        aside = path.with_suffix(_UNREADABLE)
        path.replace(aside)
        _log.warning(
            "%s is no message (%s); it was set aside and is not sent.", aside, type(error).__name__
        )
        return None
    return Entry(path, message, path.suffix == _SENDING)


__all__ = ["FOLDER", "Entry", "Message", "Outbox"]
