"""XDI and CSV are read back the same; a crate is complete elsewhere and says what is missing."""

import csv
import json
import shutil
import zipfile

import h5py
import numpy as np
import pytest
from written_run import absorption, run_of, table_of, write_run

from glidepath.export import (
    ExportError,
    Run,
    check_crate,
    read_documents,
    roles_of,
    spectrum_of,
    table_columns,
    write_crate,
    write_csv,
    write_xdi,
    xdi_text,
)


def xdi_of(run):
    return xdi_text([run], spectrum_of(run, roles_of(run)[0]))


def numbers_in(text):
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return np.array([[float(number) for number in line.split()] for line in lines])


def test_xdi_is_read_back_the_same(tmp_path):
    columns = table_of(100)
    found = numbers_in(xdi_of(run_of(tmp_path, columns)))
    np.testing.assert_allclose(found[:, 0], columns["energy"], rtol=1e-9)
    np.testing.assert_allclose(found[:, 1], absorption(columns["energy"]), rtol=1e-9)


def test_xdi_is_valid(tmp_path):
    validator = pytest.importorskip("xdi_validator", reason="xdi-validator needs Python 3.13")
    path = tmp_path / "x.xdi"
    run = run_of(
        tmp_path, table_of(30), start={"edge": "L2,3", "element": "Fe", "sample": {"name": "7"}}
    )
    write_xdi([run], spectrum_of(run, roles_of(run)[0]), path)
    with open(path) as file:
        errors, _ = validator.validate(file)
    assert not errors


def test_xdi_names_what_it_must(tmp_path):
    text = xdi_of(run_of(tmp_path, table_of(5), start={"edge": "L2,3", "element": "Fe"}))
    assert text.startswith("# XDI/1.0 Glidepath/")
    header = dict(line[2:].split(": ", 1) for line in text.split("# ///")[0].splitlines()[1:])
    assert header["Column.1"] == "energy eV"
    assert (header["Element.symbol"], header["Element.edge"]) == ("Fe", "L3")
    assert header["Scan.start_time"] == "2023-11-14T22:13:20Z"
    assert header["Facility.current"] == "299.5 mA"
    assert header["Sample.experimenters"] == "A. Müller"
    assert "The edge is L2,3" in text


def test_xdi_rises_and_leaves_out_rows_without_a_value(tmp_path):
    columns = {key: values[::-1] for key, values in table_of(10).items()}
    columns["sample"] = np.where(np.arange(10) == 4, np.nan, columns["sample"])
    found = numbers_in(xdi_of(run_of(tmp_path, columns)))
    assert len(found) == 9
    assert np.all(np.diff(found[:, 0]) > 0)


def test_xdi_without_element_is_a_sentence(tmp_path):
    documents = write_run(tmp_path, table_of(5))
    del documents[0][1]["element"]
    with pytest.raises(ExportError, match="needs the element and the edge"):
        xdi_of(Run(documents))
    with pytest.raises(ExportError, match="cannot be empty"):
        xdi_of(run_of(tmp_path / "empty", table_of(0)))


def test_a_title_of_two_lines_cannot_leave_the_header(tmp_path):
    run = run_of(tmp_path, table_of(5), start={"title": "one\n1 2 3 4"})
    assert numbers_in(xdi_of(run)).shape == (5, 4)


def test_csv_has_units_no_empty_field_and_every_digit(tmp_path):
    columns = table_of(20)
    columns["sample"][3] = np.nan
    run = run_of(tmp_path, columns, images=True)
    with open(write_csv(table_columns(run), tmp_path / "x.csv"), newline="") as file:
        names, *rows = csv.reader(file)
    assert names[:2] == ["energy_eV", "energy_lower_eV"]
    assert "camera_image" not in "".join(names)
    assert all(field for row in rows for field in row)
    assert rows[3][names.index("sample_A")] == "nan"
    found = np.array([[float(field) for field in row] for row in rows])
    np.testing.assert_array_equal(found[:, names.index("mesh_A")], columns["mesh"])


def pack(run, path):
    folder = run.folder
    return write_crate(run, path, documents=(folder / "documents.jsonl").read_bytes())


def test_a_crate_is_complete_elsewhere(tmp_path):
    columns = table_of(20)
    run = run_of(tmp_path / "run", columns, images=True)
    crate = pack(run, tmp_path / "x.zip")
    assert crate.remarks == ()
    assert {"glidepath.h5", "images.h5", "camera.h5", "documents.jsonl"} <= set(crate.files)
    with h5py.File(tmp_path / "run" / "images.h5") as file:
        pixels = file["/entry/data/images"][()]
    shutil.rmtree(tmp_path / "run")
    assert check_crate(crate.path) == []
    with zipfile.ZipFile(crate.path) as archive:
        archive.extractall(tmp_path / "elsewhere")
    assert check_crate(tmp_path / "elsewhere") == []
    again = Run.open_folder(tmp_path / "elsewhere")
    assert again.missing_files() == []
    np.testing.assert_array_equal(again.table.read("sample"), columns["sample"])
    (master,) = (tmp_path / "elsewhere").glob("*.nxs")
    with h5py.File(master) as file:
        np.testing.assert_array_equal(file["entry/instrument/camera_image/data"][()], pixels)
        np.testing.assert_array_equal(file["entry/table/sample"][()], columns["sample"])


def test_a_camera_with_a_folder_of_its_own_is_packed_beside(tmp_path):
    run = run_of(tmp_path / "run", table_of(5), images=True)
    with h5py.File(tmp_path / "run" / "images.h5") as file:
        pixels = file["/entry/data/images"][()]
    camera = tmp_path / "camera-disk" / "camera.h5"
    camera.parent.mkdir()
    (tmp_path / "run" / "camera.h5").rename(camera)
    from glidepath.storage import AlignedImages

    aligned = AlignedImages(tmp_path / "run" / "images.h5", (4, 3), np.dtype(np.uint16))
    aligned.add(camera, "/entry/data/data", np.arange(5))
    aligned.write()
    crate = pack(run, tmp_path / "x.zip")
    assert "camera.h5" in crate.files
    with zipfile.ZipFile(crate.path) as archive:
        archive.extractall(tmp_path / "elsewhere")
    shutil.rmtree(camera.parent)
    with h5py.File(tmp_path / "elsewhere" / "images.h5") as file:
        np.testing.assert_array_equal(file["/entry/data/images"][()], pixels)


def test_a_crate_says_what_is_missing(tmp_path):
    run = run_of(tmp_path / "run", table_of(5), images=True)
    (tmp_path / "run" / "camera.h5").unlink()
    crate = pack(run, tmp_path / "x.zip")
    assert crate.remarks == ("The file camera.h5 is missing and not in the crate.",)
    with zipfile.ZipFile(crate.path) as archive:
        metadata = json.loads(archive.read("ro-crate-metadata.json"))
    root = next(item for item in metadata["@graph"] if item["@id"] == "./")
    assert "camera.h5 is missing" in root["description"]


def test_a_changed_or_lost_file_is_found(tmp_path):
    crate = pack(run_of(tmp_path / "run", table_of(5)), tmp_path / "x.zip")
    with zipfile.ZipFile(crate.path) as archive:
        archive.extractall(tmp_path / "e")
    (tmp_path / "e" / "documents.jsonl").write_text("other")
    (tmp_path / "e" / "glidepath.h5").unlink()
    assert sorted(check_crate(tmp_path / "e")) == [
        "The file documents.jsonl is not the one that was packed: its checksum differs.",
        "The file glidepath.h5 is missing.",
    ]
    with pytest.raises(ExportError, match=r"^There is no file or folder .*nothere\.zip\.$"):
        check_crate(tmp_path / "nothere.zip")
    with pytest.raises(ExportError, match="no crate"):
        check_crate(tmp_path / "run")


def test_a_crate_is_one_for_others(tmp_path):
    rocrate = pytest.importorskip("rocrate.rocrate", reason="rocrate is in the extra 'dev'")
    crate = pack(run_of(tmp_path / "run", table_of(5)), tmp_path / "x.zip")
    with zipfile.ZipFile(crate.path) as archive:
        archive.extractall(tmp_path / "elsewhere")
    read = rocrate.ROCrate(tmp_path / "elsewhere")
    assert read.name == "scan 7 (" + read.root_dataset["identifier"][:8] + ")"
    assert read.root_dataset["author"][0]["name"] == "A. Müller"
    assert read.get("glidepath.h5")["contentSize"] == str(
        (tmp_path / "elsewhere" / "glidepath.h5").stat().st_size
    )


def test_the_documents_of_a_process_that_was_killed_are_read(tmp_path):
    path = tmp_path / "documents.jsonl"
    line = json.dumps({"name": "start", "doc": {"uid": "a"}})
    for text, read in ((f"{line}\n", 1), (line, 1), (f"{line}\n{line[:-9]}", 1), ("", 0)):
        path.write_text(text)
        assert read_documents(path) == [("start", {"uid": "a"})] * read
    path.write_text(f"{line}\n{line[:-9]}\n{line}\n")
    with pytest.raises(ExportError, match="does not hold the documents of a run"):
        read_documents(path)
