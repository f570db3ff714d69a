"""How long one waits for a list of runs, and for one of them, in a data directory of ten thousand.

The runs are written as documents, not flown. Each command is a process of its own, as typed: the
time is from its start to its end.
"""

import json
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from .medians import median, shown

__all__ = ["rows", "table", "write_runs"]

RUNS, QUICK_RUNS = 10_000, 300

DATUMS = 100
"""Announcements of rows in each journal: of a scan of some seconds."""

REPEATS = 5

COLUMNS = ("energy", "mesh", "sample", "ring", "quality")

COMMANDS = (
    ("runs, for the first time", ("runs",)),
    ("runs", ("runs",)),
    ("runs --sample", ("runs", "--sample", "gas 7")),
    ("runs --failed --since", ("runs", "--failed", "--since", "2026-01-01")),
    ("runs --limit 0 --json", ("runs", "--limit", "0", "--json")),
    ("runs, with a new one", ("runs",)),
    ("show -1", ("show", "-1")),
    ("show, by number", ("show", "5")),
    ("--help", ("--help",)),
)


def rows(quick: bool = False) -> list[dict[str, Any]]:
    """Measure; a row for each command."""
    count = QUICK_RUNS if quick else RUNS
    with tempfile.TemporaryDirectory(prefix="glidepath-bench-") as folder:
        root = Path(folder)
        write_runs(root, range(count))
        return [_measured(root, what, words, count) for what, words in COMMANDS]


def _measured(root: Path, what: str, words: tuple[str, ...], count: int) -> dict[str, Any]:
    seconds = []
    for repeat in range(1 if "first" in what else REPEATS):
        if "new one" in what:
            write_runs(root, range(count + repeat, count + repeat + 1))
        where = () if what == "--help" else ("--data", str(root))
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "glidepath", *words, *where], capture_output=True, text=True
        )
        seconds.append(time.perf_counter() - began)
        if done.returncode or not done.stdout:
            raise RuntimeError(f"glidepath {' '.join(words)} failed: {done.stderr}")
    return {
        "command": what,
        "runs": count,
        "median_s": median(seconds),
        "slowest_s": median([max(seconds)]),
        "repeats": len(seconds),
    }


def write_runs(root: Path, numbers: Iterable[int]) -> None:
    """Write the journals of runs with these numbers, one minute apart, the newest just now."""
    folder = root / "journal"
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        uid = str(uuid.UUID(int=number * 7919 + 1, version=4))
        lines = [json.dumps({"name": n, "doc": d}) for n, d in _documents(root, uid, number)]
        (folder / f"{uid}.jsonl").write_text("\n".join(lines) + "\n")
        (folder / f"{uid}.published").touch()


def _documents(root: Path, uid: str, number: int) -> Iterator[tuple[str, dict[str, Any]]]:
    begun = time.time() - 60.0 * (RUNS - number)
    failed = number % 50 == 0
    yield (
        "start",
        {
            "uid": uid,
            "scan_id": number + 1,
            "time": begun,
            "plan_name": "flyscan",
            "motors": ["energy"],
            "detectors": ["mesh", "sample", "ring"],
            "sample": {"name": f"gas {number % 100}"},
            "element": "N",
            "edge": "K",
            "display": {"reference": "mesh", "silent": ["ring"]},
            "preflight": {
                **{"start": 400.0, "stop": 402.0, "unit": "eV", "rows": 100, "period": 0.02},
                "total_duration": 6.0,
                "regions": [{"start": 400.0, "stop": 402.0, "velocity": 1.0}],
            },
            "plan_args": {"start": 400.0, "stop": 402.0, "velocity": 1.0},
        },
    )
    keys = {f"signal_{k}": _key(f"ca://BL:{k}") for k in range(30)}
    yield "descriptor", _descriptor(uid, "baseline", keys)
    for place in (1, 2):
        data = dict.fromkeys(keys, float(place))
        yield "event", {"descriptor": f"baseline-{uid}", "seq_num": place, "data": data}
    external = {name: {**_key(name), "external": "STREAM:"} for name in COLUMNS}
    yield "descriptor", _descriptor(uid, "primary", external)
    path = root / "2026" / "11" / "29" / f"{number + 1:06d}_{uid[:8]}" / "glidepath.h5"
    for name in COLUMNS:
        parameters = {"dataset": f"/entry/data/{name}"}
        yield (
            "stream_resource",
            {
                **{"uid": f"{name}-{uid}", "run_start": uid, "data_key": name},
                **{"uri": f"file://localhost{path}", "parameters": parameters},
            },
        )
    for announced in range(DATUMS // len(COLUMNS)):
        for name in COLUMNS:
            yield (
                "stream_datum",
                {
                    "uid": f"{name}-{uid}/{announced}",
                    "descriptor": f"primary-{uid}",
                    "stream_resource": f"{name}-{uid}",
                    "indices": {"start": 5 * announced, "stop": 5 * announced + 5},
                    "seq_nums": {"start": 5 * announced + 1, "stop": 5 * announced + 6},
                },
            )
    yield (
        "stop",
        {
            **{"uid": f"stop-{uid}", "run_start": uid, "time": begun + 6.0},
            "exit_status": "fail" if failed else "success",
            "reason": "the axis stood still" if failed else "100 rows",
            "num_events": {"baseline": 2, "primary": 100},
        },
    )


def _key(source: str) -> dict[str, Any]:
    return {"source": source, "dtype": "number", "shape": [], "units": "mm", "precision": 3}


def _descriptor(uid: str, name: str, keys: Mapping[str, Any]) -> dict[str, Any]:
    return {"uid": f"{name}-{uid}", "run_start": uid, "name": name, "data_keys": dict(keys)}


def table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Return the rows as a table."""
    rows = list(rows)
    result = Table(
        "command",
        title=f"lookback: seconds from a command to its end, {rows[0]['runs']} runs",
        title_justify="left",
    )
    for label in ("median (s)", "slowest (s)", "repeats"):
        result.add_column(label, justify="right")
    for row in rows:
        result.add_row(
            row["command"],
            shown(row["median_s"]),
            shown(row["slowest_s"]),
            str(row["repeats"]),
        )
    return result
