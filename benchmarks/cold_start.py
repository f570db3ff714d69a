"""From Enter to the axis moving, and from the axis standing to the prompt, of ``glidepath fly``.

The command flies the simulated beamline, which writes down where the axis really is. Each time is
of a process of its own. The data directory is new for the first flight and used for the others.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from .beamline import in_own_process, wait_until
from .medians import median, shown

__all__ = ["rows", "table"]

REPEATS = 5

START, STOP, VELOCITY = 400.0, 402.0, 1.0

MOVED = 0.01
"""eV by which the axis must have left where it stood."""


def rows(quick: bool = False) -> list[dict[str, Any]]:
    """Measure; one row for the flights and one for the help."""
    flights = in_own_process(measure, 1 if quick else REPEATS)
    helped = []
    for _ in range(1 if quick else REPEATS):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "glidepath", "--help"], capture_output=True)
        helped.append(time.perf_counter() - began)
    return [
        {"what": name, "median_s": median(times), "slowest_s": median([max(times)]), **counted}
        for name, times in [*flights.items(), ("glidepath --help", helped)]
        for counted in [{"repeats": len(times)}]
    ]


def measure(repeats: int) -> dict[str, list[float]]:
    """Fly so often; return seconds by name of the time."""
    from glidepath.simulation import SimulatedBeamline, Truth

    found: dict[str, list[float]] = {
        "from Enter to the axis moving": [],
        "from the axis standing to the prompt": [],
        "from the prompt to the run in Tiled": [],
    }
    with tempfile.TemporaryDirectory(
        prefix="glidepath-bench-", ignore_cleanup_errors=True
    ) as folder:
        truth = Path(folder) / "truth.h5"
        data = Path(folder) / "data"
        with SimulatedBeamline(truth=truth) as beamline:
            environment = os.environ | beamline.environment
            environment["GLIDEPATH_PREFIX"] = beamline.settings.prefix
            for _ in range(repeats):
                began, ended = _fly(environment, data)
                published = _published(data)
                at, energy = _flown(truth, Truth, began, ended)
                moving = at[np.abs(energy - energy[0]) > MOVED]
                still = at[np.abs(energy - energy[-1]) > MOVED]
                times = (moving[0] - began, ended - still[-1], published - ended)
                for name, seconds in zip(found, times, strict=True):
                    found[name].append(float(seconds))
    return found


def _fly(environment: dict[str, str], data: Path) -> tuple[float, float]:
    """Fly once as a user types it; return when that began and ended (POSIX s)."""
    words = [f"{START:g}", f"{STOP:g}", f"{VELOCITY:g}", "--period", "0.02", "--data", str(data)]
    began = time.time()
    done = subprocess.run(
        [sys.executable, "-m", "glidepath", "fly", "energy", *words],
        env=environment,
        capture_output=True,
        text=True,
    )
    ended = time.time()
    if done.returncode:
        raise RuntimeError(f"glidepath fly failed: {done.stderr}")
    return began, ended


def _published(data: Path) -> float:
    """Wait until what the command has left behind has ended; return when its run was in Tiled."""
    from glidepath.catalog.left_behind import LeftBehind

    left = LeftBehind(data)
    wait_until(lambda: not left.works and not left.waiting, 120.0)
    return max(path.stat().st_mtime for path in (data / "journal").glob("*.published"))


def _flown(file: Path, Truth: Any, began: float, ended: float) -> tuple[np.ndarray, np.ndarray]:
    """Return when (POSIX s) the axis was where (eV) between two times."""

    def known() -> Any:
        truth = Truth(file)
        if len(truth.time) and truth.time[-1] > ended:
            return truth
        truth.close()
        return None

    with wait_until(known) as truth:
        at = np.arange(began, ended, 0.01)
        return at, truth.energy(at)


def table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Return the rows as a table."""
    result = Table(
        "time",
        title=f"cold_start: glidepath fly energy {START:g} {STOP:g} {VELOCITY:g}",
        title_justify="left",
    )
    for label in ("median (s)", "slowest (s)", "repeats"):
        result.add_column(label, justify="right")
    for row in rows:
        result.add_row(
            row["what"], shown(row["median_s"]), shown(row["slowest_s"]), str(row["repeats"])
        )
    return result
