"""The server's HDF5 adapter gives what the catalogue announces, cheaply, also while files grow."""

import json
import urllib.error
import urllib.request

import h5py
import numpy as np
import pytest
from tiled.adapters.hdf5 import HDF5ArrayAdapter
from tiled.structures.array import ArrayStructure
from tiled.structures.core import StructureFamily
from tiled.structures.data_source import Asset, DataSource, Management
from written_scan import Scan, close

from glidepath.catalog import load_run
from glidepath.catalog.adapter import GrowingHDF5Adapter, GrowingHDF5ArrayAdapter
from glidepath.catalog.feed import RunFeed


@pytest.fixture
def announced(server, growing_file):
    """Return a function that makes a run with so many announced rows and returns 'energy'."""
    clients = []

    def announce(rows):
        writer = server.client()
        clients.append(writer)
        feed = RunFeed(writer)
        scan = Scan(lambda name, doc: feed(name, doc), growing_file.path)
        scan.announce(rows)
        for stream in sorted(feed.waiting):
            feed.flush(stream)
        return load_run(writer, scan.uid)["primary"].base["energy"]

    yield announce
    for client in clients:
        close(client)


def test_rows_beyond_the_catalogue_are_not_shown(growing_file, announced):
    growing_file.grow(5000)
    energy = announced(3000)
    assert energy.shape == (3000,)
    np.testing.assert_array_equal(energy.read(), np.arange(3000))
    np.testing.assert_array_equal(energy[-5:], np.arange(2995, 3000))
    np.testing.assert_array_equal(energy[::1000], [0, 1000, 2000])
    np.testing.assert_array_equal(energy.read_block((0,)), np.arange(3000))


def test_rows_that_the_file_does_not_show_yet_are_a_retryable_error(
    server, growing_file, announced
):
    growing_file.grow(1000)
    energy = announced(2000)
    np.testing.assert_array_equal(energy[:1000], np.arange(1000))
    request = urllib.request.Request(
        energy.item["links"]["full"] + "?slice=0:2000",
        headers={"Authorization": f"Apikey {server.api_key}"},
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=20)
    assert caught.value.code == 503
    assert caught.value.headers["Retry-After"]
    assert "1000 rows" in json.loads(caught.value.read())["detail"]
    caught.value.close()
    growing_file.grow(1000)
    np.testing.assert_array_equal(energy.read(), np.arange(2000))


class _Node:
    metadata_ = {"mine": 1}  # noqa: RUF012
    specs = ()


def _source(path, shape, dtype="<f8", chunks=None):
    array = np.empty(shape, dtype)
    structure = ArrayStructure.from_array(array, chunks=chunks or tuple((n,) for n in shape))
    return DataSource(
        structure_family=StructureFamily.array,
        structure=structure,
        mimetype="application/x-hdf5",
        management=Management.external,
        assets=[
            Asset(
                data_uri=f"file://localhost{path}", is_directory=False, parameter="data_uris", num=0
            )
        ],
    )


SELECTIONS = [
    (),
    (...,),
    (slice(2, 7),),
    (slice(None, None, 3),),
    (slice(None, None, -1),),
    (slice(8, 1, -3),),
    (slice(5, 5),),
    (4,),
    (-1,),
    (slice(1, 9, 2), slice(None, None, -2), 1),
    (..., 0),
]


@pytest.mark.parametrize("selection", SELECTIONS)
def test_every_selection_is_the_one_of_numpy(tmp_path, selection):
    frames = np.arange(12 * 4 * 3.0).reshape(12, 4, 3)
    with h5py.File(tmp_path / "frames.h5", "w") as file:
        file.create_dataset("frames", data=frames, chunks=(1, 4, 3), maxshape=(None, 4, 3))
    from tiled.ndslice import NDBlock, NDSlice

    source = _source(tmp_path / "frames.h5", (10, 4, 3), chunks=((6, 4), (4,), (3,)))
    adapter = GrowingHDF5Adapter.from_catalog(source, _Node, dataset="frames")
    assert isinstance(adapter, GrowingHDF5ArrayAdapter)
    assert adapter.metadata() == {"mine": 1}
    np.testing.assert_array_equal(adapter.read(NDSlice(*selection)), frames[:10][selection])
    block = adapter.read_block(NDBlock(1, 0, 0))
    np.testing.assert_array_equal(block, frames[6:10])


def test_what_the_plain_reader_does_not_suit_goes_to_the_stock_adapter(tmp_path):
    with h5py.File(tmp_path / "odd.h5", "w") as file:
        file["flat"] = np.arange(12.0)
        file["text"] = ["a", "b"]
    source = _source(tmp_path / "odd.h5", (3, 4))
    adapter = GrowingHDF5Adapter.from_catalog(source, _Node, dataset="flat")
    assert type(adapter) is HDF5ArrayAdapter
    np.testing.assert_array_equal(adapter.read(), np.arange(12.0).reshape(3, 4))
    with pytest.raises(ValueError, match="type mismatch"):
        GrowingHDF5Adapter.from_catalog(
            _source(tmp_path / "odd.h5", (12,), "<i4"), _Node, dataset="flat"
        )
    group = DataSource(
        structure_family=StructureFamily.container,
        structure=None,
        mimetype="application/x-hdf5",
        management=Management.external,
        assets=source.assets,
    )
    assert set(GrowingHDF5Adapter.from_catalog(group, _Node)) == {"flat", "text"}
