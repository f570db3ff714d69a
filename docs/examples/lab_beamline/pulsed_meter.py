"""A triggered detector: a current meter that takes one reading for each pulse."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from ophyd_async.core import StandardReadable

from glidepath.devices import signal_r, signal_rw
from glidepath.extend import (
    Frames,
    FrameSettings,
    FrameSource,
    Settings,
    no_frames,
    register_frame_source,
)

MAINS = 50.0
"""Hz: the meter counts its exposure in periods of the mains."""


class PulsedMeter(StandardReadable):
    """What its server shows."""

    def __init__(self, prefix: str, name: str = "") -> None:
        self.current = signal_r(float, f"{prefix}rdCur", unit="A")
        self.cycles = signal_rw(float, f"{prefix}rbkIntegrTime", f"{prefix}setIntegrTime")
        self.source = signal_rw(str, f"{prefix}rbkTrgSrc", f"{prefix}setTrgSrc")
        super().__init__(name)


class MeterFrames(FrameSource):
    """A pulse begins an exposure, and the reading has the time of its end."""

    def __init__(self, meter: PulsedMeter) -> None:
        self.meter = meter
        self._settings = Settings(meter.name)
        self._heard: list[tuple[float, float]] = []
        self._armed, self._delivered, self._exposure = False, 0, 0.0

    @property
    def name(self) -> str:
        return self.meter.name

    def columns(self) -> Mapping[str, str]:
        return {self.name: "A"}

    async def dead_time(self) -> float:
        return 0.01

    async def arm(self, settings: FrameSettings) -> None:
        await self.disarm()
        meter = self.meter
        await self._settings.set(meter.cycles, MAINS * settings.exposure)
        await self._settings.set(meter.source, "Trigger Link")
        self._exposure = await meter.cycles.get_value() / MAINS
        self._before = (await meter.current.read(cached=False))[meter.current.name]["timestamp"]
        self._heard, self._delivered, self._armed = [], 0, True
        meter.current.subscribe_reading(self._hear)

    def _hear(self, readings: dict[str, Any]) -> None:
        (reading,) = readings.values()
        if reading["timestamp"] > self._before:
            self._heard.append((reading["timestamp"], reading["value"]))

    async def frames(self) -> Frames:
        heard, self._heard = self._heard, []
        if not heard:
            return no_frames(self.columns())
        ends, values = np.array(heard).T
        numbers = self._delivered + np.arange(len(ends))
        self._delivered += len(ends)
        return Frames(numbers, ends - self._exposure, ends, {self.name: values})

    async def disarm(self) -> None:
        if self._armed:
            self.meter.current.clear_sub(self._hear)
            self._armed = False

    async def restore(self) -> None:
        await self.disarm()
        await self._settings.restore()


@register_frame_source
def _(meter: PulsedMeter) -> MeterFrames:
    return MeterFrames(meter)
