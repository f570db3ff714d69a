"""What a sampler prepares before the axis moves, without a control system."""

import event_model
import h5py
from event_model import DocumentNames, compose_run

from glidepath.devices import SampledChannel
from glidepath.flyers import RunFile, Sampler
from glidepath.storage.validation import CompiledFirst
from glidepath.timeline import Channel, ChannelKind


class Silent:
    """Monitors that connect and say nothing."""

    async def open(self) -> None:
        pass

    def drain(self) -> list:
        return []

    def close(self) -> None:
        pass


class Device:
    name = "device"

    async def channels(self):
        axis = Channel("energy", ChannelKind.READBACK, "eV")
        mesh = Channel("mesh", ChannelKind.DETECTOR, "A", aperture=0.1)
        return [SampledChannel(axis, "ca://a"), SampledChannel(mesh, "ca://b")]


async def test_its_streams_are_described_by_valid_documents_and_quickly(tmp_path, monkeypatch):
    validators = dict(event_model.schema_validators)
    monkeypatch.setattr(event_model, "schema_validators", validators)
    sampler = Sampler([], Device(), 0.1, monitors=lambda _: Silent())
    path = tmp_path / "run" / "glidepath.h5"
    await sampler.prepare(RunFile(path, {"title": "flyscan energy"}))
    try:
        assert isinstance(validators[DocumentNames.descriptor], CompiledFirst)
        run = compose_run()
        described = {}
        for stream in sampler.streams:
            keys = await stream.describe_collect()
            run.compose_descriptor(stream.name, keys, hints={stream.name: stream.hints})
            described[stream.name] = set(keys)
            assert not stream.has_news
        assert described.keys() == {"primary", "energy", "mesh"}
        assert described["mesh"] == {"mesh_value", "mesh_timestamp"}
        with h5py.File(path, "r", swmr=True, libver="latest") as file:
            assert set(file["/entry/data"]) == described["primary"]
            assert set(file["/entry/instrument/mesh"]) == {"value", "time"}
    finally:
        await sampler.close()
