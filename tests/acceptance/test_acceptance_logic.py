"""What acceptance tests are planned, compared and written, without any hardware."""

import asyncio
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from glidepath.acceptance import Asked, Figure, LeftOut, Needs, Outcome, Result, planned_tests
from glidepath.acceptance.record import column_of
from glidepath.acceptance.report import changes, write_html, write_junit
from glidepath.acceptance.suites.triggers import triggers
from glidepath.acceptance.trial import Trial
from glidepath.beamlines import Beamline, BeamlineError, load_beamline
from glidepath.detectors import Camera

ROOT = Path(__file__).parents[2]
SIMULATED = "glidepath.beamlines.simulated"


def outcome(result=Result.PASS, when=0.0, **figures) -> Outcome:
    named = {name: Figure(value, "mm") for name, value in figures.items()}
    return Outcome("m1", "m1-tx", "moves", result, "as it is.", named, ("more",), 1.5, when)


def test_each_device_is_connected_before_anything_else_is_tested():
    planned = planned_tests(load_beamline(SIMULATED), ["focus", "mesh"])
    first = {device: next(p for p in planned if p.device == device) for device in ("focus", "mesh")}
    assert [one.title for one in first.values()] == ["focus connects", "mesh connects"]
    titles = [one.title for one in planned]
    assert "focus moves" in titles
    assert "mesh updates" in titles
    assert len(titles) == len(set(titles))


def test_what_moves_is_known_without_connecting():
    planned = planned_tests(load_beamline(SIMULATED), ["energy", "zebra", "camera"])
    moving = {one.title for one in planned if one.test.moves}
    assert {"energy flies", "energy resolves", "energy stops", "camera is as it says"} <= moving
    assert "zebra with camera triggers" in moving
    assert not {title for title in moving if title.endswith(("answers", "has limits", "refuses"))}


def test_a_box_is_not_tested_with_a_detector_that_takes_no_pulses(tmp_path):
    # As ADSimDetector: no wiring could make it follow, so that nothing has failed.
    devices = {
        "box": SimpleNamespace(name="box", axes={"axis": None}),
        "axis": SimpleNamespace(name="axis"),
        "camera": Camera("CAM:", "camera", driver="sim"),
    }
    beamline = Beamline("here", devices, axes=("axis",), safe_ranges={"axis": (-1.0, 1.0)})
    session = SimpleNamespace(
        beamline=beamline,
        devices=lambda names: [devices[name] for name in names],
        call=lambda work: asyncio.run(work()),
    )
    asked = Asked(frozenset(devices))
    trial = Trial(session, devices["box"], "box", "box with camera", Needs(), asked, tmp_path)
    with pytest.raises(LeftOut, match="camera takes no pulses"):
        triggers(trial)


def test_axes_of_parts_move_only_where_a_safe_range_is_declared():
    from glidepath.devices.families import MirrorM1

    devices = {"m1": MirrorM1("M1:", "m1")}
    beamline = Beamline("here", devices, safe_ranges={"m1-tx": (-1.0, 1.0)})
    titles = {one.title for one in planned_tests(beamline)}
    assert "m1-tx moves" in titles
    assert "m1-ty moves" not in titles
    assert "m1-ty has limits" in titles


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["nothing"], "There is no device 'nothing' at here to be tested; there are focus."),
        (["gone"], "It is at the workshop."),
    ],
)
def test_what_is_not_there_is_a_sentence(names, sentence):
    beamline = Beamline("here", {"focus": None}, unavailable={"gone": "It is at the workshop."})
    with pytest.raises(BeamlineError, match=sentence):
        planned_tests(beamline, names)


def test_what_no_test_knows_is_refused():
    beamline = Beamline("here", {}, acceptance={"focus": {"tolerence": 1.0}})
    with pytest.raises(BeamlineError, match="says 'tolerence', which no test knows; say some of"):
        Needs.of(beamline, "focus")
    gas = Beamline("here", {}, acceptance={"energy": {"nitrogen": {"signal": "a", "gas": "N2"}}})
    with pytest.raises(BeamlineError, match=r"\['nitrogen'\] of here says 'gas'"):
        Needs.of(gas, "energy")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("SAFE_RANGES = {'focus': (5, 1)}", "the safe range .* for 'focus'; give"),
        ("SAFE_RANGES = {'focus': 5}", "the safe range 5 for 'focus'; give"),
        ("SAFE_RANGES = [1]", "a SAFE_RANGES that is no mapping"),
        ("ACCEPTANCE = {'focus': 0.1}", "says 0.1 of 'focus' in ACCEPTANCE; give a mapping"),
    ],
)
def test_declarations_that_are_wrong_are_a_sentence(tmp_path, monkeypatch, text, sentence):
    name = f"beamline_{abs(hash(text))}"
    (tmp_path / f"{name}.py").write_text(
        f"def make_devices(prefix=None):\n    return {{}}\n{text}\n"
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BeamlineError, match=sentence):
        load_beamline(name)


def test_outcomes_survive_their_way_through_a_run():
    found = outcome(way=2.0)
    assert Outcome.from_json(found.to_json()) == found
    assert column_of(found, "from above/below") == "m1-tx_moves_from_above_below"


def test_a_test_that_fails_now_has_changed():
    before = [[outcome(when=1e9)]]
    (sentence,) = changes([outcome(Result.FAIL)], before)
    assert sentence == "m1-tx moves: passed on 2001-09-09 and fails now. as it is."
    (sentence,) = changes([outcome()], [[outcome(Result.FAIL, when=1e9)]])
    assert sentence == "m1-tx moves: failed on 2001-09-09 and passes now."
    assert changes([outcome()], before) == []
    assert changes([outcome(Result.LEFT_OUT)], before) == []


def test_a_figure_has_changed_if_it_is_out_of_its_scatter():
    before = [[outcome(way=value)] for value in (1.00, 1.02, 0.98, 1.01)]
    assert changes([outcome(way=1.05)], before) == []
    (sentence,) = changes([outcome(way=1.5)], before)
    assert sentence == "m1-tx moves: way is 1.5 mm, and was 1.005 mm."
    # Of two values nobody knows how much they scatter.
    assert changes([outcome(way=1.5)], before[:2]) == []


def test_the_page_shows_figures_history_and_escapes_what_servers_say(tmp_path):
    said = Outcome("m1", "m1-tx", "moves", Result.FAIL, "<b>&", {"way": Figure(2.0, "mm")})
    path = tmp_path / "report.html"
    write_html(path, [said], [[outcome(way=1.0)]], {"beamline": "here"})
    text = path.read_text()
    assert "&lt;b&gt;&amp;" in text
    assert "last time 1 mm" in text
    assert "<polyline points=" in text
    assert "passed on" in text


def test_junit_has_a_case_for_each_test(tmp_path):
    path = tmp_path / "junit.xml"
    outcomes = [outcome(way=2.0), outcome(Result.FAIL), outcome(Result.LEFT_OUT)]
    write_junit(path, [*outcomes, Outcome("x", "x", "a", Result.FAIL, "bell \a")])
    first, second = ElementTree.parse(path).getroot()
    assert (first.attrib["name"], first.attrib["tests"]) == ("m1", "3")
    assert (first.attrib["failures"], first.attrib["skipped"]) == ("1", "1")
    assert first[0].find("properties/property").attrib == {"name": "way", "value": "2 mm"}
    assert first[1].find("failure").attrib["message"] == "as it is."
    assert second[0].find("failure").attrib["message"] == "bell ?"


def test_the_plugin_costs_nothing_where_it_is_not_asked_for():
    code = (
        "import sys\nimport glidepath.acceptance.plugin\n"
        "print([m for m in ('numpy', 'bluesky', 'ophyd_async', 'aioca') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_plugin_is_registered_by_the_name_of_its_module():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    plugin = "glidepath.acceptance.plugin"
    assert project["entry-points"]["pytest11"] == {plugin: plugin}
    assert any(one.startswith("pytest") for one in project["optional-dependencies"]["test"])


def test_several_workers_are_refused():
    from glidepath.acceptance.items import Door

    config = SimpleNamespace(getoption=lambda name, default=None: 4, stash={})
    with pytest.raises(pytest.UsageError, match="made one after the other"):
        Door(config)
