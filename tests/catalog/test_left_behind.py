"""A command ends at once; what it leaves behind brings its run into Tiled, and ends by itself."""

import numpy as np
import pytest
from written_scan import GrowingFile, Scan, close, wait_for

from glidepath.catalog import (
    CatalogError,
    LocalTiledServer,
    Publisher,
    load_run,
    read_primary,
    replay_all,
    replay_run,
    unpublished,
)
from glidepath.catalog.journal import LOCK, encode, is_recording
from glidepath.catalog.left_behind import LeftBehind, wait_for_all
from glidepath.storage import FileLock

PATIENCE = 150.0
"""Seconds that a process and a server have to start, work and end on a busy machine."""


@pytest.fixture
def left(tmp_path):
    """What is left behind; it has ended by itself when the test is over."""
    left = LeftBehind(tmp_path)
    yield left
    ended(left)


def ended(left):
    wait_for(lambda: not left.works, PATIENCE)
    if left._process is not None:
        assert left._process.wait(PATIENCE) == 0, (left.folder / "log").read_text()


def recorded(root, *, stop=True, rows=10):
    """Write a scan and its journal, complete or of a process that was killed; return its uid."""
    file = GrowingFile(root / "scan" / "glidepath.h5")
    file.grow(rows)
    lines = []
    scan = Scan(lambda name, document: lines.append(encode(name, document)), file.path)
    scan.announce(rows)
    if stop:
        scan.stop(reason="10 rows")
    file.close()
    (root / "journal").mkdir(exist_ok=True)
    (root / "journal" / f"{scan.uid}.jsonl").write_bytes(b"".join(lines))
    return scan.uid


@pytest.fixture
def in_tiled(tmp_path):
    """Return what Tiled has of a run."""
    with LocalTiledServer(tmp_path) as server:
        client = server.client()
        yield lambda uid: load_run(client, uid)
        close(client)


@pytest.mark.slow
def test_a_run_is_fed_while_it_is_recorded_and_is_complete_after_the_command_has_ended(
    tmp_path, left
):
    file = GrowingFile(tmp_path / "scan" / "glidepath.h5")
    publisher = Publisher(tmp_path / "journal")
    scan = Scan(publisher, file.path)
    left.hand_over(scan.uid)
    file.grow(10)
    scan.announce(10)
    with LocalTiledServer(tmp_path) as server:
        client = server.client()

        def seen():
            try:
                return len(read_primary(load_run(client, scan.uid))["energy"])
            except (CatalogError, KeyError):
                return 0

        # The scan goes on, and Tiled has its first rows.
        wait_for(lambda: seen() == 10, PATIENCE)
        file.grow(5)
        scan.announce(15)
        scan.stop(reason="15 rows")
        publisher.close()
        wait_for(lambda: not left.waiting, PATIENCE)
        run = load_run(client, scan.uid)
        assert run.metadata["stop"]["reason"] == "15 rows"
        assert np.array_equal(read_primary(run)["energy"], np.arange(15))
        close(client)
    assert unpublished(tmp_path / "journal") == []
    file.close()


@pytest.mark.slow
def test_a_run_whose_process_was_killed_is_in_tiled_and_says_so(tmp_path, left, in_tiled):
    uid = recorded(tmp_path, stop=False)
    left.hand_over(uid)
    assert wait_for_all(tmp_path, PATIENCE)
    wait_for(lambda: not left.waiting, PATIENCE)
    stop = in_tiled(uid).metadata["stop"]
    assert (stop["exit_status"], "was killed" in stop["reason"]) == ("fail", True)


@pytest.mark.slow
def test_a_server_that_is_gone_is_said_and_the_run_can_be_replayed(tmp_path, unused_port, in_tiled):
    left = LeftBehind(tmp_path, f"http://127.0.0.1:{unused_port}")
    uid = recorded(tmp_path)
    left.hand_over(uid)
    wait_for(lambda: left.is_refused(uid), PATIENCE)
    assert f"127.0.0.1:{unused_port}" in left.trouble
    ended(left)
    with LocalTiledServer(tmp_path) as server:
        client = server.client()
        assert [one.action for one in replay_all(tmp_path / "journal", client)] == ["written"]
        close(client)
    assert in_tiled(uid).metadata["stop"]["reason"] == "10 rows"


@pytest.mark.slow
def test_a_journal_that_is_none_stands_in_nobodys_way(tmp_path, left):
    uid = recorded(tmp_path)
    (tmp_path / "journal" / "spoilt.jsonl").write_text("no document\n")
    (left.folder).mkdir(parents=True)
    (left.folder / "spoilt").touch()
    left.hand_over(uid)
    ended(left)
    assert left.waiting == ["spoilt"]
    assert left.is_refused("spoilt")
    assert "does not begin with a start document" in left.trouble


def test_a_run_that_is_on_its_way_is_not_replayed_by_somebody_else(tmp_path):
    uid = recorded(tmp_path)
    left = LeftBehind(tmp_path)
    left.folder.mkdir(parents=True)
    (left.folder / uid).touch()
    path = tmp_path / "journal" / f"{uid}.jsonl"
    assert not is_recording(path)
    with FileLock(left.folder / LOCK):
        assert left.works
        assert is_recording(path)
        assert unpublished(tmp_path / "journal") == []
        with pytest.raises(CatalogError, match="still being recorded or published"):
            replay_run(path, None)
        assert not left.wait(0.1)
    assert left.wait(0.1)
    assert left.is_refused(uid)
    assert unpublished(tmp_path / "journal") == [path]


def test_who_waits_does_not_wait_for_a_scan_that_is_still_recorded(tmp_path):
    publisher = Publisher(tmp_path / "journal")
    scan = Scan(publisher, tmp_path / "none.h5")
    path = tmp_path / "journal" / f"{scan.uid}.jsonl"
    wait_for(path.exists)
    left = LeftBehind(tmp_path)
    left.folder.mkdir(parents=True)
    (left.folder / scan.uid).touch()
    with FileLock(left.folder / LOCK):
        assert left.wait(0.0)
        scan.stop()
        publisher.close()
        assert not left.wait(0.0)
