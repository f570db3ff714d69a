"""Each field of a motor record that does something to a flight: provoked, over Channel Access."""

import ast
import asyncio
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import aioca
import numpy as np
import pytest
from ophyd_async.core import set_mock_value
from ophyd_async.epics.motor import Motor as StockMotor

from glidepath.beamlines.make_gap_tables import UNDULATORS, gap_table_file
from glidepath.devices import EnergyAxis, MotionError, Motor, Undulator, read_gap_table
from glidepath.devices.motor_fields import FIELDS
from glidepath.devices.motor_record import BESIDE, OWN, MotorRecord, read_motor_record
from glidepath.flyers import ConstantVelocity, FlightError, flight_for
from glidepath.flyers.motion.flown_velocity import SHORTEST_CHECK, FlownVelocity
from glidepath.session.positions import positions_of
from glidepath.trajectory import Leg, Region, preflight

pytestmark = pytest.mark.slow

UP = Leg((Region(0.0, 4.0, 4.0),))
DOWN = Leg((Region(4.0, 0.0, 4.0),))
DEFAULTS = {
    "SET": 0, "SPMG": 3, "DISP": 0, "DISA": 0, "OMSL": 0, "FRAC": 1.0, "MSTA": 2, "VBAS": 0.0,
    "BDST": 0.0, "BVEL": 5.0, "BACC": 0.2, "DLY": 0.0, "RTRY": 0, "HLS": 0, "LLS": 0, "SPDB": 0.0,
    "MDEL": 0.0, "ACCU": 0, "ACCS": 25.0, "OFF": 0.0, "VELO": 5.0, "LLM": -50.0, "HLM": 50.0,
}  # fmt: skip


async def shows(name, condition):
    """Wait until a variable has a value that fulfils a condition, and return it."""
    for _ in range(500):
        value = await aioca.caget(name)
        if condition(value):
            return value
        await asyncio.sleep(0.02)
    raise TimeoutError(f"{name} is {value}")


@pytest.fixture
async def bench(beamline):
    """The sample slide as ophyd-async's own device, its fields, and the flight that it gets."""
    prefix = f"{beamline.prefix}m2"
    motor = StockMotor(prefix, "slide")
    await motor.connect()

    async def put(**values):
        for name, value in values.items():
            await aioca.caput(f"{prefix}.{name}", value, wait=True)

    async def get(name):
        return await aioca.caget(f"{prefix}.{name}")

    async def reset():
        await put(DISP=0, SET=0)
        # On Go a motor makes up for what it was told meanwhile.
        await put(SPMG=3, STOP=1)
        await shows(f"{prefix}.DMOV", lambda done: done == 1)
        await put(**DEFAULTS)

    await reset()
    flight = flight_for(motor)
    yield SimpleNamespace(motor=motor, flight=flight, put=put, get=get, prefix=prefix)
    await reset()
    await flight.halt()
    await flight.restore()
    aioca.purge_channel_caches()


async def objections(bench, leg=UP):
    plan = await bench.flight.plan(leg)
    return preflight("slide", leg.regions[0], 0.1, plan.envelope).objections


async def fly(bench, leg):
    """Fly a leg; return the times and positions of all readbacks."""
    seen = []

    def note(reading):
        (newest,) = reading.values()
        seen.append((newest["timestamp"], newest["value"]))

    plan = await bench.flight.plan(leg)
    bench.motor.user_readback.subscribe_reading(note)
    try:
        await bench.flight.prepare(plan)
        await bench.flight.kickoff()
        await bench.flight.complete()
    finally:
        bench.motor.user_readback.clear_sub(note)
    return np.array(seen).T


def velocity_inside(time, position, leg):
    """Return the velocity between the ends of a leg, flown in its direction for the last time."""
    low, high = sorted((leg.start, leg.stop))
    inside = np.flatnonzero((position > low) & (position < high))
    last = inside[np.flatnonzero(np.diff(inside, prepend=-2) > 1)[-1] :] if len(inside) else inside
    run = inside[inside >= last[0]]
    return (position[run[-1]] - position[run[0]]) / (time[run[-1]] - time[run[0]])


REFUSALS = {
    "SET": ({"SET": 1}, "is in Set mode, in which a new target changes its calibration"),
    "SPMG pause": ({"SPMG": 1}, "does not move while .*m2.SPMG is Pause: set it to Go"),
    "SPMG stop": ({"SPMG": 0}, "does not move while .*m2.SPMG is Stop: set it to Go"),
    "SPMG move": ({"SPMG": 2}, "does not move while .*m2.SPMG is Move: set it to Go"),
    "DISP": ({"DISP": 1}, "is disabled: .*m2.DISP is 1; enable the record"),
    "DISA": ({"DISA": 1}, "is disabled: .*m2.DISA is 1; make it differ from DISV"),
    "OMSL": ({"OMSL": 1}, "takes its targets from another record: .*m2.OMSL is closed_loop"),
    "FRAC": ({"FRAC": 0.5}, "goes only a part of each way at once: .*m2.FRAC is 0.5"),
    "MSTA problem": ({"MSTA": 0x202}, "its driver has a problem .*MSTA is 0x202"),
    "MSTA silent": ({"MSTA": 0x1002}, "its controller does not answer .*MSTA is 0x1002"),
    "MSTA slip": ({"MSTA": 0x42}, "it has lost steps .*MSTA is 0x42"),
    "VBAS": ({"VBAS": 4.5}, r"cannot fly at 4 mm/s: its lowest velocity is 4\.5 mm/s"),
    "VMAX": ({"HLM": 3.0}, r"cannot fly to 4 mm: its range is -50 to 3 mm"),
    "HLS": ({"HLS": 1}, r"is on a limit switch at .*m2.HLS is 1\) and cannot fly further up"),
    "LLS": ({"LLS": 1}, r"is on a limit switch at .*m2.LLS is 1\) and cannot fly further down"),
    "SPDB": ({"SPDB": 60.0}, "would not move over .*: its set point dead band .*SPDB is 60"),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_what_would_not_fly_is_refused_before_anything_moves(bench, name):
    fields, sentence = REFUSALS[name]
    assert await objections(bench) == ()
    before = await bench.get("RBV"), await bench.get("OFF")
    await bench.put(**fields)
    (objection,) = await objections(bench)
    assert re.search(sentence, objection), objection
    # Nor does it move if somebody flies it without having asked.
    plan = await bench.flight.plan(UP)
    if plan.envelope.objections and name != "SPDB":
        with pytest.raises(FlightError, match=sentence):
            await bench.flight.prepare(plan)
    assert (await bench.get("RBV"), await bench.get("OFF")) == before


async def test_set_mode_that_is_ignored_is_no_reason_to_refuse(bench):
    await bench.put(SET=1)
    await aioca.caput(f"{bench.prefix}.IGSET", 1, wait=True)
    try:
        assert await objections(bench) == ()
    finally:
        await aioca.caput(f"{bench.prefix}.IGSET", 0, wait=True)


@pytest.mark.parametrize("leg", [UP, DOWN], ids=["up", "down"])
@pytest.mark.parametrize("backlash", [0.5, -0.5])
async def test_backlash_does_not_change_the_velocity_of_a_flight(bench, leg, backlash):
    await bench.put(BDST=backlash, BVEL=0.5, BACC=0.1)
    time, position = await fly(bench, leg)
    assert velocity_inside(time, position, leg) == pytest.approx(leg.direction * 4.0, rel=0.02)
    # It ended behind the stop, and never came back.
    assert leg.direction * (position[-1] - leg.stop) > 0
    await bench.flight.restore()
    assert (await bench.get("BDST"), await bench.get("VELO")) == (backlash, 5.0)


@pytest.mark.parametrize("backlash", [0.5, -0.5])
async def test_an_ordinary_move_with_slow_backlash_takes_its_time(beamline, bench, backlash):
    motor = Motor(bench.prefix, "slide")
    await motor.connect()
    await bench.put(BDST=backlash, BVEL=0.05)
    record = await read_motor_record(motor)
    # Ten seconds at 0.05 mm/s: more than ophyd-async's own bound would be worth.
    assert record.bound(1.0) > 20.0
    await bench.put(BVEL=1.0)
    here = await bench.get("RBV")
    await motor.set(here + 1.0)
    assert await bench.get("RBV") == pytest.approx(here + 1.0, abs=1e-3)


async def test_the_delay_of_done_is_no_stall(bench):
    await bench.put(DLY=3.0)
    time, position = await fly(bench, UP)
    assert velocity_inside(time, position, UP) == pytest.approx(4.0, rel=0.02)


async def test_the_base_velocity_makes_the_run_up_longer(bench):
    usual = (await bench.flight.plan(UP)).motion
    await bench.put(VBAS=3.0)
    plan = await bench.flight.plan(UP)
    assert plan.motion.start < usual.start
    assert plan.envelope.min_velocity == 3.0


async def test_an_acceleration_that_is_given_as_such_makes_the_run_up(bench):
    await bench.put(ACCU=1, ACCS=2.0)
    plan = await bench.flight.plan(UP)
    # Two seconds at 2 mm/s^2, and the time to settle.
    assert plan.motion.passages[0].begin == pytest.approx(2.0 + 0.3)


async def test_a_velocity_that_the_record_raises_is_no_flight(bench):
    plan = await bench.flight.plan(UP)
    slow = Leg((Region(0.0, 4.0, 1.0),))
    slow_plan = await bench.flight.plan(slow)
    await bench.put(VBAS=2.0)
    with pytest.raises(FlightError, match=r"changed after its flight had been planned, .*VBAS"):
        await bench.flight.prepare(slow_plan)
    assert plan.envelope.min_velocity == 0.0


async def test_a_record_that_was_calibrated_meanwhile_is_not_flown(bench):
    plan = await bench.flight.plan(UP)
    await bench.put(OFF=0.25)
    with pytest.raises(FlightError, match=r"planned, .*m2\.OFF from 0 to 0\.25"):
        await bench.flight.prepare(plan)


async def told(bench, **values):
    """Write fields without waiting for what they lead to, and wait until they are there."""
    for name, value in values.items():
        await aioca.caput(f"{bench.prefix}.{name}", value, wait=False)
        await until(bench, name, lambda found, value=value: found == value)


async def until(bench, field, condition):
    return await shows(f"{bench.prefix}.{field}", condition)


async def stays_on_go(bench):
    """Switch to Go and see that nothing moves: the motor is done at once, where it was."""
    here = await bench.get("RBV")
    await told(bench, SPMG=3)
    await until(bench, "DMOV", lambda done: done == 1)
    assert (await bench.get("RBV"), await bench.get("MOVN")) == (here, 0)


@pytest.mark.parametrize("retries", [0, 10])
@pytest.mark.parametrize("mode", [0, 1], ids=["stop", "pause"])
async def test_a_hold_in_mid_flight_is_named_and_nothing_moves_on_go(bench, mode, retries):
    await bench.put(RTRY=retries)
    leg = Leg((Region(0.0, 20.0, 4.0),))
    plan = await bench.flight.plan(leg)
    await bench.flight.prepare(plan)
    await bench.flight.kickoff()
    following = bench.flight.complete()
    await told(bench, SPMG=mode)
    label = ("Stop", "Pause")[mode]
    with pytest.raises(FlightError, match=rf"m2\.SPMG is {label}: set it to Go"):
        await following
    await bench.flight.halt()
    assert await bench.get("RBV") < 19.0
    await stays_on_go(bench)


@pytest.mark.parametrize("retries", [0, 10])
async def test_a_flight_that_ends_while_a_pause_slows_it_down_leaves_nothing_for_go(bench, retries):
    await bench.put(RTRY=retries, ACCL=1.0)
    try:
        plan = await bench.flight.plan(Leg((Region(0.0, 20.0, 4.0),)))
        await bench.flight.prepare(plan)
        await bench.flight.kickoff()
        await until(bench, "RBV", lambda position: position > 0.5)
        await told(bench, SPMG=1)
        # STOP does nothing while the record slows down by itself.
        await bench.flight.halt()
        assert (await bench.get("DMOV"), await bench.get("MOVN")) == (1, 0)
        await stays_on_go(bench)
    finally:
        await bench.put(ACCL=0.2)


@pytest.mark.parametrize("mode", [0, 1], ids=["stop", "pause"])
async def test_a_target_of_a_flight_that_a_held_motor_remembers_is_taken_back(
    bench, monkeypatch, mode
):
    plan = await bench.flight.plan(UP)
    await bench.flight.prepare(plan)

    async def held_meanwhile(_):
        await told(bench, SPMG=mode)

    # Between the look at the record and the order to move.
    monkeypatch.setattr(bench.flight.back_end, "_check_unchanged", held_meanwhile)
    starting = bench.flight.kickoff()
    await until(bench, "VAL", lambda target: target == pytest.approx(plan.motion.stop))
    await bench.flight.halt()
    await starting
    await stays_on_go(bench)


async def test_set_mode_on_the_way_to_the_run_up_changes_no_calibration(bench):
    plan = await bench.flight.plan(UP)
    await bench.flight.prepare(plan)
    before = await bench.get("RBV"), await bench.get("OFF")
    await bench.put(SET=1)
    with pytest.raises(FlightError, match="is in Set mode"):
        await bench.flight.kickoff()
    assert (await bench.get("RBV"), await bench.get("OFF")) == before


async def test_a_target_of_somebody_else_is_left_alone_and_said(bench):
    await told(bench, SPMG=1, VAL=7.0)
    (objection,) = await objections(bench)
    assert re.search(r"m2\.SPMG is Pause: set it to Go, upon which it goes to 7 mm by", objection)
    # It waits, and does not move: that is no reason of its own.
    assert await bench.flight.moving() == ""
    await bench.flight.halt()
    assert await bench.get("VAL") == 7.0
    await told(bench, SPMG=3)
    await until(bench, "DMOV", lambda done: done == 1)
    assert await bench.get("RBV") == 7.0


async def test_an_approach_that_a_pause_ended_is_no_run_up(bench):
    await bench.put(RTRY=0)
    await bench.motor.set(-40.0)
    plan = await bench.flight.plan(Leg((Region(0.0, -4.0, 4.0),)))
    preparing = bench.flight.prepare(plan)
    await until(bench, "RBV", lambda position: position > -38.0)
    await told(bench, SPMG=1)
    await until(bench, "DMOV", lambda done: done == 1)
    with pytest.raises(FlightError, match=r"stands at -3\d.* and not at its run-up.*SPMG is Pause"):
        await preparing


async def test_our_own_motor_that_is_stopped_in_pause_goes_nowhere_on_go(bench):
    motor = Motor(bench.prefix, "slide")
    await motor.connect()
    moving = motor.set(20.0)
    await until(bench, "RBV", lambda position: position > 0.5)
    await told(bench, SPMG=1)
    await motor.stop()
    with pytest.raises(RuntimeError, match="stopped"):
        await moving
    await stays_on_go(bench)


async def test_what_axes_say_of_themselves_has_what_keeps_a_motor_from_moving(bench):
    await told(bench, SPMG=1, VAL=7.0)
    (position,) = await positions_of({"slide": bench.motor})
    assert (position.moving, position.setpoint) == (False, 7.0)
    assert "SPMG is Pause: set it to Go, upon which it goes to 7 mm by itself" in position.objection


async def test_the_stock_device_flies_and_gets_its_velocity_back(bench):
    time, position = await fly(bench, UP)
    assert velocity_inside(time, position, UP) == pytest.approx(4.0, rel=0.02)
    await bench.flight.restore()
    assert await bench.get("VELO") == 5.0
    # VMAX is 0 there: no limit.
    assert await bench.get("VMAX") == 0.0


async def test_the_stock_device_flies_inside_an_energy_axis_with_an_undulator(beamline):
    table = read_gap_table(gap_table_file(next(iter(UNDULATORS))))
    motor = StockMotor(f"{beamline.prefix}m3", "mono")
    undulator = Undulator("UE48IT6R:", table, name="ue48")
    axis = EnergyAxis(motor, undulator, coupling="separate")
    await motor.connect()
    await undulator.connect(mock=True)
    await axis.connect()
    plan = await flight_for(axis).plan(Leg((Region(400.0, 410.0, 2.0),)))
    assert (plan.envelope.low, plan.envelope.high) == (100.0, 1000.0)
    assert (await axis.limits())[1] <= 1000.0
    (energy, *_) = await axis.channels()
    assert (energy.channel.name, energy.source) == ("energy", motor.user_readback.source)
    alone = EnergyAxis(motor, name="alone")
    await alone.connect()
    assert isinstance(flight_for(alone).back_end, ConstantVelocity)
    aioca.purge_channel_caches()


async def test_our_own_motor_does_not_move_in_set_mode(bench):
    motor = Motor(bench.prefix, "slide")
    await motor.connect()
    before = await bench.get("OFF")
    await bench.put(SET=1)
    with pytest.raises(MotionError, match="Set mode"):
        await motor.set(3.0)
    assert await bench.get("OFF") == before


def flown_at(velocity, leg):
    """Let a readback tell ten times a second where an axis is that moves through a leg."""
    flown = FlownVelocity(leg, SHORTEST_CHECK)
    for number in range(-5, 30):
        value = leg.start + 0.1 * number * velocity
        flown.update({"m": {"value": value, "timestamp": 100 + 0.1 * number}})
    return flown


def test_a_velocity_that_was_not_flown_is_told_from_the_readback():
    wrong = flown_at(0.1, Leg((Region(0.0, 1.0, 0.02),))).wrong()
    assert wrong.velocity == pytest.approx(0.1)
    assert wrong.planned == "0.02"
    assert flown_at(0.021, Leg((Region(0.0, 1.0, 0.02),))).wrong() is None
    # Within half a second a readback of ten updates a second cannot tell.
    assert flown_at(0.1, Leg((Region(0.0, 0.05, 0.02),))).wrong() is None


async def test_a_flight_at_another_velocity_is_said(bench):
    plan = await bench.flight.plan(UP)
    with pytest.raises(FlightError, match=r"slide flew at 0\.1 mm/s instead of 4 mm/s"):
        bench.flight.back_end._check_flown(plan, flown_at(0.1, plan.leg))
    bench.flight.back_end._check_flown(plan, flown_at(4.1, plan.leg))
    bench.flight.back_end._check_flown(plan, FlownVelocity(plan.leg, SHORTEST_CHECK))


async def test_a_server_without_these_fields_flies_as_before():
    motor = StockMotor("ANY:m1", "m1")
    await motor.connect(mock=True)
    set_mock_value(motor.velocity, 2.0)
    record = await read_motor_record(motor)
    assert not set(BESIDE) & set(record.values)
    assert record.objections() == ()
    assert record.backlash == record.settling == 0.0


def test_every_field_that_is_read_is_in_the_table():
    known = [name for field in FIELDS for name in field.names]
    assert len(set(known)) == len(known)
    # RBV is what is recorded; all others say something about the flight.
    assert {*BESIDE, *OWN} - {"RBV"} <= set(known)


def test_the_documentation_has_the_same_table():
    rows = [
        f"| {', '.join(f'`{name}`' for name in field.names)} | {field.treatment} | {field.effect} |"
        for field in FIELDS
    ]
    page = (Path(__file__).parents[2] / "docs" / "motor-records.md").read_text()
    found = [line for line in page.splitlines() if line.startswith("| `")]
    assert found == rows


def test_the_bound_of_a_move_grows_with_all_that_makes_it_longer():
    record = MotorRecord("m", "m", "mm", {"VELO": 1.0, "ACCL": 0.2, "MRES": 1e-3})
    plain = record.bound(10.0)
    for longer in (
        {"BDST": 1.0, "BVEL": 0.1},
        {"DLY": 3.0},
        {"DLY": 1.0, "RTRY": 5},
        {"ACCL": 9.0},
        {"VELO": 0.1},
    ):
        assert record.having(**longer).bound(10.0) > plain + 1.0


PV_ACCESS = """
import asyncio, os
from p4p.nt import NTEnum, NTScalar
from p4p.server import Server
from p4p.server.thread import SharedPV

choices = {"index": 1, "choices": ["Stop", "Pause", "Move", "Go"]}
fields = {
    "T:m.VBAS": SharedPV(nt=NTScalar("d"), initial=0.25),
    "T:m.SPMG": SharedPV(nt=NTEnum(), initial=choices),
}
with Server(providers=[fields], isolate=True) as server:
    os.environ["EPICS_PVA_ADDR_LIST"] = "127.0.0.1"
    os.environ["EPICS_PVA_AUTO_ADDR_LIST"] = "NO"
    os.environ["EPICS_PVA_BROADCAST_PORT"] = server.conf()["EPICS_PVAS_BROADCAST_PORT"]
    from glidepath.devices.motor_record import _read_pva

    names = {field: f"T:m.{field}" for field in ("VBAS", "SPMG", "ACCU")}
    print(asyncio.run(_read_pva(names)))
"""


def test_fields_are_read_over_pv_access_too_and_a_missing_one_is_left_out():
    pytest.importorskip("p4p", reason="PV Access needs the package p4p")
    done = subprocess.run(
        [sys.executable, "-c", PV_ACCESS], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    assert ast.literal_eval(done.stdout) == {"VBAS": 0.25, "SPMG": 1.0}
