"""Finds a run among the journals of a data directory, without a catalogue."""

from __future__ import annotations

from pathlib import Path

from glidepath.catalog.errors import CatalogError
from glidepath.catalog.journal import decode, find_journal

_SHORTEST_UID = 5


def find_run_journal(folder: Path, run: str) -> Path:
    """Return the journal of a run.

    Parameters
    ----------
    folder
        The journals of a data directory.
    run
        A uid or its beginning (at least 5 characters), a scan number (the newest run with it), or
        a negative number: -1 is the newest run.

    Raises
    ------
    CatalogError
        If there is none.
    """
    if not run.lstrip("-").isdigit() or len(run) >= 8:
        if len(run) < _SHORTEST_UID:
            raise CatalogError(
                f"{run!r} is too short for the beginning of a uid; give {_SHORTEST_UID} characters "
                "or more, a scan number, or -1 for the newest run."
            )
        return find_journal(folder, run)
    newest_first = sorted(_begun(folder), reverse=True)
    number = int(run)
    if number < 0:
        if -number > len(newest_first):
            raise CatalogError(
                f"{folder} holds {len(newest_first)} runs, so there is no run {run}."
            )
        return newest_first[-number - 1][2]
    found = [path for _, scan_id, path in newest_first if scan_id == number]
    if not found:
        raise CatalogError(f"{folder} holds no run with scan number {run}; check the number.")
    return found[0]


def _begun(folder: Path) -> list[tuple[float, int, Path]]:
    """Return begin (POSIX s), scan number (-1: none) and journal of every run."""
    found = []
    for path in folder.glob("*.jsonl"):
        with open(path, "rb") as file:
            line = file.readline()
        try:
            name, document = decode(line)
        except (ValueError, KeyError, TypeError):
            continue
        if name == "start":
            found.append((float(document["time"]), int(document.get("scan_id") or -1), path))
    return found


__all__ = ["find_run_journal"]
