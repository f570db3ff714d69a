"""One server per data directory: its users share it, whatever ends them, and it ends with them."""

import contextlib
import errno
import fcntl
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from written_scan import Scan, close, wait_for

from glidepath.catalog import (
    CatalogError,
    LocalTiledServer,
    Publisher,
    load_run,
    open_local_catalog,
    server,
)
from glidepath.catalog.lease import Lease, LeaseError, LeaseKeeper

pytestmark = pytest.mark.slow

USER = """
import sys, time
from pathlib import Path
from glidepath.catalog import LocalTiledServer
server = LocalTiledServer(Path(sys.argv[1])).start()
server.wait_ready()
print(server.process_id, flush=True)
for line in sys.stdin:
    server.stop()
    print("stopped", flush=True)
"""


@contextlib.contextmanager
def user(root):
    process = subprocess.Popen(
        [sys.executable, "-c", USER, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def alive(process_id: int) -> bool:
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_it_stays_for_the_others_when_the_one_that_started_it_goes(tmp_path):
    """The second of two terminals has its run in Tiled, although the server was the first one's."""
    with user(tmp_path) as first:
        process_id = int(first.stdout.readline())
        with LocalTiledServer(tmp_path) as second:
            assert second.process_id == process_id
            first.stdin.write("stop\n")
            first.stdin.flush()
            assert first.stdout.readline() == "stopped\n"
            publisher = Publisher(tmp_path / "journal", second.client)
            scan = Scan(publisher, tmp_path / "none.h5")
            scan.stop()
            assert publisher.wait_published(scan.uid, 120)
            publisher.close()
            assert alive(process_id)
        assert not alive(process_id)
    assert not (tmp_path / "tiled" / "config.yml").exists()


def test_it_stays_for_the_others_when_the_one_that_started_it_is_killed(tmp_path):
    with user(tmp_path) as first:
        process_id = int(first.stdout.readline())
        with LocalTiledServer(tmp_path) as second:
            first.send_signal(signal.SIGKILL)
            first.wait()
            client = second.client()
            assert list(client) == []
            close(client)
            assert second.process_id == process_id
        wait_for(lambda: not alive(process_id), 60)


@pytest.mark.parametrize("closed", [True, False])
def test_it_stays_for_a_catalogue_that_somebody_has_opened(tmp_path, closed):
    with user(tmp_path) as first:
        process_id = int(first.stdout.readline())
        client = open_local_catalog(tmp_path)
        first.stdin.write("stop\n")
        first.stdin.flush()
        assert first.stdout.readline() == "stopped\n"
        assert list(client) == []
        assert alive(process_id)
        if closed:
            close(client)
        else:
            del client
            gc.collect()
        wait_for(lambda: not alive(process_id), 60)


def test_it_ends_when_its_last_user_is_killed(tmp_path):
    with user(tmp_path) as only:
        process_id = int(only.stdout.readline())
        only.send_signal(signal.SIGKILL)
        only.wait()
        wait_for(lambda: not alive(process_id), 60)


def test_users_that_come_at_once_share_one_server(tmp_path):
    servers = [LocalTiledServer(tmp_path) for _ in range(6)]
    starters = [threading.Thread(target=one.start) for one in servers]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join()
    try:
        for one in servers:
            one.wait_ready()
        assert len({one.process_id for one in servers}) == 1
        assert len({one.api_key for one in servers}) == 1
    finally:
        for one in servers:
            one.stop()


def test_one_that_ends_is_followed_by_a_new_one_at_once(tmp_path):
    first = LocalTiledServer(tmp_path).start()
    first.wait_ready()
    ending = threading.Thread(target=first.stop)
    ending.start()
    with LocalTiledServer(tmp_path) as second:
        assert second.process_id
    ending.join()


def test_one_that_was_killed_is_followed_by_a_new_one(tmp_path):
    first = LocalTiledServer(tmp_path).start()
    process_id = first.process_id
    os.kill(process_id, signal.SIGKILL)
    wait_for(lambda: first.process_id is None)
    with pytest.raises(CatalogError, match="ended"):
        first.wait_ready()
    with LocalTiledServer(tmp_path) as second:
        assert second.process_id not in (None, process_id)
    first.stop()


def test_what_the_running_one_cannot_do_is_said(tmp_path, unused_port):
    with LocalTiledServer(tmp_path).start() as running:
        with pytest.raises(CatalogError, match=f"at port .* before you ask for port {unused_port}"):
            LocalTiledServer(tmp_path, port=unused_port).start()
        with pytest.raises(CatalogError, match=r"may not read /images"):
            LocalTiledServer(tmp_path, readable=[Path("/images")]).start()
        assert running.process_id


def test_one_of_another_computer_is_named(tmp_path, monkeypatch):
    with LocalTiledServer(tmp_path).start():
        monkeypatch.setattr(server.socket, "gethostname", lambda: "elsewhere")
        with pytest.raises(CatalogError, match=r"The computer .* runs the Tiled server"):
            LocalTiledServer(tmp_path).start()


def test_a_file_system_without_locks_is_said_when_the_server_is_waited_for(tmp_path, monkeypatch):
    flock = fcntl.flock

    def without_locks(descriptor, how):
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith("tiled/server.lock"):
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
        return flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", without_locks)
    without = LocalTiledServer(tmp_path).start()
    with pytest.raises(CatalogError, match=r"has no locks.*another data directory"):
        without.wait_ready()
    without.stop()


def test_nobody_without_the_key_keeps_a_server_alive():
    ended = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    LeaseKeeper(listener, "key", ended.set).start()
    stranger = Lease(port, "another key")
    owner = Lease(port, "key")
    assert owner.confirm(30) == os.getpid()
    assert stranger.alive
    assert owner.give_back(30) is True
    assert ended.wait(30)
    stranger.drop()
    with pytest.raises(LeaseError):
        Lease(port, "key")


NAMES = ["Prüfling µm 50% Fe", "a#b", "a?b%25 [new] & it's"]


@pytest.mark.parametrize("name", NAMES)
def test_a_data_directory_may_have_any_name(tmp_path, name):
    import pandas
    from written_scan import GrowingFile

    from glidepath.catalog import read_primary, rebinning

    root = tmp_path / name
    root.mkdir()
    with LocalTiledServer(root) as running:
        client = running.client()
        publisher = Publisher(root / "journal", running.client)
        file = GrowingFile(root / "2026" / "glidepath.h5")
        scan = Scan(publisher, file.path)
        file.grow(10)
        scan.announce(10)
        scan.stop()
        file.close()
        assert publisher.wait_published(scan.uid, 120)
        publisher.close()
        run = load_run(client, scan.uid)
        assert read_primary(run)["energy"].tolist() == list(range(10))
        columns = {"energy_lower": pandas.Series([1.0, 2.0])}
        place = rebinning.write_rebinned(client, run, rebinning.Rebinned("energy", columns), "x")
        assert client[place].read()["energy_lower"].tolist() == [1.0, 2.0]
        close(client)
    assert [path.name for path in tmp_path.iterdir()] == [name]
