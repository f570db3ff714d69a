"""Which runs there are is known at once, and each is found by what people call it."""

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner
from written_runs import write_run

from glidepath.cli.main import app
from glidepath.lookback import RunIndex, RunNotFoundError
from glidepath.lookback.index import time_of

HOUR = 3600.0


@pytest.fixture
def root(tmp_path):
    for number in range(1, 6):
        write_run(
            tmp_path,
            number,
            begun=1_700_000_000.0 + number * HOUR,
            status="fail" if number == 3 else "success",
            sample={"name": "N2 gas" if number % 2 else "Cu foil"},
            element="N" if number % 2 else "Cu",
            edge="K",
        )
    return tmp_path


def numbers(runs):
    return [run.scan_id for run in runs]


def test_the_newest_run_comes_first(root):
    assert numbers(RunIndex(root).runs()) == [5, 4, 3, 2, 1]
    assert numbers(RunIndex(root).runs(limit=2)) == [5, 4]


def test_runs_are_chosen_by_sample_edge_time_and_end(root):
    index = RunIndex(root)
    assert numbers(index.runs(sample="n2")) == [5, 3, 1]
    assert numbers(index.runs(edge="Cu K")) == [4, 2]
    assert numbers(index.runs(edge="k")) == [5, 4, 3, 2, 1]
    assert numbers(index.runs(since=1_700_000_000.0 + 4 * HOUR)) == [5, 4]
    assert numbers(index.runs(failed=True)) == [3]


def test_runs_are_chosen_by_people_and_proposal(root):
    users = [{"name": "A. Müller", "identifier": "mue"}, {"name": "B. Chen"}]
    proposal = {"proposal_id": "242-12345", "title": "Absorption of gases"}
    write_run(root, 7, begun=1.8e9, users=users, proposal=proposal)
    write_run(root, 8, begun=1.8e9 + 1, users=["C. Diaz"], proposal="243-1")
    write_run(root, 9, begun=1.8e9 + 2, user_name="D. Eco", proposal=None)
    index = RunIndex(root)
    for user in ("Müller", "a. mü", "MUE", "chen"):
        assert numbers(index.runs(user=user)) == [7], user
    assert numbers(index.runs(user="diaz")) == [8]
    assert numbers(index.runs(user="eco")) == [9]
    assert numbers(index.runs(proposal="242-12345")) == [7]
    assert numbers(index.runs(proposal="GASES")) == [7]
    assert numbers(index.runs(proposal="243")) == [8]
    assert numbers(index.runs(user="nobody")) == []


def test_a_sample_with_wildcards_of_databases_is_taken_as_it_is(root):
    write_run(root, 9, begun=1_800_000_000.0, sample={"name": "100%_x"})
    assert numbers(RunIndex(root).runs(sample="%")) == [9]
    assert numbers(RunIndex(root).runs(sample="_")) == [9]


@pytest.mark.parametrize(
    ("which", "found"),
    [
        *[("3", [3]), (4, [4]), ("-1", [5]), ("-5", [1])],
        *[("-2:", [4, 5]), ("2:4", [2, 3, 4]), (":2", [1, 2])],
    ],
)
def test_a_run_is_found_by_number_and_place(root, which, found):
    assert numbers(RunIndex(root).find(which)) == found


def test_a_run_is_found_by_its_uid_also_where_that_is_all_digits(root):
    uid = "12345678-1111-4111-8111-111111111111"
    write_run(root, 7, uid=uid, begun=1_600_000_000.0)
    for which in (uid, "12345678", "123456"):
        assert RunIndex(root).one(which).scan_id == 7


@pytest.mark.parametrize("which", ["99", "-6", "0", "abcd", "%", "x'; drop", "", "-9:-8"])
def test_a_run_that_is_not_there_is_a_sentence(root, which):
    with pytest.raises(RunNotFoundError, match="There is no run"):
        RunIndex(root).find(which)


def test_several_runs_are_not_one(root):
    with pytest.raises(RunNotFoundError, match="means 2 runs"):
        RunIndex(root).one("-2:")


def test_a_run_that_ends_later_and_one_that_is_removed_are_noticed(root):
    index = RunIndex(root)
    uid = write_run(root, 6, begun=1_800_000_000.0, status=None)
    assert index.one("6").status == "killed"
    write_run(root, 6, begun=1_800_000_000.0, uid=uid, status="abort")
    assert index.one("6").status == "abort"
    index.journal(index.one("6")).unlink()
    assert numbers(index.runs(limit=1)) == [5]


RECORDER = """
import sys
from pathlib import Path
from glidepath.catalog.journal import JournalWriter
source = Path(sys.argv[2])
journal = JournalWriter(Path(sys.argv[1]), source.stem)
journal.write(source.read_bytes())
print("recording", flush=True)
sys.stdin.read()
"""


def test_a_run_is_recording_while_a_process_holds_it_and_killed_when_that_has_died(tmp_path):
    uid = write_run(tmp_path / "other", 6, {"energy": [400.0, 401.0, 402.0]}, status=None)
    source = tmp_path / "other" / "journal" / f"{uid}.jsonl"
    words = [sys.executable, "-c", RECORDER, str(tmp_path / "data" / "journal"), str(source)]
    index = RunIndex(tmp_path / "data")
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as recorder:
        try:
            assert recorder.stdout.readline() == b"recording\n"
            run = index.one(6)
            assert (run.status, run.rows) == ("recording", 3)
            assert run.reason == "It is being recorded, 3 rows so far."
        finally:
            recorder.kill()
    run = index.one(6)
    assert (run.status, run.rows) == ("killed", 3)
    assert run.reason == "Its process ended without closing it, after 3 rows."
    shown = CliRunner().invoke(app, ["show", "6", "--data", str(tmp_path / "data")])
    assert "3 rows, killed" in shown.stdout
    assert run.reason in " ".join(shown.stdout.split())


def test_the_rows_of_a_run_of_events_that_was_killed_are_counted(root):
    uid = write_run(root, 6, begun=1_800_000_000.0, status=None)
    journal = root / "journal" / f"{uid}.jsonl"
    documents = [
        ("descriptor", {"uid": "b", "name": "baseline"}),
        ("descriptor", {"uid": "p", "name": "primary"}),
        ("event", {"descriptor": "b", "seq_num": 9}),
        ("event", {"descriptor": "p", "seq_num": 1}),
        ("event_page", {"descriptor": "p", "seq_num": [2, 3]}),
    ]
    with journal.open("a") as file:
        for name, document in documents:
            file.write(json.dumps({"name": name, "doc": document}) + "\n")
        file.write('{"name": "event", "doc": {"descriptor": "p", "seq')
    assert RunIndex(root).one(6).rows == 3


def test_a_run_that_ends_while_it_is_looked_at_has_not_been_killed(root, monkeypatch):
    uid = write_run(root, 6, begun=1_800_000_000.0, status=None)
    index = RunIndex(root)

    def end_it(journal):
        write_run(root, 6, begun=1_800_000_000.0, uid=uid, status="success")
        return "killed"

    monkeypatch.setattr("glidepath.lookback.index._held", end_it)
    assert index.one(6).status == "success"


def test_a_run_whose_lock_cannot_be_looked_at_is_open(root, monkeypatch):
    write_run(root, 6, begun=1_800_000_000.0, status=None)

    def refuse(lock, **_):
        raise PermissionError

    monkeypatch.setattr("glidepath.storage.locks.FileLock.acquire", refuse)
    run = RunIndex(root).one(6)
    assert (run.status, run.reason) == ("open", "No end was recorded; it has 0 rows.")


def test_journals_that_are_none_are_left_out(root):
    (root / "journal" / "spoilt.jsonl").write_text("{")
    (root / "journal" / "empty.jsonl").write_text("")
    (root / "journal" / "other.jsonl").write_text('{"name": "start", "doc": {}}\n')
    assert len(RunIndex(root).runs()) == 5


def test_a_last_line_that_is_cut_short_or_longer_than_a_block_is_no_obstacle(root):
    index = RunIndex(root)
    path = index.journal(index.one("5"))
    text = path.read_text()
    path.write_text(text + '{"name": "ev')
    assert index.one("5").status == "success"
    long = write_run(root, 8, begun=1_800_000_000.0, reason="x" * 200_000)
    assert index.one(long).reason.endswith("xxx")


@pytest.mark.parametrize("spoil", ["spoilt", "older"])
def test_a_database_that_is_spoilt_or_older_is_no_obstacle(root, spoil):
    if spoil == "spoilt":
        (root / "runs.db").write_bytes(b"no database at all, but long enough to be read as one")
    else:
        import sqlite3

        with sqlite3.connect(root / "runs.db") as database:
            database.execute("create table runs (uid)")
        database.close()
    assert numbers(RunIndex(root).runs()) == [5, 4, 3, 2, 1]


def test_no_journal_is_opened_twice(root, monkeypatch):
    index = RunIndex(root)
    index.runs()
    opened = []
    monkeypatch.setattr(index, "_read", lambda uid: opened.append(uid) or [])
    assert len(index.runs()) == 5
    assert opened == []


def test_the_command_lists_runs_for_people_and_for_programs(root):
    shown = CliRunner().invoke(app, ["runs", "--data", str(root)], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert lines[0].split() == "scan time plan axis range rows status sample uid".split()
    assert lines[1].split()[0] == "5"
    assert "400 to 402 eV" in lines[1]
    listed = CliRunner().invoke(app, ["runs", "--failed", "--json", "--data", str(root)])
    (found,) = json.loads(listed.stdout)
    assert (found["scan_id"], found["status"]) == (3, "fail")


def test_a_list_in_a_narrow_terminal_cuts_no_number_status_time_or_uid(root):
    sample = {"name": "a sample with a rather long name"}
    uid = write_run(root, 1234, begun=1.8e9, status=None, sample=sample, element="N", edge="K")
    for columns in ("80", "60", "200"):
        done = CliRunner().invoke(app, ["runs", "--data", str(root)], env={"COLUMNS": columns})
        lines = done.stdout.splitlines()
        assert max(map(len, lines)) <= int(columns)
        assert "…" not in done.stdout
        head, first = lines[0].split(), lines[1].split()
        assert [name for name in head if name in ("scan", "time", "rows", "status", "uid")] == (
            ["scan", "time", "rows", "status", "uid"]
        )
        assert (first[0], first[-1]) == ("1234", uid[:8])
        assert "killed" in first
        assert ("range" in head) == (columns != "60")


def test_a_list_that_no_terminal_shows_is_never_cut(root):
    sample = {"name": "x" * 150}
    write_run(root, 7, begun=1.8e9, sample=sample)
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    words = [sys.executable, "-m", "glidepath", "runs", "--data", str(root)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 7
    assert "x" * 150 in lines[1]


def test_a_path_is_folded_and_not_cut_where_a_run_is_shown(root):
    done = CliRunner().invoke(app, ["show", "5", "--data", str(root)], env={"COLUMNS": "40"})
    assert str(RunIndex(root).journal(RunIndex(root).one(5))) in "".join(done.stdout.split())


def test_the_command_finds_by_all_of_it_at_once(root):
    write_run(
        root,
        7,
        begun=1.8e9,
        sample={"name": "N2 gas cell"},
        element="N",
        edge="K",
        users=[{"name": "A. Müller"}],
        proposal={"proposal_id": "242-12345"},
    )
    words = ["runs", "--data", str(root), "--sample", "n2", "--edge", "N K", "--json"]
    words += ["--since", "2026-01-01", "--proposal", "242-12345", "--user"]
    for user, found in (("Müller", [7]), ("Chen", [])):
        done = CliRunner().invoke(app, [*words, user])
        assert done.exit_code == 0, done.output
        assert [run["scan_id"] for run in json.loads(done.stdout)] == found


def test_times_are_said_as_people_say_them():
    now = 1_700_000_000.0
    assert time_of("3h", now) == now - 3 * HOUR
    assert time_of("2d", now) == now - 48 * HOUR
    assert time_of("today", now) <= now < time_of("today", now) + 24 * HOUR
    assert time_of("yesterday", now) < time_of("today", now)
    with pytest.raises(ValueError, match="'soon' is no time; give today"):
        time_of("soon", now)


def test_a_data_directory_that_is_not_there_is_a_sentence_and_is_not_made(tmp_path):
    done = CliRunner().invoke(app, ["runs", "--data", str(tmp_path / "nowhere")])
    assert done.exit_code == 2
    assert "There is no data directory" in done.stderr
    assert not (tmp_path / "nowhere").exists()


def test_listing_runs_imports_nothing_that_is_slow(root):
    code = (
        "import sys\nfrom glidepath.cli.main import app\n"
        f"try:\n    app(['runs', '--data', {str(root)!r}])\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('numpy', 'bluesky', 'epicscorelibs', 'tiled', 'h5py')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
