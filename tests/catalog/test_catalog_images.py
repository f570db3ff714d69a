"""Images by row in Tiled: shown where they are, and a sentence where they are not."""

import h5py
import numpy as np
import pytest
from fastapi import HTTPException
from tiled.structures.array import ArrayStructure
from tiled.structures.core import StructureFamily
from tiled.structures.data_source import Asset, DataSource, Management

from glidepath.catalog.adapter import GrowingHDF5Adapter
from glidepath.storage import AlignedImages


class _Node:
    metadata_ = {}  # noqa: RUF012
    specs = ()


def test_images_whose_file_is_missing_are_a_sentence_and_not_zeros(tmp_path):
    pixels = np.arange(24, dtype="u2").reshape(2, 3, 4) + 1
    with h5py.File(tmp_path / "camera.h5", "w") as file:
        file["entry/data/data"] = pixels
    images = AlignedImages(tmp_path / "camera_by_row.h5", (3, 4), np.dtype("u2"))
    images.add(tmp_path / "camera.h5", "entry/data/data", np.array([1, 0]))
    images.write()
    source = DataSource(
        structure_family=StructureFamily.array,
        structure=ArrayStructure.from_array(pixels),
        mimetype="application/x-hdf5",
        management=Management.external,
        assets=[
            Asset(
                data_uri=f"file://localhost{images.path}",
                is_directory=False,
                parameter="data_uris",
                num=0,
            )
        ],
    )
    adapter = GrowingHDF5Adapter.from_catalog(source, _Node(), dataset="/entry/data/images")
    np.testing.assert_array_equal(adapter.read(), pixels[::-1])
    (tmp_path / "camera.h5").unlink()
    with pytest.raises(HTTPException) as caught:
        adapter.read()
    assert caught.value.status_code == 410
    assert "there is no such file; copy or move the run's folder" in caught.value.detail
