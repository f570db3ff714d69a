"""One frame sent through the plugins before they are relied on.

What drivers and plugins show of an array, its size and its type, is that of the last one that has
passed, and after a server's start nothing at all. Only a frame tells what the next ones are like,
and whether they come through.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from ophyd_async.core import DetectorTriggerLogic, EnableDisable, SignalR

from glidepath.detectors.handshake import pv_of
from glidepath.devices.settings import Settings
from glidepath.devices.signals import watch

from .io import Hdf5IO, StatsIO
from .parts import Parts

ARRIVAL_PERIOD: Final = 2.0
"""Seconds that a frame may take to the last plugin after the camera has said that it is made."""


@dataclass(frozen=True)
class Primed:
    """What the frame has shown.

    Attributes
    ----------
    first_id
        Unique id that the first frame of a series has; None if the camera numbers its frames on
        and on.
    shape
        Rows and columns (and what else) of an image as it comes to the last plugin.
    data_type
        What areaDetector calls its type.
    """

    first_id: int | None
    shape: tuple[int, ...]
    data_type: str


async def prime(
    parts: Parts, trigger: DetectorTriggerLogic, settings: Settings, exposure: float = 0.0
) -> Primed:
    """Send a frame through the plugins and return what came of it.

    Parameters
    ----------
    parts, trigger
        The camera, standing.
    settings
        The settings, which remember what is changed.
    exposure
        Exposure in s; 0: what is set.

    Raises
    ------
    TimeoutError
        If the camera makes no frame, or if it does not come through.
    """
    driver, plugins = parts.driver, _plugins(parts)
    for plugin in plugins:
        await settings.set(plugin.enable_callbacks, EnableDisable.ENABLE)
    before = [await _arrival(plugin) for plugin in plugins]
    await driver.array_counter.set(0)
    await driver.wait_for_plugins.set(True)
    await trigger.prepare_internal(1, exposure, 0.0)
    within = parts.ready_within + await driver.acquire_time.get_value()
    try:
        await driver.acquire.set(True, timeout=within)
    except TimeoutError as error:
        acquiring = await driver.acquire.get_value(cached=False)
        what = "made no frame" if acquiring else "did not get ready"
        shown = await parts.shown()
        await parts.extras.running.set(False)
        raise TimeoutError(f"{parts.name} {what} within {within:.3g} s: {shown}.") from error
    for plugin, earlier in zip(plugins, before, strict=True):
        if not await _arrived(plugin, earlier):
            source = await plugin.nd_array_port.get_value()
            raise TimeoutError(
                f"{parts.name} made a frame, but it did not come through to "
                f"{pv_of(plugin.nd_array_port)}, which is {source!r}: connect and enable the "
                "plugins between them."
            )
    return await _look(parts)


def _plugins(parts: Parts) -> list[StatsIO | Hdf5IO]:
    return [parts.stats] if parts.hdf is None else [parts.stats, parts.hdf]


def _marks(plugin: StatsIO | Hdf5IO) -> tuple[SignalR[Any], ...]:
    """Return what may change when an array comes to a plugin.

    One of them is not enough: file writers count only what they write, the unique id can be that
    of the frame before, and not every driver sets both times.
    """
    return (plugin.array_counter, plugin.unique_id, plugin.time_stamp, plugin.epics_nanoseconds)


async def _arrival(plugin: StatsIO | Hdf5IO) -> list[Any]:
    """Return what a plugin shows of the newest array that has come to it."""
    return [await mark.get_value(cached=False) for mark in _marks(plugin)]


async def _arrived(plugin: StatsIO | Hdf5IO, before: list[Any]) -> bool:
    """Return whether an array comes to a plugin that is another one than before."""
    marks = _marks(plugin)
    async with watch(*marks) as seen:
        return await seen.until(
            lambda: [seen.value(mark) for mark in marks] != before, ARRIVAL_PERIOD
        )


async def _look(parts: Parts) -> Primed:
    last = parts.last
    signals = (last.array_size2, last.array_size1, last.array_size0)
    sizes = await asyncio.gather(*(signal.get_value(cached=False) for signal in signals))
    data_type = await last.data_type.get_value(cached=False)
    unique_id = await last.unique_id.get_value(cached=False)
    return Primed(
        # The driver's counter had been set to 0.
        unique_id if unique_id <= 1 else None,
        tuple(size for size in sizes if size > 0),
        str(data_type.value),
    )


__all__ = ["Primed", "prime"]
