"""A session has devices, metadata and documents at hand, and says what cannot be used."""

import json
import logging
from pathlib import Path

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import pytest

from glidepath.session import PauseOnInterrupt, Session

SIMULATED = "glidepath.beamlines.simulated"

MODULE = """
from ophyd_async.epics.motor import Motor
from glidepath.beamlines import simulated

BASELINE = ["focus", "gone"]

def make_devices(prefix=None, mains_frequency=0.0):
    devices = simulated.make_devices(prefix, panda=False)
    devices["gone"] = Motor(f"{simulated.os.environ['GLIDEPATH_PREFIX']}nowhere", name="gone")
    make_devices.told = mains_frequency
    return devices
"""


@pytest.fixture
def session(beamline, tmp_path):
    with Session(SIMULATED, tmp_path, catalogue=False) as opened:
        yield opened


def starts_of(session):
    found = []
    session.RE.subscribe(lambda _, document: found.append(document), "start")
    return found


def test_a_device_is_an_attribute_and_is_connected_when_it_is_used(session):
    assert session.call(session.mesh.current.get_value) is not None
    assert {"energy", "mesh", "RE", "run"} <= set(dir(session))
    with pytest.raises(
        AttributeError, match=r"no device 'enrgy' at .* \(did you mean energy\?\); there are"
    ):
        _ = session.enrgy


def test_a_stock_plan_runs_with_the_baseline_before_and_after_it(session):
    documents = []
    session.RE.subscribe(lambda name, document: documents.append((name, document)))
    session.RE(bp.count([session.mesh], 2))
    descriptors = {d["uid"]: d["name"] for name, d in documents if name == "descriptor"}
    events = [descriptors[d["descriptor"]] for name, d in documents if name == "event"]
    assert events == ["baseline", "primary", "primary", "baseline"]


def test_a_plan_may_name_connected_devices_and_is_told_of_others(session):
    def plan():
        yield from bps.null()
        return session.mesh

    with pytest.raises(RuntimeError, match="ask for devices and the like before the plan begins"):
        session.RE(plan())
    mesh = session.mesh
    assert session.run(bp.count([session.mesh], 1))["exit_status"] == "success"
    found = []

    def again():
        found.append((yield from plan()))

    session.RE(again())
    assert found == [mesh]


def test_a_plan_without_a_run_reads_no_baseline(session):
    messages = []
    session.RE.msg_hook = messages.append
    session.RE(bps.null())
    assert [msg.command for msg in messages] == ["null"]


def test_a_silent_device_is_named_and_leaves_the_others_usable(
    beamline, tmp_path, monkeypatch, capsys
):
    (tmp_path / "half_a_beamline.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("glidepath.session.connections.CONNECT_TIMEOUT", 3.0)
    with Session("half_a_beamline", tmp_path / "data", catalogue=False) as session:
        with pytest.raises(ConnectionError, match="No server answers for gone of half_a_beamline"):
            _ = session.gone
        assert session.run(bp.count([session.mesh], 1))["num_events"]["baseline"] == 2
        assert "the baseline lacks gone" in capsys.readouterr().err.replace("\n", " ")
        (complaint,) = session.connect_all()
        assert "gone cannot be used: " in complaint
        assert "nowhere" in complaint


def test_metadata_last_across_sessions_and_tell_what_was_typed(beamline, tmp_path):
    with Session(SIMULATED, tmp_path, catalogue=False) as session:
        session.RE.md["proposal"] = {"proposal_id": "241-1"}
    with Session(SIMULATED, tmp_path, catalogue=False) as session:
        begun = starts_of(session)
        session.command = "RE(count([mesh]))"
        session.RE(bp.count([session.mesh], 1))
        with pytest.raises(ValueError, match=r"RE.md\['x'\] must be text"):
            session.RE.md["x"] = object()
    assert begun[0]["proposal"] == {"proposal_id": "241-1"}
    assert begun[0]["command"] == "RE(count([mesh]))"
    assert begun[0]["display"] == {"reference": "mesh", "silent": ["ring"]}
    assert "scan_id" not in json.loads((tmp_path / "metadata.json").read_text())


def test_the_experiment_is_in_every_run_and_is_kept(beamline, tmp_path):
    with Session(SIMULATED, tmp_path, catalogue=False) as session:
        session.experiment = session.experiment.changed(sample="N2", element="N", edge="K")
    with Session(SIMULATED, tmp_path, catalogue=False) as session:
        begun = starts_of(session)
        session.RE(bp.count([session.mesh], 1))
    assert begun[0]["sample"] == {"name": "N2"}
    assert begun[0]["edge"] == "K"


def test_a_sample_is_set_in_one_line_and_checked_at_once(session):
    begun = starts_of(session)
    session.sample = "N2 gas cell"
    session.RE(bp.count([session.mesh], 1))
    assert begun[0]["sample"] == {"name": "N2 gas cell"}
    # The detector of that name stays what it was.
    assert session.sample is session.beamline.devices["sample"]
    with pytest.raises(ValueError, match="formula"):
        session.sample = {"name": "rust", "formula": "Fe2Oo3"}
    assert session.experiment.sample.name == "N2 gas cell"
    session.sample = {"name": "rust", "formula": "Fe2O3"}
    assert session.RE.md["sample"] == {"name": "rust", "chemical_formula": "Fe2O3"}


def test_a_beamline_is_told_the_mains_frequency(beamline, tmp_path, monkeypatch):
    (tmp_path / "american_beamline.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GLIDEPATH_MAINS_FREQUENCY", "60")
    with Session("american_beamline", tmp_path / "data", catalogue=False):
        import american_beamline

        assert american_beamline.make_devices.told == 60.0


def test_the_first_interrupt_pauses_and_the_second_one_ends():
    done = []

    class Engine:
        state = "running"

        def request_pause(self, defer):
            done.append(("pause", defer))

        def abort(self, reason):
            done.append(("abort", reason))

    interrupts = PauseOnInterrupt(Engine())
    interrupts._act(1)
    interrupts._act(2)
    assert done == [("pause", False), ("abort", "Ctrl-C")]


def test_a_log_on_a_full_disk_hides_no_reason():
    from glidepath.session.log_file import LogFile

    log = LogFile(Path("/dev/full"))
    logging.getLogger("glidepath").warning("A line that no disk takes.")
    # The line is still in the buffer, so that closing it fails, too.
    assert log.stream is not None
    log.close()
    assert log.stream is None
    assert log not in logging.getLogger("glidepath").handlers
