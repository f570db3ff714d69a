"""What the whole sampler sustains: from updates to a file, its documents and a live reader.

The load server posts on 50 channels; a process samples them as the flyscan plan does, into a
file with documents; another one reads the file meanwhile. A C program that only counts the same
updates is the control: what it loses, nobody on this machine could have had.
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rich.table

from glidepath.storage import Column, GrowingFile, Table

from .load_server import PREFIX, LoadServer
from .measure import Process, compiled, median_row, python_module
from .tables import compact

CHANNELS = 50
LOADS = (50_000.0, 150_000.0)
SECONDS = 60.0

CONTROL_SECONDS = 10.0
WARM_UP = 0.5

FOLLOWED = "/entry/instrument/load_0/time"

APPENDS = 200
APPENDED_ROWS = 1000


def measure(
    loads: Sequence[float] = LOADS,
    seconds: float = SECONDS,
    channels: int = CHANNELS,
    folder: Path | None = None,
) -> list[dict[str, Any]]:
    """Measure the sampler at several loads, and the file alone.

    Parameters
    ----------
    loads
        Updates per second posted on all channels together.
    seconds
        How long each load is sampled.
    channels
        Number of channels; one of five is a readback, the others are detectors.
    folder
        Where the files go; None: the system's temporary folder. They are removed.

    Returns
    -------
    list of dict
        For each load a row with ``what`` "libca", the control (``posted_per_s``,
        ``updates_per_s``, ``updates``, ``lost``, ``lost_share``, ``cpu_us_per_update``), and one
        with ``what`` "sampler": ``posted_per_s``, ``updates_per_s`` and
        ``updates`` in the file, ``lost`` (missing in the channels' counters), ``lost_share``,
        ``cpu_us_per_update``, ``memory_MB``, ``memory_slope_MB_per_min``, ``rows``, ``late``,
        ``documents`` (by name), ``readable_after_s`` (median age of the newest row when another
        process first sees it), ``oldest_readable_after_s`` and ``reader_lag_s`` (largest age).
        Then one with ``what`` "file": ``rows_per_s`` to disk and ``flush_ms`` of all tables.
    """
    found = []
    for load in loads:
        found.append(_control(channels, load, min(seconds, CONTROL_SECONDS)))
        with tempfile.TemporaryDirectory(dir=folder) as place:
            found.append(_sampler(channels, load, seconds, place))
    repeated = []
    for _ in range(3):
        with tempfile.TemporaryDirectory(dir=folder) as place:
            repeated.append(_file(channels, Path(place)))
    return [*found, median_row(repeated, ("rows_per_s", "flush_ms"))]


def _control(channels: int, load: float, seconds: float) -> dict[str, Any]:
    program = compiled(Path(__file__).with_name("libca_client.c"), shared=False)
    with (
        LoadServer(channels) as server,
        Process([str(program)], server.environment) as client,
    ):
        ready = client.ask(f"{PREFIX} {channels} {WARM_UP} {seconds}")
        assert ready == "ready", ready
        server.publish(channels, load)
        updates, took, cpu, lost = map(float, client.answer(seconds + 60).split())
        posted, posting = server.stop()
    return {
        "what": "libca",
        "channels": channels,
        "posted_per_s": posted / posting,
        "updates_per_s": updates / took,
        "updates": int(updates),
        "lost": int(lost),
        "lost_share": lost / max(updates + lost, 1),
        "cpu_us_per_update": 1e6 * cpu / max(updates, 1),
        "cpu_share": cpu / took,
    }


def _sampler(channels: int, load: float, seconds: float, place: str) -> dict[str, Any]:
    command = python_module("storage_client", "sampler", str(channels), str(load), str(seconds))
    with (
        LoadServer(channels) as server,
        Process([*command, place], server.environment) as sampler,
    ):
        path = sampler.answer().removeprefix("file ")
        server.publish(channels, load)
        reading = python_module("storage_client", "reader", path, FOLLOWED)
        with Process(reading, {}) as reader:
            sampler.answer(seconds + 60)
            posted, posting = server.stop()
            read = json.loads(reader.ask("stop"))
        result = json.loads(sampler.answer(120))
    updates, lost = result["updates"], result["lost"]
    return {
        "what": "sampler",
        "channels": channels,
        "posted_per_s": posted / posting,
        "lost_share": lost / max(updates + lost, 1),
        "cpu_us_per_update": 1e6 * result["cpu_s"] / max(updates, 1),
        "cpu_share": result["cpu_s"] / result["measured_s"],
        **result,
        **read,
    }


def _file(channels: int, place: Path) -> dict[str, Any]:
    """Append to a table of two columns per channel, as the sampler does."""
    tables = [
        Table(f"/entry/instrument/load_{k}", [Column("value"), Column("time")], "NXlog")
        for k in range(channels)
    ]
    file = GrowingFile(place / "alone.h5", tables)
    columns = {name: np.arange(APPENDED_ROWS, dtype=float) for name in ("value", "time")}
    begin = time.perf_counter()
    for _ in range(APPENDS):
        for number in range(channels):
            file.append(number, columns)
        file.flush()
    took = time.perf_counter() - begin
    file.close()
    return {
        "what": "file",
        "channels": channels,
        "rows_per_s": APPENDS * channels * APPENDED_ROWS / took,
        "flush_ms": 1e3 * took / APPENDS,
    }


def rows(quick: bool = False) -> list[dict[str, Any]]:
    """Measure; a row for each load, and one for the file alone."""
    return measure((10_000.0,), 3.0) if quick else measure()


def table(rows: Iterable[Mapping[str, Any]]) -> rich.table.Table:
    """Show the rows."""
    rows = list(rows)
    lines: dict[str, tuple[str, Callable[[Any], str]]] = {
        "channels": ("channels", str),
        "posted_per_s": ("posted (1/s)", "{:.0f}".format),
        "updates_per_s": ("updates (1/s)", "{:.0f}".format),
        "lost_share": ("lost", "{:.4%}".format),
        "cpu_us_per_update": ("processor time per update (us)", "{:.2f}".format),
        "memory_slope_MB_per_min": ("growth of memory (MB/min)", "{:+.1f}".format),
        "readable_after_s": ("readable after (s)", "{:.3f}".format),
        "reader_lag_s": ("lag of the reader (s)", "{:.3f}".format),
        "rows_per_s": ("rows (1/s)", "{:.0f}".format),
        "flush_ms": ("flush (ms)", "{:.2f}".format),
    }
    result = compact("storage: the whole sampler", ["what"], [row["what"] for row in rows])
    for key, (label, form) in lines.items():
        values = [row.get(key) for row in rows]
        result.add_row(label, *("-" if value is None else form(value) for value in values))
    return result


__all__ = ["CHANNELS", "LOADS", "measure", "rows", "table"]
