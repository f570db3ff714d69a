"""How far the clocks of the servers are off, found by listening to their updates for a while."""

import asyncio
from collections.abc import Sequence

import numpy as np

from glidepath.devices.sampled import SampledChannel
from glidepath.flyers.monitors.ingestion import choose_monitors


async def clock_offsets(channels: Sequence[SampledChannel], seconds: float) -> dict[str, float]:
    """Listen to channels; return by how much their servers' clocks are behind this machine's.

    Parameters
    ----------
    channels
        What to listen to.
    seconds
        How long.

    Returns
    -------
    dict
        Name of a channel -> smallest arrival minus timestamp in s, the time on the way included.
        Channels that sent nothing new are left out.

    Raises
    ------
    ConnectionError
        Naming the channels that do not answer.
    """
    monitors = choose_monitors(channels)
    offsets: dict[str, float] = {}
    try:
        await monitors.open()
        # The first value of a channel may be old.
        monitors.drain()
        await asyncio.sleep(seconds)
        for batch in monitors.drain():
            known = np.isfinite(batch.timestamps)
            if np.any(known):
                name = channels[batch.index].channel.name
                offset = float(np.min((batch.arrivals - batch.timestamps)[known]))
                offsets[name] = min(offsets.get(name, np.inf), offset)
    finally:
        monitors.close()
    return offsets


__all__ = ["clock_offsets"]
