"""Puts a journalled run into Tiled afterwards: once, completely, however often it is asked."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from glidepath.catalog.errors import CatalogError
from glidepath.catalog.feed import RunFeed
from glidepath.catalog.journal import (
    find_journal,
    is_recording,
    mark_published,
    read_journal,
    unpublished,
)

NO_STOP = "The journal ends without a stop document: the process that recorded it was killed."


@dataclass(frozen=True)
class Replay:
    """What a replay did; its text is a sentence.

    Parameters
    ----------
    uid
        The run.
    action
        ``"present"``: it was complete in Tiled, nothing was done; ``"written"``; ``"rewritten"``:
        an incomplete run was removed first.
    documents
        Documents in the journal that were put into Tiled.
    """

    uid: str
    action: Literal["present", "written", "rewritten"]
    documents: int

    def __str__(self) -> str:
        if self.action == "present":
            return f"Run {self.uid} is complete in Tiled already; nothing was done."
        before = " in place of an incomplete one" if self.action == "rewritten" else ""
        return f"Run {self.uid} was put into Tiled{before} from {self.documents} documents."


def replay_run(journal: Path | str, client: Any, folder: Path | None = None) -> Replay:
    """Put one run from its journal into Tiled.

    A run that is complete there (it has a stop document) is left alone; an incomplete one is
    deleted and written again. A journal without stop document, of a process that was killed, is
    closed with a stop document that says so.

    Parameters
    ----------
    journal
        Path of the journal, or the beginning of the run's uid if ``folder`` is given.
    client
        The catalogue, from `open_catalog`.
    folder
        Folder of the journals.

    Raises
    ------
    CatalogError
        There is no such journal, it is damaged or empty, or the run is still being recorded or
        published.
    """
    path = find_journal(folder, str(journal)) if folder is not None else Path(journal)
    if is_recording(path):
        raise CatalogError(
            f"Run {path.stem} is still being recorded or published; replay it when that has ended."
        )
    documents = list(read_journal(path))  # all of it, before anything is changed in Tiled
    if not documents or documents[0][0] != "start":
        raise CatalogError(
            f"The journal {path} does not begin with a start document; there is no run to replay."
        )
    uid = documents[0][1]["uid"]
    action: Literal["written", "rewritten"] = "written"
    present = _find(client, uid)
    if present is not None:
        if present.metadata.get("stop"):
            mark_published(path)
            return Replay(uid, "present", 0)
        present.delete(recursive=True, external_only=False)
        action = "rewritten"

    feed = RunFeed(client)
    for name, document in documents:
        feed(name, document)
    if documents[-1][0] != "stop":
        feed(
            "stop",
            {
                "uid": str(uuid.uuid4()),
                "run_start": uid,
                "time": time.time(),
                "exit_status": "fail",
                "reason": NO_STOP,
            },
        )
    mark_published(path)
    return Replay(uid, action, len(documents))


def replay_all(folder: Path, client: Any) -> list[Replay]:
    """Replay every run of a journal folder that is not known to be complete in Tiled.

    Runs that are still being recorded are left alone.

    Raises
    ------
    CatalogError
        At the first journal that cannot be replayed; those before it are done.
    """
    return [replay_run(path, client) for path in unpublished(folder)]


def _find(client: Any, uid: str) -> Any:
    try:
        return client[uid]
    except KeyError:
        return None
