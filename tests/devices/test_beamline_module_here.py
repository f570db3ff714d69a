"""A beamline module is found in the folder where the user stands."""

import sys

import pytest

from glidepath.beamlines import BeamlineError, load_beamline

MODULE = "def make_devices(prefix=None):\n    return {}\n"


def test_a_module_in_the_current_folder_is_found(tmp_path, monkeypatch):
    (tmp_path / "beamline_found_here.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", ".")])
    assert load_beamline("beamline_found_here").name == "beamline_found_here"
    assert str(tmp_path) not in sys.path
    sys.modules.pop("beamline_found_here")


def test_a_module_that_is_nowhere_says_where_was_looked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BeamlineError, match=f"neither installed nor in {tmp_path}"):
        load_beamline("no_such_beamline")


def test_a_module_that_lacks_a_package_names_that_package(tmp_path, monkeypatch):
    (tmp_path / "beamline_lacking.py").write_text("import no_such_package\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BeamlineError, match="No module named 'no_such_package'"):
        load_beamline("beamline_lacking")
