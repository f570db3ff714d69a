"""Triggered scans over real Channel Access: one row a trigger, measured energies, every image."""

import contextlib
import json
import threading
import time

import h5py
import numpy as np
import pytest
from bluesky.utils import RunEngineInterrupted

from glidepath.plans import flyscan
from glidepath.simulation import Truth
from glidepath.timeline import Quality
from glidepath.trajectory import PreflightError

BOUND = 20.0

# What a row may carry without being wrong: the simulated ring is injected into once a minute.
HARMLESS = np.uint16(Quality.HELD | Quality.TOP_UP)


@contextlib.contextmanager
def fault(simulated, **faults):
    """Set faults for a while: names behind ``FAULT:``."""
    before = {name: 0 if isinstance(value, int) else "" for name, value in faults.items()}
    for name, value in faults.items():
        simulated.put(f"FAULT:{name}", value)
    try:
        yield
    finally:
        for name, value in before.items():
            simulated.put(f"FAULT:{name}", value)


def images_of(simulated, camera="camera"):
    """Return the newest run's images by row."""
    resource = [
        d for d in simulated.named("stream_resource") if d["data_key"] == f"{camera}_image"
    ][-1]
    with h5py.File(resource["uri"].removeprefix("file://localhost"), libver="latest") as file:
        return file[resource["parameters"]["dataset"]][:]


def true_exposures(beamline, until):
    """Return the camera's exposures as soon as the truth is written up to a time."""
    deadline = time.monotonic() + BOUND
    while True:
        with Truth(beamline.settings.truth) as truth:
            exposures = truth.exposures("CAM1")
        if exposures["start"].max(initial=0.0) > until - 0.01 or time.monotonic() > deadline:
            return exposures
        time.sleep(0.1)


def check_rows(simulated, beamline, run):
    """Check each row that carries no bit against the truth; return which rows carry one."""
    table = run.primary
    marked = (table["quality"] & ~HARMLESS) != 0
    images = images_of(simulated)
    assert len(images) == len(table["energy"]) == run.stop["num_events"]["primary"]
    total = images.sum(axis=(1, 2), dtype=float)
    with_frame = table["camera_frame"] >= 0
    # The image of a row and its statistics are of one frame; where there is none, there is none.
    np.testing.assert_allclose(total[with_frame], table["camera_total"][with_frame], rtol=1e-6)
    assert np.all(total[~with_frame] == 0)
    assert np.all(np.isnan(table["camera_total"][~with_frame]))
    assert np.all(marked[~with_frame])
    # What the camera truly saw in a row without a bit is what the row says.
    begin = table["sample_time"] - table["sample_duration"] / 2
    exposures = true_exposures(beamline, begin[-1])
    nearest = np.abs(exposures["start"][:, None] - begin[~marked]).argmin(axis=0)
    assert np.all(np.abs(exposures["start"][nearest] - begin[~marked]) < 0.01)
    assert len(np.unique(nearest)) == len(nearest)
    error = table["energy"][~marked] - exposures["mean_energy"][nearest]
    assert np.sqrt(np.mean(error**2)) < 0.001
    return marked


def scan(s, *args, detectors=None, **kwargs):
    plan = flyscan(detectors or [s.camera], *args, step=0.05, trigger=s.zebra, **kwargs)
    s.run_engine(plan)
    return s.run()


@pytest.mark.parametrize(
    ("axis", "start", "stop"),
    [("energy", 400.0, 402.0), ("energy", 402.0, 400.0), ("mono_motor", 400.0, 402.0)],
)
def test_each_trigger_is_a_row_with_its_frame_and_its_latched_energy(
    simulated, beamline, axis, start, stop
):
    s = simulated
    s.put("BEAM:axis", "m3" if axis == "mono_motor" else "PGM1")
    try:
        run = scan(s, getattr(s, axis), start, stop, 1.0, detectors=[s.camera, s.ring])
    finally:
        s.put("BEAM:axis", "PGM1")
    table = run.primary
    assert run.stop["exit_status"] == "success", run.stop
    rows = len(table[axis])
    assert rows in (39, 40)
    assert run.start["preflight"]["rows"] == rows
    assert table["camera_frame"].tolist() == list(range(rows))
    if axis == "energy":
        assert not check_rows(s, beamline, run).any()
    assert np.all(table[f"{axis}_lower"] >= 400.0 - 1e-4)
    assert np.all(table[f"{axis}_upper"] <= 402.0 + 1e-4)
    steps = np.abs(np.diff(table[f"{axis}_lower"]))
    assert steps == pytest.approx(0.05, abs=0.005)
    # What else is sampled is there too, joined by time.
    assert np.all(table["ring_current"] > 100)
    (account,) = json.loads(run.verdict["triggered"]).values()
    assert account["triggers"] == account["matched"] == rows


@pytest.mark.parametrize(
    ("faults", "bit", "rows"),
    [
        ({"CAM1_miss": "7"}, Quality.LOST_TRIGGER, [7]),
        ({"CAM1_miss": "0"}, Quality.LOST_TRIGGER, [0]),
        ({"CAM1_drop": "11"}, Quality.LOST_UPDATES, [11]),
        ({"CAM1_miss": "20,47"}, Quality.LOST_TRIGGER, [20, 47]),
    ],
    ids=["lost", "the first one lost", "dropped on the way", "scattered"],
)
def test_a_lost_frame_is_a_marked_row_and_no_other_row_moves(
    simulated, beamline, faults, bit, rows
):
    s = simulated
    with fault(s, **faults):
        run = scan(s, s.energy, 400.0, 404.0, 1.0)
    assert run.stop["exit_status"] == "success", run.stop
    assert len(run.primary["energy"]) in (79, 80)
    marked = check_rows(s, beamline, run)
    assert np.flatnonzero(run.primary["camera_frame"] < 0).tolist() == rows
    assert np.all(run.primary["quality"][rows] & bit)
    assert marked.sum() == len(rows)
    assert "camera: " in run.stop["reason"]


def test_a_pulse_that_the_box_does_not_make_leaves_no_shifted_row(simulated, beamline):
    s = simulated
    with fault(s, zebra_lost_pulse=10):
        run = scan(s, s.energy, 400.0, 404.0, 1.0)
    check_rows(s, beamline, run)
    assert np.any(run.primary["quality"] & Quality.LOST_TRIGGER)
    assert len(run.primary["energy"]) in (78, 79)


def test_a_pulse_too_many_is_said_and_leaves_no_shifted_row(simulated, beamline):
    s = simulated
    with fault(s, zebra_extra_pulse=10):
        run = scan(s, s.energy, 400.0, 404.0, 1.0)
    check_rows(s, beamline, run)
    assert "too many" in run.stop["reason"]


def test_more_loss_than_can_be_tolerated_ends_the_scan_as_failed(simulated, beamline):
    s = simulated
    lost = ",".join(str(k) for k in range(5, 60, 4))
    with fault(s, CAM1_miss=lost), pytest.raises(Exception, match=r"camera: .* lost"):
        scan(s, s.energy, 400.0, 440.0, 1.0)
    assert s.stop["exit_status"] == "fail"
    assert s.get(s.pgm.status) == 0
    check_rows(s, beamline, s.run())


def test_a_detector_that_never_arms_is_named_and_nothing_flies(simulated):
    s = simulated
    s.camera._ready_within, before = 1.0, s.camera._ready_within
    try:
        with fault(s, CAM1_never_arms=1), pytest.raises(Exception, match="camera did not get"):
            scan(s, s.energy, 400.0, 404.0, 1.0)
    finally:
        s.camera._ready_within = before
    assert s.stop["exit_status"] == "fail"
    assert s.stop["num_events"].get("primary", 0) == 0
    assert s.get(s.pgm.status) == 0


def test_a_paused_triggered_scan_goes_on_with_the_next_step(simulated, beamline):
    s = simulated
    paused = threading.Event()

    def look(name, document):
        if name == "stream_datum" and document["indices"]["stop"] >= 10 and not paused.is_set():
            paused.set()
            threading.Thread(target=s.run_engine.request_pause).start()

    token = s.run_engine.subscribe(look)
    with contextlib.suppress(RunEngineInterrupted):
        s.run_engine(flyscan([s.camera], s.energy, 400.0, 404.0, 1.0, step=0.05, trigger=s.zebra))
    assert s.run_engine.state == "paused"
    assert not s.get(s.zebra.armed)
    s.run_engine.resume()
    s.run_engine.unsubscribe(token)
    run = s.run()
    assert run.stop["exit_status"] == "success", run.stop
    assert not check_rows(s, beamline, run).any()
    table = run.primary
    steps = np.diff(table["energy_lower"])
    assert steps.min() > 0.02, "a row twice"
    assert steps.max() < 0.11, "a row is missing"


def test_triggers_come_by_time_too(simulated, beamline):
    s = simulated
    s.run_engine(flyscan([s.camera], s.energy, 400.0, 402.0, 1.0, period=0.05, trigger=s.zebra))
    run = s.run()
    assert run.stop["exit_status"] == "success", run.stop
    assert not check_rows(s, beamline, run).any()
    assert np.diff(run.primary["sample_time"]) == pytest.approx(0.05, abs=1e-5)


def test_a_camera_goes_by_its_own_clock(simulated, beamline):
    s = simulated
    s.run_engine(flyscan([s.camera], s.energy, 400.0, 402.0, 1.0, period=0.05, trigger=s.camera))
    run = s.run()
    assert run.stop["exit_status"] == "success", run.stop
    assert not check_rows(s, beamline, run).any()
    assert len(run.primary["energy"]) in (37, 38, 39, 40)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"step": 0.05}, "name what makes them"),
        ({"trigger": "zebra"}, "either a step"),
        ({"trigger": "zebra", "step": 0.05, "period": 0.1}, "either a step"),
        ({"trigger": "zebra", "step": 0.05, "exposure": 0.06}, "expos"),
        ({"trigger": "zebra", "step": 1e-9}, "too coarse"),
        ({"trigger": "ring", "step": 0.05}, "makes no triggers"),
        ({"trigger": "zebra", "step": float("nan")}, "above zero"),
    ],
)
def test_what_cannot_be_triggered_is_refused_and_nothing_moves(simulated, options, sentence):
    s = simulated
    before = s.get(s.pgm.setpoint), len(s.documents)
    if "trigger" in options:
        options = {**options, "trigger": getattr(s, options["trigger"])}
    with pytest.raises((PreflightError, ValueError), match=sentence):
        s.run_engine(flyscan([s.camera], s.energy, 400.0, 402.0, 1.0, **options))
    assert (s.get(s.pgm.setpoint), len(s.documents)) == before
