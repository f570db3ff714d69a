"""Clients that nobody here wrote, unmodified, against the simulated servers.

Each package is used by a program of its own, in a process of its own: classic ophyd brings another
Channel Access library with it, and pins of these packages exclude each other. The variable
GLIDEPATH_FOREIGN_PYTHON names a Python that has them; where one is missing, its test is skipped.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

HERE = Path(__file__).parent
PYTHON = os.environ.get("GLIDEPATH_FOREIGN_PYTHON", sys.executable)


def tried(beamline, program, *packages):
    """Run a program; return what it found by class, and what failed."""
    there = f"import importlib.util as u; print([p for p in {packages!r} if not u.find_spec(p)])"
    missing = subprocess.run([PYTHON, "-c", there], capture_output=True, text=True).stdout.strip()
    if missing != "[]":
        pytest.skip(f"the packages {missing} are not installed for {PYTHON}")
    for name in ("vacuum", "accelerator"):
        beamline.start_also(name)
    done = subprocess.run(
        [PYTHON, "-W", "ignore", str(HERE / program), beamline.prefix],
        env={**os.environ, **beamline.environment},
        capture_output=True,
        text=True,
        timeout=280,
    )
    lines = list(map(json.loads, done.stdout.splitlines()))
    assert lines, done.stderr
    failed = {line["class"]: line["found"] for line in lines if not line["ok"]}
    return {line["class"]: line["found"] for line in lines if line["ok"]}, failed


def test_the_classic_classes_of_the_ring_step_and_read(beamline):
    found, failed = tried(beamline, "bact_clients.py", "bact_bessyii_mls_ophyd", "epics")
    assert failed == {}
    assert found["PowerConverter"] == pytest.approx([-0.2, 0.0, 0.2], abs=2e-3)
    rows, back = found["ResettingPowerConverter"]
    assert rows == pytest.approx([1.5, -1.5], abs=0.1)
    # What it had when it was staged.
    assert back == pytest.approx(1.0, abs=0.05)
    assert found["ScaledPowerConverter"] == pytest.approx(0.2, abs=0.03)
    assert found["SelectedPowerConverter"] == pytest.approx([0.1, 0.1], abs=0.03)
    packed, single = found["raw_to_scaled_data"]
    assert packed == pytest.approx(single, abs=0.005)


def test_device_classes_of_diamond_scan_and_count(beamline):
    found, failed = tried(beamline, "dodal_clients.py", "dodal")
    # Logic gates and soft inputs, and a TetrAMM's own records, are not simulated.
    assert set(failed) == {"Zebra", "TetrammDetector"}
    assert "AND1_ENA" in failed["Zebra"]
    assert "NumChannels" in failed["TetrammDetector"]
    stages = [name for name in found if name.endswith("Stage")]
    assert len(stages) == 8
    for name in stages:
        assert found[name] == [[0.0, 1.0], [0.5, 1.0], [1.0, 1.0]], name
    assert found["MinimalSlits"] == found["Slits"] == [0.5, 1.0]
    assert found["WrappedAxis"] == 8.0
    assert found["ScalerCard"] == [True, True]
    assert found["FastShutter"] == ["OFF"]


def test_device_classes_of_the_aps_scan_and_count(beamline):
    found, failed = tried(beamline, "apstools_clients.py", "apstools", "epics")
    # A status that is no record of two states, an area detector of ADCore 3.4 and an MCA record.
    assert set(failed) == {"ApsPssShutterWithStatus", "ad_creator", "Struck3820"}
    assert found["PVPositionerSoftDone"] == pytest.approx([-0.2, 0.2], abs=0.02)
    assert found["PVPositionerSoftDoneWithStop"] == pytest.approx([1.0, 2.0], abs=0.02)
    assert found["EpicsMotorShutter"] == found["EpicsOnOffShutter"] == ["close", "open"]
    for name in ("Dial", "Resolution", "Servo"):
        assert found[f"EpicsMotor{name}Mixin"][0] == [0.0, 0.5, 1.0]
    assert found["EpicsMotorServoMixin"][1] == "Enable"
    assert found["EpicsDescriptionMixin"][1] == "sample slide"
    assert found["AxisTunerMixin"] == [[0.0, 0.5, 1.0]]
    assert found["mb_creator"] == [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
