"""One HDF5 file per run that others may read while it grows (SWMR), NeXus-shaped."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

CHUNK_ROWS = 16384
"""Rows per HDF5 chunk: appends and reads both cost per chunk, little per row."""


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
        Attributes of the NXentry (title, run uid, ...), strings.

    Raises
    ------
    FileExistsError
        If the file is there already: data are never overwritten.
    """

    def __init__(
        self, path: Path, tables: Sequence[Table], entry: Mapping[str, str] | None = None
    ) -> None:
        self.path = path
        # Appending needs the last chunk of a dataset only: a larger cache is memory that grows
        # for minutes with every channel.
        self._file = h5py.File(path, "x", libver="latest", rdcc_nbytes=8 * CHUNK_ROWS, rdcc_w0=1.0)
        self._datasets: list[dict[str, h5py.h5d.DatasetID]] = []
        self._types = [{c.name: np.dtype(c.dtype) for c in table.columns} for table in tables]
        self._chunked = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        self._chunked.set_chunk((CHUNK_ROWS,))
        self._rows = [0] * len(tables)
        try:
            self._make(tables, entry or {})
        except BaseException:
            # Half a file is no file.
            self._file.close()
            path.unlink()
            raise

    def _make(self, tables: Sequence[Table], entry: Mapping[str, str]) -> None:
        self._file.attrs["default"] = "entry"
        self._class_of("/entry", "NXentry")
        for key, value in entry.items():
            self._file["/entry"].attrs[key] = value
        for table in tables:
            parent = table.group.rsplit("/", 1)[0]
            if parent == "/entry/instrument":
                self._class_of(parent, "NXinstrument")
            group = self._class_of(table.group, table.nx_class)
            for key, attribute in table.attributes.items():
                group.attrs[key] = attribute
            if table.nx_class == "NXdata":
                self._file["/entry"].attrs["default"] = table.group.rsplit("/", 1)[1]
            self._datasets.append({c.name: self._dataset(group, c) for c in table.columns})
        self._file.swmr_mode = True

    def _class_of(self, path: str, nx_class: str) -> h5py.Group:
        group = self._file.require_group(path)
        group.attrs["NX_class"] = nx_class
        return group

    def _dataset(self, group: h5py.Group, column: Column) -> h5py.h5d.DatasetID:
        # The low-level interface: a scan makes hundreds of these before it can begin.
        dataset = h5py.h5d.create(
            group.id,
            column.name.encode(),
            h5py.h5t.py_create(np.dtype(column.dtype), logical=True),
            h5py.h5s.create_simple((0,), (h5py.h5s.UNLIMITED,)),
            self._chunked,
        )
        if column.unit:
            h5py.AttributeManager(h5py.Dataset(dataset))["units"] = column.unit
        return dataset

    @property
    def rows(self) -> Sequence[int]:
        """Rows appended so far, one number per table."""
        return tuple(self._rows)

    def append(self, table: int, columns: Mapping[str, NDArray]) -> None:
        """Append rows to table number ``table``; all its columns, of equal length (m,)."""
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
        for name, dataset in datasets.items():
            dataset.set_extent((begin + length,))
            place = dataset.get_space()
            place.select_hyperslab((begin,), (length,))
            dataset.write(memory, place, values[name])
        self._rows[table] = begin + length

    def flush(self) -> None:
        """Make everything appended so far visible to readers."""
        self._file.flush()

    def close(self) -> None:
        """Flush and close. Closing twice is harmless."""
        with contextlib.suppress(ValueError):
            self._file.close()


def read_columns(path: Path, group: str, names: Sequence[str]) -> dict[str, NDArray]:
    """Read columns of a growing file, cut to the rows that all of them have.

    Works while the file is written, and after its writer was killed.
    """
    with h5py.File(path, "r", swmr=True, libver="latest") as file:
        columns = {name: np.asarray(file[f"{group}/{name}"][()]) for name in names}
    shortest = min(len(column) for column in columns.values())
    return {name: column[:shortest] for name, column in columns.items()}


__all__ = ["CHUNK_ROWS", "Column", "GrowingFile", "Table", "read_columns"]
