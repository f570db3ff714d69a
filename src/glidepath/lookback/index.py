"""Knows the runs of a data directory: one line each, kept in a small database beside the journal.

The journal stays the truth. The database is made of it and is brought up to date whenever it is
asked; a journal that has not changed is not opened again, so that ten thousand runs are listed in a
fraction of a second. If the database is lost or cannot be written, it is made anew.
"""

import json
import os
import re
import sqlite3
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import asdict, astuple, dataclass, fields, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from glidepath.storage.locks import FileLock

FILE_NAME = "runs.db"
SUFFIX = ".jsonl"

LAYOUT = 3
"""Number of the database's layout: one of another number is made anew."""

TAIL = 1 << 16
"""Bytes from the end of a journal in which its last line is looked for first."""

OPEN, RECORDING, KILLED = "open", "recording", "killed"
"""Status of a run that has no end: nobody can tell why, it is recorded now, its process died."""

SHORTEST_UID = 4
"""Characters of a uid that are taken for its beginning."""


class RunNotFoundError(ValueError):
    """There is no such run, or more than one; the text is a sentence."""


@dataclass(frozen=True)
class Run:
    """One line of a list of runs.

    Attributes
    ----------
    uid, scan_id
        Its unique id and its number; -1 if it has none.
    begun, ended
        POSIX seconds; ended is NaN if no end was recorded.
    plan, axis, unit
        What was done with which axis.
    start, stop
        Range in the unit of the axis; NaN if the run says none.
    rows
        Rows of the stream ``primary``; of a run without an end, those that its journal tells of.
    status
        ``"success"``, ``"abort"`` or ``"fail"``. Where no end was recorded: ``"recording"`` while
        a process holds the run's journal, ``"killed"`` if none does, and ``"open"`` where that
        cannot be told, as in a copy of a run's folder.
    reason
        Why it ended, or in a sentence why it has no end.
    sample, element, edge
        What the experiment said.
    users
        Names, accounts and ORCID iDs of those who took part.
    proposal
        Number and title of the proposal.
    """

    uid: str
    scan_id: int
    begun: float
    ended: float
    plan: str
    axis: str
    unit: str
    start: float
    stop: float
    rows: int
    status: str
    reason: str
    sample: str
    element: str
    edge: str
    users: str
    proposal: str

    @property
    def range(self) -> str:
        """The range in words, or an empty text."""
        if self.start != self.start:
            return ""
        return f"{self.start:g} to {self.stop:g} {self.unit}".strip()

    def to_json(self) -> dict[str, Any]:
        """Return all fields; NaN becomes None, as JSON knows no NaN."""
        return {key: None if value != value else value for key, value in asdict(self).items()}


_COLUMNS = [field.name for field in fields(Run)]


class RunIndex:
    """The runs of one data directory.

    Parameters
    ----------
    root
        The data directory.

    Examples
    --------
    >>> index = RunIndex(Path("glidepath-data"))  # doctest: +SKIP
    >>> index.runs(sample="N2", limit=5)  # doctest: +SKIP
    >>> (run,) = index.find("-1")  # doctest: +SKIP
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self.folder = self.root / "journal"

    def runs(
        self,
        *,
        limit: int | None = 20,
        sample: str | None = None,
        since: float | None = None,
        edge: str | None = None,
        user: str | None = None,
        proposal: str | None = None,
        failed: bool = False,
    ) -> list[Run]:
        """Return runs, the newest first.

        Parameters
        ----------
        limit
            How many at most; None: all.
        sample
            Part of the name of the sample, in any case.
        since
            Only runs that began at this time (POSIX s) or later.
        edge
            ``"N K"``, ``"N"`` or ``"K"``: element and edge.
        user
            Part of the name, the account or the ORCID iD of one who took part, in any case.
        proposal
            Part of the proposal's number or title, in any case.
        failed
            Only runs that were no success.
        """
        conditions: list[str] = []
        values: list[Any] = []
        for column, part in (("sample", sample), ("users", user), ("proposal", proposal)):
            if part is not None:
                conditions.append(f"instr(lower({column}), lower(?)) > 0")
                values.append(part)
        if since is not None:
            conditions.append("begun >= ?")
            values.append(since)
        for word in (edge or "").split():
            conditions.append("(lower(element) = lower(?) or lower(edge) = lower(?))")
            values += [word, word]
        if failed:
            conditions.append("status != 'success'")
        return self._select(conditions, values, -1 if limit is None else limit)

    def find(self, which: str | int) -> list[Run]:
        """Return the runs that a user means, in the order in which they were measured.

        Parameters
        ----------
        which
            A scan number (the newest run with it); a uid or its beginning; ``-1`` for the newest
            run, ``-2`` for the one before; ``-3:`` for the three newest; ``12:15`` for the numbers
            12 to 15.

        Raises
        ------
        RunNotFoundError
            If there is none, or several uids begin like this.
        """
        text = str(which).strip()
        span = re.fullmatch(r"(-?\d+)?:(-?\d+)?", text)
        if span:
            found = self._span(*span.groups())
        elif re.fullmatch(r"-\d+", text):
            newest = self._select([], [], int(text[1:]))
            found = newest[int(text[1:]) - 1 :] if int(text) < 0 else []
        else:
            found = self._numbered(text) or self._named(text)
        if not found:
            raise RunNotFoundError(
                f"There is no run {text} in {self.root}; 'glidepath runs' lists those that are."
            )
        return found

    def one(self, which: str | int) -> Run:
        """Return the one run that a user means.

        Raises
        ------
        RunNotFoundError
            If there is none or more than one.
        """
        found = self.find(which)
        if len(found) > 1:
            raise RunNotFoundError(f"{which} means {len(found)} runs; name one of them.")
        return found[0]

    def journal(self, run: Run) -> Path:
        """Return the journal of a run."""
        return self.folder / f"{run.uid}{SUFFIX}"

    def _span(self, first: str | None, last: str | None) -> list[Run]:
        runs = self._select([], [], -1)[::-1]
        begin, end = (None if part is None else int(part) for part in (first, last))
        if all(part is None or part < 0 for part in (begin, end)):
            return runs[begin:end]
        return [
            run
            for run in runs
            if (begin is None or run.scan_id >= begin) and (end is None or run.scan_id <= end)
        ]

    def _numbered(self, text: str) -> list[Run]:
        if not re.fullmatch(r"\d{1,15}", text):
            return []
        return self._select(["scan_id = ?"], [int(text)], 1)

    def _named(self, text: str) -> list[Run]:
        if len(text) < SHORTEST_UID or not re.fullmatch(r"[0-9A-Za-z-]+", text):
            return []
        found = self._select(["uid glob ?"], [f"{text}*"], 2)
        if len(found) > 1:
            raise RunNotFoundError(f"Several runs begin with {text!r}; give more of the uid.")
        return found

    def _select(self, conditions: list[str], values: list[Any], limit: int) -> list[Run]:
        where = f"where {' and '.join(conditions)}" if conditions else ""
        with closing(self._opened()) as database:
            rows = database.execute(
                f"select {', '.join(_COLUMNS)} from runs {where} order by begun desc limit ?",
                [*values, limit],
            ).fetchall()
        return [self._as_it_is(_run_of_row(row)) for row in rows]

    def _as_it_is(self, run: Run) -> Run:
        """Return a run; one without an end as recorded, or as one whose process has died."""
        if run.status != OPEN:
            return run
        status = _held(self.journal(run))
        if status != RECORDING:
            # It may have ended after its journal was read and before its lock was looked at.
            run = next(iter(self._read(run.uid)), run)
        return _without_end(run, status) if run.status == OPEN else run

    def _opened(self) -> sqlite3.Connection:
        """Return the database, up to date."""
        try:
            return self._updated(sqlite3.connect(self.root / FILE_NAME, timeout=5.0))
        except sqlite3.Error:
            # A folder that can only be read, a spoilt file, no locks: made in memory each time.
            return self._updated(sqlite3.connect(":memory:"))

    def _updated(self, database: sqlite3.Connection) -> sqlite3.Connection:
        try:
            self._prepare(database)
            known = {
                uid: (changed, size)
                for uid, changed, size in database.execute("select uid, changed, size from runs")
            }
            journals = self._journals()
            fresh = [entry for entry in journals if known.get(entry[0]) != entry[1:]]
            rows = [(*entry[1:], *_values(run)) for entry in fresh for run in self._read(entry[0])]
            gone = set(known) - {entry[0] for entry in journals}
            if rows or gone:
                marks = ", ".join("?" * (len(_COLUMNS) + 2))
                with database:
                    database.executemany(f"insert or replace into runs values ({marks})", rows)
                    database.executemany("delete from runs where uid = ?", [(u,) for u in gone])
        except BaseException:
            database.close()
            raise
        return database

    def _prepare(self, database: sqlite3.Connection) -> None:
        (layout,) = database.execute("pragma user_version").fetchone()
        if layout == LAYOUT:
            return
        columns = ", ".join(f"{name}{' primary key' if name == 'uid' else ''}" for name in _COLUMNS)
        with database:
            database.execute("drop table if exists runs")
            database.execute(f"create table runs (changed, size, {columns})")
            database.execute("create index by_time on runs (begun)")
            database.execute(f"pragma user_version = {LAYOUT}")

    def _journals(self) -> list[tuple[str, int, int]]:
        """Return uid, time of change (ns) and size of every journal."""
        found = []
        try:
            entries = os.scandir(self.folder)
        except OSError:
            return []
        with entries:
            for entry in entries:
                if entry.name.endswith(SUFFIX):
                    status = entry.stat()
                    uid = entry.name.removesuffix(SUFFIX)
                    found.append((uid, status.st_mtime_ns, status.st_size))
        return found

    def _read(self, uid: str) -> Iterable[Run]:
        """Return the run of a journal, or nothing if it is none."""
        try:
            with (self.folder / f"{uid}{SUFFIX}").open("rb") as file:
                start = json.loads(file.readline())["doc"]
                last = _last_line(file)
                if last.get("name") == "stop":
                    return [run_of(start, last["doc"])]
                return [replace(run_of(start, {}), rows=_rows_told(file))]
        # Whatever is no run: a file that somebody put there, or one that is just begun.
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return []


_nan = float("nan")


def _last_line(file: Any) -> dict[str, Any]:
    """Return the last whole line of a journal, decoded."""
    size = file.seek(0, os.SEEK_END)
    length = TAIL
    while True:
        file.seek(max(0, size - length))
        lines = file.read().splitlines()
        # The first of several may be the end of a longer one.
        whole = lines if length >= size else lines[1:]
        for line in reversed(whole):
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            return entry if isinstance(entry, dict) else {}
        if length >= size:
            return {}
        length *= 8


def _rows_told(file: Any) -> int:
    """Return how many rows of the stream ``primary`` a journal tells of so far."""
    file.seek(0)
    primary: set[str] = set()
    rows = 0
    for line in file:
        # Decoding the others, of which there are far more, would take its time.
        if not _OF_ROWS.match(line):
            continue
        try:
            entry = json.loads(line)
            name, document = entry["name"], entry["doc"]
            if name == "descriptor":
                if document["name"] == "primary":
                    primary.add(document["uid"])
            elif document["descriptor"] in primary:
                rows = max(rows, _rows_of(name, document))
        # The last line, cut short, or a document that is not as it should be.
        except (ValueError, KeyError, TypeError):
            continue
    return rows


_OF_ROWS = re.compile(rb'{"name": "(descriptor|event|event_page|stream_datum)"')


def _rows_of(name: str, document: Mapping[str, Any]) -> int:
    if name == "stream_datum":
        return int(document["indices"]["stop"])
    numbers = document["seq_num"]
    return max(numbers, default=0) if name == "event_page" else int(numbers)


def _held(journal: Path) -> str:
    """Return the status of a run without an end, by the lock on its journal."""
    lock = FileLock(journal)
    try:
        lock.acquire(shared=True)
    except BlockingIOError:
        return RECORDING
    except OSError:
        return OPEN
    lock.release()
    # A lock that stands in for the file's own knows only the processes of this machine.
    return OPEN if lock.stands_in else KILLED


def _without_end(run: Run, status: str) -> Run:
    reason = {
        RECORDING: f"It is being recorded, {run.rows} rows so far.",
        KILLED: f"Its process ended without closing it, after {run.rows} rows.",
        OPEN: f"No end was recorded; it has {run.rows} rows.",
    }[status]
    return replace(run, status=status, reason=reason)


def run_of(start: Mapping[str, Any], stop: Mapping[str, Any]) -> Run:
    """Return the line of a run, from its first document and its last; the latter may be empty."""
    report = start.get("preflight") or {}
    sample = start.get("sample", "")
    if isinstance(sample, Mapping):
        sample = sample.get("name", "")
    return Run(
        uid=str(start["uid"]),
        scan_id=int(start.get("scan_id", -1)),
        begun=float(start["time"]),
        ended=float(stop.get("time", _nan)),
        plan=str(start.get("plan_name", "")),
        axis=str((start.get("motors") or [""])[0]),
        unit=str(report.get("unit", "")),
        start=float(report.get("start", _nan)),
        stop=float(report.get("stop", _nan)),
        rows=int(stop.get("num_events", {}).get("primary", 0)),
        status=str(stop.get("exit_status", OPEN)),
        reason=str(stop.get("reason", "")),
        sample=str(sample),
        element=str(start.get("element", "")),
        edge=str(start.get("edge", "")),
        users="; ".join(_people(start)),
        proposal=_proposal(start),
    )


def _people(start: Mapping[str, Any]) -> Iterable[str]:
    """Yield what is known of those who took part: one text for each."""
    users = start.get("users") or [start.get("user_name") or start.get("username") or ""]
    for user in users if isinstance(users, list) else [users]:
        if isinstance(user, Mapping):
            said = [str(user[key]) for key in ("name", "identifier", "orcid") if user.get(key)]
        else:
            said = [str(user)]
        if any(said):
            yield " ".join(said)


def _proposal(start: Mapping[str, Any]) -> str:
    proposal = start.get("proposal") or ""
    if isinstance(proposal, Mapping):
        said = [proposal.get("proposal_id"), proposal.get("title")]
        return " ".join(str(part) for part in said if part)
    return str(proposal)


def _run_of_row(row: Any) -> Run:
    # SQLite knows no NaN and keeps nothing in its place.
    values: list[Any] = [_nan if value is None else value for value in row]
    return Run(*values)


def _values(run: Run) -> tuple[Any, ...]:
    return tuple(None if value != value else value for value in astuple(run))


def time_of(text: str, now: float | None = None) -> float:
    """Return the time (POSIX s) that a user means.

    Parameters
    ----------
    text
        ``today``, ``yesterday``, ``2h``, ``3d``, ``2w`` (so long ago), a date such as
        ``2026-11-28`` or a date and time such as ``2026-11-28 14:30``.
    now
        Seconds; None: the clock's.

    Raises
    ------
    ValueError
        If it is no time.
    """
    at = datetime.fromtimestamp(time.time() if now is None else now)
    word = text.strip().lower()
    midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
    if word == "today":
        return midnight.timestamp()
    if word == "yesterday":
        return (midnight - timedelta(days=1)).timestamp()
    ago = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(min|h|d|w)", word)
    if ago:
        unit = {"min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}[ago[2]]
        return at.timestamp() - float(ago[1]) * unit
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except ValueError:
        raise ValueError(
            f"{text!r} is no time; give today, yesterday, 3h, 2d, or a date such as 2026-11-28."
        ) from None


__all__ = ["FILE_NAME", "Run", "RunIndex", "RunNotFoundError", "run_of", "time_of"]
