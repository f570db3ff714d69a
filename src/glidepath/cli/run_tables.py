"""How runs look in a terminal: the list, and one run in full."""

import os
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from glidepath.sentences import as_sentence

if TYPE_CHECKING:
    from glidepath.lookback import Difference, Run, StoredRun

STYLES = {
    **{"success": "", "abort": "yellow", "fail": "red"},
    **{"open": "cyan", "recording": "cyan", "killed": "red"},
}


HEADER = ("scan", "time", "plan", "axis", "range", "rows", "status", "sample", "uid")
LESS_IMPORTANT = ("plan", "axis", "sample", "range")
"""Columns that a narrow list leaves out, in this order."""

NARROW = 10
"""Characters to which a sample's column is narrowed before columns are left out."""

GAP = 2
"""Blanks between two columns."""

PIPED_WIDTH = 1_000
"""Characters in a line of a list that no terminal shows: nothing is cut or folded there."""


def list_console() -> Console:
    """Return where lists are printed: as wide as the terminal, or endless where there is none."""
    console = Console(highlight=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPED_WIDTH
    return console


def runs_table(runs: Sequence["Run"], width: int = PIPED_WIDTH) -> Table:
    """Return runs as a table, in their order.

    Parameters
    ----------
    runs
        The runs.
    width
        Characters in a line. Where they do not suffice samples are folded first, then columns are
        left out, the least important first; numbers, times, status and uid are never cut.
    """
    rows = [_row(run) for run in runs]
    widths = {name: max(len(row[name]) for row in (*rows, {name: name})) for name in HEADER}
    shown = list(HEADER)

    def missing() -> int:
        return sum(widths[name] + GAP for name in shown) - GAP - width

    if missing() > 0:
        widths["sample"] = min(widths["sample"], max(NARROW, widths["sample"] - missing()))
    for name in LESS_IMPORTANT:
        if missing() > 0:
            shown.remove(name)
    table = Table(box=None, pad_edge=False)
    for name in shown:
        table.add_column(
            name,
            justify="right" if name == "rows" else "left",
            no_wrap=name != "sample",
            overflow="fold",
            width=widths[name],
        )
    for run, row in zip(runs, rows, strict=True):
        table.add_row(*(Text(row[name]) for name in shown), style=STYLES.get(run.status, ""))
    return table


def _row(run: "Run") -> dict[str, str]:
    """Return what a list shows of a run, by column."""
    edge = " ".join(part for part in (run.element, run.edge) if part)
    return {
        "scan": str(run.scan_id) if run.scan_id >= 0 else "",
        "time": f"{datetime.fromtimestamp(run.begun):%Y-%m-%d %H:%M:%S}",
        "plan": run.plan,
        "axis": run.axis,
        "range": run.range,
        "rows": str(run.rows),
        "status": run.status,
        "sample": " ".join(part for part in (run.sample, edge) if part),
        "uid": run.uid[:8],
    }


def differences_table(found: Iterable["Difference"], one: str, other: str) -> Table:
    """Return what is different as a table."""
    table = Table("signal", one, other, "difference", "unit", box=None, pad_edge=False)
    for difference in found:
        by = "" if difference.by != difference.by else f"{difference.by:+.6g}"
        table.add_row(
            difference.signal, _text(difference.one), _text(difference.other), by, difference.unit
        )
    return table


def print_run(console: Console, run: "StoredRun") -> None:
    """Print all that is known of a run."""
    # Reads files, which a list of runs does not.
    from glidepath.lookback import moved_during

    console.print(f"{run!r}", soft_wrap=True, style="bold", markup=False)
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in _facts(run):
        table.add_row(label, text)
    console.print(table)
    moved = moved_during(run)
    baseline = run.baseline()
    if moved:
        console.print("\nMoved during the run:", style="bold")
        console.print(differences_table(moved, "before", "after"))
    if baseline:
        console.print("\nBaseline:", style="bold")
        shown = Table("signal", "before", "unit", box=None, pad_edge=False)
        for signal, reading in baseline.items():
            shown.add_row(signal, _text(reading.before), reading.unit)
        console.print(shown)


def _facts(run: "StoredRun") -> Iterable[tuple[str, str]]:
    start, stop = run.start, run.stop
    yield "Begun", f"{datetime.fromtimestamp(run.run.begun):%Y-%m-%d %H:%M:%S}"
    if stop:
        yield "Lasted", f"{stop['time'] - start['time']:.1f} s"
        yield "Reason", as_sentence(str(stop.get("reason") or "none was given"))
    else:
        yield "Reason", run.run.reason or "No end was recorded."
    for key in ("command", "plan_args", "sample", "users", "proposal"):
        if start.get(key):
            yield key.replace("_", " ").capitalize(), _text(start[key])
    report = start.get("preflight") or {}
    if report:
        yield (
            "Pre-flight",
            f"{report.get('rows')} rows of {report.get('period', 0):g} s, "
            f"{report.get('total_duration', 0):.1f} s in all",
        )
    verdict = run.verdict()
    for key, value in verdict.items():
        if value not in ({}, [], "", None) and key not in ("channels", "verdict"):
            yield f"Verdict: {key.replace('_', ' ')}", _text(value)
    for file in run.files:
        yield "File", f"{file}{'' if file.exists() else ' is missing; bring it back first.'}"
    yield "Journal", str(run.journal)


def _text(value: Any) -> str:
    if value is None:
        return "not recorded"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items() if item is not None)
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return str(value)


__all__ = ["differences_table", "list_console", "print_run", "runs_table"]
