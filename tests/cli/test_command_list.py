"""The list of commands is written down, so that it needs no imports; it must be true."""

import subprocess
import sys

import pytest

from glidepath.cli.main import COMMANDS, load


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_what_the_command_itself_says(name):
    help_text = " ".join((load(name).help or "").split())
    assert help_text.startswith(COMMANDS[name].help)


def test_help_imports_nothing_that_is_slow():
    code = (
        "import sys\nfrom glidepath.cli.main import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('numpy', 'bluesky', 'ophyd_async', 'epicscorelibs', 'tiled', 'h5py')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
