"""The simulated meters and counters, pulses for them, and what they have made of them."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import aioca
import numpy as np
import pytest_asyncio

from glidepath.beamlines import load_beamline
from glidepath.detectors import Frames, FrameSettings, FrameSource, TriggerMode
from glidepath.simulation import SimulatedBeamline

BOUND = 20.0
"""How long tests wait for what must happen, s."""


@dataclass
class Bench:
    """A simulated beamline as a test bench for triggered detectors."""

    beamline: SimulatedBeamline
    devices: dict
    touched: list[tuple[str, object]] = field(default_factory=list)
    _some: Frames | None = None

    @property
    def prefix(self) -> str:
        return self.beamline.prefix

    async def put(self, pv: str, value: object) -> None:
        await aioca.caput(f"{self.prefix}{pv}", value, wait=True)

    async def get(self, pv: str) -> object:
        return await aioca.caget(f"{self.prefix}{pv}")

    async def fault(self, pv: str, value: object) -> None:
        """Make a fault, which is mended after the test."""
        name = f"FAULT:{pv}"
        self.touched.append((name, await self.get(name)))
        await self.put(name, value)

    def settings(
        self,
        number: int,
        rate: float,
        mode: TriggerMode = TriggerMode.EDGE,
        exposure: float | None = None,
    ) -> FrameSettings:
        exposure = 0.9 / rate if exposure is None else exposure
        return FrameSettings(number, exposure, 1 / rate, mode, Path("."))

    async def pulses(self, number: int, rate: float, width: float = 1e-3) -> np.ndarray:
        """Send pulses; return their times (POSIX s, clock of the server)."""
        await self.put("PULSE:Number", number)
        await self.put("PULSE:Period", 1 / rate)
        await self.put("PULSE:Width", width)
        await self.put("PULSE:Start", 1)
        return float(await self.get("PULSE:First")) + np.arange(number) / rate

    async def until_sent(self, number: int) -> None:
        deadline = time.monotonic() + BOUND
        while await self.get("PULSE:Sent") < number:
            assert time.monotonic() < deadline, "the pulses were not sent"
            await asyncio.sleep(0.02)

    async def collect_some(self, detector: FrameSource) -> Frames:
        """Return the first frames that come."""
        deadline = time.monotonic() + BOUND
        while not len((frames := await detector.frames()).numbers):
            assert time.monotonic() < deadline, "no frame came"
        self._some = frames
        return frames

    async def collect_rest(self, detector: FrameSource, until: float) -> Frames:
        """Return these and all frames up to a time of the server's clock."""
        parts = [self._some]
        deadline = time.monotonic() + BOUND
        while not any(len(part.begins) and part.begins[-1] > until - 0.001 for part in parts):
            assert time.monotonic() < deadline, f"only {count_in(parts)} frames came"
            parts.append(await detector.frames())
        return joined(parts)

    async def collect(self, detector: FrameSource, number: int) -> Frames:
        """Return the frames, once there are as many as expected and the detector is disarmed."""
        parts = [await detector.frames()]
        deadline = time.monotonic() + BOUND
        while count_in(parts) < number:
            assert time.monotonic() < deadline, f"{count_in(parts)} of {number} frames came"
            await asyncio.sleep(0.05)
            parts.append(await detector.frames())
        await detector.disarm()
        parts.append(await detector.frames())
        return joined(parts)


def count_in(parts: list[Frames]) -> int:
    return sum(len(part.numbers) for part in parts)


def joined(parts: list[Frames]) -> Frames:
    """Return all frames in one."""
    return Frames(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("numbers", "begins", "ends")
        ),
        {name: np.concatenate([part.values[name] for part in parts]) for name in parts[0].values},
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def devices(beamline) -> AsyncIterator[dict]:
    """The connected detectors: connecting is what takes longest."""
    names = ("quad", "counter")
    made = load_beamline("glidepath.beamlines.simulated", beamline.prefix).devices
    chosen = {name: made[name] for name in names}
    await asyncio.gather(*(device.connect(timeout=10) for device in chosen.values()))
    yield chosen
    aioca.purge_channel_caches()


@pytest_asyncio.fixture(loop_scope="module")
async def bench(beamline, devices) -> AsyncIterator[Bench]:
    bench = Bench(beamline, devices)
    yield bench
    for name, value in bench.touched:
        await bench.put(name, value)
    for device in devices.values():
        await device.disarm()
        await device.restore()
    await bench.put("PULSE:Stop", 1)
