"""Runs are exported from a session: the name of the file says the format."""

import shutil

import h5py
import numpy as np
import pytest
from test_spectra import ENERGY, n2_run
from typer.testing import CliRunner

from glidepath.cli.main import app
from glidepath.export import ExportError, check_crate
from glidepath.lookback import StoredRun
from glidepath.session.run_list import RunList

ABSORBER = {"element": "N", "edge": "K", "sample": {"name": "N2"}}
SPECTRA = {"spectra": {"tey": {"signal": "sample", "i0": "mesh"}}}


@pytest.mark.parametrize("ending", ["nxs", "xdi", "csv", "zip"])
def test_the_ending_says_the_format(tmp_path, ending):
    n2_run(tmp_path, 1, **ABSORBER, **SPECTRA)
    written = StoredRun.of(tmp_path, 1).export(tmp_path / f"x.{ending}")
    assert written.path == tmp_path / f"x.{ending}"
    begin = written.path.read_bytes()[:8]
    assert begin.startswith(
        {"nxs": b"\x89HDF", "xdi": b"# XDI", "zip": b"PK"}.get(ending, b"energy")
    )
    if ending == "zip":
        assert check_crate(written.path) == []


def test_without_a_name_the_nexus_file_is_beside_the_data(tmp_path):
    n2_run(tmp_path, 1, **ABSORBER, **SPECTRA)
    run = StoredRun.of(tmp_path, 1)
    assert run.export().path.parent == run.folder
    assert run.export(classic=True).path.parent == run.folder


def test_a_data_directory_that_was_moved_is_exported_where_it_is(tmp_path):
    n2_run(tmp_path / "before", 1, **ABSORBER, **SPECTRA)
    (tmp_path / "before").rename(tmp_path / "after")
    written = StoredRun.of(tmp_path / "after", 1).export()
    assert written.path.is_relative_to(tmp_path / "after")
    with h5py.File(written.path) as file:
        np.testing.assert_array_equal(file["entry/table/energy"][()], ENERGY)


def test_several_runs_become_their_mean_with_errors_and_passes(tmp_path):
    for number in (1, 2, 3):
        n2_run(tmp_path, number, seed=number, **ABSORBER, **SPECTRA)
    runs = RunList(tmp_path)
    written = runs.export("1:3", tmp_path / "mean.nxs")
    with h5py.File(written.path) as file:
        assert file["entry/rebinned/passes/intensity"].shape == (3, len(ENERGY))
        assert np.isfinite(file["entry/intensity_errors"]).all()
    assert runs.export([1, 3], tmp_path / "mean.csv").path.read_text().startswith("energy_eV")
    with pytest.raises(ExportError, match="crate holds one run"):
        runs.export([1, 2], tmp_path / "mean.zip")
    with pytest.raises(ValueError, match="There is no run 9"):
        runs.export([1, 9], tmp_path / "mean.nxs")


@pytest.mark.parametrize(
    ("path", "options", "said"),
    [
        ("x.pdf", {}, r"endings \.nxs, \.xdi, \.csv, \.zip"),
        ("x.nxs", {"moed": "tey"}, "knows mode, signal, i0"),
        ("x.nxs", {"mode": "tye"}, "is no mode"),
        ("x.nxs", {"i0": "mesh"}, "need the column of the signal"),
        ("x.xdi", {"signal": "smple"}, "no column 'smple'"),
        ("nowhere/x.csv", {}, "cannot be written"),
    ],
)
def test_what_cannot_be_exported_is_a_sentence(tmp_path, path, options, said):
    n2_run(tmp_path, 1, **ABSORBER, **SPECTRA)
    with pytest.raises(ExportError, match=said):
        StoredRun.of(tmp_path, 1).export(tmp_path / path, **options)
    assert not (tmp_path / path).exists()


@pytest.mark.parametrize("kind", ["--nexus", "--xdi", "--csv", "--crate"])
def test_an_export_of_a_run_without_an_end_says_that_it_is_not_finished(tmp_path, kind):
    n2_run(tmp_path, 1, status=None, **ABSORBER, **SPECTRA)
    words = ["export", "1", kind, "--output", str(tmp_path), "--data", str(tmp_path)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.stderr
    assert "is not finished: no end was recorded" in done.stdout
    assert f"it had, {len(ENERGY)} rows." in done.stdout


def test_an_average_names_the_runs_that_did_not_end_well(tmp_path):
    for number, status in enumerate(("success", "fail", "abort", None), 1):
        n2_run(tmp_path, number, status=status, reason="It broke", **ABSORBER, **SPECTRA)
    for ending in ("nxs", "xdi", "csv"):
        written = RunList(tmp_path).export("1:4", tmp_path / f"mean.{ending}")
        unfinished, failed, aborted = written.remarks
        assert unfinished.startswith("Scan 4 ")
        assert "is not finished" in unfinished
        assert failed.startswith("Scan 2 ")
        assert failed.endswith("failed, and is averaged all the same: It broke.")
        assert aborted.startswith("Scan 3 ")
        assert aborted.endswith("was aborted, and is averaged all the same: It broke.")
    assert RunList(tmp_path).export([1, 1], tmp_path / "good.csv").remarks == ()


def test_a_lost_file_is_said_and_not_invented(tmp_path):
    n2_run(tmp_path, 1, **ABSORBER, **SPECTRA)
    run = StoredRun.of(tmp_path, 1)
    shutil.rmtree(run.folder)
    with pytest.raises(ExportError, match=r"glidepath\.h5 of this run is missing"):
        StoredRun.of(tmp_path, 1).export(tmp_path / "x.csv")


def test_the_command_writes_the_same(tmp_path):
    for number in (1, 2):
        n2_run(tmp_path, number, seed=number, **ABSORBER, **SPECTRA)
    run = StoredRun.of(tmp_path, 1)
    words = ["export", "--data", str(tmp_path), "--csv", "--xdi", "--output", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*words, "1"])
    assert done.exit_code == 0, done.output
    names = {path.suffix: path for path in (tmp_path / "out").iterdir()}
    for ending in (".csv", ".xdi"):
        mine = run.export(tmp_path / f"mine{ending}").path
        assert names[ending].read_text() == mine.read_text()
    done = CliRunner().invoke(app, [*words, "1", "2"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / f"average_of_2_{run.run.uid[:8]}.xdi").exists()
    done = CliRunner().invoke(app, ["export", "--data", str(tmp_path), "1", "--i0", "mesh"])
    assert done.exit_code == 2
    assert "--signal" in done.stderr
