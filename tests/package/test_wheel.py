"""What is installed: one wheel of a platform for all Pythons."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def test_one_wheel_of_a_platform_serves_every_python(tmp_path):
    # A copy: the build leaves its traces where it runs.
    source = tmp_path / "source"
    unwanted = shutil.ignore_patterns("*.so", "__pycache__", "*.egg-info", ".*", "build")
    shutil.copytree(ROOT / "src", source / "src", ignore=unwanted)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    arguments = ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(tmp_path)]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", *arguments, str(source)],
        check=True,
        cwd=tmp_path,
    )
    (wheel,) = tmp_path.glob("*.whl")
    _, _, python, binary, platform = wheel.stem.split("-")
    assert (python, binary) == ("py3", "none")
    assert platform != "any"
    names = zipfile.ZipFile(wheel).namelist()
    assert "glidepath/py.typed" in names
    assert "glidepath/acceptance/templates/report.html" in names
    assert "glidepath/catalog/static/runs.html" in names
    compiled = [Path(name).name for name in names if "_inbox" in name]
    # Without a compiler there is none, and monitors are received in Python.
    if shutil.which("cc") or shutil.which("gcc"):
        (name,) = compiled
        assert "cpython" not in name
