"""What the monochromators do with their signals, in mock mode."""

import asyncio

import pytest
from ophyd_async.core import callback_on_mock_put, get_mock, get_mock_put, set_mock_value

from glidepath.devices import (
    DCM,
    KMC3DCM,
    PGM,
    SGM,
    MotionError,
    Pace,
    Sampled,
    SweepAction,
    SweepState,
    watch,
)
from glidepath.timeline import ChannelKind

QUICK = Pace(allowance=0.2, slowest=1e6, start=0.05, arrival=0.05, confirmation=0.02)


async def mocked(family=PGM, **options):
    device = family("ANY:", name="pgm", pace=QUICK, **options)
    await device.connect(mock=True)
    return device


@pytest.mark.parametrize("family", [PGM, SGM, DCM, KMC3DCM])
async def test_it_moves_and_is_read_under_its_own_name(family):
    device = await mocked(family)
    await device.set(400.0)
    assert (await device.read())["pgm"]["value"] == 400.0
    assert device.hints == {"fields": ["pgm"]}
    assert await device.locate() == {"setpoint": 400.0, "readback": 400.0}


@pytest.mark.parametrize("family", [PGM, SGM, DCM, KMC3DCM])
async def test_its_channel_is_the_readback(family):
    device = await mocked(family)
    assert isinstance(device, Sampled)
    (sampled,) = await device.channels()
    assert sampled.source == device.readback.source
    assert sampled.channel.kind is ChannelKind.READBACK
    assert sampled.channel.unit == "eV"


@pytest.mark.parametrize("family", [PGM, SGM, DCM])
async def test_an_energy_out_of_range_is_refused_before_anything_moves(family):
    device = await mocked(family)
    set_mock_value(device.max_energy, 1600.0)
    with pytest.raises(ValueError, match=r"^pgm cannot go to 5000 eV: its range is 10 to 1600 eV"):
        await device.set(5000.0)
    get_mock_put(device.setpoint).assert_not_called()


async def test_an_energy_that_is_no_number_is_refused():
    device = await mocked()
    with pytest.raises(ValueError, match="finite position in eV, not nan"):
        await device.set(float("nan"))


async def test_limits_that_were_never_set_are_no_limits():
    device = await mocked()
    set_mock_value(device.min_energy, 0.0)
    set_mock_value(device.max_energy, 0.0)
    assert await device.limits() is None
    await device.set(5000.0)


async def test_a_monochromator_that_never_starts_is_an_error():
    device = await mocked()
    callback_on_mock_put(device.setpoint, lambda value: None)
    with pytest.raises(MotionError, match=r"did not start to move within 0\.05 s.*sent to 400 eV"):
        await device.set(400.0)


async def test_a_monochromator_that_stops_short_is_an_error():
    device = await mocked()

    def stop_short(value):
        set_mock_value(device.status, 1)
        set_mock_value(device.readback, value - 1)
        set_mock_value(device.status, 0)

    callback_on_mock_put(device.setpoint, stop_short)
    with pytest.raises(MotionError, match=r"stopped short of its target: it is at 399 eV"):
        await device.set(400.0)


async def test_a_monochromator_that_never_finishes_is_an_error():
    device = await mocked()
    callback_on_mock_put(device.setpoint, lambda value: set_mock_value(device.status, 1))
    with pytest.raises(MotionError, match="was still moving when its time was over"):
        await device.set(400.0)


async def test_the_done_of_the_move_before_does_not_end_a_move(eventually):
    device = await mocked()
    callback_on_mock_put(device.setpoint, lambda value: None)
    status = device.set(400.0)
    await eventually(lambda: get_mock_put(device.setpoint).called)
    assert not status.done
    set_mock_value(device.status, 1)
    await asyncio.sleep(0)
    assert not status.done
    set_mock_value(device.readback, 400.0)
    set_mock_value(device.status, 0)
    await status


async def test_a_step_smaller_than_the_tolerance_waits_for_the_move_too():
    device = await mocked(tolerance=0.05)
    await device.set(400.0)
    callback_on_mock_put(device.setpoint, lambda value: set_mock_value(device.status, 1))
    status = device.set(400.01)
    async with watch(device.status) as seen:
        assert await seen.until(lambda: seen.value(device.status) == 1, 5.0)
    assert not status.done
    set_mock_value(device.readback, 400.01)
    set_mock_value(device.status, 0)
    await status


async def test_stop_ends_a_move_with_one_sentence():
    device = await mocked()
    callback_on_mock_put(device.setpoint, lambda value: set_mock_value(device.status, 1))
    callback_on_mock_put(device.sweep.action, lambda value: set_mock_value(device.status, 0))
    status = device.set(400.0)
    async with watch(device.status) as seen:
        assert await seen.until(lambda: seen.value(device.status) == 1, 5.0)
    await device.stop()
    with pytest.raises(RuntimeError, match="Device pgm was stopped"):
        await status
    get_mock_put(device.sweep.action).assert_called_once_with(SweepAction.STOP)


async def test_stop_with_success_ends_a_move_well():
    device = await mocked()
    callback_on_mock_put(device.setpoint, lambda value: set_mock_value(device.status, 1))
    callback_on_mock_put(device.sweep.action, lambda value: set_mock_value(device.status, 0))
    status = device.set(400.0)
    async with watch(device.status) as seen:
        assert await seen.until(lambda: seen.value(device.status) == 1, 5.0)
    await device.stop(success=True)
    await status


async def test_a_monochromator_that_does_not_stop_is_an_error(monkeypatch):
    monkeypatch.setattr("glidepath.devices.positioning.STANDING_TIMEOUT", 0.02)
    device = await mocked()
    set_mock_value(device.status, 1)
    with pytest.raises(MotionError, match="was told to stop and still moves"):
        await device.stop()


async def test_a_monochromator_without_a_stop_command_is_sent_to_where_it_is():
    device = await mocked(KMC3DCM)
    set_mock_value(device.readback, 7112.0)
    await device.stop()
    get_mock_put(device.setpoint).assert_called_once_with(7112.0)


async def test_progress_is_reported():
    device = await mocked()
    updates = []
    status = device.set(400.0)
    status.watch(lambda **update: updates.append(update))
    await status
    assert updates[0]["initial"] == 0.0
    assert updates[-1]["current"] == updates[-1]["target"] == 400.0
    assert updates[-1]["unit"] == "eV"


async def test_the_sweep_is_part_of_the_configuration():
    device = await mocked()
    await device.sweep.velocity.set(0.2)
    configuration = await device.read_configuration()
    assert configuration["pgm-sweep-velocity"]["value"] == 0.2
    assert "pgm-cff" in configuration
    assert not get_mock(device.sweep.action).mock_calls


def test_sweep_states_compare_with_what_the_controller_shows():
    assert SweepState.READY == 0x04
    assert SweepState.IN_RANGE == 64
    assert SweepState.FINISHED_OR_ERROR == 255
