"""A camera that exposes again and again, and whose statistics are sampled meanwhile."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from ophyd_async.core import DetectorTriggerLogic, SignalR

from glidepath.detectors.handshake import pv_of
from glidepath.devices.sampled import SampledChannel
from glidepath.devices.signals import watch
from glidepath.timeline.channel import Channel, ChannelKind

from .parts import Parts
from .statistics import UNITS, column

EVERY_FRAME: Final = -1.0
"""Monitor deadband (``MDEL``) with which the smallest change is posted."""


async def channels_of(
    parts: Parts, signals: Mapping[str, SignalR[float]], latency: float
) -> list[SampledChannel]:
    """Return statistics as detectors whose aperture is the exposure.

    Parameters
    ----------
    parts
        The camera.
    signals
        Statistic -> the signal with its newest value.
    latency
        Seconds from the end of an exposure to the timestamp of its frame.
    """
    setting = parts.driver.acquire_time
    exposure = await setting.get_value()
    return [
        SampledChannel(
            Channel(
                column(parts.name, statistic),
                ChannelKind.DETECTOR,
                UNITS[statistic],
                latency=latency,
                aperture=exposure,
            ),
            signal.source,
            settings=(setting.source,),
        )
        for statistic, signal in signals.items()
    ]


async def run_freely(
    parts: Parts,
    trigger: DetectorTriggerLogic,
    dead_time: float,
    start: Callable[[], Awaitable[None]],
) -> None:
    """Let a camera expose until it is stopped; return when a frame came through.

    Parameters
    ----------
    parts, trigger
        The camera, standing.
    dead_time
        Seconds between two exposures.
    start
        Starts it.

    Raises
    ------
    TimeoutError
        If no frame comes to the statistics.
    """
    driver, counter = parts.driver, parts.stats.array_counter
    await trigger.prepare_internal(0, 0.0, 0.0)
    exposure = await driver.acquire_time.get_value()
    await driver.acquire_period.set(exposure + dead_time)
    before = await counter.get_value()
    await start()
    within = parts.ready_within + exposure
    async with watch(counter) as seen:
        if not await seen.until(lambda: seen.value(counter) != before, within):
            raise TimeoutError(
                f"{parts.name} runs, but no frame came to {pv_of(counter)} within {within:g} s: "
                "connect and enable the plugins between them."
            )


__all__ = ["EVERY_FRAME", "channels_of", "run_freely"]
