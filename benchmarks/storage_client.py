"""The two processes of the storage benchmark: a sampler with its plan, and a live reader.

``sampler CHANNELS RATE SECONDS FOLDER`` prints "file PATH" when it has begun and a JSON object
at its end. ``reader PATH DATASET`` reads until its input is closed, then prints a JSON object.
"""

import json
import select
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from glidepath.devices.sampled import SampledChannel
from glidepath.timeline import Channel, ChannelKind

from .load_server import PREFIX
from .measure import lost_of, resident_megabytes

ROW_PERIOD = 0.1
"""Seconds per row of the primary table."""

READ_PERIOD = 0.05
"""Seconds between two looks of the live reader."""


class Load:
    """The load server's records as a device that is sampled; the first one is the axis."""

    name = "load"

    def __init__(self, channels: int, rate: float) -> None:
        self._channels = []
        for k in range(channels):
            if k % 5 == 0:
                channel = Channel(f"load_{k}", ChannelKind.READBACK)
            else:
                # As many exposures as updates, back to back.
                aperture = channels / rate
                channel = Channel(f"load_{k}", ChannelKind.DETECTOR, aperture=aperture)
            self._channels.append(SampledChannel(channel, f"ca://{PREFIX}{k}"))

    async def channels(self) -> list[SampledChannel]:
        """Return all channels."""
        return self._channels


def sampling(
    sampler: Any,
    path: Path,
    seconds: float,
    begun: Callable[[], None],
    flushed: Callable[[], None],
    ended: Callable[[], None],
) -> Any:
    """Plan: one run that samples as the flyscan plan does; returns its verdict.

    ``begun`` is called when everything is subscribed, ``flushed`` after each flush of the file,
    ``ended`` when the time is over, before the last rows are waited for.
    """
    import bluesky.plan_stubs as bps
    from bluesky import Msg

    from glidepath.flyers import LegPlan, RunFile
    from glidepath.trajectory import Leg, Region

    def await_(function: Any) -> Any:
        (task,) = yield from bps.wait_for([function])
        return task.result()

    def collect() -> Any:
        for stream in sampler.streams:
            if stream.has_news:
                yield Msg("collect", stream, name=stream.name, return_payload=False)

    yield from bps.open_run()
    # Else the run engine would keep every message, to repeat it after a pause.
    yield from bps.clear_checkpoint()
    yield from bps.prepare(sampler, RunFile(path, {}), wait=True)
    for stream in sampler.streams:
        yield from bps.declare_stream(stream, name=stream.name, collect=True)
    yield from bps.prepare(sampler, LegPlan(Leg((Region(0.5, 1e9, 1.0),)), 1), wait=True)
    yield from bps.kickoff(sampler, wait=True)
    begun()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield from await_(sampler.flushed)
        yield from collect()
        flushed()
    ended()
    sampler.end_early()
    yield from await_(sampler.end_flight)
    yield from await_(sampler.finish)
    yield from collect()
    verdict = sampler.verdict()
    yield from await_(sampler.close)
    yield from bps.close_run(reason=verdict.sentence())
    return verdict


def sample(channels: int, rate: float, seconds: float, folder: Path) -> dict[str, Any]:
    """Sample as the plan does; return what was measured."""
    from bluesky import RunEngine

    from glidepath.flyers.sampling.sampler import Sampler

    sampler = Sampler([], Load(channels, rate), ROW_PERIOD)
    path = folder / "load.h5"
    documents: Counter[str] = Counter()
    memory: list[tuple[float, float]] = []
    clocks: list[tuple[float, float]] = []

    def begun() -> None:
        print("file", path, flush=True)
        clocks.append((time.monotonic(), time.process_time()))

    def flushed() -> None:
        memory.append((time.monotonic(), resident_megabytes()))

    def ended() -> None:
        clocks.append((time.monotonic(), time.process_time()))
        print("stop", flush=True)

    engine = RunEngine({})
    plan = sampling(sampler, path, seconds, begun, flushed, ended)
    engine(plan, lambda name, _: documents.update([name]))
    verdict = sampler.verdict()
    # The beginning, where buffers grow to their size, does not count.
    settled = np.array(memory[len(memory) // 3 :])
    slope = np.polyfit(settled[:, 0], settled[:, 1], 1)[0] if len(settled) > 2 else 0.0
    (begin, cpu_begin), (end, cpu_end) = clocks
    return {
        "cpu_s": cpu_end - cpu_begin,
        "measured_s": end - begin,
        "memory_MB": memory[-1][1],
        "memory_slope_MB_per_min": 60 * float(slope),
        "rows": verdict.rows,
        "late": verdict.late_updates,
        "documents": dict(documents),
        **updates_in_file(path, channels),
    }


def updates_in_file(path: Path, channels: int) -> dict[str, Any]:
    """Return how many updates are in the file, and how many are missing between them."""
    updates, lost = 0, 0
    begin, end = np.inf, -np.inf
    with h5py.File(path, "r") as file:
        for k in range(channels):
            group = file[f"/entry/instrument/load_{k}"]
            # The first is from before the load.
            values, times = group["value"][1:], group["time"][1:]
            updates += len(values)
            lost += lost_of(values)
            begin, end = min(begin, times[0]), max(end, times[-1])
    return {"updates": updates, "lost": lost, "updates_per_s": updates / (end - begin)}


def read(path: str, dataset: str) -> dict[str, Any]:
    """Follow one channel's times while the file grows; return how old they are when they show.

    ``oldest`` is the age of the first row that a look finds new, ``newest`` that of the last;
    ``lag`` the age of the newest row at any look.
    """
    oldest, newest, lag = [], [], []
    with h5py.File(path, "r", swmr=True, libver="latest") as file:
        times = file[dataset]
        known, last = len(times), 0.0
        while not select.select([sys.stdin], [], [], READ_PERIOD)[0]:
            times.refresh()
            now, length = time.time(), len(times)
            if length > known:
                oldest.append(now - float(times[known]))
                last = float(times[length - 1])
                newest.append(now - last)
                known = length
            if last:
                lag.append(now - last)
    return {
        "readable_after_s": statistics.median(newest) if newest else None,
        "oldest_readable_after_s": max(oldest, default=None),
        "reader_lag_s": max(lag, default=None),
    }


def main(role: str, *arguments: str) -> None:
    """Be the sampler or the reader."""
    if role == "reader":
        print(json.dumps(read(*arguments)), flush=True)
        return
    channels, rate, seconds, folder = arguments
    found = sample(int(channels), float(rate), float(seconds), Path(folder))
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
