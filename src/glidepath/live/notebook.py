"""Shows a running scan in a notebook: a plot in the browser that gets only what is new.

Rows go to the browser as binary differences from a thread of their own, so that the plot grows
while the kernel is busy with the scan. Switches of the plot are computed in the browser.
"""

import logging
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import anywidget
import numpy as np
import traitlets
from numpy.typing import NDArray

from glidepath.storage import watching
from glidepath.timeline import HARMLESS

from .follower import PrimaryFollower
from .spectrum_data import Display, display_of
from .view_thread import ViewThread

PUSH_PERIOD = 0.05
"""Seconds between two messages to the browser at least."""

WAIT = 0.5
"""Seconds to wait for news before looking whether anything is left to do."""

SNAPSHOT_EVERY = 20
"""So many differences are followed by all rows: a browser that came late misses nothing."""

_log = logging.getLogger(__name__)


@cache
def module_text() -> str:
    """Return the JavaScript of the widget: uPlot, the plot, and what a notebook asks for."""
    static = files("glidepath.live") / "static"
    plot = (static / "uplot" / "uPlot.esm.js").read_text("utf-8")
    own = (static / "spectrum.js").read_text("utf-8")
    notebook = (static / "notebook.js").read_text("utf-8")
    # One module: what the parts export to others they share here.
    plot = plot.replace("export { uPlot as default };", "").replace("export default uPlot;", "")
    own = own.replace("export class", "class").replace("export function", "function")
    return "\n".join([plot, own, notebook])


@cache
def style_text() -> str:
    """Return the style sheet of the widget."""
    static = files("glidepath.live") / "static"
    return "\n".join(
        (static / name).read_text("utf-8") for name in ("uplot/uPlot.min.css", "spectrum.css")
    )


class SpectrumWidget(anywidget.AnyWidget):
    """A spectrum in a notebook's output.

    Attributes
    ----------
    meta
        What is shown: axis, signal, reference, unit, title, expected rows, columns, state.
    table
        All rows, column by column, as float64: set when a run has ended, so that it is there when
        the page is loaded again.
    """

    meta = traitlets.Dict().tag(sync=True)
    table = traitlets.Bytes(b"").tag(sync=True)

    # Of the class: a style sheet that is only given to an instance never reaches the browser.
    _esm = module_text()
    _css = style_text()


class NotebookView(ViewThread):
    """Displays a widget and feeds it with what a `PrimaryFollower` knows, while it is entered.

    Parameters
    ----------
    follower
        Subscribed to the run engine by the caller.
    signal, reference
        Columns; None: what the beamline says.
    """

    def __init__(
        self,
        follower: PrimaryFollower,
        signal: str | None = None,
        reference: str | None = None,
    ) -> None:
        super().__init__(follower, "glidepath notebook view")
        self._signal = signal
        self._reference = reference
        self._run_uid = ""
        self._sent = 0
        self._pushes = 0
        self.widget: SpectrumWidget | None = None
        """What is displayed, from the first row on."""

    def _run(self) -> None:
        seen = self._wait_for_scan(WAIT)
        if not self._has_scan:
            return
        with watching():
            while not self._stopping.is_set():
                self._push()
                self._stopping.wait(PUSH_PERIOD)
                seen = self._follower.wait(seen, WAIT)
        self._push()
        self._keep()

    def _push(self) -> None:
        """Send what is new since the last time."""
        follower = self._follower
        if not self._has_scan or not follower.rows:
            return
        uid = follower.start["uid"]
        if uid != self._run_uid:
            self._run_uid, self._sent = uid, 0
        if follower.rows == self._sent:
            return
        display = display_of(follower.start, follower.scalars, self._signal, self._reference)
        if not display.signal:
            return
        self._pushes += 1
        first = 0 if self._pushes % SNAPSHOT_EVERY == 0 else self._sent
        try:
            columns = follower.columns(_wanted(display, follower), first)
        except OSError:
            # It is being written just now: the next message has it.
            return
        if display.axis not in columns or display.signal not in columns:
            return
        if self.widget is None:
            self._display(display, list(columns))
        assert self.widget is not None
        self.widget.send(
            {"kind": "rows", "run": uid, "first": first, "names": list(columns)},
            [np.ascontiguousarray(column).tobytes() for column in columns.values()],
        )
        self._sent = first + len(columns[display.axis])

    def _display(self, display: Display, names: list[str]) -> None:
        from IPython.display import display as show

        self.widget = SpectrumWidget(meta=self._meta(display, names))
        show(self.widget)

    def _meta(self, display: Display, names: list[str]) -> dict[str, Any]:
        start, stop = self._follower.start, self._follower.stop
        return {
            "axis": display.axis,
            "signal": display.signal,
            "reference": display.reference,
            "unit": display.unit,
            "harmless": int(HARMLESS),
            "columns": names,
            "expected": self._follower.expected,
            "title": f"Scan {start.get('scan_id', '')} ({start['uid'][:8]})",
            "running": stop is None,
            "status": "" if stop is None else stop.get("exit_status", ""),
        }

    def _keep(self) -> None:
        """Leave all rows with the widget: it is drawn again when the page is loaded again."""
        if self.widget is None:
            return
        follower = self._follower
        display = display_of(follower.start, follower.scalars, self._signal, self._reference)
        try:
            columns = follower.columns(_wanted(display, follower))
        except OSError as error:
            # The plot keeps what it got; only a page that is loaded again does not have it.
            _log.warning("The notebook does not keep the rows of the scan: %s", error)
            self.widget.meta = self._meta(display, self.widget.meta["columns"])
            return
        self.widget.meta = self._meta(display, list(columns))
        self.widget.table = _packed(columns)


def _wanted(display: Display, follower: PrimaryFollower) -> list[str]:
    names = [display.axis, display.signal, display.reference, "pass_number", "quality"]
    return [name for name in dict.fromkeys(names) if name in follower.scalars]


def _packed(columns: Mapping[str, NDArray[np.float64]]) -> bytes:
    return b"".join(np.ascontiguousarray(column).tobytes() for column in columns.values())


__all__ = ["NotebookView", "SpectrumWidget", "module_text", "style_text"]
