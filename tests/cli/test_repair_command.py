"""`glidepath repair` finds the files of a run and mends those that need it."""

import h5py
import pytest
from typer.testing import CliRunner

from glidepath.cli.main import app
from glidepath.storage import Column, GrowingFile, Table, run_folder, use_data_root

TABLE = Table("/entry/data", [Column("energy")], "NXdata")
UID = "3f0a5c1e-1111-2222-3333-444444444444"


@pytest.fixture
def killed(tmp_path):
    """A file as a killed writer leaves it: a copy of one that is still written."""
    folder = run_folder(use_data_root(tmp_path), UID, 42, 1.7e9)
    folder.mkdir(parents=True)
    file = GrowingFile(folder / "whole.h5", [TABLE])
    path = folder / "glidepath.h5"
    path.write_bytes(file.path.read_bytes())
    file.close()
    return path


def repair(*arguments):
    return CliRunner().invoke(app, ["repair", *map(str, arguments)])


@pytest.mark.parametrize("name", ["42", UID[:8], UID])
def test_a_run_is_named_by_number_or_uid(killed, tmp_path, name):
    done = repair(name, "--data", tmp_path)
    assert done.exit_code == 0, done.output
    assert "glidepath.h5 can be opened by any program now" in done.output
    assert "whole.h5 needs no repair" in done.output
    h5py.File(killed).close()


def test_a_file_is_named_by_its_path(killed):
    assert repair(killed).exit_code == 0
    assert "needs no repair" in repair(killed).output


@pytest.mark.parametrize("name", ["7", "nothing", "abc"])
def test_a_run_that_is_not_there_is_one_sentence(tmp_path, name):
    done = repair(name, "--data", tmp_path)
    assert done.exit_code == 2
    assert "is no file and no run" in done.stderr
