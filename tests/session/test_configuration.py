"""One file and the environment say once for all what a session needs."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from glidepath.cli.main import app
from glidepath.configuration import ConfigurationError, load_configuration


def written(folder, text):
    (folder / "glidepath.toml").write_text(text)
    return folder


def test_the_file_is_found_in_a_folder_above_and_its_paths_start_there(tmp_path):
    written(tmp_path, 'beamline = "my_beamline"\ndata = "runs"\n[experiment]\nsample = "N2"\n')
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    found = load_configuration(below, {})
    assert found.beamline == "my_beamline"
    assert found.data == tmp_path / "runs"
    assert found.experiment == {"sample": "N2"}
    assert found.file == tmp_path / "glidepath.toml"


def test_what_is_given_goes_before_the_environment_and_that_before_the_file(tmp_path):
    written(tmp_path, 'beamline = "of_file"\ndata = "of_file"\nmains_frequency = 60\n')
    environment = {"GLIDEPATH_BEAMLINE": "of_environment", "GLIDEPATH_DATA": "of_environment"}
    found = load_configuration(tmp_path, environment, data="given")
    assert (found.beamline, found.data) == ("of_environment", Path("given"))
    assert found.mains_frequency == 60
    assert found.origins == {
        "beamline": "GLIDEPATH_BEAMLINE",
        "data": "given",
        "tiled": "default",
        "database": "default",
        "mains_frequency": str(tmp_path / "glidepath.toml"),
        "flush": "default",
        "flush_watched": "default",
        "view": "default",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("beamlin = 'x'", "sets 'beamlin'; what can be set is beamline, data"),
        ("mains_frequency = -50", "mains_frequency .* cannot be -50"),
        ("mains_frequency = true", "a number above zero"),
        ("beamline = 5", "it must be a text"),
        ("beamline = ", "is no TOML"),
        ("experiment = 5", "must be a table"),
    ],
)
def test_a_mistake_names_the_file_and_what_is_possible(tmp_path, text, said):
    with pytest.raises(ConfigurationError, match=said) as caught:
        load_configuration(written(tmp_path, text), {})
    assert str(tmp_path) in str(caught.value)


def test_the_command_shows_where_each_value_comes_from(tmp_path, monkeypatch):
    monkeypatch.chdir(written(tmp_path, "mains_frequency = 60\n"))
    monkeypatch.setenv("GLIDEPATH_FLUSH", "0.1")
    done = CliRunner().invoke(app, ["config"], env={"COLUMNS": "250"})
    assert done.exit_code == 0
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    assert "60" in lines["mains_frequency"]
    assert "glidepath.toml" in lines["mains_frequency"]
    assert "GLIDEPATH_FLUSH" in lines["flush"]
    assert "default" in lines["beamline"]
