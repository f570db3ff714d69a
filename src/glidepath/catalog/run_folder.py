"""Reads a run from its folder alone, without a catalogue: what was copied to a laptop, say.

It looks like a run of a catalogue to `glidepath.catalog.runs` and `glidepath.catalog.rebinning`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import numpy as np
from numpy.typing import NDArray

from glidepath.catalog.errors import CatalogError
from glidepath.catalog.journal import find_journal, read_undamaged
from glidepath.storage import (
    DOCUMENTS,
    HDF5_MIMETYPE,
    ImagesError,
    check_images,
    open_to_read,
    place_in_folder,
)

DEPTH = 4
"""Folders from that of a run up to its data directory: day, month, year, root."""

Documents = list[tuple[str, dict[str, Any]]]


def documents_in(folder: Path) -> Documents:
    """Return the documents of the run whose folder this is, with their names.

    They are in the folder itself, or, for a run of an older release that is still in its data
    directory, in the journal there.

    Raises
    ------
    CatalogError
        If they are in neither.
    """
    place = folder / DOCUMENTS
    if not place.exists() and len(folder.parents) >= DEPTH:
        uid = folder.name.rpartition("_")[2]
        try:
            place = find_journal(folder.parents[DEPTH - 1] / "journal", uid)
        except CatalogError as error:
            raise CatalogError(
                f"{folder} is not the folder of a run: it has no {DOCUMENTS}; name a run's folder "
                "or a file glidepath.h5 in it."
            ) from error
    documents, _ = read_undamaged(place)
    if not documents or documents[0][0] != "start":
        raise CatalogError(f"{place} holds no run; name the folder of another copy of it.")
    return documents


def open_run_folder(place: Path | str) -> FolderRun:
    """Return the run of a folder, or of a file in it.

    Parameters
    ----------
    place
        A run's folder or the ``glidepath.h5`` in it; it may have been copied or moved.

    Raises
    ------
    CatalogError
        If it is not there or holds no run.
    """
    path = Path(place).expanduser().absolute()
    folder = path.parent if path.is_file() else path
    if not folder.is_dir():
        raise CatalogError(f"There is no folder {path}; name a run's folder.")
    return FolderRun(folder, documents_in(folder))


@dataclass(frozen=True)
class _Part:
    path: Path
    dataset: str


class StoredColumn:
    """A column in one file or in several, one after the other; read when it is sliced.

    Parameters
    ----------
    parts
        Where it is.
    rows
        Rows that the documents announce.
    """

    def __init__(self, parts: list[_Part], rows: int) -> None:
        self._parts = parts
        self._rows = rows

    @cached_property
    def _shapes(self) -> list[tuple[int, ...]]:
        # Looked up when it is asked for: other columns are read without this one's files.
        return [self._shape_of(part) for part in self._parts]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of what can be read, rows first."""
        shapes = self._shapes
        return (min(self._rows, sum(shape[0] for shape in shapes)), *shapes[0][1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        """Return some rows, shape (m, ...).

        Raises
        ------
        CatalogError
            If images are no longer in the file that the run was recorded with.
        """
        begin, stop, step = rows.indices(len(self))
        if step != 1:
            return self[:][begin:stop:step]
        found, first = [], 0
        for part, (length, *_) in zip(self._parts, self._shapes, strict=True):
            low, high = max(begin - first, 0), min(stop - first, length)
            first += length
            if low < high or part is self._parts[0]:
                found.append(self._read(part, slice(low, max(low, high))))
        return np.concatenate(found)

    def read(self) -> NDArray[Any]:
        """Return all rows."""
        return self[:]

    @staticmethod
    def _shape_of(part: _Part) -> tuple[int, ...]:
        with _opened(part) as file:
            return tuple(file[part.dataset].shape)

    @staticmethod
    def _read(part: _Part, rows: slice) -> NDArray[Any]:
        with _opened(part) as file:
            dataset = file[part.dataset]
            if dataset.is_virtual:
                try:
                    check_images(part.path)
                except ImagesError as error:
                    raise CatalogError(str(error)) from error
            return np.asarray(dataset[rows])


def _opened(part: _Part) -> Any:
    if not part.path.exists():
        raise CatalogError(
            f"The file {part.path} of this run is missing; copy or move the run's folder as a "
            "whole."
        )
    try:
        file = open_to_read(part.path)
        if part.dataset not in file:
            file.close()
            raise OSError(f"no {part.dataset}")
    except OSError as error:
        raise CatalogError(
            f"{part.path} does not hold {part.dataset} as its run says ({error}); the file is "
            "damaged or another one."
        ) from error
    return file


@dataclass
class FolderStream(Mapping[str, Any]):
    """One stream: columns by data key, as arrays or as `StoredColumn`.

    Attributes
    ----------
    metadata
        What the descriptor says: ``data_keys``, ``configuration`` and so on.
    """

    metadata: dict[str, Any]
    _events: dict[str, list[Any]] = field(default_factory=dict)
    _parts: dict[str, list[_Part]] = field(default_factory=dict)
    _rows: int = 0

    @property
    def base(self) -> FolderStream:
        """The stream itself, as a plain container."""
        return self

    def __getitem__(self, key: str) -> Any:
        if key in self._parts:
            return StoredColumn(self._parts[key], self._rows)
        return np.asarray(self._events[key])

    def __iter__(self) -> Iterator[str]:
        return iter(key for key in self.metadata["data_keys"] if key in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, key: object) -> bool:
        return key in self._parts or key in self._events

    def describe(self, descriptor: Mapping[str, Any]) -> None:
        """Take another descriptor of the same stream."""
        keys = self.metadata.get("data_keys", {}) | descriptor["data_keys"]
        self.metadata = {**descriptor, "data_keys": keys}

    def add_events(self, data: Mapping[str, list[Any]]) -> None:
        """Take events: values by data key."""
        for key, values in data.items():
            self._events.setdefault(key, []).extend(values)

    def add_rows(self, key: str, part: _Part, stop: int) -> None:
        """Take note that rows before number ``stop`` of a column are stored."""
        known = self._parts.setdefault(key, [])
        if part not in known:
            known.append(part)
        self._rows = max(self._rows, stop)


class FolderRun(Mapping[str, FolderStream]):
    """A run in its folder: streams by name.

    Parameters
    ----------
    folder
        Where it is now.
    documents
        Its documents with their names.

    Attributes
    ----------
    metadata
        ``start`` and ``stop``; the latter is None while there is none.
    """

    def __init__(self, folder: Path, documents: Documents) -> None:
        self.folder = folder
        self._documents = documents
        self.metadata: dict[str, Any] = {"start": documents[0][1], "stop": None}
        self._streams: dict[str, FolderStream] = {}
        self._read(documents)

    def __getitem__(self, name: str) -> FolderStream:
        return self._streams[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._streams)

    def __len__(self) -> int:
        return len(self._streams)

    def __repr__(self) -> str:
        return f"FolderRun({str(self.folder)!r})"

    def documents(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield name and document in the order in which they were recorded."""
        yield from self._documents

    def _read(self, documents: Documents) -> None:
        described: dict[str, FolderStream] = {}
        stored: dict[str, tuple[str, _Part]] = {}
        for name, document in documents:
            match name:
                case "stop":
                    self.metadata["stop"] = document
                case "descriptor":
                    stream = self._streams.setdefault(document["name"], FolderStream({}))
                    stream.describe(document)
                    described[document["uid"]] = stream
                case "event":
                    data = {key: [value] for key, value in document["data"].items()}
                    described[document["descriptor"]].add_events(data)
                case "event_page":
                    described[document["descriptor"]].add_events(document["data"])
                case "stream_resource" if document["mimetype"] == HDF5_MIMETYPE:
                    part = _Part(self._place(document), document["parameters"]["dataset"])
                    stored[document["uid"]] = document["data_key"], part
                case "stream_datum" if document["stream_resource"] in stored:
                    key, part = stored[document["stream_resource"]]
                    stream = described[document["descriptor"]]
                    stream.add_rows(key, part, document["indices"]["stop"])

    def _place(self, resource: Mapping[str, Any]) -> Path:
        recorded = Path(unquote(urlparse(resource["uri"]).path))
        return place_in_folder(self.folder, recorded, self.metadata["start"]["uid"])


__all__ = ["FolderRun", "FolderStream", "StoredColumn", "documents_in", "open_run_folder"]
