"""One HDF5 file per run that others may read while it grows (SWMR), NeXus-shaped."""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from .hdf5 import open_hdf5, open_to_read
from .locks import FileLock

CHUNK_ROWS = 16384
"""Rows per HDF5 chunk: appends and reads both cost per chunk, little per row."""

_KEPT_LAYOUTS = 8
_layouts: dict[str, bytes] = {}
"""Empty files by what they hold, see `_empty_file`."""


class FileError(OSError):
    """A growing file cannot be written; the text is a sentence."""


@dataclass(frozen=True)
class Column:
    """One 1-D dataset that grows.

    Parameters
    ----------
    name
        Name of the dataset in its group.
    dtype
        numpy dtype of its values.
    unit
        Becomes the attribute ``units``.
    """

    name: str
    dtype: str = "<f8"
    unit: str = ""


@dataclass(frozen=True)
class Table:
    """Columns that grow together, in one group of the file.

    Parameters
    ----------
    group
        Path of the group, such as ``/entry/data``.
    columns
        Its columns.
    nx_class
        NeXus class of the group.
    attributes
        Further attributes of the group (``signal``, ``axes``, ...).
    """

    group: str
    columns: Sequence[Column]
    nx_class: str
    attributes: Mapping[str, str | Sequence[str]] = field(default_factory=dict)


class GrowingFile:
    """An HDF5 file of tables that are appended to and flushed, then read by others.

    Parameters
    ----------
    path
        File to create; its folder must exist and the file must not.
    tables
        Everything the file will hold: SWMR allows nothing new later.
    entry
        Datasets of the NXentry (title, run uid, ...), strings.

    Raises
    ------
    FileExistsError
        If the file is there already: data are never overwritten.
    """

    def __init__(
        self, path: Path, tables: Sequence[Table], entry: Mapping[str, str] | None = None
    ) -> None:
        self.path = path
        self._lock = FileLock(path)
        self._rows = [0] * len(tables)
        self._types = [{c.name: np.dtype(c.dtype) for c in table.columns} for table in tables]
        empty = _empty_file(tables)
        with open(path, "xb") as file:
            try:
                file.write(empty)
                file.flush()
                self._file = self._open(entry or {})
                self._datasets = [self._columns_of(table) for table in tables]
            except BaseException:
                # Half a file is no file.
                self._lock.release()
                path.unlink()
                raise

    def _open(self, entry: Mapping[str, str]) -> h5py.File:
        # No cache of chunks: rows are written where they belong, and only these. With a cache each
        # flush would write the last chunk of every column again, 128 kB for a few rows.
        file = open_hdf5(self.path, "r+", libver="latest", rdcc_nbytes=0)
        for key, value in entry.items():
            file[f"/entry/{key}"] = value
        file.swmr_mode = True
        # HDF5 gives up its own lock here. This one, which readers share, tells `repair` that the
        # file has a writer.
        with contextlib.suppress(OSError):
            self._lock.acquire(shared=True)
        return file

    def _columns_of(self, table: Table) -> dict[str, h5py.h5d.DatasetID]:
        # The low-level interface, here and below: a scan opens and writes hundreds of these.
        group = h5py.h5g.open(self._file.id, table.group.encode())
        return {c.name: h5py.h5d.open(group, c.name.encode()) for c in table.columns}

    @property
    def rows(self) -> Sequence[int]:
        """Rows appended so far, one number per table."""
        return tuple(self._rows)

    def append(self, table: int, columns: Mapping[str, NDArray]) -> None:
        """Append rows to table number ``table``; all its columns, of equal length (m,).

        Raises
        ------
        FileError
            The disk does not take them. What was flushed before stays readable.
        """
        datasets = self._datasets[table]
        length = len(next(iter(columns.values()), ()))
        if columns.keys() != datasets.keys() or any(len(c) != length for c in columns.values()):
            raise ValueError(
                f"Rows for {self.path.name} need the columns {sorted(datasets)} with equal length."
            )
        if not length:
            return
        begin = self._rows[table]
        types = self._types[table]
        # Converted first: a value that does not fit must not leave columns of different length.
        values = {name: np.ascontiguousarray(columns[name], types[name]) for name in datasets}
        memory = h5py.h5s.create_simple((length,))
        place = h5py.h5s.create_simple((begin + length,), (h5py.h5s.UNLIMITED,))
        place.select_hyperslab((begin,), (length,))
        with _as_file_error(self.path):
            for name, dataset in datasets.items():
                dataset.set_extent((begin + length,))
                dataset.write(memory, place, values[name])
        self._rows[table] = begin + length

    def flush(self) -> None:
        """Make everything appended so far visible to readers; FileError if the disk refuses."""
        with _as_file_error(self.path):
            self._file.flush()

    def close(self) -> None:
        """Flush and close; FileError if the disk refuses. Closing twice is harmless."""
        try:
            with contextlib.suppress(ValueError), _as_file_error(self.path):
                self._file.close()
        finally:
            self._lock.release()


@contextlib.contextmanager
def _as_file_error(path: Path) -> Iterator[None]:
    """Turn what HDF5 says in a page into a `FileError` of one sentence."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        number = re.search(r"errno = (\d+)", str(error))
        reason = os.strerror(int(number[1])) if number else str(error).splitlines()[0]
        raise FileError(
            f"{path} cannot be written ({reason}); make room there, or name another data directory."
        ) from error


def _empty_file(tables: Sequence[Table]) -> bytes:
    """Return the bytes of a file that holds these tables, without rows.

    To make some hundred datasets takes longer than all the rest of a scan's beginning; scan after
    scan has the same ones. So they are made once, and copied.
    """
    layout = repr(tables)
    content = _layouts.get(layout)
    if content is None:
        with h5py.File("empty", "w", driver="core", backing_store=False, libver="latest") as file:
            _make(file, tables)
            file.flush()
            content = file.id.get_file_image()
        while len(_layouts) >= _KEPT_LAYOUTS:
            _layouts.pop(next(iter(_layouts)), None)
        _layouts[layout] = content
    return content


def _make(file: h5py.File, tables: Sequence[Table]) -> None:
    """Make the groups, datasets and attributes of a file."""
    chunked = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    chunked.set_chunk((CHUNK_ROWS,))
    # Rows that nobody can see need not be written: the file has holes there.
    chunked.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    file.attrs["NX_class"] = "NXroot"
    file.attrs["default"] = "entry"
    entry = _class_of(file, "/entry", "NXentry")
    for table in tables:
        parent = table.group.rsplit("/", 1)[0]
        if parent == "/entry/instrument":
            _class_of(file, parent, "NXinstrument")
        group = _class_of(file, table.group, table.nx_class)
        for key, attribute in table.attributes.items():
            group.attrs[key] = attribute
        if table.nx_class == "NXdata":
            entry.attrs["default"] = table.group.rsplit("/", 1)[1]
        for column in table.columns:
            dataset = h5py.h5d.create(
                group.id,
                column.name.encode(),
                h5py.h5t.py_create(np.dtype(column.dtype), logical=True),
                h5py.h5s.create_simple((0,), (h5py.h5s.UNLIMITED,)),
                chunked,
            )
            if table.nx_class == "NXlog" and column.name == "time":
                # NeXus counts the times of a log from here: the timestamps are POSIX seconds.
                h5py.AttributeManager(h5py.Dataset(dataset))["start"] = "1970-01-01T00:00:00Z"
            if column.unit:
                h5py.AttributeManager(h5py.Dataset(dataset))["units"] = column.unit


def _class_of(file: h5py.File, path: str, nx_class: str) -> h5py.Group:
    group = file.require_group(path)
    group.attrs["NX_class"] = nx_class
    return group


def read_columns(path: Path, group: str, names: Sequence[str]) -> dict[str, NDArray]:
    """Read columns of a growing file, cut to the rows that all of them have.

    Works while the file is written, and after its writer was killed.
    """
    with open_to_read(path) as file:
        columns = {name: np.asarray(file[f"{group}/{name}"][()]) for name in names}
    shortest = min(len(column) for column in columns.values())
    return {name: column[:shortest] for name, column in columns.items()}


__all__ = ["CHUNK_ROWS", "Column", "GrowingFile", "Table", "read_columns"]
