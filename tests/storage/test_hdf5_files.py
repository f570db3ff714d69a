"""Files of scans can be opened on any file system, while they grow, and after their writer died."""

import subprocess
import sys

import h5py
import numpy as np
import pytest

from glidepath.storage import Column, GrowingFile, Table, open_hdf5, open_to_read, repair
from glidepath.storage.hdf5 import lookup3

TABLE = Table("/entry/data", [Column("energy", unit="eV")], "NXdata")
WRITER = """
import os, signal, sys
from pathlib import Path
import numpy as np
from glidepath.storage import Column, GrowingFile, Table
file = GrowingFile(Path(sys.argv[1]), [Table("/entry/data", [Column("energy")], "NXdata")])
file.append(0, {"energy": np.arange(20000.0)})
file.flush()
print("flushed", flush=True)
sys.stdin.readline()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def writer(tmp_path):
    """A process that writes glidepath.h5, and kills itself when it gets a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "glidepath.h5")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout.readline() == b"flushed\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_file_of_a_killed_writer_opens_in_any_program_after_a_repair(writer, tmp_path):
    path = tmp_path / "glidepath.h5"
    with pytest.raises(OSError, match="Unable"):
        h5py.File(path, "r")
    with open_to_read(path) as growing:
        assert len(growing["/entry/data/energy"]) == 20000
    with pytest.raises(ValueError, match="is being written just now"):
        repair(path)
    writer.communicate(b"die\n")
    with pytest.raises(OSError, match="Unable"):
        h5py.File(path, "r")
    assert repair(path) is True
    for mode in ("r", "r+"):
        with h5py.File(path, mode) as file:
            assert np.array_equal(file["/entry/data/energy"], np.arange(20000.0))
    assert repair(path) is False


def test_a_file_that_was_closed_needs_no_repair(tmp_path):
    path = tmp_path / "glidepath.h5"
    GrowingFile(path, [TABLE]).close()
    before = path.read_bytes()
    assert repair(path) is False
    assert path.read_bytes() == before


def test_what_is_no_hdf5_file_or_damaged_is_not_touched(tmp_path):
    path = tmp_path / "glidepath.h5"
    path.write_text("energy,mesh")
    with pytest.raises(ValueError, match="is no HDF5 file"):
        repair(path)
    path.unlink()
    file = GrowingFile(path, [TABLE])
    content = bytearray(path.read_bytes())
    file.close()
    content[20] ^= 0x5A
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged"):
        repair(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        (b"", 0xDEADBEEF),
        (b"Four score and seven years ago", 0x17770551),
    ],
)
def test_the_checksum_is_that_of_its_author(data, checksum):
    """The values are those that lookup3.c itself gives for these texts, with initial value 0."""
    assert lookup3(data) == checksum


def test_a_file_system_without_locks_is_done_without_them(tmp_path, monkeypatch):
    path = tmp_path / "glidepath.h5"
    original = h5py.File
    tried = []

    def without_locks(name, mode="r", **options):
        on_disk = options.get("driver") != "core"
        tried.append(options.get("locking"))
        if on_disk and options.get("locking") is not False:
            raise OSError("Unable to lock file, errno = 37, error message = 'No locks available'")
        return original(name, mode, **options)

    monkeypatch.setattr(h5py, "File", without_locks)
    file = GrowingFile(path, [TABLE])
    file.append(0, {"energy": np.arange(5.0)})
    file.flush()
    with open_to_read(path) as growing:
        assert len(growing["/entry/data/energy"]) == 5
    file.close()
    assert False in tried


def test_another_error_is_not_taken_for_a_missing_lock(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_hdf5(tmp_path / "none.h5")
