"""A motor record behind any EPICS server: it flies to and fro, and is where it was afterwards.

It MOVES the motor: from where it stands up to two seconds' way at its own velocity, and back. To
run it, say what it is called, with the server on this machine, because these tests never leave
the loopback::

    GLIDEPATH_TEST_MOTOR=IOC:m1 pytest tests/flyers/test_motor_of_any_server.py
"""

import asyncio
import os

import numpy as np
import pytest

from glidepath.devices import Motor
from glidepath.plans import flyscan
from glidepath.storage import read_columns, use_data_root

PREFIX = os.environ.get("GLIDEPATH_TEST_MOTOR", "")

pytestmark = pytest.mark.skipif(
    not PREFIX,
    reason="GLIDEPATH_TEST_MOTOR names no motor record (such as IOC:m1) to test; it would be moved",
)


@pytest.fixture
def motor(RE):
    motor = Motor(PREFIX, "motor")
    call(RE, motor.connect(timeout=10))
    return motor


def call(RE, coroutine):
    return asyncio.run_coroutine_threadsafe(coroutine, RE.loop).result(60)


async def move(motor, to):
    await motor.set(to)


def test_it_flies_both_ways_and_its_settings_are_put_back(RE, motor, tmp_path):
    use_data_root(tmp_path)
    signals = (motor.velocity, motor.acceleration_time, motor.max_velocity)
    before = [call(RE, signal.get_value()) for signal in signals]
    here = call(RE, motor.user_readback.get_value())
    velocity = before[0] / 2
    documents = []
    RE.subscribe(lambda name, document: documents.append((name, document)))
    for start, stop in [(here, here + 2 * velocity), (here + 2 * velocity, here)]:
        documents.clear()
        RE(flyscan([], motor, start, stop, velocity, period=0.1))
        named = dict(documents)
        assert named["stop"]["exit_status"] == "success", named["stop"]
        path = named["stream_resource"]["uri"].removeprefix("file://localhost")
        table = read_columns(path, "/entry/data", ["motor", "motor_lower", "motor_upper"])
        rows = len(table["motor"])
        assert 16 <= rows <= 20
        assert np.all(np.sign(stop - start) * np.diff(table["motor"]) > 0)
        low, high = sorted((start, stop))
        assert np.all(table["motor_lower"] >= low)
        assert np.all(table["motor_upper"] <= high)
    assert [call(RE, signal.get_value()) for signal in signals] == before
    call(RE, move(motor, here))
