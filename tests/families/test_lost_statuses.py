"""A status whose server is gone, or hangs, in the middle of a wait: an error, in bounded time."""

import asyncio
import time

import pytest
from ophyd_async.core import callback_on_mock_put, set_mock_value

from glidepath.devices import Pace
from glidepath.devices.families import BeamShutter, Slits, Valve
from glidepath.devices.generic import ComparedAxis, Pose, StatusAxis, Tolerance
from glidepath.devices.positioning import MotionError
from glidepath.devices.signals import lost, watch
from glidepath.plans import light_path

BOUND = 60.0
QUICK = Pace(slowest=4.0, allowance=2.0, start=2.0, arrival=1.0, confirmation=0.5)
PIN = {"setpoint": "{}_SET", "readback": "{}_GET", "status": "{}_STATUS"}
FILTER = {"setpoint": "{}_SET", "readback": "{}_GET"}


@pytest.fixture
async def gone(bench, with_vacuum):
    """A function that kills the vacuum server; it is back, as it was, after the test."""
    killed = []

    def kill():
        with_vacuum.kill("vacuum")
        killed.append(True)

    yield kill
    if killed:
        with_vacuum.restart("vacuum")
        await bench.becomes("V1:State1", 14, within=60.0)


async def failed(status):
    """Return what a status fails of."""
    with pytest.raises(MotionError) as error:
        await asyncio.wait_for(status, BOUND)
    return str(error.value)


@pytest.mark.slow
async def test_what_is_moved_when_its_server_goes_fails_and_names_what_was_seen_last(bench, gone):
    valve = Valve(f"{bench.prefix}V1:", "valve", travel=2.0, lateness=1.0)
    shutter = BeamShutter(f"{bench.prefix}BS1:", "shutter", travel=2.0)
    axis = StatusAxis(f"{bench.prefix}PIN1:PH_4", "axis", pvs=PIN, unit="mm", pace=QUICK)
    compared = ComparedAxis(
        f"{bench.prefix}FIL1:PH_2", "compared", pvs=FILTER, tolerance=Tolerance(timeout=4.0)
    )
    slits = Slits(f"{bench.prefix}SLIT1:", "slits")
    devices = (valve, shutter, axis, compared, slits)
    await asyncio.gather(*(device.connect(timeout=BOUND) for device in devices))
    await asyncio.gather(valve.set("open"), shutter.set("open"), axis.set(0.0), compared.set(0.0))
    for name in ("V1", "BS1"):
        await bench.fault(name, "half-way")
    statuses = [valve.set("closed"), shutter.set("closed"), axis.set(20.0), compared.set(20.0)]
    await bench.becomes("V1:State1", 4)
    await bench.becomes("BS1:State", 0)
    await bench.becomes("PIN1:PH_4_STATUS", 1)
    async with shutter.kept_open() as objection:
        gone()
        said = await asyncio.gather(*(failed(status) for status in statuses))
        assert objection() != ""
    for sentence, name in zip(said, ("valve", "shutter", "axis", "compared"), strict=True):
        assert sentence.startswith(f"{name} was ")
    assert "V1:State1 is disconnected, and was 4 (moving) before" in said[0]
    assert "BS1:State is disconnected, and was 0 (moving) before" in said[1]
    assert "still moving when its time was over" in said[2]
    assert f"(the connection to ca://{bench.prefix}PIN1:PH_4_STATUS" in said[2]
    assert f"(the connection to ca://{bench.prefix}FIL1:PH_2_GET is lost)" in said[3]


@pytest.mark.slow
async def test_what_a_lost_server_has_shown_last_is_no_first_value(bench, gone):
    valve = Valve(f"{bench.prefix}V1:", "valve")
    await valve.connect(timeout=BOUND)
    # Somebody listens already, so that a value is at hand.
    valve.status.subscribe_reading(lambda _: None)
    async with valve.kept_open() as objection:
        assert objection() == ""
        gone()
        for _ in range(600):
            if lost(valve.status):
                break
            await asyncio.sleep(0.05)
        assert lost(valve.status) == (valve.status.source,)
        with pytest.raises(TimeoutError, match=r"No value came from ca://.*V1:State1 within 0.5 s"):
            async with watch(valve.status, within=0.5):
                pass
        begun = time.monotonic()
        while not (said := objection()):
            assert time.monotonic() - begun < BOUND
            await asyncio.sleep(0.1)
        assert said.endswith(
            "V1:State1 is disconnected, so that nobody knows whether valve has stayed open"
        )


@pytest.mark.slow
async def test_an_axis_that_is_there_already_is_asked_once_more(bench, with_vacuum):
    axis = ComparedAxis(f"{bench.prefix}FIL1:PH_2", "axis", pvs=FILTER)
    await axis.connect(timeout=BOUND)
    await axis.set(0.0)
    logic = axis.movable_logic
    async with watch(axis.readback) as seen:
        with_vacuum.freeze("vacuum")
        try:
            with pytest.raises(
                MotionError, match=r"nobody knows whether it is there, for ca://.*PH_2_GET does not"
            ):
                await asyncio.wait_for(logic._settled(0.0, seen, lambda: 5.0), BOUND)
        finally:
            with_vacuum.thaw("vacuum")


@pytest.fixture
async def pose():
    """A hexapod that is not there, which goes wherever it is sent as soon as it is started."""
    hexapod = Pose("HEX:", "hexapod", pace=QUICK)
    await hexapod.connect(mock=True)

    def arrive(_):
        if hexapod.says_so:
            set_mock_value(hexapod.running, 1)
        set_mock_value(hexapod.x.readback, 1.0)
        if hexapod.says_so:
            set_mock_value(hexapod.running, 0)

    hexapod.says_so = True
    callback_on_mock_put(hexapod.start, arrive)
    return hexapod


async def test_a_hexapod_whose_status_is_silent_has_not_arrived(pose):
    pose.says_so = False
    sentence = await failed(pose.set({"x": 1.0}))
    assert "hexapod is there, but its status was silent" in sentence
    assert "HEX:multiaxis:running is 0" in sentence


async def test_a_hexapod_that_says_that_it_moved_has_arrived(pose):
    await pose.set({"x": 1.0})
    assert (await pose.locate())["readback"]["x"] == 1.0


async def test_a_mock_of_an_axis_arrives_at_once():
    axis = StatusAxis("X:", "axis", limits=(-9.0, 9.0))
    await axis.connect(mock=True)
    await axis.set(2.0)
    assert await axis.readback.get_value() == 2.0


class Doubtful:
    """A shutter that shows that it is closed, which nobody can believe."""

    name = "shutter"

    async def state(self):
        return "closed"

    async def doubt(self):
        return "its status was not renewed"


async def test_a_shutter_in_doubt_is_an_objection_of_the_preflight():
    assert await light_path.light_path_objections(Doubtful(), []) == [
        "shutter cannot be the shutter of a scan now, for its status was not renewed."
    ]
