"""Shows a running scan in the terminal: a progress bar and the spectrum so far."""

import sys
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from glidepath.configuration import VIEWS
from glidepath.storage import watching

from .follower import PrimaryFollower
from .spectrum import DOWNWARDS, EARLIER, UPWARDS, Curve, draw_curves
from .spectrum_data import Display, Pass, display_of, passes_of
from .view_thread import ViewThread

REFRESH = 0.25
"""Seconds between two drawings of the progress where no rows come; rows are drawn at once."""

LEAST_PAUSE = 4.0
"""A drawing is followed by a pause of so many times its own duration: the scan goes first."""

LOOK_PERIOD = 0.1
"""Seconds between two looks for rows where the output is no terminal."""

PLAIN_REFRESH = 5.0
"""Seconds between two lines where the output is no terminal."""

WIDEST = 100
"""Characters of a drawing's width at most."""


def view_for(follower: PrimaryFollower, view: str = "auto") -> AbstractContextManager[Any]:
    """Return the view that was chosen, or that fits where this program runs.

    Parameters
    ----------
    follower
        What is shown.
    view
        One of `glidepath.configuration.VIEWS`.

    Raises
    ------
    ValueError
        If there is no such view, or matplotlib has no canvas that can be seen.
    """
    if view not in VIEWS:
        raise ValueError(f"There is no view {view!r}; there are {', '.join(VIEWS)}.")
    if view == "matplotlib":
        return _figure_view(follower)
    if view == "notebook" or (view == "auto" and in_notebook()):
        from .notebook import NotebookView

        return NotebookView(follower)
    if view == "terminal" or (view == "auto" and sys.stdout.isatty()):
        return LiveView(follower, Console(highlight=False, emoji=False))
    return nullcontext()


def _figure_view(follower: PrimaryFollower) -> AbstractContextManager[Any]:
    import matplotlib

    from .figure import FigureView, can_show, why_no_window

    if not can_show():
        raise ValueError(
            f"matplotlib draws with {matplotlib.get_backend()}, which nobody sees while a scan "
            "runs; say %matplotlib qt, or %matplotlib ipympl in a notebook, before, or choose "
            "another view."
        )
    if reason := why_no_window():
        raise ValueError(reason)
    return FigureView(follower)


def in_notebook() -> bool:
    """Return whether this program is the kernel of a notebook."""
    if "IPython" not in sys.modules:
        return False
    from IPython.core.getipython import get_ipython

    return hasattr(get_ipython(), "kernel")


class LiveView(ViewThread):
    """Draws what a `PrimaryFollower` knows, in a thread of its own, while it is entered.

    The newest pass is drawn in the colour of its direction over the passes before it, divided
    by the beamline's reference. Rows with bits of ``quality`` that spoil them are counted.

    Parameters
    ----------
    follower
        Subscribed to the run engine by the caller.
    console
        Where to draw. Without a terminal, a line of progress comes every five seconds.
    signal, reference
        Columns: the signal is divided by the reference. None: what the beamline says; an empty
        reference: no normalisation.
    """

    def __init__(
        self,
        follower: PrimaryFollower,
        console: Console,
        signal: str | None = None,
        reference: str | None = None,
    ) -> None:
        super().__init__(follower, "glidepath live view")
        self._console = console
        self._signal = signal
        self._reference = reference
        self._drawn: tuple[Any, ...] = ()
        self._picture: list[Text] = []
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.completed:.0f}/{task.total:.0f} rows"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._progress.add_task("moving to the run-up", total=1.0)

    def _run(self) -> None:
        if not self._console.is_terminal:
            self._print_lines()
            return
        seen = self._wait_for_scan(REFRESH)
        if not self._has_scan:
            return
        with watching(), Live(console=self._console, auto_refresh=False, transient=False) as live:
            while not self._stopping.is_set():
                began = time.thread_time()
                live.update(self._drawing(), refresh=True)
                self._stopping.wait(LEAST_PAUSE * (time.thread_time() - began))
                seen = self._follower.wait(seen, REFRESH)
            live.update(self._drawing(), refresh=True)

    def _print_lines(self) -> None:
        following = time.monotonic()
        while not self._stopping.wait(LOOK_PERIOD):
            if time.monotonic() >= following and self._has_scan and self._follower.rows:
                following = time.monotonic() + PLAIN_REFRESH
                self._console.print(self._line())

    def _line(self) -> str:
        follower = self._follower
        try:
            position = follower.columns([follower.axis], max(follower.rows - 1, 0))
        except OSError:
            # It is being written just now: the next line says where it is.
            position = {}
        at = position.get(follower.axis, np.array([]))
        where = f", {follower.axis} {at[-1]:.2f}" if len(at) else ""
        return f"{follower.rows} of {follower.expected or 1} rows{where}"

    def _drawing(self) -> Group:
        follower = self._follower
        report = follower.start.get("preflight", {})
        if follower.rows:
            self._progress.update(
                self._task,
                description=f"{follower.axis} {report.get('start', 0):g} to "
                f"{report.get('stop', 0):g} {report.get('unit', '')}",
                total=max(follower.expected or 1, follower.rows),
                completed=follower.rows,
            )
        if follower.rows and (follower.start.get("uid"), follower.rows) != self._drawn:
            self._drawn = (follower.start.get("uid"), follower.rows)
            self._picture = self._spectrum(report)
        return Group(self._progress.get_renderable(), *self._picture)

    def _spectrum(self, report: dict[str, Any]) -> list[Text]:
        follower = self._follower
        display = display_of(follower.start, follower.scalars, self._signal, self._reference)
        if not display.signal or "start" not in report:
            return []
        wanted = [display.axis, display.signal, display.reference, "pass_number", "quality"]
        try:
            columns = follower.columns([name for name in wanted if name])
        except OSError:
            # It is being written just now: the next drawing shows it.
            self._drawn = ()
            return self._picture
        if display.axis not in columns or display.signal not in columns:
            return []
        passes = passes_of(columns, display)
        bad = sum(int(one.bad.sum()) for one in passes)
        drawing = draw_curves(
            _curves(passes),
            limits=(report["start"], report["stop"]),
            width=min(self._console.width, WIDEST),
            label=_caption(passes, display),
            axis_label=f"{display.axis} ({display.unit})" if display.unit else display.axis,
        )
        counted = [Text(f"{bad} rows carry bits of quality; %why says which.")] if bad else []
        return [Text.from_ansi(drawing), *counted]


def _curves(passes: list[Pass]) -> list[Curve]:
    """Return the newest pass on top, in the colour of its direction."""
    earlier = [Curve(one.position, one.value, EARLIER) for one in passes[:-1]]
    newest = passes[-1:]
    return earlier + [
        Curve(one.position, one.value, UPWARDS if one.upwards else DOWNWARDS) for one in newest
    ]


def _caption(passes: list[Pass], display: Display) -> str:
    if len(passes) < 2:
        return display.label
    direction = "up" if passes[-1].upwards else "down"
    return f"{display.label}, pass {passes[-1].number} ({direction})"


__all__ = ["LiveView", "in_notebook", "view_for"]
