"""A motor record behind any EPICS server: it flies to and fro, and is where it was afterwards.

It MOVES the motor: from where it stands up to two seconds' way at its own velocity and the way of
its run-ups, and back; some of its fields are changed, and put back. To run it, say what it is
called, with the server on this machine, because these tests never leave the loopback::

    GLIDEPATH_TEST_MOTOR=IOC:m1 pytest tests/flyers/test_motor_of_any_server.py
"""

import asyncio
import os
import re
from contextlib import contextmanager

import aioca
import numpy as np
import pytest

from glidepath.devices import Motor
from glidepath.plans import flyscan
from glidepath.storage import read_columns, use_data_root
from glidepath.trajectory import PreflightError

PREFIX = os.environ.get("GLIDEPATH_TEST_MOTOR", "")

pytestmark = pytest.mark.skipif(
    not PREFIX,
    reason="GLIDEPATH_TEST_MOTOR names no motor record (such as IOC:m1) to test; it would be moved",
)

KEPT = ("VELO", "ACCL", "VMAX", "VBAS", "BDST", "BVEL", "DLY", "OFF", "SET", "SPMG", "DISP")
"""Fields that are as before after every scan."""

UNLOCKED = {"DISP": 0, "SPMG": 3, "SET": 0}
"""What lets the other fields be put back."""


@pytest.fixture
def motor(RE):
    motor = Motor(PREFIX, "motor")
    call(RE, motor.connect(timeout=10))
    return motor


def call(RE, coroutine):
    return asyncio.run_coroutine_threadsafe(coroutine, RE.loop).result(60)


async def move(motor, to):
    await motor.set(to)


async def get(*fields):
    values = await aioca.caget([f"{PREFIX}.{field}" for field in fields])
    return [float(value) for value in values]


async def put(fields):
    for field, value in fields.items():
        await aioca.caput(f"{PREFIX}.{field}", value, wait=True)


@contextmanager
def changed(RE, motor, **fields):
    """Change fields of the record for a while; fields and position are as before afterwards."""
    before = dict(zip(KEPT, call(RE, get(*KEPT)), strict=True))
    here = call(RE, motor.user_readback.get_value())
    call(RE, put(fields))
    try:
        yield
    finally:
        call(RE, put(UNLOCKED))
        # VBAS first: a velocity below it is not taken.
        for name in ("VBAS", *(name for name in KEPT if name != "VBAS")):
            if call(RE, get(name)) != [before[name]]:
                call(RE, put({name: before[name]}))
        call(RE, move(motor, here))
        assert dict(zip(KEPT, call(RE, get(*KEPT)), strict=True)) == before


def fly(RE, motor, start, stop, velocity):
    """Fly, and return the positions of the rows, from start to stop."""
    documents = []
    token = RE.subscribe(lambda name, document: documents.append((name, document)))
    kept = call(RE, get(*KEPT))
    try:
        RE(flyscan([], motor, start, stop, velocity, period=0.1))
    finally:
        RE.unsubscribe(token)
    named = dict(documents)
    assert named["stop"]["exit_status"] == "success", named["stop"]
    path = named["stream_resource"]["uri"].removeprefix("file://localhost")
    table = read_columns(path, "/entry/data", ["motor", "motor_lower", "motor_upper"])
    low, high = sorted((start, stop))
    assert np.all(np.sign(stop - start) * np.diff(table["motor"]) > 0)
    assert np.all(table["motor_lower"] >= low)
    assert np.all(table["motor_upper"] <= high)
    assert call(RE, get(*KEPT)) == kept
    return table["motor"]


def test_it_flies_both_ways_and_its_settings_are_put_back(RE, motor, tmp_path):
    use_data_root(tmp_path)
    here = call(RE, motor.user_readback.get_value())
    velocity = call(RE, motor.velocity.get_value()) / 2
    for start, stop in [(here, here + 2 * velocity), (here + 2 * velocity, here)]:
        assert 16 <= len(fly(RE, motor, start, stop, velocity)) <= 20
    call(RE, move(motor, here))


REFUSALS = {
    "SET": ({"SET": 1}, "is in Set mode"),
    "SPMG Pause": ({"SPMG": 1}, "SPMG is Pause: set it to Go"),
    "SPMG Stop": ({"SPMG": 0}, "SPMG is Stop: set it to Go"),
    "SPMG Move": ({"SPMG": 2}, "SPMG is Move: set it to Go"),
    "DISP": ({"DISP": 1}, "is disabled: .*DISP is 1"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_would_not_fly_is_refused_before_anything_moves(RE, motor, tmp_path, name):
    use_data_root(tmp_path)
    fields, sentence = REFUSALS[name]
    here = call(RE, motor.user_readback.get_value())
    velocity = call(RE, motor.velocity.get_value()) / 2
    with changed(RE, motor, **fields):
        set_up = call(RE, get(*KEPT))
        with pytest.raises(PreflightError, match=sentence):
            RE(flyscan([], motor, here, here + 2 * velocity, velocity, period=0.1))
        assert call(RE, get(*KEPT)) == set_up
        assert call(RE, motor.user_readback.get_value()) == here


def test_a_motor_that_its_able_record_disables_is_refused(RE, motor, tmp_path):
    use_data_root(tmp_path)
    able = f"{PREFIX}_able"
    try:
        call(RE, aioca.caget(able, timeout=2))
    except aioca.CANothing:
        pytest.skip(f"this server has no {able}")
    here = call(RE, motor.user_readback.get_value())
    velocity = call(RE, motor.velocity.get_value()) / 2
    call(RE, aioca.caput(able, 1, wait=True))
    try:
        with pytest.raises(PreflightError, match="enable the record"):
            RE(flyscan([], motor, here, here + 2 * velocity, velocity, period=0.1))
        assert call(RE, motor.user_readback.get_value()) == here
    finally:
        call(RE, aioca.caput(able, 0, wait=True))


def test_a_velocity_below_the_base_velocity_is_refused(RE, motor, tmp_path):
    use_data_root(tmp_path)
    here = call(RE, motor.user_readback.get_value())
    velocity = call(RE, motor.velocity.get_value()) / 4
    with changed(RE, motor, VBAS=2 * velocity):
        sentence = re.escape(f"its lowest velocity is {2 * velocity:g}")
        with pytest.raises(PreflightError, match=sentence):
            RE(flyscan([], motor, here, here + 2 * velocity, velocity, period=0.1))
        assert call(RE, motor.user_readback.get_value()) == here
        # Above it the ramp begins at the base velocity, and the rows are complete.
        rows = fly(RE, motor, here, here + 4 * velocity, 2.5 * velocity)
        assert 13 <= len(rows) <= 16


@pytest.mark.parametrize("share", [0.5, -0.5], ids=["up", "down"])
def test_backlash_with_its_own_velocity_does_not_change_a_flight(RE, motor, tmp_path, share):
    use_data_root(tmp_path)
    here = call(RE, motor.user_readback.get_value())
    velocity = call(RE, motor.velocity.get_value()) / 2
    with changed(RE, motor, BDST=share * velocity, BVEL=velocity / 2):
        for start, stop in [(here, here + 2 * velocity), (here + 2 * velocity, here)]:
            assert 16 <= len(fly(RE, motor, start, stop, velocity)) <= 20


def test_a_delay_of_done_is_no_stall(RE, motor, tmp_path):
    use_data_root(tmp_path)
    here = call(RE, motor.user_readback.get_value())
    velocity = call(RE, motor.velocity.get_value()) / 2
    with changed(RE, motor, DLY=2.5):
        assert 16 <= len(fly(RE, motor, here, here + 2 * velocity, velocity)) <= 20
