"""The simulated camera over Channel Access: dead time, triggers, plugins, and what it looks at."""

import numpy as np
import pytest
from channel_client import truth_until, wait_until

from glidepath.simulation.area_detector import EPICS_EPOCH
from glidepath.simulation.camera import DEAD_TIME
from glidepath.simulation.spot import make_images, spot_width, statistics

PERIOD = 0.01


@pytest.fixture
def camera(at_rest):
    """The camera, triggered by pulses, stopped and without faults."""
    settings = {
        "ImageMode": "Continuous",
        "TriggerMode": "On",
        "TriggerSource": "Line1",
        "ExposureMode": "Timed",
    }
    at_rest.put("CAM1:cam1:Acquire", "Done")
    for name, value in settings.items():
        at_rest.put(f"CAM1:cam1:{name}", value)
    at_rest.put("PULSE:Period", PERIOD)
    at_rest.put("CAM1:cam1:ArrayCounter", 0)
    yield at_rest
    at_rest.put("CAM1:cam1:Acquire", "Done")


def expose(camera, pulses, exposure):
    """Arm the camera, send it pulses, and return how many frames it made."""
    camera.put("CAM1:cam1:AcquireTime", exposure)
    camera.put("CAM1:cam1:Acquire", "Acquire", wait=False)
    camera.wait_for("CAM1:cam1:Acquire_RBV", lambda state: state == 1)
    camera.put("PULSE:Number", pulses)
    camera.put("PULSE:Start", 1)
    camera.wait_for("PULSE:Sent", lambda sent: sent == pulses)
    # Frames come in order, and one of the last two pulses makes one.
    last = camera.get("PULSE:First") + (pulses - 2) * PERIOD - EPICS_EPOCH
    camera.wait_for("CAM1:cam1:TimeStamp_RBV", lambda stamp: stamp > last + exposure)
    return lambda: camera.get("CAM1:cam1:ArrayCounter_RBV")


def test_the_dead_time_is_exact(camera):
    tight = PERIOD - DEAD_TIME
    made = expose(camera, 20, tight - 2e-6)
    wait_until(lambda: made() == 20)
    camera.put("CAM1:cam1:Acquire", "Done")
    camera.put("CAM1:cam1:ArrayCounter", 0)
    # A little longer, and every second trigger falls into the dead time.
    made = expose(camera, 20, tight + 2e-6)
    wait_until(lambda: made() == 10)


def test_pulses_are_seen_only_from_when_it_says_that_it_is_ready(camera):
    camera.put("PULSE:Number", 5)
    camera.put("PULSE:Start", 1)
    camera.wait_for("PULSE:Sent", lambda sent: sent == 5)
    made = expose(camera, 3, 0.002)
    wait_until(lambda: made() == 3)


def test_exposures_are_in_the_truth(camera, simulated):
    made = expose(camera, 4, 0.004)
    wait_until(lambda: made() == 4)
    first = camera.get("PULSE:First")
    with truth_until(simulated.settings.truth, first + 1.0) as truth:
        exposures = truth.exposures("CAM1")
    mine = exposures["start"] > first - 0.001
    assert exposures["start"][mine] == pytest.approx(first + PERIOD * np.arange(4), abs=1e-6)
    assert exposures["stop"][mine] - exposures["start"][mine] == pytest.approx(0.004, abs=1e-6)
    assert exposures["signal"][mine] == pytest.approx(3e7 * 0.004, rel=0.05)


def test_plugins_see_nothing_until_they_are_enabled(camera):
    camera.put("CAM1:Stats1:EnableCallbacks", "Disable")
    before = camera.get("CAM1:Stats1:ArrayCounter_RBV")
    made = expose(camera, 3, 0.002)
    wait_until(lambda: made() == 3)
    assert camera.get("CAM1:Stats1:ArrayCounter_RBV") == before
    camera.put("CAM1:Stats1:EnableCallbacks", "Enable")
    camera.put("PULSE:Start", 1)
    camera.wait_for("CAM1:Stats1:ArrayCounter_RBV", lambda count: count == before + 3)


def test_a_capture_needs_an_array_first(camera):
    # The session's camera has sent nothing to this plugin yet.
    camera.put("CAM1:HDF1:FileWriteMode", "Stream")
    camera.put("CAM1:HDF1:LazyOpen", "No")
    camera.put("CAM1:HDF1:Capture", "Capture")
    assert camera.text("CAM1:HDF1:WriteStatus") == "Write error"
    assert camera.text("CAM1:HDF1:Capture_RBV") == "Done"


def test_the_spot_is_smallest_at_its_focus_and_its_moments_are_what_was_put_in():
    focus = np.arange(-1200.0, -1100.0, 0.5)
    x, y = spot_width(focus)
    assert -1152 < focus[np.argmin(x)] < -1148
    assert -1152 < focus[np.argmin(y)] < -1147
    counts = np.full(len(focus), 5e5)
    found = statistics(make_images(counts, focus, np.random.default_rng(1)), 5.0)
    assert found["total"] == pytest.approx(counts, rel=0.01)
    # Below the threshold the wings of a wide spot are cut.
    assert found["sigma_x"] == pytest.approx(x, rel=0.03)
    assert found["sigma_y"] == pytest.approx(y, rel=0.03)


def test_the_same_seed_gives_the_same_frames_in_whatever_portions():
    counts, focus = np.full(6, 1e5), np.full(6, -1150.0)
    at_once = make_images(counts, focus, np.random.default_rng(3))
    generator = np.random.default_rng(3)
    in_parts = [make_images(counts[k : k + 2], focus[k : k + 2], generator) for k in (0, 2, 4)]
    assert np.array_equal(at_once, np.concatenate(in_parts))
