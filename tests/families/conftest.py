"""The vacuum server of the simulated beamline, and a client for its faults."""

import asyncio
import time

import aioca
import pytest


class Bench:
    """Reads and writes PVs of a server, for tests."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    async def get(self, name):
        return await aioca.caget(self.prefix + name, timeout=20)

    async def put(self, name, value) -> None:
        await aioca.caput(self.prefix + name, value, wait=True, timeout=20)

    async def fault(self, name, fault="none") -> None:
        await self.put(f"FAULT:{name}", fault)

    async def becomes(self, name, value, within=20.0) -> None:
        """Wait until a PV has a value."""
        end = time.monotonic() + within
        while (now := await self.get(name)) != value:
            assert time.monotonic() < end, f"{name} is {now!r}, not {value!r}"
            await asyncio.sleep(0.02)


@pytest.fixture(scope="session")
def with_vacuum(beamline):
    """The simulated beamline, with its vacuum server."""
    beamline.start_also("vacuum")
    return beamline


@pytest.fixture
async def bench(with_vacuum):
    yield Bench(with_vacuum.prefix)
    aioca.purge_channel_caches()
