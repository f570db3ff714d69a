"""Tests of the export share `written_run`; some fly the simulated beamline."""

import asyncio

import pytest

from glidepath.storage import use_data_root


class Beamline:
    """Devices, run engine and documents of one test."""

    def __init__(self, run_engine, prefix: str) -> None:
        from glidepath.beamlines.simulated import make_devices

        self.run_engine = run_engine
        self.devices = make_devices(prefix)
        self.documents: list[tuple[str, dict]] = []
        run_engine.subscribe(lambda name, document: self.documents.append((name, document)))

    def __getattr__(self, name: str):
        try:
            return self.__dict__["devices"][name]
        except KeyError:
            raise AttributeError(name) from None

    def connect(self) -> None:
        async def connect_all() -> None:
            await asyncio.gather(*(device.connect() for device in self.devices.values()))

        asyncio.run_coroutine_threadsafe(connect_all(), self.run_engine.loop).result(60)

    def named(self, name: str) -> list[dict]:
        return [document for kind, document in self.documents if kind == name]


@pytest.fixture
def simulated(beamline, RE, tmp_path):
    use_data_root(tmp_path)
    simulated = Beamline(RE, beamline.settings.prefix)
    simulated.connect()
    return simulated
