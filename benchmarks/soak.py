"""A long run at a steady rate: is everything as flat at its end as after its first minutes?

A load server posts, a client samples one run after the other into files, a journal and Tiled;
this process reads the newest file meanwhile and watches. Run
``python -m benchmarks.soak --hours 2 --json soak.json --plot soak.png``.
"""

import argparse
import contextlib
import json
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from glidepath.catalog import LocalTiledServer
from glidepath.cli.bench import check_writable, environment

from .load_server import LoadServer
from .measure import Process, python_module, resident_megabytes
from .storage_client import ROW_PERIOD

RATE = 10_000.0
CHANNELS = 20
RUN_SECONDS = 1800.0
REPORT_SECONDS = 10.0
LOOK_PERIOD = 0.05
"""Seconds between two looks of the live reader."""

FOLLOWED = "/entry/instrument/load_0/time"
PRIMARY = "/entry/data/load_0"

WATCHED = {
    "client_memory_MB": "memory of the client (MB)",
    "client_handles": "file handles of the client",
    "client_threads": "threads of the client",
    "tasks": "tasks of its event loop",
    "readable_after_s": "age of the newest update that another process can read, median (s)",
    "reader_lag_s": "the same, largest (s)",
    "loop_lag_s": "lateness of the event loop, largest (s)",
    "queued": "documents that wait for Tiled",
    "tiled_memory_MB": "memory of Tiled (MB)",
    "tiled_handles": "file handles of Tiled",
    "tiled_behind_s": "how far Tiled is behind the file (s)",
}


def soak(
    seconds: float,
    rate: float = RATE,
    channels: int = CHANNELS,
    run_seconds: float = RUN_SECONDS,
    report_seconds: float = REPORT_SECONDS,
    runs: int = 1_000_000,
    folder: Path | None = None,
    tiled: bool = True,
    keep: Path | None = None,
) -> dict[str, Any]:
    """Sample for a while and watch.

    Parameters
    ----------
    seconds
        How long altogether.
    rate
        Updates per second on all channels together.
    channels
        Number of channels.
    run_seconds
        Length of one run; one follows the other, in the same process.
    report_seconds
        Time between two samples of what is watched.
    runs
        End after so many runs, if that is sooner.
    folder
        Where the data go; None: the system's temporary folder. They are removed.
    tiled
        Feed the documents to a Tiled server, too.
    keep
        Write the result to this file after every sample: a soak that is cut short is not lost.

    Returns
    -------
    dict
        ``settings``; ``samples``: one dict for each time; ``runs``: one for each run with the
        updates in its file and how many are missing; ``summary``: see `summary`.
    """
    result: dict[str, Any] = {
        "environment": environment(),
        "settings": {
            "seconds": seconds,
            "rate": rate,
            "channels": channels,
            "run_seconds": run_seconds,
            "tiled": tiled,
        },
        "samples": [],
        "runs": [],
        "summary": {},
    }
    if keep is not None:
        _write(keep, result)
    with tempfile.TemporaryDirectory(dir=folder) as place, contextlib.ExitStack() as stack:
        root = Path(place)
        server = stack.enter_context(LoadServer(channels))
        catalogue = stack.enter_context(LocalTiledServer(root)) if tiled else None
        server.publish(channels, rate)
        numbers = map(str, (channels, rate, seconds, run_seconds, report_seconds, runs))
        command = python_module("soak_client", *numbers, place, *(["tiled"] if tiled else []))
        client = stack.enter_context(Process(command, server.environment))
        processes = {"client": client.pid, "server": server.pid}
        if catalogue is not None:
            processes["tiled"] = catalogue.process_id or 0
        watch = _Watch(client, processes, catalogue)
        for kind, what in watch.until(time.monotonic() + seconds + 120):
            result[kind].append(what)
            result["summary"] = summary(result)
            if keep is not None:
                _write(keep, result)
        posted, posting = server.stop()
        result["settings"]["posted_per_s"] = posted / posting
    result["summary"] = summary(result)
    return result


class _Watch:
    """Reads the newest file as it grows, and counts what the processes hold."""

    def __init__(
        self, client: Process, processes: Mapping[str, int], catalogue: LocalTiledServer | None
    ) -> None:
        self._client = client
        self._processes = processes
        self._server = catalogue
        self._tiled: Any = None
        self._file: h5py.File | None = None
        self._uid = ""
        self._ages: list[float] = []

    def until(self, deadline: float) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield ("samples" or "runs", values) until the client has ended.

        Raises
        ------
        RuntimeError
            If it does not end by itself, or ends before its time.
        """
        try:
            while True:
                self._look()
                if not self._client.answers(LOOK_PERIOD):
                    if time.monotonic() > deadline:
                        raise RuntimeError("The sampling process did not end in time.")
                    continue
                line = self._client.line()
                if not line:
                    return
                told = json.loads(line)
                if "file" in told:
                    self._open(Path(told["file"]), told["uid"])
                elif "sample" in told:
                    yield "samples", told["sample"] | self._counted()
                elif "ended" in told:
                    self._close()
                else:
                    yield "runs", told["run"]
        finally:
            self._close()
            if self._tiled is not None:
                self._tiled.context.http_client.close()

    def _open(self, path: Path, uid: str) -> None:
        self._close()
        self._file = h5py.File(path, "r", swmr=True, libver="latest")
        self._uid = uid

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _look(self) -> None:
        if self._file is None:
            return
        times = self._file[FOLLOWED]
        times.refresh()
        if length := len(times):
            self._ages.append(time.time() - float(times[length - 1]))

    def _counted(self) -> dict[str, Any]:
        ages, self._ages = self._ages, []
        found: dict[str, Any] = {
            "readable_after_s": statistics.median(ages) if ages else None,
            "reader_lag_s": max(ages, default=None),
        }
        for name, pid in self._processes.items():
            found[f"{name}_memory_MB"] = resident_megabytes(pid)
            found[f"{name}_handles"] = len(os.listdir(f"/proc/{pid}/fd"))
            found[f"{name}_threads"] = len(os.listdir(f"/proc/{pid}/task"))
        if self._server is not None:
            found["tiled_behind_s"] = self._tiled_behind()
        return found

    def _tiled_behind(self) -> float | None:
        """Return how many seconds of rows of this run are in the file, but not in Tiled yet."""
        assert self._server is not None
        if self._file is None:
            return None
        if self._tiled is None:
            self._tiled = self._server.client()
        try:
            shown = self._tiled[self._uid]["primary"]["load_0"].shape[0]
        except KeyError:
            shown = 0
        column = self._file[PRIMARY]
        column.refresh()
        return (len(column) - shown) * ROW_PERIOD


def summary(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return for each watched quantity how it was early and late, and its trend.

    ``early`` is the median over the second quarter of the time (the first is for buffers that
    grow to their size), ``late`` over the last quarter, ``per_hour`` the slope of a line through
    the last three quarters; then ``updates``, ``lost`` and ``late_updates`` of all runs that
    have ended.
    """
    samples: Sequence[Mapping[str, Any]] = result["samples"]
    found: dict[str, Any] = {}
    for key in WATCHED:
        known = [(s["time_s"], s[key]) for s in samples if s.get(key) is not None]
        if not known:
            continue
        t, values = np.array(known, float).T
        first, second, third = np.searchsorted(t, t[-1] * np.array([0.25, 0.5, 0.75]))
        if first < second and third < len(t):
            found[key] = {
                "early": float(np.median(values[first:second])),
                "late": float(np.median(values[third:])),
                "largest": float(values.max()),
                "per_hour": float(3600 * np.polyfit(t[first:], values[first:], 1)[0]),
            }
    runs = result["runs"]
    found["hours"] = samples[-1]["time_s"] / 3600 if samples else 0.0
    found["updates"] = sum(run["updates"] for run in runs)
    found["lost"] = sum(run["lost"] for run in runs)
    found["late_updates"] = sum(run["late"] for run in runs)
    found["runs"] = len(runs)
    found["published"] = sum(bool(run["published"]) for run in runs)
    return found


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Draw what was watched over time."""
    from matplotlib.figure import Figure

    samples = result["samples"]
    hours = [sample["time_s"] / 3600 for sample in samples]
    panels = {
        "memory (MB)": ("client_memory_MB", "tiled_memory_MB"),
        "count": ("client_handles", "client_threads", "tasks", "tiled_handles"),
        "seconds": ("readable_after_s", "reader_lag_s", "loop_lag_s", "tiled_behind_s"),
        "documents that wait": ("queued",),
    }
    figure = Figure(figsize=(9, 10), layout="constrained")
    for axes, (label, keys) in zip(
        figure.subplots(len(panels), sharex=True), panels.items(), strict=True
    ):
        for key in keys:
            if samples and key in samples[0]:
                values = [np.nan if s[key] is None else s[key] for s in samples]
                axes.plot(hours, values, label=WATCHED[key], linewidth=0.8)
        axes.set_ylabel(label)
        axes.legend(fontsize=7, loc="upper right")
    axes.set_xlabel("time (h)")
    settings = result["settings"]
    figure.suptitle(
        f"{settings['rate']:.0f} updates/s on {settings['channels']} channels, "
        f"runs of {settings['run_seconds']:.0f} s"
    )
    figure.savefig(path, dpi=110)


def _write(file: Path, result: Mapping[str, Any]) -> None:
    unfinished = file.with_name(f"{file.name}.unfinished")
    unfinished.write_text(json.dumps(result, indent=1) + "\n")
    unfinished.replace(file)


def main() -> None:
    """Run a soak from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=2.0, help="how long (default: 2)")
    parser.add_argument("--rate", type=float, default=RATE, help="updates/s of all channels")
    parser.add_argument("--channels", type=int, default=CHANNELS)
    parser.add_argument("--run", type=float, default=RUN_SECONDS, help="seconds of one run")
    parser.add_argument("--report", type=float, default=REPORT_SECONDS, help="seconds per sample")
    parser.add_argument("--folder", type=Path, help="where the data go until the end")
    parser.add_argument("--no-tiled", action="store_true", help="files and journal only")
    parser.add_argument("--json", type=Path, default=Path("soak.json"))
    parser.add_argument("--plot", type=Path, default=Path("soak.png"))
    wanted = parser.parse_args()
    try:
        for file in (wanted.json, wanted.plot):
            check_writable(file)
    except ValueError as error:
        parser.error(str(error))
    # Asked to end: the processes end with the blocks that they were started in.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        result = soak(
            3600 * wanted.hours,
            wanted.rate,
            wanted.channels,
            wanted.run,
            wanted.report,
            folder=wanted.folder,
            tiled=not wanted.no_tiled,
            keep=wanted.json,
        )
        _write(wanted.json, result)
    except KeyboardInterrupt:
        result = json.loads(wanted.json.read_text())
    draw(result, wanted.plot)
    print(json.dumps(result["summary"], indent=1))


if __name__ == "__main__":
    main()
