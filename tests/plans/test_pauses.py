"""Pauses, suspenders, halts and beam losses: the same run goes on, no row twice, none missing."""

import contextlib
import json
import threading
import time
from itertools import pairwise

import numpy as np
import pytest
from bluesky.utils import RunEngineInterrupted

from glidepath.flyers import BeamGuard
from glidepath.plans import flyscan
from glidepath.timeline import Quality

BOUND = 20.0


class At:
    """Calls an action, in a thread of its own, each time the rows have reached a number."""

    def __init__(self, simulated, action, *rows: int) -> None:
        self._action, self._waiting = action, list(rows)
        self._threads: list[threading.Thread] = []
        self._primary = None
        self._token = simulated.run_engine.subscribe(self._look)
        self._engine = simulated.run_engine

    def _look(self, name, document):
        if name == "descriptor" and document["name"] == "primary":
            self._primary = document["uid"]
        if (
            name == "stream_datum"
            and document["descriptor"] == self._primary
            and self._waiting
            and document["indices"]["stop"] >= self._waiting[0]
        ):
            self._waiting.pop(0)
            self._threads.append(threading.Thread(target=self._action))
            self._threads[-1].start()

    def join(self) -> int:
        """Wait for the actions; return how many there were."""
        self._engine.unsubscribe(self._token)
        for thread in self._threads:
            thread.join(BOUND)
        return len(self._threads)


def run_through(simulated, plan, between=lambda: None) -> int:
    """Run a plan, resuming after each pause; return how often it paused."""
    engine, pauses = simulated.run_engine, 0
    with contextlib.suppress(RunEngineInterrupted):
        engine(plan)
    while engine.state == "paused":
        pauses += 1
        between()
        with contextlib.suppress(RunEngineInterrupted):
            engine.resume()
    return pauses


def check_whole(run, axis, low, high, row):
    """Check that the rows cover the range once: none twice, none missing, numbers agree."""
    table = run.primary
    order = np.argsort(table[axis])
    begins, ends = table[f"{axis}_lower"][order], table[f"{axis}_upper"][order]
    assert begins[0] >= low
    assert ends[-1] <= high
    noise = 0.004
    gaps = np.concatenate([[begins[0] - low], begins[1:] - ends[:-1], [high - ends[-1]]])
    assert gaps.min() > -noise, "a row twice"
    # At the end of each flight less than a row is left over.
    assert gaps.max() < 2.05 * row + noise, "a row is missing"
    assert np.all(np.diff(table["sample_time"]) > 0)
    datums = [d["indices"] for d in run.datums if d["stream_resource"] == run.resource_of[axis]]
    assert datums[0]["start"] == 0
    assert all(a["stop"] == b["start"] for a, b in pairwise(datums))
    assert datums[-1]["stop"] == len(table[axis]) == run.stop["num_events"]["primary"]


def newest(simulated):
    """Return the newest run with its stream documents."""
    run = simulated.run()
    run.datums = simulated.named("stream_datum")
    run.resource_of = {d["data_key"]: d["uid"] for d in simulated.named("stream_resource")}
    return run


@pytest.mark.parametrize("axis", ["energy", "mono_motor"])
@pytest.mark.parametrize("deferred", [False, True])
def test_a_paused_flight_stands_and_goes_on_where_it_was(simulated, axis, deferred):
    s = simulated
    device = getattr(s, axis)
    velocity = s.get(s.mono_motor.velocity), s.get(s.pgm.sweep.velocity)
    stood = []

    def look():
        # The axis stands, and a user who moves it by hand finds it as it was.
        assert s.get(s.pgm.status) == 0
        assert s.get(s.mono_motor.motor_done_move)
        assert velocity == (s.get(s.mono_motor.velocity), s.get(s.pgm.sweep.velocity))
        stood.append(s.get(device.readback if axis == "energy" else device.user_readback))

    at = At(s, lambda: s.run_engine.request_pause(defer=deferred), 8, 20)
    pauses = run_through(s, flyscan([s.mesh], device, 400.0, 404.0, 1.0, period=0.1), between=look)
    assert pauses == at.join() == 2
    assert 400.0 < stood[0] < stood[1] < 404.5
    run = newest(s)
    assert run.stop["exit_status"] == "success"
    assert "paused 2 times" in run.stop["reason"]
    check_whole(run, axis, 400.0, 404.0, 0.1)
    assert len(json.loads(run.verdict["interruptions"])) == 2


def test_a_flight_goes_on_after_the_axis_was_moved_by_hand(simulated):
    s = simulated

    def move_away():
        s.call(_set(s.pgm, 410.0))

    at = At(s, s.run_engine.request_pause, 5)
    assert run_through(s, flyscan([s.mesh], s.energy, 400.0, 403.0, 1.0, period=0.1), move_away)
    assert at.join() == 1
    run = newest(s)
    assert run.stop["exit_status"] == "success"
    check_whole(run, "energy", 400.0, 403.0, 0.1)


async def _set(device, value):
    await device.set(value)


def test_a_pause_on_the_way_to_the_run_up_begins_the_flight_again(simulated):
    s = simulated
    s.call(_set(s.pgm, 430.0))
    # The axis is on its way while the streams are described.
    described = threading.Event()

    def look(name, document):
        if name == "descriptor" and not described.is_set():
            described.set()
            threading.Thread(target=s.run_engine.request_pause).start()

    token = s.run_engine.subscribe(look)
    assert run_through(s, flyscan([s.mesh], s.energy, 400.0, 402.0, 1.0, period=0.1)) == 1
    s.run_engine.unsubscribe(token)
    run = newest(s)
    assert run.stop["exit_status"] == "success"
    check_whole(run, "energy", 400.0, 402.0, 0.1)


def test_an_abort_out_of_a_pause_keeps_what_was_recorded(simulated):
    s = simulated
    at = At(s, s.run_engine.request_pause, 5)
    with pytest.raises(RunEngineInterrupted):
        s.run_engine(flyscan([s.mesh], s.energy, 400.0, 440.0, 2.0, period=0.1))
    at.join()
    assert s.run_engine.state == "paused"
    s.run_engine.abort("enough")
    assert s.stop["exit_status"] == "abort"
    run = newest(s)
    assert len(run.primary["energy"]) == run.stop["num_events"]["primary"] >= 5
    assert s.get(s.pgm.status) == 0


def test_a_suspender_holds_the_flight_until_it_lets_go(simulated):
    import asyncio

    s = simulated
    engine = s.run_engine
    released = []

    def suspend():
        event = asyncio.Event()
        engine.request_suspend(event.wait, justification="the shutter is closed")

        def release():
            released.append(s.get(s.pgm.status))
            engine.loop.call_soon_threadsafe(event.set)

        timer = threading.Timer(1.5, release)
        timer.start()
        timer.join()

    at = At(s, suspend, 5)
    engine(flyscan([s.mesh], s.energy, 400.0, 403.0, 1.0, period=0.1))
    assert at.join() == 1
    assert released == [0]
    run = newest(s)
    assert run.stop["exit_status"] == "success"
    check_whole(run, "energy", 400.0, 403.0, 0.1)


@pytest.mark.parametrize("axis", ["energy", "mono_motor"])
def test_a_halt_leaves_no_axis_flying_and_every_setting_as_it_was(simulated, axis):
    s = simulated
    signals = [s.mono_motor.velocity, s.pgm.sweep.velocity, s.pgm.sweep.start, s.mesh.nplc]
    before = [s.get(signal) for signal in signals]

    def halt():
        with contextlib.suppress(Exception):
            s.run_engine.halt()

    at = At(s, halt, 5)
    with pytest.raises(RunEngineInterrupted):
        s.run_engine(flyscan([s.mesh], getattr(s, axis), 400.0, 440.0, 2.0, period=0.04))
    at.join()

    async def stands():
        from glidepath.devices.signals import watch

        async with watch(s.pgm.status, s.mono_motor.motor_done_move, *signals) as seen:
            return await seen.until(
                lambda: (
                    seen.value(s.pgm.status) == 0
                    and bool(seen.value(s.mono_motor.motor_done_move))
                    and [seen.value(signal) for signal in signals] == before
                ),
                BOUND,
            )

    assert s.call(stands())
    assert s.stop["exit_status"] == "abort"

    async def sampling():
        tasks = [t for t in asyncio.all_tasks() if "glidepath" in t.get_name()]
        tasks += [t for t in asyncio.all_tasks() if "_each" in repr(t.get_coro())]
        if tasks:
            await asyncio.wait(tasks, timeout=BOUND)
        return [t.get_name() for t in tasks if not t.done()]

    import asyncio

    assert s.call(sampling()) == []


def lose_beam(simulated, seconds):
    simulated.put("FAULT:beam_loss", 1)
    time.sleep(seconds)
    simulated.put("FAULT:beam_loss", 0)


def good_rows_cover(table, period_and_more):
    """Check that the rows with beam cover the range; return which have lost it."""
    lost = (table["quality"] & Quality.BEAM_LOST) != 0
    assert not lost.all()
    good = {name: column[~lost] for name, column in table.items()}
    order = np.argsort(good["energy"])
    gaps = good["energy_lower"][order][1:] - good["energy_upper"][order][:-1]
    assert gaps.max() < period_and_more
    return lost


def test_without_beam_the_scan_is_held(simulated):
    s = simulated

    at = At(s, lambda: lose_beam(s, 1.5), 8)
    guard = BeamGuard(s.ring, settle=0.5)
    try:
        s.run_engine(
            flyscan([s.mesh], s.energy, 400.0, 402.5, 1.0, period=0.1, beam=guard, refly="bad rows")
        )
    finally:
        assert at.join() == 1
        s.put("FAULT:beam_loss", 0)
    run = newest(s)
    assert run.stop["exit_status"] == "success"
    assert "held: the ring current is" in run.stop["reason"]
    # How many rows have lost the beam before the axis was stopped is a matter of luck.
    table = run.primary
    lost = good_rows_cover(table, 0.21)
    # Every row without its bit was measured with beam.
    assert np.all(table["ring_current"][~lost] > s.ring.lowest_current)


def test_rows_that_have_lost_the_beam_are_marked_and_flown_again(simulated):
    s = simulated

    at = At(s, lambda: lose_beam(s, 0.5), 8)
    try:
        s.run_engine(
            flyscan([s.mesh, s.ring], s.energy, 400.0, 402.5, 1.0, period=0.1, refly="bad rows")
        )
    finally:
        assert at.join() == 1
        s.put("FAULT:beam_loss", 0)
    run = newest(s)
    assert run.stop["exit_status"] == "success"
    lost = good_rows_cover(run.primary, 0.21)
    assert lost.any()


def test_injections_mark_rows_with_and_without_a_guard(simulated):
    s = simulated
    at = At(s, lambda: s.put("FAULT:inject", 1), 8)
    try:
        s.run_engine(flyscan([s.mesh, s.ring], s.energy, 400.0, 403.0, 1.0, period=0.1))
    finally:
        at.join()
    table = newest(s).primary
    marked = (table["quality"] & Quality.TOP_UP) != 0
    assert marked.any()
    assert not marked.all()
    assert np.array_equal(marked, table["ring_blankout"] > 0)
