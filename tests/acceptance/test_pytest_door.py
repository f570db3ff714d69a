"""`pytest --beamline` and `glidepath check` against the simulated beamline, as they are typed."""

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from glidepath.acceptance.record import earlier_outcomes
from glidepath.lookback import RunIndex

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SIMULATED = "glidepath.beamlines.simulated"


@pytest.fixture
def focus_at_zero(beamline):
    """Bring the focus of the beamline of all tests to where the safe range lets it move."""
    from caproto.sync.client import write

    write(f"{beamline.prefix}m1.VAL", 0.0, notify=True, timeout=60, repeater=False)


def run(command, folder, **environment):
    return subprocess.run(
        [sys.executable, "-m", *command],
        capture_output=True,
        text=True,
        timeout=500,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
    )


def by_pytest(folder, *arguments, environment=None):
    """Run pytest in an empty folder."""
    command = ("pytest", "-p", "glidepath.acceptance.plugin", "--beamline", SIMULATED)
    # The plugins of other packages, of which there are many here, only take time.
    variables = {**(environment or {}), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return run((*command, "--no-catalogue", *arguments), folder, **variables)


def by_command(folder, *arguments):
    return run(("glidepath", "check", *arguments, "--data", str(folder / "data")), folder)


def test_what_is_not_allowed_to_move_is_only_read(beamline, tmp_path):
    done = by_pytest(tmp_path, "--devices", "focus", "--acceptance-report", "here", "-rs")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "which was not allowed; name focus with --move" in done.stdout
    assert re.search(r"\d+ passed, \d+ skipped", done.stdout)
    (suite,) = ElementTree.parse(tmp_path / "here" / "junit.xml").getroot()
    assert suite.attrib["failures"] == "0"
    assert "focus has limits" in (tmp_path / "here" / "report.html").read_text()
    (run,) = RunIndex(tmp_path / "glidepath-data").runs()
    assert (run.plan, run.status) == ("acceptance", "success")


def test_own_tests_have_devices_safe_ranges_and_figures(beamline, focus_at_zero, tmp_path):
    page = (ROOT / "docs" / "acceptance.md").read_text()
    (text,) = re.findall(r"^```python\n(import pytest.*?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "test_mine.py").write_text(text)
    done = by_pytest(tmp_path, "test_mine.py", "--move", "focus", "-v", "--junitxml", "mine.xml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
    assert "focus moves" not in done.stdout
    assert "play" in (tmp_path / "mine.xml").read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--devices", "nothing"), "There is no device 'nothing'"),
        (("--move", "nothing"), "There is no device or axis 'nothing'"),
        (("--beamline", "no_such_module"), "There is no module 'no_such_module'"),
    ],
)
def test_mistakes_at_pytest_are_one_sentence(beamline, tmp_path, arguments, sentence):
    done = by_pytest(tmp_path, *arguments)
    assert done.returncode == 4
    assert f"ERROR: {sentence}" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_an_axis_that_may_move_is_moved_put_back_and_compared_with_the_last_time(
    beamline, focus_at_zero, tmp_path
):
    done = by_command(tmp_path, "focus", "--move", "--report", str(tmp_path / "first"))
    assert done.returncode == 0, done.stdout + done.stderr
    for test in ("connects", "moves", "stops", "returns", "flies", "is ended"):
        assert f"pass  focus {test}: " in done.stdout
    assert "0 failed" in done.stdout
    again = by_command(tmp_path, "focus", "--report", str(tmp_path / "second"))
    assert again.returncode == 0, again.stdout
    assert "last time" in (tmp_path / "second" / "report.html").read_text()
    # Seven flights and more, and one entry for each of the two sessions of tests.
    runs = RunIndex(tmp_path / "data").runs(limit=None)
    assert sum(run.plan != "acceptance" for run in runs) > 3
    entries = re.findall(r"^## (.*)", (tmp_path / "data" / "logbook.md").read_text(), re.MULTILINE)
    assert len(entries) == 2
    assert all("acceptance" in entry for entry in entries)
    first, second = earlier_outcomes(tmp_path / "data", ["focus"])
    moved = {one.test: one for one in first}["moves"]
    assert moved.figures["way"].value == pytest.approx(400.0, rel=0.01)
    assert {one.test: one for one in second}["moves"].result == "left out"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("nothing",), "There is no device 'nothing'"),
        (("--move",), "Everything would move: name the devices that may"),
        (("detector", "counter", "camera"), "One detector at a time is measured"),
    ],
)
def test_mistakes_at_the_command_are_one_sentence(beamline, tmp_path, arguments, sentence):
    done = by_command(tmp_path, *arguments)
    assert done.returncode == 2
    assert sentence in " ".join(done.stderr.split())


def test_the_tests_can_be_listed(beamline, tmp_path):
    done = by_command(tmp_path, "focus", "--list")
    assert done.returncode == 0
    assert "focus connects\n" in done.stdout
    assert "focus flies  moves something" in done.stdout


@pytest.mark.timeout(600)
def test_a_panda_triggers_each_detector(beamline, tmp_path):
    pytest.importorskip("p4p")
    detectors = ("camera", "quad", "counter")
    done = by_pytest(
        tmp_path,
        *("--devices", "panda", "--move", ",".join(("panda", "energy", *detectors)), "-rs"),
        environment=beamline.environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = {one.part: one for one in earlier_outcomes(tmp_path / "glidepath-data", ["panda"])[0]}
    for detector in detectors:
        outcome = found[f"panda with {detector}"]
        assert outcome.result == "pass", outcome.sentence
        assert outcome.figures["rows"].value > 30
        assert "along energy" in outcome.sentence
