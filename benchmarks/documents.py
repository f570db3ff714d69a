"""What documents cost: the run engine per document, and the writing process in memory.

Everything is measured with a real Tiled server in a process of its own, medians of several runs.
Figures of a busy machine are too large; their ratios hold.
"""

import asyncio
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import h5py
import numpy as np
from bluesky import RunEngine
from event_model import compose_run
from rich.table import Table

from glidepath.catalog import LocalTiledServer, Publisher

from .medians import median, shown
from .tables import compact

REPEATS = 5
EVENTS = 100
EVENT_PERIOD = 0.01
TICK = 0.005

SAMPLES = 1_500_000
COLUMNS = 8
ROWS_PER_DATUM = 1000


class _Reader:
    """A readable thing with five values, as cheap as can be."""

    name = "reader"
    parent = None

    def read(self) -> dict[str, Any]:
        now = time.time()
        return {f"reader_{i}": {"value": float(i), "timestamp": now} for i in range(5)}

    def describe(self) -> dict[str, Any]:
        return {f"reader_{i}": {"source": "none", "dtype": "number", "shape": []} for i in range(5)}

    def read_configuration(self) -> dict[str, Any]:
        return {}

    def describe_configuration(self) -> dict[str, Any]:
        return {}


@contextmanager
def _subscriber(kind: str, server: LocalTiledServer, journal: Path) -> Iterator[Any]:
    if kind == "none":
        yield None
    elif kind == "publisher":
        publisher = Publisher(journal, server.client)
        yield publisher
        publisher.close(60)
    else:
        from bluesky_tiled_plugins import TiledWriter

        client = server.client()
        yield TiledWriter(client, batch_size=1)
        client.context.http_client.close()


def _run_of_events(kind: str, server: LocalTiledServer, journal: Path) -> dict[str, float]:
    """Fly one run of events; return what an event costs and what the event loop feels."""
    late: list[float] = []
    calls: list[float] = []
    engine = RunEngine({})
    ticking = True

    async def tick() -> None:
        while ticking:
            before = time.perf_counter()
            await asyncio.sleep(TICK)
            late.append(time.perf_counter() - before - TICK)

    reader = _Reader()
    spent: list[float] = []

    def plan() -> Any:
        yield from bps.open_run()
        for _ in range(EVENTS):
            yield from bps.checkpoint()
            before = time.perf_counter()
            yield from bps.create("primary")
            yield from bps.read(reader)
            yield from bps.save()
            spent.append(time.perf_counter() - before)
            yield from bps.sleep(EVENT_PERIOD)
        yield from bps.close_run()

    with _subscriber(kind, server, journal) as subscriber:
        if subscriber is not None:

            def timed(name: str, doc: dict[str, Any]) -> None:
                before = time.perf_counter()
                subscriber(name, doc)
                if name == "event":
                    calls.append(time.perf_counter() - before)

            engine.subscribe(timed)
        ticker = asyncio.run_coroutine_threadsafe(tick(), engine.loop)
        engine(plan())
        ticking = False
        ticker.result(timeout=5)
    engine.loop.call_soon_threadsafe(engine.loop.stop)
    return {
        "event_ms": 1e3 * float(np.median(spent)),
        "call_us": 1e6 * float(np.median(calls)) if calls else 0.0,
        "call_p99_us": 1e6 * float(np.percentile(calls, 99)) if calls else 0.0,
        "tick_p99_ms": 1e3 * float(np.percentile(late, 99)),
        "tick_max_ms": 1e3 * max(late),
    }


def _stream_datum_cost(server: LocalTiledServer, journal: Path) -> float:
    """Return the median cost (us) of handing 20 000 StreamDatums to the publisher."""
    publisher = Publisher(journal, server.client)
    spent = []
    for name, document in _documents(journal / "none.h5", 2500 * ROWS_PER_DATUM):
        before = time.perf_counter()
        publisher(name, document)
        if name == "stream_datum":
            spent.append(time.perf_counter() - before)
    publisher.close(60)
    return 1e6 * float(np.median(spent))


def _documents(path: Path, samples: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the documents of a run of many samples, as a sampler makes them."""
    run: Any = compose_run(metadata={"plan_name": "flyscan"})
    yield "start", run.start_doc
    keys = [f"column_{i}" for i in range(COLUMNS)]
    key = {
        "source": "none",
        "shape": [],
        "dtype": "number",
        "dtype_numpy": "<f8",
        "external": "STREAM:",
    }
    stream = run.compose_descriptor(name="primary", data_keys=dict.fromkeys(keys, key))
    yield "descriptor", stream.descriptor_doc
    composers = []
    for name in keys:
        resource = run.compose_stream_resource(
            mimetype="application/x-hdf5",
            uri=f"file://localhost{path}",
            data_key=name,
            parameters={"dataset": name, "chunk_shape": [1_000_000], "swmr": True},
        )
        yield "stream_resource", resource.stream_resource_doc
        composers.append(resource.compose_stream_datum)
    for start in range(0, samples, ROWS_PER_DATUM):
        for compose in composers:
            stop = start + ROWS_PER_DATUM
            # The run engine numbers rows from 1; without numbers the stock consolidator keeps
            # nothing and the comparison would be of no use.
            yield (
                "stream_datum",
                compose(
                    {"start": start, "stop": stop},
                    {"start": start + 1, "stop": stop + 1},
                    descriptor=stream.descriptor_doc,
                ),
            )
    yield "stop", run.compose_stop()


def _peak_megabytes() -> float:
    """Return the largest memory that this process had (getrusage would add its parent's)."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _memory(kind: str, uri: str, key: str, path: Path, answer: Any) -> None:
    """In a process of its own: write one run, tell by how much the process has grown."""
    from glidepath.catalog import open_catalog

    client = open_catalog(uri, key)
    target: Callable[[str, dict[str, Any]], Any]
    publisher = None
    if kind == "publisher":
        target = publisher = Publisher(path.parent / "journal", lambda: client)
    else:
        from bluesky_tiled_plugins import TiledWriter

        target = TiledWriter(client, normalizer=None, batch_size=100_000)
    # A small run first, so that imports and buffers do not count; peak minus peak is the growth.
    for name, document in _documents(path, 10 * ROWS_PER_DATUM):
        target(name, document)
    if publisher is not None:
        time.sleep(2)
    before = _peak_megabytes()
    for name, document in _documents(path, SAMPLES):
        target(name, document)
        if publisher is not None and name == "stream_datum" and publisher.status.queued > 500:
            time.sleep(0.01)
    if publisher is not None:
        publisher.close(60)
    answer.put(_peak_megabytes() - before)


def _memory_of(kind: str, server: LocalTiledServer, path: Path) -> float:
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    process = context.Process(target=_memory, args=(kind, server.uri, server.api_key, path, answer))
    process.start()
    grown: float = answer.get(timeout=300)
    process.join(60)
    return grown


def rows(quick: bool = False) -> list[dict[str, Any]]:
    """Measure; a row for each subscriber, one for a StreamDatum, one for each writer's memory."""
    repeats = 1 if quick else REPEATS
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, LocalTiledServer(Path(folder)) as server:
        root = Path(folder)
        for kind in ("none", "publisher", "TiledWriter(batch_size=1)"):
            runs = [_run_of_events(kind, server, root / "journal") for _ in range(repeats)]
            figures = {key: median(run[key] for run in runs) for key in runs[0]}
            found.append({"measured": "event", "path": kind, **figures})
        costs = [_stream_datum_cost(server, root / "journal") for _ in range(repeats)]
        found.append({"measured": "stream datum", "path": "publisher", "call_us": median(costs)})
        if not quick:
            path = root / "samples.h5"
            with h5py.File(path, "w") as file:
                for i in range(COLUMNS):
                    file.create_dataset(
                        f"column_{i}", shape=(SAMPLES,), dtype="<f8", chunks=(65536,)
                    )
            for kind in ("publisher", "TiledWriter, stock consolidator"):
                grown = [_memory_of(kind, server, path) for _ in range(3)]
                found.append({"measured": "memory", "path": kind, "memory_MB": median(grown)})
    return found


def table(found: list[dict[str, Any]]) -> Table:
    """Show the rows."""
    labels = {
        "event_ms": "event ms",
        "call_us": "call us",
        "call_p99_us": "call 99% us",
        "tick_p99_ms": "tick 99% ms",
        "tick_max_ms": "tick max ms",
        "memory_MB": "memory MB",
    }
    title = f"documents: an event of five values; memory over {SAMPLES:.2g} samples x {COLUMNS}"
    result = compact(title, ["measured", "subscriber"], list(labels.values()))
    for row in found:
        result.add_row(row["measured"], row["path"], *(shown(row.get(key)) for key in labels))
    return result


__all__ = ["rows", "table"]
