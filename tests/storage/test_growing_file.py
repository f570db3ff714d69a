"""A file that others read while it grows, and that survives its writer."""

import subprocess
import sys
import textwrap

import h5py
import numpy as np
import pytest

from glidepath.storage import Column, GrowingFile, Table, read_columns

DATA = Table(
    "/entry/data",
    [Column("energy", unit="eV"), Column("count", "<i8"), Column("quality", "<u2")],
    "NXdata",
    {"signal": "count", "axes": ["energy"]},
)
LOG = Table(
    "/entry/instrument/mesh", [Column("value", unit="A"), Column("time", unit="s")], "NXlog"
)
NAMES = ("energy", "count", "quality")


def rows(begin: int, stop: int) -> dict[str, np.ndarray]:
    number = np.arange(begin, stop)
    return {"energy": number * 0.5, "count": number, "quality": number.astype(np.uint16)}


def start(script: str, *arguments: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_another_process_sees_whole_rows_after_each_flush_and_none_before(tmp_path):
    path = tmp_path / "scan.h5"
    file = GrowingFile(path, [DATA, LOG])
    reader = start(
        """
        import sys
        from pathlib import Path
        from glidepath.storage import read_columns

        for line in sys.stdin:
            columns = read_columns(Path(sys.argv[1]), "/entry/data", line.split())
            lengths = {len(column) for column in columns.values()}
            right = (columns["energy"] == 0.5 * columns["count"]).all()
            print(*lengths, right, columns["quality"].dtype, flush=True)
        """,
        path,
    )

    def seen() -> list[str]:
        reader.stdin.write("energy count quality\n")
        reader.stdin.flush()
        return reader.stdout.readline().split()

    try:
        assert seen() == ["0", "True", "uint16"]
        for begin, stop in ((0, 3), (3, 20000), (20000, 20001)):
            file.append(0, rows(begin, stop))
            file.append(1, {"value": np.ones(7), "time": np.ones(7)})
            assert seen()[1] == "True"
            file.flush()
            assert seen() == [str(stop), "True", "uint16"]
        assert tuple(file.rows) == (20001, 21)
        file.close()
        assert seen() == ["20001", "True", "uint16"]
    finally:
        file.close()
        reader.communicate(timeout=20)
    assert reader.returncode == 0


def test_a_reader_that_is_killed_costs_the_writer_and_other_readers_nothing(tmp_path):
    path = tmp_path / "scan.h5"
    file = GrowingFile(path, [DATA])
    file.append(0, rows(0, 1000))
    file.flush()
    reader = start(
        """
        import sys
        import h5py

        with h5py.File(sys.argv[1], "r", libver="latest", swmr=True) as file:
            energy = file["/entry/data/energy"]
            while True:
                energy.refresh()
                print(len(energy[:]), flush=True)
        """,
        path,
    )
    try:
        assert reader.stdout.readline() == "1000\n"
    finally:
        reader.kill()
        reader.communicate(timeout=20)
    file.append(0, rows(1000, 2000))
    file.flush()
    found = read_columns(path, "/entry/data", NAMES)
    assert all(np.array_equal(found[name], rows(0, 2000)[name]) for name in NAMES)
    file.close()


def test_a_file_whose_writer_was_killed_is_readable_to_its_last_flush(tmp_path):
    path = tmp_path / "scan.h5"
    writer = start(
        """
        import sys
        from pathlib import Path
        import numpy as np
        from glidepath.storage import Column, GrowingFile, Table

        table = Table("/entry/data", [Column("energy"), Column("mesh")], "NXdata")
        file = GrowingFile(Path(sys.argv[1]), [table])
        for k in range(5):
            file.append(0, {"energy": np.full(1000, k), "mesh": np.arange(1000.0)})
            file.flush()
        file.append(0, {"energy": np.full(1000, 99.0), "mesh": np.arange(1000.0)})
        print("appended", flush=True)
        sys.stdin.readline()
        """,
        path,
    )
    try:
        assert writer.stdout.readline() == "appended\n"
    finally:
        writer.kill()
        writer.communicate(timeout=20)
    columns = read_columns(path, "/entry/data", ["energy", "mesh"])
    assert len(columns["energy"]) == len(columns["mesh"]) >= 5000
    assert columns["energy"][:5000].tolist() == np.repeat(np.arange(5.0), 1000).tolist()
    assert columns["mesh"][:5000].tolist() == np.tile(np.arange(1000.0), 5).tolist()


def test_data_are_never_overwritten(tmp_path):
    path = tmp_path / "scan.h5"
    first = GrowingFile(path, [DATA])
    first.append(0, rows(0, 5))
    first.close()
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        GrowingFile(path, [DATA])
    assert path.read_bytes() == before


def test_the_file_is_nexus_shaped_from_the_start(tmp_path):
    file = GrowingFile(tmp_path / "scan.h5", [DATA, LOG], {"title": "flyscan energy"})
    with h5py.File(file.path, "r", swmr=True, libver="latest") as seen:
        assert seen.attrs["default"] == "entry"
        entry = seen["entry"]
        assert entry.attrs["NX_class"] == "NXentry"
        assert entry.attrs["default"] == "data"
        assert entry["title"][()] == b"flyscan energy"
        assert entry["instrument/mesh/time"].attrs["start"] == "1970-01-01T00:00:00Z"
        assert seen.attrs["NX_class"] == "NXroot"
        data = entry["data"]
        assert data.attrs["NX_class"] == "NXdata"
        assert data.attrs["signal"] == "count"
        assert list(data.attrs["axes"]) == ["energy"]
        assert data["energy"].attrs["units"] == "eV"
        assert "units" not in data["count"].attrs
        assert entry["instrument"].attrs["NX_class"] == "NXinstrument"
        assert entry["instrument/mesh"].attrs["NX_class"] == "NXlog"
        assert data["count"].dtype == np.int64
    file.close()


@pytest.mark.parametrize(
    "columns",
    [
        {"energy": np.ones(2), "count": np.ones(2)},
        {"energy": np.ones(2), "count": np.ones(3), "quality": np.ones(2)},
        {**rows(0, 2), "more": np.ones(2)},
    ],
)
def test_rows_that_are_not_whole_are_refused_and_leave_nothing(tmp_path, columns):
    file = GrowingFile(tmp_path / "scan.h5", [DATA])
    with pytest.raises(ValueError, match="need the columns"):
        file.append(0, columns)
    assert tuple(file.rows) == (0,)
    file.append(0, rows(0, 2))
    file.close()
    assert read_columns(file.path, "/entry/data", NAMES)["count"].tolist() == [0, 1]


def test_columns_of_unequal_length_are_cut_to_the_rows_that_all_have(tmp_path):
    path = tmp_path / "scan.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file["/entry/data/a"] = np.arange(5)
        file["/entry/data/b"] = np.arange(3)
    columns = read_columns(path, "/entry/data", ["a", "b"])
    assert [len(column) for column in columns.values()] == [3, 3]


def test_rows_of_no_length_are_harmless_and_closing_twice_too(tmp_path):
    file = GrowingFile(tmp_path / "scan.h5", [DATA])
    file.append(0, rows(0, 0))
    file.append(0, rows(0, 4))
    file.flush()
    assert tuple(file.rows) == (4,)
    file.close()
    file.close()


def test_files_of_the_same_layout_share_nothing_but_the_layout(tmp_path):
    first = GrowingFile(tmp_path / "first.h5", [DATA, LOG], {"title": "first"})
    first.append(0, rows(0, 4))
    second = GrowingFile(tmp_path / "second.h5", [DATA, LOG], {"title": "second"})
    third = GrowingFile(tmp_path / "third.h5", [LOG], {"title": "third"})
    for file in (first, second, third):
        file.close()
    found = {}
    for file in (first, second, third):
        with h5py.File(file.path) as seen:
            entry = seen["entry"]
            lengths = {name: len(column) for name, column in entry.get("data", {}).items()}
            found[entry["title"].asstr()[()]] = (lengths, "mesh" in entry["instrument"])
    assert found == {
        "first": (dict.fromkeys(NAMES, 4), True),
        "second": (dict.fromkeys(NAMES, 0), True),
        "third": ({}, True),
    }


def test_a_few_rows_of_many_columns_take_little_space(tmp_path):
    columns = [Column(f"column_{k}") for k in range(40)]
    file = GrowingFile(tmp_path / "scan.h5", [Table("/entry/data", columns, "NXdata")])
    for _ in range(5):
        file.append(0, {column.name: np.ones(10) for column in columns})
        file.flush()
    file.close()
    assert file.path.stat().st_blocks * 512 < 40 * 16384
