"""The examples of the page "Extending" fly, and are found by their entry points."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from lab_beamline.delay_generator import DelayGenerator
from lab_beamline.monochromator import LabMonochromator
from lab_beamline.motion import VelocityAndSetpoint
from lab_beamline.pulsed_meter import PulsedMeter

from glidepath import Triggers, flyscan
from glidepath.devices import EnergyAxis
from glidepath.extend import back_end_for, frame_source_for
from glidepath.simulation import Truth
from glidepath.storage import read_columns, use_data_root

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
SPACE = 1e-6


def fly(RE, plan):
    """Fly, and return the primary table and the documents by name."""
    documents = []
    RE(plan, lambda name, document: documents.append((name, document)))
    named = {name: [d for n, d in documents if n == name] for name, _ in documents}
    (stop,) = named["stop"]
    assert stop["exit_status"] == "success", stop["reason"]
    path = named["stream_resource"][0]["uri"].removeprefix("file://localhost")
    (primary,) = [d for d in named["descriptor"] if d["name"] == "primary"]
    return read_columns(Path(path), "/entry/data", list(primary["data_keys"])), named


def connect(RE, *devices):
    from ophyd_async.plan_stubs import ensure_connected

    RE(ensure_connected(*devices))


def value(RE, signal):
    import asyncio

    return asyncio.run_coroutine_threadsafe(signal.get_value(), RE.loop).result(10)


def test_a_monochromator_of_a_lab_flies_with_its_back_end(beamline, RE, tmp_path):
    use_data_root(tmp_path)
    mono = LabMonochromator(f"{beamline.settings.prefix}m3", (200.0, 1000.0), "lab_mono")
    energy = EnergyAxis(mono, name="energy")
    connect(RE, mono, energy)
    before = value(RE, mono.velocity)
    table, _ = fly(RE, flyscan([], energy, 400.0, 402.0, 1.0, period=0.1))
    assert 18 <= len(table["energy"]) <= 20
    assert np.all(np.diff(table["energy"]) > 0)
    assert np.all((table["energy_lower"] >= 400.0 - SPACE) & (table["energy_upper"] <= 402.0))
    assert value(RE, mono.velocity) == before


def test_a_trigger_box_and_a_detector_of_a_lab_make_rows(beamline, RE, tmp_path):
    from glidepath.beamlines.simulated import make_devices

    use_data_root(tmp_path)
    prefix = beamline.settings.prefix
    devices = make_devices(prefix)
    energy = devices["energy"]
    box = DelayGenerator(f"{prefix}PULSE:", "delays")
    meter = PulsedMeter(f"{prefix}KEI2:", "meter")
    connect(RE, *energy.parts(), energy, box, meter)
    before = {signal: value(RE, signal) for signal in (box.number, box.period, meter.cycles)}
    triggers = Triggers(box, period=0.1, exposure=0.06)
    table, _ = fly(RE, flyscan([meter], energy, 400.0, 402.0, 1.0, triggers=triggers))
    # 2 s, less what is left free for a late start and the last exposure.
    assert len(table["energy"]) == 15
    np.testing.assert_allclose(np.diff(table["sample_time"]), 0.1, atol=1e-3)
    np.testing.assert_allclose(table["sample_duration"], 0.06, rtol=1e-3)
    assert np.all(np.isfinite(table["meter"]))
    assert np.all((table["energy_lower"] >= 400.0) & (table["energy_upper"] <= 402.0))
    with Truth(beamline.settings.truth) as truth:
        np.testing.assert_allclose(truth.energy(table["sample_time"]), table["energy"], atol=0.02)
    assert {signal: value(RE, signal) for signal in before} == before


def test_an_axis_of_a_lab_is_flown_by_what_is_registered():
    mono = LabMonochromator("NONE:", (1.0, 2.0), "mono")
    assert isinstance(back_end_for(EnergyAxis(mono, name="energy")), VelocityAndSetpoint)
    meter = PulsedMeter("NONE:", "meter")
    assert frame_source_for(meter) is frame_source_for(meter)
    assert frame_source_for(meter).name == "meter"


ENTRY_POINTS = """
[glidepath.back_ends]
lab = lab_beamline.motion
[glidepath.trigger_sources]
lab = lab_beamline.delay_generator
[glidepath.frame_sources]
lab = lab_beamline.pulsed_meter
"""

FOUND = """
import sys
from types import SimpleNamespace
from glidepath.extend import back_end_for
from glidepath.detectors import frame_source_for
from glidepath.flyers import source_for
from ophyd_async.core import Device
from lab_beamline.monochromator import LabMonochromator

assert "lab_beamline.motion" not in sys.modules
mono = LabMonochromator("NONE:", (1.0, 2.0), "mono")
print(type(back_end_for(mono)).__name__)
for find in (lambda d: source_for(d, mono), frame_source_for):
    try:
        find(Device("nothing"))
    except Exception as error:
        print(type(error).__name__)
for name in ("delay_generator", "pulsed_meter"):
    print(f"lab_beamline.{name}" in sys.modules)
"""


def test_an_installed_package_is_found_by_its_entry_points(tmp_path):
    installed = tmp_path / "lab_beamline-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-beamline\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(ENTRY_POINTS)
    path = os.pathsep.join([str(tmp_path), str(EXAMPLES), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", FOUND],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        "VelocityAndSetpoint",
        "PreflightError",
        "ValueError",
        "True",
        "True",
    ]
