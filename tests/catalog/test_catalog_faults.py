"""Whatever happens to Tiled, the scan goes on, the journal is complete, and a replay mends it."""

import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import h5py
import numpy as np
import pytest
from written_scan import GrowingFile, Scan, close, wait_for

from glidepath.catalog import (
    CatalogError,
    Publisher,
    list_runs,
    load_run,
    open_catalog,
    read_baseline,
    read_journal,
    read_primary,
    replay_all,
    replay_run,
    unpublished,
)

pytestmark = pytest.mark.slow


def _names(path):
    return [name for name, _ in read_journal(path)]


def test_a_server_killed_in_mid_run_leaves_a_journal_that_a_replay_puts_in(
    server, tmp_path, caplog
):
    journal = tmp_path / "journal"
    publisher = Publisher(journal, server.client)
    file = GrowingFile(server.data_root / "killed" / "glidepath.h5")
    scan = Scan(publisher, file.path)
    file.grow(1000)
    scan.announce(1000)
    client = server.client()
    wait_for(lambda: [run.uid for run in list_runs(client, 1)] == [scan.uid])
    runs = len(list_runs(client, 1000))
    close(client)

    os.kill(server.process_id, signal.SIGKILL)
    wait_for(lambda: server.process_id is None)
    slowest = 0.0
    for _ in range(20):
        file.grow(100)
        before = time.perf_counter()
        scan.announce(file.rows)
        slowest = max(slowest, time.perf_counter() - before)
    scan.stop("success", "")
    file.close()
    assert slowest < 1  # a dead server would block a direct writer for minutes
    wait_for(lambda: publisher.status.state == "journal only")
    assert not publisher.wait_published(scan.uid, 30)
    status = publisher.close()
    assert status.to_replay == (scan.uid,)
    assert status.error
    assert [r.levelno for r in caplog.records if "catalog" in r.name] == [logging.WARNING]
    path = journal / f"{scan.uid}.jsonl"
    assert _names(path).count("stream_datum") == 21 * 5
    assert _names(path)[-1] == "stop"
    assert unpublished(journal) == [path]

    key = server.api_key
    server.start().wait_ready()
    assert server.api_key != key
    client = server.client()
    assert load_run(client, scan.uid).metadata.get("stop") is None
    results = replay_all(journal, client)
    assert [(r.uid, r.action) for r in results] == [(scan.uid, "rewritten")]
    assert "in place of the one before" in str(results[0])
    for _ in range(2):
        table = read_primary(load_run(client, scan.uid))
        assert all(np.array_equal(v, np.arange(3000)) for v in table.values())
        assert len(read_baseline(load_run(client, scan.uid))["ring_current"]) == 1
        assert len(list_runs(client, 1000)) == runs
        assert replay_run(path, client).action == "present"
    assert replay_all(journal, client) == []
    with h5py.File(file.path) as kept:
        assert kept["/entry/data/energy"].shape == (3000,)
    close(client)


def test_without_a_server_at_the_start_the_journal_has_it_all_and_later_runs_are_published(
    server, client, growing_file, tmp_path, unused_port
):
    address = [f"http://127.0.0.1:{unused_port}"]
    publisher = Publisher(tmp_path / "journal", lambda: open_catalog(address[0], server.api_key))
    lost = Scan(publisher, growing_file.path)
    growing_file.grow(10)
    lost.announce(10)
    lost.stop("fail", "Limit switch.")
    assert not publisher.wait_published(lost.uid, 30)
    assert publisher.status.state == "journal only"
    assert "No Tiled server answers" in publisher.status.error

    address[0] = server.uri
    later = Scan(publisher, growing_file.path)
    later.stop()
    assert publisher.wait_published(later.uid)
    status = publisher.close()
    assert (status.state, status.error, status.to_replay) == ("ok", None, (lost.uid,))

    result = replay_run(lost.uid[:8], client, folder=tmp_path / "journal")
    assert result.action == "written"
    run = load_run(client, lost.uid)
    assert run.metadata["stop"]["reason"] == "Limit switch."
    assert len(read_primary(run)["energy"]) == 10


def test_a_wrong_key_leaves_the_journal_and_says_so(server, growing_file, tmp_path):
    publisher = Publisher(tmp_path / "journal", lambda: open_catalog(server.uri, "f00d"))
    scan = Scan(publisher, growing_file.path)
    scan.stop()
    assert not publisher.wait_published(scan.uid, 30)
    assert "refuses the API key" in publisher.close().error
    assert _names(tmp_path / "journal" / f"{scan.uid}.jsonl")[-1] == "stop"


def test_without_tiled_the_journal_is_kept(growing_file, tmp_path):
    publisher = Publisher(tmp_path / "journal")
    scan = Scan(publisher, growing_file.path)
    scan.stop()
    status = publisher.close()
    assert (status.state, status.to_replay) == ("journal only", (scan.uid,))
    assert _names(tmp_path / "journal" / f"{scan.uid}.jsonl")[-1] == "stop"
    with pytest.raises(CatalogError, match="closed"):
        publisher("start", {})


def test_a_server_that_hangs_costs_the_run_nothing_and_closing_is_bounded(server, tmp_path):
    publisher = Publisher(tmp_path / "journal", server.client)
    file = GrowingFile(server.data_root / "hanging" / "glidepath.h5")
    first = Scan(publisher, file.path)
    first.stop()
    assert publisher.wait_published(first.uid)
    os.kill(server.process_id, signal.SIGSTOP)
    try:
        scan = Scan(publisher, file.path)
        file.grow(100)
        file.close()
        scan.announce(100)
        scan.stop()
        status = publisher.close(timeout=1.0)
        assert scan.uid in status.to_replay
        path = tmp_path / "journal" / f"{scan.uid}.jsonl"
        assert _names(path)[-1] == "stop"
    finally:
        os.kill(server.process_id, signal.SIGCONT)
    publisher._threads[1].join(30)
    client = server.client()
    replay_run(path, client)
    assert len(read_primary(load_run(client, scan.uid))["energy"]) == 100
    close(client)


def test_a_catalogue_whose_database_is_locked_costs_the_run_nothing(server, tmp_path):
    publisher = Publisher(tmp_path / "journal", server.client)
    file = GrowingFile(server.data_root / "locked" / "glidepath.h5")
    scan = Scan(publisher, file.path)
    with closing(sqlite3.connect(server.folder / "catalog.db", timeout=20)) as locking:
        locking.execute("BEGIN EXCLUSIVE")
        slowest = 0.0
        for _ in range(10):
            file.grow(100)
            before = time.perf_counter()
            scan.announce(file.rows)
            slowest = max(slowest, time.perf_counter() - before)
        scan.stop()
        path = tmp_path / "journal" / f"{scan.uid}.jsonl"
        wait_for(lambda: path.exists() and _names(path)[-1] == "stop")
        locking.rollback()
    file.close()
    assert slowest < 1
    if not publisher.wait_published(scan.uid, 60):
        assert publisher.status.to_replay == (scan.uid,)
    publisher.close()
    client = server.client()
    replay_run(path, client)
    assert replay_run(path, client).action == "present"
    assert len(read_primary(load_run(client, scan.uid))["energy"]) == 1000
    close(client)


def test_when_too_many_documents_wait_the_run_is_left_for_replay_with_a_complete_journal(
    server, client, growing_file, tmp_path
):
    publisher = Publisher(tmp_path / "journal", server.client, queue_limit=50)
    scan = Scan(publisher, growing_file.path)
    growing_file.grow(1000)
    for rows in range(1, 1001):
        scan.announce(rows)
    scan.stop()
    assert not publisher.wait_published(scan.uid, 30)
    assert "too slow" in publisher.close().error
    path = tmp_path / "journal" / f"{scan.uid}.jsonl"
    assert _names(path).count("stream_datum") == 5000
    replay_run(path, client)
    assert len(read_primary(load_run(client, scan.uid))["energy"]) == 1000


def test_a_disk_that_takes_no_journal_is_reported_and_tiled_still_gets_the_run(
    server, growing_file, tmp_path
):
    (tmp_path / "journal").touch()  # a file where the folder should be
    publisher = Publisher(tmp_path / "journal", server.client)
    scan = Scan(publisher, growing_file.path)
    wait_for(lambda: publisher.status.state == "no journal")
    assert "cannot be written" in publisher.status.error
    scan.stop()
    assert publisher.wait_published(scan.uid)
    publisher.close()


def test_a_journal_cut_short_is_replayed_and_says_that_it_was(
    server, client, growing_file, tmp_path
):
    publisher = Publisher(tmp_path / "journal")
    scan = Scan(publisher, growing_file.path)
    growing_file.grow(200)
    scan.announce(100)
    scan.announce(200)
    scan.stop()
    publisher.close()
    path = tmp_path / "journal" / f"{scan.uid}.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    # Killed while it wrote the last StreamDatum but five.
    path.write_bytes(b"".join(lines[:-6]) + lines[-6][:40])

    assert replay_run(path, client).action == "written"
    run = load_run(client, scan.uid)
    assert run.metadata["stop"]["exit_status"] == "fail"
    assert "killed" in run.metadata["stop"]["reason"]
    assert len(read_primary(run)["energy"]) == 100
    assert replay_run(path, client).action == "present"


def _alive(process_id: int) -> bool:
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_killed_process_leaves_every_document_and_no_server(tmp_path):
    program = (
        "import os, signal, sys, time; from pathlib import Path; from written_scan import Scan\n"
        "from glidepath.catalog import LocalTiledServer, Publisher\n"
        "root = Path(sys.argv[1])\n"
        "server = LocalTiledServer(root).start()\n"
        "scan = Scan(Publisher(root / 'journal'), root / 'none.h5')\n"
        "for i in range(1, 101): scan.announce(i)\n"
        "path = root / 'journal' / f'{scan.uid}.jsonl'\n"
        "server.wait_ready(); print(server.process_id, flush=True)\n"
        "while not path.exists() or path.read_bytes().count(b'stream_datum') < 500:\n"
        "    time.sleep(0.01)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.path.dirname(__file__)}
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env=environment,
        timeout=60,
        stdout=subprocess.PIPE,
    )
    assert ended.returncode == -signal.SIGKILL
    wait_for(lambda: not _alive(int(ended.stdout)), timeout=10)
    (path,) = unpublished(tmp_path / "journal")
    assert _names(path).count("stream_datum") == 500


def test_a_run_that_is_still_recorded_is_not_replayed(client, growing_file, tmp_path):
    publisher = Publisher(tmp_path / "journal")
    scan = Scan(publisher, growing_file.path)
    path = tmp_path / "journal" / f"{scan.uid}.jsonl"
    wait_for(lambda: path.exists() and path.stat().st_size)
    with pytest.raises(CatalogError, match="still being recorded"):
        replay_run(path, client)
    assert unpublished(tmp_path / "journal") == []
    scan.stop()
    publisher.close()


def test_a_run_that_is_still_on_its_way_into_tiled_is_not_replayed(
    server, client, growing_file, tmp_path
):
    publisher = Publisher(tmp_path / "journal", server.client)
    scan = Scan(publisher, growing_file.path)
    path = tmp_path / "journal" / f"{scan.uid}.jsonl"
    wait_for(lambda: scan.uid in list(client))
    os.kill(server.process_id, signal.SIGSTOP)
    try:
        growing_file.grow(100)
        scan.announce(100)
        scan.stop()
        wait_for(lambda: _names(path)[-1] == "stop")
        with pytest.raises(CatalogError, match="still being recorded or published"):
            replay_run(path, client)
        assert unpublished(tmp_path / "journal") == []
    finally:
        os.kill(server.process_id, signal.SIGCONT)
    assert publisher.wait_published(scan.uid)
    assert wait_for(lambda: replay_run(path, client).action == "present")
    publisher.close()


def test_a_run_without_tiled_can_be_replayed_when_it_has_ended(client, growing_file, tmp_path):
    publisher = Publisher(tmp_path / "journal")
    scan = Scan(publisher, growing_file.path)
    scan.stop()
    wait_for(lambda: unpublished(tmp_path / "journal"))
    assert replay_run(tmp_path / "journal" / f"{scan.uid}.jsonl", client).action == "written"
    publisher.close()


def test_a_run_whose_first_document_is_on_its_way_at_the_end_is_to_be_replayed(
    client, growing_file, tmp_path, monkeypatch
):
    publisher = Publisher(tmp_path / "journal", lambda: client)
    on_its_way, go_on = threading.Event(), threading.Event()

    def begin(uid, document):
        on_its_way.set()
        go_on.wait(30)

    monkeypatch.setattr(publisher._feeder, "_begin", begin)
    scan = Scan(publisher, growing_file.path)
    assert on_its_way.wait(30)
    try:
        status = publisher.close(timeout=0.1)
    finally:
        go_on.set()
        publisher._threads[1].join(30)
    assert status.to_replay == (scan.uid,)


def test_no_journal_can_be_found_before_it_is_locked(tmp_path, monkeypatch):
    from glidepath.catalog import journal
    from glidepath.storage import locks

    found = []

    def lock(descriptor, how):
        found.append(list(tmp_path.glob("*.jsonl")))
        flock(descriptor, how)

    flock = locks.fcntl.flock
    monkeypatch.setattr(locks.fcntl, "flock", lock)
    writer = journal.JournalWriter(tmp_path, "abc")
    assert found == [[]]
    assert writer.path.exists()
    assert journal.is_recording(writer.path)
    writer.release()
    assert not journal.is_recording(writer.path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "does not begin with a start document"),
        (b'{"name": "stop", "doc": {}}\n', "does not begin with a start document"),
        (b'rubbish\n{"name": "stop", "doc": {}}\n', "does not begin with a start document"),
        (b'{"name": "start", "doc": {}}\n', "does not begin with a start document"),
    ],
)
def test_a_file_that_is_no_journal_is_refused(client, tmp_path, content, says):
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(CatalogError, match=says):
        replay_run(path, client)
    assert "a" not in list(client)


def test_a_journal_that_is_not_there_is_named(client, tmp_path):
    with pytest.raises(CatalogError, match="cannot be read"):
        replay_run(tmp_path / "none.jsonl", client)
    with pytest.raises(CatalogError, match="no journal of a run 'abc'"):
        replay_run("abc", client, folder=tmp_path)
    for uid in ("abcd", "abce"):
        (tmp_path / f"{uid}.jsonl").touch()
    with pytest.raises(CatalogError, match="2 journals"):
        replay_run("abc", client, folder=tmp_path)


def test_a_journal_keeps_numbers_as_they_were(tmp_path):
    publisher = Publisher(tmp_path)
    start = {
        "uid": "u",
        "time": 1.5,
        "limits": (np.float64(1.25), np.int32(7), np.bool_(True)),
        "grid": np.arange(3),
        "worst": float("nan"),
        "where": tmp_path,
        "by_number": {1: "one"},
        ("odd", "key"): {np.str_("x")},
    }
    publisher("start", start)
    publisher("stop", {"uid": "s", "run_start": "u", "time": 2.0})
    publisher.close()
    (_, found), (_, stop) = read_journal(tmp_path / "u.jsonl")
    assert np.isnan(found.pop("worst"))
    assert found == {
        "uid": "u",
        "time": 1.5,
        "limits": [1.25, 7, True],
        "grid": [0, 1, 2],
        "where": str(tmp_path),
        "by_number": {"1": "one"},
        "('odd', 'key')": ["x"],
    }
    assert stop["run_start"] == "u"
    assert all(json.loads(line)["doc"] for line in (tmp_path / "u.jsonl").read_bytes().splitlines())
