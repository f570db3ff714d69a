"""Puts the documents of one run into Tiled in few requests instead of one per document.

A write request costs the server about 28 ms, whatever it carries. So consecutive StreamDatums of
one StreamResource become one, and events become rows of one request, until `RunFeed.flush`.
"""

from __future__ import annotations

import sys
from typing import Any

from bluesky_tiled_plugins.writing.tiled_writer import _RunWriter
from event_model import DocumentRouter

from glidepath.catalog.consolidator import register
from glidepath.catalog.errors import CatalogError


class _FlushableRunWriter(_RunWriter):
    """The stock writer of one run, told from outside when to write what it has.

    It leans on private names of bluesky-tiled-plugins, which is pinned to one minor release:
    with the public batch size alone, events and StreamDatums cannot be timed.
    """

    def __init__(self, client: Any) -> None:
        super().__init__(client, batch_size=sys.maxsize)

    def stream_datum(self, doc: Any) -> None:
        self._write_external_data(doc)

    def flush_events(self, stream: str) -> None:
        rows = self._internal_data_cache[stream]
        if rows:
            self._write_internal_data(rows, desc_node=self._desc_nodes[stream])
            rows.clear()


class RunFeed(DocumentRouter):
    """One run on its way into Tiled.

    Documents are taken over: they must not be used elsewhere afterwards.

    Parameters
    ----------
    client
        The catalogue, from `open_catalog`.
    """

    def __init__(self, client: Any) -> None:
        super().__init__()
        register()
        self._writer = _FlushableRunWriter(client.include_data_sources())
        self._stream_of: dict[str, str] = {}
        self._merged: dict[str, dict[str, dict[str, Any]]] = {}
        self._with_events: set[str] = set()

    @property
    def waiting(self) -> set[str]:
        """Names of the streams that have something to flush."""
        return {name for name, data in self._merged.items() if data} | self._with_events

    def has_events(self, stream: str) -> bool:
        """Tell whether events of this stream wait for a flush."""
        return stream in self._with_events

    def flush(self, stream: str) -> None:
        """Write what has come for one stream: one request per column, one for all events."""
        merged = self._merged.get(stream, {})
        while merged:
            # Taken out only after it was written: an error leaves the run marked as unfinished.
            resource = next(iter(merged))
            self._writer("stream_datum", merged[resource])
            del merged[resource]
        if stream in self._with_events:
            self._writer.flush_events(stream)
            self._with_events.discard(stream)

    def start(self, doc: Any) -> Any:
        """Create the run."""
        self._writer("start", doc)

    def descriptor(self, doc: Any) -> Any:
        """Create the stream."""
        self._stream_of[doc["uid"]] = doc["name"]
        self._writer("descriptor", doc)

    def event(self, doc: Any) -> Any:
        """Keep the event for the next flush."""
        self._with_events.add(self._stream_of[doc["descriptor"]])
        self._writer("event", doc)

    def event_page(self, doc: Any) -> Any:
        """Keep the events for the next flush."""
        self._with_events.add(self._stream_of[doc["descriptor"]])
        self._writer("event_page", doc)

    def stream_resource(self, doc: Any) -> Any:
        """Remember where data will be."""
        self._writer("stream_resource", doc)

    def stream_datum(self, doc: Any) -> Any:
        """Merge with what waits for the next flush, if it continues it."""
        merged = self._merged.setdefault(self._stream_of[doc["descriptor"]], {})
        resource = doc["stream_resource"]
        earlier = merged.get(resource)
        if earlier is None:
            merged[resource] = doc
        elif _continues(earlier, doc):
            earlier["indices"]["stop"] = doc["indices"]["stop"]
            earlier["seq_nums"]["stop"] = doc["seq_nums"]["stop"]
            earlier["uid"] = doc["uid"]
        else:
            self._writer("stream_datum", earlier)
            merged[resource] = doc

    def resource(self, doc: Any) -> Any:
        """Refuse the older kind of external data, which ophyd-async does not make."""
        raise CatalogError(
            "Runs with Resource documents of the older ophyd cannot be put into Tiled from here; "
            "subscribe bluesky's own TiledWriter for that device."
        )

    def stop(self, doc: Any) -> Any:
        """Write all that is left, then the stop document."""
        for stream in sorted(self.waiting):
            self.flush(stream)
        self._writer("stop", doc)


def _continues(earlier: dict[str, Any], later: dict[str, Any]) -> bool:
    return (
        earlier["descriptor"] == later["descriptor"]
        and earlier["indices"]["stop"] == later["indices"]["start"]
        and earlier["seq_nums"]["stop"] == later["seq_nums"]["start"]
    )
