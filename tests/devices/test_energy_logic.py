"""The coupled energy axis, its motor and ring neighbours, in mock mode."""

import pytest
from ophyd_async.core import FlyMotorInfo, callback_on_mock_put, get_mock_put, set_mock_value

from glidepath.devices import (
    PGM,
    SGM,
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


async def separate(monochromator=PGM, **options):
    mono = monochromator("ANY:", name="mono")
    ue48 = Undulator("ANY:", UE48, name="ue48", gap_range=(15.0, 200.0))
    axis = EnergyAxis(mono, ue48, coupling="separate", **options)
    for device in (mono, ue48, axis):
        await device.connect(mock=True)
    return axis


@pytest.mark.parametrize("monochromator", [PGM, SGM, Motor])
async def test_separate_axes_are_uncoupled_and_moved_together(monochromator):
    axis = await separate(monochromator)
    mono, ue48 = axis.monochromator(), axis.undulator()
    set_mock_value(ue48.control_mode, ControlMode.MONOCHROMATOR)
    if monochromator is PGM:
        set_mock_value(mono.id_on, True)
    if monochromator is Motor:
        set_mock_value(mono.velocity, 10.0)
    await axis.set(400.0)
    if monochromator is PGM:
        assert not await mono.id_on.get_value()
    assert await ue48.control_mode.get_value() == ControlMode.PANEL
    assert (await axis.read())["energy"]["value"] == 400.0
    assert await axis.undulator_energy.get_value() == pytest.approx(400.0, abs=1e-3)


async def test_one_that_fails_stops_the_other(monkeypatch):
    axis = await separate()
    gap = axis.undulator().gap
    gap.movable_logic.pace = QUICK
    callback_on_mock_put(gap.setpoint, lambda value: None)
    with pytest.raises(MotionError, match=r"^ue48-gap did not start to move"):
        await axis.set(400.0)
    get_mock_put(axis.monochromator().sweep.action).assert_called_with(0)
    assert get_mock_put(axis.undulator().user_stop).called


async def test_polarisation_and_offset_count_at_the_next_move():
    axis = await separate()
    ue48 = axis.undulator()
    await axis.polarisation.set("vertical")
    await axis.offset.set(0.12)
    await axis.set(400.0)
    assert await ue48.shift.readback.get_value() == 24.0
    gap = await ue48.gap.readback.get_value()
    assert float(UE48.energy(gap, 1, 24.0)) == pytest.approx(399.88, abs=1e-3)
    assert await axis.harmonic.get_value() == 1


async def test_a_controller_that_leads_the_undulator_is_told_the_harmonic(energy):
    await energy.harmonic.set(3)
    assert energy.undulator().curve.harmonic == 3
    get_mock_put(energy.monochromator().harmonic).assert_called_once_with("3")
    with pytest.raises(ValueError, match=r"follows pgm, which knows no polarisation 'circular'"):
        await energy.polarisation.set("circular")


async def test_limits_are_signals(energy):
    low, high = await energy.limits()
    assert await energy.low_limit.get_value() == low
    assert await energy.high_limit.get_value() == high
    assert (await energy.read_configuration())["energy-high_limit"]["value"] == high
    assert (await energy.describe_configuration())["energy-low_limit"]["units"] == "eV"


async def test_an_undulator_cannot_follow_what_does_not_lead_it():
    ue48 = Undulator("ANY:", UE48, name="ue48")
    with pytest.raises(
        TypeError, match=r'can follow mono by itself: .* id_on .* coupling="separate"'
    ):
        EnergyAxis(Motor("ANY:", name="mono"), ue48)


async def test_rows_beyond_the_bound_of_the_axis_are_marked():
    axis = await separate(tracking_bound=0.1)
    harmonic, error = axis.derived()
    assert harmonic.function(UE48.gap(400.0)) == pytest.approx(400.0)
    assert error.bound(None, 400.0) == pytest.approx(0.1 * 400.0 / 62)


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
