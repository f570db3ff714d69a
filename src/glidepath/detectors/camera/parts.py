"""The records of one camera together, for everything that works on them."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ophyd_async.core import SignalR, SignalRW
from ophyd_async.epics.adcore import ADBaseIO, NDArrayBaseIO

from glidepath.devices.settings import Settings
from glidepath.devices.signals import watch

from .io import DriverExtrasIO, Hdf5IO, StatsIO
from .time_series import TimeSeries

ACTIONS = frozenset(
    {"acquire", "array_counter", "capture", "file_number", "flush_now", "trigger_", "running"}
)
"""Signals that do something, or count, rather than hold a setting."""

DEPENDENT = frozenset({"frames_per_flush"})
"""Settings that are refused while another one has its value of a scan."""


@dataclass(frozen=True)
class Parts:
    """What a camera consists of.

    Attributes
    ----------
    name
        Name of the camera.
    driver, extras
        The driver's records.
    stats
        The statistics plugin.
    hdf
        The file writer; None if the camera writes no images.
    series
        The time series of the statistics; None if they are not used.
    ready_within
        Seconds within which the camera must say that it is ready.
    """

    name: str
    driver: ADBaseIO
    extras: DriverExtrasIO
    stats: StatsIO
    hdf: Hdf5IO | None
    series: TimeSeries | None
    ready_within: float

    @property
    def last(self) -> Hdf5IO | StatsIO:
        """The plugin that a frame reaches last."""
        return self.stats if self.hdf is None else self.hdf

    async def shown(self) -> str:
        """Return what the camera shows and says, as a part of a sentence."""
        state, message = await asyncio.gather(
            self.driver.detector_state.get_value(), self.extras.status_message.get_value()
        )
        return f"it shows {state.value!r}" + (f" and says {message!r}" if message else "")


async def start(parts: Parts, ready: SignalR[bool]) -> None:
    """Start acquiring; return when a signal says that the camera is ready.

    Raises
    ------
    TimeoutError
        If it does not say so; the text says what the camera shows.
    """
    await parts.extras.running.set(True)
    async with watch(ready) as seen:
        if not await seen.until(lambda: bool(seen.value(ready)), parts.ready_within):
            raise TimeoutError(
                f"{parts.name} did not get ready within {parts.ready_within:g} s: "
                f"{await parts.shown()}."
            )


def settings_of(*ios: NDArrayBaseIO) -> Iterator[SignalRW[Any]]:
    """Yield all that can be set at drivers and plugins, what depends on others first.

    Settings are put back in the reverse order.
    """
    children = [child for io in ios for child in io.children()]
    for name, signal in sorted(children, key=lambda child: child[0] not in DEPENDENT):
        if isinstance(signal, SignalRW) and name not in ACTIONS:
            yield signal


def amend_flushes(settings: Settings, writer: Hdf5IO) -> None:
    """Let a file writer get back a number of frames between two flushes that it takes.

    It takes none below the frames of a chunk, which its records may have held since its server's
    start; opening a file makes both equal then (``NDFileHDF5::configureDims`` of ADCore).
    """
    flush, chunks = writer.frames_per_flush, writer.num_frames_chunks
    if settings.before(flush) < settings.before(chunks):
        settings.amend(flush, settings.before(chunks))


__all__ = ["ACTIONS", "Parts", "amend_flushes", "settings_of", "start"]
