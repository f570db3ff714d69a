"""Monochromators without a sweep, flown by an ordinary move, over real Channel Access."""

import asyncio
import re

import aioca
import numpy as np
import pytest
from ophyd_async.core import StandardReadableFormat as Format

from glidepath.beamlines.make_gap_tables import gap_table_file
from glidepath.devices import (
    DCM,
    KMC3DCM,
    PGM,
    SGM,
    EnergyAxis,
    MoveTiming,
    Undulator,
    read_gap_table,
    signal_rw,
)
from glidepath.flyers import Flight, FlightError, flight_for
from glidepath.flyers.motion.followed import Followed
from glidepath.flyers.motion.ordinary_move import OrdinaryMove
from glidepath.trajectory import Leg, PreflightError, Region, preflight

pytestmark = pytest.mark.slow

TIMING = MoveTiming(velocity=25.0, acceleration=50.0)
SETTING = "monoSetVel"
FAMILIES = {"SGM": (SGM, "SGM1:", 200.0), "DCM": (DCM, "DCM1:", 2500.0), "KMC3": (KMC3DCM, "", 7e3)}


@pytest.fixture
async def make(beamline):
    """Make a connected monochromator of a family; whatever was flown stands afterwards."""
    axes = []

    async def make(family, **options):
        kind, prefix, _ = FAMILIES[family]
        axis = kind(f"{beamline.prefix}{prefix}", "mono", **options)
        await axis.connect(timeout=10)
        axes.append(axis)
        return axis

    yield make
    for axis in axes:
        await axis.stop()
    aioca.purge_channel_caches()


async def fly(flight, axis, leg):
    """Fly a leg; return times and energies of the readback inside it, in order."""
    seen = []

    def note(reading):
        (newest,) = reading.values()
        seen.append((newest["timestamp"], newest["value"]))

    plan = await flight.plan(leg)
    await flight.prepare(plan)
    axis.readback.subscribe_reading(note)
    try:
        await flight.kickoff()
        await flight.complete()
    finally:
        axis.readback.clear_sub(note)
        await flight.restore()
    low, high = sorted((leg.start, leg.stop))
    return np.array([(time, value) for time, value in seen if low <= value <= high]).T


@pytest.mark.parametrize("direction", [1, -1], ids=["up", "down"])
@pytest.mark.parametrize("family", FAMILIES)
async def test_it_flies_at_the_velocity_of_its_moves(make, family, direction):
    axis = await make(family, timing=TIMING)
    middle = FAMILIES[family][2]
    leg = Leg((Region(middle - 20 * direction, middle + 20 * direction, 25.0),))
    flight = flight_for(axis)
    plan = await flight.plan(leg)
    report = preflight("mono", leg.regions[0], 0.1, plan.envelope)
    assert report.objections == ()
    (note,) = [note for note in report.notes if "velocity" in note and "timing" in note]
    assert "it flies at 25 eV/s" in note
    time, energy = await fly(flight, axis, leg)
    velocity = np.polyfit(time, energy, 1)[0]
    assert velocity == pytest.approx(25.0 * direction, rel=0.02)
    assert np.all(direction * np.diff(energy) > 0)


@pytest.mark.parametrize("velocity", [1.0, 30.0])
async def test_another_velocity_is_refused_where_there_is_no_setting_for_it(make, velocity):
    axis = await make("SGM", timing=TIMING)
    leg = Leg((Region(190.0, 210.0, velocity),))
    plan = await flight_for(axis).plan(leg)
    objections = preflight("mono", leg.regions[0], 0.1, plan.envelope).objections
    assert any(
        re.search(rf"cannot fly at {velocity:g} eV/s: its (lowest|highest) velocity is 25", text)
        for text in objections
    ), objections


@pytest.mark.parametrize("family", ["SGM", "DCM"])
async def test_a_velocity_that_can_be_set_is_set_and_put_back(make, family):
    axis = await make(family, timing=TIMING, velocity_pv=SETTING)
    middle = FAMILIES[family][2]
    leg = Leg((Region(middle, middle + 8.0, 4.0),))
    assert await axis.velocity.get_value() == 25.0
    time, energy = await fly(flight_for(axis), axis, leg)
    assert np.polyfit(time, energy, 1)[0] == pytest.approx(4.0, rel=0.02)
    assert await axis.velocity.get_value() == 25.0


async def test_a_flight_at_another_velocity_than_the_timing_says_fails(make):
    axis = await make("SGM", timing=MoveTiming(20.0, 50.0))
    leg = Leg((Region(180.0, 220.0, 20.0),))
    sentence = r"flew at 2[45]\S* eV/s instead of 20 eV/s; give the device that velocity"
    with pytest.raises(FlightError, match=sentence):
        await fly(flight_for(axis), axis, leg)


async def test_without_a_timing_it_is_not_flown_and_says_what_to_give(make):
    axis = await make("SGM")
    with pytest.raises(PreflightError, match=r"give the device timing=MoveTiming\("):
        await flight_for(axis).plan(Leg((Region(190.0, 210.0, 25.0),)))


async def test_a_halt_in_mid_flight_leaves_it_standing_and_its_velocity_as_it_was(make):
    axis = await make("SGM", timing=TIMING, velocity_pv=SETTING)
    flight = flight_for(axis)
    await flight.prepare(await flight.plan(Leg((Region(190.0, 230.0, 4.0),))))
    await flight.kickoff()
    await flight.halt()
    await flight.restore()
    assert await axis.status.get_value() == 0
    assert 185.0 < await axis.readback.get_value() < 200.0
    assert await axis.velocity.get_value() == 25.0


async def test_a_halt_of_what_was_never_flown_touches_nothing(make):
    axis = await make("SGM", timing=TIMING)
    target = await axis.setpoint.get_value()
    await flight_for(axis).halt()
    assert await axis.setpoint.get_value() == target


@pytest.fixture
async def undulator(beamline):
    undulator = Undulator(
        f"{beamline.prefix}UE48:",
        read_gap_table(gap_table_file("UE48")),
        name="ue48",
        gap_range=(15.0, 200.0),
        gap_acceleration=4.0,
    )
    await undulator.connect(timeout=10)
    yield undulator
    aioca.purge_channel_caches()


async def test_an_undulator_is_driven_along_with_it(make, undulator):
    mono = await make("SGM", timing=TIMING, velocity_pv=SETTING)
    energy = EnergyAxis(mono, undulator, "energy", coupling="separate")
    await energy.connect(timeout=10)
    leg = Leg((Region(400.0, 406.0, 3.0),))
    flight = flight_for(energy)
    plan = await flight.plan(leg)
    assert preflight("energy", leg.regions[0], 0.1, plan.envelope).objections == ()
    gaps, energies = [], []

    def note_gap(reading):
        (newest,) = reading.values()
        gaps.append((newest["timestamp"], newest["value"]))

    def note_energy(reading):
        (newest,) = reading.values()
        energies.append((newest["timestamp"], newest["value"]))

    await flight.prepare(plan)
    undulator.gap.readback.subscribe_reading(note_gap)
    mono.readback.subscribe_reading(note_energy)
    try:
        await flight.kickoff()
        await flight.complete()
    finally:
        undulator.gap.readback.clear_sub(note_gap)
        mono.readback.clear_sub(note_energy)
        await flight.restore()
    time, value = np.array(energies).T
    inside = (value > 400.0) & (value < 406.0)
    harmonic = undulator.curve.energy(np.interp(time[inside], *np.array(gaps).T))
    width = float(undulator.curve.width(400.0))
    assert np.max(np.abs(harmonic - value[inside])) < 0.1 * width
    assert inside.sum() > 10


class LeadingSGM(SGM):
    """A monochromator without a sweep, whose controller brings an undulator along."""

    def __init__(self, prefix, name="", **options):
        with self.add_children_as_readables(Format.CONFIG_SIGNAL):
            self.id_on = signal_rw(bool, f"{prefix}SetIdOn")
            self.harmonic = signal_rw(str, f"{prefix}GetIdHarmonic", f"{prefix}Harmonic")
        super().__init__(prefix, name, **options)


def test_a_monochromator_without_a_sweep_may_lead_an_undulator():
    undulator = Undulator("ANY:", read_gap_table(gap_table_file("UE48")), name="ue48")
    energy = EnergyAxis(LeadingSGM("ANY:", "mono", timing=TIMING), undulator, "energy")
    back_end = flight_for(energy).back_end
    assert isinstance(back_end, Followed)
    assert isinstance(back_end.energy_end, OrdinaryMove)


class MovedPGM(PGM):
    """The controller that leads the undulator of the simulation, without its sweep."""

    velocity = None


async def test_an_undulator_follows_an_ordinary_move_by_itself(beamline, undulator):
    mono = MovedPGM(f"{beamline.prefix}PGM1:", "mono", timing=TIMING)
    energy = EnergyAxis(mono, undulator, "energy")
    await asyncio.gather(*(device.connect(timeout=10) for device in (mono, energy)))
    before = await mono.id_on.get_value(), await undulator.control_mode.get_value()
    leg = Leg((Region(400.0, 440.0, 25.0),))
    flight = Flight(Followed(energy, OrdinaryMove(mono)), "energy_flight")
    plan = await flight.plan(leg)
    assert {one.name for one in plan.envelope.companions} >= {"ue48_gap"}
    gaps, passed = [], asyncio.Event()

    def note(reading):
        (newest,) = reading.values()
        gaps.append(newest["value"])
        if undulator.energy_at(max(gaps)) > 430.0:
            passed.set()

    undulator.gap.readback.subscribe_reading(note)
    try:
        times, energies = await fly(flight, mono, leg)
        # It is a little behind, and so is its newest update: what follows goes on to its end.
        behind = max(gaps)
        await asyncio.wait_for(passed.wait(), 30)
    finally:
        undulator.gap.readback.clear_sub(note)
        await energy.stop()
    assert np.polyfit(times, energies, 1)[0] == pytest.approx(25.0, rel=0.02)
    # The gap stood at the run-up when the flight began, and went with it.
    assert undulator.energy_at(min(gaps)) < 400.0
    assert undulator.energy_at(behind) > 425.0
    assert undulator.energy_at(max(gaps)) > 430.0
    assert before == (await mono.id_on.get_value(), await undulator.control_mode.get_value())
    assert await mono.status.get_value() == 0


async def test_a_server_that_refuses_a_velocity_is_said(beamline, make):
    axis = await make("SGM", timing=TIMING, velocity_pv=SETTING)
    limited = signal_rw(float, f"{beamline.prefix}SGM1:{SETTING}")
    await limited.connect()
    leg = Leg((Region(190.0, 230.0, 40.0),))
    plan = await flight_for(axis).plan(leg)
    (objection,) = preflight("mono", leg.regions[0], 0.1, plan.envelope).objections
    assert "cannot fly at 40 eV/s: its highest velocity is 25 eV/s" in objection
    assert await limited.get_value() == 25.0
