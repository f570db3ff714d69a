"""Legs through a trajectory controller, over real Channel Access: one movement, faults included."""

import asyncio
import re
from dataclasses import replace
from types import SimpleNamespace

import aioca
import numpy as np
import pytest

from glidepath.beamlines.simulated import make_devices
from glidepath.devices import signal_rw, watch
from glidepath.flyers import FlightError, ProfileBounds, TrajectoryController, flight_for
from glidepath.simulation import Truth
from glidepath.trajectory import KRegion, Leg, Motion, PreflightError, Region, Trajectory, preflight

BOUND = 20.0

THREE = [(399.0, 401.0, 6.0), (401.0, 402.0, 3.0), (402.0, 404.0, 6.0)]
K = KRegion(edge=395.0, k_start=1.2, k_stop=2.0, k_step=0.05, dwell=0.15)
LEGS = {
    "three regions": Leg(tuple(Region(*numbers) for numbers in THREE), (1, 2, 3)),
    "downwards out of a region in k": Leg((K.reversed(), Region(K.start, 398.0, 2.0)), (2, 1)),
}
SHORT = Leg((Region(400.0, 401.0, 4.0),))


@pytest.fixture
async def b(beamline):
    """The motor with its controller, its back end, and a way to put a PV; no faults afterwards."""
    axis = make_devices(beamline.prefix)["mono_profile"]
    await axis.connect(timeout=10)

    async def put(name, value):
        signal = signal_rw(type(value), f"{beamline.prefix}{name}")
        await signal.connect()
        await signal.set(value)

    back_end = flight_for(axis).back_end
    yield SimpleNamespace(axis=axis, back_end=back_end, put=put, truth=beamline.settings.truth)
    await put("FAULT:profile_move", "none")
    await put("BEAM:axis", "PGM1")
    await back_end.halt()
    await back_end.restore()
    aioca.purge_channel_caches()


async def settings(axis):
    profile = axis.profile
    signals = {
        "velocity": axis.velocity,
        "number": profile.number,
        "time mode": profile.time_mode,
        "move mode": profile.move_mode,
        "acceleration": profile.acceleration,
        "use": profile.use_axis[3],
        "use other": profile.use_axis[2],
    }
    values = {name: await signal.get_value() for name, signal in signals.items()}
    arrays = [profile.times, profile.positions[3]]
    return values, [list(await signal.get_value()) for signal in arrays]


async def fly(back_end, leg):
    plan = await back_end.plan(leg)
    await back_end.prepare(plan)
    await back_end.start(plan)
    await back_end.follow(plan)


async def truth_until(path, when):
    """Return the truth once it knows an instant."""

    async def grown():
        while True:
            truth = Truth(path)
            if len(truth.time) and truth.time[-1] > when:
                return truth
            truth.close()
            await asyncio.sleep(0.05)

    return await asyncio.wait_for(grown(), BOUND)


@pytest.mark.parametrize("name", LEGS)
async def test_a_leg_is_flown_in_one_movement_as_it_was_planned(b, name):
    leg = LEGS[name]
    axis, profile = b.axis, b.axis.profile
    await b.put("BEAM:axis", "m3")
    before = await settings(axis)
    plan = await b.back_end.plan(leg)
    motion = plan.motion
    async with watch(profile.execute_state, profile.execute_status) as seen:
        states = []

        def note(reading):
            states.extend(found["value"] for found in reading.values())

        profile.execute_state.subscribe_reading(note)
        await b.back_end.prepare(plan)
        await b.back_end.start(plan)
        begun = seen.timestamp(profile.execute_state)
        await b.back_end.follow(plan)
        profile.execute_state.clear_sub(note)
        assert states == ["Done", "Move start", "Executing", "Flyback", "Done"]
    assert abs(await axis.user_readback.get_value() - motion.stop) < 0.01
    # Where the axis truly was, against the plan, joins included.
    with await truth_until(b.truth, begun + motion.duration) as truth:
        for passage in motion.passages:
            time = np.linspace(passage.begin, passage.end, 500)
            assert np.max(np.abs(truth.energy(begun + time) - motion.position(time))) < 2e-3
    await b.back_end.restore()
    assert await settings(axis) == before


async def test_the_preflight_knows_the_movement(b):
    trajectory = Trajectory.of(THREE)
    assert b.back_end.joins
    (leg,) = trajectory.legs(joined=b.back_end.joins)
    report = preflight(
        "mono_profile", trajectory, 0.1, [(await b.back_end.plan(leg)).envelope], joined=True
    )
    assert report.passed
    assert report.flights == 1
    # 10 eV/s²: 1.35 eV to change between 3 and 6 eV/s.
    assert [round(region.slower, 3) for region in report.regions] == [1.35, 0.0, 1.35]
    assert report.axes[0].max_acceleration == 10.0
    fast = Trajectory.of([(399.0, 404.0, 20.0)])
    (leg,) = fast.legs()
    refused = preflight(
        "mono_profile", fast, 0.1, [(await b.back_end.plan(leg)).envelope], joined=True
    )
    assert "its highest velocity is 10 eV/s" in refused.objections[0]


async def test_what_the_controller_cannot_take_is_refused_before_anything_moves(b):
    near = await b.axis.user_readback.get_value()
    long = Leg((replace(K, dwell=400.0),))
    with pytest.raises(PreflightError, match=r"would need \d+ points .* takes 2000; fly fewer"):
        await b.back_end.plan(long)
    narrow = Leg((Region(400, 401, 0.1), Region(401, 401.2, 4.0)), (1, 2))
    with pytest.raises(PreflightError, match=r"cannot fly this: Between 401 and 401\.2 eV there"):
        await b.back_end.plan(narrow)
    assert await b.axis.user_readback.get_value() == near


FAULTS = {
    "build hangs": "did not check its profile within 1 s: its build state is 'Busy'",
    "build fails": "refuses its profile: Error calling ftpConnect.",
    "never starts": "did not begin 1 s after the command: its state is 'Done'",
    "stalls": r"stalled at 40[0-3]\..* on its way to 404: no progress for 1 s",
    "ends early": r"ended its profile early, before 404, or its readback .*: it is at 40[0-3]\.",
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_each_fault_has_its_own_sentence_and_a_halt_makes_the_axis_stand(b, fault):
    bounds = ProfileBounds(built=1.0, started=1.0, stalled=1.0)
    back_end = TrajectoryController(b.axis, bounds)
    if fault in ("build hangs", "never starts"):
        # What the controller shows of a flight that went well must not be taken for this one's.
        await fly(back_end, SHORT)
        await back_end.restore()
    before = await settings(b.axis)
    await b.put("FAULT:profile_move", fault)
    with pytest.raises(FlightError, match=FAULTS[fault]) as caught:
        await fly(back_end, LEGS["three regions"])
    assert str(caught.value).startswith(("mono_profile ", "The controller of mono_profile "))
    assert "\n" not in str(caught.value)
    await back_end.halt()
    assert await b.axis.motor_done_move.get_value()
    assert await b.axis.profile.execute_state.get_value() == "Done"
    await back_end.restore()
    assert await settings(b.axis) == before


@pytest.mark.parametrize("where", ["on the way", "in flight"])
async def test_a_halt_ends_the_movement_wherever_it_is(b, where):
    leg = LEGS["three regions"]
    before = await settings(b.axis)
    flight = flight_for(b.axis)
    await b.axis.set(402.0)
    preparing = flight.prepare(leg)
    async with watch(b.axis.motor_done_move, b.axis.user_readback) as seen:
        if where == "in flight":
            await preparing
            await flight.kickoff()
            completing = flight.complete()
            assert await seen.until(lambda: seen.value(b.axis.user_readback) > 399.5, BOUND)
            await flight.halt()
            await completing
        else:
            assert await seen.until(lambda: not seen.value(b.axis.motor_done_move), BOUND)
            await flight.halt()
            await preparing
        assert seen.value(b.axis.motor_done_move)
        assert 398.0 < seen.value(b.axis.user_readback) < 403.0
    await flight.restore()
    assert await settings(b.axis) == before


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (("PM1:Abort", "Abort"), "status 'Abort' (Profile was aborted)"),
        (("m3.STOP", 1), "status 'Failure' (A motor was stopped)"),
    ],
)
async def test_an_end_that_somebody_else_made_is_named(b, command, sentence):
    plan = await b.back_end.plan(LEGS["three regions"])
    await b.back_end.prepare(plan)
    await b.back_end.start(plan)
    following = asyncio.create_task(b.back_end.follow(plan))
    # Meanwhile nobody else gets at the controller.
    with pytest.raises(FlightError, match=r"runs a profile already \(Executing\); wait for its"):
        await TrajectoryController(b.axis).prepare(plan)
    async with watch(b.axis.user_readback) as seen:
        assert await seen.until(lambda: seen.value(b.axis.user_readback) > 399.5, BOUND)
    await b.put(*command)
    with pytest.raises(FlightError) as caught:
        await following
    assert "did not fly its profile to the end" in str(caught.value)
    assert sentence in str(caught.value)


def test_the_ramps_of_the_driver_are_part_of_the_movement():
    from glidepath.flyers.motion.trajectory_controller import RAMP, _with_ramps

    motion = Motion.along(LEGS["downwards out of a region in k"], 10.0, settle=0.3)
    flown = _with_ramps(motion, 0.1)
    assert flown.duration == pytest.approx(motion.duration + 2 * RAMP)
    assert flown.start > motion.start
    assert flown.stop < motion.stop
    for one, other in zip(motion.passages, flown.passages, strict=True):
        assert flown.position(other.begin) == pytest.approx(motion.position(one.begin))


REFUSALS = {
    "SET": (1, 0, "is in Set mode"),
    "SPMG": (1, 3, "does not move while .*SPMG is Pause: set it to Go"),
    "MSTA": (0x202, 2, "its driver has a problem"),
}


@pytest.mark.parametrize("field", REFUSALS)
async def test_what_the_motor_record_objects_to_is_said_before_a_profile_is_built(
    beamline, b, field
):
    value, usual, sentence = REFUSALS[field]
    usable = await b.back_end.plan(SHORT)
    assert usable.envelope.objections == ()
    before = await settings(b.axis), await b.axis.user_readback.get_value()
    pv = f"{beamline.prefix}m3.{field}"
    await aioca.caput(pv, value, wait=True)
    try:
        plan = await b.back_end.plan(SHORT)
        (objection,) = preflight("m", SHORT.regions[0], 0.1, plan.envelope).objections
        # Nor is anything written if it has changed since the pre-flight.
        with pytest.raises(FlightError, match=sentence):
            await b.back_end.prepare(usable)
    finally:
        await aioca.caput(pv, usual, wait=True)
    assert re.search(sentence, objection), objection
    assert (await settings(b.axis), await b.axis.user_readback.get_value()) == before
