"""Clients that nobody here wrote, unmodified, against the simulated servers.

Each package is used by a program of its own, in a process of its own: classic ophyd brings another
Channel Access library with it. Where a package is not installed, its test is skipped.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent


def tried(beamline, program):
    """Run a program; return what it found by class."""
    for name in ("vacuum", "accelerator"):
        beamline.start_also(name)
    done = subprocess.run(
        [sys.executable, str(HERE / program), beamline.prefix],
        env={**os.environ, **beamline.environment, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=170,
    )
    found = {line["class"]: line for line in map(json.loads, done.stdout.splitlines())}
    failed = {name: line["found"] for name, line in found.items() if not line["ok"]}
    return {name: line["found"] for name, line in found.items() if line["ok"]}, failed, done


@pytest.mark.skipif(
    importlib.util.find_spec("bact_bessyii_mls_ophyd") is None,
    reason="needs bact-bessyii-mls-ophyd and pyepics",
)
def test_the_classic_classes_of_the_ring_step_and_read(beamline):
    found, failed, done = tried(beamline, "bact_clients.py")
    assert failed == {}, done.stderr
    assert found["PowerConverter"] == pytest.approx([-0.2, 0.0, 0.2], abs=2e-3)
    rows, back = found["ResettingPowerConverter"]
    assert rows == pytest.approx([1.5, -1.5], abs=0.1)
    # What it had when it was staged.
    assert back == pytest.approx(1.0, abs=0.05)
    assert found["ScaledPowerConverter"] == pytest.approx(0.2, abs=0.03)
    assert found["SelectedPowerConverter"] == pytest.approx([0.1, 0.1], abs=0.03)
    packed, single = found["raw_to_scaled_data"]
    assert packed == pytest.approx(single, abs=0.005)
