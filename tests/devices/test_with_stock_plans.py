"""The devices under a run engine, with bluesky's own plans."""

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import pytest
from bluesky.run_engine import call_in_bluesky_event_loop

from glidepath.beamlines import load_beamline


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


def test_a_motor_is_scanned_step_by_step(RE, devices):
    positions = []
    RE(
        bp.scan([devices["mesh"], devices["ring"]], devices["focus"], -100, 100, 3),
        {"event": [lambda name, doc: positions.append(doc["data"]["focus"])]},
    )
    assert positions == pytest.approx([-100.0, 0.0, 100.0], abs=0.2)
