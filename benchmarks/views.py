"""From the end of a row to the eye: how old rows are when each view shows them, and what it costs.

Each case flies the same scan once, in a process of its own, with one view or none. The age of a row
is the time from the end of its exposure to the moment at which it was first shown: drawn into the
terminal or the figure, handed to the browser, or fetched by another process.
"""

import json
import os
import pty
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from rich.table import Table

from .beamline import Setup, in_own_process, simulated_setup, wait_until
from .measure import cpu_seconds
from .medians import median, shown
from .tables import compact

__all__ = ["ages_of", "rows", "table"]

PERIOD = 0.02
"""Length of a row (s)."""

START, VELOCITY = 400.0, 0.1
"""Begin of the range (eV) and velocity (eV/s)."""

SECONDS, QUICK_SECONDS = 20.0, 4.0
"""Length of the scan."""

VIEWS = ("none", "terminal", "widget", "matplotlib", "other process", "Tiled")

SHOWN = re.compile(r"(\d+)/\d+ rows")
"""How many rows the terminal's view says that it shows."""

Look = tuple[float, int]
"""When (POSIX s) so many rows had been shown."""


def rows(quick: bool = False) -> list[dict[str, Any]]:
    """Measure; a row for each view."""
    return [in_own_process(measure, view, QUICK_SECONDS if quick else SECONDS) for view in VIEWS]


def measure(view: str, seconds: float) -> dict[str, Any]:
    """Fly for so long with a view; return ages (s), processor time and what the scan is worth."""
    from glidepath.plans import flyscan

    looks: list[Look] = []
    with simulated_setup() as setup, WATCHES[view](setup, looks) as view_cpu:
        detectors = [setup.devices["mesh"], setup.devices["sample"]]
        energy = setup.devices["energy"]
        plan = flyscan(
            detectors, energy, START, START + VELOCITY * seconds, VELOCITY, period=PERIOD
        )
        began = time.process_time(), time.monotonic()
        run = setup.run(plan)
        took = time.monotonic() - began[1]
        own_cpu = time.process_time() - began[0]
        names = ["energy", "sample_time", "sample_duration", "quality"]
        columns = run.columns(names)
        half = columns["sample_duration"] / 2
        ends = columns["sample_time"] + half
        with setup.truth(float(ends[-1])) as truth:
            wrong = columns["energy"] - truth.mean_energy(ends - 2 * half, ends)
        if view == "Tiled":
            wait_until(lambda: looks, 60.0)
        spent = view_cpu()
    (start,), (stop,) = run.of("start"), run.of("stop")
    ages = ages_of(ends, looks)
    return {
        "view": view,
        "rows": len(ends),
        "lost_rows": start["preflight"]["rows"] - len(ends),
        "rows_with_bits": int(np.sum(columns["quality"] > 1)),
        "updates": sum(stop["num_events"].values()) - stop["num_events"]["primary"],
        "rms_meV": median([1e3 * float(np.sqrt(np.mean(wrong**2)))]),
        "age_median_s": median([float(np.median(ages))]) if len(ages) else None,
        "age_95_s": median([float(np.percentile(ages, 95))]) if len(ages) else None,
        "times_shown": len(looks),
        "view_cpu_percent": None if spent is None else median([100 * spent / took]),
        "scan_cpu_percent": median([100 * own_cpu / took]),
    }


def ages_of(ends: np.ndarray, looks: list[Look]) -> np.ndarray:
    """Return how old (s) each row was when it was first shown.

    Parameters
    ----------
    ends
        End of each row's exposure (POSIX s), shape (n,).
    looks
        When so many rows had been shown; rows that never were are left out.
    """
    ages = []
    seen = 0
    for when, count in looks:
        if count > seen:
            ages.append(when - ends[seen:count])
            seen = min(count, len(ends))
    return np.concatenate(ages) if ages else np.array([])


Cpu = Callable[[], float | None]
"""Returns the processor time (s) that a view has used."""


def _thread_seconds(name: str) -> float | None:
    """Return the processor time (s) of a thread of this process, by its name (Linux)."""
    for thread in threading.enumerate():
        if thread.name == name:
            stat = Path(f"/proc/self/task/{thread.native_id}/stat").read_text()
            fields = stat.rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return None


@contextmanager
def _nobody(setup: Setup, looks: list[Look]) -> Iterator[Cpu]:
    yield lambda: None


@contextmanager
def _in_process(setup: Setup, view: Callable[[Any], Any], thread: str) -> Iterator[Cpu]:
    """Let a view follow the run engine; its thread's time is taken when the run stops."""
    from glidepath.live import PrimaryFollower

    follower = PrimaryFollower()
    setup.engine.subscribe(follower)
    spent: list[float | None] = []
    setup.engine.subscribe(lambda *_: spent.append(_thread_seconds(thread)), "stop")
    with view(follower):
        yield lambda: spent[-1] if spent else None


class _Screen:
    """A terminal that notes what is drawn and shows nothing."""

    def __init__(self, looks: list[Look]) -> None:
        self._looks = looks

    def write(self, text: str) -> int:
        found = SHOWN.findall(text)
        if found:
            self._looks.append((time.time(), int(found[-1])))
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return True


@contextmanager
def _terminal(setup: Setup, looks: list[Look]) -> Iterator[Cpu]:
    from rich.console import Console

    from glidepath.live import LiveView

    console = Console(file=_Screen(looks), force_terminal=True, width=100, height=40)  # type: ignore[arg-type]
    with _in_process(setup, lambda f: LiveView(f, console), "glidepath live view") as cpu:
        yield cpu


@contextmanager
def _widget(setup: Setup, looks: list[Look]) -> Iterator[Cpu]:
    from glidepath.live import NotebookView

    class Browser:
        def __init__(self, **state: Any) -> None:
            pass

        def send(self, content: Mapping[str, Any], buffers: list[bytes]) -> None:
            looks.append((time.time(), content["first"] + len(buffers[0]) // 8))

    with (
        patch("glidepath.live.notebook.SpectrumWidget", Browser),
        patch("IPython.display.display", lambda widget: None),
        _in_process(setup, NotebookView, "glidepath notebook view") as cpu,
    ):
        yield cpu


@contextmanager
def _matplotlib(setup: Setup, looks: list[Look]) -> Iterator[Cpu]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from glidepath.live import FigureView

    def view(follower: Any) -> FigureView:
        shown = FigureView(follower)
        canvas = FigureCanvasAgg(shown.figure)

        def drawn(_: Any) -> None:
            lines = shown.figure.axes[0].lines if shown.figure.axes else []
            looks.append((time.time(), max((len(line.get_xdata()) for line in lines), default=0)))

        canvas.mpl_connect("draw_event", drawn)
        return shown

    with _in_process(setup, view, "glidepath figure view") as cpu:
        yield cpu


@contextmanager
def _other_process(setup: Setup, looks: list[Look]) -> Iterator[Cpu]:
    """Let ``glidepath live`` watch in a terminal of its own."""
    from glidepath.catalog import Publisher

    publisher = Publisher(setup.root / "journal")
    setup.engine.subscribe(publisher)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "glidepath", "live", "--data", str(setup.root)],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"COLUMNS": "100", "LINES": "40", "TERM": "xterm-256color"},
    )
    os.close(theirs)
    reading = threading.Thread(target=_read, args=(ours, looks), daemon=True)
    reading.start()
    try:
        # It says that it is there by what it does.
        wait_until(lambda: (setup.root / "watched").exists(), 60.0)
        before = cpu_seconds(process.pid)
        yield lambda: cpu_seconds(process.pid) - before
    finally:
        process.terminate()
        process.wait()
        reading.join(5.0)
        os.close(ours)
        publisher.close()


def _read(terminal: int, looks: list[Look]) -> None:
    rest = ""
    while True:
        try:
            text = os.read(terminal, 65536).decode(errors="replace")
        except OSError:
            return
        now = time.time()
        found = SHOWN.findall(rest + text)
        if found:
            looks.append((now, int(found[-1])))
        rest = text[-40:]


@contextmanager
def _tiled(setup: Setup, looks: list[Look]) -> Iterator[Cpu]:
    """Let a client be pushed the rows by Tiled, and fetch them."""
    from glidepath.catalog import LocalTiledServer, Publisher

    with ExitStack() as stack:
        server = stack.enter_context(LocalTiledServer(setup.root))
        publisher = Publisher(setup.root / "journal", server.client)
        stack.callback(publisher.close, 60.0)
        setup.engine.subscribe(publisher)
        path = os.pathsep.join(filter(None, sys.path))
        viewer = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.tiled_viewer", server.uri],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"TILED_API_KEY": server.api_key, "PYTHONPATH": path},
        )
        stack.callback(viewer.wait)
        stack.callback(viewer.kill)
        assert viewer.stdout is not None
        viewer.stdout.readline()  # it is connected
        before = cpu_seconds(viewer.pid)

        def cpu() -> float:
            return spent[0]

        spent: list[float] = []
        ending = threading.Thread(
            target=_end_viewer, args=(setup, viewer, looks, spent, before), daemon=True
        )
        ending.start()
        yield cpu
        ending.join(60.0)


def _end_viewer(
    setup: Setup, viewer: subprocess.Popen[bytes], looks: list[Look], spent: list[float], t0: float
) -> None:
    stopped = threading.Event()
    setup.engine.subscribe(lambda *_: stopped.set(), "stop")
    stopped.wait()
    # What is still on its way to Tiled is shown too.
    time.sleep(3.0)
    spent.append(cpu_seconds(viewer.pid) - t0)
    assert viewer.stdin is not None
    assert viewer.stdout is not None
    viewer.stdin.close()
    looks += [(when, count) for when, count in json.load(viewer.stdout)]


WATCHES: Mapping[str, Callable[[Setup, list[Look]], Any]] = {
    "none": _nobody,
    "terminal": _terminal,
    "widget": _widget,
    "matplotlib": _matplotlib,
    "other process": _other_process,
    "Tiled": _tiled,
}


def table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Return the rows as a table."""
    labels = {
        "view": "view",
        "age_median_s": "median (s)",
        "age_95_s": "95% (s)",
        "times_shown": "shown",
        "view_cpu_percent": "CPU view %",
        "scan_cpu_percent": "CPU scan %",
        "rows": "rows",
        "lost_rows": "lost",
        "rows_with_bits": "with bits",
        "updates": "updates",
        "rms_meV": "RMS (meV)",
    }
    title = f"views: age of a row of {PERIOD:g} s when it is first shown"
    first, *others = labels.values()
    result = compact(title, [first], others)
    for row in rows:
        texts = [row[key] if isinstance(row[key], str | int) else shown(row[key]) for key in labels]
        result.add_row(*map(str, texts))
    return result
