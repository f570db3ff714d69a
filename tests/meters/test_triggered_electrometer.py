"""Keithley-type electrometers on the trigger line, over Channel Access."""

from collections.abc import AsyncIterator

import aioca
import numpy as np
import pytest
import pytest_asyncio

from glidepath.detectors import FrameSource, TriggeredElectrometer, TriggerMode
from glidepath.devices.settings import SettingError

pytestmark = pytest.mark.asyncio(loop_scope="module")

BEGIN_ACCURACY = 2e-4
"""The meter stamps the end of an exposure exactly; the begin of its buffer too."""


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["buffered", "monitored"])
async def meter(request, beamline) -> AsyncIterator[TriggeredElectrometer]:
    meter = TriggeredElectrometer(
        f"{beamline.prefix}KEI1:", "mesh", buffered=request.param == "buffered"
    )
    await meter.connect(timeout=10)
    yield meter
    aioca.purge_channel_caches()


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _at_rest(bench, meter) -> AsyncIterator[None]:
    yield
    await meter.disarm()
    await meter.restore()


async def test_it_is_a_triggered_detector_and_names_what_it_can(meter):
    assert isinstance(meter, FrameSource)
    assert meter.columns() == {"mesh": "A"}
    assert await meter.trigger_modes() == {TriggerMode.INTERNAL, TriggerMode.EDGE}
    assert await meter.dead_time() == 0.01
    assert meter.file() is None


async def test_every_trigger_makes_one_reading_that_began_with_it(bench, meter):
    settings = bench.settings(40, 25.0, exposure=0.02)
    await meter.check_frames(settings)
    await meter.arm(settings)
    times = await bench.pulses(40, 25.0)
    frames = await bench.collect(meter, 40)
    assert frames.numbers.tolist() == list(range(40))
    assert np.all(np.abs(frames.begins - times) < BEGIN_ACCURACY)
    assert frames.ends - frames.begins == pytest.approx(0.02, abs=1e-6)
    assert frames.values["mesh"] == pytest.approx(2e-9, rel=0.1)
    assert await meter.dropped() == 0


async def test_missed_and_extra_triggers_shift_no_frame(bench, meter):
    await bench.fault("KEI1_miss", "0 4")
    await bench.fault("KEI1_extra", "9")
    await bench.fault("KEI1_extra_after", 0.035)
    await meter.arm(bench.settings(15, 12.5, exposure=0.02))
    times = await bench.pulses(15, 12.5)
    frames = await bench.collect(meter, 14)
    expected = np.sort(np.append(np.delete(times, [0, 4]), times[9] + 0.035))
    assert np.all(np.abs(frames.begins - expected) < BEGIN_ACCURACY)


async def test_triggers_within_an_exposure_are_not_seen(bench, meter):
    await meter.arm(bench.settings(10, 12.5, exposure=0.06))
    times = await bench.pulses(20, 25.0)
    frames = await bench.collect(meter, 10)
    assert np.all(np.abs(frames.begins - times[::2]) < BEGIN_ACCURACY)


async def test_running_freely_exposures_follow_each_other(bench, meter):
    await meter.arm(bench.settings(20, 20.0, TriggerMode.INTERNAL, exposure=0.04))
    frames = await bench.collect(meter, 20)
    assert np.diff(frames.begins[1:]) == pytest.approx(0.04, abs=1e-4)


async def test_the_moving_average_is_off_while_it_is_armed_and_back_afterwards(bench, meter):
    names = ("rbkFiltAverCnt", "rbkIntegrTime", "rbkTrgSrc", "rdCur.MDEL")
    await bench.put("KEI1:setFiltAverCnt", 5)
    await bench.put("KEI1:rdCur.MDEL", 1e-15)
    before = [await bench.get(f"KEI1:{name}") for name in names]
    await meter.arm(bench.settings(5, 20.0, exposure=0.02))
    assert [await bench.get(f"KEI1:{name}") for name in names] == [1, 1.0, 1, -1.0]
    await meter.disarm()
    await meter.restore()
    assert [await bench.get(f"KEI1:{name}") for name in names] == before
    await bench.put("KEI1:setFiltAverCnt", 1)
    await bench.put("KEI1:rdCur.MDEL", -1.0)


async def test_a_reading_out_of_range_is_not_a_number(bench, meter):
    await bench.put("KEI1:setRangeCur", 1e-10)
    try:
        await meter.arm(bench.settings(3, 20.0, exposure=0.02))
        await bench.pulses(3, 20.0)
        frames = await bench.collect(meter, 3)
    finally:
        await bench.put("KEI1:setRangeCur", 2e-8)
    assert np.isnan(frames.values["mesh"]).all()


async def test_one_that_never_gets_ready_is_named(bench, meter, monkeypatch):
    await bench.fault("KEI1_never_arms", 1)
    monkeypatch.setattr(meter, "_ready_within", 0.3)
    with pytest.raises(SettingError, match=r"did not take 'Trigger Link' for .*KEI1:rbkTrgSrc"):
        await meter.arm(bench.settings(5, 20.0, exposure=0.02))
    await bench.put("FAULT:KEI1_never_arms", 0)


async def test_what_it_cannot_do_is_refused(bench, meter):
    with pytest.raises(ValueError, match="expose for at most 40 ms or fly slower"):
        await meter.check_frames(bench.settings(5, 20.0, exposure=0.045))
    with pytest.raises(ValueError, match="cannot integrate for"):
        await meter.check_frames(bench.settings(5, 20.0, exposure=1e-5))
    if meter._buffered:
        with pytest.raises(ValueError, match="holds 2500 readings, but 3000 were asked"):
            await meter.check_frames(bench.settings(3000, 20.0, exposure=0.02))


async def test_sampled_it_is_the_meter_itself(bench, meter):
    await meter.set_integration_time(0.1)
    (channel,) = await meter.channels()
    assert (channel.channel.name, channel.channel.aperture) == ("mesh", pytest.approx(0.1))
    await meter.stage()
    await meter.trigger()
    assert (await meter.read())["mesh"]["value"] == pytest.approx(2e-9, rel=0.1)
    await meter.unstage()
