"""Triggers by a simulated PandA over real PV Access, against what truly happened."""

import asyncio
import time

import aioca
import h5py
import numpy as np
import pytest
from ophyd_async.core import (
    DetectorTrigger,
    StaticFilenameProvider,
    StaticPathProvider,
    TriggerInfo,
)
from ophyd_async.fastcs.panda import (
    HDFPanda,
    SeqTable,
    SeqTableInfo,
    StaticSeqTableFlyableLogic,
)
from test_position_compare import QUICK, SLOW, Bench

from glidepath.beamlines.simulated import make_devices
from glidepath.devices import panda_box
from glidepath.flyers import TriggerError, Triggers, flight_for, pulses_of
from glidepath.flyers.triggers.panda_fields import NEUTRAL
from glidepath.flyers.triggers.sequencer import Sequencer
from glidepath.flyers.triggers.sources import source_for
from glidepath.simulation import Truth
from glidepath.storage import data_root, use_data_root
from glidepath.trajectory import Leg, PreflightError, Region

FAULTS = ("never_arms", "lost_pulse", "extra_pulse", "no_file", "file_stuck")


LEFT_SET = (
    ("seq", "enable_delay", 60_000_000),
    ("pcap", "enable_delay", 1000),
    ("pcap", "gate_delay", 500_000),
    ("pcap", "trig_delay", 500_000),
    ("pcap", "shift_sum", 8),
    ("inenc", "rst_on_z", "1"),
    ("ttlout", "val_delay", 500_000),
)
"""Fields as somebody may have left them, with their effects on what is measured."""


class PandaBench(Bench):
    """What a plan does with the PandA of the simulated beamline."""

    box = "PANDA"

    def __init__(self, beamline, folder):
        super().__init__(beamline)
        self.folder = folder
        self.devices = make_devices(self.prefix, panda=True)

    @property
    def blocks(self):
        return self.devices["panda"].blocks

    def source(self, axis):
        source = Sequencer(self.devices["panda"], self.devices[axis])
        source.use_folder(self.folder)
        return source

    async def fly(self, axis, *region, source=None, **asked):
        return await super().fly(axis, *region, source=source or self.source(axis), **asked)

    async def settings(self):
        seq, pcap, data = self.blocks.seq[1], self.blocks.pcap, self.blocks.data
        encoder, output = self.blocks.inenc[1], self.blocks.ttlout[1]
        signals = (
            *(seq.enable, seq.posa, seq.prescale, seq.prescale_units, seq.repeats),
            *(pcap.enable, pcap.gate, pcap.trig, pcap.trig_edge, pcap.arm, pcap.active),
            *(pcap.ts_start_capture, encoder.val_capture, encoder.val_dataset, output.val),
            *(data.capture, data.hdf_directory, data.hdf_file_name, data.capture_mode),
        )
        values = {signal.name: await signal.get_value() for signal in signals}
        for block, field, _ in LEFT_SET:
            signal = getattr(self.part(block), field)
            values[signal.name] = await signal.get_value()
        return {**values, "lines": len(await seq.table.get_value())}

    def part(self, block):
        if block == "pcap":
            return self.blocks.pcap
        # The motor's encoder is on the third input.
        return getattr(self.blocks, block)[3 if block == "inenc" else 1]


@pytest.fixture
async def bench(beamline, tmp_path, tmp_path_factory):
    # Where a box is claimed: not in the folder that its files are looked for in.
    use_data_root(tmp_path_factory.mktemp("data"))
    bench = PandaBench(beamline, tmp_path)
    names = ("pgm", "ue48", "energy", "mono_motor", "panda")
    await asyncio.gather(*(bench.devices[name].connect(timeout=10) for name in names))
    for name, value in QUICK.items():
        await bench.put(name, value)
    yield bench
    for name, value in SLOW.items():
        await bench.put(name, value)
    for fault in FAULTS:
        await bench.put(f"FAULT:panda_{fault}", 0)
    await bench.put("BEAM:axis", "PGM1")
    aioca.purge_channel_caches()


async def test_five_thousand_triggers_at_a_kilohertz_need_three_lines(bench):
    await bench.put("BEAM:axis", "m3")
    got = await bench.fly("mono_motor", 400.0, 425.0, 5.0, period=0.001, exposure=0.000_9)
    assert len(got.plan.table) == 3
    assert np.array_equal(got.numbers, np.arange(5000))
    edges, energies, _ = await bench.truth(5000)
    assert got.positions == pytest.approx(energies, abs=2e-5)
    assert np.diff(got.times) == pytest.approx(0.001, abs=1e-6)
    assert got.times - got.times[0] == pytest.approx(edges - edges[0], abs=2e-6)
    assert got.plan.positions == pytest.approx(energies, abs=1e-3)


async def test_nothing_that_somebody_has_left_set_changes_what_is_measured(bench):
    await bench.put("BEAM:axis", "m3")
    for block, field, value in LEFT_SET:
        await getattr(bench.part(block), field).set(value)
    before = await bench.settings()
    try:
        got = await bench.fly("mono_motor", 400.0, 402.0, 5.0, step=0.02, exposure=0.002)
        assert await bench.settings() == before
    finally:
        for block, field, value in LEFT_SET:
            await getattr(bench.part(block), field).set("0" if isinstance(value, str) else 0)
    assert np.array_equal(got.numbers, np.arange(len(got.plan.positions)))
    edges, energies, ends = await bench.truth(len(got.numbers))
    with Truth(bench.truth_file) as truth:
        means = truth.mean_energy(edges, ends)
    assert got.positions == pytest.approx(energies, abs=2e-5)
    assert got.means == pytest.approx(means, abs=2e-5)
    assert edges == pytest.approx(got.clock[0] + got.times, abs=2e-6)


async def test_each_neutral_field_is_one_that_these_tests_leave_set():
    attributes = {("output" if b == "ttlout" else b, field) for b, field, _ in LEFT_SET}
    assert attributes == {(neutral.block.lower(), neutral.attribute) for neutral in NEUTRAL}


async def test_row_times_are_those_of_the_file_to_a_microsecond(bench):
    await bench.put("BEAM:axis", "m3")
    got = await bench.fly("mono_motor", 402.0, 400.0, 5.0, step=0.05, exposure=0.004)
    edges, _, _ = await bench.truth(len(got.numbers))
    zero, uncertainty = got.clock
    assert uncertainty <= 0.001
    assert zero + got.times == pytest.approx(edges, abs=2e-6)
    # Only the capture itself is left behind.
    assert [path.name for path in bench.folder.iterdir()] == ["panda_001.h5"]


async def test_an_output_that_the_box_lacks_is_refused_by_name_and_nothing_is_changed(bench):
    before = await bench.settings()
    panda = bench.devices["panda"]
    panda.outputs = ("TTLOUT11",)
    # By the pre-flight already.
    with pytest.raises(PreflightError, match=r"^panda has no TTLOUT11: it has TTLOUT1, TTLOUT2; "):
        await armed_at_rest(bench, bench.source("mono_motor"))
    assert await bench.settings() == before


async def test_a_capture_of_somebody_else_is_refused_and_goes_on(bench, tmp_path):
    data, pcap = bench.blocks.data, bench.blocks.pcap
    before = await data.hdf_directory.get_value(), await data.hdf_file_name.get_value()
    await data.hdf_directory.set(str(tmp_path))
    await data.hdf_file_name.set("theirs.h5")
    await data.capture.set(True)
    await pcap.enable.set("ONE")
    await pcap.arm.set(True)
    await until(pcap.active.get_value, bool)
    settings = await bench.settings()
    try:
        source = bench.source("mono_motor")
        with pytest.raises(TriggerError, match=r"^panda is writing .*theirs\.h5 for somebody else"):
            await armed_at_rest(bench, source)
        with pytest.raises(TriggerError, match="for somebody else"):
            await pulses_of(bench.devices["panda"]).send(5, 0.01, 0.004)
        assert await bench.settings() == settings
        assert await pcap.active.get_value()
        assert await data.capture.get_value()
    finally:
        await pcap.arm.set(False)
        await data.capture.set(False)
        await pcap.enable.set("ZERO")
        await data.hdf_directory.set(before[0])
        await data.hdf_file_name.set(before[1])
        await until(pcap.active.get_value, lambda active: not active)


async def test_what_a_killed_scan_has_left_running_is_taken_over(bench):
    killed = bench.source("mono_motor")
    killed.use_folder(data_root())
    here = await bench.devices["mono_motor"].user_readback.get_value()
    leg = Leg((Region(here + 1, here + 2, 5.0),))
    (plan,) = await killed.plan(leg, Triggers(killed, step=0.05, exposure=0.004))
    before = await bench.settings()
    await killed.arm(plan)
    try:
        # A session that lives holds its claim.
        with pytest.raises(TriggerError, match="used by another session of this data directory"):
            await armed_at_rest(bench, bench.source("mono_motor"))
        killed._claim.release()
        await armed_at_rest(bench, bench.source("mono_motor"))
        assert not await bench.blocks.data.capture.get_value()
    finally:
        await killed.restore()
    assert await bench.settings() == before


async def test_a_box_with_room_for_them_takes_more_lines_than_4096_at_once(bench):
    await bench.put("BEAM:axis", "m3")
    bench.devices["panda"].lines = 8192
    got = await bench.fly("mono_motor", 400.0, 425.0, 5.0, step=0.005, exposure=0.000_5)
    assert len(got.plan.table) == 5000
    assert np.array_equal(got.numbers, np.arange(5000))
    _, energies, _ = await bench.truth(5000)
    assert got.positions == pytest.approx(energies, abs=2e-5)


async def test_a_short_table_is_flown_in_parts_and_faults_are_seen_where_they_are(bench):
    bench.devices["panda"].lines = 15
    await bench.put("BEAM:axis", "m3")
    await bench.put("FAULT:panda_lost_pulse", 7)
    await bench.put("FAULT:panda_extra_pulse", 12)
    source = bench.source("mono_motor")
    request = Triggers(source, step=0.05, exposure=0.004)
    plans = await source.plan(Leg((Region(425, 424, 5.0),)), request)
    flown = [await bench.fly_plan("mono_motor", plan, source) for plan in plans]
    assert [len(part.plan.positions) for part in flown] == [15, 5]
    whole = np.concatenate([part.plan.positions for part in flown])
    assert np.diff(whole) == pytest.approx(-0.05, abs=1e-5)
    # Numbers count from 1, and in the second part there is no seventh.
    expected = np.sort(np.append(np.delete(np.arange(15), 6), 11))
    assert np.array_equal(flown[0].numbers, expected)
    assert np.array_equal(flown[1].numbers, np.arange(5))
    intervals = np.diff(flown[0].times) / 0.01
    assert np.flatnonzero(intervals > 1.5).tolist() == [5]
    assert np.flatnonzero(intervals < 0.8).tolist() == [10, 11]
    _, energies, _ = await bench.truth(20)
    positions = np.concatenate([part.positions for part in flown])
    assert positions == pytest.approx(energies, abs=2e-5)


async def until(read, condition):
    """Read until what is read fulfils a condition."""
    deadline = time.monotonic() + 30
    while not condition(await read()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


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


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("never_arms", r"^panda did not arm its position capture within 0\.5 s: .*Active is False"),
        ("no_file", r"^panda is armed, but its server has not made the file .* within 0\.5 s"),
    ],
)
async def test_what_does_not_begin_is_a_sentence_and_leaves_no_trace(bench, fault, sentence):
    source = bench.source("mono_motor")
    source.wiring.bound = 0.5
    await bench.put(f"FAULT:panda_{fault}", 1)
    before = await bench.settings()
    with pytest.raises((TimeoutError, TriggerError), match=sentence):
        await armed_at_rest(bench, source)
    assert await bench.settings() == before
    assert not before["panda-blocks-pcap-active"]


async def test_a_file_that_does_not_grow_is_a_sentence(bench):
    source = bench.source("mono_motor")
    source.wiring.bound = 0.6
    await bench.put("FAULT:panda_file_stuck", 1)
    before = await bench.settings()
    asked = {"step": 0.05, "exposure": 0.004}
    with pytest.raises(TriggerError, match=r"holds 0 and has not grown for 0\.6 s; check"):
        await bench.fly("mono_motor", 424.0, 414.0, 5.0, source=source, **asked)
    assert await bench.settings() == before


async def test_counters_and_positions_that_do_not_fit_are_found_before_anything_is_changed(bench):
    source = bench.source("mono_motor")
    before = await bench.settings()
    counter = bench.blocks.inenc[3]
    here = await bench.devices["mono_motor"].user_readback.get_value()
    leg = Leg((Region(here - 0.5, here + 1, 5.0),))
    (plan,) = await source.plan(leg, Triggers(source, step=0.05, exposure=0.004))
    with pytest.raises(TriggerError, match=r"^panda was to be armed before .* at the run-up\.$"):
        await source.arm(plan)
    await counter.setp.set(12_300_000)
    try:
        await until(counter.val.get_value, lambda count: count == 12_300_000)
        with pytest.raises(TriggerError, match=r"^panda counts 123\.0000 where .* of its enc"):
            await source.arm(plan)
    finally:
        await counter.setp.set(round(here * 100_000))
    await source.restore()
    assert await bench.settings() == before


async def test_a_counter_that_is_set_in_flight_is_a_sentence(bench):
    await bench.put("BEAM:axis", "m3")
    counter = bench.blocks.inenc[3]

    async def set_to_zero():
        # Where the axis stands before is nobody's business: first it is at its run-up.
        await until(counter.val.get_value, lambda count: count < 40_000_000)
        await until(counter.val.get_value, lambda count: count > 40_100_000)
        await counter.setp.set(0)

    setting = asyncio.create_task(set_to_zero())
    try:
        with pytest.raises(TriggerError, match=r"^panda counted from 40\d\..* within 0\.0\d+ s, "):
            await bench.fly("mono_motor", 400.0, 405.0, 1.0, period=0.01, exposure=0.005)
        await setting
    finally:
        here = await bench.devices["mono_motor"].user_readback.get_value()
        await counter.setp.set(round(here * 100_000))


async def test_disarming_in_flight_ends_the_triggers_and_cuts_no_row_short(
    bench,
):
    source, leg = bench.source("mono_motor"), Leg((Region(418, 408, 5.0),))
    back_end = flight_for(bench.devices["mono_motor"]).back_end
    # Nearly always open.
    (plan,) = await source.plan(leg, Triggers(source, step=2.0, exposure=0.35))
    motion = await back_end.plan(leg)
    await back_end.prepare(motion)
    await source.arm(plan)
    await back_end.start(motion)
    blocks = []
    async with asyncio.timeout(30):
        while not any(len(block.times) for block in blocks):
            blocks.append(await source.captured())
    await source.disarm()
    blocks.append(await source.captured())
    await back_end.halt()
    await source.restore()
    await back_end.restore()
    made = [block for block in blocks if len(block.times)]
    assert sum(len(block.times) for block in made) < len(plan.positions)
    for block in made:
        assert block.ends - block.times == pytest.approx(0.35, abs=2e-6)
        known = np.isfinite(block.means)
        assert block.positions[known] - block.end_positions[known] == pytest.approx(1.75, abs=0.02)
    assert not await bench.blocks.seq[1].active.get_value()
    assert not await bench.blocks.pcap.active.get_value()
    assert not await bench.blocks.data.capture.get_value()


async def test_it_sends_pulses_without_a_flight_and_captures_none_of_them(bench):
    before = await bench.settings()
    pulses = pulses_of(bench.devices["panda"])
    await pulses.send(20, 0.01, 0.004)
    await until(bench.blocks.seq[1].active.get_value, lambda active: not active)
    edges, _, ends = await bench.truth(20)
    assert np.diff(edges) == pytest.approx(0.01, abs=1e-6)
    assert ends - edges == pytest.approx(0.004, abs=1e-6)
    await pulses.stop()
    assert await bench.settings() == before


async def stock_panda(bench, folder):
    paths = StaticPathProvider(StaticFilenameProvider("stock"), folder)
    panda = HDFPanda(f"{bench.prefix}PANDA:", paths, "stock")
    await panda.connect(timeout=10)
    return panda


async def test_a_stock_panda_of_ophyd_async_triggers_a_flight(bench, tmp_path):
    await bench.put("BEAM:axis", "m3")
    before = await bench.settings()
    box = panda_box(await stock_panda(bench, tmp_path), axes=bench.devices["panda"].axes)
    source = source_for(box, bench.devices["mono_motor"])
    source.use_folder(tmp_path)
    got = await bench.fly("mono_motor", 400.0, 402.0, 2.0, source=source, step=0.02, exposure=0.005)
    assert np.array_equal(got.numbers, np.arange(100))
    edges, energies, _ = await bench.truth(100)
    assert got.positions == pytest.approx(energies, abs=2e-5)
    assert got.times - got.times[0] == pytest.approx(edges - edges[0], abs=2e-6)
    assert await bench.settings() == before


async def test_a_stock_panda_that_does_not_say_what_is_connected_is_refused(bench, tmp_path):
    panda = await stock_panda(bench, tmp_path)
    with pytest.raises(PreflightError, match=r"give panda_box\(panda, axes=..., outputs=...\)"):
        source_for(panda, bench.devices["mono_motor"])


async def test_a_server_that_lacks_fields_is_refused_and_nothing_is_changed(bench, tmp_path):
    before = await bench.settings()
    panda = await stock_panda(bench, tmp_path)
    del panda.pcap.trig_edge
    box = panda_box(panda, axes=bench.devices["panda"].axes)
    with pytest.raises(PreflightError, match="does not offer trig_edge of PCAP"):
        await armed_at_rest(bench, source_for(box, bench.devices["mono_motor"]))
    assert await bench.settings() == before


async def test_stock_ophyd_async_drives_it_and_its_file_is_as_a_real_one_s(bench, tmp_path):
    panda = await stock_panda(bench, tmp_path)
    before = await bench.settings()
    for signal, value in (
        *((panda.pcap.enable, "ONE"), (panda.pcap.gate, "SEQ2.OUTA")),
        *((panda.pcap.trig, "SEQ2.OUTA"), (panda.pcap.trig_edge, "Falling")),
        *((panda.inenc[1].val_capture, "Mean"), (panda.inenc[1].val_dataset, "angle")),
    ):
        await signal.set(value)
    table = SeqTable.row(repeats=50, time1=4000, outa1=True, time2=1000)
    flyer = StaticSeqTableFlyableLogic(panda.seq[2]).with_device("flyer")
    await asyncio.gather(panda.stage(), flyer.stage())
    await panda.prepare(TriggerInfo(trigger=DetectorTrigger.EXTERNAL_LEVEL, number_of_events=50))
    await flyer.prepare(SeqTableInfo(sequence_table=table, repeats=1))
    # The put of a table is answered before the table is there.
    await until(lambda: panda.seq[2].table.get_value(), lambda shown: len(shown) == 1)
    await asyncio.gather(panda.kickoff(), flyer.kickoff())
    await asyncio.gather(panda.complete(), flyer.complete())
    assert set(await panda.describe()) == {"angle"}
    await asyncio.gather(panda.unstage(), flyer.unstage())
    with h5py.File(tmp_path / "stock.h5") as file:
        assert (file["angle"].dtype, file["angle"].chunks) == (np.float64, (1024,))
        assert len(file["angle"]) == 50
        now = await panda.inenc[1].val.get_value()
        assert file["angle"][:] == pytest.approx(now, abs=2)
    for signal, value in (
        (panda.inenc[1].val_capture, "No"),
        (panda.inenc[1].val_dataset, ""),
        *((field, "ZERO") for field in (panda.pcap.enable, panda.pcap.gate, panda.pcap.trig)),
        (panda.pcap.trig_edge, "Rising"),
        (panda.data.hdf_directory, before["panda-blocks-data-hdf_directory"]),
        (panda.data.hdf_file_name, before["panda-blocks-data-hdf_file_name"]),
    ):
        await signal.set(value)
