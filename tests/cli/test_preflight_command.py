"""`glidepath preflight` as a user types it: a table, a picture, and nothing moves."""

import os
import re
import subprocess
import sys

import pytest
from caproto.sync.client import read
from typer.testing import CliRunner

from glidepath.cli.main import app


def run(beamline, tmp_path, text):
    return subprocess.run(
        [sys.executable, "-m", "glidepath", "preflight", *text.split(), "--data", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=90,
        env={
            **os.environ,
            **beamline.environment,
            "GLIDEPATH_PREFIX": beamline.settings.prefix,
            "COLUMNS": "200",
        },
    )


def setpoints(beamline):
    names = ("PGM1:monoSetEnergy", "PGM1:SetSweepVel", "m3.VAL", "m3.VELO", "PM1:NumPoints")
    return [read(beamline.prefix + name, timeout=5.0, repeater=False).data[0] for name in names]


def width_and_height(png):
    data = png.read_bytes()
    assert data.startswith(b"\x89PNG")
    return tuple(int.from_bytes(data[at : at + 4], "big") for at in (16, 20))


def test_a_scan_that_can_be_flown_is_described_and_drawn_and_nothing_moves(beamline, tmp_path):
    before = setpoints(beamline)
    picture = tmp_path / "plan.png"
    done = run(
        beamline,
        tmp_path / "data",
        "energy --region 370:395:2.0 --region 395:405:0.2 --region 405:470:1.0:0.5 --passes 2 "
        f"--there-and-back --plot {picture}",
    )
    assert done.returncode == 0, done.stderr
    text = done.stdout
    assert "energy 370 to 470 eV in 3 regions, 2 passes there and back" in text
    assert re.search(r"Region 3 +405 to 470 eV at 1 eV/s: 130 rows of 0.5 s, 65.0 s", text)
    assert "the run-ups and run-downs of 6 flights and the ways between" in text
    for label in ("ue48 in harmonic 1", "ue48_gap", "Undulator mismatch", "Disk", "Clocks"):
        assert label in text
    assert "Objection" not in text
    # Energy, gap and mismatch below each other.
    wide, high = width_and_height(picture)
    assert high > 0.8 * wide
    assert setpoints(beamline) == before
    assert not list(tmp_path.rglob("*.h5"))


def test_every_objection_is_a_sentence_and_the_status_is_2(beamline, tmp_path):
    picture = tmp_path / "plan.png"
    done = run(beamline, tmp_path, f"energy 500 600 12 --detectors mesh --plot {picture}")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    objections = re.findall(r"Objection +(.*\.)", done.stdout)
    assert len(objections) == 2
    assert "its highest velocity is 10 eV/s; choose a lower one." in objections[0]
    assert re.search(r"ue48 in harmonic 1 would go from .* choose another harmonic", objections[1])
    assert width_and_height(picture)[0] > 500


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("energy 370 470", "A scan needs START STOP VELOCITY"),
        ("energy 370 470 1 --region 370:470:1", "not both"),
        ("energy --region 370:470", "is no region"),
        ("energy --region 370:470:0", "flies nowhere"),
        ("energy 370 470 1 --passes 0", "cannot have 0 passes"),
    ],
)
def test_what_cannot_be_understood_is_one_sentence(words, sentence):
    done = CliRunner().invoke(app, ["preflight", *words.split()])
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert sentence in line
