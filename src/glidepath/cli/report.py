"""How a pre-flight report and the end of a scan look in the terminal."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.table import Table

from glidepath.sentences import ScanError, as_sentence
from glidepath.session.positions import Position, positions_of
from glidepath.trajectory import Preflight

LOOKING = 3.0
"""Seconds in which an axis must say where it is, after a scan that failed."""


def print_preflight(console: Console, report: Preflight) -> None:
    """Print a pre-flight report as a table."""
    table = Table(title="Pre-flight", show_header=False, title_justify="left", box=None)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for label, text in report.lines():
        table.add_row(label, text, style="red" if label == "Objection" else None)
    console.print(table)


@contextmanager
def what_is_left_said(session: Any) -> Iterator[None]:
    """Add to the reason why a scan failed which run it is, its rows, and whether its axis stands.

    Raises
    ------
    ScanError
        As it was raised inside, with one sentence more.
    """
    try:
        yield
    except ScanError as error:
        start = session.follower.start
        if not start:
            raise
        count = session.follower.rows
        raise ScanError(
            f"{error} Scan {start.get('scan_id')} ({start.get('uid', '')[:8]}) keeps {count} "
            f"row{'' if count == 1 else 's'}{_standing(session, session.follower.axis)}."
        ) from error


def _standing(session: Any, axis: str) -> str:
    """Return whether an axis stands, as the end of a sentence; nothing if it is no device."""
    device = session.beamline.devices.get(axis)
    if device is None:
        return ""

    async def look() -> Position:
        (found,) = await asyncio.wait_for(positions_of({axis: device}), LOOKING)
        return found

    try:
        found = session.call(look)
    except OSError:  # no connection, or no answer in time: the reason is not lost for that
        found = Position(axis, trouble="it does not answer")
    if found.trouble:
        return f"; whether {axis} stands cannot be seen"
    return f", and {axis} {'still moves' if found.moving else 'stands'}"


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


__all__ = ["print_end", "print_preflight", "what_is_left_said"]
