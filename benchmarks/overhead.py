"""What a sampled scan costs when nothing moves: its fixed time, phase by phase.

The plan is `glidepath.plans.flyscan` itself, with real monitors, a real file and all documents.
Only the axis is soft: its flight is one jump, and every channel updates once behind it, so that
no time is spent on motion or on waiting for slow readbacks. The process variables are records
of an EPICS database in a process of its own.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from inspect import getclosurevars
from pathlib import Path
from typing import Any
from unittest.mock import patch

from ophyd_async.core import StandardReadable
from ophyd_async.core import StandardReadableFormat as Format
from rich.table import Table

from glidepath.devices import SampledChannel, signal_r, signal_rw
from glidepath.flyers import BackEnd, Flight, MotionPlan, RunFile, Sampler
from glidepath.timeline.channel import Channel, ChannelKind
from glidepath.trajectory import Envelope, Leg

from .beamline import call, in_own_process, run_engine
from .medians import median, shown

__all__ = ["PHASES", "Phases", "SoftAxis", "SoftChannel", "rows", "soft_ioc", "table"]

CHANNELS = (1, 10, 30, 50)
"""Numbers of channels, the axis included."""

REPEATS = 15

WARM_UP = 3
"""Scans that are not counted: the first connects."""

PHASES = {
    "preflight": "the pre-flight report",
    "stage": "staging the devices",
    "open": "opening the run",
    "prepare": "monitors, first values, the file",
    "declare": "descriptors of all streams",
    "flight": "preparing and starting the flight",
    "flush": "from the end of the motion to the next flush",
    "finish": "the last rows, written",
    "documents": "the last documents, the verdict, closing the run",
    "close": "ending the monitors, closing the file, restoring, unstaging",
}
"""Phases of a scan in their order."""

_OF_FUNCTION = {
    "inspection_of": "preflight",
    "flushed": "flush",
    "finish": "finish",
    "close": "close",
    "restore": "close",
}
_OF_COMMAND = {
    "stage": "stage",
    "subscribe": "open",
    "open_run": "open",
    "declare_stream": "declare",
    "kickoff": "flight",
    "create": "documents",
    "close_run": "documents",
    "unstage": "close",
}

_SERVER = """
import sys
from epicscorelibs.ioc import start_ioc
start_ioc(database=sys.argv[1])
print("ready", flush=True)
sys.stdin.read()
"""


class SoftChannel:
    """A readback of the database that is sampled, and no more."""

    parent = None

    def __init__(self, pv: str, name: str) -> None:
        self.name = name
        self._source = f"ca://{pv}"

    async def channels(self) -> list[SampledChannel]:
        return [SampledChannel(Channel(self.name, ChannelKind.READBACK), self._source)]


class CachedChannel(StandardReadable):
    """A readback as a device that, while it is staged, keeps its value by a monitor of its own."""

    def __init__(self, pv: str, name: str) -> None:
        with self.add_children_as_readables(Format.HINTED_SIGNAL):
            self.value = signal_r(float, pv)
        super().__init__(name)

    async def channels(self) -> list[SampledChannel]:
        return [SampledChannel(Channel(self.name, ChannelKind.READBACK), self.value.source)]


class SoftAxis(StandardReadable):
    """A number that can be set, as an axis."""

    def __init__(self, pv: str, name: str) -> None:
        with self.add_children_as_readables(Format.HINTED_SIGNAL):
            self.value = signal_rw(float, pv)
        super().__init__(name)

    async def channels(self) -> list[SampledChannel]:
        return [SampledChannel(Channel(self.name, ChannelKind.READBACK), self.value.source)]


class Jump(BackEnd[MotionPlan]):
    """A flight from 0 to 1 that takes some milliseconds, and knows how many.

    Attributes
    ----------
    took
        Seconds of the newest flight.
    """

    SECONDS = 0.075

    def __init__(self, axis: SoftAxis) -> None:
        self.axis = axis
        self.took = 0.0

    async def plan(self, leg: Leg) -> MotionPlan:
        return MotionPlan(leg, Envelope(None, None, None, "", run_up=1.0, run_up_time=0.0))

    async def moving(self) -> str:
        return ""

    async def prepare(self, plan: MotionPlan) -> None:
        pass

    async def start(self, plan: MotionPlan) -> None:
        await self.axis.value.set(-1.0)

    async def follow(self, plan: MotionPlan) -> None:
        begin = time.perf_counter()
        await asyncio.sleep(self.SECONDS)
        await self.axis.value.set(2.0)
        self.took = time.perf_counter() - begin

    async def halt(self) -> None:
        pass

    async def restore(self) -> None:
        pass


class Phases:
    """How long each phase of a scan took, from the messages of its plan.

    Attributes
    ----------
    seconds
        Time in each phase so far.
    phase
        The present one.
    """

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self.phase = "preflight"
        self._since = time.perf_counter()

    def __call__(self, message: Any) -> None:
        """Take a message that the run engine is about to process."""
        self.end()
        self.phase = self._of(message)

    def end(self) -> None:
        """Count the time since the last message."""
        now = time.perf_counter()
        self.seconds[self.phase] += now - self._since
        self._since = now

    def _of(self, message: Any) -> str:
        if message.command == "wait_for":
            # The plan's own step is hidden in a function that a pause does not call twice.
            function = getclosurevars(message.args[0][0]).nonlocals["function"]
            name = getattr(function, "func", function).__name__
            return _OF_FUNCTION.get(name, self.phase)
        if message.command == "prepare":
            return "prepare" if isinstance(message.args[0], RunFile) else "flight"
        if message.command == "complete":
            return "finish" if isinstance(message.obj, Sampler) else self.phase
        if message.command == "collect":
            return "documents" if self.phase in ("finish", "documents") else "flush"
        return _OF_COMMAND.get(message.command, self.phase)


def rows(quick: bool = False) -> list[dict[str, Any]]:
    """Measure; a row for each number of channels, and one with devices that are staged."""
    repeats = 3 if quick else REPEATS
    cases = [(number, False) for number in CHANNELS] + [(CHANNELS[-1], True)]
    return [in_own_process(measure, number, repeats, staged) for number, staged in cases]


def measure(number: int, repeats: int, staged: bool = False) -> dict[str, Any]:
    """Run the scan as often as asked; return medians (ms).

    Parameters
    ----------
    number
        Channels, the axis included.
    repeats
        Scans to count.
    staged
        Each detector is a device of ophyd-async that stages a monitor of its own.
    """
    from glidepath.plans import flyscan, trajectory_scan
    from glidepath.storage import use_data_root

    plans = sys.modules[trajectory_scan.__module__]

    with tempfile.TemporaryDirectory(prefix="glidepath-bench-") as folder:
        use_data_root(Path(folder) / "data")
        with soft_ioc(number, Path(folder)) as environment:
            os.environ.update(environment)
            with run_engine() as engine:
                axis = SoftAxis("BENCH:channel0", "position")
                kind = CachedChannel if staged else SoftChannel
                detectors = [kind(f"BENCH:channel{k}", f"channel{k}") for k in range(1, number)]
                call(engine, lambda: _connect([axis, *(detectors if staged else [])]))
                results, processor = [], []
                for _ in range(WARM_UP + repeats):
                    phases, back_end = Phases(), Jump(axis)
                    flight = Flight(back_end, "position_flight")
                    with patch.object(plans, "flight_for", _Give(flight)):
                        engine.msg_hook, begin = phases, time.process_time()
                        engine(flyscan(detectors, axis, 0.0, 1.0, 25.0, period=0.02))
                        phases.end()
                    engine.msg_hook = None
                    phases.seconds["flush"] -= back_end.took
                    results.append(phases.seconds)
                    processor.append(time.process_time() - begin)
    counted = results[WARM_UP:]
    return {
        "channels": number,
        "staged": staged,
        "total_ms": median(1e3 * sum(result.values()) for result in counted),
        "total_without_flush_ms": median(
            1e3 * (sum(result.values()) - result["flush"]) for result in counted
        ),
        "cpu_ms": median(1e3 * seconds for seconds in processor[WARM_UP:]),
        **{f"{name}_ms": median(1e3 * result[name] for result in counted) for name in PHASES},
        "repeats": len(counted),
    }


def table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Return the rows as a table."""
    rows = list(rows)
    result = Table(
        title="overhead: fixed time of a sampled scan without motion, ms", title_justify="left"
    )
    result.add_column("channels")
    for row in rows:
        result.add_column(f"{row['channels']}{' staged' * row['staged']}", justify="right")
    lines = {
        **PHASES,
        "total": "total",
        "total_without_flush": "total but for the wait for a flush",
        "cpu": "processor time, all threads",
    }
    for key, label in lines.items():
        result.add_row(label, *(shown(row[f"{key}_ms"]) for row in rows))
    return result


class _Give:
    """Returns one flight, whatever the axis."""

    def __init__(self, flight: Flight) -> None:
        self._flight = flight

    def __call__(self, _: Any) -> Flight:
        return self._flight


@contextmanager
def soft_ioc(number: int, folder: Path) -> Iterator[dict[str, str]]:
    """Serve ``BENCH:channel0`` ... over Channel Access; give a client's environment.

    All others process, and post, each time that number 0 is written.
    """
    from glidepath.simulation import free_ports

    records = ['record(ao, "BENCH:channel0") { field(PINI, "YES") field(MDEL, "-1") %s }']
    records += [
        f'record(calc, "BENCH:channel{k}") '
        '{ field(PINI, "YES") field(CALC, "VAL+1") field(MDEL, "-1") %s }'
        for k in range(1, number)
    ]
    links = [f'field(FLNK, "BENCH:channel{k + 1}")' for k in range(number - 1)] + [""]
    database = folder / "channels.db"
    database.write_text("\n".join(r % link for r, link in zip(records, links, strict=True)))
    port, repeater = free_ports(2)
    server = {
        "EPICS_CAS_INTF_ADDR_LIST": "127.0.0.1",
        "EPICS_CAS_SERVER_PORT": str(port),
        "EPICS_CAS_BEACON_ADDR_LIST": "127.0.0.1",
        "EPICS_CA_AUTO_ADDR_LIST": "NO",
        "EPICS_CA_REPEATER_PORT": str(repeater),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | server,
    )
    try:
        assert process.stdout is not None
        # The database greets with a banner first.
        if not any(line.strip() == b"ready" for line in process.stdout):
            raise RuntimeError("The EPICS database of the benchmark did not start.")
        yield {
            "EPICS_CA_ADDR_LIST": f"127.0.0.1:{port}",
            "EPICS_CA_AUTO_ADDR_LIST": "NO",
            "EPICS_CA_REPEATER_PORT": str(repeater),
        }
    finally:
        process.kill()
        process.communicate()


async def _connect(devices: Iterable[Any]) -> None:
    await asyncio.gather(*(device.connect() for device in devices))
