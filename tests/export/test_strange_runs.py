"""Runs as strangers have them: each is exported, or says in one sentence why it is not."""

import csv
import json

import h5py
import numpy as np
import pytest
from event_model import compose_run
from written_run import EXPERIMENT, run_of, table_of, write_run

from glidepath.export import Choice, ExportError, Run, check_crate, write_nexus
from glidepath.export import write_run as write

KINDS = {"nexus": "x.nxs", "xdi": "x.xdi", "csv": "x.csv", "crate": "x.zip"}


def exported(run, folder):
    """Write each format; return what was said of each, remarks and refusals."""
    folder.mkdir()
    said = {}
    for kind, name in KINDS.items():
        try:
            written = write(run, folder / name, kind, Choice(), documents=b"{}\n")
            said[kind] = " ".join(written.remarks)
        except ExportError as error:
            said[kind] = str(error)
            assert not (folder / name).exists()
    return said


def test_a_detector_with_blanks_and_a_stroke_in_its_name(tmp_path):
    columns = table_of(20)
    columns["my det"] = columns.pop("sample")
    start = {"spectra": {"tey": {"signal": "my det", "i0": "mesh"}}}
    documents = write_run(tmp_path / "run", columns, start=start, raw=False)
    # The file may name its dataset otherwise; HDF5 would take the stroke for a path.
    run = Run(json.loads(json.dumps(documents).replace('"my det"', '"my det/1"')))
    assert exported(run, tmp_path / "out") == dict.fromkeys(KINDS, "")
    with h5py.File(tmp_path / "out" / "x.nxs") as file:
        np.testing.assert_array_equal(file["entry/table/my det_1"][()], columns["my det"])
        assert file["entry/data/title"][()].decode() == "N K: my det/1 / mesh, scan 7"


def test_without_i0_the_spectrum_is_the_signal(tmp_path):
    columns = table_of(20)
    run = run_of(tmp_path / "run", columns, start={"spectra": {"tey": {"signal": "sample"}}})
    assert exported(run, tmp_path / "out") == dict.fromkeys(KINDS, "")
    numbers = np.loadtxt((tmp_path / "out" / "x.xdi").read_text().splitlines())
    np.testing.assert_allclose(numbers[:, 1], columns["sample"], rtol=1e-9)


@pytest.mark.parametrize("column", ["mesh", "energy"])
def test_a_column_that_is_never_known(tmp_path, column):
    columns = table_of(20, 2)
    for name in columns:
        if name.startswith(column):
            columns[name] = np.full(40, np.nan)
    said = exported(run_of(tmp_path / "run", columns), tmp_path / "out")
    assert "no row with a value for a spectrum" in said["xdi"]
    assert said["nexus"] == said["csv"] == ""
    with open(tmp_path / "out" / "x.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row[f"{column}_{'A' if column == 'mesh' else 'eV'}"] for row in rows} == {"nan"}


def test_an_old_run_knows_nothing_of_people_and_samples(tmp_path):
    documents = write_run(tmp_path / "run", table_of(20))
    for key in (*EXPERIMENT, "scan_id", "plan_name"):
        documents[0][1].pop(key, None)
    said = exported(Run(documents), tmp_path / "out")
    assert "does not say which column is the signal" in said["xdi"]
    assert "--signal" in said["nexus"]
    assert said["csv"] == ""
    assert check_crate(tmp_path / "out" / "x.zip") == []


@pytest.mark.parametrize(
    ("spectra", "named"),
    [
        ({"weird": {"signal": "sample"}}, "'weird'"),
        ({"tey": {"i0": "mesh"}}, "'tey'"),
        ({"tey": ["sample"]}, "'tey'"),
        (["tey"], "['tey']"),
    ],
)
def test_spectra_that_are_none_are_said_and_left_out(tmp_path, spectra, named):
    run = run_of(tmp_path / "run", table_of(5), start={"spectra": spectra})
    said = exported(run, tmp_path / "out")
    assert f"'spectra' hold {named}, which is left out" in said["nexus"]
    assert said["csv"] == ""
    assert "does not say which column is the signal" in said["xdi"]


def test_a_step_scan_with_words_arrays_and_a_second_stream(tmp_path):
    def key(kind, shape=()):
        return {"source": "test", "dtype": kind, "shape": list(shape)}

    run = compose_run(metadata={"motors": ["th"], "scan_id": 3})
    documents = [("start", dict(run.start_doc))]
    keys = {"th": key("number"), "det": key("number"), "state": key("string")}
    for name, described in (
        ("primary", keys | {"wave": key("array", [4])}),
        ("monitor", {"valve": key("string")}),
    ):
        stream = run.compose_descriptor(name=name, data_keys=described)
        documents.append(("descriptor", stream.descriptor_doc))
        for number in range(4):
            values = {"th": number, "det": 2 * number, "state": "in, out", "wave": [1, 2, 3, 4]}
            data = {k: values.get(k, "open") for k in described}
            event = stream.compose_event(data=data, timestamps=dict.fromkeys(data, 1.0))
            documents.append(("event", event))
    documents.append(("stop", run.compose_stop()))
    said = exported(Run(documents, home=tmp_path), tmp_path / "out")
    assert said["csv"] == ""
    with open(tmp_path / "out" / "x.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["in, out"] * 4
    with h5py.File(tmp_path / "out" / "x.nxs") as file:
        assert file["entry/data"].attrs["signal"] == "det"
        np.testing.assert_array_equal(file["entry/data/det"][()], [0, 2, 4, 6])
        assert file["entry/table/wave"].shape == (4, 4)


def test_a_damaged_file_is_a_sentence(tmp_path):
    run = run_of(tmp_path / "run", table_of(5))
    (tmp_path / "run" / "glidepath.h5").write_bytes(b"\x89HDF\r\n\x1a\nnothing")
    for sentence in exported(run, tmp_path / "out").values():
        assert "the file is damaged or another one" in sentence


def test_a_copy_without_its_camera_file_says_so(tmp_path):
    documents = write_run(tmp_path / "run", table_of(5), images=True)
    copy = tmp_path / "copy"
    (tmp_path / "run").rename(copy)
    (copy / "camera.h5").unlink()
    assert json.loads((copy / "documents.jsonl").read_text().splitlines()[0])["name"] == "start"
    run = Run(documents, folder=copy)
    said = exported(run, tmp_path / "out")
    assert "camera.h5 is missing" in said["nexus"]
    assert "camera.h5 is missing" in said["crate"]
    assert said["xdi"] == said["csv"] == ""
    with h5py.File(write_nexus(run).path) as file:
        assert "camera_image" not in file["entry/instrument"]
