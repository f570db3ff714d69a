"""The client of a catalogue of runs: bluesky's own, which knows ``ScanID`` and ``PartialUID``.

A plain container sends such queries to the server, which ignores what it does not know: every run
comes back.
"""

from __future__ import annotations

from typing import Any

from bluesky_tiled_plugins.clients.catalog_of_bluesky_runs import CatalogOfBlueskyRuns
from tiled.client.container import Container


class RunCatalog(CatalogOfBlueskyRuns):
    """Runs by uid, its beginning, or number; and whatever else lies in the same container."""

    is_sql = True

    def __getitem__(self, key: Any) -> Any:
        """Return what lies at a path; a number or the beginning of a uid finds a run.

        Raises
        ------
        KeyError
            There is nothing.
        ValueError
            Several uids begin like this.
        """
        if isinstance(key, str | tuple):
            try:
                return Container.__getitem__(self, key)
            except KeyError:
                # Bluesky's own needs five letters, and takes a path for letters.
                if isinstance(key, tuple) or len(key) < 5 or "/" in key:
                    raise
        return super().__getitem__(key)


def as_run_catalog(client: Any) -> Any:
    """Return the same container with `RunCatalog` as its client, if it is a container."""
    if not isinstance(client, Container):
        return client
    return RunCatalog(client.context, item=client.item, structure_clients=client.structure_clients)


__all__ = ["RunCatalog", "as_run_catalog"]
