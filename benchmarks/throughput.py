"""How many updates a second each way of listening takes in, and what one costs.

All contenders listen to the same load server, each
in a process of its own, in turn; the medians of several rounds are reported.
"""

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table

from glidepath.flyers.monitors.inbox import FastPathUnavailable, load

from .load_server import PREFIX, WAVE_PREFIX, LoadServer
from .measure import Process, compiled, median_row, python_module
from .medians import shown
from .tables import compact

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

SAMPLER = "glidepath-sampler"
"""The whole sampler on the fast path, with its file and its documents, as a scan runs it."""

QUICK_PATHS = ("libca", "aioca", "glidepath-portable", "glidepath-fast")
"""Who listens at 100 000/s, which is beyond all others."""

WAVE_PATHS = ("libca", "aioca", "ophyd-async", "glidepath-portable", "glidepath-fast")
"""Who listens to waveforms."""

FLOOD = 0.0
STEADY = 10_000.0
FAST = 100_000.0

CHANNEL_RATE = 1000.0
"""Updates per second of each channel while the whole sampler runs."""

ELEMENTS = 1000
WAVE_CHANNELS = 10
WAVE_LOADS = (1e6, 1e7)
"""Elements of a waveform, channels that are waveforms, and elements per second of all together:
time series of 100 kHz and 1 MHz per channel, in 100 and 1000 pieces a second."""

WARM_UP = 0.3
SECONDS = 0.8
SAMPLER_SECONDS = 4.0
REPEATS = 2

BACKLOG_TIMEOUT = 1.0
"""Seconds that a client gets to work off what piled up, before it is thrown away."""

NUMBERS = ("updates_per_s", "cpu_us_per_update", "lost", "lost_share", "posted_per_s")


@dataclass(frozen=True)
class Case:
    """One load, and who listens to it.

    Parameters
    ----------
    channels
        Their number.
    load
        Values per second posted on all channels together; 0: as many as the server can.
    paths
        Contenders, of `PATHS` and `SAMPLER`.
    elements
        1 for scalars, else the length of the waveforms, of which each element counts.
    """

    channels: int
    load: float
    paths: Sequence[str] = PATHS
    elements: int = 1


def cases() -> list[Case]:
    """Return what is measured."""
    found = [Case(number, load) for number in (1, 10, 50) for load in (FLOOD, STEADY)]
    for number in (10, 50):
        # One record alone is not posted at that rate without losses in the server.
        found.append(Case(number, FAST, QUICK_PATHS))
        found.append(Case(number, CHANNEL_RATE * number, (SAMPLER,)))
    return found + [Case(WAVE_CHANNELS, load, WAVE_PATHS, ELEMENTS) for load in WAVE_LOADS]


def measure(
    chosen: Sequence[Case], repeats: int = REPEATS, seconds: float = SECONDS
) -> list[dict[str, Any]]:
    """Measure all contenders of some cases and return one row for each.

    Parameters
    ----------
    chosen
        What to measure.
    repeats
        Rounds; a row has the medians.
    seconds
        Length of one measurement.

    Returns
    -------
    list of dict
        ``path``, ``channels``, ``elements``, ``posted`` ("flood" or the load asked for),
        ``updates_per_s`` received, ``cpu_us_per_update`` of the client, ``lost`` (values missing
        in the channels' counters, between the first and last received), ``lost_share`` of those,
        and ``posted_per_s``. Of a waveform each element is an update.
    """
    left_out = {"glidepath-fast", SAMPLER} if unavailable() else set()
    found: list[dict[str, Any]] = []
    most = max(case.channels for case in chosen)
    with LoadServer(most, ELEMENTS) as server, _Clients(server) as clients:
        # Waveforms that were never posted are empty, and clients wait for a value.
        server.publish(most, waveforms=True)
        server.stop()
        for case in chosen:
            listening = [path for path in case.paths if path not in left_out]
            rounds: dict[str, list[dict[str, Any]]] = {path: [] for path in listening}
            for _ in range(repeats):
                for path in listening:
                    rounds[path].append(clients.measure(path, case, seconds))
            found += [median_row(rounds[path], NUMBERS) for path in listening]
    return found


def unavailable() -> str:
    """Return why there is no fast path here; empty if there is one."""
    try:
        load()
    except FastPathUnavailable as reason:
        return str(reason)
    return ""


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
                command = [str(program)]
            else:
                command = python_module("throughput_client", path)
            process = Process(command, self._server.environment)
            self._processes[path] = self._stack.enter_context(process)
        return self._processes[path]

    def measure(self, path: str, case: Case, seconds: float) -> dict[str, Any]:
        """Let one client listen for a while; return its row."""
        listen = self._sample if path == SAMPLER else self._listen
        updates, took, cpu, lost, posted_per_s = listen(path, case, seconds)
        return {
            "path": path,
            "channels": case.channels,
            "elements": case.elements,
            "posted": "flood" if case.load == FLOOD else round(case.load),
            "updates_per_s": updates / took,
            "cpu_us_per_update": 1e6 * cpu / max(updates, 1.0),
            "lost": round(lost),
            "lost_share": lost / max(updates + lost, 1.0),
            "posted_per_s": case.elements * posted_per_s,
        }

    def _listen(self, path: str, case: Case, seconds: float) -> tuple[float, ...]:
        client = self._process(path)
        waveforms = case.elements > 1
        prefix = WAVE_PREFIX if waveforms else PREFIX
        ready = client.ask(f"{prefix} {case.channels} {WARM_UP} {seconds}")
        assert ready == "ready", ready
        self._server.publish(case.channels, case.load / case.elements, waveforms=waveforms)
        try:
            answer = client.answer()
        finally:
            posted, posting = self._server.stop()
        if client.answers(BACKLOG_TIMEOUT):
            client.answer()
        else:
            client.kill()
            del self._processes[path]
        return (*map(float, answer.split()), posted / posting)

    def _sample(self, path: str, case: Case, seconds: float) -> tuple[float, ...]:
        seconds = max(seconds, SAMPLER_SECONDS)
        arguments = ["sampler", str(case.channels), str(case.load), str(seconds)]
        with (
            tempfile.TemporaryDirectory() as folder,
            Process(
                [*python_module("storage_client", *arguments), folder], self._server.environment
            ) as sampler,
        ):
            sampler.answer()
            self._server.publish(case.channels, case.load)
            try:
                sampler.answer(2 * seconds + 60)
            finally:
                posted, posting = self._server.stop()
            found = json.loads(sampler.answer())
        updates, lost = found["updates"], found["lost"]
        return updates, updates / found["updates_per_s"], found["cpu_s"], lost, posted / posting


def rows(quick: bool = False) -> list[dict[str, Any]]:
    """Measure; a row for each contender and case."""
    if quick:
        chosen = [Case(10, FLOOD), Case(10, CHANNEL_RATE * 10, (SAMPLER,))]
        waves = Case(WAVE_CHANNELS, WAVE_LOADS[0], ("libca", "glidepath-fast"), ELEMENTS)
        return measure([*chosen, waves], repeats=1, seconds=0.4)
    return measure(cases())


RATIOS = {
    "rate fast / libca": ("updates_per_s", "glidepath-fast", "libca", "flood"),
    "rate fast / aioca": ("updates_per_s", "glidepath-fast", "aioca", "flood"),
    "rate fast / run engine": ("updates_per_s", "glidepath-fast", "run-engine-monitor", "flood"),
    "rate portable / aioca": ("updates_per_s", "glidepath-portable", "aioca", "flood"),
    "CPU sequential / fast": ("cpu_us_per_update", "sequential", "glidepath-fast", 10_000),
    "CPU sequential / sampler": ("cpu_us_per_update", "sequential", SAMPLER, None),
}
"""What one path has of another: the number, the two paths, and the load (None: of the sampler's
own load, and of a steady load for its peer)."""


def ratios(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what the issue asks for: one row of `RATIOS` per number of channels of scalars.

    Ratios of which a row is missing are None.
    """
    scalars = [row for row in rows if row.get("elements", 1) == 1]

    def number(key: str, path: str, channels: int, posted: Any) -> float | None:
        if posted is None:
            posted = round(CHANNEL_RATE * channels) if path == SAMPLER else round(STEADY)
        found = [
            row[key]
            for row in scalars
            if (row["path"], row["channels"], row["posted"]) == (path, channels, posted)
        ]
        return found[0] if found else None

    result = []
    for channels in dict.fromkeys(row["channels"] for row in scalars):
        row: dict[str, Any] = {"channels": channels}
        for name, (key, path, peer, posted) in RATIOS.items():
            one, other = (number(key, p, channels, posted) for p in (path, peer))
            row[name] = one / other if one is not None and other else None
        result.append(row)
    return result


def table(rows: Sequence[Mapping[str, Any]]) -> Group:
    """Show the rows and their ratios."""
    columns: dict[str, tuple[str, Callable[[Any], str]]] = {
        "path": ("path", str),
        "channels": ("ch.", str),
        "elements": ("of", str),
        "posted": ("posted", str),
        "updates_per_s": ("updates/s", "{:.0f}".format),
        "cpu_us_per_update": ("CPU us", "{:.2f}".format),
        "lost": ("lost", "{:.0f}".format),
        "lost_share": ("share", "{:.3%}".format),
    }
    first, *others = (title for title, _ in columns.values())
    result = compact("throughput: updates a second", [first], others)
    for row in rows:
        result.add_row(*(form(row[key]) for key, (_, form) in columns.items()))
    found = ratios(rows)
    numbers = [f"{row['channels']} ch." for row in found]
    comparison = Table("in the same run", *numbers)
    for name in RATIOS:
        comparison.add_row(name, *(shown(row[name]) for row in found))
    why = unavailable()
    said = [f"There is no fast path here: {why}."] if why else []
    return Group(result, comparison, *said)


__all__ = ["PATHS", "SAMPLER", "Case", "cases", "measure", "ratios", "rows", "table"]
