"""Axes, slits, mirrors and filters against the simulated vacuum server, faults included."""

import asyncio

import pytest

from glidepath.devices import Pace
from glidepath.devices.families import (
    ApertureUnit,
    ExitSlit,
    Filters,
    HexapodMirror,
    MirrorM1,
    Pinholes,
    Slits,
)
from glidepath.devices.generic import BladeSlits, ComparedAxis, Pose, StatusAxis, Tolerance
from glidepath.devices.positioning import MotionError

pytestmark = pytest.mark.slow

BOUND = 60.0
QUICK = Pace(slowest=2.0, allowance=2.0, start=1.5, arrival=1.0, confirmation=0.5)


async def connected(device):
    await device.connect(timeout=BOUND)
    return device


async def test_an_aperture_unit_moves_its_blades_as_gaps_and_centres(bench):
    unit = await connected(ApertureUnit(f"{bench.prefix}AU1:", "au"))
    await unit.vgap.set(2.0)
    await unit.vcenter.set(0.5)
    assert await bench.get("AU1:rdPosM1") == pytest.approx(1.5, abs=0.001)
    assert await bench.get("AU1:rdPosM2") == pytest.approx(-0.5, abs=0.001)
    assert (await unit.vgap.read())["au-vgap"]["value"] == pytest.approx(2.0, abs=0.002)
    await unit.hgap.set(4.0)
    assert await bench.get("AU1:rdPosM4") - await bench.get("AU1:rdPosM3") == pytest.approx(4.0)


async def test_a_negative_gap_is_refused_before_a_blade_moves(bench):
    slits = await connected(Slits(f"{bench.prefix}SLIT1:", "slits"))
    before = [await bench.get(f"SLIT1:{blade}.VAL") for blade in ("Top", "Bottom")]
    with pytest.raises(ValueError, match=r"slits-vgap cannot be -0.1 mm: the blades would touch"):
        await slits.vgap.set(-0.1)
    with pytest.raises(ValueError, match="range is -25 to 25 mm"):
        await slits.vcenter.set(30.0)
    assert [await bench.get(f"SLIT1:{blade}.VAL") for blade in ("Top", "Bottom")] == before


async def test_the_blade_that_goes_outwards_moves_first(bench):
    slits = await connected(Slits(f"{bench.prefix}SLIT1:", "slits"))
    await slits.vgap.set(0.2)
    await slits.vcenter.set(0.0)
    gaps = []

    def note(reading):
        gaps.append(reading["slits-vgap"]["value"])

    slits.vgap.subscribe_reading(note)
    await slits.vcenter.set(3.0)
    slits.vgap.clear_sub(note)
    assert min(gaps) > 0.19
    assert max(gaps) > 2.0


async def test_signs_of_a_site_are_data(bench):
    pvs = {"setpoint": "{}VAL", "readback": "{}RBV"}
    blades = [
        ComparedAxis(f"{bench.prefix}SLIT1:{name}.", pvs=pvs)
        for name in ("Top", "Bottom", "Left", "Right")
    ]
    slits = await connected(BladeSlits(*blades, "slits", signs={"bottom": -1}))
    await slits.bottom.set(1.0)
    await slits.top.set(1.0)
    assert (await slits.vgap.locate())["readback"] == pytest.approx(2.0, abs=0.02)
    await slits.vgap.set(1.0)
    assert await bench.get("SLIT1:Bottom.VAL") == pytest.approx(0.5, abs=0.01)
    with pytest.raises(ValueError, match="Signs of blades"):
        BladeSlits(*blades, "slits", signs={"bottom": 2})


async def test_an_exit_slit_has_a_width_and_a_resolving_power(bench):
    slit = await connected(ExitSlit(f"{bench.prefix}ES1:", "slit"))
    await slit.set(100.0)
    reading = await slit.read()
    assert reading["slit"]["value"] == pytest.approx(100.0, abs=0.5)
    assert reading["slit-resolving_power"]["value"] == pytest.approx(4000.0)
    assert (await slit.describe())["slit"]["units"] == "um"
    with pytest.raises(ValueError, match="range is 5 to 2000 um"):
        await slit.set(1.0)


async def test_pinholes_and_filters_move(bench):
    pinholes = await connected(Pinholes(f"{bench.prefix}PIN1:", "pinholes"))
    filters = await connected(Filters(f"{bench.prefix}FIL1:", "filters"))
    await asyncio.gather(pinholes.axes[3].set(2.0), filters.axes[2].set(-1.0))
    assert await bench.get("PIN1:PH_3_GET") == pytest.approx(2.0, abs=0.01)
    assert await bench.get("FIL1:PH_2_GET") == pytest.approx(-1.0, abs=0.005)


async def test_the_first_mirror_has_five_axes(bench):
    mirror = await connected(MirrorM1(f"{bench.prefix}M1:", "m1"))
    await asyncio.gather(mirror.tx.set(1.0), mirror.rx.set(0.5))
    reading = await mirror.read()
    assert reading["m1-tx"]["value"] == pytest.approx(1.0, abs=0.01)
    assert reading["m1-rx"]["value"] == pytest.approx(0.5, abs=0.01)
    assert set(reading) == {"m1-tx", "m1-ty", "m1-rx", "m1-ry", "m1-rz"}


async def test_the_axes_of_a_mirror_share_a_status(bench):
    mirror = await connected(MirrorM1(f"{bench.prefix}M1:", "m1"))
    status = mirror.ry.set(await mirror.ry.readback.get_value() + 8.0)
    await bench.becomes("M1:ExecSens", 1)
    await status
    assert await bench.get("M1:ExecSens") == 0
    await mirror.ry.set(0.0)


@pytest.fixture
async def axis(bench):
    """A pinhole without a fault, with short bounds."""
    await bench.fault("PIN1:PH_4")
    pvs = {"setpoint": "{}_SET", "readback": "{}_GET", "status": "{}_STATUS"}
    device = StatusAxis(f"{bench.prefix}PIN1:PH_4", "axis", pvs=pvs, unit="mm", pace=QUICK)
    await device.connect(timeout=BOUND)
    await device.set(0.0)
    yield device
    await bench.fault("PIN1:PH_4")


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [("stuck", "did not start to move"), ("stops short", "stopped short of its target")],
)
async def test_an_axis_that_does_not_arrive_is_named(bench, axis, fault, sentence):
    await bench.fault("PIN1:PH_4", fault)
    with pytest.raises(MotionError, match=f"axis {sentence}"):
        await axis.set(3.0)


async def test_a_late_status_does_not_end_a_move_early(bench, axis):
    await bench.fault("PIN1:PH_4", "late status")
    await axis.set(5.0)
    assert await bench.get("PIN1:PH_4_GET") == pytest.approx(5.0, abs=0.01)


async def test_a_status_that_is_silent_is_no_arrival(bench, axis):
    await bench.fault("PIN1:PH_4", "no status")
    with pytest.raises(
        MotionError, match=r"axis is at its target, but its status was silent: .*PH_4_STATUS is 0"
    ):
        await axis.set(3.0)
    assert await bench.get("PIN1:PH_4_GET") == pytest.approx(3.0, abs=0.01)
    await bench.fault("PIN1:PH_4")
    await axis.set(0.0)


async def test_an_axis_stops_when_told(bench, axis):
    status = axis.set(20.0)
    await bench.becomes("PIN1:PH_4_STATUS", 1)
    await axis.stop()
    with pytest.raises(RuntimeError, match="stopped"):
        await status
    assert await bench.get("PIN1:PH_4_STATUS") == 0
    assert await bench.get("PIN1:PH_4_GET") < 19.0


async def test_an_axis_without_a_status_that_sticks_is_named(bench):
    pvs = {"setpoint": "{}_SET", "readback": "{}_GET"}
    tolerance = Tolerance(0.005, timeout=1.5)
    device = ComparedAxis(f"{bench.prefix}FIL1:PH_1", "filter", pvs=pvs, tolerance=tolerance)
    await device.connect(timeout=BOUND)
    await bench.fault("FIL1:PH_1", "stuck")
    try:
        with pytest.raises(MotionError, match=r"was set to 7 .*not there in time"):
            await device.set(7.0)
    finally:
        await bench.fault("FIL1:PH_1")


def test_a_tolerance_is_absolute_or_relative():
    tolerance = Tolerance(absolute=0.01, relative=0.06)
    assert tolerance.near(0.009, 0.0)
    assert not tolerance.near(0.02, 0.0)
    assert tolerance.near(1.05, 1.0)
    assert not tolerance.near(1.07, 1.0)


async def test_a_hexapod_moves_all_axes_at_once(bench):
    mirror = await connected(HexapodMirror(f"{bench.prefix}HEX1:", "hexapod"))
    moves = await bench.get("TRUTH:HEX1")
    await mirror.set({"x": 1.0, "y": -1.0, "c": 0.5})
    assert await bench.get("TRUTH:HEX1") == moves + 1
    location = await mirror.locate()
    assert location["readback"] == pytest.approx(
        {"x": 1.0, "y": -1.0, "z": 0.0, "a": 0.0, "b": 0.0, "c": 0.5}, abs=0.005
    )
    assert (await mirror.read())["hexapod-x"]["value"] == pytest.approx(1.0, abs=0.005)


async def test_a_hexapod_refuses_what_it_does_not_have_before_it_moves(bench):
    limits = {"x": (-2.0, 2.0)}
    mirror = await connected(HexapodMirror(f"{bench.prefix}HEX1:", "hexapod", limits=limits))
    moves = await bench.get("TRUTH:HEX1")
    with pytest.raises(ValueError, match="has the axes x, y, z, a, b, c"):
        await mirror.set({"pitch": 1.0})
    with pytest.raises(ValueError, match="hexapod-x cannot go to 3 mm"):
        await mirror.set({"y": 1.0, "x": 3.0})
    assert await bench.get("TRUTH:HEX1") == moves


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("stuck", "did not start to move"),
        ("stops short", "stopped short of its target"),
        ("no status", "was still moving when its time was over"),
    ],
)
async def test_a_hexapod_that_does_not_arrive_is_named(bench, fault, sentence):
    mirror = await connected(Pose(f"{bench.prefix}HEX1:", "hexapod", pace=QUICK))
    await mirror.set({"z": 0.0})
    await bench.fault("HEX1", fault)
    try:
        with pytest.raises(MotionError, match=f"hexapod {sentence}"):
            await mirror.set({"z": 4.0})
    finally:
        await bench.fault("HEX1")
        await mirror.stop()
        await mirror.set({"z": 0.0})
