"""Shows a running scan in a matplotlib figure: a Qt window, a notebook's canvas, or a picture.

Qt draws in the thread that runs its loop, which is the one that waits for the run engine: there a
timer looks for rows. Every other canvas is drawn in a thread of its own.
"""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from glidepath.storage import watching

from .follower import PrimaryFollower
from .spectrum_data import Display, display_of, mean_of, passes_of
from .view_thread import ViewThread

PERIOD = 0.1
"""Seconds between two looks for rows, and between two drawings at least."""

LEAST_PAUSE = 2.0
"""A drawing is followed by a pause of so many times its own processor time: the scan goes first."""

UPWARDS, DOWNWARDS, EARLIER, SUM = "#1f5fbf", "#c85a00", "#9aa4b2", "#111111"
"""Colours of the newest pass, by its direction, of those before it, and of their mean: those of
the notebook and of the page."""

NAME = "Glidepath"
"""Title of the window, which is used for one scan after the other."""


def no_window(error: ImportError) -> str:
    """Return what matplotlib says of a window that it cannot open, as a sentence."""
    why = " ".join(str(error).split()).rstrip(".")
    return (
        f"No window can be opened ({why}); it needs PyQt6 or PySide6, and a display: over ssh, "
        "ssh -X."
    )


def can_show() -> bool:
    """Return whether matplotlib's backend draws while the run engine works: Qt or ipympl does."""
    backend = matplotlib.get_backend().lower()
    return "qt" in backend or "ipympl" in backend


def why_no_window() -> str:
    """Return why matplotlib's backend cannot open a window here, in a sentence, or nothing."""
    if not _draws_in_window():
        return ""
    try:
        _window()
    except ImportError as error:
        return no_window(error)
    return ""


def _draws_in_window() -> bool:
    return "qt" in matplotlib.get_backend().lower()


def _window() -> Figure:
    """Return the figure of the one window for all scans; it comes up when it is shown."""
    from matplotlib import pyplot

    with pyplot.ioff():
        return pyplot.figure(NAME, figsize=(9, 5.2), layout="constrained")


class SpectrumFigure:
    """The spectrum of one run in a matplotlib figure: newest pass bold, mean with its error band.

    Parameters
    ----------
    figure
        What is drawn in; it is cleared.
    """

    def __init__(self, figure: Figure) -> None:
        self.figure = figure
        self._shape: tuple[Any, ...] = ()
        self._named = ("", "")
        self._axes: Any = None
        self._earlier: list[Any] = []
        self._newest: Any = None
        self._mean: Any = None
        self._band: Any = None
        self._bad: Any = None

    def show(
        self,
        columns: dict[str, Any],
        display: Display,
        title: str,
        limits: tuple[float, float] | None = None,
    ) -> None:
        """Take the rows of a table, shape (n,) each, into the lines; the canvas is not drawn.

        Parameters
        ----------
        columns, display
            What is shown.
        title
            What stands above it.
        limits
            Range of the axis that is flown, in its unit; None: that of the rows.
        """
        passes = passes_of(columns, display)
        if not passes:
            return
        if self._shape != (title, display, len(passes)):
            self._shape = (title, display, len(passes))
            self._begin(display, title, len(passes))
            if limits is not None:
                self._axes.set_xlim(*limits)
        for line, one in zip(self._earlier, passes[:-1], strict=True):
            line.set_data(one.position, one.value)
        newest = passes[-1]
        self._newest.set_data(newest.position, newest.value)
        self._newest.set_color(UPWARDS if newest.upwards else DOWNWARDS)
        bad = [(one.position[one.bad], one.value[one.bad]) for one in passes]
        self._bad.set_data(*(np.concatenate(part) for part in zip(*bad, strict=True)))
        if len(passes) > 1:
            self._show_mean(mean_of(passes))
        self._name(
            f"pass {newest.number} ({'up' if newest.upwards else 'down'})",
            "rows with bits" if any(one.bad.any() for one in passes) else "_none",
        )
        self._axes.relim()
        self._axes.autoscale_view()

    def _name(self, newest: str, bad: str) -> None:
        """Say in the legend what is drawn; it is made anew only when that has changed."""
        if self._named != (newest, bad):
            self._named = (newest, bad)
            self._newest.set_label(newest)
            self._bad.set_label(bad)
            self._axes.legend(loc="upper right", fontsize=8)

    def _show_mean(self, mean: Any) -> None:
        self._mean.set_data(mean.position, mean.value)
        low, high = mean.value - mean.error, mean.value + mean.error
        if self._band is not None:
            self._band.remove()
        # Only where it is known: where one pass has been, nothing is drawn from bin to bin.
        self._band = self._axes.fill_between(
            mean.position, low, high, where=np.isfinite(mean.error), color=SUM, alpha=0.18, lw=0
        )

    def _begin(self, display: Display, title: str, passes: int) -> None:
        self.figure.clear()
        axes = self._axes = self.figure.subplots()
        self._band, self._named = None, ("", "")
        plain: dict[str, Any] = {"lw": 0.7, "color": EARLIER}
        self._earlier = [axes.plot([], [], **plain)[0] for _ in range(passes - 1)]
        (self._mean,) = axes.plot([], [], lw=1.2, color=SUM, label="mean" if passes > 1 else None)
        (self._newest,) = axes.plot([], [], lw=2)
        hollow: dict[str, Any] = {"mfc": "white", "mec": "#b00020", "ms": 5}
        (self._bad,) = axes.plot([], [], "o", **hollow)
        unit = f" ({display.unit})" if display.unit else ""
        axes.set(xlabel=f"{display.axis}{unit}", ylabel=display.label)
        # The first rows lie near each other: 400.01, not 0.01 and "+4e2" in a corner.
        axes.ticklabel_format(axis="x", useOffset=False)
        axes.set_title(title, fontsize=11)


def _range_of(start: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the range that a run flies, from low to high, if its start document says it."""
    report = start.get("preflight") or {}
    try:
        low, high = sorted((float(report["start"]), float(report["stop"])))
    except (KeyError, TypeError, ValueError):
        return None
    return (low, high) if low < high else None


class FigureView(ViewThread):
    """Draws what a `PrimaryFollower` knows in a matplotlib figure, while it is entered.

    With Qt it is entered in the main thread, which the run engine then lends to Qt.

    Parameters
    ----------
    follower
        Subscribed to the run engine by the caller.
    signal, reference
        Columns: the signal is divided by the reference. None: what the beamline says; an empty
        reference: no normalisation.
    """

    def __init__(
        self,
        follower: PrimaryFollower,
        signal: str | None = None,
        reference: str | None = None,
    ) -> None:
        super().__init__(follower, "glidepath figure view")
        self._signal = signal
        self._reference = reference
        self._drawn: tuple[Any, ...] = ()
        self._shown = self._closed = False
        self._pause_until = 0.0
        self._timer: Any = None
        self._canvas: Any = None
        self._ending = ExitStack()
        self._watching = False
        self.figure = Figure(figsize=(9, 5.2), layout="constrained")
        self._spectrum = SpectrumFigure(self.figure)

    def __enter__(self) -> Self:
        if not _draws_in_window():
            return super().__enter__()
        self._use_window()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        if self._timer is not None:
            self._timer.stop()
        self._pause_until = 0.0
        self._look()
        if self._canvas is not None:
            self._keep_in_notebook()
        self._ending.close()

    def _use_window(self) -> None:
        """Use one window for all scans; it comes up with the first rows."""
        self.figure = _window()
        self._spectrum = SpectrumFigure(self.figure)
        self._timer = self.figure.canvas.new_timer(int(1000 * PERIOD))
        self._timer.add_callback(self._look)
        self._timer.start()
        self.figure.canvas.mpl_connect("close_event", lambda _: self._close_window())

    def _close_window(self) -> None:
        """Draw no more: the user has closed the window; the next scan opens it again."""
        self._closed = True
        self._timer.stop()

    def _run(self) -> None:
        seen = 0
        while not self._stopping.is_set():
            seen = self._follower.wait(seen, 1.0)
            self._look()
            self._stopping.wait(max(PERIOD, self._pause_until - time.monotonic()))

    def _look(self) -> None:
        """Draw what is new, if there is anything and the last drawing is long enough ago."""
        follower = self._follower
        start = follower.start
        if self._closed or start is self._before or "preflight" not in start:
            return
        if not self._watching and not self._stopping.is_set():
            self._watching = True
            self._ending.enter_context(watching())
        if not follower.rows:
            return
        now = (start["uid"], follower.rows)
        if now == self._drawn or time.monotonic() < self._pause_until:
            return
        display = display_of(start, follower.scalars, self._signal, self._reference)
        if not display.signal:
            return
        wanted = [display.axis, display.signal, display.reference, "pass_number", "quality"]
        try:
            columns = follower.columns([name for name in wanted if name])
        except OSError:
            # It is being written just now: the next drawing shows it.
            return
        if display.axis not in columns or display.signal not in columns:
            return
        began = time.thread_time()
        self._drawn = now
        title = f"Scan {start.get('scan_id', '')} ({start['uid'][:8]})"
        self._spectrum.show(columns, display, title, _range_of(start))
        self._show()
        self.figure.canvas.draw()
        self._pause_until = time.monotonic() + LEAST_PAUSE * (time.thread_time() - began)

    def _show(self) -> None:
        if self._shown:
            return
        self._shown = True
        if self._timer is not None:
            # One that is there stays where it is: to show it again would take the keyboard away
            # from the prompt at the beginning of each scan.
            manager: Any = self.figure.canvas.manager
            if not manager.window.isVisible():
                self.figure.show()
        elif "ipympl" in matplotlib.get_backend().lower():
            self._show_in_notebook()

    def _show_in_notebook(self) -> None:
        # Not one of pyplot's: bluesky would draw it in another thread at the same time.
        from ipympl.backend_nbagg import Canvas, FigureManager
        from IPython.display import display

        canvas = self._canvas = Canvas(self.figure)
        canvas.manager = FigureManager(canvas, 0)
        display(canvas)
        # The kernel hears that the browser is there only when the scan is over. Until then ipympl
        # would send bare pixels, which no browser takes for a picture: the frame stayed empty.
        canvas.syncing_data_url = False

    def _keep_in_notebook(self) -> None:
        """Let the last picture be in the notebook, for a page that is made without a browser."""
        self._canvas.syncing_data_url = True
        try:
            self._canvas._repr_mimebundle_()
        finally:
            self._canvas.syncing_data_url = False


__all__ = ["FigureView", "SpectrumFigure", "can_show", "no_window", "why_no_window"]
