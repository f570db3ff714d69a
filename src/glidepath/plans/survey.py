"""Looks at everything that a scan would need, before it: the material of the pre-flight report."""

import asyncio
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from glidepath.devices.sampled import SampledChannel
from glidepath.flyers import Flight, choose_monitors
from glidepath.flyers.sampler import CLOCK_BOUND
from glidepath.storage import data_root
from glidepath.timeline import ChannelKind
from glidepath.trajectory import (
    AnyRegion,
    Envelope,
    Preflight,
    Space,
    Timing,
    Trajectory,
    preflight,
    schedule,
)

UPDATE_BYTES = 16
"""Of one update in a raw stream: its value and its time."""

COLUMN_BYTES = 16
"""Of one channel in a row: its value and its count."""

FIXED_BYTES = 8_000_000
"""Of a file before anything is in it: a chunk for each column."""

USUAL_RATE = 10.0
"""Updates per second of a channel of which nothing else is known."""


@dataclass(frozen=True)
class Heard:
    """What channels sent while nothing was asked of them.

    Attributes
    ----------
    rates
        Name of a channel -> updates per second.
    clocks
        Name of a channel -> smallest arrival minus timestamp (s): how far its server's clock is
        behind this machine's. Channels that sent nothing new are left out.
    """

    rates: Mapping[str, float] = field(default_factory=dict)
    clocks: Mapping[str, float] = field(default_factory=dict)


async def listen(channels: Sequence[SampledChannel], seconds: float) -> Heard:
    """Listen to channels for a while.

    Raises
    ------
    ConnectionError
        Naming the channels that do not answer.
    """
    monitors = choose_monitors(channels)
    try:
        await monitors.open()
        # The first value of a channel may be old.
        monitors.drain()
        begun = time.monotonic()
        await asyncio.sleep(seconds)
        counts = dict.fromkeys((c.channel.name for c in channels), 0)
        clocks: dict[str, float] = {}
        for batch in monitors.drain():
            known = np.isfinite(batch.timestamps)
            if not np.any(known):
                continue
            name = channels[batch.index].channel.name
            counts[name] += int(np.sum(known))
            offset = float(np.min((batch.arrivals - batch.timestamps)[known]))
            clocks[name] = min(clocks.get(name, np.inf), offset)
        passed = time.monotonic() - begun
    finally:
        monitors.close()
    return Heard({name: count / passed for name, count in counts.items()}, clocks)


async def survey(
    detectors: Sequence[Any],
    axis: Any,
    flight: Flight,
    trajectory: Trajectory,
    period: float,
    *,
    listening: float = 0.0,
    clock_bound: float = CLOCK_BOUND,
) -> Preflight:
    """Return the pre-flight report of a scan. Nothing moves and nothing is changed.

    Parameters
    ----------
    detectors, axis, trajectory, clock_bound
        See `glidepath.plans.flyscan`.
    flight
        The flight of the axis.
    period
        Length of a row in s where a region has none of its own.
    listening
        Seconds to listen to all channels, for the clocks of their servers and for the amount of
        data; 0: the clocks are not looked at.

    Raises
    ------
    PreflightError
        If the flight cannot be planned at all.
    ConnectionError
        If a channel does not answer.
    """
    channels = list(await axis.channels())
    timings = []
    for detector in detectors:
        own = await detector.channels()
        channels += own
        detecting = [c for c in own if c.channel.kind is ChannelKind.DETECTOR and not c.interval]
        exposure = max((c.channel.aperture for c in detecting), default=0.0)
        if exposure > 0:
            timings.append(Timing(detector.name, exposure))
    joined = flight.back_end.joins
    known: dict[tuple[AnyRegion, ...], Envelope] = {}
    envelopes = []
    for leg in trajectory.legs(joined=joined):
        if leg.regions not in known:
            known[leg.regions] = await flight.envelope(leg)
        envelopes.append(known[leg.regions])
    heard = await listen(channels, listening) if listening > 0 else Heard()
    position = (await axis.locate())["readback"]
    seconds = schedule(list(trajectory.legs(joined=joined)), envelopes, position)[-1].end
    return preflight(
        axis.name,
        trajectory,
        period,
        envelopes,
        joined=joined,
        position=position,
        space=_space(channels, heard.rates, seconds, trajectory.rows(period), data_root()),
        clocks=heard.clocks,
        clock_bound=clock_bound,
        detectors=timings,
    )


def _space(
    channels: Sequence[SampledChannel],
    rates: Mapping[str, float],
    seconds: float,
    rows: int,
    root: Path,
) -> Space:
    """Estimate the data of a scan, and look how much is free for it."""
    updates = 0.0
    for sampled in channels:
        channel = sampled.channel
        step = sampled.interval or channel.aperture
        usual = 1 / step if step > 0 else USUAL_RATE
        updates += max(usual, rates.get(channel.name, 0.0)) * seconds
    needed = FIXED_BYTES + updates * UPDATE_BYTES + rows * COLUMN_BYTES * (len(channels) + 4)
    return Space(int(needed), shutil.disk_usage(root).free, str(root))


__all__ = ["Heard", "listen", "survey"]
