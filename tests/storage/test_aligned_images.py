"""Images of other files, by row: gaps stay gaps, while the other file grows too."""

import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest

from glidepath.storage import AlignedImages, ImagesError, check_images


@pytest.fixture
def camera(tmp_path):
    """A file that somebody else writes and that grows: image k is full of k + 1."""
    with h5py.File(tmp_path / "camera.h5", "w", libver="latest") as file:
        images = file.create_dataset(
            "entry/data/data", (0, 3, 4), "u2", maxshape=(None, 3, 4), chunks=(1, 3, 4)
        )
        file.swmr_mode = True

        def grow(count):
            begin = len(images)
            images.resize((begin + count, 3, 4))
            images[begin:] = np.arange(begin + 1, begin + count + 1)[:, None, None]
            file.flush()

        yield tmp_path / "camera.h5", grow


def seen(path):
    """Return the first pixel of each image, as another process sees it."""
    code = (
        "import h5py, sys\n"
        "with h5py.File(sys.argv[1], 'r', libver='latest', swmr=True) as f:\n"
        "    print(f['/entry/data/images'][:, 0, 0].tolist())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_row_has_its_own_frame_and_a_lost_one_leaves_a_gap(camera, tmp_path):
    source, grow = camera
    images = AlignedImages(tmp_path / "images.h5", (3, 4), np.dtype("u2"))
    grow(4)
    images.add(source, "entry/data/data", np.array([0, 1, -1, 2]))
    images.write()
    assert seen(images.path) == "[1, 2, 0, 3]"
    grow(4)
    images.add(source, "entry/data/data", np.array([3, 5, 6, -1]))
    images.add(source, "entry/data/data", np.array([7, 4]))
    images.write()
    assert seen(images.path) == "[1, 2, 0, 3, 4, 6, 7, 0, 8, 5]"
    assert images.rows == 10


def test_rows_that_follow_each_other_are_one_mapping_however_they_came(camera, tmp_path):
    source, grow = camera
    grow(100)
    images = AlignedImages(tmp_path / "images.h5", (3, 4), np.dtype("u2"))
    for begin in range(0, 100, 7):
        images.add(source, "entry/data/data", np.arange(begin, min(begin + 7, 100)))
    images.write()
    with h5py.File(images.path) as file:
        assert len(file["/entry/data/images"].virtual_sources()) == 1
    assert seen(images.path) == str(list(range(1, 101)))


def test_several_images_of_a_row_have_an_axis_of_their_own(camera, tmp_path):
    source, grow = camera
    grow(11)
    images = AlignedImages(tmp_path / "images.h5", (3, 4), np.dtype("u2"), per_row=3)
    assert images.row_shape == (3, 3, 4)
    images.add(source, "entry/data/data", np.array([[0, 1, 2], [3, 4, 5]]))
    images.add(source, "entry/data/data", np.array([[6, -1, 7], [-1, -1, -1], [8, 9, 10]]))
    images.write()
    with h5py.File(images.path) as file:
        dataset = file["/entry/data/images"]
        assert dataset.shape == (5, 3, 3, 4)
        assert dataset[:, :, 0, 0].tolist() == [
            [1, 2, 3],
            [4, 5, 6],
            [7, 0, 8],
            [0, 0, 0],
            [9, 10, 11],
        ]
        # One mapping for each run of rows of each of the three.
        assert len(dataset.virtual_sources()) == 2 + 2 + 3


def recorded(folder, first=1):
    """Write a run's folder with 4 images of a camera, image k full of first + k, and 4 rows."""
    folder.mkdir()
    with h5py.File(folder / "camera.h5", "w") as file:
        values = np.arange(first, first + 4, dtype="u2")[:, None, None]
        file["entry/data/data"] = np.broadcast_to(values, (4, 3, 4))
    images = AlignedImages(folder / "camera_by_row.h5", (3, 4), np.dtype("u2"))
    images.add(folder / "camera.h5", "entry/data/data", np.array([0, 1, -1, 3]))
    images.write()
    return images.path


def test_a_copy_shows_its_own_images_wherever_it_is(tmp_path):
    path = recorded(tmp_path / "run")
    copied = tmp_path / "elsewhere" / "deeper" / "copy"
    shutil.copytree(path.parent, copied)
    with h5py.File(path.parent / "camera.h5", "r+") as file:
        file["entry/data/data"][:] = 77
    assert seen(copied / path.name) == "[1, 2, 0, 4]"
    check_images(copied / path.name)
    with pytest.raises(ImagesError, match="its pixels are others"):
        check_images(path)


def test_a_moved_folder_shows_its_images(tmp_path):
    path = recorded(tmp_path / "run")
    moved = path.parent.rename(tmp_path / "moved") / path.name
    check_images(moved)
    assert seen(moved) == "[1, 2, 0, 4]"


def test_images_outside_the_folder_are_found_from_where_it_is(tmp_path):
    path = recorded(tmp_path / "root")
    images = AlignedImages(tmp_path / "run_by_row.h5", (3, 4), np.dtype("u2"))
    images.add(path.parent / "camera.h5", "entry/data/data", np.array([3, 2]))
    images.write()
    with h5py.File(images.path) as file:
        (source,) = file["/entry/data/images"].virtual_sources()[:1]
    assert source.file_name == "root/camera.h5"
    check_images(images.path)


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (lambda path: path.unlink(), "there is no such file; copy or move"),
        (lambda path: _rewrite(path, np.ones((4, 3, 4), "u1")), r"its images are \(3, 4\) uint8"),
        (lambda path: _rewrite(path, np.ones((4, 4, 4), "u2")), r"its images are \(4, 4\) uint16"),
        (lambda path: _rewrite(path, np.ones((3, 3, 4), "u2")), "it has 3 images, and 4 are"),
        (lambda path: _rewrite(path, np.full((4, 3, 4), 9, "u2")), "its pixels are others"),
        (
            lambda path: _rewrite(path, np.ones((4, 3, 4), "u2"), "other"),
            "it has no entry/data/data",
        ),
    ],
)
def test_a_source_that_is_missing_or_another_is_said(tmp_path, harm, sentence):
    path = recorded(tmp_path / "run")
    check_images(path)
    harm(path.parent / "camera.h5")
    with pytest.raises(ImagesError, match=sentence):
        check_images(path)


def _rewrite(path, images, name="entry/data/data"):
    with h5py.File(path, "w") as file:
        file[name] = images
