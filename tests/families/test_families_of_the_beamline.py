"""The families in the simulated beamline: by name, in sessions and on the command line."""

import asyncio
import os
import re
import subprocess
import sys

import aioca
import pytest

from glidepath.acceptance.family_table import known
from glidepath.beamlines import load_beamline, simulated
from glidepath.session import Session

NAMES = {*simulated.VACUUM, *simulated.ACCELERATOR}

MODULE = """
from glidepath.beamlines import simulated

PATH = {path!r}


def make_devices(prefix=None):
    return simulated.make_devices(prefix, panda=False, vacuum=True, accelerator=True)
"""


def test_what_is_not_started_is_not_there_and_says_why():
    devices = simulated.make_devices("X:", vacuum=False, accelerator=False)
    assert not NAMES & set(devices)
    beamline = load_beamline("glidepath.beamlines.simulated", "X:")
    if "valve1" not in beamline.devices:
        assert beamline.path == ()
        assert beamline.unavailable["valve1"].endswith("set the variables that it prints.")


def test_the_names_that_are_told_are_those_that_are_made():
    without = simulated.make_devices("X:", panda=False, vacuum=False, accelerator=False)
    devices = simulated.make_devices("X:", panda=False, vacuum=True, accelerator=True)
    assert set(devices) - set(without) == NAMES
    assert list(devices) == [device.name for device in devices.values()]


def test_the_quadrupoles_are_those_of_the_simulated_ring():
    from glidepath.beamlines.simulated_families import QUADRUPOLES
    from glidepath.simulation.ring_optics import QUADRUPOLES as SIMULATED

    assert QUADRUPOLES == SIMULATED


def test_a_path_with_an_unknown_name_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "blocked_beamline.py").write_text(MODULE.format(path=["valve9"]))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="lists 'valve9' in PATH, but its make_devices"):
        load_beamline("blocked_beamline", "X:")


@pytest.fixture
def everything(with_vacuum, tmp_path, monkeypatch):
    """A session with all families, all open."""
    with_vacuum.start_also("accelerator")
    path = ["beam_shutter", "valve1", "valve2", "undulator_lock"]
    (tmp_path / "whole_beamline.py").write_text(MODULE.format(path=path))
    monkeypatch.chdir(tmp_path)
    with Session(
        "whole_beamline", tmp_path / "data", catalogue=False, baseline=False, live=False
    ) as session:
        for device in session.devices(["beam_shutter", "valve1", "valve2", "photon_shutter"]):
            session.call(lambda device=device: opened(device))
        yield session


async def opened(device):
    await device.set("open")


@pytest.mark.slow
def test_every_family_answers_by_its_name(everything):
    assert everything.try_to_connect(sorted(NAMES)) == {}
    for name in sorted(NAMES):
        reading = everything.call(getattr(everything, name).read)
        # An idle axis has never been posted since the start: still it has a time.
        assert all(one["timestamp"] > 0 for one in reading.values()), name


@pytest.mark.slow
@pytest.mark.parametrize("family", tuple(known()), ids=lambda family: family.title)
def test_the_units_in_the_table_are_those_of_the_servers(everything, family):
    kind = type(family.device)
    device = next(d for d in everything.beamline.devices.values() if type(d) is kind)
    everything.devices([device.name])
    described = everything.call(device.describe)
    units = {key["units"] for key in described.values() if key.get("units")}
    assert ", ".join(sorted(units)) == family.units


@pytest.mark.slow
def test_what_a_device_refers_to_is_connected_with_it(everything):
    multiplexer = everything.multiplexer
    assert everything.call(multiplexer.locate)["readback"] == "Mux OFF"
    assert multiplexer.parts() == [everything.beamline.devices["converter"]]
    assert everything.call(multiplexer.parts()[0].readback.get_value) == pytest.approx(0, abs=0.1)


@pytest.mark.slow
def test_the_light_path_of_a_session_is_what_the_module_says(everything):
    assert [device.name for device in everything.light_path] == list(everything.beamline.path)
    assert [everything.call(device.objection) for device in everything.light_path] == [""] * 4


def typed(beamline, folder, words):
    """Type a command at a terminal whose simulation has a vacuum server."""
    return subprocess.run(
        [sys.executable, "-m", "glidepath", *words.split(), "--data", str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
        env={
            **os.environ,
            **beamline.environment,
            "GLIDEPATH_PREFIX": beamline.prefix,
            "GLIDEPATH_VACUUM": "1",
            "COLUMNS": "200",
        },
    )


@pytest.fixture
async def closed_valve(bench, everything):
    """The second valve, which is closed."""
    await asyncio.to_thread(everything.call, lambda: shut(everything.beamline.devices["valve2"]))
    yield
    await asyncio.to_thread(everything.call, lambda: opened(everything.beamline.devices["valve2"]))


async def shut(device):
    await device.set("closed")


@pytest.mark.slow
def test_a_closed_valve_is_an_objection_on_the_command_line(closed_valve, with_vacuum, tmp_path):
    for command in ("preflight", "fly"):
        done = typed(with_vacuum, tmp_path, f"{command} m2 0 2 2 --detectors sample --period 0.1")
        assert done.returncode == 2, done.stderr
        assert "valve2 is closed, so that there is no light behind it" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
    done = typed(with_vacuum, tmp_path, "preflight m2 0 2 2 --detectors sample --path valve1")
    assert done.returncode == 0, done.stdout
    done = typed(with_vacuum, tmp_path, "preflight m2 0 2 2 --detectors sample --path mesh")
    assert done.returncode == 2
    assert "mesh cannot be in the path of a scan" in done.stderr
    done = typed(with_vacuum, tmp_path, "fly m2 0 2 2 --detectors sample --shutter slits --path=")
    assert done.returncode == 2
    assert "slits cannot be the shutter of a scan" in done.stderr


@pytest.mark.slow
async def test_a_scan_from_the_command_line_closes_its_shutter(
    bench, everything, with_vacuum, tmp_path
):
    pulses = await bench.get("TRUTH:PSH1")
    done = await asyncio.to_thread(
        typed,
        with_vacuum,
        tmp_path / "flown",
        "fly m2 0 4 2 --detectors sample --period 0.1 --shutter photon_shutter",
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"success", done.stdout)
    # It was open, so that one pulse has closed it.
    assert await bench.get("TRUTH:PSH1") == pulses + 1
    assert await bench.get("PSH1:State1") == 5
    aioca.purge_channel_caches()


@pytest.mark.slow
def test_the_shell_has_the_families_though_its_servers_come_up_behind_the_prompt(tmp_path):
    said = "print('said', s.call(valve1.state), [d.name for d in s.light_path])\n"
    tune = "print('tune', s.call(tune.read)['tune-horizontal']['value'] > 0)\n"
    done = subprocess.run(
        [sys.executable, "-m", "glidepath", "shell", "--sim", "--no-tiled", "--data", "data"],
        input=f"{said}{tune}exit()\n",
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if "GLIDEPATH" not in key},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    path = ["beam_shutter", "valve1", "valve2", "photon_shutter", "undulator_lock"]
    assert f"said open {path}" in done.stdout
    assert "tune True" in done.stdout
    assert done.stderr == ""
