"""Puts the documents of one run into Tiled in few requests instead of one per document.

A write request costs the server about 28 ms, whatever it carries. So consecutive StreamDatums of
one StreamResource become one, and events become rows of one request, until `RunFeed.flush`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bluesky_tiled_plugins.writing.consolidators import consolidator_factory
from bluesky_tiled_plugins.writing.tiled_writer import _RunWriter
from event_model import DocumentRouter
from tiled.client.utils import handle_error, retry_context
from tiled.utils import safe_json_dump

from glidepath.catalog.connection import COLUMNS_PATH
from glidepath.catalog.consolidator import register

COLUMNS_AT_ONCE = 64
"""Columns that one request takes, so that it lasts no longer than a second."""

NOT_FOR_US = (401, 403, 404, 405)
"""Answers of a server that has no router of ours, or lets nobody use it."""


@dataclass
class _Column:
    """A column that is written to together with others.

    Parameters
    ----------
    stream
        Name of its stream.
    consolidator
        Describes it to Tiled.
    assets
        How many of its files the server knows.
    """

    stream: str
    consolidator: Any
    assets: int = 0


class _FlushableRunWriter(_RunWriter):
    """The stock writer of one run, told from outside when to write what it has.

    Columns go to the server in one request if it has `glidepath.catalog.router`, else as the
    stock writer sends them. It leans on private names of bluesky-tiled-plugins, which is pinned
    to one minor release: with the public batch size alone, events and StreamDatums cannot be
    timed.
    """

    def __init__(self, client: Any) -> None:
        super().__init__(client, batch_size=sys.maxsize)
        # Stream resource's uid, and (stream, data key) -> column.
        self._columns: dict[str | tuple[str, str], _Column] = {}
        self._has_router = True

    def stream_datums(self, docs: Sequence[Any]) -> None:
        """Write what these documents announce."""
        for begin in range(0, len(docs), COLUMNS_AT_ONCE):
            part = docs[begin : begin + COLUMNS_AT_ONCE]
            if not (self._has_router and self._put_columns(part)):
                for doc in part:
                    self._write_external_data(doc)

    def _put_columns(self, docs: Sequence[Any]) -> bool:
        news = []
        for doc in docs:
            column = self._column(doc["stream_resource"], doc["descriptor"])
            patch = column.consolidator.consume_stream_datum(doc)
            source = column.consolidator.get_data_source()
            known, column.assets = column.assets, len(source.assets)
            source.assets = source.assets[known:]
            news.append(
                {
                    "stream": column.stream,
                    "key": column.consolidator.data_key,
                    "metadata": column.consolidator.metadata,
                    "data_source": source,
                    "patch": {"shape": patch.shape, "offset": patch.offset},
                }
            )
        return self._request("PUT", content=safe_json_dump(news))

    def _request(self, method: str, **more: Any) -> bool:
        """Send a request to `glidepath.catalog.router`; return False if the server has none."""
        uri = self.root_node.uri.replace("/metadata/", f"{COLUMNS_PATH}/", 1)
        for attempt in retry_context():
            with attempt:
                response = self.client.context.http_client.request(method, uri, **more)
                if response.status_code in NOT_FOR_US:
                    self._has_router = False
                    return False
                handle_error(response)
        return True

    def _column(self, resource_uid: str, descriptor_uid: str) -> _Column:
        if resource_uid not in self._columns:
            resource = self._stream_resource_cache[resource_uid]
            stream = self._desc_nodes[descriptor_uid]
            name = (stream.item["id"], resource["data_key"])
            column = self._columns.get(name)
            if column is None:
                consolidator = consolidator_factory(resource, stream.metadata)
                column = self._columns[name] = _Column(name[0], consolidator)
            else:
                column.consolidator.update_from_stream_resource(resource)
            self._columns[resource_uid] = column
        return self._columns[resource_uid]

    def _close_stream_tree(self) -> None:
        if not (self._has_router and self._request("DELETE")):
            super()._close_stream_tree()

    def flush_events(self, stream: str) -> None:
        rows = self._internal_data_cache[stream]
        if rows:
            self._write_internal_data(rows, desc_node=self._desc_nodes[stream])
            rows.clear()

    def forget_events(self, stream: str) -> None:
        self._internal_data_cache[stream].clear()


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
        return self._merged.keys() | self._with_events

    def has_events(self, stream: str) -> bool:
        """Tell whether events of this stream wait for a flush."""
        return stream in self._with_events

    def flush(self, *streams: str) -> None:
        """Write what has come for these streams: one request for columns, one per stream's events.

        An error leaves the run marked as unfinished: nothing is forgotten before it is written.
        """
        news = [doc for stream in streams for doc in self._merged.get(stream, {}).values()]
        if news:
            self._writer.stream_datums(news)
        for stream in streams:
            self._merged.pop(stream, None)
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
        earlier = merged.get(doc["stream_resource"])
        if earlier is not None and not _continues(earlier, doc):
            self._writer.stream_datums([earlier])
            earlier = None
        merged[doc["stream_resource"]] = doc if earlier is None else _together(earlier, doc)

    def note(self, text: str) -> None:
        """Say something of the run in the catalogue; it is written with the stop document."""
        self._writer.notes.append(text)

    def drop(self, stream: str) -> None:
        """Forget what waits for the next flush of a stream, after it could not be written."""
        self._merged.pop(stream, None)
        self._with_events.discard(stream)
        self._writer.forget_events(stream)

    def resource(self, doc: Any) -> Any:
        """Note the older kind of external data, which Tiled cannot keep: the rest of the run is.

        Devices of ophyd make it, not those of ophyd-async.
        """
        where = f"{doc.get('root', '')}/{doc.get('resource_path', '')}".replace("//", "/")
        self.note(
            f"The data in {where} ({doc.get('spec', 'unknown kind')}) are not in the catalogue: "
            "they came with a Resource document of the older ophyd. The files are where they were."
        )

    def datum(self, doc: Any) -> Any:
        """Leave out what points into older external data."""

    def datum_page(self, doc: Any) -> Any:
        """Leave out what points into older external data."""

    def stop(self, doc: Any) -> Any:
        """Write all that is left, then the stop document."""
        self.flush(*sorted(self.waiting))
        self._writer("stop", doc)


def _continues(earlier: dict[str, Any], later: dict[str, Any]) -> bool:
    return (
        earlier["descriptor"] == later["descriptor"]
        and earlier["indices"]["stop"] == later["indices"]["start"]
        and earlier["seq_nums"]["stop"] == later["seq_nums"]["start"]
    )


def _together(earlier: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    # A new one: documents may share their parts with each other.
    ranges = {
        key: {"start": earlier[key]["start"], "stop": later[key]["stop"]}
        for key in ("indices", "seq_nums")
    }
    return later | ranges
