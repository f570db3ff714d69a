"""The fast electrometer over Channel Access: frames by the trigger, none moved, none silent."""

import asyncio

import numpy as np
import pytest

from glidepath.detectors import FrameSource, QuadElectrometer, TriggerMode

pytestmark = pytest.mark.asyncio(loop_scope="module")

BEGIN_ACCURACY = 5e-4
"""Timestamps of frames scatter by some 20 us; more only if the server is held up."""


@pytest.fixture
def quad(bench) -> QuadElectrometer:
    return bench.devices["quad"]


async def test_it_is_a_triggered_detector_and_names_what_it_can(quad):
    assert isinstance(quad, FrameSource)
    assert quad.columns() == {"quad_mesh": "A", "quad_sample": "A"}
    assert await quad.trigger_modes() == set(TriggerMode)
    assert 1e-4 < await quad.dead_time() < 3e-4
    assert quad.file() is None


async def test_every_trigger_makes_one_frame_that_began_with_it(bench, quad):
    await quad.arm(bench.settings(300, 500.0))
    times = await bench.pulses(300, 500.0)
    frames = await bench.collect(quad, 300)
    assert frames.numbers.tolist() == list(range(300))
    assert np.all(np.abs(frames.begins - times) < BEGIN_ACCURACY)
    assert frames.ends - frames.begins == pytest.approx(0.9 / 500, abs=5e-5)
    assert np.all(frames.values["quad_mesh"] > 1e-10)
    assert np.all(np.isfinite(frames.values["quad_sample"]))
    assert await quad.dropped() == 0


async def test_more_frames_than_its_waveforms_hold(bench, quad):
    await quad.arm(bench.settings(3000, 1000.0, exposure=0.0008))
    times = await bench.pulses(3000, 1000.0)
    frames = await bench.collect(quad, 3000)
    assert frames.numbers.tolist() == list(range(3000))
    assert np.all(np.abs(frames.begins - times) < BEGIN_ACCURACY)


async def test_frames_that_nobody_read_in_time_leave_a_gap(bench, quad):
    await quad.arm(bench.settings(3000, 1500.0, exposure=0.0005))
    times = await bench.pulses(3000, 1500.0)
    assert len((await bench.collect_some(quad)).numbers) > 0
    await bench.until_sent(3000)
    frames = await bench.collect_rest(quad, times[-1])
    gap = np.diff(frames.numbers)
    assert np.sum(gap > 1) == 1
    # Behind the gap the numbers are right again, or nearly: a few frames were under way.
    behind = int(np.argmax(gap)) + 1
    expected = np.round((frames.begins[behind:] - times[0]) * 1500)
    assert np.all(np.abs(frames.numbers[behind:] - expected) <= 30)


async def test_a_missed_trigger_shifts_no_frame(bench, quad):
    await bench.fault("QE1_miss", "0, 7 8")
    await quad.arm(bench.settings(40, 200.0))
    times = await bench.pulses(40, 200.0)
    frames = await bench.collect(quad, 37)
    seen = np.delete(times, [0, 7, 8])
    assert frames.numbers.tolist() == list(range(37))
    assert np.all(np.abs(frames.begins - seen) < BEGIN_ACCURACY)


async def test_an_extra_trigger_makes_a_frame_of_its_own(bench, quad):
    await bench.fault("QE1_extra", "5")
    await bench.fault("QE1_extra_after", 0.005)
    await quad.arm(bench.settings(20, 100.0, exposure=0.002))
    times = await bench.pulses(20, 100.0)
    frames = await bench.collect(quad, 21)
    assert frames.begins[6] == pytest.approx(times[5] + 0.005, abs=BEGIN_ACCURACY)


async def test_triggers_that_come_too_fast_are_not_seen(bench, quad):
    await quad.arm(bench.settings(20, 100.0, exposure=0.009))
    times = await bench.pulses(40, 200.0)
    frames = await bench.collect(quad, 20)
    assert np.all(np.abs(frames.begins - times[::2]) < BEGIN_ACCURACY)


async def test_dropped_frames_are_counted(bench, quad):
    await bench.fault("QE1_drop", "3, 4")
    await quad.arm(bench.settings(20, 200.0))
    await bench.pulses(20, 200.0)
    frames = await bench.collect(quad, 18)
    assert len(frames.numbers) == 18
    assert await quad.dropped() == 2


async def test_the_exposure_lasts_as_long_as_the_pulse(bench, quad):
    await quad.arm(bench.settings(20, 100.0, TriggerMode.LEVEL))
    times = await bench.pulses(20, 100.0, width=0.0047)
    frames = await bench.collect(quad, 20)
    assert np.all(np.abs(frames.begins - times) < BEGIN_ACCURACY)
    assert frames.ends - frames.begins == pytest.approx(0.0047, abs=5e-5)


async def test_its_own_clock_makes_frames_without_a_gap(bench, quad):
    await quad.arm(bench.settings(0, 200.0, TriggerMode.INTERNAL))
    frames = await bench.collect(quad, 100)
    assert np.diff(frames.begins) == pytest.approx(0.005, abs=BEGIN_ACCURACY)
    assert frames.ends - frames.begins == pytest.approx(0.005, abs=1e-6)


async def test_what_it_was_set_to_is_put_back_and_it_runs_on(bench, quad):
    names = ("AveragingTime_RBV", "TriggerMode_RBV", "Acquire_RBV")
    names += ("Current1:TS:TSRead.SCAN", "Current2:TS:TSAcquireMode_RBV")
    before = [await bench.get(f"QE1:{name}") for name in names]
    await quad.arm(bench.settings(5, 200.0))
    assert [await bench.get(f"QE1:{name}") for name in names] != before
    await quad.disarm()
    assert await bench.get("QE1:Acquire_RBV") == 0
    await quad.restore()
    assert [await bench.get(f"QE1:{name}") for name in names] == before
    await quad.disarm()
    await quad.restore()
    assert await bench.get("QE1:Acquire_RBV") == 1


async def test_one_that_never_gets_ready_is_named(bench, quad, monkeypatch):
    await bench.fault("QE1_never_arms", 1)
    monkeypatch.setattr(quad, "_ready_within", 0.3)
    with pytest.raises(TimeoutError, match=r"QE1:Acquire_RBV did not become True within 0\.3 s"):
        await quad.arm(bench.settings(5, 200.0))
    await bench.put("FAULT:QE1_never_arms", 0)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"rate": 200.0, "exposure": 0.00499}, "expose for at most 4.85 ms or fly slower"),
        ({"rate": 200.0, "exposure": 1e-6}, "one sample takes 5e-05 s"),
        ({"rate": 200.0, "exposure": -1.0}, "cannot expose for -1 s"),
    ],
)
async def test_what_it_cannot_do_is_refused(bench, quad, settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        await quad.check_frames(bench.settings(10, **settings))
    await quad.check_frames(bench.settings(10, 200.0))


async def test_it_can_be_sampled_while_it_runs_freely(bench, quad):
    await quad.set_integration_time(0.02)
    mesh, sample = await quad.channels()
    assert (mesh.channel.name, sample.channel.name) == ("quad_mesh", "quad_sample")
    assert mesh.channel.aperture == pytest.approx(0.02)
    assert mesh.source.endswith("QE1:Current1:MeanValue_RBV")
    # As a detector of ophyd-async it is read after a trigger.
    await quad.trigger()
    reading = await quad.read()
    assert reading["quad_mesh"]["value"] > 1e-10
    await asyncio.gather(*(quad.set_integration_time(t) for t in (0.1,)))
