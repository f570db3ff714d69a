"""How many updates a second each way of listening takes in, and what one costs.

All contenders listen to the same load server, each
in a process of its own, in turn; the medians of several rounds are reported.
"""

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from .load_server import PREFIX, LoadServer
from .measure import Process, compiled, median_row, python_module

PATHS = (
    "libca",
    "aioca",
    "ophyd-async",
    "run-engine-monitor",
    "sequential",
    "glidepath-portable",
    "glidepath-fast",
)
"""``libca`` is a C program, the limit. ``aioca`` is its ``camonitor`` with all updates,
``ophyd-async`` its signals' ``subscribe_value``, ``run-engine-monitor`` one Event per update,
``sequential`` the poll of the classic software fly scan: read one signal after the other."""

FLOOD = 0.0
STEADY = 10_000.0
FAST = 100_000.0

QUICK_PATHS = ("libca", "aioca", "glidepath-portable", "glidepath-fast")
"""Who listens at 100 000/s, which is beyond all others."""

WARM_UP = 0.3
SECONDS = 0.8
REPEATS = 2

BACKLOG_TIMEOUT = 1.0
"""Seconds that a client gets to work off what piled up, before it is thrown away."""

NUMBERS = ("updates_per_s", "cpu_us_per_update", "lost", "lost_share", "posted_per_s")


def measure(
    channels: Sequence[int] = (1, 10, 50),
    loads: Sequence[float] = (FLOOD, STEADY, FAST),
    paths: Sequence[str] = PATHS,
    repeats: int = REPEATS,
    seconds: float = SECONDS,
) -> list[dict[str, Any]]:
    """Measure all contenders and return one row for each, number of channels and load.

    Parameters
    ----------
    channels
        Numbers of channels.
    loads
        Updates per second posted on all channels together; 0: as many as the server can.
    paths
        Contenders, of `PATHS`.
    repeats
        Rounds; a row has the medians.
    seconds
        Length of one measurement.

    Returns
    -------
    list of dict
        ``path``, ``channels``, ``posted`` ("flood" or the load asked for), ``updates_per_s``
        received, ``cpu_us_per_update`` of the client, ``lost`` (values missing in the channels'
        counters, between the first and last received), ``lost_share`` of those, and
        ``posted_per_s``.
    """
    found: list[dict[str, Any]] = []
    with LoadServer(max(channels)) as server, _Clients(server) as clients:
        for number in channels:
            for load in loads:
                if load == FAST and number == 1:
                    # One record alone is not posted at that rate without losses in the server.
                    continue
                listening = [p for p in paths if load != FAST or p in QUICK_PATHS]
                rounds: dict[str, list[dict[str, Any]]] = {path: [] for path in listening}
                for _ in range(repeats):
                    for path in listening:
                        rounds[path].append(clients.measure(path, number, load, seconds))
                found += [median_row(rounds[path], NUMBERS) for path in listening]
    return found


def _load(load: float) -> str | int:
    return "flood" if load == FLOOD else round(load)


class _Clients:
    """The contenders' processes, started when they are first needed."""

    def __init__(self, server: LoadServer) -> None:
        self._server = server
        self._processes: dict[str, Process] = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "_Clients":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _process(self, path: str) -> Process:
        if path not in self._processes:
            if path == "libca":
                program = compiled(Path(__file__).with_name("libca_client.c"), shared=False)
                command = [str(program), PREFIX]
            else:
                command = python_module("throughput_client", path, PREFIX)
            process = Process(command, self._server.environment)
            self._processes[path] = self._stack.enter_context(process)
        return self._processes[path]

    def measure(self, path: str, channels: int, load: float, seconds: float) -> dict[str, Any]:
        """Let one client listen for a while; return its row."""
        client = self._process(path)
        ready = client.ask(f"{channels} {WARM_UP} {seconds}")
        assert ready == "ready", ready
        self._server.publish(channels, load)
        try:
            answer = client.answer()
        finally:
            posted, posting = self._server.stop()
        updates, took, cpu, lost = map(float, answer.split())
        if client.answers(BACKLOG_TIMEOUT):
            client.answer()
        else:
            client.kill()
            del self._processes[path]
        return {
            "path": path,
            "channels": channels,
            "posted": _load(load),
            "updates_per_s": updates / took,
            "cpu_us_per_update": 1e6 * cpu / max(updates, 1.0),
            "lost": round(lost),
            "lost_share": lost / max(updates + lost, 1.0),
            "posted_per_s": posted / posting,
        }


def rows(quick: bool = False) -> list[dict[str, Any]]:
    """Measure; a row for each contender, number of channels and load."""
    if quick:
        return measure(channels=(10,), loads=(FLOOD,), repeats=1, seconds=0.4)
    return measure()


def table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Show the rows."""
    columns: dict[str, Callable[[Any], str]] = {
        "path": str,
        "channels": str,
        "posted": str,
        "updates_per_s": "{:.0f}".format,
        "cpu_us_per_update": "{:.2f}".format,
        "lost": "{:.0f}".format,
        "lost_share": "{:.3%}".format,
    }
    result = Table(*columns, title="throughput: updates a second", title_justify="left")
    for row in rows:
        result.add_row(*(form(row[key]) for key, form in columns.items()))
    return result


__all__ = ["FAST", "FLOOD", "PATHS", "STEADY", "measure", "rows", "table"]
