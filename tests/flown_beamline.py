"""The simulated beamline as tests fly it: its devices in the run engine's loop, and documents."""

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest

from glidepath.storage import read_columns, use_data_root


class Beamline:
    """Devices, run engine and documents of one test."""

    def __init__(self, run_engine, prefix: str) -> None:
        from glidepath.beamlines.simulated import make_devices

        self.run_engine = run_engine
        self.prefix = prefix
        self.devices = make_devices(prefix)
        self.documents: list[tuple[str, dict]] = []
        run_engine.subscribe(lambda name, document: self.documents.append((name, document)))

    def __getattr__(self, name: str):
        try:
            return self.__dict__["devices"][name]
        except KeyError:
            raise AttributeError(name) from None

    def call(self, coroutine, timeout: float = 60.0):
        return asyncio.run_coroutine_threadsafe(coroutine, self.run_engine.loop).result(timeout)

    def connect(self) -> None:
        async def connect_all() -> None:
            await asyncio.gather(*(device.connect() for device in self.devices.values()))

        self.call(connect_all())

    def put(self, pv: str, value) -> None:
        from aioca import caput

        self.call(caput(f"{self.prefix}{pv}", value, wait=True))

    def get(self, signal):
        return self.call(signal.get_value())

    def named(self, name: str) -> list[dict]:
        return [document for kind, document in self.documents if kind == name]

    @property
    def stop(self) -> dict:
        return self.named("stop")[-1]

    def run(self) -> SimpleNamespace:
        """Return the newest run: its file's columns and the raw streams."""
        resources = self.named("stream_resource")
        run_resources = [r for r in resources if "_image" not in r["data_key"]]
        path = Path(run_resources[-1]["uri"].removeprefix("file://localhost"))
        descriptors = {d["name"]: d for d in self.named("descriptor")}
        # Images are in a file of their own.
        columns = [c for c in descriptors["primary"]["data_keys"] if not c.endswith("_image")]
        raw = {
            name: read_columns(path, f"/entry/instrument/{name}", ["time", "value"])
            for name in descriptors
            if name not in ("primary", "verdict", "baseline")
        }
        return SimpleNamespace(
            path=path,
            primary=read_columns(path, "/entry/data", columns),
            raw=raw,
            descriptors=descriptors,
            start=self.named("start")[-1],
            stop=self.stop,
            verdict=[e for e in self.named("event") if "verdict" in e["data"]][-1]["data"],
        )


@pytest.fixture
def simulated(beamline, RE, tmp_path):
    use_data_root(tmp_path)
    simulated = Beamline(RE, beamline.settings.prefix)
    simulated.connect()
    return simulated
