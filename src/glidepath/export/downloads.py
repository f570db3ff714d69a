"""Downloads of a run from a Tiled server: ``run.export("x.nxs")``, or a link in a browser.

Tiled calls these functions in its own process, for somebody who may read the run. Columns are read
through the catalogue and never from a path that it names: what the server may not read, nobody
gets. Images are too large for a download; the crate of a run has them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .files import Choice, write_run
from .run import ExportError, Run

_log = logging.getLogger(__name__)

Documents = list[tuple[str, dict[str, Any]]]

MIMETYPES = {
    "nexus": ("application/x-nexus", "nxs"),
    "xdi": ("application/x-xdi", "xdi"),
    "csv": ("text/csv", "csv"),
}
"""Format -> media type, and ending of a file's name."""


async def nexus(mimetype: str, adapter: Any, metadata: Any, filter_for_access: Any) -> bytes:
    """Return a run as one NeXus file that holds its columns."""
    return await _download("nexus", mimetype, adapter, metadata, filter_for_access)


async def xdi(mimetype: str, adapter: Any, metadata: Any, filter_for_access: Any) -> bytes:
    """Return the first spectrum of a run as XDI."""
    return await _download("xdi", mimetype, adapter, metadata, filter_for_access)


async def csv(mimetype: str, adapter: Any, metadata: Any, filter_for_access: Any) -> bytes:
    """Return the table of a run as CSV."""
    return await _download("csv", mimetype, adapter, metadata, filter_for_access)


async def _download(
    kind: str, mimetype: str, adapter: Any, metadata: Any, filter_for_access: Any
) -> bytes:
    import anyio.to_thread
    from bluesky_tiled_plugins.exporters import json_seq_exporter
    from fastapi import HTTPException

    lines = json_seq_exporter(mimetype, adapter, metadata, filter_for_access)
    documents = [_fetched(json.loads(line.strip("\x1e\n"))) async for line in lines]
    readable = await filter_for_access(adapter)
    try:
        # In a thread: other requests are answered meanwhile.
        return await anyio.to_thread.run_sync(
            partial(_written, kind, documents, partial(_column, readable))
        )
    except ExportError as error:
        raise HTTPException(422, str(error)) from error


def _fetched(entry: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return a document; a file that it names is not opened, its column is asked for."""
    document = entry["doc"]
    if entry["name"] == "stream_resource":
        document = document | {"mimetype": "application/x-fetched"}
    return entry["name"], document


async def _column(run: Any, stream: str, key: str) -> Any:
    node = await run.lookup_adapter([stream, key])
    if node is None:
        raise ExportError(f"The catalogue has no column {key!r} of the stream {stream!r}.")
    try:
        return await node.read()
    except Exception as error:
        _log.warning("%s of %s cannot be read.", key, stream, exc_info=error)
        raise ExportError(
            f"The server cannot read the column {key!r} of the stream {stream!r}: its file is "
            "missing or damaged, or it is outside of the folders that the server may read."
        ) from error


def _written(
    kind: str, documents: Documents, column: Callable[[str, str], Coroutine[Any, Any, Any]]
) -> bytes:
    import anyio.from_thread

    run = Run(documents, fetch=lambda stream, key: anyio.from_thread.run(column, stream, key))
    with TemporaryDirectory(prefix="glidepath-download-") as folder:
        path = Path(folder) / f"run.{MIMETYPES[kind][1]}"
        write_run(run, path, kind, Choice())
        return path.read_bytes()


__all__ = ["MIMETYPES", "csv", "nexus", "xdi"]
