"""The commands as a user types them, each in a process of its own."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time

import h5py
import pytest
from typer.testing import CliRunner

from glidepath.cli.main import app

GLIDEPATH = [sys.executable, "-m", "glidepath"]


def environment(beamline, **more):
    return {
        **os.environ,
        **beamline.environment,
        "GLIDEPATH_PREFIX": beamline.settings.prefix,
        "COLUMNS": "200",
        "PYTHONUNBUFFERED": "1",
        **more,
    }


def run(*arguments, timeout=90, **kwargs):
    return subprocess.run(
        [*GLIDEPATH, *arguments], capture_output=True, text=True, timeout=timeout, **kwargs
    )


def processes_with(text):
    """Return the command lines of running processes that contain a text."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    line = file.read().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if text in line and int(entry) != os.getpid():
                found.append(line)
    return found


@pytest.fixture(autouse=True)
def _nothing_left_behind(tmp_path):
    """What a command leaves behind ends by itself, before the next test looks at processes."""
    yield
    deadline = time.monotonic() + 240
    while processes_with(str(tmp_path)):
        assert time.monotonic() < deadline, processes_with(str(tmp_path))
        time.sleep(0.1)


def test_help_names_every_command():
    done = run("--help")
    assert done.returncode == 0
    for command in ("demo", "fly", "serve", "sim"):
        assert re.search(rf"\b{command}\b", done.stdout)


@pytest.mark.parametrize("command", ["rebin", "replay", "serve"])
def test_the_data_directory_is_that_of_the_configuration(command, tmp_path, monkeypatch):
    (tmp_path / "glidepath.toml").write_text('data = "of_the_file"\n')
    # A file stands there, so that each of them must say where it looked.
    (tmp_path / "of_the_file").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GLIDEPATH_DATA", raising=False)
    done = CliRunner().invoke(app, [command])
    assert done.exit_code == 2
    assert str(tmp_path / "of_the_file") in done.stderr


@pytest.mark.parametrize("command", ["rebin", "replay"])
def test_the_tiled_server_is_that_of_the_configuration(command, tmp_path, monkeypatch):
    (tmp_path / "glidepath.toml").write_text('tiled = "nowhere.example"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GLIDEPATH_TILED", raising=False)
    done = CliRunner().invoke(app, [command])
    assert done.exit_code == 2
    assert "'nowhere.example' is not the address of a Tiled server" in done.stderr


def test_a_dry_run_prints_the_preflight_and_moves_nothing(beamline, tmp_path):
    done = run(
        *"fly energy 370 470 2.5 --period 0.02 --dry-run".split(),
        *("--data", str(tmp_path)),
        env=environment(beamline),
    )
    assert done.returncode == 0, done.stderr
    assert "energy 370 to 470 eV" in done.stdout
    assert "2000 of 0.02 s" in done.stdout
    assert "Undulator mismatch" in done.stdout
    assert not list(tmp_path.rglob("*.h5"))


def test_a_panda_is_asked_for_by_name_where_the_simulation_has_one(beamline, tmp_path):
    done = run(
        *"fly energy 400 402 1 --detectors camera --trigger panda --step 0.05 --dry-run".split(),
        *("--data", str(tmp_path)),
        env=environment(beamline),
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"Rows +40 of 0\.049", done.stdout)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("fly enrgy 370 470 1", "(did you mean energy?); there are "),
        ("fly energy 370 470 1 --detectors mesh,nothing", "There is no device 'nothing'"),
        ("fly energy 370 470 1 --silent nothing", "There is no device 'nothing'"),
        ("fly energy 370 470 1 --detectors mesh,mesh --dry-run", "'mesh' is named twice"),
        ("preflight energy 370 470 1 --detectors mesh,mesh", "'mesh' is named twice"),
        ("fly energy 370 470 1 --detectors ,", "--detectors names no device"),
        ("fly energy 370 470 1 --detectors=", "--detectors names no device"),
        ("preflight energy 370 470 1 --detectors=", "--detectors names no device"),
        (
            "fly energy 370 470 1 --detectors mesh,energy",
            "energy flies and is recorded in any case",
        ),
        ("fly energy 3 470 1", "its range is"),
        ("fly energy 370 470 50", "its highest velocity is 10 eV/s"),
        ("fly energy 370 370 1", "start and stop must differ"),
        ("fly energy 370 470 -1", "above zero"),
        ("fly ring 370 470 1", "cannot be flown"),
        ("fly energy 370 470 1 --beamline no.such.module", "no.such.module"),
        ("fly energy 370 470 1 --tiled http://127.0.0.1:9", "127.0.0.1:9"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_status_2(beamline, tmp_path, arguments, sentence):
    # In this process, which has imported what each would have to import.
    line = [*arguments.split(), "--data", str(tmp_path)]
    done = CliRunner().invoke(app, line, env=environment(beamline))
    assert done.exit_code == 2, done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    # The catalogue's client may say that it tries again.
    lines = [line for line in done.stderr.splitlines() if line.strip() != "Retrying…"]
    assert len(lines) == 1
    assert not list(tmp_path.rglob("*.h5"))


@pytest.mark.parametrize("command", ["fly", "preflight"])
def test_what_is_no_number_is_shown(command):
    done = CliRunner().invoke(app, [command, "energy", "400eV", "402", "1"], env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert "'400eV' is not a number; give it without a unit" in done.stderr


def test_a_beamline_without_servers_is_said_to_be_silent(beamline, tmp_path):
    from glidepath.simulation import free_ports

    (port,) = free_ports(1)
    nowhere = environment(beamline, EPICS_CA_ADDR_LIST=f"127.0.0.1:{port}")
    done = run(*"fly energy 370 470 1 --data".split(), str(tmp_path), env=nowhere)
    assert done.returncode == 2
    assert "No server answers for" in done.stderr
    assert "EPICS_CA_ADDR_LIST" in done.stderr


def test_a_data_directory_that_cannot_be_made_is_refused(beamline, tmp_path):
    obstacle = tmp_path / "file"
    obstacle.write_text("")
    done = run(
        *"fly energy 370 470 1 --data".split(),
        str(obstacle / "data"),
        env=environment(beamline),
    )
    assert done.returncode == 2
    assert "cannot be made" in done.stderr


def test_a_flight_from_the_command_line_is_journalled_and_stored(beamline, tmp_path):
    done = run(
        *"fly energy 400 402 2 --detectors mesh --period 0.04 --data".split(),
        str(tmp_path),
        env=environment(beamline),
    )
    assert done.returncode == 0, done.stderr
    assert "success" in done.stdout
    (file,) = tmp_path.rglob("*.h5")
    with h5py.File(file, swmr=True) as content:
        rows = len(content["/entry/data/energy"])
        assert content["/entry"].attrs["NX_class"] == "NXentry"
    documents = [
        json.loads(line)
        for line in next((tmp_path / "journal").glob("*.jsonl")).read_text().splitlines()
    ]
    text = json.dumps(documents)
    assert f'"primary": {rows}' in text
    assert "baseline" in text
    file.unlink()
    refused = run("rebin", "-1", "--data", str(tmp_path), env=environment(beamline))
    assert refused.returncode == 2, refused.stderr
    assert f"The file {file} of this run is missing; bring it back first." in refused.stderr


def test_ctrl_c_stops_the_axis_and_closes_the_run(beamline, tmp_path):
    flying = subprocess.Popen(
        [*GLIDEPATH, *"fly energy 400 500 2 --detectors mesh --data".split(), str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(beamline),
    )
    try:
        for line in flying.stdout:
            if re.match(r"\d+ of \d+ rows", line):
                break
        flying.send_signal(signal.SIGINT)
        interrupted = time.monotonic()
        _, errors = flying.communicate(timeout=60)
    finally:
        flying.kill()
    assert flying.returncode == 1
    assert "aborted by the user" in errors
    assert "Traceback" not in errors
    assert time.monotonic() - interrupted < 60
    (journal,) = (tmp_path / "journal").glob("*.jsonl")
    last = journal.read_text().splitlines()[-1]
    assert '"abort"' in last
    assert "aborted by the user" in last
    (file,) = tmp_path.rglob("*.h5")
    with h5py.File(file, swmr=True) as content:
        assert len(content["/entry/data/energy"]) > 0


@pytest.mark.slow
def test_a_disk_that_is_full_in_mid_scan_is_said_with_what_was_kept(beamline, tmp_path):
    flying = subprocess.Popen(
        [*GLIDEPATH, *"fly energy 400 500 2 --detectors mesh --data".split(), str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(beamline),
    )
    try:
        for line in flying.stdout:
            if re.match(r"[1-9]\d* of \d+ rows", line):
                break
        _, hard = resource.prlimit(flying.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(flying.pid, resource.RLIMIT_FSIZE, (4096, hard))
        _, errors = flying.communicate(timeout=120)
    finally:
        flying.kill()
    assert flying.returncode == 1
    assert "Traceback" not in errors
    said = errors.strip().splitlines()[-1]
    kept = re.search(
        r"cannot be written.* Scan 1 \(\w{8}\) keeps (\d+) rows?, and energy stands\.$", said
    )
    assert kept, errors
    (file,) = tmp_path.rglob("*.h5")
    with h5py.File(file, swmr=True) as content:
        assert len(content["/entry/data/energy"]) == int(kept[1]) > 0


def test_the_demo_ends_with_a_fitted_line_and_leaves_nothing_running(tmp_path):
    done = run(
        *"demo --start 398 --stop 404 --velocity 2 --data".split(), str(tmp_path), timeout=110
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    fitted = float(re.search(r"First N2 line: ([\d.]+)", done.stdout).group(1))
    assert abs(fitted - 400.88) < 0.005
    (picture,) = tmp_path.rglob("spectrum.png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert not processes_with(str(tmp_path))
    assert not [line for line in processes_with("caRepeater") if "defunct" not in line]


def test_the_simulation_stops_on_ctrl_c_with_status_zero():
    simulation = subprocess.Popen(
        [*GLIDEPATH, "sim", "--prefix", "CLITEST:"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        seen = []
        for line in simulation.stdout:
            seen.append(line)
            if "Ctrl-C" in line:
                break
        simulation.send_signal(signal.SIGINT)
        _, errors = simulation.communicate(timeout=30)
    finally:
        simulation.kill()
    text = "".join(seen)
    assert simulation.returncode == 0, errors
    assert "EPICS_CA_ADDR_LIST" in text
    assert "CLITEST:PGM1:monoGetEnergy" in text
    assert not processes_with("CLITEST:")


@pytest.mark.slow
def test_a_shell_is_left_without_waiting_and_its_runs_get_into_tiled(beamline, tmp_path):
    done = run(
        *"shell --view none --beamline glidepath.beamlines.simulated --data".split(),
        str(tmp_path),
        input="%fly energy 400 400.6 1 0.05 mesh sample\nexit\n",
        timeout=240,
        env=environment(beamline),
    )
    assert done.returncode == 0, done.stderr
    assert "success" in done.stdout, done.stderr
    (journal,) = (tmp_path / "journal").glob("*.jsonl")
    # It was handed over: the shell itself had no catalogue to wait for.
    assert (tmp_path / "journal" / "waiting" / "local").is_dir()

    from glidepath.catalog.left_behind import wait_for_all

    assert wait_for_all(tmp_path, 240)
    assert journal.with_suffix(".published").exists()


@pytest.mark.slow
@pytest.mark.parametrize("presses", [1, 2, 8])
def test_a_scan_that_is_interrupted_is_in_tiled_with_its_reason_as_the_last_sentence(
    beamline, tmp_path, presses
):
    flying = subprocess.Popen(
        [*GLIDEPATH, *"fly energy 400 500 2 --detectors mesh --data".split(), str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(beamline),
    )
    try:
        for line in flying.stdout:
            if re.match(r"\d+ of \d+ rows", line):
                break
        for _ in range(presses):
            flying.send_signal(signal.SIGINT)
            time.sleep(0.3)
        _, errors = flying.communicate(timeout=240)
    finally:
        flying.kill()
    assert flying.returncode == 1, errors
    assert "aborted by the user" in errors.strip().splitlines()[-1]
    (journal,) = (tmp_path / "journal").glob("*.jsonl")
    # The command did not wait for Tiled: what it left behind brings the run there.
    from glidepath.catalog import LocalTiledServer, load_run, read_primary
    from glidepath.catalog.left_behind import wait_for_all

    assert wait_for_all(tmp_path, 240)
    assert journal.with_suffix(".published").exists(), errors

    with LocalTiledServer(tmp_path) as server:
        client = server.client()
        stored = load_run(client, journal.stem)
        assert stored.metadata["stop"]["exit_status"] == "abort"
        assert "aborted by the user" in stored.metadata["stop"]["reason"]
        assert len(read_primary(stored)["energy"]) > 0
        client.context.http_client.close()
