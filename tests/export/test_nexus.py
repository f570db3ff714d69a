"""The NeXus master file: valid, small, right for viewers, and right after a move."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from written_run import absorption, run_of, table_of, write_run

from glidepath.export import (
    Combined,
    ExportError,
    Roles,
    Run,
    average,
    roles_of,
    write_nexus,
)

pytestmark = pytest.mark.slow

pynxtools = pytest.importorskip("pynxtools", reason="the validators are in the extra 'dev'")
BIN = Path(sys.executable).parent
NEW_FAMILY = Path(pynxtools.__file__).parent / "definitions"
COLUMNS = {"signal": "sample", "i0": "mesh"}
ALL_MODES = dict.fromkeys(("tey", "pey", "tfy", "pfy", "trans"), COLUMNS)
PARTIAL = {"emission_line": "Ka1", "emission_energy_window": [380.0, 395.0]}


def said_by(*command: str | Path, folder: Path) -> str:
    """Return what a validator prints; it opens links from the folder that it runs in."""
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, capture_output=True, text=True, timeout=120
    )
    return done.stdout + done.stderr


def assert_valid(path: Path, entries: int = 1, classic: bool = False) -> None:
    """Ask both validators; the new family's definitions come with one of them."""
    definitions = [] if classic else ["-d", NEW_FAMILY]
    checked = said_by(BIN / "nxvalidate", path.name, *definitions, folder=path.parent)
    assert "Total number of errors: 0" in checked, checked
    assert "Total number of warnings: 0" in checked, checked
    if not classic:
        checked = said_by(BIN / "pynx", "validate", path.name, folder=path.parent)
        assert checked.count("is valid according to") == entries, checked
        assert "NOT valid" not in checked, checked


def default_plot(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return what a viewer draws at once, found as H5Web finds it."""
    with h5py.File(path) as file:
        group = file
        while group.attrs.get("NX_class") != "NXdata":
            group = group[group.attrs["default"]]
        (axis,) = group.attrs["axes"]
        return group[axis][()], group[group.attrs["signal"]][()]


def test_every_mode_is_valid_by_both_validators(tmp_path):
    run = run_of(tmp_path, table_of(50), start={"spectra": ALL_MODES, **PARTIAL})
    master = write_nexus(run)
    assert set(master.definitions) == {f"NXxas_{mode}" for mode in ALL_MODES}
    assert master.remarks == ()
    assert_valid(master.path, 5)
    with h5py.File(master.path) as file:
        assert file.attrs["default"] == "entry_tey"


@pytest.mark.parametrize(
    "kind",
    [
        {"rows": 20, "images": True},
        {"rows": 20, "raw": False},
        {"rows": 3, "exit_status": "abort"},
        {"rows": 5, "exit_status": None},
        {"rows": 0},
        {"rows": 20, "passes": 3},
    ],
    ids=["camera", "triggered", "aborted", "killed", "empty", "passes"],
)
def test_every_kind_of_run_is_valid(tmp_path, kind):
    columns = table_of(kind.pop("rows"), kind.pop("passes", 1))
    assert_valid(write_nexus(run_of(tmp_path, columns, **kind)).path)


@pytest.mark.parametrize("rows", [0, 30])
def test_the_classic_definition_is_valid(tmp_path, rows):
    master = write_nexus(run_of(tmp_path, table_of(rows)), classic=True)
    assert master.definitions == ("NXxas",)
    assert_valid(master.path, classic=True)


def test_viewers_draw_the_spectrum_at_once(tmp_path):
    columns = table_of(100)
    energy, intensity = default_plot(write_nexus(run_of(tmp_path, columns)).path)
    np.testing.assert_array_equal(energy, columns["energy"])
    np.testing.assert_allclose(intensity, absorption(energy), rtol=1e-12)


def test_what_the_run_knows_is_where_nexus_has_it(tmp_path):
    run = run_of(tmp_path, table_of(10))
    with h5py.File(write_nexus(run).path) as file:
        entry = file["entry"]
        expected = {
            "definition": b"NXxas_tey",
            "title": b"flyscan energy",
            "start_time": b"2023-11-14T22:13:20.000+00:00",
            "experiment_identifier": b"242-12345",
            "entry_identifier": b"7",
            "entry_identifier_uuid": run.uid.encode(),
            "sample/name": b"N2 gas cell",
            "sample/chemical_formula": b"N2",
            "element/symbol": b"N",
            "edge/name": b"K",
            "user_1/name": "A. Müller".encode(),
            "user_1/ORCID": b"0000-0002-1825-0097",
            "instrument/source/name": b"BESSY II",
            "instrument/insertion_device/type": b"undulator",
        }
        assert {key: entry[key][()] for key in expected} == expected
        for key, value, unit in (
            ("instrument/source/current", 299.5, "mA"),
            ("instrument/insertion_device/gap", 34.1, "mm"),
            ("instrument/insertion_device/settings/shift", 0.0, "mm"),
            ("instrument/mesh/count_time", 0.1, "s"),
            ("baseline/stop/ue48-gap", 35.4, "mm"),
        ):
            assert entry[key][()] == value
            assert entry[key].attrs["units"] == unit
        assert entry["instrument/insertion_device/harmonic"][()] == 1
        assert entry["instrument/monochromator/settings/cff"][()] == 2.25
        assert entry["instrument/energy"].attrs["NX_class"] == "NXpositioner"
        assert entry["raw/mesh/time"].attrs["start"] == "1970-01-01T00:00:00Z"
        meanings = dict(zip(entry["quality/bit_names"], entry["quality/bit_values"], strict=True))
        assert meanings[b"BEAM_LOST"] == 64


def test_columns_are_relative_links(tmp_path):
    path = write_nexus(run_of(tmp_path, table_of(1000), images=True)).path
    with h5py.File(path) as file:
        for place, target in (
            ("entry/table/mesh", "glidepath.h5"),
            ("entry/raw/sample/value", "glidepath.h5"),
            ("entry/instrument/camera_image/data", "images.h5"),
        ):
            assert file.get(place, getlink=True).filename == target


def test_a_moved_folder_reads_the_same(tmp_path):
    old, new = tmp_path / "old", tmp_path / "elsewhere" / "new"
    columns = table_of(20)
    before = write_nexus(run_of(old, columns, images=True)).path
    with h5py.File(before) as file:
        pixels = file["entry/instrument/camera_image/data"][()]
    assert pixels.any()
    shutil.copytree(old, new)
    shutil.rmtree(old)
    with h5py.File(new / before.name) as file:
        np.testing.assert_array_equal(file["entry/instrument/camera_image/data"][()], pixels)
        np.testing.assert_array_equal(file["entry/table/sample"][()], columns["sample"])
    run = Run.open_folder(new)
    assert run.missing_files() == []
    np.testing.assert_array_equal(run.table.read("mesh"), columns["mesh"])


def test_a_copy_reads_its_own_files_while_the_first_still_exists(tmp_path):
    run_of(tmp_path / "old", table_of(20), images=True)
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    run = Run.open_folder(tmp_path / "new")
    assert {file.parent for file in run.files()} == {tmp_path / "new"}


def test_a_missing_camera_file_is_said(tmp_path):
    run = run_of(tmp_path, table_of(5), images=True)
    (tmp_path / "camera.h5").unlink()
    assert run.missing_files() == [tmp_path / "camera.h5"]
    master = write_nexus(run)
    (remark,) = master.remarks
    assert "camera.h5 is missing" in remark
    with h5py.File(master.path) as file:
        # A link would show zeros.
        assert "camera_image" not in file["entry/instrument"]
    with pytest.raises(ExportError, match=r"camera\.h5, but there is no such file"):
        run.table.read("camera_image")


def test_images_of_another_file_of_the_same_name_are_left_out_and_said(tmp_path):
    run = run_of(tmp_path, table_of(5), images=True)
    with h5py.File(tmp_path / "camera.h5", "a") as file:
        file["/entry/data/data"][...] = 7
    master = write_nexus(run)
    (remark,) = master.remarks
    assert re.search(r"camera_image are left out\. .*camera\.h5 is not the file whose", remark)
    with h5py.File(master.path) as file:
        assert "camera_image" not in file["entry/instrument"]
    with pytest.raises(ExportError, match="its pixels are others"):
        run.table.read("camera_image")


@pytest.mark.parametrize("moved", [False, True], ids=["copied", "moved"])
def test_images_of_a_run_that_was_taken_elsewhere_are_its_own(tmp_path, moved):
    first = run_of(tmp_path / "old", table_of(5), images=True)
    pixels = first.table.read("camera_image")
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    if moved:
        shutil.rmtree(tmp_path / "old")
    else:
        with h5py.File(tmp_path / "old" / "camera.h5", "a") as file:
            file["/entry/data/data"][...] = 7
    run = Run.open_folder(tmp_path / "new")
    np.testing.assert_array_equal(run.table.read("camera_image"), pixels)
    master = write_nexus(run)
    assert master.remarks == ()
    with h5py.File(master.path) as file:
        np.testing.assert_array_equal(file["entry/instrument/camera_image/data"][()], pixels)


def test_a_file_elsewhere_holds_copies(tmp_path):
    columns = table_of(50)
    run = run_of(tmp_path / "run", columns)
    (tmp_path / "out").mkdir()
    path = write_nexus(run, tmp_path / "out" / "copy.nxs").path
    shutil.rmtree(tmp_path / "run")
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["entry/table/sample"][()], columns["sample"])


@pytest.mark.parametrize("missing", ["element", "edge", "sample"])
def test_what_is_not_known_is_said_and_no_definition_is_claimed(tmp_path, missing):
    documents = write_run(tmp_path, table_of(5))
    del documents[0][1][missing]
    master = write_nexus(Run(documents))
    assert master.definitions == ("",)
    assert f"the run does not know {missing}" in master.remarks[0]
    with h5py.File(master.path) as file:
        assert "definition" not in file["entry"]
        assert len(default_plot(master.path)[1]) == 5


@pytest.mark.parametrize(
    ("kind", "drawn"),
    [
        ({"start": {"spectra": {}}}, "mesh"),  # its raw stream says that it is a detector
        ({"start": {"spectra": {}, "detectors": ["sample"]}, "raw": False}, "sample"),
        ({"start": {"spectra": {}, "detectors": ["camera"]}, "raw": False, "images": True}, "mesh"),
    ],
    ids=["raw", "named", "camera"],
)
def test_without_roles_a_detector_is_drawn_and_no_bookkeeping(tmp_path, kind, drawn):
    columns = table_of(5)
    master = write_nexus(run_of(tmp_path, columns, **kind))
    assert "--signal" in master.remarks[0]
    np.testing.assert_array_equal(default_plot(master.path)[1], columns[drawn])
    with h5py.File(master.path) as file:
        assert file["entry/data/title"][()].decode() == f"{drawn}, scan 7"


@pytest.mark.parametrize(
    ("mode", "roles", "title", "unit", "label"),
    [
        ("tey", COLUMNS, "N K: sample / mesh, scan 7", "1", "sample / mesh"),
        ("trans", COLUMNS, "N K: -ln(sample / mesh), scan 7", "1", "-ln(sample / mesh)"),
        ("tfy", {"signal": "sample"}, "N K: sample, scan 7", "A", "sample (A)"),
    ],
)
def test_a_viewer_says_what_was_divided_by_what(tmp_path, mode, roles, title, unit, label):
    run = run_of(tmp_path, table_of(9), start={"spectra": {mode: roles}})
    with h5py.File(write_nexus(run).path) as file:
        assert file["entry/data/title"][()].decode() == title
        assert file["entry/data/intensity"].attrs["units"] == unit
    with h5py.File(write_nexus(run, classic=True).path) as file:
        assert file["entry/data/title"][()].decode() == title
        assert file["entry/data/intensity"].attrs["units"] == unit
        assert file["entry/data/intensity"].attrs["long_name"] == label
        assert "auxiliary_signals" not in file["entry/data"].attrs


def test_a_beamline_extends_the_table(tmp_path):
    lines = [
        ["instrument:NXinstrument/mirror_1:NXmirror/incident_angle", "number:1.5", "deg"],
        ["instrument:NXinstrument/source:NXsource/name", "text:BESSY III"],
    ]
    path = write_nexus(run_of(tmp_path, table_of(5), start={"nexus": lines})).path
    with h5py.File(path) as file:
        angle = file["entry/instrument/mirror_1/incident_angle"]
        assert (angle[()], angle.attrs["units"]) == (1.5, "deg")
        assert file["entry/instrument/source/name"][()] == b"BESSY III"
    assert_valid(path)


@pytest.mark.parametrize("line", ["text", ["a"], ["a", "shell:ls"], ["a", "number:x"], 3])
def test_a_line_that_is_none_is_a_sentence(tmp_path, line):
    with pytest.raises(ExportError, match="NeXus table"):
        write_nexus(run_of(tmp_path, table_of(5), start={"nexus": [line]}))


def test_several_runs_become_one_valid_file(tmp_path):
    runs = [run_of(tmp_path / str(n), table_of(50, noise=0.01, seed=n)) for n in range(4)]
    roles = [roles_of(run)[0] for run in runs]
    spectrum = average(runs, roles)
    path = tmp_path / "average.nxs"
    write_nexus(runs[0], path, combined=Combined(spectrum, [run.uid for run in runs]))
    assert_valid(path)
    with h5py.File(path) as file:
        assert file["entry/rebinned/passes/intensity"].shape == (4, 50)
        assert file["entry/intensity_errors"][()] == pytest.approx(spectrum.errors)
        assert [uid.decode() for uid in file["entry/rebinned/parameters/raw_runs"]] == [
            run.uid for run in runs
        ]


def test_rows_that_were_not_announced_are_not_shown(tmp_path):
    run = run_of(tmp_path, table_of(20), announced=12)
    with h5py.File(write_nexus(run).path) as file:
        assert file["entry/energy"].shape == file["entry/instrument/i0/data"].shape == (12,)


def test_a_disk_that_refuses_is_a_sentence_and_leaves_nothing(tmp_path):
    run = run_of(tmp_path / "run", table_of(5))
    with pytest.raises(ExportError, match="cannot be written"):
        write_nexus(run, tmp_path / "nowhere" / "x.nxs")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_run_of_a_foreign_catalogue_is_fetched(tmp_path):
    columns = table_of(20)
    documents = write_run(tmp_path / "run", columns)
    shutil.rmtree(tmp_path / "run")  # as on a machine that never had it
    run = Run(documents, fetch=lambda stream, key: columns.get(key, np.zeros(20)))
    with pytest.raises(ExportError, match="name a file to write"):
        write_nexus(run)
    path = write_nexus(run, tmp_path / "x.nxs", roles=[Roles("tey", "sample", "mesh")]).path
    np.testing.assert_array_equal(default_plot(path)[0], columns["energy"])
