"""The ESRF's ICAT by pyicat-plus, against the message broker and the servers that ESRF tests with.

The broker is a real STOMP broker (CoilMQ); ingester and ICAT+ are ESRF's own stand-ins.
"""

import json
import subprocess
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from unittest import mock

import pytest
from stand_in import wait_until

from glidepath.logbook import Delivery, Experiment, Message, Outbox, Refused, RunRecord, send_now
from glidepath.logbook.esrf import Esrf

pytestmark = pytest.mark.slow

backend = pytest.importorskip(
    "pyicat_plus_pytest_plugin._mock_backend", reason="pyicat-plus[test] is in the extra 'dev'"
)
KEY = "elogbook-00000000-0000-0000-0000-000000000000"


@pytest.fixture(scope="module", autouse=True)
def _what_cannot_be_connected_is_closed():
    """Do what stompest leaves out: it forgets the socket that no broker has answered."""
    from stompest.sync.transport import StompFrameTransport

    connect = StompFrameTransport.connect

    def connect_or_close(transport, timeout=None):
        try:
            connect(transport, timeout)
        except BaseException:
            transport.disconnect()
            raise

    with mock.patch.object(StompFrameTransport, "connect", connect_or_close):
        yield


def whole_json(path: Path) -> list[dict]:
    """Read a file that its server may be writing just now."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return json.loads(path.read_text())
        except json.JSONDecodeError:
            assert time.monotonic() < deadline, f"{path} stays in pieces"
            time.sleep(0.01)


class Servers:
    """Broker, ingester and ICAT+, each in a process of its own."""

    def __init__(self, folder: Path) -> None:
        from pyicat_plus_pytest_plugin import tcp

        self._tcp = tcp
        self._folder = folder
        self.broker_port = tcp.get_open_port()
        self.elog_port = tcp.get_open_port()
        self._processes: dict[str, subprocess.Popen] = {}
        self._news = tcp.tcp_message_server("json", validate_all=False)
        self._news_port, self.entries = self._news.__enter__()

    @property
    def destination(self) -> Esrf:
        return Esrf([f"localhost:{self.broker_port}"], f"http://localhost:{self.elog_port}")

    def start_elog(self) -> None:
        self._start("icatplus_server", f"--port={self.elog_port}", f"--port_out={self._news_port}")
        self._wait(self.elog_port)
        assert self.entries.get(timeout=60) == {"STATUS": "LISTENING"}

    def start_broker(self) -> None:
        port = self.broker_port
        self._processes["coilmq"] = backend.spawn_server(
            "coilmq", "-b", "127.0.0.1", "-p", str(port), quiet=True
        )
        self._wait(port)
        self._start("stomp_subscriber", "--host=localhost", f"--port={port}")

    def stop_broker(self) -> None:
        for name in ("coilmq", "stomp_subscriber"):
            process = self._processes.pop(name)
            process.kill()
            process.wait()

    def start_investigation(self) -> None:
        """Do what the beamline's control system does: the ingester stores nothing without."""
        from pyicat_plus.client.main import IcatClient

        client = IcatClient([f"localhost:{self.broker_port}"], queue_timeout=60)
        begin = datetime.fromtimestamp(1.7e9 - 86400, UTC)
        client.start_investigation(beamline="ID12", proposal="HG-123", start_datetime=begin)
        client.disconnect()
        wait_until((self._folder / "investigations.json").exists, 60)

    def datasets(self, below: Path) -> list[dict]:
        """Return what the ingester has stored of runs in a folder."""
        found = []
        for path in self._folder.glob("*.json"):
            if path.name != "investigations.json":
                found += whole_json(path)
        return [one for one in found if Path(one["location"]).is_relative_to(below)]

    def close(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()
        self._news.__exit__(None, None, None)

    def _start(self, module: str, *arguments: str) -> None:
        self._processes[module] = backend.spawn_server(
            module, *arguments, f"--icat_data_dir={self._folder}", quiet=True
        )

    def _wait(self, port: int) -> None:
        # A minute: pyicat-plus's own five seconds are too short on a busy machine.
        self._tcp.wait_tcp_online("localhost", port, timeout=60)


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    running = Servers(tmp_path_factory.mktemp("icat"))
    try:
        running.start_broker()
        running.start_elog()
        running.start_investigation()
        yield running
    finally:
        running.close()


@pytest.fixture
def servers(started, monkeypatch):
    monkeypatch.setenv("GLIDEPATH_ESRF_KEY", KEY)
    while not started.entries.empty():
        started.entries.get()
    return started


def run_in(folder: Path, number: int = 7, **said) -> RunRecord:
    folder.mkdir(parents=True, exist_ok=True)
    experiment = Experiment(
        beamline="ID12",
        proposal={"number": "HG-123", "title": "Nitrogen"},
        sample="N2 gas cell",
        element="N",
        edge="K",
        **said,
    )
    return RunRecord(
        f"{number:08d}-uid",
        number,
        "flyscan",
        "flyscan energy",
        1.7e9,
        1.7e9 + 5,
        "success",
        "100 rows",
        folder=str(folder),
        experiment=experiment.to_start_document(),
    )


def entries_until(servers: Servers, complete: Callable[[list[dict]], object]) -> list[dict]:
    """Return what the e-log has handed on, as soon as it is complete.

    The server hands on a little later than it answers: also an entry of the test before may come
    now.
    """
    found: list[dict] = []

    def seen() -> object:
        while not servers.entries.empty():
            found.append(servers.entries.get())
        return complete(found)

    wait_until(seen, 60)
    return found


def texts_of(entries: list[dict]) -> list[str]:
    return [part["text"] for entry in entries for part in entry.get("content", ())]


def about(folder: Path, entries: list[dict]) -> list[str]:
    """Return the texts that name files below a folder."""
    return [text for text in texts_of(entries) if str(folder) in text]


def test_a_run_is_a_dataset_and_an_entry(servers, tmp_path):
    run = run_in(tmp_path / "run")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # unknown names of metadata would be dropped with one
        servers.destination.send(Message("run", run=run))
    wait_until(lambda: servers.datasets(tmp_path), 60)
    (dataset,) = servers.datasets(tmp_path)
    assert dataset["location"] == run.folder
    assert dataset["name"] == "000007_00000007"
    assert dataset["investigation"]["name"].lower().replace("-", "") == "hg123"
    parameters = {one["name"]: one["value"] for one in dataset["parameters"]}
    assert parameters["scanType"] == "continuous"
    assert parameters["definition"] == "XAS"
    assert "100 rows" in parameters["Notes_note_00"]
    entries = entries_until(servers, lambda found: about(tmp_path, found))
    (said,) = set(about(tmp_path, entries))
    assert "Scan 7 (00000007): flyscan energy" in said
    assert "N2 gas cell" in said


def test_the_picture_of_a_run_is_in_the_elog(servers, tmp_path):
    run = run_in(tmp_path / "run")
    (tmp_path / "run" / "spectrum.png").write_bytes(b"\x89PNG not really")
    servers.destination.send(Message("run", run=run))
    entries_until(servers, lambda found: about(tmp_path, found) and "base64" in json.dumps(found))


def test_a_broker_that_was_restarted_meanwhile_gets_each_dataset_once(servers, tmp_path):
    box = Outbox(tmp_path)
    runs = [run_in(tmp_path / f"run{number}", number) for number in range(1, 4)]
    box.put("esrf", Message("run", run=runs[0], created=1.0))
    delivery = Delivery(box, [servers.destination], first_pause=0.05, longest_pause=0.2)
    try:
        wait_until(lambda: len(servers.datasets(tmp_path)) == 1, 60)
        servers.stop_broker()
        for number, run in enumerate(runs[1:], 2):
            box.put("esrf", Message("run", run=run, created=float(number)))
        delivery.wake()
        wait_until(lambda: "does not answer" in delivery.standing["esrf"].trouble, 60)
        assert len(box.waiting("esrf")) == 2
        servers.start_broker()
        wait_until(lambda: len(servers.datasets(tmp_path)) == 3, 60)
        wait_until(lambda: not box.waiting("esrf"), 60)
    finally:
        delivery.close()
    assert sorted(one["name"] for one in servers.datasets(tmp_path)) == sorted(
        run.name for run in runs
    )
    entries = entries_until(servers, lambda found: len(about(tmp_path, found)) >= 3)
    told = about(tmp_path, entries)
    assert len(told) == 3
    for run in runs:
        assert any(f"Scan {run.scan_id} " in text for text in told)


def test_a_restart_while_nothing_is_sent_loses_no_dataset(servers, tmp_path):
    """A connection that was kept would take the next one into nothing."""
    destination = servers.destination
    destination.send(Message("run", run=run_in(tmp_path / "one", 1)))
    wait_until(lambda: len(servers.datasets(tmp_path)) == 1, 60)
    servers.stop_broker()
    servers.start_broker()
    destination.send(Message("run", run=run_in(tmp_path / "two", 2)))
    wait_until(lambda: len(servers.datasets(tmp_path)) == 2, 60)


def test_a_note_is_an_entry_and_one_on_no_run_is_refused(servers, tmp_path):
    run = run_in(tmp_path / "run")
    servers.destination.send(Message("note", "The beam was unstable.", run))
    entries_until(servers, lambda found: "The beam was unstable." in " ".join(texts_of(found)))
    assert servers.datasets(tmp_path) == []
    with pytest.raises(Refused, match="belongs to no proposal"):
        servers.destination.send(Message("note", "hello"))


def test_a_run_without_proposal_is_refused_and_holds_up_no_other(servers, tmp_path):
    box = Outbox(tmp_path)
    lost = RunRecord("uid-1", 1, "flyscan", "flyscan", 1.0, 2.0, "success", "")
    box.put("esrf", Message("run", run=lost, created=1.0))
    box.put("esrf", Message("run", run=run_in(tmp_path / "run"), created=2.0))
    said: list[str] = []
    send_now(box, [servers.destination], said.append)
    wait_until(lambda: servers.datasets(tmp_path), 60)
    ((_, reason),) = box.refused("esrf")
    assert "names no proposal and beamline" in reason


def test_without_the_key_the_entry_waits_and_the_sentence_names_it(servers, tmp_path, monkeypatch):
    monkeypatch.delenv("GLIDEPATH_ESRF_KEY")
    box = Outbox(tmp_path)
    box.put("esrf", Message("run", run=run_in(tmp_path / "run")))
    said: list[str] = []
    send_now(box, [servers.destination], said.append)
    assert "set GLIDEPATH_ESRF_KEY" in said[0]
    assert len(box.waiting("esrf")) == 1
