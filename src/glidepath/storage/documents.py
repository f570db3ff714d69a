"""StreamResource and StreamDatum documents for the tables of a growing file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from bluesky.protocols import StreamAsset
    from event_model import DataKey

HDF5_MIMETYPE = "application/x-hdf5"

LOGICAL_CHUNK = 1_000_000
"""Rows per chunk as announced: every update of a catalogue repeats the list of chunks."""

IMAGE_CHUNK = 2**24
"""Pixels per chunk as announced."""


def column_key(source: str, unit: str = "", dtype: str = "<f8", **more: object) -> DataKey:
    """Return the data key of a column of scalars that lies in a file."""
    key: dict = {
        "source": source,
        "dtype": "number" if dtype == "<f8" else "integer",
        "dtype_numpy": dtype,
        "shape": [],
        "external": "STREAM:",
        **more,
    }
    if unit:
        key["units"] = unit
    return key  # type: ignore[return-value]


class TableDocuments:
    """Announces the rows of one table: each row once, in order, after it was flushed.

    Parameters
    ----------
    path
        The file.
    datasets
        Data key name -> dataset path in the file.
    """

    def __init__(self, path: Path, datasets: Mapping[str, str]) -> None:
        self._bundles = [
            _resource(path, data_key, dataset, [LOGICAL_CHUNK])
            for data_key, dataset in datasets.items()
        ]
        self.announced = 0

    def add_images(self, path: Path, data_key: str, dataset: str, shape: Sequence[int]) -> None:
        """Announce images too, one for each row, before anything has been announced.

        Parameters
        ----------
        path, dataset
            Where they are.
        data_key
            Their name.
        shape
            Shape of one image.
        """
        per_chunk = max(IMAGE_CHUNK // max(prod(shape), 1), 1)
        self._bundles.append(_resource(path, data_key, dataset, [per_chunk, *shape]))

    def until(self, rows: int) -> Iterator[StreamAsset]:
        """Yield the documents that announce everything up to ``rows`` rows."""
        if rows <= self.announced:
            return
        if not self.announced:
            for resource, _ in self._bundles:
                yield "stream_resource", resource
        begin, self.announced = self.announced, rows
        for _, compose in self._bundles:
            # Each its own: who takes them may change them.
            yield "stream_datum", compose({"start": begin, "stop": rows})


def _resource(path: Path, data_key: str, dataset: str, chunk: Sequence[int]) -> Any:
    # Imported here: who only reads files makes no documents.
    from event_model import compose_stream_resource

    return compose_stream_resource(
        mimetype=HDF5_MIMETYPE,
        uri=f"file://localhost{quote(path.absolute().as_posix())}",
        data_key=data_key,
        parameters={"dataset": dataset, "chunk_shape": list(chunk), "swmr": True},
    )


def dataset_paths(group: str, names: Mapping[str, str] | Sequence[str]) -> dict[str, str]:
    """Return data key -> dataset path, for a group whose datasets have the names given."""
    pairs = names.items() if isinstance(names, Mapping) else ((n, n) for n in names)
    return {data_key: f"{group}/{dataset}" for data_key, dataset in pairs}


__all__ = ["HDF5_MIMETYPE", "LOGICAL_CHUNK", "TableDocuments", "column_key", "dataset_paths"]
