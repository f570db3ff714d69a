"""The set-up that benchmarks share: a process of its own, a beamline in it, a run engine."""

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

__all__ = ["Recorded", "Setup", "in_own_process", "run_engine", "simulated_setup", "wait_until"]

T = TypeVar("T")


def in_own_process(function: Callable[..., T], *arguments: Any) -> T:
    """Call a function of a module in a new process and return its result.

    Channel Access reads its environment once per process: each beamline needs a new one.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def wait_until(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Return the condition's value as soon as it is true; TimeoutError after some seconds."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"Waited {seconds:g} s in vain.")
        time.sleep(0.05)
    return value


@contextmanager
def run_engine() -> Iterator[Any]:
    """Give a run engine with a loop of its own; its connections are closed at the end."""
    from bluesky import RunEngine

    engine = RunEngine({}, call_returns_result=True)
    try:
        yield engine
    finally:
        call(engine, _close_channels)
        engine.loop.call_soon_threadsafe(engine.loop.stop)


def call(engine: Any, function: Callable[[], Awaitable[T]]) -> T:
    """Await a coroutine function in the run engine's loop and return its result."""
    return asyncio.run_coroutine_threadsafe(function(), engine.loop).result()  # type: ignore[arg-type]


async def _close_channels() -> None:
    from aioca import purge_channel_caches

    purge_channel_caches()


@dataclass(eq=False)
class Recorded:
    """The documents of one run, in their order."""

    documents: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        self.documents.append((name, document))

    def of(self, kind: str) -> list[Mapping[str, Any]]:
        """Return the documents of one kind ("start", "event", "stream_datum", ...)."""
        return [document for name, document in self.documents if name == kind]

    def events(self, key: str) -> tuple[np.ndarray, np.ndarray]:
        """Return values and timestamps (POSIX s) of a data key in the events of ``primary``."""
        streams = {d["uid"] for d in self.of("descriptor") if d["name"] == "primary"}
        found = [event for event in self.of("event") if event["descriptor"] in streams]
        return (
            np.array([event["data"][key] for event in found], float),
            np.array([event["timestamps"][key] for event in found], float),
        )

    def columns(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Return columns of the sampled table ``primary``."""
        from glidepath.live import PrimaryFollower

        follower = PrimaryFollower()
        for name, document in self.documents:
            follower(name, document)
        return follower.columns(names)


@dataclass
class Setup:
    """A simulated beamline with a run engine and connected devices.

    Attributes
    ----------
    simulation
        The beamline.
    engine
        The run engine.
    devices
        All devices by name, connected.
    root
        Folder of data files; it goes with the set-up.
    truth_file
        What only the simulation knows.
    """

    simulation: Any
    engine: Any
    devices: Mapping[str, Any]
    root: Path
    truth_file: Path

    def run(self, plan: Any) -> Recorded:
        """Run a plan and return its documents."""
        recorded = Recorded()
        self.engine(plan, recorded)
        return recorded

    def truth(self, until: float) -> Any:
        """Return the truth as soon as it is known up to a time (POSIX s)."""
        from glidepath.simulation import Truth

        def known() -> Any:
            truth = Truth(self.truth_file)
            if len(truth.time) and truth.time[-1] > until:
                return truth
            truth.close()
            return None

        return wait_until(known)


@contextmanager
def simulated_setup(**simulation: Any) -> Iterator[Setup]:
    """Start a simulated beamline with these options, and connect to it.

    Once per process: see `in_own_process`.
    """
    from glidepath.beamlines.simulated import make_devices
    from glidepath.simulation import SimulatedBeamline
    from glidepath.storage import use_data_root

    with tempfile.TemporaryDirectory(
        prefix="glidepath-bench-", ignore_cleanup_errors=True
    ) as folder:
        root = use_data_root(Path(folder) / "data")
        truth = Path(folder) / "truth.h5"
        with SimulatedBeamline(truth=truth, **simulation) as beamline:
            os.environ.update(beamline.environment)
            with run_engine() as engine:
                devices = make_devices(
                    beamline.prefix,
                    beamline.settings.undulator,
                    panda=bool(simulation.get("panda")),
                )
                call(engine, lambda: _connect(devices.values()))
                yield Setup(beamline, engine, devices, root, truth)


async def _connect(devices: Any) -> None:
    await asyncio.gather(*(device.connect() for device in devices))
