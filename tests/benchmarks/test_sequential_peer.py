"""The peer flies the simulated beamline as the classic plan does."""

import asyncio

import numpy as np
from benchmarks.beamline import Recorded
from benchmarks.sequential import polling_flyscan

from glidepath.beamlines.simulated import make_devices


def in_loop(engine, coroutine):
    return asyncio.run_coroutine_threadsafe(coroutine, engine.loop).result(20)


async def connect(devices):
    await asyncio.gather(*(device.connect() for device in devices))


def test_the_poll_records_points_while_the_energy_flies(beamline, RE):
    devices = make_devices(beamline.prefix)
    in_loop(RE, connect(devices.values()))
    pgm, velocity = devices["pgm"], 2.0
    before = in_loop(RE, pgm.sweep.velocity.get_value())
    recorded = Recorded()

    RE(
        polling_flyscan(
            [devices["mesh"], devices["sample"]], devices["energy"], 400.0, 402.5, velocity
        ),
        recorded,
    )

    (stop,) = recorded.of("stop")
    assert stop["exit_status"] == "success"
    energy, _ = recorded.events("energy")
    sample, read = recorded.events("sample")
    assert len(energy) == stop["num_events"]["primary"] >= 3
    assert np.all(np.diff(energy) > 0)
    # Every point holds a reading of its own.
    assert np.all(np.diff(read) > 0)
    assert np.all(sample > 0)
    assert in_loop(RE, pgm.sweep.velocity.get_value()) == before
