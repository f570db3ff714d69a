"""Triggered scans over real Channel Access: one row a trigger, measured energies, every image."""

import contextlib
import json
import threading
import time

import h5py
import numpy as np
import pytest
from bluesky.utils import RunEngineInterrupted

from glidepath import Triggers
from glidepath.plans import flyscan
from glidepath.simulation import Truth
from glidepath.timeline import Quality
from glidepath.trajectory import PreflightError

BOUND = 20.0

# What a row may carry without being wrong: the simulated ring is injected into once a minute.
HARMLESS = np.uint16(Quality.HELD | Quality.TOP_UP)

USUALLY_BEHIND = 0.15
"""eV: the true harmonic is 0.09 to 0.12 eV below the energy at 2 eV/s, and 0.18 at the bound."""


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


def faulty(beamline, table):
    """Return the bits of rows that something is wrong with (uint16).

    The simulated undulator falls behind on a machine that stalls. A row that says so is checked
    against the truth.
    """
    behind = table["quality"] & np.uint16(Quality.TRACKING) != 0
    when = table["sample_time"][behind]
    if len(when):
        true_exposures(beamline, when[-1])
        with Truth(beamline.settings.truth) as truth:
            harmonic = np.interp(when, truth.time, truth.undulator_energy)
            assert np.all(np.abs(harmonic - truth.energy(when)) > USUALLY_BEHIND)
    return table["quality"] & ~(HARMLESS | np.uint16(Quality.TRACKING))


def check_rows(simulated, beamline, run):
    """Check each row that carries no bit against the truth; return which rows carry one."""
    table = run.primary
    marked = faulty(beamline, table) != 0
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
    # Triggers that were made while the axis came to rest may have no frame.
    exposures = true_exposures(beamline, begin[with_frame][-1])
    nearest = np.abs(exposures["start"][:, None] - begin[~marked]).argmin(axis=0)
    assert np.all(np.abs(exposures["start"][nearest] - begin[~marked]) < 0.01)
    assert len(np.unique(nearest)) == len(nearest)
    error = table["energy"][~marked] - exposures["mean_energy"][nearest]
    assert np.sqrt(np.mean(error**2)) < 0.001
    return marked


def check_unmarked(simulated, beamline, run):
    """Check that no row carries a bit, and each against the truth."""
    check_rows(simulated, beamline, run)
    quality = faulty(beamline, run.primary)
    said = {int(row): str(Quality(int(quality[row]))) for row in np.flatnonzero(quality)}
    assert not said, run.stop["reason"]


def scan(s, *args, detectors=None, step=0.05, **kwargs):
    triggers = Triggers(s.zebra, step=step)
    plan = flyscan(detectors or [s.camera], *args, triggers=triggers, **kwargs)
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
        run = scan(s, getattr(s, axis), start, stop, 2.0, detectors=[s.camera, s.ring])
    finally:
        s.put("BEAM:axis", "PGM1")
    table = run.primary
    assert run.stop["exit_status"] == "success", run.stop
    rows = len(table[axis])
    assert rows in (39, 40)
    assert run.start["preflight"]["rows"] == rows
    assert table["camera_frame"].tolist() == list(range(rows))
    if axis == "energy":
        check_unmarked(s, beamline, run)
    assert np.all(table[f"{axis}_lower"] >= 400.0 - 1e-4)
    assert np.all(table[f"{axis}_upper"] <= 402.0 + 1e-4)
    steps = np.abs(np.diff(table[f"{axis}_lower"]))
    assert steps == pytest.approx(0.05, abs=0.005)
    # What else is sampled is there too, joined by time.
    assert np.all(table["ring_current"] > 100)
    (account,) = json.loads(run.verdict["triggered"]).values()
    assert account["triggers"] == account["matched"] == rows


LOST, DROPPED = Quality.LOST_TRIGGER, Quality.LOST_UPDATES


@pytest.mark.parametrize(
    ("faults", "bits"),
    [
        # Frame 50 of those that were made is of trigger 51. So few that the scan is not ended.
        ({"CAM1_miss": "7", "CAM1_drop": "50"}, {7: LOST, 51: DROPPED}),
        ({"CAM1_miss": "0,45,70"}, {0: LOST, 45: LOST, 70: LOST}),
    ],
    ids=["lost, and dropped on the way", "the first one and scattered ones lost"],
)
def test_a_lost_frame_is_a_marked_row_and_no_other_row_moves(simulated, beamline, faults, bits):
    s = simulated
    with fault(s, **faults):
        run = scan(s, s.energy, 400.0, 404.0, 2.0)
    assert run.stop["exit_status"] == "success", run.stop
    assert len(run.primary["energy"]) in (79, 80)
    marked = check_rows(s, beamline, run)
    assert np.flatnonzero(run.primary["camera_frame"] < 0).tolist() == list(bits)
    assert np.flatnonzero(marked).tolist() == list(bits)
    for row, bit in bits.items():
        assert run.primary["quality"][row] & (LOST | DROPPED) == bit
    assert "camera: " in run.stop["reason"]


def test_pulses_that_the_box_does_not_make_or_makes_twice_leave_no_shifted_row(simulated, beamline):
    s = simulated
    with fault(s, zebra_lost_pulse=10, zebra_extra_pulse=40):
        run = scan(s, s.energy, 400.0, 404.0, 2.0)
    check_rows(s, beamline, run)
    assert np.flatnonzero(run.primary["quality"] & LOST).tolist() == [9]
    assert len(run.primary["energy"]) in (78, 79)
    assert "too many" in run.stop["reason"]


def test_more_loss_than_can_be_tolerated_ends_the_scan_as_failed(simulated, beamline):
    s = simulated
    lost = ",".join(str(k) for k in range(5, 60, 4))
    with fault(s, CAM1_miss=lost), pytest.raises(Exception, match=r"camera: .* lost"):
        scan(s, s.energy, 400.0, 440.0, 2.0)
    assert s.stop["exit_status"] == "fail"
    assert s.get(s.pgm.status) == 0
    check_rows(s, beamline, s.run())


def test_a_detector_that_never_arms_is_named_and_nothing_flies(simulated):
    s = simulated
    s.camera._ready_within, before = 1.0, s.camera._ready_within
    try:
        with fault(s, CAM1_never_arms=1), pytest.raises(Exception, match="camera did not get"):
            scan(s, s.energy, 400.0, 404.0, 2.0)
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
        s.run_engine(
            flyscan([s.camera], s.energy, 400.0, 404.0, 2.0, triggers=Triggers(s.zebra, step=0.05))
        )
    assert s.run_engine.state == "paused"
    assert not s.get(s.zebra.armed)
    s.run_engine.resume()
    s.run_engine.unsubscribe(token)
    run = s.run()
    assert run.stop["exit_status"] == "success", run.stop
    check_unmarked(s, beamline, run)
    table = run.primary
    # The rest is flown on the same grid: no row twice, none is missing.
    steps = np.diff(table["energy_lower"])
    assert steps == pytest.approx(0.05, rel=0.1)
    assert len(table["energy"]) in (79, 80)


def test_equal_intervals_are_matched_though_the_cameras_clock_is_several_of_them_off(
    simulated, beamline
):
    s = simulated
    # Its timestamps seem to be late by that.
    s.camera.latency -= 0.015
    s.run_engine(
        flyscan([s.camera], s.energy, 400.0, 402.0, 2.0, triggers=Triggers(s.zebra, period=0.008))
    )
    run = s.run()
    assert run.stop["exit_status"] == "success", run.stop
    check_unmarked(s, beamline, run)
    frames = run.primary["camera_frame"].tolist()
    assert frames == list(range(len(frames)))
    assert np.diff(run.primary["sample_time"]) == pytest.approx(0.008, abs=1e-5)


def test_more_rows_than_the_box_holds_are_flown_in_parts_and_bins_end_in_time(simulated, beamline):
    s = simulated
    settings = {"FAULT:zebra_captures": 81, "m3.VELO": 10.0, "m3.ACCL": 0.05}
    usual = {"FAULT:zebra_captures": 100_000, "m3.VELO": 5.0, "m3.ACCL": 0.5}
    for name, value in settings.items():
        s.put(name, value)
    try:
        run = scan(s, s.mono_motor, 400.0, 401.21, 5.0, detectors=[s.counter], step=0.01)
    finally:
        for name, value in usual.items():
            s.put(name, value)
    assert run.stop["exit_status"] == "success", run.stop
    table = run.primary
    # 80 rows and a trigger that ends the last of them, then 40 and one.
    assert len(table["mono_motor"]) == run.start["preflight"]["rows"] == 120
    assert not (table["quality"] & ~HARMLESS).any()
    assert np.diff(table["mono_motor_lower"]) == pytest.approx(0.01, abs=1e-5)
    # Nothing between two bins, nor between two parts; none behind the stop.
    assert table["mono_motor_upper"][:-1] == pytest.approx(table["mono_motor_lower"][1:], abs=1e-5)
    assert table["mono_motor_upper"][-1] <= 401.21
    # How long a row lasted is what the counter has measured.
    assert table["sample_duration"] == pytest.approx(table["counter_time"], abs=1e-6)
    (account,) = json.loads(run.verdict["triggered"]).values()
    assert account["triggers"] == account["frames"] == account["matched"] == 120


def test_several_frames_make_a_row_and_a_lost_one_is_marked_where_it_was(simulated, beamline):
    s = simulated
    before = s.get(s.pgm.setpoint), len(s.documents)
    for frames, box, sentence in (
        (1000, s.zebra, "camera cannot make 1000 frames within 2"),
        (4, s.camera, "camera goes by its own clock"),
    ):
        s.camera.frames_per_row = frames
        with pytest.raises(PreflightError, match=sentence):
            s.run_engine(
                flyscan([s.camera], s.energy, 400.0, 402.0, 2.0, triggers=Triggers(box, step=0.05))
            )
    with pytest.raises(ValueError, match="cannot make 0 frames for one trigger"):
        s.camera.frames_per_row = 0
    assert (s.get(s.pgm.setpoint), len(s.documents)) == before
    # Four are made for each trigger but the one that was not seen: frame 121 is of row 31.
    with fault(s, CAM1_miss="7", CAM1_drop="121"):
        run = scan(s, s.energy, 400.0, 402.0, 2.0, detectors=[s.camera, s.quad])
        s.camera.frames_per_row = 1
    assert run.stop["exit_status"] == "success", run.stop
    table = run.primary
    rows = len(table["energy"])
    assert rows in (39, 40)
    quality = faulty(beamline, table)
    expected = np.zeros(rows, int)
    expected[7] = Quality.LOST_TRIGGER | Quality.NO_DATA
    expected[31] = Quality.LOST_UPDATES
    assert quality.tolist() == expected.tolist()
    count = np.full(rows, 4)
    count[[7, 31]] = 0, 3
    assert table["camera_count"].tolist() == count.tolist()
    images = images_of(s)
    assert images.shape[:2] == (rows, 4)
    assert run.descriptors["primary"]["data_keys"]["camera_image"]["shape"] == [*images.shape[1:]]
    # Of a row's images, and of no other.
    each = images.sum(axis=(2, 3), dtype=float)
    there = count > 0
    assert each.sum(axis=1)[there] / count[there] == pytest.approx(table["camera_total"][there])
    assert np.flatnonzero(each[31] == 0).tolist() == [1]
    assert np.isnan(table["camera_total"][7])
    # The other detector has one frame a row, and misses none.
    assert table["quad_frame"].tolist() == list(range(rows))
    assert np.isfinite(table["quad_mesh"]).all()
    begin = table["sample_time"] - table["sample_duration"] / 2
    exposures = true_exposures(beamline, begin[-1])
    first = np.searchsorted(exposures["start"], begin[0] - 0.01)
    made = exposures["mean_energy"][first:].reshape(-1, 4)
    error = table["energy"][there] - made.mean(axis=1)
    assert np.sqrt(np.mean(error**2)) < 0.001
    account = json.loads(run.verdict["triggered"])["camera"]
    assert (account["triggers"], account["matched"]) == (4 * rows, 4 * rows - 5)
    assert (account["lost"], account["dropped"]) == (4, 1)


def test_a_camera_goes_by_its_own_clock(simulated, beamline):
    s = simulated
    s.run_engine(
        flyscan([s.camera], s.energy, 400.0, 402.0, 2.0, triggers=Triggers(s.camera, period=0.025))
    )
    run = s.run()
    assert run.stop["exit_status"] == "success", run.stop
    check_unmarked(s, beamline, run)
    assert len(run.primary["energy"]) in (37, 38, 39, 40)


@pytest.mark.parametrize(
    ("box", "options", "sentence"),
    [
        ("zebra", {}, "neither was given"),
        ("zebra", {"step": 0.05, "period": 0.1}, "both were given"),
        ("zebra", {"step": 0.05, "exposure": 0.06}, "expos"),
        ("zebra", {"step": 1e-9}, "too coarse"),
        ("ring", {"step": 0.05}, "makes no triggers"),
        ("zebra", {"step": float("nan")}, "above zero"),
    ],
)
def test_what_cannot_be_triggered_is_refused_and_nothing_moves(simulated, box, options, sentence):
    s = simulated
    before = s.get(s.pgm.setpoint), len(s.documents)
    triggers = {"box": getattr(s, box), **options}
    with pytest.raises((PreflightError, ValueError), match=sentence):
        s.run_engine(flyscan([s.camera], s.energy, 400.0, 402.0, 2.0, triggers=triggers))
    assert (s.get(s.pgm.setpoint), len(s.documents)) == before


@pytest.mark.parametrize(
    ("options", "kind", "sentence"),
    [
        (
            {"trigger": "zebra", "step": 0.05},
            TypeError,
            "flyscan has no trigger and no step any more",
        ),
        ({"exposure": 0.05}, TypeError, r"give triggers=Triggers\(box, step="),
        ({"triggers": {"box": "zebra", "step": 0.05}, "period": 0.1}, PreflightError, "own"),
        ({"triggers": "zebra"}, PreflightError, "'zebra' asks for no triggers"),
        ({"triggers": {"step": 0.05}}, PreflightError, "asks for no triggers"),
    ],
)
def test_what_asks_for_triggers_in_another_form_is_told_the_right_one(
    simulated, options, kind, sentence
):
    s = simulated
    with pytest.raises(kind, match=sentence):
        s.run_engine(flyscan([s.camera], s.energy, 400.0, 402.0, 2.0, **options))
    assert not s.documents
