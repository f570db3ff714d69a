"""A file that somebody else writes is opened only when that disturbs nobody."""

import h5py
import pytest

from glidepath.storage.followed_file import FollowedFile, can_be_opened


class Rows(FollowedFile):
    def read(self):
        with self._lock:
            file = self._open()
            return None if file is None else file["x"].shape[0]


@pytest.mark.parametrize("begin", [b"", b"\x89HDF", b"something else altogether"])
def test_what_its_writer_has_only_begun_is_not_opened(tmp_path, begin, monkeypatch):
    path = tmp_path / "begun.h5"
    assert not can_be_opened(path)
    path.write_bytes(begin)
    monkeypatch.setattr(h5py, "File", None)
    assert Rows(path).read() is None


def test_a_file_is_opened_when_its_writer_lets_others_read_it(tmp_path):
    path = tmp_path / "growing.h5"
    rows = Rows(path)
    with h5py.File(path, "w", libver="latest") as file:
        file.create_dataset("x", shape=(3,), maxshape=(None,), dtype="f8")
        file.flush()
        assert not can_be_opened(path)
        file.swmr_mode = True
        assert rows.read() == 3
    rows.close()
    assert rows.read() == 3
    rows.close()


def test_a_file_of_an_old_format_is_opened_when_it_is_there(tmp_path):
    path = tmp_path / "old.h5"
    with h5py.File(path, "w", libver=("earliest", "v108")) as file:
        file["x"] = [1, 2, 3, 4]
    assert path.read_bytes()[8] == 0
    rows = Rows(path)
    assert rows.read() == 4
    rows.close()
