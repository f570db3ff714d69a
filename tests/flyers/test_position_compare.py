"""Triggers by a simulated Zebra over real Channel Access, against what truly happened."""

import asyncio
import time
from types import SimpleNamespace

import aioca
import numpy as np
import pytest

from glidepath.beamlines.simulated import make_devices
from glidepath.flyers import PositionCompare, TriggerError, Triggers, flight_for
from glidepath.flyers.triggers import position_compare
from glidepath.simulation import Truth
from glidepath.trajectory import Leg, Region

BOUND = 30.0
QUICK, SLOW = {"m3.VELO": 10.0, "m3.ACCL": 0.05}, {"m3.VELO": 5.0, "m3.ACCL": 0.5}
"""How the energy motor moves during these tests, and usually."""
FAULTS = ("never_arms", "lost_pulse", "extra_pulse", "download_rate")


class Bench:
    """Devices of the simulated beamline, and what a plan does with them."""

    box = "ZEBRA"

    def __init__(self, beamline):
        self.prefix = beamline.prefix
        self.truth_file = beamline.settings.truth
        self.devices = make_devices(self.prefix)

    async def put(self, name, value):
        await aioca.caput(self.prefix + name, value, wait=True)

    def source(self, axis):
        return PositionCompare(self.devices["zebra"], self.devices[axis])

    async def fly(self, axis, *region, source=None, step=None, period=None, exposure):
        """Fly a leg with triggers; return everything that is known of them."""
        source = source or self.source(axis)
        request = Triggers(source, step=step, period=period, exposure=exposure)
        (plan,) = await source.plan(Leg((Region(*region),)), request)
        return await self.fly_plan(axis, plan, source)

    async def fly_plan(self, axis, plan, source):
        """Fly what was planned; return everything that is known of its triggers."""
        back_end, leg = flight_for(self.devices[axis]).back_end, plan.leg
        blocks = []
        motion = await back_end.plan(leg)
        try:
            await back_end.prepare(motion)
            await source.arm(plan)
            await back_end.start(motion)
            flight = asyncio.create_task(back_end.follow(motion))
            while not flight.done():
                await asyncio.wait({flight}, timeout=0.3)
                blocks.append(await source.captured())
            await flight
            await source.disarm()
            blocks.append(await source.captured())
        finally:
            await back_end.halt()
            await source.disarm()
            await source.restore()
            await back_end.restore()
        numbers, times, positions = (
            np.concatenate([getattr(block, name) for block in blocks])
            for name in ("numbers", "times", "positions")
        )
        means = [block.means for block in blocks if block.means is not None]
        return SimpleNamespace(
            means=np.concatenate(means) if means else None,
            plan=plan,
            blocks=blocks,
            numbers=numbers,
            times=times,
            positions=positions,
            clock=await source.clock(),
            complaint=await source.complaint(),
        )

    async def truth(self, count):
        """Return edges (POSIX s) and energies (eV) of the last pulses that left the box."""
        deadline = time.monotonic() + BOUND
        now = time.time()
        while True:
            with Truth(self.truth_file) as truth:
                if len(truth.time) and truth.time[-1] > now:
                    sent = truth.exposures(self.box)
                    edges = sent["start"][-count:]
                    return edges, truth.energy(edges), sent["stop"][-count:]
            assert time.monotonic() < deadline, "the truth file does not grow"
            await asyncio.sleep(0.1)

    async def settings(self):
        reading = await self.devices["zebra"].read_configuration()
        return {name: entry["value"] for name, entry in reading.items()}


@pytest.fixture
async def bench(beamline):
    bench = Bench(beamline)
    names = ("pgm", "ue48", "energy", "mono_motor", "zebra")
    await asyncio.gather(*(bench.devices[name].connect(timeout=10) for name in names))
    for name, value in QUICK.items():
        await bench.put(name, value)
    yield bench
    for name, value in SLOW.items():
        await bench.put(name, value)
    for fault in FAULTS:
        await bench.put(f"FAULT:zebra_{fault}", 0)
    await bench.put("FAULT:zebra_captures", 100_000)
    await bench.put("BEAM:axis", "PGM1")
    aioca.purge_channel_caches()


@pytest.mark.parametrize(
    ("axis", "ends"), [("energy", (399.5, 402.5)), ("pgm", (402.5, 399.5))], ids=["up", "down"]
)
async def test_energies_over_the_nitrogen_edge_are_true_in_both_directions(bench, axis, ends):
    before = await bench.settings()
    got = await bench.fly(axis, *ends, 4.0, step=0.05, exposure=0.01)
    assert len(got.numbers) == len(got.plan.positions) == pytest.approx(60, abs=1)
    assert np.array_equal(got.numbers, np.arange(len(got.numbers)))
    assert sum(len(block.times) > 0 for block in got.blocks) > 1, "not live"
    edges, energies, ends_ = await bench.truth(len(got.numbers))
    error = got.positions - energies
    print(f"RMS {np.sqrt(np.mean(error**2)) * 1e3:.3f} meV, mean {error.mean() * 1e3:.3f} meV")
    assert np.sqrt(np.mean(error**2)) < 1e-3
    assert abs(error.mean()) < 0.1e-3
    assert got.plan.positions == pytest.approx(energies, abs=1e-3)
    assert got.times - got.times[0] == pytest.approx(edges - edges[0], abs=2e-6)
    zero, uncertainty = got.clock
    assert np.abs(zero + got.times - edges).max() <= uncertainty
    assert ends_ - edges == pytest.approx(0.01, abs=1e-6)
    assert got.complaint is None
    assert await bench.settings() == before


async def test_the_edge_that_a_pulse_block_was_left_to_answer_does_not_delay_the_pulses(bench):
    await bench.put("BEAM:axis", "m3")
    await bench.put("ZEBRA:POLARITY:BC", "Falling")
    before = await bench.settings()
    try:
        got = await bench.fly("mono_motor", 400.0, 401.0, 5.0, step=0.05, exposure=0.004)
        assert await bench.settings() == before
    finally:
        await bench.put("ZEBRA:POLARITY:BC", "Rising")
    _, energies, _ = await bench.truth(len(got.numbers))
    assert got.positions == pytest.approx(energies, abs=2e-5)


async def test_five_thousand_triggers_at_a_kilohertz(bench):
    await bench.put("BEAM:axis", "m3")
    got = await bench.fly("mono_motor", 400.0, 425.0, 5.0, step=0.005, exposure=0.000_95)
    assert got.plan.shortest_period == pytest.approx(0.001)
    assert np.array_equal(got.numbers, np.arange(5000))
    edges, energies, _ = await bench.truth(5000)
    assert got.positions == pytest.approx(energies, abs=2e-5)
    assert np.diff(got.times) == pytest.approx(0.001, abs=2e-6)
    assert got.times - got.times[0] == pytest.approx(edges - edges[0], abs=2e-6)


async def test_triggers_by_time_come_while_the_gate_is_open_and_a_slow_download_keeps_them(bench):
    await bench.put("BEAM:axis", "m3")
    await bench.put("FAULT:zebra_download_rate", 15)
    got = await bench.fly("mono_motor", 401.0, 400.0, 5.0, period=0.01, exposure=0.0095)
    assert len(got.blocks[-1].numbers) > 0, "nothing was left to download"
    assert np.array_equal(got.numbers, np.arange(20))
    assert np.diff(got.times) == pytest.approx(0.01, abs=1e-6)
    _, energies, _ = await bench.truth(20)
    assert got.positions == pytest.approx(energies, abs=2e-5)
    assert got.positions == pytest.approx(got.plan.positions, abs=1e-4)
    assert got.complaint is None


async def test_a_small_buffer_is_flown_in_parts_without_a_gap(bench):
    await bench.put("FAULT:zebra_captures", 10)
    source = bench.source("mono_motor")
    request = Triggers(source, step=0.05, exposure=0.008)
    plans = await source.plan(Leg((Region(400, 401, 5.0),)), request)
    flown = [await bench.fly_plan("mono_motor", plan, source) for plan in plans]
    assert [len(part.numbers) for part in flown] == [10, 10]
    positions = np.concatenate([part.positions for part in flown])
    assert np.diff(positions) == pytest.approx(0.05, abs=1e-9)


async def test_lost_extra_and_overlapping_pulses_are_seen_where_they_are(bench):
    await bench.put("BEAM:axis", "m3")
    await bench.put("FAULT:zebra_lost_pulse", 12)
    await bench.put("FAULT:zebra_extra_pulse", 25)
    got = await bench.fly("mono_motor", 400.0, 402.0, 5.0, step=0.05, exposure=0.008)
    expected = np.sort(np.append(np.delete(np.arange(40), 11), 24))
    assert np.array_equal(got.numbers, expected)
    intervals = np.diff(got.times) / 0.01
    assert np.flatnonzero(intervals > 1.5).tolist() == [10]
    assert np.flatnonzero(intervals < 0.8).tolist() == [23, 24]
    # The extra one came while the pulse before it was not over: captured, but not sent.
    assert "while the pulse before was not over" in got.complaint
    edges, energies, _ = await bench.truth(39)
    assert np.delete(got.positions, 24) == pytest.approx(energies, abs=2e-5)
    sent = np.delete(got.times, 24)
    assert sent - sent[0] == pytest.approx(edges - edges[0], abs=2e-6)


async def armed_at_rest(bench, source):
    """Arm for a leg ahead of where the motor stands, which does not move."""
    here = await bench.devices["mono_motor"].user_readback.get_value()
    leg = Leg((Region(here + 1, here + 2, 5.0),))
    (plan,) = await source.plan(leg, Triggers(source, step=0.05, exposure=0.004))
    try:
        await source.arm(plan)
    finally:
        await source.disarm()
        await source.restore()


async def test_a_box_that_never_arms_is_a_sentence_and_leaves_no_trace(bench, monkeypatch):
    monkeypatch.setattr(position_compare, "BOUND", 1.0)
    await bench.put("FAULT:zebra_never_arms", 1)
    before = await bench.settings()
    with pytest.raises(TimeoutError, match=r"^zebra was not armed within 1 s: .*PC_ARM_OUT is 0"):
        await armed_at_rest(bench, bench.source("mono_motor"))
    assert await bench.settings() == before


async def test_no_detector_sees_what_is_captured_to_check_the_counters(bench):
    # As staff may have left it: the compare's pulses at the detectors' connector.
    await bench.put("ZEBRA:OUT1_TTL", 31)
    before, sent = await bench.settings(), len((await bench.truth(10_000))[0])
    assert before["zebra-outputs-1"] == 31
    await armed_at_rest(bench, bench.source("mono_motor"))
    assert len((await bench.truth(10_000))[0]) == sent
    assert await bench.settings() == before
    await bench.put("ZEBRA:OUT1_TTL", 0)


async def test_counters_that_disagree_with_the_axis_are_found_before_the_scan(bench):
    source = bench.source("mono_motor")
    await bench.put("ZEBRA:POS3_SET", 123.0)
    try:
        with pytest.raises(TriggerError, match=r"^zebra counts 123\.0000 where .* counters of its"):
            await armed_at_rest(bench, source)
    finally:
        now = await bench.devices["mono_motor"].user_readback.get_value()
        await bench.put("ZEBRA:POS3_SET", now)
    await armed_at_rest(bench, source)


async def ask_again_and_again(source):
    """Until it fails: a server goes on for a moment before it freezes."""
    deadline = time.monotonic() + BOUND
    while time.monotonic() < deadline:
        await source.captured()


async def test_a_server_that_does_not_answer_is_a_sentence(bench, monkeypatch):
    source = bench.source("mono_motor")
    here = await bench.devices["mono_motor"].user_readback.get_value()
    leg = Leg((Region(here + 1, here + 2, 5.0),))
    (plan,) = await source.plan(leg, Triggers(source, step=0.05, exposure=0.004))
    await source.arm(plan)
    await bench.put("FAULT:detectors_frozen", 1.0)
    with monkeypatch.context() as patch:
        patch.setattr(position_compare, "BOUND", 0.3)
        with pytest.raises(TimeoutError, match=r"^zebra did not answer within 0\.3 s"):
            await ask_again_and_again(source)
    await source.disarm()
    await source.restore()


async def test_arming_behind_the_first_trigger_is_refused(bench):
    source = bench.source("mono_motor")
    here = await bench.devices["mono_motor"].user_readback.get_value()
    leg = Leg((Region(here - 0.5, here + 1, 5.0),))
    (plan,) = await source.plan(leg, Triggers(source, step=0.05, exposure=0.004))
    with pytest.raises(TriggerError, match=r"^zebra was to be armed before .* at the run-up\.$"):
        await source.arm(plan)
    await source.disarm()
    await source.restore()


async def test_disarming_in_flight_ends_the_triggers(bench):
    source, leg = bench.source("mono_motor"), Leg((Region(400, 410, 5.0),))
    back_end = flight_for(bench.devices["mono_motor"]).back_end
    (plan,) = await source.plan(leg, Triggers(source, step=0.05, exposure=0.004))
    motion = await back_end.plan(leg)
    await back_end.prepare(motion)
    await source.arm(plan)
    await back_end.start(motion)
    made = 0
    deadline = time.monotonic() + BOUND
    while not made:
        made = len((await source.captured()).numbers)
        assert time.monotonic() < deadline
    await source.disarm()
    rest = len((await source.captured()).numbers)
    await back_end.halt()
    await source.restore()
    await back_end.restore()
    assert made + rest < len(plan.positions)
    assert not len((await source.captured()).numbers)
    assert await bench.devices["zebra"].armed.get_value() == 0
