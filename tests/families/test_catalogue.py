"""The table of the families and the pictures of their states say what is so."""

import importlib
import re
from pathlib import Path

import pytest

from glidepath.acceptance.family_table import known, table
from glidepath.devices.families import Tune
from glidepath.devices.families.state_machines import MACHINES, draw

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "devices.md"
FAMILIES = {family.title: family for family in known()}


def test_the_table_in_the_documentation_is_the_generated_one():
    assert table() in PAGE.read_text()


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.title)
def test_what_is_said_to_simulate_a_family_is_there(family):
    module, name = family.simulated.split(".")
    assert getattr(importlib.import_module(f"glidepath.simulation.{module}"), name)
    assert not family.machine or family.machine in MACHINES


def test_the_simulated_servers_have_every_pv_of_every_family():
    from glidepath.simulation.accelerator import Accelerator
    from glidepath.simulation.optics import Optics
    from glidepath.simulation.settings import Settings
    from glidepath.simulation.vacuum import Vacuum

    settings = Settings(0, 0, 0, 0)
    served = {
        name.removeprefix(settings.prefix)
        for kind in (Optics, Vacuum, Accelerator)
        for name in kind(settings).database
    }
    for family in FAMILIES.values():
        assert set(family.pvs()) <= served, family.title


@pytest.mark.parametrize("name", MACHINES)
def test_the_picture_of_a_machine_shows_its_states_and_causes(name, tmp_path):
    machine = MACHINES[name]
    draw(machine, tmp_path / "drawn.svg")
    kept = DOCS / "pictures" / f"{name}.svg"
    for file in (kept, tmp_path / "drawn.svg"):
        # Texts are texts in it, which a browser shows and a search finds.
        texts = set(re.findall(r">([^<>]+)</text>", file.read_text()))
        assert {machine.title, *machine.states, *(way.cause for way in machine.transitions)} <= (
            texts
        )
    assert f"pictures/{name}.svg" in PAGE.read_text()


@pytest.mark.parametrize("name", MACHINES)
def test_every_state_of_a_machine_can_be_reached(name):
    machine = MACHINES[name]
    reached, ways = {next(iter(machine.states))}, machine.ways()
    for _ in machine.states:
        reached |= {end for begin, end in ways if begin in reached}
    assert reached == set(machine.states)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.title)
def test_every_family_gets_the_tests_of_every_device(family):
    from glidepath.acceptance.family_table import OF_ALL

    assert family.suites()[OF_ALL] == ["answers", "has units", "has time stamps", "has the time"]


def test_the_tests_of_a_family_are_those_that_a_beamline_with_it_is_planned(monkeypatch):
    from glidepath.acceptance import Suite, Test, suite

    known_before = suite.all_suites()
    of_tunes = Suite(
        "mine",
        lambda beamline, name: [name] * isinstance(beamline.devices[name], Tune),
        [Test("sings", lambda trial: "", moves=True)],
    )
    monkeypatch.setattr(suite, "_suites", [*known_before, of_tunes])
    assert FAMILIES["tune"].suites()["mine"] == ["sings *"]
    assert "mine: sings *" in FAMILIES["tune"].line()
    assert "mine" not in FAMILIES["kicker"].suites()
    assert FAMILIES["vacuum valve"].suites()["valve or shutter that moves"] == ["toggles *"]
