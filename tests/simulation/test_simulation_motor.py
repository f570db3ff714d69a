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


def test_a_disabled_record_refuses_every_put_but_the_one_that_enables_it(client):
    client.put("m4.VAL", 20.0, wait=False)
    client.wait_for("m4.RBV", lambda position: position > 0.2)
    client.put("m4.DISP", 1)
    try:
        for field, value in (("STOP", 1), ("SPMG", 0), ("VAL", 1.0), ("VELO", 1.0), ("SET", 1)):
            before = client.get(f"m4.{field}")
            client.put(f"m4.{field}", value, wait=False)  # the client does not take the error
            assert client.get(f"m4.{field}") == before, field
        assert client.get("m4.DMOV") == 0  # it goes on
    finally:
        client.put("m4.DISP", 0)
        client.put("m4.STOP", 1, wait=False)
    client.wait_for("m4.DMOV", lambda done: done == 1)
    client.put("m4.VAL", 0.0)


STOP, PAUSE, MOVE, GO = range(4)


@pytest.fixture
def slide(client):
    """The sample slide at 0, with SPMG on Go and the settings it was started with."""

    def reset():
        client.put("m2.SPMG", GO, wait=False)
        client.put("m2.STOP", 1, wait=False)
        client.wait_for("m2.DMOV", lambda done: done == 1)
        client.put("m2.RTRY", 10)
        client.put("m2.VBAS", 0.0)
        client.put("m2.BVEL", 5.0)
        client.put("m2.VELO", 5.0)
        client.put("m2.VAL", 0.0)

    reset()
    yield client
    reset()


def stands(client):
    """Wait until nothing moves, whatever DMOV says, and return where."""
    client.wait_for("m2.MOVN", lambda moving: moving == 0)
    return client.get("m2.RBV")


@pytest.mark.parametrize("mode", [STOP, PAUSE])
def test_a_target_that_is_given_while_spmg_holds_the_motor_is_moved_to_on_go(slide, mode):
    slide.put("m2.SPMG", mode)
    slide.put("m2.VAL", 0.5, wait=False)
    slide.wait_for("m2.DMOV", lambda done: done == 0)
    # STOP does not make it forget the target.
    slide.put("m2.STOP", 1, wait=False)
    slide.wait_for("m2.STOP", lambda stop: stop == 0)
    assert (slide.get("m2.RBV"), slide.get("m2.DMOV"), slide.get("m2.MOVN")) == (0.0, 0, 0)
    assert (slide.get("m2.VAL"), slide.get("m2.LVAL")) == (0.5, 0.0)
    slide.put("m2.SPMG", GO)
    slide.wait_for("m2.DMOV", lambda done: done == 1)
    assert slide.get("m2.RBV") == slide.get("m2.LVAL") == 0.5


def test_a_target_that_is_taken_back_in_pause_moves_nothing_on_go(slide):
    slide.put("m2.SPMG", PAUSE)
    slide.put("m2.VAL", 0.5, wait=False)
    slide.wait_for("m2.DMOV", lambda done: done == 0)
    slide.put("m2.VAL", 0.0, wait=False)
    slide.wait_for("m2.VAL", lambda target: target == 0.0)
    with slide.recording("m2.RBV") as updates:
        slide.put("m2.SPMG", GO)
        slide.wait_for("m2.DMOV", lambda done: done == 1)
    assert {update.value for update in updates} == {0.0}


def test_a_target_beyond_a_limit_is_found_out_on_go(slide):
    slide.put("m2.SPMG", PAUSE)
    slide.put("m2.VAL", 60.0, wait=False)
    slide.wait_for("m2.VAL", lambda target: target == 60.0)
    assert slide.get("m2.LVIO") == 0
    slide.put("m2.SPMG", GO)
    slide.wait_for("m2.DMOV", lambda done: done == 1)
    assert (slide.get("m2.LVIO"), slide.get("m2.VAL"), slide.get("m2.RBV")) == (1, 0.0, 0.0)


def test_a_pause_in_flight_keeps_the_target_and_go_goes_on(slide):
    slide.put("m2.VAL", 10.0, wait=False)
    slide.wait_for("m2.RBV", lambda position: position > 0.5)
    slide.put("m2.SPMG", PAUSE)
    here = stands(slide)
    assert 0.5 < here < 9.0
    assert (slide.get("m2.VAL"), slide.get("m2.DMOV")) == (10.0, 0)
    slide.put("m2.SPMG", GO)
    slide.wait_for("m2.DMOV", lambda done: done == 1)
    assert slide.get("m2.RBV") == 10.0


def test_stop_after_a_pause_in_flight_forgets_where_it_was_going(slide):
    slide.put("m2.VAL", 10.0, wait=False)
    slide.wait_for("m2.RBV", lambda position: position > 0.5)
    slide.put("m2.SPMG", PAUSE)
    here = stands(slide)
    slide.put("m2.STOP", 1, wait=False)
    slide.wait_for("m2.DMOV", lambda done: done == 1)
    assert slide.get("m2.VAL") == 10.0
    slide.put("m2.SPMG", GO)
    assert (slide.get("m2.DMOV"), slide.get("m2.RBV")) == (1, here)


def test_without_retries_a_motor_that_was_paused_is_done_and_stays(slide):
    slide.put("m2.RTRY", 0)
    slide.put("m2.VAL", 10.0, wait=False)
    slide.wait_for("m2.RBV", lambda position: position > 0.5)
    slide.put("m2.SPMG", PAUSE)
    slide.wait_for("m2.DMOV", lambda done: done == 1)
    here = stands(slide)
    assert (slide.get("m2.VAL"), here < 9.0) == (10.0, True)
    slide.put("m2.SPMG", GO)
    assert (slide.get("m2.DMOV"), slide.get("m2.RBV")) == (1, here)


def test_switching_to_stop_makes_the_target_the_place_where_it_stands(slide):
    slide.put("m2.VAL", 10.0, wait=False)
    slide.wait_for("m2.RBV", lambda position: position > 0.5)
    slide.put("m2.SPMG", STOP)
    slide.wait_for("m2.DMOV", lambda done: done == 1)
    here = slide.get("m2.RBV")
    assert here < 9.0
    assert slide.get("m2.VAL") == slide.get("m2.LVAL") == here
    slide.put("m2.SPMG", GO)
    assert (slide.get("m2.DMOV"), slide.get("m2.RBV")) == (1, here)


def test_the_base_velocity_raises_what_is_below_it(slide):
    slide.put("m2.BVEL", 2.0)
    slide.put("m2.VBAS", 3.0)
    assert (slide.get("m2.VELO"), slide.get("m2.BVEL")) == (5.0, 3.0)
    slide.put("m2.VELO", 1.0)
    slide.put("m2.BVEL", 1.0)
    assert (slide.get("m2.VELO"), slide.get("m2.BVEL")) == (3.0, 3.0)
    slide.put("m2.VBAS", 6.0)
    assert (slide.get("m2.VELO"), slide.get("m2.BVEL")) == (6.0, 6.0)


def test_the_base_velocity_raises_the_highest_one(client):
    client.put("m4.VBAS", 6.0)
    assert (client.get("m4.VMAX"), client.get("m4.VELO")) == (6.0, 6.0)
    client.put("m4.VBAS", 0.0)
    client.put("m4.VELO", 2.0)


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


def test_the_dial_the_home_switch_and_the_torque_are_as_the_record_has_them(client):
    client.put("m4.OFF", 1.0)
    client.put("m4.DVAL", 0.5)
    assert (client.get("m4.DRBV"), client.get("m4.VAL"), client.get("m4.RBV")) == (0.5, 1.5, 1.5)
    assert client.get("m4.TDIR") == 1
    client.put("m4.HOMR", 1)
    assert (client.get("m4.DRBV"), client.get("m4.DVAL"), client.get("m4.RBV")) == (0.0, 0.0, 1.0)
    assert (client.get("m4.HOMR"), client.get("m4.TDIR")) == (0, 0)
    client.put("m4.CNEN", 0)
    client.put("m4.VAL", 1.2)
    assert (client.get("m4.DMOV"), client.get("m4.RBV")) == (1, 1.0)
    client.put("m4.CNEN", 1)
    client.put("m4.VAL", 1.0)
    client.put("m4.OFF", 0.0)
    assert client.get("m4.RBV") == 0.0
    client.put("m4.VAL", 0.0)
