"""Serves HDF5 columns from inside the Tiled server, also while they grow.

The stock adapter makes one Dask task and opens the file once for every HDF5 chunk, which costs
seconds for long columns with small chunks. A slice of one dataset is one call of h5py.
"""

from __future__ import annotations

import copy
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from fastapi import HTTPException
from tiled.adapters.hdf5 import SWMR_DEFAULT, HDF5Adapter, HDF5ArrayAdapter, h5open
from tiled.adapters.utils import DataNotReadyError
from tiled.ndslice import NDBlock, NDSlice
from tiled.structures.core import StructureFamily
from tiled.utils import path_from_uri

from glidepath.storage import ImagesError, check_images


class GrowingHDF5ArrayAdapter(HDF5ArrayAdapter):
    """One dataset of one HDF5 file, read with plain h5py.

    The catalogue decides the shape: rows that the file has beyond it are not shown. A request for
    rows that the catalogue announces but the file does not show yet raises Tiled's retryable
    error (HTTP 503, which clients repeat); rows that are there are served meanwhile.

    Parameters
    ----------
    path
        The file.
    dataset
        Path of the dataset in the file.
    opening
        Keywords for opening the file: ``swmr``, ``libver``, ``locking``.
    structure, metadata, specs
        What the catalogue says about the node.
    """

    def __init__(
        self,
        path: Path,
        dataset: str,
        opening: dict[str, Any],
        structure: Any,
        metadata: dict[str, Any],
        specs: Any,
    ) -> None:
        super().__init__(None, structure, metadata=metadata, specs=specs)
        self._path = path
        self._dataset = dataset
        self._opening = opening

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._path)!r}, {self._dataset!r})"

    def read(self, slice: NDSlice = NDSlice(...)) -> np.ndarray:  # noqa: B008
        """Return a slice of the array that the catalogue announces."""
        return self._read(slice or NDSlice(...))

    def read_block(
        self,
        block: NDBlock,
        slice: NDSlice = NDSlice(...),  # noqa: B008
    ) -> np.ndarray:
        """Return a slice of one of the catalogue's chunks."""
        rows = self._read(block.slice_from_chunks(self._structure.chunks))
        return rows[tuple(slice)] if slice else rows

    def _read(self, selection: NDSlice) -> np.ndarray:
        shape = tuple(self._structure.shape)
        wanted = [
            _forward(part, size)
            for part, size in zip(selection.expand_for_shape(shape), shape, strict=True)
        ]
        with h5open(self._path, self._dataset, **self._opening) as dataset:
            if dataset.is_virtual:
                self._check_sources()
            available = dataset.shape[0]
            if wanted[0].end > available:
                raise DataNotReadyError(
                    f"The structure advertises shape {shape}, but {self._path.name} shows "
                    f"{available} rows of {self._dataset} yet; please retry the read later."
                )
            values = np.asarray(dataset[tuple(part.stored for part in wanted)])
        return values[tuple(part.turned for part in wanted if part.turned is not None)]

    def _check_sources(self) -> None:
        """Answer with a sentence where images are missing, which HDF5 would show as zeros."""
        try:
            check_images(self._path, swmr=bool(self._opening["swmr"]))
        except ImagesError as error:
            raise HTTPException(HTTPStatus.GONE, str(error)) from error


class _Part(NamedTuple):
    """What to read along one dimension."""

    stored: int | slice
    """The selection with a positive step, as HDF5 needs it."""
    turned: slice | None
    """What gives it its direction; None if the dimension vanishes."""
    end: int
    """One more than the last index."""


def _forward(part: Any, size: int) -> _Part:
    if not isinstance(part, slice):
        return _Part(int(part), None, int(part) + 1)
    indices = range(*part.indices(size))
    if not indices:
        return _Part(slice(0, 0), slice(None), 0)
    first, last = min(indices[0], indices[-1]), max(indices[0], indices[-1])
    direction = slice(None) if indices.step > 0 else slice(None, None, -1)
    return _Part(slice(first, last + 1, abs(indices.step)), direction, last + 1)


class GrowingHDF5Adapter(HDF5Adapter):
    """Tiled's HDF5 adapter, with `GrowingHDF5ArrayAdapter` for the arrays that it suits."""

    @classmethod
    def from_catalog(
        cls,
        data_source: Any,
        node: Any,
        /,
        dataset: Any = "/",
        swmr: bool = SWMR_DEFAULT,
        libver: str = "latest",
        locking: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Build the adapter of one catalogue node.

        Arrays of several files, of another shape or type than announced, with a fixed slice, or
        of Python objects go to the stock adapter, with its conversions and errors.
        """
        opening = {"swmr": swmr, "libver": libver, "locking": locking}
        if not isinstance(dataset, str):
            dataset = "/".join(dataset)
        structure = data_source.structure
        if (
            data_source.structure_family == StructureFamily.array
            and len(data_source.assets) == 1
            and not kwargs.get("slice")
            and not kwargs.get("squeeze")
        ):
            path = path_from_uri(data_source.assets[0].data_uri)
            with h5open(path, dataset, **opening) as stored:
                shape, dtype = stored.shape, stored.dtype
                attributes = {
                    name: value.decode() if isinstance(value, bytes) else value
                    for name, value in stored.attrs.items()
                }
            if (
                shape
                and len(shape) == len(structure.shape)
                and dtype.kind in "biufc"
                and dtype == structure.data_type.to_numpy_dtype()
                and shape[1:] == tuple(structure.shape[1:])
            ):
                metadata = copy.deepcopy(node.metadata_) | attributes
                return GrowingHDF5ArrayAdapter(
                    path, dataset, opening, structure, metadata, node.specs
                )
        return super().from_catalog(data_source, node, dataset=dataset, **opening, **kwargs)
