"""The counter over Channel Access: a bin for each trigger, on the scaler's own clock."""

import numpy as np
import pytest

from glidepath.detectors import Counter, FrameSource, TriggerMode

pytestmark = pytest.mark.asyncio(loop_scope="module")

BEGIN_ACCURACY = 2e-4
"""The clock of the counter is good to 20 ns; its begin was published with a time of the server."""


@pytest.fixture
def counter(bench) -> Counter:
    return bench.devices["counter"]


async def test_it_is_a_triggered_detector_and_names_what_it_can(counter):
    assert isinstance(counter, FrameSource)
    assert counter.columns() == {
        "counter_mesh": "counts",
        "counter_sample": "counts",
        "counter_time": "s",
    }
    assert await counter.trigger_modes() == {TriggerMode.INTERNAL, TriggerMode.EDGE}
    assert await counter.dead_time() == 0
    assert counter.file() is None


async def test_every_trigger_makes_one_bin_that_ends_with_the_next(bench, counter):
    await counter.arm(bench.settings(500, 1000.0))
    times = await bench.pulses(500, 1000.0)
    frames = await bench.collect(counter, 500)
    assert frames.numbers.tolist() == list(range(500))
    assert np.all(np.abs(frames.begins - times) < BEGIN_ACCURACY)
    assert np.all(np.abs(frames.ends[:-1] - times[1:]) < BEGIN_ACCURACY)
    assert frames.values["counter_time"] == pytest.approx(frames.ends - frames.begins, abs=1e-6)
    rates = frames.values["counter_mesh"] / frames.values["counter_time"]
    assert np.mean(rates) == pytest.approx(2e6, rel=0.1)
    assert await counter.dropped() == 0


async def test_the_last_bin_ends_by_itself_and_says_how_long_it_was(bench, counter):
    await counter.arm(bench.settings(10, 50.0))
    times = await bench.pulses(10, 50.0)
    frames = await bench.collect(counter, 10)
    assert len(frames.numbers) == 10
    assert frames.ends[-1] - times[-1] >= 1 / 50
    assert frames.values["counter_time"][-1] == pytest.approx(frames.ends[-1] - times[-1], abs=1e-3)


async def test_one_pulse_more_ends_the_last_bin_in_time(bench, counter):
    await counter.arm(bench.settings(10, 50.0))
    times = await bench.pulses(11, 50.0)
    frames = await bench.collect(counter, 10)
    assert np.abs(frames.ends[9] - times[10]) < BEGIN_ACCURACY


async def test_a_missed_trigger_makes_one_bin_long_and_shifts_none(bench, counter):
    await bench.fault("CNT1_miss", "0 7 8")
    await counter.arm(bench.settings(40, 200.0))
    times = await bench.pulses(40, 200.0)
    await bench.until_sent(40)
    frames = await bench.collect(counter, 36)
    seen = np.delete(times, [0, 7, 8])
    assert len(frames.numbers) == 37
    assert np.all(np.abs(frames.begins - seen) < BEGIN_ACCURACY)
    assert frames.values["counter_time"][5] == pytest.approx(0.015, abs=1e-4)


async def test_an_extra_trigger_cuts_a_bin_in_two(bench, counter):
    await bench.fault("CNT1_extra", "5")
    await counter.arm(bench.settings(20, 100.0))
    times = await bench.pulses(20, 100.0)
    frames = await bench.collect(counter, 20)
    assert len(frames.numbers) == 21
    assert frames.begins[6] == pytest.approx(times[5] + 0.002, abs=BEGIN_ACCURACY)
    assert frames.values["counter_time"][5:7] == pytest.approx([0.002, 0.008], abs=1e-4)


async def test_its_own_clock_makes_bins_without_a_gap(bench, counter):
    await counter.arm(bench.settings(0, 100.0, TriggerMode.INTERNAL))
    frames = await bench.collect(counter, 50)
    assert frames.values["counter_time"] == pytest.approx(0.01, abs=1e-6)
    assert np.array_equal(frames.begins[1:], frames.ends[:-1])


async def test_what_it_was_set_to_is_put_back(bench, counter):
    names = ("ChannelAdvance", "CountOnStart", "NuseAll", "Dwell", "scaler1.CONT")
    await bench.put("CNT1:scaler1.CONT", 1)
    before = [await bench.get(f"CNT1:{name}") for name in names]
    await counter.arm(bench.settings(5, 200.0))
    assert [await bench.get(f"CNT1:{name}") for name in names] != before
    await counter.disarm()
    assert await bench.get("CNT1:HardwareAcquiring") == 0
    await counter.restore()
    assert [await bench.get(f"CNT1:{name}") for name in names] == before
    await counter.disarm()
    await counter.restore()
    await bench.put("CNT1:scaler1.CONT", 0)


async def test_one_that_never_gets_ready_is_named(bench, counter, monkeypatch):
    await bench.fault("CNT1_never_arms", 1)
    monkeypatch.setattr(counter, "_ready_within", 0.3)
    with pytest.raises(TimeoutError, match=r"counter did not begin to count within 0\.3 s"):
        await counter.arm(bench.settings(5, 200.0))
    await bench.put("CNT1:StopAll", 1)


async def test_more_than_it_has_room_for_is_refused(bench, counter):
    with pytest.raises(ValueError, match="has room for 39998 frames, but 50000 were asked"):
        await counter.check_frames(bench.settings(50_000, 200.0))
    with pytest.raises(ValueError, match="cannot be triggered by 'level'; it can by edge"):
        await counter.check_frames(bench.settings(5, 200.0, TriggerMode.LEVEL))
    await counter.check_frames(bench.settings(5, 200.0, exposure=0.005))


async def test_the_clock_cannot_be_counted_as_something_else():
    with pytest.raises(ValueError, match="counts the clock"):
        Counter("CNT1:", "counter", inputs={1: "mesh"})


async def test_the_scaler_counts_for_a_preset_time(counter):
    await counter.scaler.set_integration_time(0.1)
    await counter.trigger()
    reading = await counter.read()
    assert reading["counter-elapsed"]["value"] == pytest.approx(0.1)
    assert reading["counter_mesh"]["value"] == pytest.approx(2e5, rel=0.1)
    with pytest.raises(ValueError, match="cannot count for 0 s"):
        counter.scaler.check_integration_time(0)
