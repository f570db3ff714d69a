"""What the undulator does with its signals, in mock mode."""

import numpy as np
import pytest
from ophyd_async.core import callback_on_mock_put, get_mock, set_mock_value

from glidepath.devices import ControlMode, MotionError, Undulator
from glidepath.physics import UE48, Calibration
from glidepath.timeline import ChannelKind


@pytest.fixture
async def undulator():
    device = Undulator("ANY:", UE48, name="ue48", gap_range=(15.0, 200.0))
    await device.connect(mock=True)
    return device


async def test_a_move_enables_the_drive_then_sets_then_goes(undulator):
    await undulator.gap.set(40.0)
    puts = [name for name, *_ in get_mock(undulator.gap).mock_calls if name.endswith("put")]
    assert puts == ["drive.put", "setpoint.put", "calculate.put"]


async def test_the_energy_follows_from_the_gap(undulator):
    await undulator.gap.set(float(UE48.gap(400.0)))
    reading = await undulator.read()
    assert reading["ue48-energy"]["value"] == pytest.approx(400.0)
    assert (await undulator.describe())["ue48-energy"]["units"] == "eV"


async def test_the_energy_is_that_of_the_harmonic_in_use():
    undulator = Undulator("ANY:", UE48, harmonic=3, name="ue48")
    await undulator.connect(mock=True)
    set_mock_value(undulator.gap.readback, float(UE48.gap(900.0, 3)))
    assert await undulator.energy.get_value() == pytest.approx(900.0)


async def test_a_gap_out_of_range_is_refused(undulator):
    with pytest.raises(ValueError, match=r"^ue48-gap cannot go to 5 mm: its range is 15 to 200 mm"):
        await undulator.gap.set(5.0)


async def test_a_gap_that_follows_the_monochromator_is_not_moved_by_itself(undulator):
    await undulator.set_control(ControlMode.MONOCHROMATOR)
    with pytest.raises(ValueError, match="set ue48-control_mode to 'panel' first"):
        await undulator.gap.set(40.0)
    calls = [name for name, *_ in get_mock(undulator.gap).mock_calls]
    assert "calculate.put" not in calls


async def test_a_control_that_is_not_handed_over_is_an_error(undulator, monkeypatch):
    monkeypatch.setattr("glidepath.devices.undulator.SWITCH_TIMEOUT", 0.01)
    callback_on_mock_put(undulator.control_mode, lambda value: "panel")
    with pytest.raises(MotionError, match="did not hand the control of its gap to the mono"):
        await undulator.set_control(ControlMode.MONOCHROMATOR)


async def test_stop_lets_go_of_the_switch_that_holds_the_axes(undulator):
    await undulator.stop()
    values = [call.args[0] for call in get_mock(undulator.user_stop).put.mock_calls]
    assert values == [1, 0, 1, 0]


async def test_energy_limits_follow_from_the_gap_range(undulator):
    low, high = await undulator.energy_limits()
    assert low == pytest.approx(float(UE48.energy(15.0)))
    assert high == pytest.approx(float(UE48.energy(200.0)))


async def test_its_channel_is_the_gap(undulator):
    (sampled,) = await undulator.channels()
    assert sampled.channel.name == "ue48_gap"
    assert sampled.channel.kind is ChannelKind.READBACK
    assert sampled.channel.unit == "mm"
    assert sampled.source == undulator.gap.readback.source


async def test_harmonic_and_polarisation_choose_the_curve(undulator):
    await undulator.harmonic.set(3)
    await undulator.polarisation.set("vertical")
    assert (undulator.curve.harmonic, undulator.curve.polarisation) == (3, "vertical")
    with pytest.raises(ValueError, match="no harmonic 3 in circular polarisation; it has 1"):
        await undulator.polarisation.set("circular")
    assert undulator.curve.polarisation == "vertical"
    configuration = await undulator.read_configuration()
    assert configuration["ue48-harmonic"]["value"] == 3
    assert configuration["ue48-polarisation"]["value"] == "vertical"


async def test_offset_and_slope_are_those_of_the_calibration(undulator):
    undulator.calibrate(Calibration(0.12, 1.001, 0.01, 1e-5))
    assert await undulator.offset.get_value() == 0.12
    set_mock_value(undulator.gap.readback, float(UE48.gap(400.0)))
    assert await undulator.energy.get_value() == pytest.approx(400.52)
    await undulator.offset.set(0.0)
    await undulator.slope.set(1.0)
    assert await undulator.energy.get_value() == pytest.approx(400.0)
    assert (await undulator.describe_configuration())["ue48-offset"]["units"] == "eV"
    with pytest.raises(ValueError, match="a slope above zero"):
        await undulator.slope.set(0.0)


async def test_an_energy_out_of_reach_names_the_harmonic_that_reaches_it(undulator):
    await undulator.check_energy(400.0)
    with pytest.raises(
        ValueError, match=r"cannot go to 900 eV: .* eV, but harmonic 3 reaches it\.$"
    ):
        await undulator.check_energy(900.0)
    with pytest.raises(ValueError, match=r"cannot go to 5 eV: its range is .* eV\.$"):
        await undulator.check_energy(5.0)


async def test_velocities_of_the_gap_are_given_or_those_of_the_record(undulator):
    assert await undulator.gap_velocities() is None
    told = Undulator("ANY:", UE48, name="ue48", gap_velocities=(0.01, 2.0))
    assert await told.gap_velocities() == (0.01, 2.0)


async def test_a_gap_outside_the_table_has_no_energy(undulator):
    set_mock_value(undulator.gap.readback, 14.0)
    assert np.isnan(await undulator.energy.get_value())
