"""Downloads of a run from a Tiled server: ``run.export("x.nxs")``, or a link in a browser.

Tiled calls these functions in its own process, for somebody who may read the run. Columns are read
through the catalogue and never from a path that it names: what the server may not read, nobody
gets. A crate holds whole files, so it holds those only that lie below the server's readable
folders.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, TypeVar
from urllib.parse import unquote, urlparse

from .crate import write_crate
from .files import Choice, write_run
from .run import ExportError, Run

_log = logging.getLogger(__name__)

Document = tuple[str, dict[str, Any]]
Result = TypeVar("Result")

ENDINGS = {"nexus": "nxs", "xdi": "xdi", "csv": "csv", "crate": "zip"}
"""Format -> ending of a file's name."""

_BLOCK = 1 << 20
"""Bytes of a crate that are sent at once: it may be larger than the memory."""


async def nexus(mimetype: str, adapter: Any, metadata: Any, filter_for_access: Any) -> bytes:
    """Return a run as one NeXus file that holds its columns."""
    return await download(_written("nexus"), mimetype, adapter, metadata, filter_for_access)


async def xdi(mimetype: str, adapter: Any, metadata: Any, filter_for_access: Any) -> bytes:
    """Return the first spectrum of a run as XDI."""
    return await download(_written("xdi"), mimetype, adapter, metadata, filter_for_access)


async def csv(mimetype: str, adapter: Any, metadata: Any, filter_for_access: Any) -> bytes:
    """Return the table of a run as CSV."""
    return await download(_written("csv"), mimetype, adapter, metadata, filter_for_access)


async def crate(
    mimetype: str, adapter: Any, metadata: Any, filter_for_access: Any
) -> AsyncIterator[bytes]:
    """Return a run with all its files as a zip, in parts."""
    documents = await _documents(mimetype, adapter, metadata, filter_for_access)
    readable = await filter_for_access(adapter)
    folders = _readable_folders(readable)
    file = await _in_thread(partial(_packed, documents, folders, partial(_column, readable)))
    # What is wrong with the run was said before: from here on there are only bytes.
    return _parts(file)


async def download(
    write: Callable[[Run, Path], Any],
    mimetype: str,
    adapter: Any,
    metadata: Any,
    filter_for_access: Any,
) -> bytes:
    """Return what a function writes of a run, whose columns come from the catalogue.

    Parameters
    ----------
    write
        Writes a run to a file.
    mimetype, adapter, metadata, filter_for_access
        As Tiled gives them to an exporter.

    Raises
    ------
    fastapi.HTTPException
        With status 422 and one sentence, if the run does not allow it.
    """
    documents = await _documents(mimetype, adapter, metadata, filter_for_access)
    readable = await filter_for_access(adapter)
    fetched = [_fetched(document) for document in documents]
    return await _in_thread(partial(_bytes_of, write, fetched, partial(_column, readable)))


async def _documents(
    mimetype: str, adapter: Any, metadata: Any, filter_for_access: Any
) -> list[Document]:
    from bluesky_tiled_plugins.exporters import json_seq_exporter

    lines = json_seq_exporter(mimetype, adapter, metadata, filter_for_access)
    entries = [json.loads(line.strip("\x1e\n")) async for line in lines]
    return [(entry["name"], entry["doc"]) for entry in entries]


async def _in_thread(function: Callable[[], Result]) -> Result:
    """Call a function in a thread: other requests are answered meanwhile."""
    import anyio.to_thread
    from fastapi import HTTPException

    try:
        return await anyio.to_thread.run_sync(function)
    except ExportError as error:
        raise HTTPException(422, str(error)) from error


def _fetched(document: Document) -> Document:
    """Return a document; a file that it names is not opened, its column is asked for."""
    name, content = document
    if name == "stream_resource":
        content = content | {"mimetype": "application/x-fetched"}
    return name, content


async def _column(run: Any, stream: str, key: str) -> Any:
    try:
        node = await run.lookup_adapter([stream, key])
        return await node.read()
    except Exception as error:
        _log.warning("%s of %s cannot be read.", key, stream, exc_info=error)
        raise ExportError(
            f"The server cannot read the column {key!r} of the stream {stream!r}: the catalogue "
            "does not have it, its file is missing or damaged, or it is outside of the folders "
            "that the server may read."
        ) from error


Column = Callable[[str, str], Coroutine[Any, Any, Any]]


def _run(documents: Sequence[Document], column: Column) -> Run:
    """Return a run, in a thread, whose columns are read in the server's event loop."""
    import anyio.from_thread

    return Run(documents, fetch=lambda stream, key: anyio.from_thread.run(column, stream, key))


def _written(kind: str) -> Callable[[Run, Path], Any]:
    return lambda run, path: write_run(run, path.with_suffix(f".{ENDINGS[kind]}"), kind, Choice())


def _bytes_of(
    write: Callable[[Run, Path], Any], documents: Sequence[Document], column: Column
) -> bytes:
    with TemporaryDirectory(prefix="glidepath-download-") as folder:
        write(_run(documents, column), Path(folder) / "run")
        (path,) = Path(folder).iterdir()
        return path.read_bytes()


def _readable_folders(run: Any) -> list[Path]:
    """Return the folders that the server may read files in."""
    storages = getattr(getattr(run, "context", None), "readable_storage", {})
    paths = [getattr(storage, "path", None) for storage in storages.values()]
    return [Path(path).resolve() for path in paths if path is not None]


def _packed(documents: Sequence[Document], folders: Sequence[Path], column: Column) -> IO[bytes]:
    """Return a crate's file, open; it has no name any more, so that nothing of it can stay."""

    def allowed(path: Path) -> bool:
        place = path.resolve()
        return any(place.is_relative_to(folder) for folder in folders)

    def opened(document: Document) -> Document:
        here = document[0] == "stream_resource" and allowed(_path_of(document[1]))
        return document if here else _fetched(document)

    lines = "".join(json.dumps({"name": name, "doc": doc}) + "\n" for name, doc in documents)
    with TemporaryDirectory(prefix="glidepath-download-") as folder:
        path = Path(folder) / "run.zip"
        run = _run([opened(document) for document in documents], column)
        write_crate(run, path, documents=lines.encode(), allowed=allowed)
        return path.open("rb")


def _path_of(resource: Mapping[str, Any]) -> Path:
    return Path(unquote(urlparse(resource["uri"]).path))


async def _parts(file: IO[bytes]) -> AsyncIterator[bytes]:
    import anyio.to_thread

    with file:
        while part := await anyio.to_thread.run_sync(file.read, _BLOCK):
            yield part


__all__ = ["ENDINGS", "crate", "csv", "download", "nexus", "xdi"]
