"""What the local Tiled server is told: its databases, what it may read, and what it can export."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glidepath.catalog.database import PostgreSQL
from glidepath.catalog.server_process import DATABASE, OURS

REMEMBERED = "database"
"""Name of the file in the server's folder that says in which PostgreSQL the catalogue is."""


@dataclass(frozen=True)
class Exporter:
    """A file format that the server offers for download.

    Parameters
    ----------
    spec
        What it can export, e.g. ``"BlueskyRun"`` or a structure family such as ``"array"``.
    mimetype
        Media type of the result.
    extension
        File extension that selects it, without the dot.
    function
        Where the serialiser is, as ``"package.module:function"``, importable by the server.
    """

    spec: str
    mimetype: str
    extension: str
    function: str


EXPORTERS = (
    Exporter(
        "BlueskyRun",
        "application/json-seq",
        "jsonl",
        "bluesky_tiled_plugins.exporters:json_seq_exporter",
    ),
    Exporter("BlueskyRun", "application/x-nexus", "nxs", "glidepath.export.downloads:nexus"),
    Exporter("BlueskyRun", "application/x-xdi", "xdi", "glidepath.export.downloads:xdi"),
    Exporter("BlueskyRun", "text/csv", "csv", "glidepath.export.downloads:csv"),
    Exporter("BlueskyRun", "application/zip", "zip", "glidepath.export.downloads:crate"),
    Exporter("BlueskyRun", "image/png", "png", "glidepath.lookback.run_picture:picture"),
)
"""What `bluesky_tiled_plugins` needs for ``run.documents()``, and the downloads of a run."""


ALIASES = {"crate.zip": "application/zip"}
"""Endings that a client takes from a name such as ``12.crate.zip``, and what they mean."""

RUNS = {"name": "CatalogOfBlueskyRuns", "version": "3.0"}
"""What tells clients that the catalogue holds runs, so that they know ``ScanID`` and the like."""


@dataclass(frozen=True)
class ServerConfiguration:
    """What one local server is started with.

    Parameters
    ----------
    folder
        Where it keeps its own files.
    readable
        Folders of data files that it may read.
    port, lease_port
        TCP ports: of requests, and of those who count its users.
    api_key
        The key that allows reading and writing.
    database
        Where the catalogue is; None: in a file of the folder.
    exporters
        File formats that it offers.
    """

    folder: Path
    readable: Sequence[Path]
    port: int
    lease_port: int
    api_key: str
    database: PostgreSQL | None
    exporters: Sequence[Exporter]

    def to_json(self) -> dict[str, Any]:
        """Return Tiled's configuration, with a part of our own."""
        media_types: dict[str, dict[str, str]] = {}
        for exporter in self.exporters:
            media_types.setdefault(exporter.spec, {})[exporter.mimetype] = exporter.function
        return {
            OURS: {
                "host": socket.gethostname(),
                "port": self.port,
                "lease_port": self.lease_port,
                "readable": [str(path) for path in self.readable],
                "database": None if self.database is None else str(self.database),
            },
            "catalog": {
                "uri": self._catalogue(),
                "writable_storage": [str(self.folder / "data"), self._tables()],
                "readable_storage": [str(path) for path in self.readable],
                "init_if_not_exists": False,
                "specs": [RUNS],
                "adapters_by_mimetype": {
                    "application/x-hdf5": "glidepath.catalog.adapter:GrowingHDF5Adapter"
                },
            },
            "routers": ["glidepath.catalog.router:router", "glidepath.catalog.runs_page:router"],
            "streaming_cache": {"uri": "memory"},
            "authentication": {
                "single_user_api_key": self.api_key,
                "allow_anonymous_access": False,
            },
            "media_types": media_types,
            "file_extensions": ALIASES | {e.extension: e.mimetype for e in self.exporters},
            "uvicorn": {"host": "127.0.0.1", "port": self.port},
        }

    def _catalogue(self) -> str:
        if self.database is not None:
            return self.database.uri
        # Relative to the process's working directory: no name of a folder spoils it.
        return f"sqlite:///{DATABASE}"

    def _tables(self) -> str:
        """Return the URI of the database of events, relative where its path would be misunderstood.

        Not always relative: the catalogue keeps the URI, and looks for it again. DuckDB takes what
        follows a question mark for something else wherever it is, so SQLite does its work there.
        """
        if self.database is not None:
            return self.database.uri
        tables = self.folder / "tables.duckdb"
        if "?" in str(tables):
            return "sqlite:///tables.sqlite"
        return f"duckdb:///{tables.name if set('#%') & set(str(tables)) else tables}"


__all__ = ["EXPORTERS", "REMEMBERED", "RUNS", "Exporter", "ServerConfiguration"]
