"""Lines of a file that another process, or another thread, appends to.

Whoever reads such a file meets a last line that is only half there, a line that a full disk or a
hand has spoiled, and a file that is not there yet or no more. None of these is an error here.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_TAIL = 1 << 16
"""Bytes at the end of a file that are looked through for its last line."""


class GrowingLines:
    """The whole lines of a file as they are appended, each once.

    Parameters
    ----------
    path
        The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._offset = 0

    def read(self) -> list[bytes]:
        """Return the lines that were appended since the last time, each with its newline.

        A last line that is still on its way is returned when it is whole. Of a file that cannot be
        read now nothing is returned.
        """
        try:
            with self.path.open("rb") as file:
                if file.seek(0, os.SEEK_END) == self._offset:
                    return []
                file.seek(self._offset)
                text = file.read()
        except OSError:
            return []
        whole = text[: text.rfind(b"\n") + 1]
        self._offset += len(whole)
        return whole.splitlines(keepends=True)


def document_in(line: bytes) -> tuple[str, dict[str, Any]]:
    """Return name and document of a line ``{"name": ..., "doc": {...}}``.

    Raises
    ------
    ValueError
        It is none: it is damaged, or cut short.
    """
    entry = json.loads(line)
    if not isinstance(entry, Mapping):
        raise ValueError("A line of documents is a mapping.")
    name, document = entry.get("name"), entry.get("doc")
    if not isinstance(name, str) or not isinstance(document, dict):
        raise ValueError("A line of documents holds a name and a document.")
    return name, document


def ends_with_stop(path: Path) -> bool:
    """Return whether the last line of a file of documents is a stop document, and whole."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            tail = file.read()
        return tail.endswith(b"\n") and document_in(tail.splitlines()[-1])[0] == "stop"
    except (OSError, ValueError):
        return False


__all__ = ["GrowingLines", "document_in", "ends_with_stop"]
