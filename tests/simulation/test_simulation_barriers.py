"""What is behind a closed valve or shutter is dark, and light again when it is open."""

import asyncio
import time

import numpy as np
import pytest
from channel_client import connected

from glidepath.simulation import SimulatedBeamline
from glidepath.simulation.barriers import CommandedShutter, ToggledValve
from glidepath.simulation.beam import Beam, mesh_current, sample_current
from glidepath.simulation.channels import Clock, Database
from glidepath.simulation.laws import TRUE_UNDULATOR
from glidepath.simulation.link import LinkReader
from glidepath.simulation.motion import Axis
from glidepath.simulation.spot import expected_counts

MESH_DARK, SAMPLE_DARK = 2e-12, 1.2e-11
"""What the meters show without light, A."""

CLOSED = {
    "V1": ({"V1:SetTa": 1}, {"V1:SetTa": 1}),
    "V2": ({"V2:SetTa": 1}, {"V2:SetTa": 1}),
    "PSH1": ({"PSH1:SetTa": 1}, {"PSH1:SetTa": 1}),
    "BS1": ({"BS1:close": 1}, {"BS1:open": 1}),
}
"""What closes each, and what opens it again."""


def a_beam(**barriers):
    """Return a tuned beam at 400 eV, with barriers at positions from 0 to 1."""
    link, in_the_way = LinkReader(), LinkReader()
    gap = float(TRUE_UNDULATOR.gap(400.0))
    positions = {"PGM1": 400.0, "gap": gap, "shift": 0.0, "ring": 300.0, "slit": 10.0}
    link.axes = {name: Axis(name, position) for name, position in positions.items()}
    link.state = {"energy_axis": "PGM1", "harmonic": 1}
    in_the_way.axes = {name: Axis(name, position) for name, position in barriers.items()}
    return Beam(link, barriers=in_the_way)


@pytest.mark.parametrize(
    ("barriers", "share"),
    [
        ({}, 1.0),
        ({"V1": 1.0, "BS1": 1.0}, 1.0),
        ({"V1": 1.0, "BS1": 0.0}, 0.0),
        ({"V1": 0.0, "BS1": 1.0}, 0.0),
        ({"V1": 0.5}, 0.5),
        ({"V1": 0.5, "V2": 0.5}, 0.25),
        ({"V1": 0.4}, 0.0),
        ({"V1": 0.6}, 1.0),
    ],
)
def test_each_barrier_cuts_the_light(barriers, share):
    times, energy = np.full((2, 3), 1e9), np.full((2, 3), 400.0)
    free, beam = a_beam(), a_beam(**barriers)
    assert np.all(free.intensity(times, energy) > 0)
    assert beam.intensity(times, energy) == pytest.approx(share * free.intensity(times, energy))
    # A camera sees nothing either.
    seen = expected_counts(beam.intensity(times, energy).mean(axis=1))
    assert seen == pytest.approx(
        share * expected_counts(free.intensity(times, energy).mean(axis=1)), abs=1e-6
    )


@pytest.mark.parametrize(
    ("current", "dark"), [(mesh_current, MESH_DARK), (sample_current, SAMPLE_DARK)]
)
def test_behind_a_closed_barrier_a_meter_has_its_dark_current(current, dark):
    times, energy = np.array([1e9, 2e9]), np.array([400.0, 400.9])
    assert current(a_beam(V1=0.0), times, energy) == pytest.approx(dark, rel=1e-3, abs=0.0)
    assert np.all(current(a_beam(V1=1.0), times, energy) > 1.5 * dark)


async def moved(kind, fault, command, **options):
    """Return where the plate of a valve is, during and after a command with a fault."""
    database = Database("X:", Clock(0.0))
    barrier = kind(database, "V:", travel=0.2, **options)
    await database["X:FAULT:V"].write(fault)
    begun = time.time()
    for name, value in command.items():
        await database[f"X:{name}"].write(value)
        await database[f"X:{name}"].on_put(value)
    for _ in range(20):
        # What was begun plans its way at once.
        await asyncio.sleep(0)
    end = begun + 60.0
    positions = barrier.axis.positions(np.linspace(begun, begun + 1.0, 200))
    await barrier.close()
    return positions, barrier.axis.position(end)


@pytest.mark.parametrize(
    ("fault", "end", "furthest"),
    [
        ("none", 0.0, 0.0),
        ("stuck", 1.0, 1.0),
        ("no status", 0.0, 0.0),
        ("late status", 0.0, 0.0),
        ("half-way", 0.5, 0.5),
        ("goes back", 1.0, 0.5),
    ],
)
async def test_a_plate_moves_as_its_fault_has_it_whatever_the_switches_show(fault, end, furthest):
    for kind, command in ((ToggledValve, "V:SetTa"), (CommandedShutter, "V:close")):
        positions, last = await moved(kind, fault, {command: 1}, place="open")
        assert last == end
        assert positions[0] == pytest.approx(1.0, abs=0.1)
        assert positions.min() == pytest.approx(furthest, abs=0.05)


@pytest.fixture(scope="module")
def client():
    with SimulatedBeamline("L:", vacuum=True) as beamline, connected(beamline) as client:
        yield client


@pytest.mark.slow
@pytest.mark.parametrize("name", CLOSED)
def test_the_meters_behind_a_closed_barrier_are_dark(client, name):
    light = {meter: client.get(f"{meter}:rdCur") for meter in ("KEI1", "KEI2")}
    assert light["KEI1"] > 100 * MESH_DARK
    assert light["KEI2"] > 1.5 * SAMPLE_DARK
    close, open_again = CLOSED[name]
    for pv, value in close.items():
        client.put(pv, value)
    client.wait_for("KEI1:rdCur", lambda current: abs(current - MESH_DARK) < 0.5 * MESH_DARK)
    client.wait_for("KEI2:rdCur", lambda current: abs(current - SAMPLE_DARK) < 0.1 * SAMPLE_DARK)
    if name != "BS1":
        client.wait_for(f"{name}:SetTa", lambda value: value == 0)
    for pv, value in open_again.items():
        client.put(pv, value)
    for meter, current in light.items():
        client.wait_for(f"{meter}:rdCur", lambda now, then=current: now > 0.9 * then)
    if name != "BS1":
        client.wait_for(f"{name}:SetTa", lambda value: value == 0)
