"""One flight over real Channel Access: rows, raw streams, documents, and every way out."""

import threading

import numpy as np
import pytest
from bluesky.utils import RunEngineInterrupted

from glidepath.physics import fit_series
from glidepath.plans import flyscan
from glidepath.timeline import Channel, ChannelKind, window_values
from glidepath.trajectory import PreflightError


def check_rows(table, name, low, high):
    """Check what every table must be: inside, contiguous in time, never twice."""
    assert np.all(table[f"{name}_lower"] >= low)
    assert np.all(table[f"{name}_upper"] <= high)
    assert np.all(np.diff(table["sample_time"]) > 0)
    np.testing.assert_allclose(
        np.diff(table["sample_time"]), table["sample_duration"][1:], atol=1e-6
    )
    # An axis that stands has noise only: its mean may lie beyond both ends.
    noise = 0.005
    assert np.all(table[f"{name}_lower"] <= table[name] + noise)
    assert np.all(table[name] <= table[f"{name}_upper"] + noise)


@pytest.mark.parametrize(("start", "stop"), [(399.0, 403.0), (403.0, 399.0)])
def test_an_energy_scan_fills_its_range_with_rows(simulated, start, stop):
    s = simulated
    s.run_engine(flyscan([s.mesh, s.sample, s.ring], s.energy, start, stop, 2.0, period=0.04))
    run = s.run()
    table = run.primary
    check_rows(table, "energy", 399.0, 403.0)
    rows = len(table["energy"])
    assert 46 <= rows <= 50  # 2 s of 0.04 s; the two ends need not fall on a row
    assert np.all(np.sign(stop - start) * np.diff(table["energy"]) > 0)
    assert run.stop["exit_status"] == "success"
    assert run.stop["num_events"]["primary"] == rows == run.verdict["rows"]
    assert run.start["preflight"]["rows"] == 50
    # The N2 line is where it is, whatever the direction.
    assert (
        abs(fit_series(table["energy"], table["sample"] / table["mesh"]).first_line - 400.88) < 0.01
    )


def test_settings_are_as_they_were_after_a_scan(simulated):
    s = simulated
    signals = {
        "sweep start": s.pgm.sweep.start,
        "sweep end": s.pgm.sweep.end,
        "sweep velocity": s.pgm.sweep.velocity,
        "undulator on": s.pgm.id_on,
        "control mode": s.ue48.control_mode,
        "integration": s.mesh.nplc,
        "filter": s.mesh.filter_count,
        "deadband": s.mesh.deadband,
    }
    before = {name: s.get(signal) for name, signal in signals.items()}
    s.run_engine(flyscan([s.mesh], s.energy, 400.0, 401.0, 2.0, period=0.02))
    assert s.stop["exit_status"] == "success"
    assert {name: s.get(signal) for name, signal in signals.items()} == before


def test_the_raw_streams_give_the_primary_again(simulated):
    s = simulated
    s.run_engine(flyscan([s.mesh, s.sample], s.energy, 400.0, 402.0, 2.0))
    run = s.run()
    table = run.primary
    lower = table["sample_time"] - table["sample_duration"] / 2
    upper = table["sample_time"] + table["sample_duration"] / 2
    for name, channel in {
        "energy": Channel("energy", ChannelKind.READBACK),
        "ue48_gap": Channel("ue48_gap", ChannelKind.READBACK),
        "mesh": Channel("mesh", ChannelKind.DETECTOR, aperture=0.1),
        "sample": Channel("sample", ChannelKind.DETECTOR, aperture=0.1),
    }.items():
        raw = run.raw[name]
        again = window_values(channel, raw["time"], raw["value"], lower, upper)
        np.testing.assert_allclose(again.mean, table[name], rtol=1e-6)
    law = s.ue48.curve
    np.testing.assert_allclose(table["ue48_energy"], law.energy(table["ue48_gap"]))
    np.testing.assert_allclose(table["tracking_error"], table["ue48_energy"] - table["energy"])


def test_every_channel_has_a_raw_stream_of_its_own_rate(simulated):
    s = simulated
    s.run_engine(flyscan([s.mesh, s.ring], s.energy, 400.0, 401.0, 1.0, period=0.02))
    run = s.run()
    assert set(run.raw) == {"energy", "ue48_gap", "mesh", "ring_current", "ring_blankout"}
    for name, raw in run.raw.items():
        assert run.stop["num_events"][name] == len(raw["time"])
        assert np.all(np.diff(raw["time"]) > 0)
    assert len(run.raw["mesh"]["time"]) > 3 * len(run.raw["energy"]["time"])
    # The run-up is in the raw stream, not in the table.
    assert run.raw["energy"]["value"].min() < 400.0 <= run.primary["energy_lower"].min()


def test_documents_are_counted_by_time_not_by_samples(simulated):
    s = simulated
    s.run_engine(flyscan([s.mesh], s.energy, 400.0, 404.0, 2.0, period=0.02))
    run = s.run()
    assert len(s.named("event")) == 1  # the verdict
    assert len(s.named("event_page")) == 0
    primary = run.descriptors["primary"]["uid"]
    datums = [d for d in s.named("stream_datum") if d["descriptor"] == primary]
    flushes = len(datums) / len(run.descriptors["primary"]["data_keys"])
    assert flushes < len(run.primary["energy"]) / 8


def test_a_motor_flies_at_constant_velocity_and_gets_its_velocity_back(simulated):
    s = simulated
    before = s.get(s.mono_motor.velocity)
    s.run_engine(flyscan([s.mesh], s.mono_motor, 400.0, 402.0, 1.0, period=0.1))
    run = s.run()
    assert run.stop["exit_status"] == "success"
    check_rows(run.primary, "mono_motor", 400.0, 402.0)
    assert len(run.primary["quality"]) in (18, 19, 20)
    assert s.get(s.mono_motor.velocity) == before != 1.0


def test_a_motor_without_velocity_limit_flies(simulated):
    s = simulated
    assert s.get(s.m2.max_velocity) == 0.0
    s.run_engine(flyscan([s.mesh], s.m2, 0.0, 10.0, 10.0, period=0.1))
    assert s.stop["exit_status"] == "success"


def refuse(simulated, sentence, *args, **kwargs):
    s = simulated
    before = s.get(s.pgm.setpoint), s.get(s.mono_motor.user_setpoint)
    with pytest.raises((PreflightError, ValueError), match=sentence):
        s.run_engine(flyscan(*args, **kwargs))
    assert s.documents == []
    assert (s.get(s.pgm.setpoint), s.get(s.mono_motor.user_setpoint)) == before


def test_what_cannot_be_flown_is_refused_in_one_sentence_and_nothing_moves(simulated):
    s = simulated
    refuse(s, "its range is", [s.mesh], s.energy, 1.0, 470.0, 1.0)
    refuse(s, "of run-up beyond 100.1 eV", [s.mesh], s.mono_motor, 100.1, 120.0, 5.0)
    refuse(s, "its highest velocity is", [s.mesh], s.energy, 370.0, 470.0, 1e3)
    refuse(s, "Not one row", [s.mesh], s.energy, 400.0, 400.1, 5.0)
    refuse(s, "start and stop must differ", [s.mesh], s.energy, 400.0, 400.0, 1.0)
    refuse(s, "above zero", [s.mesh], s.energy, 370.0, 470.0, -1.0)
    refuse(s, "finite", [s.mesh], s.energy, float("nan"), 470.0, 1.0)
    refuse(s, "must be a finite number", [s.mesh], s.energy, "here", 470.0, 1.0)
    refuse(s, "above zero", [s.mesh], s.energy, 370.0, 470.0, 1.0, period=0.0)
    refuse(s, "mesh cannot integrate", [s.mesh], s.energy, 400.0, 420.0, 0.5, period=11.0)
    refuse(s, "cannot be flown", [s.mesh], s.ring, 370.0, 470.0, 1.0)
    refuse(s, "cannot be sampled", [object()], s.energy, 370.0, 470.0, 1.0)
    refuse(s, "named twice", [s.mesh, s.mesh], s.energy, 370.0, 470.0, 1.0)
    refuse(s, r"^detectors must be a list, such as \[mesh\]\.$", s.mesh, s.energy, 370, 470, 1.0)
    refuse(s, r"^detectors must be a list, such as \[mesh\]\.$", "mesh", s.energy, 370, 470, 1.0)
    refuse(s, r"^detectors must be a list, such as \[mesh\]\.$", None, s.energy, 370, 470, 1.0)


def test_a_stalled_sweep_fails_with_the_rows_so_far(simulated):
    s = simulated
    stall = threading.Timer(3.0, lambda: s.put("FAULT:sweep_stall", 1))
    stall.start()
    try:
        with pytest.raises(Exception, match="stalled at"):
            s.run_engine(flyscan([s.mesh], s.energy, 400.0, 440.0, 2.0, period=0.1))
    finally:
        stall.join()
        s.put("FAULT:sweep_stall", 0)
    run = s.run()
    assert run.stop["exit_status"] == "fail"
    assert "stalled at" in run.stop["reason"]
    assert "\n" not in run.stop["reason"]
    assert len(run.primary["energy"]) == run.stop["num_events"]["primary"] > 3
    check_rows(run.primary, "energy", 400.0, 440.0)
    assert s.get(s.pgm.status) == 0


def test_a_sweep_that_never_gets_ready_says_so(simulated, monkeypatch):
    from glidepath.flyers.motion import controller_sweep

    s = simulated
    bounds = controller_sweep.SweepBounds(ready=1.0)
    monkeypatch.setattr(controller_sweep.ControllerSweep, "bounds", bounds, raising=False)
    monkeypatch.setattr(controller_sweep, "SLOWEST_APPROACH", 5.0)
    s.put("FAULT:sweep_init_never_ready", 1)
    try:
        with pytest.raises(Exception, match="did not get ready"):
            s.run_engine(flyscan([s.mesh], s.energy, 400.0, 410.0, 2.0))
    finally:
        s.put("FAULT:sweep_init_never_ready", 0)
    assert s.stop["exit_status"] == "fail"
    assert "did not get ready" in s.stop["reason"]


def test_the_state_of_the_sweep_before_misleads_nobody(simulated):
    s = simulated
    for start, stop in [(400.0, 401.0), (401.0, 400.0), (400.0, 401.0)]:
        s.run_engine(flyscan([s.mesh], s.energy, start, stop, 2.0, period=0.02))
        run = s.run()
        assert run.stop["exit_status"] == "success"
        check_rows(run.primary, "energy", 400.0, 401.0)
        assert len(run.primary["energy"]) >= 22


@pytest.mark.parametrize("how", ["abort", "stop"])
def test_an_interrupted_scan_stands_and_says_why(simulated, how):
    s = simulated
    engine = s.run_engine

    def interrupt(name, document):
        # Once rows have been announced: the scan is in mid flight.
        if name == "stream_datum" and not started.is_set():
            started.set()

    started = threading.Event()

    def act():
        started.wait(30)
        {"abort": engine.abort, "stop": engine.stop}[how]()

    engine.subscribe(interrupt)
    actor = threading.Thread(target=act)
    actor.start()
    with pytest.raises(RunEngineInterrupted):
        engine(flyscan([s.mesh], s.energy, 400.0, 440.0, 2.0, period=0.1))
    actor.join()
    assert s.stop["exit_status"] == "abort"
    assert "user" in s.stop["reason"]
    assert s.get(s.pgm.status) == 0
    position = s.get(s.pgm.readback)
    assert abs(s.get(s.pgm.readback) - position) < 0.02
    run = s.run()
    assert len(run.primary["energy"]) == run.stop["num_events"].get("primary", 0)


def test_an_error_in_mid_flight_leaves_no_axis_flying(simulated, monkeypatch):
    from glidepath.flyers.sampling import sampler

    s = simulated
    calls = []

    async def fail_in_flight(self, *others):
        calls.append(await s.pgm.status.get_value())
        if len(calls) > 6:
            raise RuntimeError("the disk is full")
        await flushed(self, *others)

    flushed = sampler.Sampler.flushed
    monkeypatch.setattr(sampler.Sampler, "flushed", fail_in_flight)
    with pytest.raises(Exception, match="the disk is full"):
        s.run_engine(flyscan([s.mesh], s.energy, 400.0, 440.0, 2.0, period=0.1))
    assert calls[-1] != 0  # the axis was moving when it happened
    assert s.get(s.pgm.status) == 0
    assert s.stop["exit_status"] == "fail"
    assert s.stop["reason"] == "the disk is full."
    run = s.run()
    assert len(run.primary["energy"]) == run.stop["num_events"]["primary"] > 3


def test_a_write_that_fails_unseen_is_no_success(simulated, monkeypatch):
    from glidepath.flyers.sampling import sampler

    s = simulated
    writes = []
    append = sampler.append

    def fail_once(*arguments):
        writes.append(arguments)
        if len(writes) == 4:
            raise OSError("No space left on device")
        append(*arguments)

    async def look_away(self, landed):
        # The plan does not happen to look at the sampler before the flight has ended.
        await landed()

    monkeypatch.setattr(sampler, "append", fail_once)
    monkeypatch.setattr(sampler.Sampler, "flushed", look_away)
    with pytest.raises(Exception, match="No space left"):
        s.run_engine(flyscan([s.mesh], s.energy, 400.0, 406.0, 2.0, period=0.1))
    assert s.stop["exit_status"] == "fail"
    assert "No space left" in s.stop["reason"]
    assert s.get(s.pgm.status) == 0


def test_an_abort_while_the_monitors_open_leaves_nothing_open(simulated, monkeypatch):
    import asyncio

    from glidepath.flyers.monitors import ingestion

    s = simulated
    opening, opened = threading.Event(), threading.Event()
    open_monitors = ingestion.ChosenMonitors.open

    async def open_slowly(self, *arguments):
        opening.set()
        await asyncio.sleep(0.5)
        await open_monitors(self, *arguments)
        opened.set()

    monkeypatch.setattr(ingestion.ChosenMonitors, "open", open_slowly)

    def act():
        opening.wait(30)
        s.run_engine.abort()

    actor = threading.Thread(target=act)
    actor.start()
    with pytest.raises(RunEngineInterrupted):
        s.run_engine(flyscan([s.mesh], s.energy, 400.0, 406.0, 2.0, period=0.1))
    actor.join()
    assert s.stop["exit_status"] == "abort"

    # The opening that was under way has ended, and nobody samples into a file now or soon.
    assert opened.is_set()

    async def sampling_soon():
        for _ in range(20):
            await asyncio.sleep(0.02)
            if [task for task in asyncio.all_tasks() if "sampler" in task.get_name()]:
                return True
        return False

    assert not s.call(sampling_soon())


def test_a_detector_that_does_not_answer_is_named_and_nothing_moves(simulated):
    s = simulated
    before = s.get(s.pgm.setpoint)

    class Deaf:
        name = "deaf"
        parent = None

        async def channels(self):
            from glidepath.devices.sampled import SampledChannel

            return [
                SampledChannel(Channel("deaf", ChannelKind.STATE), "ca://" + s.prefix + "NOWHERE")
            ]

    with pytest.raises(Exception, match=r"deaf \(.*NOWHERE\)"):
        s.run_engine(flyscan([Deaf()], s.energy, 400.0, 410.0, 2.0))
    assert s.stop["exit_status"] == "fail"
    assert s.get(s.pgm.setpoint) == before


def test_every_document_is_valid(simulated):
    from event_model import DocumentNames, schema_validators

    s = simulated
    s.run_engine(flyscan([s.mesh], s.energy, 400.0, 401.0, 2.0, period=0.04))
    for name, document in s.documents:
        schema_validators[DocumentNames[name]].validate(document)


def test_a_clock_that_is_off_is_named_before_the_flight(simulated, beamline):
    s = simulated
    with pytest.raises(Exception, match=r"clock of the server of .*energy.* this machine"):
        s.run_engine(flyscan([s.mesh], s.energy, 400.0, 401.0, 2.0, clock_bound=1e-6))
    assert s.stop["exit_status"] == "fail"
    assert "synchronise the clocks" in s.stop["reason"]


def test_the_verdict_tells_what_each_channel_did(simulated):
    import json

    s = simulated
    s.run_engine(flyscan([s.mesh], s.energy, 400.0, 401.0, 2.0, period=0.04))
    run = s.run()
    channels = json.loads(run.verdict["channels"])
    assert set(channels) == {"energy", "ue48_gap", "mesh"}
    assert channels["mesh"]["updates"] == len(run.raw["mesh"]["time"])
    assert channels["mesh"]["lost"] == 0
    assert 0 < channels["mesh"]["clock_offset"] < 1
    assert run.stop["reason"].startswith(f"{run.verdict['rows']} rows")
