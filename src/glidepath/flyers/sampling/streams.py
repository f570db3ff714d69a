"""The tables of a growing file as the run engine sees them: streams of rows."""

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bluesky.protocols import Reading, StreamAsset
from event_model import DataKey

from glidepath.storage import TableDocuments
from glidepath.timeline import Channel

SOURCE = "glidepath"
"""Source of the data keys that no PV stands behind."""


class TableStream:
    """One table of the sampler's file as a stream that the run engine describes and collects.

    Parameters
    ----------
    name
        Name of the stream.
    data_keys
        Describe the columns.
    documents
        Make the documents of the rows.
    rows
        Returns how many rows readers of the file can see.
    hints
        What a best-effort plot shows; None: nothing.
    channel
        Whose raw updates the table holds; None: it is the primary table.
    """

    parent = None

    def __init__(
        self,
        name: str,
        data_keys: Mapping[str, DataKey],
        documents: TableDocuments,
        rows: Callable[[], int],
        hints: Mapping[str, Any] | None = None,
        channel: Channel | None = None,
    ) -> None:
        self.name = name
        # No fields: a best-effort plot must not open a window for every raw column.
        self.hints = dict(hints or {"fields": []})
        self._channel = channel
        self._data_keys = dict(data_keys)
        self._documents = documents
        self._rows = rows

    async def describe_collect(self) -> dict[str, DataKey]:
        """Return the data keys of the stream."""
        return {key: dict(value) for key, value in self._data_keys.items()}  # type: ignore[misc]

    def add_images(
        self, key: str, data_key: DataKey, path: Path, dataset: str, shape: Sequence[int]
    ) -> None:
        """Add images, one for each row, before the stream has been described."""
        self._data_keys[key] = data_key
        self._documents.add_images(path, key, dataset, shape)

    def _configuration(self) -> dict[str, tuple[float | str, str, str]]:
        """Return what it takes to use the raw updates: key -> (value, dtype, unit)."""
        channel = self._channel
        if channel is None:
            return {}
        return {
            f"{self.name}_kind": (str(channel.kind), "string", ""),
            f"{self.name}_latency": (channel.latency, "number", "s"),
            f"{self.name}_aperture": (channel.aperture, "number", "s"),
        }

    async def describe_configuration(self) -> dict[str, DataKey]:
        """Describe the channel's definition: kind, latency, aperture."""
        return {
            key: {"source": SOURCE, "dtype": dtype, "shape": [], "units": unit}  # type: ignore[typeddict-item]
            for key, (_, dtype, unit) in self._configuration().items()
        }

    async def read_configuration(self) -> dict[str, Reading]:
        """Return the channel's definition."""
        now = time.time()
        return {
            key: {"value": value, "timestamp": now}
            for key, (value, _, _) in self._configuration().items()
        }

    async def get_index(self) -> int:
        """Return how many rows readers can see."""
        return self._rows()

    @property
    def has_news(self) -> bool:
        """Whether readers can see rows that are not announced."""
        return self._rows() > self._documents.announced

    async def collect_asset_docs(self, index: int | None = None) -> AsyncIterator[StreamAsset]:
        """Yield the documents for all rows that readers can see and that are not announced."""
        for document in self._documents.until(self._rows() if index is None else index):
            yield document


__all__ = ["SOURCE", "TableStream"]
