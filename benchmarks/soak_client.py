"""The process that is watched in a soak: it samples one run after the other, as users do.

``soak_client CHANNELS RATE SECONDS RUN_SECONDS REPORT_SECONDS RUNS FOLDER [tiled]`` prints JSON
objects, one a line: ``{"file": path}`` when a run has begun, ``{"sample": {...}}`` now and then,
``{"ended": number}`` when its time is over and ``{"run": {...}}`` when it is closed.
"""

import asyncio
import json
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from .storage_client import ROW_PERIOD, Load, sampling, updates_in_file

PULSE = 0.05
"""Seconds between two looks at how late the event loop is."""

PUBLISH_TIMEOUT = 60.0
"""Seconds that Tiled gets at the end of a run to take the last documents."""


class LoopLag:
    """Measures by how much the run engine's loop is late; its task is its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._worst = 0.0
        self._task = asyncio.run_coroutine_threadsafe(self._watch(), loop)

    async def _watch(self) -> None:
        while True:
            begin = time.monotonic()
            await asyncio.sleep(PULSE)
            self._worst = max(self._worst, time.monotonic() - begin - PULSE)

    def take(self) -> float:
        """Return the largest lateness (s) since the last call."""
        worst, self._worst = self._worst, 0.0
        return worst

    def close(self) -> None:
        self._task.cancel()


def tell(**what: Any) -> None:
    print(json.dumps(what), flush=True)


def main(
    channels: int,
    rate: float,
    seconds: float,
    run_seconds: float,
    report_seconds: float,
    runs: int,
    folder: Path,
    tiled: bool,
) -> None:
    """Sample until the time is over."""
    from bluesky import RunEngine

    from glidepath.catalog import Publisher, open_local_catalog
    from glidepath.flyers.sampling.sampler import Sampler

    engine = RunEngine({})
    documents: Counter[str] = Counter()
    starts: list[str] = []

    def count(name: str, document: Any) -> None:
        documents[name] += 1
        if name == "start":
            starts.append(document["uid"])

    engine.subscribe(count)
    connect = (lambda: open_local_catalog(folder)) if tiled else None
    publisher = Publisher(folder / "journal", connect)
    engine.subscribe(publisher)
    loop = engine._loop
    lag = LoopLag(loop)
    begin = time.monotonic()
    for number in range(runs):
        left = begin + seconds - time.monotonic()
        if left <= 0:
            break
        sampler = Sampler([], Load(channels, rate), ROW_PERIOD)
        path = folder / f"run_{number:04d}.h5"
        due = time.monotonic() + report_seconds

        def begun(path: Path = path) -> None:
            tell(file=str(path), uid=starts[-1])

        def flushed(number: int = number, sampler: Any = sampler) -> None:
            nonlocal due
            if time.monotonic() < due:
                return
            due += report_seconds
            status = publisher.status
            with suppress(RuntimeError):  # the set of tasks changed meanwhile: next time
                tell(
                    sample={
                        "time_s": time.monotonic() - begin,
                        "run": number,
                        # Without the task that measures the loop.
                        "tasks": len(asyncio.all_tasks(loop)) - 1,
                        "python_threads": threading.active_count(),
                        "loop_lag_s": lag.take(),
                        "documents": sum(documents.values()),
                        "queued": status.queued,
                        "publisher": status.state,
                        "rows": sampler.rows,
                    }
                )

        def ended(number: int = number) -> None:
            tell(ended=number)

        engine(sampling(sampler, path, min(run_seconds, left), begun, flushed, ended))
        verdict = sampler.verdict()
        published = publisher.wait_published(starts[-1], PUBLISH_TIMEOUT) if tiled else None
        found = updates_in_file(path, channels)
        tell(
            run={
                "run": number,
                "uid": starts[-1],
                "rows": verdict.rows,
                "late": verdict.late_updates,
                "slowest_write_s": verdict.slowest_write,
                "published": published,
                "file_MB": path.stat().st_size / 1e6,
                **found,
            }
        )
    lag.close()
    publisher.close()


if __name__ == "__main__":
    channels, rate, *times, runs, folder = sys.argv[1:8]
    tiled = "tiled" in sys.argv[8:]
    main(int(channels), float(rate), *map(float, times), int(runs), Path(folder), tiled)
