"""The coupled energy axis, its motor and ring neighbours, in mock mode."""

import pytest
from ophyd_async.core import FlyMotorInfo, callback_on_mock_put, get_mock_put, set_mock_value

from glidepath.devices import (
    PGM,
    ControlMode,
    EnergyAxis,
    MotionError,
    Motor,
    Pace,
    Ring,
    Undulator,
)
from glidepath.physics import UE48
from glidepath.timeline import ChannelKind

QUICK = Pace(allowance=0.05, slowest=1e6, start=0.05, arrival=0.05, confirmation=0.02)


@pytest.fixture
async def energy():
    pgm = PGM("ANY:", name="pgm")
    ue48 = Undulator("ANY:", UE48, name="ue48", gap_range=(15.0, 200.0), following_lag=0.0)
    axis = EnergyAxis(pgm, ue48)
    for device in (pgm, ue48, axis):
        await device.connect(mock=True)
    return axis


async def test_setting_it_couples_the_undulator_and_moves_both(energy):
    await energy.set(400.0)
    assert await energy.monochromator().id_on.get_value()
    assert await energy.undulator().control_mode.get_value() == ControlMode.MONOCHROMATOR
    reading = await energy.read()
    assert reading["energy"]["value"] == 400.0
    assert reading["energy-setpoint"]["value"] == 400.0
    assert reading["energy-undulator_energy"]["value"] == pytest.approx(400.0)
    assert energy.hints == {"fields": ["energy", "energy-undulator_energy"]}


async def test_a_coupling_that_is_on_is_left_alone(energy):
    await energy.set(400.0)
    await energy.set(401.0)
    get_mock_put(energy.monochromator().id_on).assert_called_once_with(True)


async def test_its_devices_keep_their_own_names(energy):
    assert energy.name == "energy"
    assert energy.monochromator().readback.name == "pgm"
    assert energy.undulator().gap.name == "ue48-gap"
    # Signals of its own only: the monochromator and the undulator are devices of their own.
    assert {name for name, _ in energy.children()} == {
        "readback",
        "setpoint",
        "low_limit",
        "high_limit",
        "undulator_energy",
        "harmonic",
        "polarisation",
        "offset",
    }


async def test_an_energy_beyond_the_harmonic_is_refused(energy):
    with pytest.raises(ValueError, match="ue48 in harmonic 1 cannot go to 900 eV: its range is"):
        await energy.set(900.0)
    get_mock_put(energy.monochromator().setpoint).assert_not_called()


async def test_limits_are_what_both_reach(energy):
    low, high = await energy.limits()
    assert low == pytest.approx(float(UE48.energy(15.0)))
    assert high == pytest.approx(float(UE48.energy(200.0)))
    set_mock_value(energy.monochromator().max_energy, 300.0)
    assert await energy.limits() == (low, 300.0)


async def test_an_undulator_that_does_not_follow_is_an_error(energy):
    await energy.set(400.0)
    pgm = energy.monochromator()
    callback_on_mock_put(pgm.setpoint, lambda value: set_mock_value(pgm.readback, value))
    energy.undulator().gap.movable_logic.pace = QUICK
    set_mock_value(energy.undulator().gap.velocity, 1e6)
    with pytest.raises(MotionError, match=r"ue48 did not follow to 450 eV .*harmonic 1 at 400\.0"):
        await energy.set(450.0)


async def test_stop_stops_both(energy):
    await energy.stop()
    get_mock_put(energy.monochromator().sweep.action).assert_called_once_with(0)
    assert get_mock_put(energy.undulator().user_stop).called


async def test_without_an_undulator_it_is_the_monochromator():
    pgm = PGM("ANY:", name="pgm")
    axis = EnergyAxis(pgm, name="photons")
    await pgm.connect(mock=True)
    await axis.connect(mock=True)
    await axis.set(400.0)
    assert await axis.limits() == await pgm.limits()
    (sampled,) = await axis.channels()
    assert sampled.channel.name == "photons"


async def test_its_channels_are_energy_and_gap(energy):
    photon_energy, gap = await energy.channels()
    assert (photon_energy.channel.name, photon_energy.channel.unit) == ("energy", "eV")
    assert photon_energy.source == energy.monochromator().readback.source
    assert (gap.channel.name, gap.channel.unit) == ("ue48_gap", "mm")


@pytest.mark.parametrize("top_velocity", [0.0, 5.0])
async def test_a_motor_flies_whether_or_not_it_has_a_top_velocity(top_velocity):
    motor = Motor("ANY:m1", name="focus")
    await motor.connect(mock=True)
    set_mock_value(motor.max_velocity, top_velocity)
    set_mock_value(motor.velocity, 2.0)
    info = FlyMotorInfo(start_position=0.0, end_position=10.0, time_for_move=10.0)
    await motor.prepare(info)
    assert await motor.velocity.get_value() == 1.0
    await motor.kickoff()
    await motor.complete()
    assert await motor.user_readback.get_value() == 10.0


async def test_the_ring_offers_its_current_and_its_blank_out():
    ring = Ring("R:", "T:", name="ring")
    await ring.connect(mock=True)
    current, blankout = await ring.channels()
    assert (current.channel.name, current.channel.kind) == ("ring_current", ChannelKind.READBACK)
    assert (blankout.channel.name, blankout.channel.kind) == ("ring_blankout", ChannelKind.STATE)
    assert ring.hints == {"fields": ["ring-current"]}
