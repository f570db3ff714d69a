"""Valves and shutters against their faults: never toggled twice, never waited for without end."""

import asyncio
import os
import subprocess
import sys

import pytest

from glidepath.devices.families import BeamShutter, PhotonShutter, Valve
from glidepath.devices.generic import OPEN, LockedError, ResourceLock, StateTable
from glidepath.devices.generic.states import FOUR_BITS
from glidepath.devices.generic.two_states import LONGEST_PULSE
from glidepath.devices.positioning import MotionError

pytestmark = pytest.mark.slow

BOUND = 30.0

CLIENT = """
import asyncio, sys
from glidepath.devices.families import Valve

async def main():
    valve = Valve(sys.argv[1], "valve", travel=8.0)
    await valve.connect(timeout=30)
    print("ready", flush=True)
    sys.stdin.readline()
    await valve.set("open")
    print(await valve.state(), flush=True)

asyncio.run(main())
"""


@pytest.fixture
async def valve(bench):
    """A closed valve without a fault, and the number of pulses that it has had."""
    await bench.fault("V1")
    await bench.becomes("V1:SetTa", 0)
    if await bench.get("V1:State1") not in FOUR_BITS.closed:
        await bench.put("V1:SetTa", 1)
        await bench.becomes("V1:State1", 5)
        await bench.becomes("V1:SetTa", 0)
    device = Valve(f"{bench.prefix}V1:", "valve", travel=3.0, lateness=2.5)
    await device.connect(timeout=BOUND)
    device.pulses = await bench.get("TRUTH:V1")
    yield device
    await device.stop(success=True)
    await bench.fault("V1")


async def pulses(bench, valve):
    return await bench.get("TRUTH:V1") - valve.pulses


async def test_a_valve_opens_and_closes_with_one_pulse_each(bench, valve):
    await valve.set("open")
    assert await valve.state() == "open"
    assert (await valve.read())["valve"]["value"] == "open"
    assert await pulses(bench, valve) == 1
    await valve.set("closed")
    assert await bench.get("V1:State1") == 5
    assert await pulses(bench, valve) == 2
    assert (await valve.locate()) == {"setpoint": "closed", "readback": "closed"}


async def test_a_valve_that_is_there_already_is_not_toggled(bench, valve):
    await valve.set("closed")
    assert await pulses(bench, valve) == 0


async def test_a_movement_of_somebody_else_is_waited_for(bench, valve):
    await bench.put("V1:SetTa", 1)
    await valve.set("open")
    assert await valve.state() == "open"
    assert await pulses(bench, valve) == 1


async def test_two_calls_at_once_toggle_once(bench, valve):
    await asyncio.gather(valve.set("open"), valve.set("open"))
    assert await valve.state() == "open"
    assert await pulses(bench, valve) == 1


def another_client(prefix):
    """Start a process that opens a valve when it is told to."""
    return subprocess.Popen(
        [sys.executable, "-c", CLIENT, f"{prefix}V1:"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )


async def test_two_clients_in_two_processes_toggle_once(bench, valve):
    clients = [another_client(bench.prefix) for _ in range(2)]
    try:
        for client in clients:
            assert await asyncio.to_thread(client.stdout.readline) == "ready\n"
        for client in clients:
            client.stdin.write("\n")
            client.stdin.flush()
        said = await asyncio.gather(*(asyncio.to_thread(c.communicate, None, 60) for c in clients))
    finally:
        for client in clients:
            client.kill()
            client.wait()
    assert await pulses(bench, valve) == 1
    assert await bench.get("V1:State1") == 14
    # The one that comes second may be told that somebody else was at it.
    assert any(out == "open\n" for out, _ in said)


async def test_a_status_that_is_late_does_not_lead_to_a_second_pulse(bench, valve):
    await bench.fault("V1", "late status")
    other = Valve(f"{bench.prefix}V1:", "other", travel=3.0, lateness=2.5)
    await other.connect(timeout=BOUND)
    first = valve.set("open")
    await bench.becomes("V1:SetTa", 1)
    await bench.becomes("V1:SetTa", 0)
    # The status still says "closed", and it is older than the pulse.
    await asyncio.gather(first, other.set("open"))
    assert await valve.state() == "open"
    assert await pulses(bench, valve) == 1


@pytest.mark.parametrize(
    ("fault", "state"), [("half-way", "moving"), ("stuck", "closed"), ("no status", "closed")]
)
async def test_a_valve_that_does_not_arrive_is_named_and_not_toggled_again(
    bench, valve, fault, state
):
    await bench.fault("V1", fault)
    with pytest.raises(MotionError, match=rf"valve was to be open .*toggled once.*\({state}\)"):
        await valve.set("open")
    assert await pulses(bench, valve) == 1


async def test_a_valve_that_is_stuck_can_be_set_again_for_its_status_is_alive(bench, valve):
    await bench.fault("V1", "stuck")
    for number in (1, 2):
        with pytest.raises(MotionError, match="did not get there after it was toggled once"):
            await valve.set("open")
        assert await pulses(bench, valve) == number
    assert await valve.doubt() == ""


async def test_a_valve_that_shows_open_and_was_toggled_since_does_not_let_the_beam_through(
    bench, valve
):
    await valve.set("open")
    assert await valve.objection() == ""
    # Not within the length of a pulse: then the status could be one of a fast valve.
    await asyncio.sleep(LONGEST_PULSE)
    await bench.fault("V1", "no status")
    await bench.put("V1:SetTa", 1)
    await bench.becomes("V1:SetTa", 0)
    assert await valve.state() == "open"
    objection = await valve.objection()
    assert objection.startswith("Nobody knows whether there is light behind valve, for its status")
    assert objection.endswith(f"{bench.prefix}V1:State1 is 14 (open).")
    await bench.fault("V1")
    assert (
        await valve.objection() == "valve is closed, so that there is no light behind it; open "
        "it first."
    )


async def test_a_valve_that_hangs_half_way_is_not_toggled_by_the_next_call(bench, valve):
    await bench.fault("V1", "half-way")
    with pytest.raises(MotionError):
        await valve.set("open")
    with pytest.raises(MotionError, match="still moving"):
        await valve.set("open")
    assert await pulses(bench, valve) == 1
    # For the next test: let it end its way.
    await bench.fault("V1")
    await bench.becomes("V1:SetTa", 0)
    await bench.put("V1:SetTa", 1)
    await bench.becomes("V1:State1", 5)


async def test_a_valve_that_an_interlock_closes_is_named(bench, valve):
    await bench.fault("V1", "goes back")
    with pytest.raises(MotionError, match="interlock or somebody else"):
        await valve.set("open")
    assert await pulses(bench, valve) == 1


async def test_a_valve_in_fault_is_not_toggled(bench, valve):
    await bench.fault("V1", "switch fault")
    with pytest.raises(MotionError, match="in fault, so that it was not toggled"):
        await valve.set("open")
    assert await pulses(bench, valve) == 0


async def test_only_open_and_closed_can_be_asked(valve):
    with pytest.raises(ValueError, match="'open' or 'closed', not to 'ajar'"):
        await valve.set("ajar")


async def test_waiting_can_be_given_up(bench, valve):
    await bench.fault("V1", "half-way")
    status = valve.set("open")
    await bench.becomes("V1:State1", 4)
    await valve.stop()
    with pytest.raises(MotionError, match="stopped"):
        await status
    await bench.fault("V1")
    await bench.becomes("V1:SetTa", 0)
    await bench.put("V1:SetTa", 1)
    await bench.becomes("V1:State1", 5)


async def test_progress_is_shown(valve):
    updates = []
    status = valve.set("open")
    status.watch(lambda **update: updates.append((update["current"], update["target"])))
    await status
    assert updates[-1] == (1.0, 1.0)


async def test_names_and_states_of_another_site_need_no_subclass(bench):
    shutter = PhotonShutter(
        "",
        "shutter",
        pvs={"toggle": f"{bench.prefix}PSH1:SetTa", "status": f"{bench.prefix}PSH1:State1"},
        states=StateTable(open=frozenset({14}), closed=frozenset({5, 1}), moving=frozenset({4})),
    )
    await shutter.connect(timeout=BOUND)
    await shutter.set("open")
    assert await bench.get("PSH1:State1") == 14
    await shutter.set("closed")
    with pytest.raises(ValueError, match="no PV for 'state'"):
        Valve("V1:", pvs={"state": "{}State"})


async def test_a_lock_that_others_have_keeps_a_valve_as_it_is(bench, valve):
    names = {"owner": "somebody else"}
    other = ResourceLock(f"{bench.prefix}LOCK1:", "other", **names)
    lock = ResourceLock(f"{bench.prefix}LOCK1:", "lock", owner="we")
    locked = Valve(f"{bench.prefix}V1:", "locked", lock=lock)
    for device in (other, lock, locked):
        await device.connect(timeout=BOUND)
    async with other.held():
        with pytest.raises(LockedError, match="held by somebody else, not by we"):
            await locked.set("open")
        await lock.release()
        assert await other.held_by_us()
    assert await pulses(bench, valve) == 0
    await locked.set("open")
    assert await bench.get("LOCK1:free") == 1
    assert await pulses(bench, valve) == 1


async def test_one_of_two_who_ask_at_once_gets_the_lock(bench):
    locks = [ResourceLock(f"{bench.prefix}LOCK1:", f"lock{n}", owner=f"user{n}") for n in (1, 2)]
    for lock in locks:
        await lock.connect(timeout=BOUND)
    results = await asyncio.gather(*(lock.acquire() for lock in locks), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["LockedError", "NoneType"]
    for lock in locks:
        await lock.release()
    assert await bench.get("LOCK1:free") == 1


@pytest.fixture
async def shutter(bench):
    """A closed beam shutter with its permits and without a fault."""
    await bench.put("BS1:reset", 1)
    await bench.fault("BS1")
    for permit in ("permit1", "permit2"):
        await bench.put(f"BS1:{permit}", 1)
    await bench.put("BS1:close", 1)
    await bench.becomes("BS1:State", 1)
    device = BeamShutter(f"{bench.prefix}BS1:", "shutter", travel=3.0)
    await device.connect(timeout=BOUND)
    yield device
    await bench.fault("BS1")
    await bench.put("BS1:permit1", 1)


async def test_a_beam_shutter_opens_and_closes(bench, shutter):
    await shutter.set(OPEN)
    assert await bench.get("BS1:State") == 2
    await shutter.set("closed")
    assert await bench.get("BS1:State") == 1


async def test_a_beam_shutter_without_permit_is_not_told_to_open(bench, shutter):
    commands = await bench.get("TRUTH:BS1")
    await bench.put("BS1:permit1", 0)
    with pytest.raises(MotionError, match="may not be opened, for the hutch is not searched"):
        await shutter.set("open")
    assert await bench.get("TRUTH:BS1") == commands
    await shutter.set("closed")


async def test_a_permit_that_is_withdrawn_ends_the_opening(bench, shutter):
    await bench.fault("BS1", "half-way")
    status = shutter.set("open")
    await bench.becomes("BS1:State", 0)
    await bench.put("BS1:permit1", 0)
    with pytest.raises(MotionError, match="lost its permit"):
        await status


async def test_a_fault_is_reset_by_a_trigger(bench, shutter):
    await bench.fault("BS1", "switch fault")
    with pytest.raises(MotionError, match="trigger it to reset"):
        await shutter.set("open")
    await shutter.trigger()
    await shutter.set("open")
    assert await shutter.state() == "open"


async def test_a_shutter_that_hangs_is_named(bench, shutter):
    await bench.fault("BS1", "stuck")
    with pytest.raises(MotionError, match=r"did not get there within 3 s.*\(closed\)"):
        await shutter.set("open")


async def test_a_shutter_whose_status_is_silent_is_neither_open_nor_closed(bench, shutter):
    await bench.fault("BS1", "no status")
    with pytest.raises(MotionError, match=r"did not get there within 3 s.*State is 1 \(closed\)"):
        await shutter.set("open")
    assert "told to be open and its status was not renewed within 3 s" in await shutter.doubt()
    # It shows that it is closed, and is told to close all the same: it has opened unseen.
    with pytest.raises(MotionError, match=r"not renewed within 3 s of the command.* is 1 \(clos"):
        await shutter.set("closed")
    assert await bench.get("BS1:close") == 1
    await bench.fault("BS1")
    await shutter.set("closed")
    assert await shutter.state() == "closed"
    assert await shutter.doubt() == ""


async def test_a_shutter_that_shows_open_and_was_closed_since_does_not_let_the_beam_through(
    bench, shutter
):
    await shutter.set("open")
    assert await shutter.objection() == ""
    await bench.fault("BS1", "no status")
    await bench.put("BS1:close", 1)
    assert await shutter.state() == "open"
    assert await shutter.objection() == (
        "Nobody knows whether there is light behind shutter, for it was told to be closed and its "
        f"status was not renewed within 3 s: ca://{bench.prefix}BS1:State is 2 (open)."
    )
