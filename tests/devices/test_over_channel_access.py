"""The devices against the simulated beamline, over real Channel Access."""

import asyncio
from collections.abc import AsyncIterator

import aioca
import pytest
from ophyd_async.core import Device, StandardReadable

from glidepath.beamlines import load_beamline
from glidepath.devices import (
    DCM,
    KMC3DCM,
    SGM,
    ControlMode,
    MotionError,
    Pace,
    Sampled,
    SweepAction,
    SweepState,
    signal_r,
    signal_rw,
    watch,
)
from glidepath.physics import UE48

UNITS = {
    "pgm": "eV",
    "pgm-min_energy": "eV",
    "pgm-slit": "um",
    "pgm-alpha": "deg",
    "pgm-line_density": "1/mm",
    "pgm-sweep-start": "eV",
    "pgm-sweep-velocity": "eV/s",
    "ue48-gap": "mm",
    "ue48-shift": "mm",
    "ue48-gap-velocity": "mm/s",
    "ue48-energy": "eV",
    "energy": "eV",
    "energy-setpoint": "eV",
    "energy-undulator_energy": "eV",
    "mesh": "A",
    "mesh-range": "A",
    "mesh-integration_time": "s",
    "sample": "A",
    "ring-current": "mA",
    "ring-lifetime": "h",
    "focus": "um",
    "m2": "mm",
    "mono_motor": "eV",
}


@pytest.fixture
async def prefix(beamline) -> AsyncIterator[str]:
    """What every PV begins with; closes the channels of the test's event loop."""
    yield beamline.prefix
    aioca.purge_channel_caches()


@pytest.fixture
async def devices(prefix) -> dict[str, Device]:
    devices = dict(load_beamline("glidepath.beamlines.simulated", prefix).devices)
    await asyncio.gather(*(device.connect(timeout=10) for device in devices.values()))
    return devices


async def reading(device: StandardReadable) -> float:
    return (await device.read())[device.name]["value"]


def readable(devices: dict[str, Device]) -> list[StandardReadable]:
    """All but those that make frames: these can be read once they are prepared."""
    found = [device for device in devices.values() if isinstance(device, StandardReadable)]
    assert {device.name for device in found} >= {"pgm", "energy", "mesh", "focus", "zebra"}
    return found


async def test_every_device_connects_and_describes_its_units(devices):
    keys = {}
    for device in readable(devices):
        keys |= await device.describe()
        keys |= await device.describe_configuration()
    assert {name: keys[name]["units"] for name in UNITS} == UNITS


async def test_what_is_described_can_be_read(devices):
    for device in readable(devices):
        assert set(await device.read()) == set(await device.describe())
        configuration = await device.read_configuration()
        assert set(configuration) == set(await device.describe_configuration())


async def test_every_sampled_channel_has_a_source_that_answers(devices, prefix):
    sampled_devices = [device for device in devices.values() if isinstance(device, Sampled)]
    assert {device.name for device in sampled_devices} >= {"pgm", "energy", "mesh", "focus"}
    for device in sampled_devices:
        for sampled in await device.channels():
            assert sampled.source.startswith(f"ca://{prefix}")
            await signal_r(float, sampled.source).connect(timeout=10)


async def test_the_monochromator_moves_up_and_down(devices):
    pgm = devices["pgm"]
    for target in (398.0, 401.0, 400.0, 400.01):
        await pgm.set(target)
        assert await reading(pgm) == pytest.approx(target, abs=0.02)
        assert await pgm.status.get_value() == 0


async def test_progress_of_the_monochromator_is_reported(devices):
    pgm = devices["pgm"]
    await pgm.set(400.0)
    seen = []
    status = pgm.set(410.0)
    status.watch(lambda **update: seen.append(update["current"]))
    await status
    assert any(401.0 < energy < 409.0 for energy in seen)


async def test_stop_in_mid_move_leaves_the_monochromator_standing_between(devices):
    pgm = devices["pgm"]
    await pgm.set(380.0)
    status = pgm.set(480.0)
    async with watch(pgm.readback) as seen:
        assert await seen.until(lambda: seen.value(pgm.readback) > 385.0, 10.0)
    await pgm.stop()
    with pytest.raises(RuntimeError, match="Device pgm was stopped"):
        await status
    assert await pgm.status.get_value() == 0
    assert 385.0 < await reading(pgm) < 479.0


async def test_stop_of_a_monochromator_that_stands_is_harmless(devices):
    pgm = devices["pgm"]
    await pgm.set(400.0)
    await pgm.stop()
    assert await reading(pgm) == pytest.approx(400.0, abs=0.02)


async def test_an_energy_beyond_the_range_is_refused_in_one_sentence(devices):
    with pytest.raises(ValueError, match=r"^pgm cannot go to 9000 eV: its range is 60 to 1600 eV"):
        await devices["pgm"].set(9000.0)


async def test_a_frozen_readback_is_noticed(devices, prefix):
    pgm = devices["pgm"]
    await pgm.set(400.0)
    pgm.movable_logic.pace = Pace(arrival=0.5)
    frozen = signal_rw(int, f"{prefix}FAULT:readback_frozen")
    await frozen.connect()
    await frozen.set(1)
    try:
        with pytest.raises(
            MotionError, match=r"pgm stopped short of its target: it is at (400|399\.99)"
        ):
            await pgm.set(405.0)
    finally:
        await frozen.set(0)


@pytest.mark.parametrize(
    ("family", "suffix", "target"),
    [(SGM, "SGM1:", 251.0), (DCM, "DCM1:", 2505.0), (KMC3DCM, "", 7005.0)],
)
async def test_the_other_monochromators_move_and_stop(prefix, family, suffix, target):
    mono = family(f"{prefix}{suffix}", "mono")
    await mono.connect(timeout=10)
    await mono.set(target)
    assert await reading(mono) == pytest.approx(target, abs=0.1)
    status = mono.set(target + 200.0)
    async with watch(mono.readback) as seen:
        assert await seen.until(lambda: seen.value(mono.readback) > target + 5.0, 10.0)
    await mono.stop()
    with pytest.raises(RuntimeError, match="Device mono was stopped"):
        await status
    assert await reading(mono) < target + 199.0


async def test_settings_that_are_numbers_at_one_beamline_and_labels_at_another(devices):
    pgm = devices["pgm"]
    await pgm.harmonic.set("3")
    try:
        assert await pgm.harmonic.get_value() == "3"
    finally:
        await pgm.harmonic.set("1")
    await pgm.id_on.set(False)
    assert await pgm.id_on.get_value() is False
    await pgm.id_on.set(True)
    assert await pgm.id_on.get_value() is True


async def test_a_sweep_can_be_made_ready_and_stopped(devices):
    pgm = devices["pgm"]
    await pgm.set(400.0)
    await pgm.sweep.start.set(400.0)
    await pgm.sweep.end.set(405.0)
    await pgm.sweep.velocity.set(1.0)
    async with watch(pgm.sweep.state) as seen:
        went = seen.latch(lambda: seen.value(pgm.sweep.state) == SweepState.GOING_TO_START)
        await pgm.sweep.action.set(SweepAction.INITIALISE)
        assert await seen.until(went, 5.0)
        assert await seen.until(lambda: seen.value(pgm.sweep.state) == SweepState.READY, 20.0)
    await pgm.stop()
    assert await pgm.status.get_value() == 0


async def test_the_undulator_moves_under_its_own_panel(devices):
    ue48 = devices["ue48"]
    await ue48.set_control(ControlMode.PANEL)
    try:
        for gap in (34.0, 33.5):
            await ue48.gap.set(gap)
            assert await reading(ue48.gap) == pytest.approx(gap, abs=0.005)
        await ue48.shift.set(0.5)
        assert await reading(ue48.shift) == pytest.approx(0.5, abs=0.005)
        await ue48.shift.set(0.0)
        energy = (await ue48.read())["ue48-energy"]["value"]
        assert energy == pytest.approx(float(UE48.energy(33.5)), abs=0.2)
    finally:
        await ue48.set_control(ControlMode.MONOCHROMATOR)


async def test_stop_in_mid_move_leaves_the_gap_standing_between_and_free_to_move(devices):
    ue48 = devices["ue48"]
    await ue48.set_control(ControlMode.PANEL)
    try:
        await ue48.gap.set(34.0)
        status = ue48.gap.set(60.0)
        async with watch(ue48.gap.readback) as seen:
            assert await seen.until(lambda: seen.value(ue48.gap.readback) > 34.3, 10.0)
        await ue48.gap.stop()
        with pytest.raises(RuntimeError, match="Device ue48-gap was stopped"):
            await status
        assert await ue48.gap.status.get_value() == "STOP"
        assert await reading(ue48.gap) < 59.0
        await ue48.gap.set(34.0)
    finally:
        await ue48.set_control(ControlMode.MONOCHROMATOR)


async def test_a_gap_beyond_its_range_is_refused(devices):
    with pytest.raises(ValueError, match=r"^ue48-gap cannot go to 5 mm: its range is 15 to 200 mm"):
        await devices["ue48"].gap.set(5.0)


async def test_the_undulator_follows_the_energy(devices):
    energy = devices["energy"]
    for target in (401.0, 400.0):
        await energy.set(target)
        values = {name: value["value"] for name, value in (await energy.read()).items()}
        assert values["energy"] == pytest.approx(target, abs=0.02)
        assert values["energy-setpoint"] == target
        width = target * UE48.relative_width()
        assert values["energy-undulator_energy"] == pytest.approx(target, abs=width / 2)
        assert await devices["ue48"].gap.status.get_value() == "STOP"


async def test_separate_axes_move_at_once_and_tell_how_far_they_are(devices):
    energy, ue48 = devices["energy_separate"], devices["ue48"]
    await energy.set(400.0)
    seen = []
    status = energy.set(420.0)
    status.watch(lambda **update: seen.append((update["current"], update["unit"])))
    await status
    assert any(402.0 < at < 418.0 for at, _ in seen)
    assert {unit for _, unit in seen} == {"eV"}
    assert await ue48.energy.get_value() == pytest.approx(420.0, abs=0.1)
    assert await ue48.control_mode.get_value() == ControlMode.PANEL


async def test_stop_in_mid_move_stops_separate_axes(devices):
    energy, pgm, ue48 = devices["energy_separate"], devices["pgm"], devices["ue48"]
    await energy.set(400.0)
    status = energy.set(480.0)
    async with watch(pgm.readback) as seen:
        assert await seen.until(lambda: seen.value(pgm.readback) > 405.0, 10.0)
    await energy.stop()
    with pytest.raises(RuntimeError, match="Device energy_separate was stopped"):
        await status
    assert await pgm.status.get_value() == 0
    assert await ue48.gap.status.get_value() == "STOP"
    assert await ue48.energy.get_value() < 479.0


async def test_setting_the_energy_takes_the_undulator_back_from_its_panel(devices):
    energy, ue48 = devices["energy"], devices["ue48"]
    await ue48.set_control(ControlMode.PANEL)
    await energy.set(401.0)
    assert await ue48.control_mode.get_value() == ControlMode.MONOCHROMATOR
    assert await ue48.energy.get_value() == pytest.approx(401.0, abs=1.0)


async def test_stop_in_mid_move_stops_monochromator_and_undulator(devices):
    energy, pgm, ue48 = devices["energy"], devices["pgm"], devices["ue48"]
    await energy.set(390.0)
    status = energy.set(480.0)
    async with watch(pgm.readback) as seen:
        assert await seen.until(lambda: seen.value(pgm.readback) > 395.0, 10.0)
    await energy.stop()
    with pytest.raises(RuntimeError, match="Device energy was stopped"):
        await status
    assert await pgm.status.get_value() == 0
    assert await reading(pgm) < 479.0
    # The undulator is free again, and follows to where the monochromator stands.
    here = await reading(pgm)
    await energy.set(here)
    assert await ue48.energy.get_value() == pytest.approx(here, abs=1.0)


async def test_an_energy_that_the_harmonic_cannot_reach_is_refused(devices):
    with pytest.raises(ValueError, match=r"^ue48 in harmonic 1 cannot go to 900 eV: its range is"):
        await devices["energy"].set(900.0)


async def test_the_exposure_is_what_the_meter_confirms(devices):
    mesh = devices["mesh"]
    for seconds in (0.04, 0.1):
        await mesh.set_integration_time(seconds)
        (sampled,) = await mesh.channels()
        assert sampled.channel.aperture == pytest.approx(seconds)
        assert (await mesh.read_configuration())["mesh-integration_time"]["value"] == seconds


async def test_staging_switches_the_moving_average_off_and_restores_it(devices):
    mesh = devices["mesh"]
    await mesh.filter_count.set(4)
    await mesh.deadband.set(1e-15)
    await mesh.stage()
    assert await mesh.filter_count.get_value() == 1
    assert await mesh.deadband.get_value() == -1.0
    await mesh.unstage()
    assert await mesh.filter_count.get_value() == 4
    assert await mesh.deadband.get_value() == 1e-15
    await mesh.filter_count.set(1)
    await mesh.deadband.set(-1.0)


async def test_a_triggered_reading_began_after_the_trigger(devices):
    mesh = devices["mesh"]
    await mesh.set_integration_time(0.1)
    await mesh.stage()
    try:
        for _ in range(5):
            # The meter's own clock: the newest reading is older than the trigger.
            before = (await mesh.current.read(cached=False))["mesh"]["timestamp"]
            await mesh.trigger()
            timestamp = (await mesh.read())["mesh"]["timestamp"]
            assert timestamp - 0.1 > before + 0.05
    finally:
        await mesh.unstage()


async def test_a_meter_that_is_silent_is_named(devices, prefix, monkeypatch):
    monkeypatch.setattr("glidepath.devices.electrometer.SETTING_TIMEOUT", 0.1)
    silent = signal_rw(int, f"{prefix}FAULT:KEI1_silent")
    await silent.connect()
    await silent.set(1)
    try:
        with pytest.raises(TimeoutError, match="mesh delivered no new reading"):
            await devices["mesh"].trigger()
    finally:
        await silent.set(0)


async def test_a_motor_moves(devices):
    focus = devices["focus"]
    await focus.set(100.0)
    assert await reading(focus) == pytest.approx(100.0, abs=0.2)
    await focus.set(0.0)
    (sampled,) = await focus.channels()
    assert sampled.channel.unit == "um"
