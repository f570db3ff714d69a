"""At the prompt: names, magics, completion, and sentences in place of tracebacks."""

import json
import re
import sys
import time

import bluesky.plan_stubs as bps
import numpy as np
import pytest
from bluesky.preprocessors import run_wrapper
from bluesky.utils import RunEngineInterrupted
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from glidepath.session import Session
from glidepath.shell import install
from glidepath.shell.shell import _welcome, names_in


@pytest.fixture(scope="module")
def session(beamline, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    # Without the ring: an injection in mid scan would mark rows, and the fit leaves them out.
    options = {"catalogue": False, "baseline": False, "silent": False, "live": False}
    with Session("glidepath.beamlines.simulated", folder, **options) as opened:
        yield opened


@pytest.fixture(scope="module")
def shell(session):
    configuration = Config()
    configuration.Completer.use_jedi = False
    configuration.HistoryManager.enabled = False
    # IPython puts a module of its own in the place of the program's.
    program = sys.modules["__main__"]
    shell = InteractiveShell(config=configuration)
    install(session, shell)
    yield shell
    shell.reset(new_session=False)
    sys.modules["__main__"] = program


def typed(shell, capsys, text):
    result = shell.run_cell(text)
    captured = capsys.readouterr()
    return result, captured.out, captured.err


def completions(shell, text):
    with provisionalcompleter():
        found = shell.Completer.completions(text, len(text))
        return [one.text.lstrip(".") for one in found]


def test_a_device_that_a_cell_names_is_connected_before_the_cell_runs(shell, session, capsys):
    result, out, _ = typed(shell, capsys, "s.call(sample.current.get_value) is not None")
    assert result.result is True, out


def test_names_are_found_in_python_and_in_magics():
    used = names_in("RE(flyscan([mesh], energy, 1, 2, 3))")
    assert set(used) == {"RE", "flyscan", "mesh", "energy"}
    assert names_in("%fly energy 1 2 3 mesh") == ["fly", "energy", "1", "2", "3", "mesh"]


def test_completion_shows_children_and_actions_and_not_the_plumbing(shell):
    found = completions(shell, "mesh.")
    assert "current" in found
    assert not {"add_children_as_readables", "set_name", "connect"} & set(found)
    assert "flyscan" in completions(shell, "flysc")
    assert "n2_check" in completions(shell, "n2_")
    assert "beam_damage_line" in completions(shell, "beam_d")


def test_where_all_shows_readback_limits_and_state(shell, capsys):
    _, out, _ = typed(shell, capsys, "%wa energy focus")
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert "eV" in lines["energy"]
    assert " to " in lines["energy"]
    assert "stands" in lines["focus"]


@pytest.mark.parametrize("width", [40, 60, 80])
def test_where_all_cuts_no_number_in_a_narrow_terminal(shell, capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    _, out, _ = typed(shell, capsys, "%wa energy focus")
    assert "…" not in out
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert max(map(len, out.splitlines())) <= width
    for name in ("energy", "focus"):
        assert re.fullmatch(r"-?\d+\.\d{4}", lines[name].split()[1]), out


def test_a_flight_ends_with_a_sentence_and_is_the_last_run(shell, session, capsys):
    result, out, err = typed(shell, capsys, "%fly energy 400.2 402.8 1 0.02 mesh sample")
    assert result.success, err
    assert "RunEngineResult" not in out
    assert "success; " in out
    assert session.last.start["command"] == "%fly energy 400.2 402.8 1 0.02 mesh sample"
    assert len(session.last.table()) > 100
    assert np.ptp(session.last.columns(["energy"])["energy"]) > 2.4

    _, out, _ = typed(shell, capsys, "%last")
    assert "sample / mesh" in out
    assert "First line" in out
    _, _, err = typed(shell, capsys, "%last 99")
    assert "There is no run 99" in err
    result, out, err = typed(shell, capsys, f"%last {session.last.start['scan_id']}")
    assert "sample / mesh" in out, err
    assert result.result.run.uid == session.last.run.uid
    _, out, _ = typed(shell, capsys, "%why")
    assert "success" in out
    _, out, _ = typed(shell, capsys, "runs")
    assert "flyscan" in out
    assert "400.2 to 402.8 eV" in out


def test_the_report_moves_nothing(shell, session, capsys):
    before = session.call(session.energy.locate)["setpoint"]
    _, out, _ = typed(shell, capsys, "%pre energy 410 420 1")
    assert "energy 410 to 420 eV" in out
    assert session.call(session.energy.locate)["setpoint"] == before


def test_detectors_are_read_once(shell, capsys):
    _, out, _ = typed(shell, capsys, "%ct mesh")
    assert "mesh" in out
    assert "A" in out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("%fly energy 400", "Write %fly AXIS START STOP VELOCITY"),
        ("%fly enrgy 400 401 1", "There is no device 'enrgy'"),
        ("RE(flyscan([mesh], energy, 3, 401, 1))", "its range is"),
        ("runs[99]", "There is no run 99"),
        ("%wa energy foo", "There is no device 'foo'"),
    ],
)
def test_a_mistake_is_a_sentence(shell, capsys, text, said):
    _, out, err = typed(shell, capsys, text)
    assert said in err
    assert "Traceback" not in out + err


def test_a_mistake_in_python_is_a_traceback_as_ever(shell, capsys):
    _, out, err = typed(shell, capsys, "flysacn(1)")
    assert "NameError" in out + err
    _, out, err = typed(shell, capsys, "np.array([1])[5]")
    assert "IndexError" in out + err


def test_a_pause_says_what_can_be_done_now(shell, capsys):
    shell.user_ns["paused"] = RunEngineInterrupted("paused")
    _, _, err = typed(shell, capsys, "raise paused")
    assert "RE.resume() goes on" in " ".join(err.split())


def test_why_says_of_a_scan_that_is_paused_how_to_go_on(shell, session, capsys):
    with pytest.raises(RunEngineInterrupted):
        session.RE(run_wrapper(bps.pause()))
    try:
        _, out, _ = typed(shell, capsys, "%why")
        said = " ".join(out.split())
        assert "0 rows, recording" in said
        assert "It is paused after 0 rows: RE.resume() goes on, RE.stop() ends it" in said
    finally:
        session.RE.stop()
    _, out, _ = typed(shell, capsys, "%why")
    assert "0 rows, success" in out
    assert "paused" not in out


def test_a_run_whose_process_died_is_told_by_the_greeting_and_by_why(shell, session, capsys):
    uid = "99999999-1111-4111-8111-111111111111"
    start = {"uid": uid, "scan_id": 900, "time": time.time() + 60.0, "plan_name": "flyscan"}
    journal = session.root / "journal" / f"{uid}.jsonl"
    assert "The newest run" not in _welcome(session)
    journal.write_text(json.dumps({"name": "start", "doc": start}) + "\n")
    try:
        said = "Its process ended without closing it, after 0 rows."
        assert f"The newest run, 99999999: {said}" in _welcome(session)
        _, out, _ = typed(shell, capsys, "%why")
        assert said in " ".join(out.split())
    finally:
        journal.unlink()


def test_a_shell_without_qt_says_so_and_shows_scans_in_the_terminal(capsys):
    from types import SimpleNamespace

    from glidepath.shell.shell import _use_qt

    def magic(*_):
        raise ImportError("Failed to import any of the following Qt binding modules: PyQt6")

    session = SimpleNamespace(live="matplotlib")
    _use_qt(session, SimpleNamespace(run_line_magic=magic))
    assert session.live == "terminal"
    said = " ".join(capsys.readouterr().err.split())
    assert "it needs PyQt6 or PySide6" in said
    assert said.endswith("Scans are shown in the terminal.")
