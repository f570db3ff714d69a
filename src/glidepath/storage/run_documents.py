"""A run's folder is complete by itself: its documents lie beside its data, wherever it is copied.

The journal of a data directory stays the truth for all runs; this is the part of it that travels.
"""

import os
import shutil
from pathlib import Path

DOCUMENTS = "documents.jsonl"
"""Name of the file in a run's folder that keeps the run's documents, one in each line."""

_DEEPEST = 3
"""Parts of a path below a folder that are tried where the folder does not have its run's name."""


def folder_in_path(path: Path, uid: str) -> Path | None:
    """Return the folder of a run that a path of one of its files goes through, or None.

    Parameters
    ----------
    path
        Path of a file, as a document of the run has it.
    uid
        Unique id of the run; the name of its folder ends with the first 8 characters.
    """
    ending = f"_{uid[:8]}"
    return next((parent for parent in path.parents if parent.name.endswith(ending)), None)


def place_in_folder(folder: Path, recorded: Path, uid: str) -> Path:
    """Return where a file of a run is, for a run that was copied or moved to ``folder``.

    A copy has files of its own, though the first ones may still exist. So what was recorded inside
    the run's folder is looked for in this one only. A file from elsewhere, such as on a camera's
    own disk, may have been put here; otherwise it is where it was.

    Parameters
    ----------
    folder
        The run's folder as it is now.
    recorded
        Where the documents say that the file is.
    uid
        Unique id of the run.
    """
    first = folder_in_path(recorded, uid)
    if first is not None:
        return folder / recorded.relative_to(first)
    parts = recorded.parts[1:]
    places = [folder.joinpath(*parts[-n:]) for n in range(1, min(_DEEPEST, len(parts)) + 1)]
    return next((place for place in places if place.exists()), recorded)


def keep_documents(journal: Path, folder: Path) -> None:
    """Let a run's folder have the documents of the run from now on, also those still to come.

    The file is the journal itself by a second name, which costs nothing while a scan runs and is
    complete however the process ends. Where the file system has no second names it is a copy, so
    that this is called again when the run has ended.

    Raises
    ------
    OSError
        If it can be neither.
    """
    place = folder / DOCUMENTS
    if place.exists() and place.samefile(journal):
        return
    new = folder / f"{DOCUMENTS}.new"
    new.unlink(missing_ok=True)
    try:
        os.link(journal, new)
    except OSError:
        shutil.copyfile(journal, new)
    os.replace(new, place)


__all__ = ["DOCUMENTS", "folder_in_path", "keep_documents", "place_in_folder"]
