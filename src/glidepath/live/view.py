"""Shows a running scan in the terminal: a progress bar and the spectrum so far."""

import threading
import time
from types import TracebackType

import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from .follower import PrimaryFollower
from .spectrum import draw_spectrum

REFRESH = 0.5
"""Seconds between two drawings: rows are announced twice a second."""

PLAIN_REFRESH = 5.0
"""Seconds between two lines where the output is no terminal."""


class LiveView:
    """Draws what a `PrimaryFollower` knows, in a thread of its own, while it is entered.

    Parameters
    ----------
    follower
        Subscribed to the run engine by the caller.
    console
        Where to draw. Without a terminal, a line of progress comes every five seconds.
    signal, reference
        Columns: the signal is divided by the reference if there is one. None: the last
        detector, no reference.
    """

    def __init__(
        self,
        follower: PrimaryFollower,
        console: Console,
        signal: str | None = None,
        reference: str | None = None,
    ) -> None:
        self._follower = follower
        self._console = console
        self._signal = signal
        self._reference = reference
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="glidepath live view")
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.completed:.0f}/{task.total:.0f} rows"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._progress.add_task("moving to the run-up", total=1.0)

    def __enter__(self) -> "LiveView":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        if self._console.is_terminal:
            with Live(console=self._console, auto_refresh=False, transient=False) as live:
                while not self._stopping.wait(REFRESH):
                    live.update(self._drawing(), refresh=True)
                live.update(self._drawing(), refresh=True)
            return
        following = time.monotonic()
        while not self._stopping.wait(REFRESH):
            if time.monotonic() >= following and self._follower.rows:
                following = time.monotonic() + PLAIN_REFRESH
                self._console.print(self._line())

    def _expected(self) -> int:
        return int(self._follower.start.get("preflight", {}).get("rows", 0)) or 1

    def _line(self) -> str:
        follower = self._follower
        position = follower.columns([follower.axis], max(follower.rows - 1, 0))
        at = position.get(follower.axis, np.array([]))
        where = f", {follower.axis} {at[-1]:.2f}" if len(at) else ""
        return f"{follower.rows} of {self._expected()} rows{where}"

    def _drawing(self) -> Group:
        follower = self._follower
        report = follower.start.get("preflight", {})
        if follower.rows:
            self._progress.update(
                self._task,
                description=f"{follower.axis} {report.get('start', 0):g} to "
                f"{report.get('stop', 0):g} {report.get('unit', '')}",
                total=max(self._expected(), follower.rows),
                completed=follower.rows,
            )
        parts = [self._progress.get_renderable()]
        signal = self._signal or (follower.start.get("detectors") or [None])[-1]
        if follower.rows and signal is not None and report:
            wanted = [follower.axis, signal] + ([self._reference] if self._reference else [])
            columns = follower.columns(wanted)
            if len(columns) == len(wanted):
                y, label = columns[signal], signal
                if self._reference:
                    with np.errstate(divide="ignore", invalid="ignore"):
                        y, label = y / columns[self._reference], f"{signal} / {self._reference}"
                drawing = draw_spectrum(
                    columns[follower.axis],
                    y,
                    limits=(report["start"], report["stop"]),
                    width=min(self._console.width, 100),
                    label=label,
                    unit=report["unit"],
                )
                parts.append(Text.from_ansi(drawing))
        return Group(*parts)


__all__ = ["LiveView"]
