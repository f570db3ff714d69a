"""What a camera is made of: the reader of a growing file, drivers by name, joins in time."""

import h5py
import numpy as np
import pytest

from glidepath.detectors import DRIVERS, Camera, Driver
from glidepath.detectors.camera.drivers import find_driver
from glidepath.detectors.camera.frame_reader import (
    ATTRIBUTES,
    EPICS_EPOCH,
    IMAGES,
    FrameReader,
)
from glidepath.detectors.camera.time_series import join

MINE = Driver(DRIVERS["sim"].io, DRIVERS["sim"].trigger_logic)
NO_DRIVER = "nothing"


class Writer:
    """Writes a file as NDFileHDF5 does: one element more than was written, at first."""

    def __init__(self, path, names=("stats_total",)):
        self.file = h5py.File(path, "w", libver="latest")
        group = self.file.create_group(ATTRIBUTES)
        types = {"NDArrayUniqueId": "i4", "NDArrayEpicsTSSec": "u4", "NDArrayEpicsTSnSec": "u4"}
        types |= dict.fromkeys(("NDArrayTimeStamp", *names), "f8")
        self.sets = {
            name: group.create_dataset(name, (1,), dtype, maxshape=(None,), chunks=(4,))
            for name, dtype in types.items()
        }
        self.images = self.file.create_dataset(
            IMAGES, (0, 2, 3), "u2", maxshape=(None, 2, 3), chunks=(1, 2, 3)
        )
        self.file.swmr_mode = True
        self.rows = 0

    def write(self, *ids, flush=True, images=True):
        for number in ids:
            if images:
                self.images.resize(self.rows + 1, axis=0)
            for name, dataset in self.sets.items():
                dataset.resize((self.rows + 1,))
                dataset[self.rows] = {
                    "NDArrayUniqueId": number,
                    "NDArrayEpicsTSSec": 1000 + number,
                    "NDArrayEpicsTSnSec": 500_000_000,
                }.get(name, 0.25 * number)
            self.rows += 1
        if flush:
            self.file.flush()


def test_a_reader_follows_a_growing_file(tmp_path):
    path = tmp_path / "camera.h5"
    reader = FrameReader(path, ["stats_total"])
    assert len(reader.read()) == 0
    writer = Writer(path)
    # The file has an element that nobody has written yet.
    assert len(reader.read()) == 0
    writer.write(1, 2, 4)
    frames = reader.read()
    assert list(frames.ids) == [1, 2, 4]
    assert frames.stamps == pytest.approx(EPICS_EPOCH + np.array([1001.5, 1002.5, 1004.5]))
    assert list(frames.values["stats_total"]) == [0.25, 0.5, 1.0]
    assert len(reader.read()) == 0
    writer.write(5)
    assert list(reader.read().ids) == [5]
    assert reader.rows == 4
    reader.close()
    writer.write(6)
    assert list(reader.read().ids) == [6]
    reader.close()
    writer.file.close()


def test_a_frame_counts_when_its_image_can_be_read_too(tmp_path):
    path = tmp_path / "camera.h5"
    writer = Writer(path)
    reader = FrameReader(path)
    writer.write(1)
    writer.write(2, images=False)
    assert list(reader.read().ids) == [1]
    assert reader.images == ((2, 3), np.dtype("u2"))
    writer.images.resize(2, axis=0)
    writer.file.flush()
    assert list(reader.read().ids) == [2]
    reader.close()
    writer.file.close()


def test_a_file_that_is_none_is_no_error_while_it_may_become_one(tmp_path):
    path = tmp_path / "camera.h5"
    path.write_bytes(b"")
    assert len(FrameReader(path).read()) == 0


def test_statistics_that_are_not_in_the_file_are_named(tmp_path):
    path = tmp_path / "camera.h5"
    writer = Writer(path, names=())
    writer.write(1)
    reader = FrameReader(path, ["stats_total"])
    with pytest.raises(KeyError, match="no NDAttribute stats_total"):
        reader.read()
    reader.close()
    writer.file.close()


def test_statistics_are_joined_by_the_time_of_their_frame():
    values = {"total": np.array([10.0, 30.0, 20.0])}
    joined = join(np.array([1.0, 3.0, 2.0]), np.array([2.0, 2.5, 3.0, 4.0]), values)
    np.testing.assert_array_equal(joined["total"], [20.0, np.nan, 30.0, np.nan])
    np.testing.assert_array_equal(
        join(np.empty(0), np.array([1.0]), {"total": np.empty(0)})["total"], [np.nan]
    )


@pytest.mark.parametrize("name", list(DRIVERS))
def test_every_driver_makes_a_camera(name):
    camera = Camera("X:", "camera", driver=name, dead_time=0.001)
    assert camera.driver.acquire.source == "ca://X:cam1:Acquire_RBV"
    assert camera.hdf.num_captured.source == "ca://X:HDF1:NumCaptured_RBV"
    assert camera.fwhm_x.name == "camera_fwhm_x"
    assert camera.hints == {"fields": ["camera_total", "camera_fwhm_x", "camera_fwhm_y"]}


def test_a_driver_can_be_ones_own():
    assert find_driver(f"{__name__}:MINE") is MINE
    assert find_driver(MINE) is MINE
    with pytest.raises(ValueError, match="no camera driver 'pco'; there are sim, vimba"):
        find_driver("pco")
    with pytest.raises(ValueError, match="no camera driver"):
        find_driver(f"{__name__}:NO_DRIVER")
    with pytest.raises(ValueError, match="cannot be imported"):
        find_driver("no_such_module:DRIVER")


@pytest.mark.parametrize("name", ["sim", "pilatus"])
async def test_a_dead_time_that_nobody_knows_is_asked_for(name):
    with pytest.raises(ValueError, match=r"dead time of camera is not known.*give the camera"):
        await Camera("X:", "camera", driver=name).dead_time()


def test_statistics_cannot_be_in_a_file_that_is_not_written():
    with pytest.raises(ValueError, match="writes no images"):
        Camera("X:", "camera", images=False, statistics="file")
