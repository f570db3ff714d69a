"""The simulated camera, pulses for it, and what it has made of them."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aioca
import numpy as np
import pytest_asyncio

from glidepath.detectors import Camera, Frames, FrameSettings, TriggerMode
from glidepath.storage import use_data_root

BOUND = 20.0
"""How long tests wait for what must happen, s."""

FAULTS = {"drop": "", "miss": "", "late": "", "never_arms": 0, "slow": 0.0}
FAULTS |= {"disk_full": 0, "disk_slow": 0.0}


@dataclass
class Bench:
    """The simulated beamline as a test bench for a triggered detector."""

    prefix: str
    folder: Path

    async def put(self, pv: str, value: object) -> None:
        # An empty text is the zero that ends it.
        value = value or "\0" if isinstance(value, str) else value
        datatype = self.type_of(pv) if isinstance(value, str) else None
        await aioca.caput(f"{self.prefix}{pv}", value, datatype=datatype, wait=True)

    async def get(self, pv: str) -> object:
        return await aioca.caget(f"{self.prefix}{pv}", datatype=self.type_of(pv))

    @staticmethod
    def type_of(pv: str) -> object:
        texts = ("FilePath", "FileName", "NDAttributesFile", "WriteMessage")
        return aioca.DBR_CHAR_STR if pv.removesuffix("_RBV").endswith(texts) else None

    async def until(self, pv: str, condition: Callable[[Any], bool]) -> None:
        """Return when the value of a PV fulfils a condition."""
        deadline = time.monotonic() + BOUND
        while not condition(found := await self.get(pv)):
            assert time.monotonic() < deadline, f"{pv} is still {found!r}"
            await asyncio.sleep(0.02)

    async def faults(self, **faults: object) -> None:
        for name, value in faults.items():
            await self.put(f"FAULT:CAM1_{name}", value)

    def settings(self, number: int, rate: float, mode: TriggerMode = TriggerMode.EDGE):
        return FrameSettings(number, 0.9 / rate, 1 / rate, mode, self.folder / "run")

    async def pulses(self, number: int, rate: float, width: float = 1e-3) -> float:
        """Send pulses; return the time of the first."""
        await self.put("PULSE:Number", number)
        await self.put("PULSE:Period", 1 / rate)
        await self.put("PULSE:Width", width)
        await self.put("PULSE:Start", 1)
        return float(await self.get("PULSE:First"))

    async def collect(self, camera: Camera, number: int, bound: float = BOUND) -> Frames:
        """Return the frames, once there are as many as expected, and none is left over."""
        parts: list[Frames] = []
        deadline = time.monotonic() + bound
        while sum(len(part.numbers) for part in parts) < number:
            assert time.monotonic() < deadline, f"only {parts} of {number} frames came"
            parts.append(await camera.frames())
            await asyncio.sleep(0.02)
        await camera.disarm()
        parts.append(await camera.frames())
        return Frames(
            *(np.concatenate([getattr(p, key) for p in parts]) for key in ("numbers", "begins")),
            np.concatenate([part.ends for part in parts]),
            {
                name: np.concatenate([part.values[name] for part in parts])
                for name in camera.columns()
            },
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cameras(beamline) -> AsyncIterator[dict[str, Camera]]:
    """Connected cameras by their options: connecting is what takes longest."""
    connected: dict[str, Camera] = {}
    yield connected
    aioca.purge_channel_caches()


@pytest_asyncio.fixture(loop_scope="module")
async def bench(beamline, cameras, tmp_path) -> AsyncIterator[Bench]:
    use_data_root(tmp_path)
    bench = Bench(beamline.prefix, tmp_path)
    await bench.put("m1", -1165.0)
    yield bench
    for camera in cameras.values():
        await camera.disarm()
        await camera.restore()
    await bench.faults(**FAULTS)
    await bench.put("PULSE:Stop", 1)


@pytest_asyncio.fixture(loop_scope="module")
async def make_camera(bench, cameras) -> Callable[..., Awaitable[Camera]]:
    """Return a function that makes a connected camera, which is restored afterwards."""

    async def make(**options: object) -> Camera:
        key = repr(options)
        if key not in cameras:
            options = {"driver": "vimba", "latency": 0.001, **options}
            cameras[key] = Camera(f"{bench.prefix}CAM1:", "camera", **options)
            await cameras[key].connect(timeout=10)
        return cameras[key]

    return make
