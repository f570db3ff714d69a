"""A recorded scan on another grid of energies, in real Tiled."""

import h5py
import numpy as np
import pytest
from event_model import compose_run, compose_stream_resource

from glidepath.catalog import (
    CatalogError,
    Publisher,
    load_run,
    read_channel,
    rebin_run,
    write_rebinned,
)
from glidepath.timeline import ChannelKind, uniform_grid

VELOCITY, PERIOD, BEGIN = 2.0, 0.1, 1_700_000_000.0


@pytest.fixture(scope="module")
def scan(server, tmp_path_factory):
    """A scan from 400 to 410 eV at 2 eV/s, whose detector shows the energy."""
    path = server.data_root / "rebinning.h5"
    times = BEGIN + np.arange(-20, 71) * PERIOD
    energies = np.clip(400 + VELOCITY * (times - BEGIN), 399.0, 412.0)
    middle = BEGIN + (np.arange(50) + 0.5) * PERIOD
    columns = {
        "/entry/data/energy": 400 + VELOCITY * (middle - BEGIN),
        "/entry/data/sample_time": middle,
        "/entry/data/sample_duration": np.full(50, PERIOD),
        "/entry/instrument/energy/value": energies,
        "/entry/instrument/energy/time": times,
        "/entry/instrument/mesh/value": np.append(
            energies[0], 0.5 * (energies[1:] + energies[:-1])
        ),
        "/entry/instrument/mesh/time": times,
    }
    with h5py.File(path, "w", libver="latest") as file:
        for name, values in columns.items():
            file.create_dataset(name, data=values, maxshape=(None,), chunks=(16384,))
    publisher = Publisher(server.data_root / "journal", server.client)
    run = compose_run(metadata={"motors": ["energy"], "scan_id": 7})
    publisher("start", run.start_doc)
    streams = {
        "primary": {k: f"/entry/data/{k}" for k in ("energy", "sample_time", "sample_duration")},
        "energy": {
            "energy_value": "/entry/instrument/energy/value",
            "energy_timestamp": "/entry/instrument/energy/time",
        },
        "mesh": {
            "mesh_value": "/entry/instrument/mesh/value",
            "mesh_timestamp": "/entry/instrument/mesh/time",
        },
    }
    for stream, keys in streams.items():
        data_keys = {
            key: {
                "source": "test",
                "dtype": "number",
                "dtype_numpy": "<f8",
                "shape": [],
                "external": "STREAM:",
            }
            for key in keys
        }
        kind = "detector" if stream == "mesh" else "readback"
        definition = {
            f"{stream}_kind": kind,
            f"{stream}_latency": 0.0,
            f"{stream}_aperture": PERIOD if stream == "mesh" else 0.0,
        }
        configuration = {
            stream: {
                "data": definition,
                "timestamps": dict.fromkeys(definition, 0.0),
                "data_keys": {
                    key: {
                        "source": "test",
                        "dtype": "string" if isinstance(value, str) else "number",
                        "shape": [],
                    }
                    for key, value in definition.items()
                },
            }
        }
        descriptor = run.compose_descriptor(
            stream,
            data_keys,
            object_keys={stream: list(data_keys)},
            configuration={} if stream == "primary" else configuration,
        )
        publisher("descriptor", descriptor.descriptor_doc)
        for key, dataset in keys.items():
            resource, datum = compose_stream_resource(
                start=run.start_doc,
                mimetype="application/x-hdf5",
                uri=f"file://localhost{path}",
                data_key=key,
                parameters={"dataset": dataset, "chunk_shape": [1_000_000], "swmr": True},
            )
            rows = len(columns[dataset])
            publisher("stream_resource", resource)
            indices = {"start": 0, "stop": rows}
            publisher(
                "stream_datum",
                datum(
                    indices,
                    seq_nums={"start": 1, "stop": rows + 1},
                    descriptor=descriptor.descriptor_doc,
                ),
            )
    publisher("stop", run.compose_stop())
    assert publisher.wait_published(run.start_doc["uid"])
    publisher.close()
    client = server.client()
    yield client, load_run(client, run.start_doc["uid"])
    client.context.http_client.close()


def test_the_channel_is_what_it_was_in_the_scan(scan):
    _, run = scan
    channel = read_channel(run, "mesh")
    assert (channel.kind, channel.aperture) == (ChannelKind.DETECTOR, PERIOD)
    with pytest.raises(CatalogError, match="no raw stream 'nothing'"):
        read_channel(run, "nothing")
    with pytest.raises(CatalogError, match="does not say what its values mean"):
        read_channel(run, "primary")


def test_rebinning_uses_the_flight_only_and_keeps_the_integral(scan):
    _, run = scan
    result = rebin_run(run, uniform_grid(400.0, 410.0, 0.5)).columns
    assert np.allclose(result["mesh_time"], 0.25)
    assert np.isclose(np.sum(result["mesh_time"]), 50 * PERIOD)
    # The detector shows the energy; its exposures of 0.2 eV are spread over bins of 0.5 eV.
    assert np.allclose(result["mesh"], result["mesh_energy"], atol=0.02)
    assert np.isclose(np.average(result["mesh"], weights=result["mesh_time"]), 405.0)


def test_a_rebinned_table_is_in_tiled_beside_the_runs_once(scan):
    client, run = scan
    result = rebin_run(run, uniform_grid(400.0, 410.0, 0.5))
    place = write_rebinned(client, run, result, "half")
    again = client[place].read()
    assert np.allclose(again["mesh"], result.columns["mesh"])
    assert load_run(client, run.metadata["start"]["uid"]).metadata["start"]["scan_id"] == 7
    with pytest.raises(CatalogError, match="has a table 'half' already"):
        write_rebinned(client, run, result, "half")
