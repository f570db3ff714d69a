"""The pictures of the guide are made by a script, which still makes each of them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from glidepath.devices.families.state_machines import MACHINES

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed.")
def test_every_picture_of_the_guide_is_made_anew_and_shows_something(tmp_path):
    done = subprocess.run(
        [sys.executable, str(PICTURES / "make.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert done.returncode == 0, done.stderr
    there = {path.name for path in PICTURES.iterdir() if path.suffix in (".png", ".svg")}
    made = {path.name for path in tmp_path.iterdir()}
    # The others are the pictures of state machines, which the catalogue of the devices makes.
    assert made == there - {f"{name}.svg" for name in MACHINES}
    for path in tmp_path.glob("*.png"):
        with Image.open(path) as made, Image.open(PICTURES / path.name) as kept:
            assert made.size == kept.size
            assert len(made.convert("RGB").getcolors(maxcolors=2**24)) > 50
    assert "rows" in (tmp_path / "terminal.svg").read_text()


def test_every_picture_is_in_a_page():
    pages = "".join(path.read_text() for path in PICTURES.parent.glob("*.md"))
    for path in PICTURES.iterdir():
        if path.suffix in (".png", ".svg"):
            assert f"(pictures/{path.name})" in pages, path.name
