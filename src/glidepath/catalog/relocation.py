"""Lets the runs of a data directory be found where it is now, after it was moved or archived."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlparse

from glidepath.catalog.errors import CatalogError
from glidepath.catalog.journal import encode, is_recording
from glidepath.storage.lines import document_in

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
        lines = path.read_bytes().splitlines(keepends=True)
        _replace(path, b"".join(_relocated(line, old, new, elsewhere, missing) for line in lines))
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


def _relocated(
    line: bytes, old: Path, new: Path, elsewhere: dict[Path, None], missing: dict[Path, None]
) -> bytes:
    """Return a line whose document names its file where it is now.

    What nobody can read stays as it is: a process that was killed leaves a line that is cut short.
    """
    try:
        name, document = document_in(line)
        return encode(name, _moved(name, document, old, new, elsewhere, missing))
    except (ValueError, KeyError, TypeError, AttributeError):
        return line


def _moved(
    name: str,
    document: dict[str, Any],
    old: Path,
    new: Path,
    elsewhere: dict[Path, None],
    missing: dict[Path, None],
) -> dict[str, Any]:
    """Return a document that names its file where it is now."""
    if name != "stream_resource" or not document["uri"].startswith("file:"):
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
