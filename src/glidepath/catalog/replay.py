"""Puts journalled runs into Tiled afterwards: once, completely, however often it is asked.

No run stands in another's way: what of a run cannot be stored is named, and all else is stored.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx

from glidepath.catalog.errors import CatalogError
from glidepath.catalog.feed import RunFeed
from glidepath.catalog.journal import (
    find_journal,
    is_recording,
    mark_published,
    read_undamaged,
    unpublished,
)

NO_STOP = "The journal ends without a stop document: the process that recorded it was killed."


class CatalogGoneError(CatalogError):
    """No run can be stored just now."""


@dataclass(frozen=True)
class Replay:
    """What a replay did; its text is a sentence.

    Parameters
    ----------
    uid
        The run.
    action
        ``"present"``: it was complete in Tiled, nothing was done; ``"written"``; ``"rewritten"``:
        the run as it was before, incomplete or in another place, was removed first;
        ``"refused"``: nothing of it could be stored.
    documents
        Documents in the journal that were put into Tiled.
    losses
        Sentences: what of the run could not be stored, or why nothing could.
    """

    uid: str
    action: Literal["present", "written", "rewritten", "refused"]
    documents: int
    losses: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.action == "refused":
            return f"Run {self.uid} was not put into Tiled: {' '.join(self.losses)}"
        if self.action == "present":
            return f"Run {self.uid} is complete in Tiled already; nothing was done."
        before = " in place of the one before" if self.action == "rewritten" else ""
        done = f"Run {self.uid} was put into Tiled{before} from {self.documents} documents."
        return " ".join([done, *self.losses])


def replay_run(
    journal: Path | str, client: Any, folder: Path | None = None, *, anew: bool = False
) -> Replay:
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
    anew
        Write a complete run again too, as after its files were moved.

    Raises
    ------
    CatalogError
        There is no such journal, it holds no start document, the run is still being recorded or
        published, or Tiled takes nothing of it.
    """
    path = find_journal(folder, str(journal)) if folder is not None else Path(journal)
    if is_recording(path):
        raise CatalogError(
            f"Run {path.stem} is still being recorded or published; replay it when that has ended."
        )
    return write_run(path, client, anew=anew)


def write_run(path: Path, client: Any, *, anew: bool = False) -> Replay:
    """Put one run from its journal into Tiled, as `replay_run` does, whoever else works on it.

    Raises
    ------
    CatalogError
        As `replay_run`.
    """
    documents, damaged = read_undamaged(path)  # all of it, before anything is changed in Tiled
    if not documents or documents[0][0] != "start" or "uid" not in documents[0][1]:
        raise CatalogError(
            f"The journal {path} does not begin with a start document; there is no run to replay."
        )
    uid = documents[0][1]["uid"]
    action: Literal["written", "rewritten"] = "written"
    present = _find(client, uid)
    if present is not None:
        if present.metadata.get("stop") and not anew:
            mark_published(path)
            return Replay(uid, "present", 0)
        present.delete(recursive=True, external_only=False)
        action = "rewritten"
    writing = _Writing(client, uid)
    if damaged:
        writing.lose(f"Damaged lines of its journal: {damaged}.")
    for name, document in documents:
        writing.write(name, document)
    if documents[-1][0] != "stop":
        writing.write(
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
    return Replay(uid, action, writing.written, tuple(writing.losses))


class _Writing:
    """One run on its way into Tiled, of which as much is stored as can be.

    Parameters
    ----------
    client
        The catalogue.
    uid
        The run.
    """

    def __init__(self, client: Any, uid: str) -> None:
        self._feed = RunFeed(client)
        self._uid = uid
        self.written = 0
        self.losses: list[str] = []

    def lose(self, sentence: str) -> None:
        """Say what is missing, here and in the catalogue."""
        if sentence not in self.losses:
            self.losses.append(sentence)
            self._feed.note(sentence)

    def write(self, name: str, document: dict[str, Any]) -> None:
        """Write one document, or say that it cannot be stored.

        Raises
        ------
        CatalogError
            The run itself cannot be stored, or Tiled has gone.
        """
        if name == "stop":
            self._flush()
        try:
            self._feed(name, document)
        except httpx.TransportError as error:
            raise _gone(error) from error
        except Exception as error:
            if name in ("start", "stop"):
                raise CatalogError(
                    f"Tiled does not take the {name} document of run {self._uid} "
                    f"({_text_of(error)}); its journal keeps it."
                ) from error
            missing = isinstance(error, KeyError)
            why = "what they refer to is missing" if missing else _text_of(error)
            self.lose(f"Some {name} documents could not be stored ({why}).")
        else:
            self.written += 1

    def _flush(self) -> None:
        for stream in sorted(self._feed.waiting):
            try:
                self._feed.flush(stream)
            except httpx.TransportError as error:
                raise _gone(error) from error
            except Exception as error:
                self._feed.drop(stream)
                self.lose(
                    f"The last data of the stream {stream!r} could not be stored "
                    f"({_text_of(error)})."
                )


def _gone(error: Exception) -> CatalogError:
    return CatalogGoneError(
        f"Tiled does not answer any more ({_text_of(error)}); replay again when it runs."
    )


def _text_of(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


def replay_all(
    folder: Path, client: Any, *, every: bool = False, anew: bool = False
) -> list[Replay]:
    """Replay every run of a journal folder that is not known to be complete in Tiled.

    Runs that are still being recorded are left alone. A run that cannot be stored is among the
    results as ``"refused"``, and the others are stored all the same.

    Parameters
    ----------
    folder
        Folder of the journals.
    client
        The catalogue, from `open_catalog`.
    every
        Also those that are known to be complete, as for another catalogue than before.
    anew
        Write runs again that are complete there.

    Raises
    ------
    CatalogError
        Tiled does not answer any more; what is done is done.
    """
    paths = unpublished(folder)
    if every:
        recorded = (path for path in sorted(folder.glob("*.jsonl")) if not is_recording(path))
        paths = list(dict.fromkeys([*paths, *recorded]))
    return [_replay_or_refuse(path, client, anew) for path in paths]


def _replay_or_refuse(path: Path, client: Any, anew: bool) -> Replay:
    try:
        return replay_run(path, client, anew=anew)
    except CatalogGoneError:
        raise
    except httpx.TransportError as error:
        raise _gone(error) from error
    except Exception as error:
        sentence = str(error) if isinstance(error, CatalogError) else f"{_text_of(error)}."
        return Replay(path.stem, "refused", 0, (sentence,))


def _find(client: Any, uid: str) -> Any:
    try:
        return client[uid]
    except KeyError:
        return None
