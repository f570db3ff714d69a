"""Silent detectors of a beamline are in every fly scan of a session, or are left out."""

import bluesky.plans as bp
import pytest
from bluesky.simulators import RunEngineSimulator

from glidepath import Session, flyscan, inspect
from glidepath.live import display_of
from glidepath.trajectory import Region, Trajectory

SIMULATED = "glidepath.beamlines.simulated"

ALONE = {"catalogue": False, "baseline": False, "live": False, "exports": False}

MODULE = """
from ophyd_async.epics.motor import Motor
from glidepath.beamlines import simulated

SILENT = ["gone", "ring"]

def make_devices(prefix=None, mains_frequency=0.0):
    devices = simulated.make_devices(prefix, panda=False)
    devices["gone"] = Motor(f"{simulated.os.environ['GLIDEPATH_PREFIX']}nowhere", name="gone")
    return devices
"""


@pytest.fixture
def session(beamline, tmp_path):
    with Session(SIMULATED, tmp_path, **ALONE) as opened:
        yield opened


def flown(session, *names):
    """Fly a short range with the detectors that are named; return the run's start document."""
    devices = session.devices(names or ["mesh", "sample"])
    stop = session.run(flyscan(devices, session.energy, 400, 400.6, 1, period=0.05))
    assert stop["exit_status"] == "success"
    return session.follower.start


def test_they_are_recorded_beside_what_a_scan_names_and_are_not_drawn(session):
    start = flown(session)
    assert start["detectors"] == ["ring", "mesh", "sample"]
    table = session.follower.columns(["mesh", "ring_current", "ring_current_count"])
    assert len(table["ring_current"]) == len(table["mesh"]) > 5
    assert (table["ring_current"] > 0).all()
    assert display_of(start, session.follower.scalars).signal == "sample"


def test_one_that_is_named_is_recorded_once_where_it_was_named(session):
    assert flown(session, "mesh", "ring")["detectors"] == ["mesh", "ring"]
    assert flown(session, "ring")["detectors"] == ["ring"]


def test_they_can_be_left_out_and_others_can_be_taken(session, tmp_path):
    session.silent = []
    assert flown(session)["detectors"] == ["mesh", "sample"]
    session.silent = ["mesh"]
    start = flown(session, "sample")
    assert start["detectors"] == ["mesh", "sample"]
    assert start["display"]["silent"] == ["ring", "mesh"]
    with pytest.raises(ValueError, match="There is no device 'rign'"):
        session.silent = ["rign"]
    assert session.silent == ("mesh",)
    with Session(SIMULATED, tmp_path / "other", silent=False, **ALONE) as other:
        assert other.silent == ()


def test_a_scan_that_steps_reads_what_it_is_given(session):
    documents = []
    session.RE.subscribe(lambda name, document: documents.append((name, document)))
    session.run(bp.count([session.mesh]))
    (descriptor,) = [document for name, document in documents if name == "descriptor"]
    assert not any(key.startswith("ring") for key in descriptor["data_keys"])


def test_the_preflight_knows_them(session):
    devices, axis = session.devices(["mesh", "sample"]), session.energy
    recorded = session.with_silent(devices, axis)
    assert [device.name for device in recorded] == ["ring", "mesh", "sample"]
    report = session.call(lambda: inspect(recorded, axis, Trajectory((Region(400, 401, 1),))))
    assert report.passed
    assert session.with_silent([axis, session.ring], axis) == [axis, session.ring]


def test_one_that_does_not_answer_is_said_and_the_scan_is_flown_without_it(
    beamline, tmp_path, monkeypatch, capsys
):
    (tmp_path / "silent_and_gone.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("glidepath.session.connections.CONNECT_TIMEOUT", 3.0)
    with Session("silent_and_gone", tmp_path / "data", **ALONE) as session:
        assert flown(session, "mesh")["detectors"] == ["ring", "mesh"]
    assert "the scan lacks gone cannot be used" in capsys.readouterr().err.replace("\n", " ")


def test_a_plan_that_nobody_carries_out_has_none(session):
    plan = flyscan([session.mesh], session.energy, 400, 401, 1, period=0.05)
    messages = RunEngineSimulator().simulate_plan(plan)
    (opened,) = [message for message in messages if message.command == "open_run"]
    assert opened.kwargs["detectors"] == ["mesh"]
