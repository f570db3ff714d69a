"""The statistics of single frames from the time series of NDStats."""

import asyncio
from collections.abc import Mapping

import numpy as np
from aioca import cainfo
from numpy.typing import NDArray

from glidepath.devices.settings import Settings

from .frame_reader import EPICS_EPOCH
from .io import StatsIO, TimeSeriesIO, TimeSeriesMode

Floats = NDArray[np.float64]


class TimeSeries:
    """The time series of one NDStats plugin.

    Element ``i`` belongs to the frame ``i`` since the begin, and stays where it is: the series
    has a fixed length. The plugin updates the waveform of the times last, so what is read after
    it is at least as long, and fits.

    Parameters
    ----------
    prefix
        Prefix of the PVs of the plugin.
    stats
        The plugin.
    """

    def __init__(self, prefix: str, stats: StatsIO) -> None:
        self.io = TimeSeriesIO(prefix)
        self._stats = stats
        self._offset = 0.0
        self._measured_for = 0
        self._measured = False
        self._old: float | None = None

    async def capacity(self) -> int:
        """Return how many frames the waveforms can hold."""
        info = await cainfo(self.io.time.source.removeprefix("ca://"))
        return int(info.count)

    async def check(self) -> None:
        """Refuse (ValueError) a plugin that averages frames."""
        averaged = await self.io.averaged.get_value()
        if averaged != 1:
            raise ValueError(
                f"The time series {self.io.averaged.source.removeprefix('ca://')} averages "
                f"{averaged} frames; set TS:TSAveragingTime to TS:TSTimePerPoint."
            )

    async def begin(self, settings: Settings) -> None:
        """Begin at element 0."""
        await self.io.collecting.set(False)
        await settings.set(self.io.mode, TimeSeriesMode.FIXED_LENGTH)
        await settings.set(self.io.points, await self.capacity())
        # Nothing comes now, so what is known of the newest frame belongs together.
        self._measured = False
        self._measured_for, self._offset = await self._measure()
        await self.io.collecting.set(True)
        # The waveforms keep what they held until there is something new.
        await self.io.update.set(True)
        old = await self.io.time.get_value()
        self._old = float(old[0]) if len(old) else None

    async def read(self) -> tuple[Floats, dict[str, Floats]]:
        """Return NDArray.timeStamp (s) and each statistic, shape (n,), since the begin."""
        await self.io.update.set(True)
        times = np.array(await self.io.time.get_value())
        if len(times) and times[0] == self._old:
            times = times[:0]
        signals = {
            "total": self.io.total,
            "centroid_x": self.io.centroid_x,
            "centroid_y": self.io.centroid_y,
            "sigma_x": self.io.sigma_x,
            "sigma_y": self.io.sigma_y,
            "orientation": self.io.orientation,
        }
        arrays = await asyncio.gather(*(signal.get_value() for signal in signals.values()))
        values = {name: np.array(a) for name, a in zip(signals, arrays, strict=True)}
        length = min(len(times), *(len(array) for array in arrays))
        return times[:length], {name: value[:length] for name, value in values.items()}

    async def epics_stamps(self, times: Floats) -> Floats:
        """Return NDArray.epicsTS (POSIX s) for NDArray.timeStamp.

        Their distance is measured with one of the frames, since some drivers stamp the begin of
        an exposure in one of them and its end in the other; until that has succeeded, with the
        last frame before the begin.
        """
        if not self._measured and len(times):
            before = await self._stats.unique_id.get_value()
            after, offset = await self._measure()
            if before == after != self._measured_for:
                self._measured, self._offset = True, offset
        return times + self._offset

    async def _measure(self) -> tuple[int, float]:
        stats = self._stats
        stamp, seconds, nanoseconds = await asyncio.gather(
            stats.time_stamp.get_value(),
            stats.epics_seconds.get_value(),
            stats.epics_nanoseconds.get_value(),
        )
        offset = EPICS_EPOCH + seconds + 1e-9 * nanoseconds - stamp
        return await stats.unique_id.get_value(), float(offset)

    async def end(self) -> None:
        """Take no more frames."""
        await self.io.collecting.set(False)


def join(times: Floats, wanted: Floats, values: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return values at ``wanted`` times, shape (m,); NaN where ``times``, shape (n,), has none.

    Both are the same numbers from the same frames, so they are equal or they are not.
    """
    order = np.argsort(times, kind="stable")
    place = np.searchsorted(times[order], wanted)
    found = place < len(times)
    index = order[np.minimum(place, len(times) - 1)] if len(times) else place
    if len(times):
        found &= times[index] == wanted
    return {
        name: np.where(found, value[index], np.nan) if len(times) else np.full(len(wanted), np.nan)
        for name, value in values.items()
    }


__all__ = ["TimeSeries", "join"]
