"""Scan numbers are unique in a data directory, whoever scans there and whatever the disk does."""

import errno
import fcntl
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from glidepath.storage import FileLock, ScanNumberError, ScanNumbers, run_folder
from glidepath.storage.scan_numbers import FILE


def _take(root: Path, count: int, results) -> None:
    numbers = ScanNumbers(root)
    results.put([numbers.next() for _ in range(count)])


def test_processes_that_scan_at_the_same_time_never_share_a_number(tmp_path):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    takers = [context.Process(target=_take, args=(tmp_path, 200, results)) for _ in range(3)]
    for taker in takers:
        taker.start()
    numbers = [number for _ in takers for number in results.get(timeout=120)]
    for taker in takers:
        taker.join()
    assert sorted(numbers) == list(range(1, 601))


def test_two_sessions_of_one_process_never_share_a_number(tmp_path):
    one, other = ScanNumbers(tmp_path), ScanNumbers(tmp_path)
    assert [source.next() for source in (one, other, one, one, other)] == [1, 2, 3, 4, 5]


def test_a_full_disk_takes_the_next_number(tmp_path):
    """The file is overwritten where it is: it needs no block that a full disk would not give."""
    numbers = ScanNumbers(tmp_path)
    numbers.next()
    size, blocks = (tmp_path / FILE).stat().st_size, (tmp_path / FILE).stat().st_blocks
    for _ in range(100):
        numbers.next()
    assert (tmp_path / FILE).stat().st_size == size
    assert (tmp_path / FILE).stat().st_blocks == blocks


def test_a_number_that_cannot_be_kept_is_not_given(tmp_path, monkeypatch):
    numbers = ScanNumbers(tmp_path)
    assert numbers.next() == 1

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(numbers, "_write", full)
        with pytest.raises(ScanNumberError, match=r"gets no number.*No space left.*make room"):
            numbers.next()
    assert ScanNumbers(tmp_path).next() == 2


@pytest.mark.parametrize("content", [b"", b"7", b"\0" * 64, b"rubbish" * 20])
def test_a_spoilt_file_never_gives_a_number_again(tmp_path, content):
    numbers = ScanNumbers(tmp_path)
    for _ in range(12):
        last = numbers.next()
    run_folder(tmp_path, "3f0a5c1e-0000", last, 1.7e9).mkdir(parents=True)
    (tmp_path / FILE).write_bytes(content)
    assert ScanNumbers(tmp_path).next() == 13
    (tmp_path / FILE).unlink()
    run_folder(tmp_path, "4f0a5c1e-0000", 13, 1.6e9).mkdir(parents=True)
    assert numbers.next() == 14


@pytest.mark.parametrize("at", [0, 5, 21, 32, 40, 60])
def test_a_write_that_was_cut_short_spoils_no_more_than_itself(tmp_path, at):
    numbers = ScanNumbers(tmp_path)
    for _ in range(7):
        numbers.next()
    content = bytearray((tmp_path / FILE).read_bytes())
    content[at] ^= 0x5A
    (tmp_path / FILE).write_bytes(content)
    assert ScanNumbers(tmp_path).next() in (7, 8)
    assert numbers.next() >= 8


def test_the_number_of_version_0_1_is_gone_on_from(tmp_path):
    (tmp_path / "scan_id.json").write_text("41")
    assert ScanNumbers(tmp_path).next() == 42


def test_a_killed_process_holds_no_lock(tmp_path):
    program = (
        "import sys, time; from pathlib import Path; from glidepath.storage import FileLock\n"
        "lock = FileLock(Path(sys.argv[1])); lock.acquire(); print('held', flush=True)\n"
        "time.sleep(600)"
    )
    path = tmp_path / "scan_numbers.lock"
    holder = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(BlockingIOError):
            FileLock(path).acquire()
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert ScanNumbers(tmp_path).next() == 1
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


def test_on_a_file_system_without_locks_processes_of_one_machine_exclude_each_other(
    tmp_path, monkeypatch
):
    flock = fcntl.flock

    def without_locks(descriptor, how):
        if os.readlink(f"/proc/self/fd/{descriptor}").startswith(f"{tmp_path}/data"):
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
        return flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", without_locks)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    for folder in ("data", "temporary"):
        (tmp_path / folder).mkdir()
    with FileLock(tmp_path / "data" / "one"):
        with pytest.raises(BlockingIOError):
            FileLock(tmp_path / "data" / "one").acquire()
        FileLock(tmp_path / "data" / "other").acquire()
    assert ScanNumbers(tmp_path / "data").next() == 1
