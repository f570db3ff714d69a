"""Monochromator and undulator flown as separate axes, over real Channel Access, faults included."""

import asyncio
import re
from types import SimpleNamespace

import aioca
import numpy as np
import pytest

from glidepath.beamlines.simulated import make_devices
from glidepath.devices import ControlMode, EnergyAxis, signal_rw, watch
from glidepath.flyers import Coupled, FlightError, SweepBounds, flight_for
from glidepath.flyers.motion import coupled
from glidepath.flyers.motion.gap_drive import DriveBounds, MeasuredEnergy
from glidepath.trajectory import Leg, Region, preflight

UP = Leg((Region(395.0, 400.0, 5.0),))
LONG = Leg((Region(395.0, 425.0, 5.0),))
BACK = Leg((Region(400.0, 395.0, 5.0),))


@pytest.fixture
async def b(beamline):
    """The devices by name, and a way to put a PV; every fault is off before and after."""
    devices = make_devices(beamline.prefix)
    await asyncio.gather(*(device.connect(timeout=10) for device in devices.values()))
    faults = {
        "gap_stall": 0,
        "sweep_stall": 0,
        "sweep_init_never_ready": 0,
        "m3_stall": 0,
        "gap_lag": 0.05,
    }

    async def put(name, value):
        signal = signal_rw(type(value), f"{beamline.prefix}{name}")
        await signal.connect()
        await signal.set(value)

    yield SimpleNamespace(**devices, put=put)
    for name, value in faults.items():
        await put(f"FAULT:{name}", value)
    await devices["ue48"].stop()
    aioca.purge_channel_caches()


@pytest.fixture
def short_lead(monkeypatch):
    """Tests of faults do not need to be in phase when the range begins."""
    monkeypatch.setattr(coupled, "LEAD", 0.5)


async def settings(b):
    return {
        "velocity": await b.ue48.gap.velocity.get_value(),
        "setpoint": await b.ue48.gap.setpoint.get_value(),
        "mode": await b.ue48.control_mode.get_value(),
        "id_on": await b.pgm.id_on.get_value(),
        "sweep velocity": await b.pgm.sweep.velocity.get_value(),
    }


async def standing(b):
    return (
        await b.pgm.status.get_value() == 0
        and await b.ue48.gap.status.get_value() == "STOP"
        and await b.mono_motor.motor_done_move.get_value()
    )


def record(signal, updates):
    """Append (timestamp, value) of every update of a signal; return what ends it."""

    def note(reading):
        (found,) = reading.values()
        updates.append((found["timestamp"], found["value"]))

    signal.subscribe_reading(note)
    return lambda: signal.clear_sub(note)


async def under_way(flight, leg):
    """Fly a leg into its range; return the status of its end."""
    await flight.prepare(leg)
    await flight.kickoff()
    return flight.complete()


async def within_the_range(b, flight, status, axis=None):
    """Wait until the energy is past the first eV of the range."""
    readback = (axis or b.pgm).readback
    for _ in range(400):
        if await readback.get_value(cached=False) > 396.0 or status.done:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("The energy did not come into its range.")


async def failure(flight, status):
    with pytest.raises(FlightError) as raised:
        await asyncio.wait_for(asyncio.shield(status.task), 60)
    return str(raised.value)


async def test_both_keep_step_and_get_their_settings_back(b, monkeypatch):
    await b.energy.set(400.0)
    before = await settings(b)
    flight = flight_for(b.energy_separate)
    assert isinstance(flight.back_end, Coupled)
    envelope = (await flight.plan(UP)).envelope
    energies, gaps = [], []
    end = [record(b.pgm.readback, energies), record(b.ue48.gap.readback, gaps)]
    await (await under_way(flight, UP))
    for finish in end:
        finish()
    await flight.restore()
    assert await settings(b) == before
    (when, energy), (at, gap) = np.array(energies).T, np.array(gaps).T
    inside = (np.interp(at, when, energy) > 395.0) & (np.interp(at, when, energy) < 400.0)
    off = b.ue48.curve.energy(gap) - np.interp(at, when, energy)
    assert np.sum(inside) > 5
    assert envelope.mismatch < 0.05 * float(b.ue48.curve.width(395.0))
    # The machine of a test may be busy beyond measure: within the width, not the bound.
    assert np.max(np.abs(off[inside])) < 0.5 * float(b.ue48.curve.width(395.0))
    # The next one finds the state of the sweep before, finished.
    monkeypatch.setattr(coupled, "LEAD", 0.5)
    await (await under_way(flight, BACK))
    assert await b.pgm.readback.get_value(cached=False) < 395.0
    assert await b.ue48.energy.get_value() < 395.0
    await flight.restore()
    assert await settings(b) == before


async def test_a_motor_record_and_the_gap_fly_together_and_a_stall_of_it_stops_the_gap(
    b, short_lead
):
    axis = EnergyAxis(b.mono_motor, b.ue48, "energy_by_motor", coupling="separate")
    await axis.connect()
    flight = flight_for(axis)
    await (await under_way(flight, UP))
    await flight.restore()
    assert await b.mono_motor.velocity.get_value() == 5.0
    assert await b.ue48.energy.get_value() > 400.0
    status = await under_way(flight, LONG)
    await within_the_range(b, flight, status, b.mono_motor)
    await b.put("FAULT:m3_stall", 1)
    assert "mono_motor stalled at" in await failure(flight, status)
    assert await standing(b)
    await flight.restore()


async def test_a_monochromator_that_stalls_stops_the_gap_and_is_named(b, short_lead):
    flight = flight_for(b.energy_separate)
    status = await under_way(flight, LONG)
    await within_the_range(b, flight, status)
    await b.put("FAULT:sweep_stall", 1)
    assert "pgm stalled at" in await failure(flight, status)
    assert await standing(b)
    await flight.restore()


async def test_a_gap_that_stalls_stops_the_monochromator_and_is_named(b, short_lead):
    flight = flight_for(b.energy_separate)
    status = await under_way(flight, LONG)
    await within_the_range(b, flight, status)
    await b.put("FAULT:gap_stall", 1)
    assert "The gap of ue48 stalled at" in await failure(flight, status)
    assert await standing(b)
    await flight.restore()


async def test_a_gap_that_somebody_stops_stops_the_monochromator(b, short_lead):
    flight = flight_for(b.energy_separate)
    status = await under_way(flight, LONG)
    await within_the_range(b, flight, status)
    await b.ue48.user_stop.set(1)
    try:
        assert "The gap of ue48 stopped by itself at" in await failure(flight, status)
    finally:
        await b.ue48.user_stop.set(0)
    assert await standing(b)
    await flight.restore()


async def test_a_gap_that_does_not_start_is_told_from_one_that_stalls(b, short_lead):
    flight = flight_for(b.energy_separate)
    flight.back_end.bounds = DriveBounds(started=1.0)
    await flight.prepare(LONG)
    await b.put("FAULT:gap_stall", 1)
    kickoff = flight.kickoff()
    assert "The gap of ue48 did not start to move within 1 s" in await failure(flight, kickoff)
    assert await standing(b)
    await flight.restore()


async def test_a_gap_that_lags_has_lost_step(b, short_lead):
    flight = flight_for(b.energy_separate)
    flight.back_end.bounds = DriveBounds(lost=0.5, stalled=5.0)
    await flight.prepare(LONG)
    await b.put("FAULT:gap_lag", 2.5)
    # Its status says that it moves, long before it does.
    await flight.kickoff()
    assert "ue48 lost step: at" in await failure(flight, flight.complete())
    assert await standing(b)
    await flight.restore()


async def test_a_sweep_that_never_gets_ready_leaves_both_standing(b, short_lead, monkeypatch):
    from glidepath.flyers.motion import controller_sweep

    monkeypatch.setattr(controller_sweep, "SLOWEST_APPROACH", 50.0)
    flight = flight_for(b.energy_separate)
    flight.back_end.energy_end.bounds = SweepBounds(ready=0.5)
    await b.put("FAULT:sweep_init_never_ready", 1)
    assert "pgm did not get ready for the sweep" in await failure(flight, flight.prepare(UP))
    await flight.halt()
    assert await standing(b)
    await flight.restore()


async def test_halt_stops_both_at_any_time(b, short_lead):
    flight = flight_for(b.energy_separate)
    before = await settings(b)
    async with watch(b.pgm.status) as seen:
        # Sent to its run-up, far away.
        preparing = flight.prepare(Leg((Region(450.0, 470.0, 5.0),)))
        assert await seen.until(lambda: seen.value(b.pgm.status) != 0, 10.0)
    await flight.halt()
    await preparing
    assert await standing(b)
    status = await under_way(flight, LONG)
    await within_the_range(b, flight, status)
    await flight.halt()
    await status
    assert await standing(b)
    await flight.restore()
    assert await settings(b) == before


def refusal(flight, leg, envelope):
    return preflight("energy_separate", leg.regions[0], 0.1, envelope).objections


async def test_a_velocity_that_the_gap_cannot_follow_is_refused_with_the_highest_possible(b):
    flight, leg = flight_for(b.energy_separate), Leg((Region(500.0, 540.0, 9.0),))
    (objection,) = refusal(flight, leg, (await flight.plan(leg)).envelope)
    assert re.match(r"ue48_gap would move at 2\.\d+ mm/s, but its highest velocity is 1", objection)
    highest = float(re.search(r"fly at (\S+) eV/s or slower", objection).group(1))
    for velocity, refused in ((highest, False), (1.15 * highest, True)):
        slower = Leg((Region(500.0, 540.0, velocity),))
        assert bool(refusal(flight, slower, (await flight.plan(slower)).envelope)) == refused


async def test_a_range_beyond_the_harmonic_is_refused(b):
    flight, leg = flight_for(b.energy_separate), Leg((Region(560.0, 590.0, 1.0),))
    envelope = (await flight.plan(leg)).envelope
    assert envelope.mismatch is None
    (objection,) = refusal(flight, leg, envelope)
    assert objection.startswith("ue48 in harmonic 1 would go from 55")
    assert "its range is 85.5" in objection


async def test_the_prediction_is_in_the_preflight(b):
    flight, leg = flight_for(b.energy_separate), Leg((Region(370.0, 470.0, 5.0),))
    envelope = (await flight.plan(leg)).envelope
    report = preflight("energy_separate", leg.regions[0], 0.1, envelope)
    assert report.passed
    assert report.predicted_mismatch == envelope.mismatch
    assert 0.2 < report.predicted_mismatch < 0.4
    energy = np.linspace(370.0, 470.0, 2001)
    off = envelope.mismatch_at(energy, np.full_like(energy, 5.0))
    assert np.max(off) == pytest.approx(envelope.mismatch, rel=0.02)
    # The lead belongs to the run-up.
    assert report.run_up > 2.5 * 5.0
    assert report.duration == pytest.approx(20.0)


async def test_the_undulator_is_not_touched_before_it_is_taken_over(b):
    await b.energy.set(400.0)
    flight = flight_for(b.energy_separate)
    await flight.halt()
    await flight.restore()
    assert await b.ue48.control_mode.get_value() == ControlMode.MONOCHROMATOR


def test_the_energy_is_extrapolated_only_as_fast_and_as_long_as_it_moved():
    energy = MeasuredEnergy(-1, 6.0, 405.0, 100.0)
    energy.update(405.0, 100.1)
    assert energy.at(100.2) == 405.0
    energy.update(404.5, 100.2)
    assert energy.at(100.25) == pytest.approx(404.25)
    assert energy.at(100.15) == pytest.approx(404.75)
    assert energy.at(1e6) == pytest.approx(404.5 - 5.0 * 0.5)
    # Noise of an axis at rest, a jump, an old update.
    energy.update(404.6, 100.3)
    assert energy.velocity == 0.0
    energy.update(300.0, 100.4)
    assert energy.velocity == 6.0
    energy.update(400.0, 100.3)
    assert energy.position == 300.0
