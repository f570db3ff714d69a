"""How runs look in a terminal: the list, and one run in full."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from glidepath.sentences import as_sentence

if TYPE_CHECKING:
    from glidepath.lookback import Difference, Run, StoredRun

STYLES = {
    **{"success": "", "abort": "yellow", "fail": "red"},
    **{"open": "cyan", "recording": "cyan", "killed": "red"},
}


def runs_table(runs: Sequence["Run"]) -> Table:
    """Return runs as a table, in their order."""
    table = Table(box=None, pad_edge=False)
    for name in ("scan", "time", "plan", "axis", "range"):
        table.add_column(name, no_wrap=True)
    table.add_column("rows", justify="right")
    for name in ("status", "sample", "uid"):
        table.add_column(name, no_wrap=True)
    for run in runs:
        edge = " ".join(part for part in (run.element, run.edge) if part)
        table.add_row(
            str(run.scan_id) if run.scan_id >= 0 else "",
            f"{datetime.fromtimestamp(run.begun):%Y-%m-%d %H:%M:%S}",
            run.plan,
            run.axis,
            run.range,
            str(run.rows),
            run.status,
            " ".join(part for part in (run.sample, edge) if part),
            run.uid[:8],
            style=STYLES.get(run.status, ""),
        )
    return table


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
    table.add_column()
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


__all__ = ["differences_table", "print_run", "runs_table"]
