"""Tiled as the place where scans are kept: server, journal, publisher, replay and readers.

The names below are imported when they are first used: Tiled's client takes seconds to import,
and the server's process needs only the adapter.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glidepath.catalog.connection import open_catalog
    from glidepath.catalog.consolidator import register
    from glidepath.catalog.errors import CatalogError
    from glidepath.catalog.journal import find_journal, read_journal, unpublished
    from glidepath.catalog.publisher import Publisher, PublisherStatus
    from glidepath.catalog.rebinning import (
        Rebinned,
        axis_unit,
        estimate_run_delay,
        read_channel,
        rebin_run,
        write_rebinned,
    )
    from glidepath.catalog.replay import Replay, replay_all, replay_run
    from glidepath.catalog.run_folder import FolderRun, open_run_folder
    from glidepath.catalog.runs import (
        RunSummary,
        list_runs,
        load_run,
        read_baseline,
        read_primary,
        read_raw,
        read_stream,
        read_verdict,
        search_runs,
        summarise,
    )
    from glidepath.catalog.server import Exporter, LocalTiledServer, open_local_catalog

__all__ = [
    "CatalogError",
    "Exporter",
    "FolderRun",
    "LocalTiledServer",
    "Publisher",
    "PublisherStatus",
    "Rebinned",
    "Replay",
    "RunSummary",
    "axis_unit",
    "estimate_run_delay",
    "find_journal",
    "list_runs",
    "load_run",
    "open_catalog",
    "open_local_catalog",
    "open_run_folder",
    "read_baseline",
    "read_channel",
    "read_journal",
    "read_primary",
    "read_raw",
    "read_stream",
    "read_verdict",
    "rebin_run",
    "register",
    "replay_all",
    "replay_run",
    "search_runs",
    "summarise",
    "unpublished",
    "write_rebinned",
]

_MODULES = {
    "connection": ["open_catalog"],
    "consolidator": ["register"],
    "errors": ["CatalogError"],
    "journal": ["find_journal", "read_journal", "unpublished"],
    "publisher": ["Publisher", "PublisherStatus"],
    "rebinning": [
        "Rebinned",
        "axis_unit",
        "estimate_run_delay",
        "read_channel",
        "rebin_run",
        "write_rebinned",
    ],
    "replay": ["Replay", "replay_all", "replay_run"],
    "run_folder": ["FolderRun", "open_run_folder"],
    "runs": [
        "RunSummary",
        "list_runs",
        "load_run",
        "read_baseline",
        "read_primary",
        "read_raw",
        "read_stream",
        "read_verdict",
        "search_runs",
        "summarise",
    ],
    "server": ["Exporter", "LocalTiledServer", "open_local_catalog"],
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
