"""The motor records over Channel Access."""

import os
import subprocess
import sys
from itertools import pairwise

import pytest
from channel_client import BOUND, wait_until

OPHYD_CLIENT = """
import asyncio
from ophyd_async.core import observe_value
from ophyd_async.epics.motor import Motor

async def main():
    motor = Motor("T:m1", name="m1")
    await motor.connect(timeout=10)
    await motor.set(150.0)
    reading = await motor.read()
    configuration = await motor.read_configuration()
    print(reading["m1"]["value"], configuration["m1-motor_egu"]["value"])
    status = motor.set(-2000.0)
    await asyncio.sleep(0.3)
    await motor.stop()
    await asyncio.wait([status.task])
    print(repr(status.exception()))
    async with asyncio.timeout(10):
        async for done in observe_value(motor.motor_done_move):
            if done:
                break
    print(await motor.user_readback.get_value() > -2000.0)
    await motor.set(0.0)

asyncio.run(main())
"""


def test_ophyd_asyncs_motor_connects_moves_and_stops(simulated):
    done = subprocess.run(
        [sys.executable, "-c", OPHYD_CLIENT],
        env=os.environ | simulated.environment,
        capture_output=True,
        text=True,
        timeout=4 * BOUND,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "150.0 um",
        "RuntimeError('Device m1 was stopped.')",
        "True",
    ]


def test_put_completes_when_the_motion_has_ended(client):
    with client.recording("m4.RBV", "m4.DMOV") as updates:
        client.put("m4.VAL", 1.0)
        assert client.get("m4.RBV") == 1.0
        assert client.get("m4.DMOV") == 1
        wait_until(lambda: updates[-1].name == "m4.DMOV" and updates[-1].value == 1)
    positions = [update for update in updates if update.name == "m4.RBV"][1:]
    assert [update.value for update in updates if update.name == "m4.DMOV"] == [1, 0, 1]
    # The times of the readback are multiples of 0.1 s from the start, and the end.
    steps = [b.timestamp - a.timestamp for a, b in pairwise(positions)]
    assert steps[:-1] == pytest.approx([0.1] * (len(steps) - 1), abs=1e-5)
    client.put("m4.VAL", 0.0)


def test_stop_ends_the_motion_and_sets_the_target_to_where_it_is(client):
    client.put("m4.VAL", 20.0, wait=False)
    client.wait_for("m4.RBV", lambda position: position > 0.5)
    client.put("m4.STOP", 1, wait=False)
    client.wait_for("m4.DMOV", lambda done: done == 1)
    assert client.get("m4.VAL") == client.get("m4.RBV") < 5.0
    client.put("m4.VAL", 0.0)


def test_target_beyond_the_soft_limits_is_not_taken(client):
    client.put("m1.VAL", 6000.0)
    assert client.get("m1.VAL") == client.get("m1.RBV") == 0.0


def test_velocity_is_cut_to_the_maximum_and_zero_means_none(client):
    client.put("m1.VELO", 5000.0)
    assert client.get("m1.VELO") == client.get("m1.VMAX") == 2000.0
    client.put("m1.VELO", 1000.0)
    assert client.get("m2.VMAX") == 0.0
    client.put("m2.VELO", 20.0)
    assert client.get("m2.VELO") == 20.0
    client.put("m2.VELO", 5.0)


def test_set_mode_changes_the_calibration_and_moves_nothing(client):
    client.put("m4.SET", 1)
    client.put("m4.VAL", 2.0)
    assert (client.get("m4.OFF"), client.get("m4.RBV"), client.get("m4.DRBV")) == (2.0, 2.0, 0.0)
    assert (client.get("m4.HLM"), client.get("m4.DMOV")) == (27.0, 1)
    client.put("m4.VAL", 0.0)
    client.put("m4.SET", 0)
    assert client.get("m4.HLM") == 25.0


def test_a_target_that_was_given_in_pause_is_moved_to_on_go(client):
    client.put("m4.SPMG", 1)
    client.put("m4.VAL", 0.5)
    assert (client.get("m4.RBV"), client.get("m4.DMOV")) == (0.0, 1)
    client.put("m4.SPMG", 3)
    client.wait_for("m4.RBV", lambda position: position == 0.5)
    client.wait_for("m4.DMOV", lambda done: done == 1)
    client.put("m4.VAL", 0.0)


def test_a_target_beyond_a_limit_is_said_until_the_next_one(client):
    client.put("m4.VAL", 30.0)
    assert (client.get("m4.LVIO"), client.get("m4.VAL")) == (1, 0.0)
    client.put("m4.VAL", 0.1)
    assert client.get("m4.LVIO") == 0
    client.put("m4.VAL", 0.0)


def test_motor_with_energy_units_moves_the_beam_when_chosen(at_rest):
    client = at_rest
    light = client.get("KEI1:rdCur")
    client.put("BEAM:axis", "m3")
    client.put("m3.VAL", 407.0)
    client.wait_for("KEI1:rdCur", lambda current: current < 0.3 * light)
    client.put("m3.VAL", 400.0)
    client.put("BEAM:axis", "PGM1")
    client.wait_for("KEI1:rdCur", lambda current: current > 0.9 * light)
