"""No valve is toggled twice: two processes at once, a status that is late, one that hangs."""

import asyncio
import contextlib
import os
import subprocess
import sys
from itertools import pairwise

import pytest

from glidepath.devices.families import Valve
from glidepath.devices.families.state_machines import MACHINES
from glidepath.devices.generic.states import FOUR_BITS
from glidepath.devices.positioning import MotionError
from glidepath.simulation.barriers import LATE_SECONDS

pytestmark = pytest.mark.slow

BOUND = 30.0

CLIENT = """
import asyncio, sys
from glidepath.devices.families import Valve
from glidepath.devices.generic import ResourceLock

async def main(prefix, with_lock):
    lock = ResourceLock(f"{prefix}LOCK1:", "lock") if with_lock else None
    valve = Valve(f"{prefix}V1:", "valve", travel=3.0, lateness=2.5, lock=lock)
    for device in filter(None, (lock, valve)):
        await device.connect(timeout=30)
    print("ready", flush=True)
    while wanted := (await asyncio.to_thread(sys.stdin.readline)).strip():
        try:
            await valve.set(wanted)
            print(await valve.state(), flush=True)
        except Exception as error:
            print(f"{type(error).__name__}: {error}", flush=True)

asyncio.run(main(sys.argv[1], sys.argv[2] == "lock"))
"""


class Client:
    """A process of its own that sets the valve to what it is told."""

    def __init__(self, prefix, lock=""):
        self.process = subprocess.Popen(
            [sys.executable, "-c", CLIENT, prefix, lock],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(os.environ),
        )

    def tell(self, wanted):
        self.process.stdin.write(f"{wanted}\n")
        self.process.stdin.flush()

    async def answer(self):
        return (await asyncio.to_thread(self.process.stdout.readline)).strip()


@pytest.fixture
async def clients(bench):
    """Two clients that are ready, and the means to start others; all end with the test."""
    started = []

    async def start(lock=""):
        pair = [Client(bench.prefix, lock) for _ in range(2)]
        started.extend(pair)
        for client in pair:
            assert await client.answer() == "ready"
        return pair

    yield start
    for client in started:
        client.process.kill()
        client.process.communicate()


@pytest.fixture
async def pulses(bench):
    """How often the valve, which is closed and without a fault, has been toggled."""
    await make_closed(bench)
    before = await bench.get("TRUTH:V1")

    async def count():
        return await bench.get("TRUTH:V1") - before

    yield count
    await make_closed(bench)


async def make_closed(bench):
    await bench.fault("V1")
    # What is still under way ends first: a movement, a pulse, a status that is late.
    await asyncio.sleep(LATE_SECONDS)
    await bench.becomes("V1:SetTa", 0)
    if await bench.get("V1:State1") not in FOUR_BITS.closed:
        await bench.put("V1:SetTa", 1)
        await bench.becomes("V1:State1", 5)
        await bench.becomes("V1:SetTa", 0)


async def told(clients, wanted):
    """Tell all clients at once; return their answers."""
    for client in clients:
        client.tell(wanted)
    return await asyncio.gather(*(client.answer() for client in clients))


async def test_two_processes_toggle_once_though_the_status_is_late(bench, clients, pulses):
    await bench.fault("V1", "late status")
    answers = await told(await clients(), "open")
    assert await pulses() == 1
    assert await bench.get("V1:State1") == 14
    assert "open" in answers
    # The other one had decided already, or was told that somebody else was at it.
    assert all(one == "open" or "moved by somebody else" in one for one in answers)


async def test_a_process_that_comes_while_the_status_is_late_does_not_toggle(
    bench, clients, pulses
):
    first, second = await clients()
    await bench.fault("V1", "late status")
    first.tell("open")
    await bench.becomes("V1:SetTa", 1)
    await bench.becomes("V1:SetTa", 0)
    # The valve is open by now, or nearly so, and its status says closed.
    assert await bench.get("V1:State1") == 5
    second.tell("open")
    assert [await first.answer(), await second.answer()] == ["open", "open"]
    assert await pulses() == 1


async def test_a_client_that_dies_after_its_pulse_leaves_no_second_one_to_the_next(
    bench, clients, pulses
):
    first, second = await clients()
    await bench.fault("V1", "late status")
    first.tell("open")
    await bench.becomes("V1:SetTa", 1)
    first.process.kill()
    second.tell("open")
    assert await second.answer() == "open"
    assert await pulses() == 1


async def test_neither_of_two_processes_toggles_a_valve_that_hangs_again(bench, clients, pulses):
    await bench.fault("V1", "half-way")
    answers = await told(pair := await clients(), "open")
    assert await pulses() == 1
    assert all("MotionError" in one for one in answers)
    again = await told(pair, "open")
    assert all("still moving after 3 s, so that it was not toggled" in one for one in again)
    closing = await told(pair, "closed")
    assert all("still moving after 3 s, so that it was not toggled" in one for one in closing)
    assert await pulses() == 1
    await bench.fault("V1")
    await bench.put("V1:SetTa", 1)
    await bench.becomes("V1:State1", 5)


async def test_two_who_want_the_opposite_never_turn_a_movement_round(bench, clients, pulses):
    first, second = await clients()
    first.tell("open")
    await bench.becomes("V1:SetTa", 1)
    second.tell("closed")
    said = await asyncio.gather(first.answer(), second.answer())
    # The second waits for the movement, and only then closes: one pulse each.
    assert await pulses() == 2
    assert await bench.get("V1:State1") == 5
    assert said[1] == "closed"


async def test_with_a_lock_two_processes_send_one_pulse_each_time(bench, clients, pulses):
    pair = await clients("lock")
    for number in range(1, 7):
        wanted = "open" if number % 2 else "closed"
        answers = await told(pair, wanted)
        assert wanted in answers, answers
        assert await pulses() == number
        assert all(wanted == one or one.startswith("LockedError: lock is held") for one in answers)
        # Whoever was refused may come again, and finds it done.
        assert [(await told([client], wanted))[0] for client in pair] == [wanted] * 2
        assert await pulses() == number
    assert await bench.get("LOCK1:free") == 1


async def test_a_valve_with_a_status_that_never_comes_is_not_toggled_by_the_next_call(
    bench, pulses
):
    await bench.fault("V1", "no status")
    valve = Valve(f"{bench.prefix}V1:", "valve", travel=1.0, lateness=1.0)
    await valve.connect(timeout=BOUND)
    with pytest.raises(MotionError, match=r"not renewed after it was toggled once.* is 5 \(clo"):
        await valve.set("open")
    assert await pulses() == 1
    # It went to the end of its way unseen. Nobody believes that it is closed, whoever asks.
    other = Valve(f"{bench.prefix}V1:", "other", travel=1.0, lateness=1.0)
    await other.connect(timeout=BOUND)
    for device, wanted in ((valve, "open"), (other, "open"), (valve, "closed"), (other, "closed")):
        with pytest.raises(
            MotionError,
            match=rf"{device.name} was to be {wanted} and was not toggled, for its "
            r"status was not renewed within 1 s .*V1:State1 is 5 \(closed\)",
        ):
            await device.set(wanted)
    assert await pulses() == 1
    await bench.fault("V1")
    assert await valve.state() == "open"
    await valve.set("open")
    assert await pulses() == 1


async def test_a_valve_goes_only_the_ways_that_its_picture_shows(bench, pulses):
    valve = Valve(f"{bench.prefix}V1:", "valve", travel=1.5, lateness=0.5)
    await valve.connect(timeout=BOUND)
    seen = []

    def note(reading):
        seen.append(reading["valve"]["value"])

    valve.position.subscribe_reading(note)
    try:
        await valve.set("open")
        await valve.set("closed")
        for fault in ("half-way", "switch fault", "goes back", "none"):
            await bench.fault("V1", fault)
            with contextlib.suppress(MotionError):
                await valve.set("open")
    finally:
        valve.position.clear_sub(note)
    ways = {(a, b) for a, b in pairwise(seen) if a != b}
    assert ways <= MACHINES["toggle_device"].ways()
    assert {"open", "closed", "moving", "error"} == set(seen)
