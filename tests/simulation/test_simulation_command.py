"""The command ``glidepath sim``."""

import signal
import subprocess
import sys

import pytest
from channel_client import BOUND

COMMAND = """
import typer
from glidepath.cli.sim import sim

application = typer.Typer()
application.command()(sim)
application()
"""


def run(*arguments):
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_command_shows_the_variables_and_ends_cleanly(number):
    process = run("--prefix", "C:")
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "Ctrl-C" in line:
            break
    process.send_signal(number)
    rest, errors = process.communicate(timeout=BOUND)
    text = "".join(lines)
    assert process.returncode == 0, errors
    assert errors == ""
    assert "C:PGM1:monoGetEnergy" in text
    assert "C:RING:current" in text
    assert "C:V1:State1" in text
    assert "C:PMUXZR:name" in text
    assert 'export EPICS_CA_ADDR_LIST="127.0.0.1:' in text
    assert "has ended" in rest


def test_impossible_option_is_one_sentence_and_status_two():
    process = run("--readback-hz", "0")
    _, errors = process.communicate(timeout=BOUND)
    assert process.returncode == 2
    assert errors == "readback_Hz must be above 0, but 0.0 was asked.\n"
