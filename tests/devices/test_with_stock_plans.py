"""The devices under a run engine, with bluesky's own plans."""

import threading

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import numpy as np
import pytest
from bluesky.run_engine import call_in_bluesky_event_loop
from bluesky.utils import RunEngineInterrupted

from glidepath.beamlines import load_beamline
from glidepath.devices import EnergyAxis, Undulator, watch
from glidepath.flyers.motion.controller_sweep import SweepBounds
from glidepath.physics import UE48, GapCurve, GapTable


@pytest.fixture
def devices(beamline, RE):
    devices = dict(load_beamline("glidepath.beamlines.simulated", beamline.prefix).devices)
    for device in devices.values():
        call_in_bluesky_event_loop(device.connect(timeout=10))
    return devices


def test_the_energy_moves(RE, devices):
    RE(bps.mv(devices["energy"], 400))
    assert call_in_bluesky_event_loop(devices["pgm"].readback.get_value()) == pytest.approx(
        400.0, abs=0.02
    )


def test_the_energy_is_scanned_step_by_step(RE, devices):
    energy, mesh = devices["energy"], devices["mesh"]
    documents = []
    RE(bps.mv(energy, 400))
    RE(bp.scan([mesh], energy, 400, 401, 3), lambda name, doc: documents.append((name, doc)))
    events = [doc for name, doc in documents if name == "event"]
    assert [event["data"]["energy"] for event in events] == pytest.approx(
        [400.0, 400.5, 401.0], abs=0.02
    )
    assert all(event["data"]["mesh"] > 0 for event in events)
    times = [event["timestamps"]["mesh"] for event in events]
    assert times == sorted(set(times))
    (descriptor,) = [doc for name, doc in documents if name == "descriptor"]
    assert descriptor["data_keys"]["energy"]["units"] == "eV"
    assert descriptor["hints"]["mesh"] == {"fields": ["mesh"]}
    assert documents[-1][1]["exit_status"] == "success"


def test_separate_axes_are_moved_and_scanned_together(RE, devices):
    energy, ue48 = devices["energy_separate"], devices["ue48"]
    RE(bps.mv(energy, 405))
    at = call_in_bluesky_event_loop(ue48.energy.get_value())
    assert at == pytest.approx(405.0, abs=0.1)
    assert call_in_bluesky_event_loop(ue48.control_mode.get_value()) == "panel"
    events = []
    RE(
        bp.scan([devices["mesh"]], energy, 405, 404, 2),
        {"event": [lambda name, doc: events.append(doc["data"])]},
    )
    for event, asked in zip(events, (405.0, 404.0), strict=True):
        assert event["energy_separate"] == pytest.approx(asked, abs=0.02)
        assert event["energy_separate-undulator_energy"] == pytest.approx(asked, abs=0.1)
    RE(bps.mv(devices["energy"], 404))
    assert call_in_bluesky_event_loop(ue48.control_mode.get_value()) == "monochromator"


def test_harmonic_polarisation_and_offset_are_set_by_plans(RE, devices, beamline):
    # A little elliptical: the way of the shift is short.
    gaps = np.arange(20.0, 60.0)
    tilted = GapCurve(UE48.energy(gaps, 1, 2.0), gaps, np.full_like(gaps, 2.0), 62, 1, "tilted")
    table = GapTable([*GapTable.from_law(UE48, gaps).curves, tilted])
    ue48 = Undulator(f"{beamline.prefix}UE48:", table, name="ue48")
    energy = EnergyAxis(devices["pgm"], ue48, "energy", coupling="separate")
    for device in (ue48, energy):
        call_in_bluesky_event_loop(device.connect(timeout=10))
    RE(bps.mv(energy.polarisation, "tilted", energy.offset, 0.12))
    RE(bps.mv(energy, 404))
    gap = call_in_bluesky_event_loop(ue48.gap.readback.get_value())
    assert call_in_bluesky_event_loop(ue48.shift.readback.get_value()) == pytest.approx(2.0, 0.005)
    assert float(UE48.energy(gap, 1, 2.0)) == pytest.approx(404.0 - 0.12, abs=0.05)
    RE(bps.mv(energy.polarisation, "horizontal", energy.offset, 0.0))
    RE(bps.mv(energy, 404))
    gap = call_in_bluesky_event_loop(ue48.gap.readback.get_value())
    assert float(UE48.energy(gap)) == pytest.approx(404.0, abs=0.05)
    with pytest.raises(Exception, match="no harmonic 2 in horizontal polarisation; it has 1, 3, 5"):
        RE(bps.mv(energy.harmonic, 2))


@pytest.fixture
def follow(RE):
    """Hand the readings of a signal to a function until the test is over."""
    followed = []

    def begin(signal, function):
        async def subscribe():
            signal.subscribe_reading(function)

        call_in_bluesky_event_loop(subscribe())
        followed.append((signal, function))

    async def end():
        for signal, function in followed:
            signal.clear_sub(function)

    yield begin
    call_in_bluesky_event_loop(end())


@bpp.run_decorator()
def fly(axis, value):
    """A plan of somebody else: it knows Bluesky's verbs only."""
    yield from bps.prepare(axis, value, wait=True)
    yield from bps.kickoff(axis, wait=True)
    flown = yield from bps.complete(axis, wait=False)
    # A wait that a pause interrupts is not waited for again by a plan that cannot be rewound.
    while not flown.done:
        yield from bps.sleep(0.1)
    assert flown.success


def test_the_energy_is_flown_by_a_plan_that_knows_only_verbs(RE, devices, follow):
    energy, pgm = devices["energy"], devices["pgm"]
    before = call_in_bluesky_event_loop(pgm.sweep.velocity.get_value())
    seen = []
    follow(pgm.readback, lambda reading: seen.append(reading["pgm"]["value"]))
    RE(bpp.stage_wrapper(fly(energy, (400, 402, 2.0)), [energy]))
    assert max(seen) > 402.0 - SweepBounds().tolerance
    assert call_in_bluesky_event_loop(pgm.sweep.velocity.get_value()) == before
    call_in_bluesky_event_loop(wait_for_rest(pgm, beyond=402.0))


@pytest.mark.parametrize("rewindable", [False, True])
def test_a_pause_of_such_a_plan_flies_the_rest_when_it_is_resumed(RE, devices, follow, rewindable):
    energy, pgm = devices["energy"], devices["pgm"]
    seen = []

    def note(reading):
        seen.append(reading["pgm"]["value"])
        if seen[-1] > 401.0 and not paused:
            paused.append(threading.Thread(target=RE.request_pause))
            paused[0].start()

    paused = []
    RE(bps.mv(energy, 399))
    follow(pgm.readback, note)
    with pytest.raises(RunEngineInterrupted):
        RE(bpp.rewindable_wrapper(fly(energy, (400, 404, 2.0)), rewindable))
    assert call_in_bluesky_event_loop(pgm.status.get_value()) == 0
    assert max(seen) < 404.0
    del seen[:]
    RE.resume()
    # The controller may say that it is over before its last readback has arrived.
    assert max(seen) > 404.0 - SweepBounds().tolerance
    paused[0].join()
    call_in_bluesky_event_loop(wait_for_rest(pgm, beyond=404.0))
    # Only the rest, with its run-up; a plan that is rewound joins it.
    assert min(seen) > 399.5


def test_an_abort_stops_a_staged_axis_in_flight(RE, devices, follow):
    energy, pgm = devices["energy"], devices["pgm"]

    def note(reading):
        if reading["pgm"]["value"] > 400.5 and not actor:
            actor.append(threading.Thread(target=RE.abort))
            actor[0].start()

    actor = []
    RE(bps.mv(energy, 399))
    follow(pgm.readback, note)
    with pytest.raises(RunEngineInterrupted):
        RE(bpp.stage_wrapper(fly(energy, (400, 420, 2.0)), [energy]))
    actor[0].join()
    call_in_bluesky_event_loop(wait_for_rest(pgm))
    assert call_in_bluesky_event_loop(pgm.readback.get_value()) < 419.0


async def wait_for_rest(pgm, beyond=0.0):
    # The run engine does not await the unstaging of a plan that was aborted.
    async with watch(pgm.status, pgm.readback) as seen:
        assert await seen.until(
            lambda: seen.value(pgm.status) == 0 and seen.value(pgm.readback) > beyond, 10.0
        ), f"status {seen.value(pgm.status)} at {seen.value(pgm.readback)} eV"


def test_a_motor_is_scanned_step_by_step(RE, devices):
    positions = []
    RE(
        bp.scan([devices["mesh"], devices["ring"]], devices["focus"], -100, 100, 3),
        {"event": [lambda name, doc: positions.append(doc["data"]["focus"])]},
    )
    assert positions == pytest.approx([-100.0, 0.0, 100.0], abs=0.2)
