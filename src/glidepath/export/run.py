"""One run as an export sees it: its documents, and the files that they point into."""

from __future__ import annotations

import contextlib
import fnmatch
import math
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import h5py
import numpy as np
from numpy.typing import NDArray

from glidepath.storage import DOCUMENTS, ImagesError, check_images, document_in, place_in_folder

HDF5_MIMETYPE = "application/x-hdf5"

DAMAGED = (OSError, RuntimeError)
"""What h5py raises for a file that is damaged."""

TABLE = "primary"
"""Stream with one row per sample."""

OWN_STREAMS = (TABLE, "baseline", "verdict", "decisions")
"""Streams of a run that are not raw streams of a channel."""

FetchColumn = Callable[[str, str], Any]
"""Returns a column, by stream and data key, when its file cannot be reached from here."""


class ExportError(ValueError):
    """A run cannot be exported as asked; the text says why in one sentence."""


@dataclass(frozen=True)
class StoredColumn:
    """Where the values of a data key lie.

    Parameters
    ----------
    path
        The HDF5 file.
    dataset
        Path of the dataset in it.
    """

    path: Path
    dataset: str


@dataclass
class Stream:
    """One stream of a run.

    Attributes
    ----------
    data_keys
        What the descriptor says of each column.
    configuration
        Values of the devices' configuration, by their own names.
    stored
        Columns that lie in files.
    rows
        Rows that the documents announce.
    """

    name: str
    data_keys: dict[str, dict[str, Any]] = field(default_factory=dict)
    configuration: dict[str, Any] = field(default_factory=dict)
    configuration_keys: dict[str, dict[str, Any]] = field(default_factory=dict)
    stored: dict[str, list[StoredColumn]] = field(default_factory=dict)
    rows: int = 0
    _events: dict[str, list[Any]] = field(default_factory=dict)
    _fetch: FetchColumn | None = None

    def unit(self, key: str) -> str:
        """Return the unit of a column, or an empty string."""
        return self.data_keys.get(key, {}).get("units") or ""

    def is_image(self, key: str) -> bool:
        """Tell whether a column has an array of two or more dimensions in each row."""
        return len(self.data_keys[key].get("shape") or ()) >= 2

    def is_number(self, key: str) -> bool:
        """Tell whether a column has one number in each row."""
        described = self.data_keys[key]
        return not described.get("shape") and described.get("dtype") in ("number", "integer")

    def read(self, key: str, rows: slice = slice(None)) -> NDArray:
        """Return a column, shape (rows,) or (rows, ...).

        Raises
        ------
        ExportError
            If there is no such column or its file cannot be read.
        """
        if key not in self.data_keys:
            raise ExportError(
                f"The stream {self.name!r} has no column {key!r}; it has "
                f"{', '.join(self.data_keys)}."
            )
        if key in self._events:
            return np.asarray(self._events[key])[rows]
        found = self.stored.get(key, [])
        if not self.rows:
            # A catalogue has no node for a column that nothing was ever written to.
            return np.empty(0)
        if found and all(column.path.exists() for column in found):
            parts = [_read(column) for column in found]
            return np.concatenate(parts)[: self.rows][rows]
        if self._fetch is not None:
            return np.asarray(self._fetch(self.name, key))[rows]
        if found:
            missing = next(column.path for column in found if not column.path.exists())
            raise ExportError(f"The file {missing} of this run is missing; bring it back first.")
        return np.empty(0)

    def image_trouble(self, key: str) -> str:
        """Return why the images of a column are not those that it shows, in one sentence.

        HDF5 itself shows zeros for a file that is missing, and whatever a file of its name has.
        """
        for column in self.stored.get(key, []):
            try:
                if column.path.exists() and _is_virtual(column):
                    check_images(column.path)
            except ImagesError as error:
                return str(error)
        return ""

    def place(self, key: str) -> StoredColumn | None:
        """Return where a column lies if it is one dataset of one file that is here."""
        found = self.stored.get(key, [])
        return found[0] if len(found) == 1 and found[0].path.exists() else None


def _is_virtual(column: StoredColumn) -> bool:
    try:
        with h5py.File(column.path, "r", swmr=True, libver="latest") as file:
            dataset = file.get(column.dataset)
            return isinstance(dataset, h5py.Dataset) and dataset.is_virtual
    except DAMAGED:
        return False


def _read(column: StoredColumn) -> NDArray:
    try:
        with h5py.File(column.path, "r", swmr=True, libver="latest") as file:
            dataset = file[column.dataset]
            if dataset.is_virtual:
                check_images(column.path)
            return np.asarray(dataset[()])
    except ImagesError as error:
        raise ExportError(str(error)) from error
    except (*DAMAGED, KeyError, ValueError) as error:
        raise ExportError(
            f"{column.path} does not hold {column.dataset} as its run says; the file is damaged "
            "or another one."
        ) from error


class Run:
    """A run that was read from its documents.

    Parameters
    ----------
    documents
        Names and documents in their order, as from a journal or from ``run.documents()``.
    fetch
        Returns a column (by stream and data key) when its file is not here.
    folder
        Where the run's files are now, if not where the documents say.
    home
        The run's folder, for a run that has no file to tell it: one without rows.

    Raises
    ------
    ExportError
        If the documents are not those of one run.

    Attributes
    ----------
    start, stop
        The two documents; ``stop`` is empty if there is none.
    streams
        Streams by name.
    """

    def __init__(
        self,
        documents: Iterable[tuple[str, Mapping[str, Any]]],
        fetch: FetchColumn | None = None,
        folder: Path | None = None,
        home: Path | None = None,
    ) -> None:
        self.start: dict[str, Any] = {}
        self.stop: dict[str, Any] = {}
        self.streams: dict[str, Stream] = {}
        self._fetch = fetch
        self._moved_to = folder
        self._home = home or folder
        self._stream_of: dict[str, Stream] = {}
        for name, document in documents:
            self._take(name, document)
        if not self.start:
            raise ExportError("There is no start document: this is no run.")
        if TABLE not in self.streams:
            self.streams[TABLE] = Stream(TABLE)

    def _take(self, name: str, document: Mapping[str, Any]) -> None:
        match name:
            case "start":
                self.start = dict(document)
            case "stop":
                self.stop = dict(document)
            case "descriptor":
                self._describe(document)
            case "event":
                self._add_events(
                    document["descriptor"], {k: [v] for k, v in document["data"].items()}
                )
            case "event_page":
                self._add_events(document["descriptor"], document["data"])
            case "stream_resource":
                self._stream_of[document["uid"]] = self._resource(document)
            case "stream_datum":
                stream = self._stream_of[document["stream_resource"]]
                target = self._stream_of[document["descriptor"]]
                target.rows = max(target.rows, document["indices"]["stop"])
                for key, places in stream.stored.items():
                    known = target.stored.setdefault(key, [])
                    known += [place for place in places if place not in known]

    def _describe(self, document: Mapping[str, Any]) -> None:
        stream = self.streams.setdefault(
            document["name"], Stream(document["name"], _fetch=self._fetch)
        )
        stream.data_keys |= document["data_keys"]
        for device in document.get("configuration", {}).values():
            stream.configuration |= device.get("data", {})
            stream.configuration_keys |= device.get("data_keys", {})
        self._stream_of[document["uid"]] = stream

    def _add_events(self, descriptor: str, data: Mapping[str, list[Any]]) -> None:
        stream = self._stream_of[descriptor]
        for key, values in data.items():
            stream._events.setdefault(key, []).extend(values)
            stream.rows = max(stream.rows, len(stream._events[key]))

    def _resource(self, document: Mapping[str, Any]) -> Stream:
        """Return where a resource's values lie, as a stream that has only this."""
        found = Stream("")
        if document["mimetype"] == HDF5_MIMETYPE:
            path = Path(unquote(urlparse(document["uri"]).path))
            place = StoredColumn(self._where_now(path), document["parameters"]["dataset"])
            found.stored[document["data_key"]] = [place]
        return found

    def _where_now(self, path: Path) -> Path:
        """Return where a file is. A copy of a run has its own, though the first may still exist."""
        return path if self._moved_to is None else place_in_folder(self._moved_to, path, self.uid)

    @classmethod
    def open_folder(cls, folder: Path) -> Run:
        """Return the run whose folder this is, or a copy of it, with the files that are here.

        Raises
        ------
        ExportError
            If the folder does not hold the documents of a run.
        """
        folder = Path(folder).absolute()
        return cls(read_documents(folder / DOCUMENTS), folder=folder)

    @property
    def uid(self) -> str:
        """The run's unique identifier."""
        return str(self.start["uid"])

    @property
    def name(self) -> str:
        """What people call the run."""
        number = self.start.get("scan_id")
        return f"run {self.uid[:8]}" if number is None else f"scan {number} ({self.uid[:8]})"

    @property
    def table(self) -> Stream:
        """The stream with one row per sample."""
        return self.streams[TABLE]

    @property
    def axis(self) -> str:
        """Name of the column that was scanned.

        Raises
        ------
        ExportError
            If the run does not say it.
        """
        candidates = list(self.start.get("motors") or ())
        for dimension, _ in self.start.get("hints", {}).get("dimensions", ()):
            candidates += [name for name in dimension if isinstance(name, str)]
        for name in candidates:
            if name in self.table.data_keys or not self.table.data_keys:
                return str(name)
        raise ExportError(
            f"{self.name.capitalize()} does not say what was scanned: it has no 'motors'."
        )

    @property
    def folder(self) -> Path | None:
        """The folder of the run's own file, or None if it has none that is here."""
        for key in self.table.data_keys:
            place = self.table.place(key)
            if place is not None and not self.table.is_image(key):
                return place.path.parent
        return self._home

    @property
    def raw_streams(self) -> list[str]:
        """Names of the streams that hold every update of a channel."""
        return [
            name
            for name, stream in self.streams.items()
            if name not in OWN_STREAMS and f"{name}_value" in stream.data_keys
        ]

    def files(self) -> list[Path]:
        """Return every file that the run's columns lie in, and those that these point to."""
        found: dict[Path, None] = {}
        for stream in self.streams.values():
            for places in stream.stored.values():
                for place in places:
                    found[place.path] = None
        for path in list(found):
            found |= dict.fromkeys(_sources(path))
        return list(found)

    def missing_files(self) -> list[Path]:
        """Return the files of `files` that are not there: HDF5 itself shows zeros for them."""
        return [path for path in self.files() if not path.exists()]

    def image_troubles(self) -> dict[str, str]:
        """Return, by column, why its images are not those that were recorded; see `Stream`."""
        keys = [key for key in self.table.data_keys if self.table.is_image(key)]
        troubles = {key: self.table.image_trouble(key) for key in keys}
        return {key: trouble for key, trouble in troubles.items() if trouble}

    def baseline(self) -> dict[str, NDArray]:
        """Return what was read before (first) and after (last) the scan, by data key."""
        stream = self.streams.get("baseline")
        return {} if stream is None else {key: stream.read(key) for key in stream.data_keys}

    def verdict(self) -> str:
        """Return how the run ended, in one line."""
        if not self.stop:
            return "The run has no end: the process that recorded it was killed, or it still runs."
        return str(self.stop.get("reason") or self.stop.get("exit_status", ""))


def read_documents(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return the documents of a file with one in each line, as journals and run folders have it.

    A last line that was cut short is left out: a process that was killed leaves one.

    Raises
    ------
    ExportError
        If it cannot be read.
    """
    try:
        *whole, rest = path.read_bytes().split(b"\n")
        documents = [document_in(line) for line in whole if line.strip()]
        with suppress(ValueError):
            documents.append(document_in(rest))
        return documents
    except (OSError, ValueError) as error:
        raise ExportError(
            f"{path} does not hold the documents of a run ({error}); name a run's folder or the "
            "run itself."
        ) from error


def _sources(path: Path) -> list[Path]:
    """Return the files that the virtual datasets of a file show."""
    if not path.exists() or not h5py.is_hdf5(path):
        return []
    found: dict[Path, None] = {}

    def look(_: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.is_virtual:
            for source in item.virtual_sources():
                if source.file_name != ".":
                    found[_resolved(path.parent, source.file_name)] = None

    with contextlib.suppress(*DAMAGED), h5py.File(path, "r", swmr=True, libver="latest") as file:
        file.visititems(look)
    return list(found)


def _resolved(folder: Path, name: str) -> Path:
    """Return the file that HDF5 takes for a source: as named, or beside the file that names it."""
    # Without the steps up in it: a crate would take them for names.
    named = Path(os.path.normpath(folder / name))
    beside = folder / Path(name).name
    return beside if not named.exists() and beside.exists() else named


def look_up(values: Mapping[str, Any], pattern: str) -> str | None:
    """Return the first key that matches a pattern with ``*``, or None."""
    return next((key for key in values if fnmatch.fnmatchcase(key, pattern)), None)


def is_number(value: Any) -> bool:
    """Tell whether a value is a finite number."""
    return (
        isinstance(value, int | float | np.number)
        and not isinstance(value, bool)
        and math.isfinite(value)
    )


__all__ = [
    "DOCUMENTS",
    "ExportError",
    "FetchColumn",
    "Run",
    "StoredColumn",
    "Stream",
    "is_number",
    "look_up",
    "read_documents",
]
