"""What the electrometer does with its signals, in mock mode."""

import asyncio

import pytest
from ophyd_async.core import callback_on_mock_put, get_mock_put, set_mock_value

from glidepath.devices import Electrometer
from glidepath.devices.settings import SettingError
from glidepath.timeline import ChannelKind


@pytest.fixture
async def mesh():
    device = Electrometer("ANY:", name="mesh")
    await device.connect(mock=True)
    set_mock_value(device.deadband, 1e-12)
    set_mock_value(device.filter_count, 10)
    return device


def puts(signal):
    return [call.args[0] for call in get_mock_put(signal).mock_calls]


async def test_staging_makes_it_fit_for_a_scan_and_unstaging_restores(mesh):
    await mesh.stage()
    assert await mesh.deadband.get_value() == -1.0
    assert await mesh.filter_count.get_value() == 1
    await mesh.unstage()
    assert puts(mesh.deadband) == [-1.0, 1e-12]
    assert puts(mesh.filter_count) == [1, 10]


async def test_what_was_right_already_is_left_alone(mesh):
    set_mock_value(mesh.deadband, -1.0)
    await mesh.stage()
    await mesh.unstage()
    assert puts(mesh.deadband) == []


async def test_a_staging_that_fails_half_way_is_undone(mesh):
    def fail(value):
        if value == 1:
            raise ConnectionError("gone")

    callback_on_mock_put(mesh.filter_count, fail)
    with pytest.raises(SettingError, match=r"mesh refuses 1 for .*FiltAverCnt"):
        await mesh.stage()
    await mesh.unstage()
    assert await mesh.deadband.get_value() == 1e-12


async def test_unstaging_ends_a_staging_that_is_under_way(mesh):
    asked, confirmed = asyncio.Event(), asyncio.Event()

    async def confirm(value):
        if value == -1.0:
            asked.set()
            await confirmed.wait()

    callback_on_mock_put(mesh.deadband, confirm)
    staged = mesh.stage()
    await asked.wait()
    await mesh.unstage()
    confirmed.set()
    # It does not fail: a plan that was stopped has another reason to end.
    await staged
    assert puts(mesh.deadband) == [-1.0, 1e-12]
    assert puts(mesh.filter_count) == []
    with pytest.raises(RuntimeError):
        await mesh.current.get_value(cached=True)


async def test_a_meter_with_its_zero_check_on_is_refused(mesh):
    set_mock_value(mesh.zero_check, 1)
    with pytest.raises(ValueError, match="mesh has its zero check on and measures nothing"):
        await mesh.stage()


async def test_the_integration_time_is_set_in_seconds(mesh):
    await mesh.set_integration_time(0.04)
    assert puts(mesh.nplc) == [2.0]
    assert await mesh.integration_time.get_value() == pytest.approx(0.04)


@pytest.mark.parametrize("seconds", [0.0, 1.0, float("nan")])
async def test_an_integration_time_out_of_range_is_refused(mesh, seconds):
    with pytest.raises(ValueError, match=r"^mesh cannot integrate for .* for 0\.0002 to 0\.2 s\.$"):
        await mesh.set_integration_time(seconds)


async def test_an_integration_time_that_is_not_taken_is_an_error(mesh, monkeypatch):
    monkeypatch.setattr("glidepath.devices.electrometer.SETTING_TIMEOUT", 0.01)
    callback_on_mock_put(mesh.nplc, lambda value: 5.0)
    with pytest.raises(TimeoutError, match=r"did not take .* of 0\.04 s .* it is still 0\.1 s"):
        await mesh.set_integration_time(0.04)


async def test_the_aperture_is_what_the_meter_covers_filter_included(mesh):
    (sampled,) = await mesh.channels()
    assert sampled.channel.kind is ChannelKind.DETECTOR
    assert sampled.channel.unit == "A"
    assert sampled.channel.aperture == pytest.approx(1.0)
    await mesh.stage()
    (sampled,) = await mesh.channels()
    assert sampled.channel.aperture == pytest.approx(0.1)
    await mesh.unstage()


async def test_a_trigger_without_a_reading_is_an_error(mesh, monkeypatch):
    monkeypatch.setattr("glidepath.devices.electrometer.SETTING_TIMEOUT", 0.01)
    set_mock_value(mesh.nplc, 0.01)
    with pytest.raises(TimeoutError, match=r"mesh delivered no new reading within .* s of its"):
        await mesh.trigger()


async def test_a_trigger_takes_the_first_reading_that_began_after_it(mesh, eventually):
    set_mock_value(mesh.nplc, 0.01)
    set_mock_value(mesh.filter_count, 1)
    status = mesh.trigger()
    await eventually(lambda: mesh.current._cache is not None)
    # This one was in progress when the trigger came.
    set_mock_value(mesh.current, 1e-9)
    await asyncio.sleep(0.001)
    assert not status.done
    set_mock_value(mesh.current, 2e-9)
    await status
    assert (await mesh.read())["mesh"]["value"] == 2e-9
