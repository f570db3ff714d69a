"""How a pre-flight report and the end of a scan look in the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from glidepath.sentences import as_sentence
from glidepath.trajectory import Preflight


def print_preflight(console: Console, report: Preflight) -> None:
    """Print a pre-flight report as a table."""
    table = Table(title="Pre-flight", show_header=False, title_justify="left", box=None)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for label, text in report.lines():
        table.add_row(label, text, style="red" if label == "Objection" else None)
    console.print(table)


def print_end(console: Console, start: Mapping[str, Any], stop: Mapping[str, Any]) -> None:
    """Print how a scan ended."""
    console.print(
        as_sentence(
            f"Scan {start.get('scan_id')} ({start.get('uid', '')[:8]}): "
            f"{stop.get('exit_status')}; {stop.get('reason')}"
        ),
        highlight=False,
        soft_wrap=True,
    )


__all__ = ["print_end", "print_preflight"]
