"""The lean consolidator tells Tiled the same as the stock one, without an entry per sample."""

import dataclasses
import tracemalloc

import pytest
from bluesky_tiled_plugins.writing.consolidators import (
    CONSOLIDATOR_REGISTRY,
    HDF5Consolidator,
)

from glidepath.catalog import register
from glidepath.catalog.consolidator import LeanHDF5Consolidator

RESOURCE = {
    "uid": "r",
    "data_key": "energy",
    "mimetype": "application/x-hdf5",
    "uri": "file://localhost/data/glidepath.h5",
    "parameters": {"dataset": "/entry/data/energy", "chunk_shape": [1_000_000], "swmr": True},
}


def _datum(start, stop, first_seq_num=1):
    return {
        "indices": {"start": start, "stop": stop},
        "seq_nums": {"start": start + first_seq_num, "stop": stop + first_seq_num},
    }


@pytest.mark.parametrize("shape", [[], [1], [4], [1, 3, 5]])
def test_it_describes_the_data_as_the_stock_one_does(shape):
    descriptor = {"data_keys": {"energy": {"shape": shape, "dtype_numpy": "<f8"}}}
    lean = LeanHDF5Consolidator(RESOURCE, descriptor)
    stock = HDF5Consolidator(RESOURCE, descriptor)
    for start, stop in [(0, 10), (10, 11), (11, 2_000_000)]:
        ours = lean.consume_stream_datum(_datum(start, stop))
        theirs = stock.consume_stream_datum(_datum(start, stop))
        assert dataclasses.asdict(ours) == dataclasses.asdict(theirs)
    assert lean.get_data_source() == stock.get_data_source()
    assert lean.has_skips is stock.has_skips is False
    skipping = _datum(2_000_000, 2_000_010) | {"seq_nums": {"start": 5, "stop": 5}}
    lean.consume_stream_datum(skipping)
    stock.consume_stream_datum(skipping)
    assert lean.has_skips is stock.has_skips is True


def test_its_memory_does_not_grow_with_the_samples():
    consolidator = LeanHDF5Consolidator(
        RESOURCE, {"data_keys": {"energy": {"shape": [], "dtype_numpy": "<f8"}}}
    )
    tracemalloc.start()
    try:
        for start in range(0, 10_000_000, 1_000_000):
            consolidator.consume_stream_datum(_datum(start, start + 1_000_000))
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_it_is_registered_once_asked_for():
    register()
    register()
    assert CONSOLIDATOR_REGISTRY["application/x-hdf5"] is LeanHDF5Consolidator
