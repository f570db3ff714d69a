"""Lets the runs of a data directory be found where it is now, after it was moved or archived."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlparse

from glidepath.catalog.errors import CatalogError
from glidepath.catalog.journal import encode, is_recording

DOCUMENTS = "documents.jsonl"
"""Name of the documents in a run's folder."""

SET_ASIDE = "tiled-before-relocation"
"""Where the catalogue goes that knew the old place."""


@dataclass(frozen=True)
class Relocation:
    """What was done.

    Attributes
    ----------
    runs
        Runs whose documents name files in the new place now.
    elsewhere
        Files that the runs name and that were not in the old place: they are as they were.
    missing
        Files that should be in the new place and are not.
    """

    runs: int
    elsewhere: tuple[Path, ...]
    missing: tuple[Path, ...]


def relocate(old: Path, new: Path) -> Relocation:
    """Let the documents of all runs of a data directory name its files where they are now.

    The journals, and the documents in the folders of runs, are written anew, each in one step; done
    twice it does no harm. The catalogue of the directory is set aside: replaying the journals makes
    a new one.

    Parameters
    ----------
    old
        Where the data directory was when the runs were made.
    new
        Where it is now.

    Raises
    ------
    CatalogError
        If there is no data directory, or a scan runs in it.
    """
    old, new = Path(os.path.abspath(old)), Path(os.path.abspath(new))
    journals = sorted((new / "journal").glob("*.jsonl"))
    if not journals:
        raise CatalogError(f"{new} holds no journals of runs; name the data directory itself.")
    for path in journals:
        if is_recording(path):
            raise CatalogError(f"Run {path.stem} is still being recorded; relocate it afterwards.")
    elsewhere: dict[Path, None] = {}
    missing: dict[Path, None] = {}
    for path in [*journals, *sorted(new.glob(f"[0-9]*/*/*/*/{DOCUMENTS}"))]:
        lines = []
        for line in path.read_bytes().splitlines():
            entry = json.loads(line)
            lines.append(encode(entry["name"], _moved(entry, old, new, elsewhere, missing)))
        _replace(path, b"".join(lines))
    for path in journals:
        path.with_suffix(".published").unlink(missing_ok=True)
    catalogue = new / "tiled"
    if catalogue.exists():
        aside = new / SET_ASIDE
        number = 1
        while aside.exists():
            number += 1
            aside = new / f"{SET_ASIDE}-{number}"
        catalogue.rename(aside)
    return Relocation(len(journals), tuple(elsewhere), tuple(missing))


def _moved(
    entry: dict[str, Any],
    old: Path,
    new: Path,
    elsewhere: dict[Path, None],
    missing: dict[Path, None],
) -> dict[str, Any]:
    """Return a document that names its file where it is now."""
    document: dict[str, Any] = entry["doc"]
    if entry["name"] != "stream_resource" or not document["uri"].startswith("file:"):
        return document
    path = Path(unquote(urlparse(document["uri"]).path))
    if path.is_relative_to(old):
        path = new / path.relative_to(old)
    elif not path.is_relative_to(new):
        elsewhere[path] = None
        return document
    if not path.exists():
        missing[path] = None
    return document | {"uri": f"file://localhost{quote(path.as_posix())}"}


def _replace(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


__all__ = ["SET_ASIDE", "Relocation", "relocate"]
