"""A Qt window shows a scan while it is flown, and may be closed: no row is lost by it."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("PyQt6") is None and find_spec("PySide6") is None,
        reason="Qt is not installed: neither PyQt6 nor PySide6 is there.",
    ),
]


def test_a_window_grows_with_the_scan_and_takes_nothing_from_it(beamline, tmp_path):
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("qt_scans.py")), str(tmp_path)],
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("SEEN ")]
    found = json.loads(line.removeprefix("SEEN "))

    for scan in found.values():
        assert scan["status"] == "success"
        # Rows begin with an exposure of the detectors, and once more after a pause.
        assert scan["expected"] - 2 <= scan["rows"] <= scan["expected"]
        assert scan["done"]
    # It grew while the scan ran, and showed all of it in the end.
    assert len(found["seen"]["drawn_in_flight"]) > 1
    for name in ("seen", "again", "paused"):
        assert found[name]["windows"] == 1
        assert found[name]["drawn"] == found[name]["rows"]
    assert found["closed"]["windows"] == 0
    # Ctrl-C pauses in spite of Qt's loop; what was left is flown afterwards.
    assert [name for name, scan in found.items() if scan["paused"]] == ["paused"]
