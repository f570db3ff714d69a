"""The contenders of the throughput benchmark: one process of this module for each.

Reads "PREFIX CHANNELS WARM_UP SECONDS" lines, the prefix of the channels' names first; answers
"ready" when it has heard of all channels, after the measurement "UPDATES SECONDS CPU_SECONDS LOST",
and "closed" when all subscriptions are. Of a waveform each element counts.
"""

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from .load_server import WAVE_PREFIX
from .measure import lost_of

Values = list[Any]
"""Values of one channel in the order in which they came."""

ELEMENT_INTERVAL = 1e-5
"""Seconds between the elements of the waveforms, for Glidepath; scalars have no use for it."""

CATCH_UP_TIMEOUT = 1.0
"""Seconds that a contender's event loop gets to take in what it has already."""


@dataclass(frozen=True)
class Received:
    """What a contender has received so far: per channel a list of values, or of arrays of them.

    ``catch_up`` takes in what waits; it is called from a thread.
    """

    channels: list[Values]
    catch_up: Callable[[], None] = lambda: None


Subscribed = Callable[[Sequence[str]], AbstractAsyncContextManager[Received]]


def window(received: Received, warm_up: float, seconds: float) -> None:
    """Measure what is received from now on and print it; runs in a thread.

    The event loop of a contender that cannot keep up does not come to anything else.
    """
    print("ready", flush=True)
    time.sleep(warm_up)
    received.catch_up()
    begins = [len(values) for values in received.channels]
    begin, cpu = time.monotonic(), time.process_time()
    time.sleep(seconds)
    received.catch_up()
    ends = [len(values) for values in received.channels]
    seconds, cpu = time.monotonic() - begin, time.process_time() - cpu
    updates, lost = 0, 0
    for values, first, last in zip(received.channels, begins, ends, strict=True):
        found = np.hstack([np.empty(0), *values[first:last]])
        updates += len(found)
        lost += lost_of(found)
    print(updates, seconds, cpu, lost, flush=True)


@asynccontextmanager
async def aioca(names: Sequence[str]) -> AsyncIterator[Received]:
    """Listen with camonitor, all updates."""
    from aioca import FORMAT_TIME, camonitor

    received: list[Values] = [[] for _ in names]
    subscriptions = [
        camonitor(name, values.append, format=FORMAT_TIME, all_updates=True)
        for name, values in zip(names, received, strict=True)
    ]
    yield Received(received)
    for subscription in subscriptions:
        subscription.close()


@asynccontextmanager
async def ophyd_async(names: Sequence[str]) -> AsyncIterator[Received]:
    """Listen with the subscriptions of signals."""
    received: list[Values] = [[] for _ in names]
    signals = await _signals(names)

    def receiver(name: str, values: Values) -> Callable[[Any], None]:
        return lambda reading: values.append(reading[name]["value"])

    receivers = [receiver(s.name, values) for s, values in zip(signals, received, strict=True)]
    for signal, receive in zip(signals, receivers, strict=True):
        signal.subscribe_reading(receive)
    yield Received(received)
    for signal, receive in zip(signals, receivers, strict=True):
        signal.clear_sub(receive)


@asynccontextmanager
async def glidepath(names: Sequence[str], path: str) -> AsyncIterator[Received]:
    """Listen with Glidepath's monitors, drained as the sampler does."""
    from glidepath.devices.sampled import SampledChannel
    from glidepath.flyers.monitors.ingestion import FastMonitors, PortableMonitors
    from glidepath.flyers.sampling.sampler import DRAIN_PERIOD
    from glidepath.timeline import Channel, ChannelKind

    channels = [
        SampledChannel(Channel(name, ChannelKind.READBACK), f"ca://{name}", ELEMENT_INTERVAL)
        for name in names
    ]
    received: list[Values] = [[] for _ in names]
    monitors = FastMonitors(channels) if path == "fast" else PortableMonitors(channels)
    await monitors.open()

    async def drain() -> None:
        for batch in monitors.drain():
            received[batch.index].append(batch.values)

    async def keep_draining() -> None:
        while True:
            await drain()
            await asyncio.sleep(DRAIN_PERIOD)

    loop = asyncio.get_running_loop()

    def catch_up() -> None:
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(drain(), loop).result(CATCH_UP_TIMEOUT)

    draining = asyncio.create_task(keep_draining())
    yield Received(received, catch_up)
    draining.cancel()
    await asyncio.wait({draining})
    monitors.close()


async def _signals(names: Sequence[str]) -> list[Any]:
    from ophyd_async.core import Array1D
    from ophyd_async.epics.core import epics_signal_r

    kind: Any = Array1D[np.float64] if names[0].startswith(WAVE_PREFIX) else float
    signals = [
        epics_signal_r(kind, f"ca://{name}", name=name.replace(":", "_").lower()) for name in names
    ]
    await asyncio.gather(*(signal.connect() for signal in signals))
    return signals


async def listen(subscribed: Subscribed) -> None:
    """Obey the lines on the input with a contender that lives in this event loop."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        prefix, channels, warm_up, seconds = line.split()
        names = [f"{prefix}{k}" for k in range(int(channels))]
        async with subscribed(names) as received:
            while not all(received.channels):  # noqa: ASYNC110 (nobody else knows)
                await asyncio.sleep(0.01)
            await asyncio.to_thread(window, received, float(warm_up), float(seconds))
        print("closed", flush=True)


def run_engine(path: str) -> None:
    """Obey the lines on the input with a contender that is a plan."""
    import bluesky.plan_stubs as bps
    from bluesky import RunEngine
    from bluesky.run_engine import call_in_bluesky_event_loop

    engine = RunEngine({})
    for line in sys.stdin:
        prefix, channels, warm_up, seconds = line.split()
        names = [f"{prefix}{k}" for k in range(int(channels))]
        signals = call_in_bluesky_event_loop(_signals(names))
        received: list[Values] = [[] for _ in names]
        places = {signal.name: values for signal, values in zip(signals, received, strict=True)}

        def note(_: str, document: Any, places: dict[str, Values] = places) -> None:
            for key, value in document["data"].items():
                places[key].append(value)

        thread = threading.Thread(
            target=window, args=(Received(received), float(warm_up), float(seconds))
        )

        def plan(signals: Sequence[Any] = signals, thread: threading.Thread = thread) -> Any:
            yield from bps.open_run()
            if path == "run-engine-monitor":
                for signal in signals:
                    yield from bps.monitor(signal, name=signal.name)
            thread.start()
            while thread.is_alive():
                if path == "sequential":
                    yield from bps.trigger_and_read(signals)
                else:
                    yield from bps.sleep(0.05)
            if path == "run-engine-monitor":
                for signal in signals:
                    yield from bps.unmonitor(signal)
            yield from bps.close_run()

        engine(plan(), {"event": [note]})
        print("closed", flush=True)


def main(path: str) -> None:
    """Be one contender."""
    if path in ("run-engine-monitor", "sequential"):
        run_engine(path)
        return
    contenders: dict[str, Subscribed] = {
        "aioca": aioca,
        "ophyd-async": ophyd_async,
        "glidepath-portable": lambda names: glidepath(names, "portable"),
        "glidepath-fast": lambda names: glidepath(names, "fast"),
    }
    asyncio.run(listen(contenders[path]))


if __name__ == "__main__":
    main(*sys.argv[1:])
