"""What the whole sampler sustains: from updates to a file, its documents and a live reader.

Run as ``python -m benchmarks.storage``. The load server posts on 50 channels; a process samples
them as the flyscan plan does, into a file with documents; another one reads the file meanwhile.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glidepath.storage import Column, GrowingFile, Table

from .load_server import LoadServer
from .measure import Process, environment, median_row, python_module, table

CHANNELS = 50
LOADS = (50_000.0, 150_000.0)
SECONDS = 20.0

FOLLOWED = "/entry/instrument/load_0/time"

APPENDS = 200
APPENDED_ROWS = 1000


def rows(
    loads: Sequence[float] = LOADS,
    seconds: float = SECONDS,
    channels: int = CHANNELS,
    folder: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
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
    progress
        Is told what is being measured.

    Returns
    -------
    list of dict
        For each load a row with ``what`` "sampler": ``posted_per_s``, ``updates_per_s`` and
        ``updates`` in the file, ``lost`` (missing in the channels' counters), ``lost_share``,
        ``cpu_us_per_update``, ``memory_MB``, ``memory_slope_MB_per_min``, ``rows``, ``late``,
        ``documents`` (by name), ``readable_after_s`` (median age of the newest row when another
        process first sees it), ``oldest_readable_after_s`` and ``reader_lag_s`` (largest age).
        Then one with ``what`` "file": ``rows_per_s`` to disk and ``flush_ms`` of all tables.
    """
    found = []
    for load in loads:
        progress(f"sampler, {channels} channels, {load:.0f}/s, {seconds:g} s")
        with tempfile.TemporaryDirectory(dir=folder) as place:
            found.append(_sampler(channels, load, seconds, place))
    progress("file alone")
    repeated = []
    for _ in range(3):
        with tempfile.TemporaryDirectory(dir=folder) as place:
            repeated.append(_file(channels, Path(place)))
    return [*found, median_row(repeated, ("rows_per_s", "flush_ms"))]


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


def report(found: Sequence[dict[str, Any]]) -> str:
    """Return the rows as a table for a person."""
    columns: dict[str, Callable[[Any], str]] = {
        "what": str,
        "channels": str,
        "posted_per_s": "{:.0f}".format,
        "updates_per_s": "{:.0f}".format,
        "lost": str,
        "lost_share": "{:.4%}".format,
        "cpu_us_per_update": "{:.2f}".format,
        "cpu_share": "{:.0%}".format,
        "memory_MB": "{:.0f}".format,
        "memory_slope_MB_per_min": "{:+.1f}".format,
        "rows": str,
        "late": str,
        "readable_after_s": _seconds,
        "oldest_readable_after_s": _seconds,
        "reader_lag_s": _seconds,
        "rows_per_s": "{:.0f}".format,
        "flush_ms": "{:.2f}".format,
    }
    return "\n\n".join(
        table([row], {key: form for key, form in columns.items() if key in row}) for row in found
    )


def _seconds(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def main() -> None:
    """Measure as the command line says, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--loads", type=float, nargs="+", default=list(LOADS))
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--channels", type=int, default=CHANNELS)
    parser.add_argument("--folder", type=Path, help="where the files go")
    parser.add_argument("--json", type=Path, help="file to write the results to")
    options = vars(parser.parse_args())
    target = options.pop("json")
    found = rows(**options, progress=lambda text: print(text, file=sys.stderr))
    print(report(found))
    if target is not None:
        target.write_text(json.dumps({"environment": environment(), "results": found}, indent=1))


if __name__ == "__main__":
    main()


__all__ = ["CHANNELS", "LOADS", "report", "rows"]
