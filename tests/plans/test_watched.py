"""What goes wrong in flight without an error of its own: it is seen, and said, in every mode."""

import asyncio
import contextlib
import threading
import time

import numpy as np
import pytest
from bluesky.utils import FailedStatus, RunEngineInterrupted

from glidepath import Triggers
from glidepath.devices import SampledChannel
from glidepath.flyers.motion.back_end import FlightError
from glidepath.plans import flyscan
from glidepath.timeline import Channel, ChannelKind, Quality
from glidepath.trajectory import PreflightError

BOUND = 20.0


class Sampled:
    """A channel of the simulated beamline under another name."""

    parent = None

    def __init__(self, simulated, name, pv="KEI1:rdCur"):
        self.name = name
        self._source = f"ca://{simulated.prefix}{pv}"

    async def channels(self):
        channel = Channel(self.name, ChannelKind.DETECTOR, "A", aperture=0.05)
        return [SampledChannel(channel, self._source)]


def beyond(simulated, energy, act):
    """Do something once, in a thread, when the axis has passed an energy in flight."""

    def wait():
        deadline = time.monotonic() + BOUND
        while simulated.get(simulated.pgm.readback) < energy and time.monotonic() < deadline:
            time.sleep(0.01)
        act()

    def look(message):
        if message.command == "complete" and message.obj.name == "energy_flight":
            simulated.run_engine.msg_hook = None
            threading.Thread(target=wait).start()

    simulated.run_engine.msg_hook = look


def test_frames_of_the_way_back_between_passes_are_no_rows_of_a_camera_by_its_own_clock(simulated):
    s = simulated
    plan = flyscan(
        [s.camera], s.energy, 400.0, 402.0, 2.0, triggers=Triggers(s.camera, period=0.025), passes=2
    )
    s.run_engine(plan)
    run = s.run()
    table = run.primary
    assert run.stop["exit_status"] == "success", run.stop
    for number in (1, 2):
        of_pass = table["pass_number"] == number
        assert np.sum(of_pass) in (37, 38, 39, 40)
        # In the direction of travel, one after the other.
        assert np.all(np.diff(table["energy"][of_pass]) > 0)
        assert np.ptp(table["sample_time"][of_pass]) < 1.1


@pytest.mark.parametrize("trigger", ["zebra", "camera"])
def test_an_exposure_that_is_changed_by_hand_in_a_triggered_scan_marks_the_rows(simulated, trigger):
    s = simulated
    before = s.get(s.camera.driver.acquire_time)
    beyond(s, 401.0, lambda: s.put("CAM1:cam1:AcquireTime", 0.003))
    options = {"step": 0.05} if trigger == "zebra" else {"period": 0.025}
    plan = flyscan(
        [s.camera],
        s.energy,
        400.0,
        406.0,
        2.0,
        triggers=Triggers(getattr(s, trigger), exposure=0.01, **options),
    )
    # Frames that end earlier than they should can be so many that the scan is ended: by the
    # sampler while it waits, or by the plan's own look. It says the same then, whoever saw it.
    try:
        s.run_engine(plan)
    except (FailedStatus, FlightError):
        assert s.stop["exit_status"] == "fail"
        assert "more than 5 % of the triggers went wrong, so the scan was ended" in s.stop["reason"]
    else:
        assert s.stop["exit_status"] == "success"
    run = s.run()
    changed = run.primary["quality"] & Quality.CHANGED != 0
    first = int(np.argmax(changed))
    assert np.any(changed), run.stop
    assert first > 5
    assert np.all(changed[first:])
    assert "the exposure of camera was changed" in run.verdict["verdict"]
    assert "from 0.01 to 0.003" in run.verdict["verdict"]
    # What the scan had set is put back all the same.
    assert s.get(s.camera.driver.acquire_time) == pytest.approx(before)


@pytest.mark.parametrize("trigger", ["zebra", "camera"])
def test_what_is_armed_while_a_scan_is_stopped_is_put_back_too(simulated, trigger, monkeypatch):
    from glidepath.detectors.camera.setup import Setup

    s = simulated
    driver, capture = s.camera.driver, s.camera.hdf.capture
    signals = [driver.acquire_time, driver.num_images, driver.acquire, capture]
    before = [s.get(signal) for signal in signals]
    prime = Setup.prime

    async def slowly(self, *others):
        threading.Thread(target=s.run_engine.stop).start()
        await asyncio.sleep(1.0)
        return await prime(self, *others)

    monkeypatch.setattr(Setup, "prime", slowly)
    options = {"step": 0.05} if trigger == "zebra" else {"period": 0.025}
    plan = flyscan(
        [s.camera],
        s.energy,
        400.0,
        402.0,
        2.0,
        triggers=Triggers(getattr(s, trigger), exposure=0.0137, **options),
    )
    with contextlib.suppress(RunEngineInterrupted):
        s.run_engine(plan)
    assert s.stop["exit_status"] == "abort", s.stop
    assert [s.get(signal) for signal in signals] == before
    assert s.get(s.camera.driver.acquire) == 0
    assert s.get(s.pgm.status) == 0


@pytest.mark.parametrize("trigger", ["zebra", "camera"])
def test_a_capture_that_is_ended_by_hand_is_no_success(simulated, trigger):
    s = simulated
    beyond(s, 401.0, lambda: s.put("CAM1:HDF1:Capture", 0))
    options = {"step": 0.05} if trigger == "zebra" else {"period": 0.025}
    plan = flyscan(
        [s.camera], s.energy, 400.0, 406.0, 2.0, triggers=Triggers(getattr(s, trigger), **options)
    )
    with pytest.raises(Exception, match=r"camera|rows"):
        s.run_engine(plan)
    assert s.stop["exit_status"] == "fail"
    assert s.stop["reason"].count("..") == 0
    assert s.get(s.pgm.status) == 0


def test_a_range_in_which_there_may_be_no_row_is_refused_and_two_rows_are_flown(simulated):
    s = simulated
    detector = Sampled(s, "diode")
    before = len(s.documents)
    with pytest.raises(PreflightError, match=r"Only one row of 0\.1 s fits.*there may be none"):
        s.run_engine(flyscan([detector], s.energy, 400.0, 400.3, 2.0, period=0.1))
    assert len(s.documents) == before
    s.run_engine(flyscan([detector], s.energy, 400.0, 400.4, 2.0, period=0.1))
    assert s.stop["exit_status"] == "success", s.stop
    assert s.stop["num_events"]["primary"] in (1, 2)


def test_a_triggered_scan_of_what_cannot_be_triggered_is_refused_in_a_sentence(simulated):
    s = simulated
    before = len(s.documents)
    detectors = [Sampled(s, "diode")]
    with pytest.raises(PreflightError, match="None of the detectors can be triggered by zebra"):
        s.run_engine(
            flyscan(detectors, s.energy, 400.0, 402.0, 2.0, triggers=Triggers(s.zebra, step=0.05))
        )
    assert len(s.documents) == before


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["quality"], "'quality' cannot be used, for the table has a column"),
        (["sample_time"], "'sample_time' cannot be used"),
        (["energy_lower"], "'energy_lower' cannot be used"),
        (["mesh", "mesh_count"], "'mesh_count' cannot be used"),
        (["verdict"], "cannot be named 'verdict', for the run has a stream"),
        (["primary"], "cannot be named 'primary'"),
        (["baseline"], "cannot be named 'baseline'"),
        (["a/b"], "'/' is not possible in a name"),
        (["x.y"], r"'\.' is not possible in a name"),
        (["tab\there"], "is not possible in a name"),
        ([" "], "is not possible in a name"),
        (["\udc80"], "is not possible in a name"),
    ],
)
def test_names_that_a_run_cannot_hold_are_refused_before_it_is_opened(simulated, names, sentence):
    s = simulated
    before = len(s.documents)
    pvs = ("KEI1:rdCur", "KEI2:rdCur")
    detectors = [Sampled(s, name, pv) for name, pv in zip(names, pvs, strict=False)]
    with pytest.raises(PreflightError, match=sentence):
        s.run_engine(flyscan(detectors, s.energy, 400.0, 401.0, 2.0, period=0.1))
    assert len(s.documents) == before
