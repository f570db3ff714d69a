"""A scan opens its shutter before the axis flies, and closes it however it ends."""

import asyncio

import aioca
import pytest
from bluesky import Msg

from glidepath.devices import Electrometer, Motor
from glidepath.devices.families import UndulatorLock, Valve
from glidepath.flyers import FlightError
from glidepath.plans import flyscan, inspect
from glidepath.trajectory import PreflightError, Region, Trajectory

pytestmark = pytest.mark.slow

BOUND = 60.0


@pytest.fixture
def lab(with_vacuum, RE, tmp_path, monkeypatch):
    """A slide that flies, its electrometer, and two valves."""
    monkeypatch.setenv("GLIDEPATH_DATA", str(tmp_path))
    prefix = with_vacuum.prefix
    devices = {
        "slide": Motor(f"{prefix}m2", "slide"),
        "sample": Electrometer(f"{prefix}KEI2:", "sample"),
        "shutter": Valve(f"{prefix}PSH1:", "shutter", travel=5.0),
        "valve": Valve(f"{prefix}V2:", "valve", travel=5.0),
        "lock": UndulatorLock(f"{prefix}UE48:", "lock"),
    }
    for device in devices.values():
        do(RE, lambda device=device: device.connect(timeout=BOUND))
    for name in ("shutter", "valve"):
        do(RE, lambda name=name: devices[name].set("closed"))
    devices["RE"], devices["prefix"] = RE, prefix
    return devices


def do(engine, function):
    """Await something in the run engine's loop."""

    async def work():
        return await function()

    return asyncio.run_coroutine_threadsafe(work(), engine._loop).result(BOUND)


def scan(lab, **options):
    return flyscan([lab["sample"]], lab["slide"], 0.0, 4.0, 2.0, period=0.1, **options)


def test_the_shutter_is_closed_after_the_scan(lab):
    lab["RE"](scan(lab, shutter=lab["shutter"]))
    assert do(lab["RE"], lab["shutter"].locate) == {"setpoint": "closed", "readback": "closed"}


def test_the_shutter_is_open_in_flight_and_closed_after_a_fault(lab):
    seen, shutter = [], lab["shutter"]
    with pytest.raises(FlightError, match="had enough"):
        lab["RE"](interrupted(scan(lab, shutter=shutter), seen, shutter))
    assert seen == ["open"]
    assert do(lab["RE"], shutter.state) == "closed"


def interrupted(plan, seen, shutter):
    """Carry out a plan until the flight is to be completed, and let it fail there."""

    async def ask():
        seen.append(await shutter.state())

    answer = None
    while True:
        try:
            message = plan.send(answer)
        except StopIteration:
            return
        if message.command == "complete" and not seen:
            yield Msg("wait_for", None, [ask])
            message = plan.throw(FlightError("The test has had enough of it."))
        answer = yield message


def test_a_shutter_that_does_not_open_ends_the_scan_before_the_flight(lab):
    prefix = lab["prefix"]
    put(lab, f"{prefix}FAULT:PSH1", "stuck")
    try:
        with pytest.raises(Exception, match=r"shutter was to be open .*toggled once"):
            lab["RE"](scan(lab, shutter=lab["shutter"]))
    finally:
        put(lab, f"{prefix}FAULT:PSH1", "none")
    assert do(lab["RE"], lab["slide"].user_readback.get_value) <= 0.0


def test_a_shutter_whose_status_is_silent_ends_this_scan_and_refuses_the_next(lab):
    prefix = lab["prefix"]
    put(lab, f"{prefix}FAULT:PSH1", "no status")
    try:
        with pytest.raises(Exception, match=r"shutter was to be open and its status was not rene"):
            lab["RE"](scan(lab, shutter=lab["shutter"]))
        for options in ({"shutter": lab["shutter"]}, {"path": [lab["shutter"]]}):
            with pytest.raises(PreflightError, match=r"PSH1:State1 is 5|shutter is closed"):
                lab["RE"](scan(lab, **options))
    finally:
        put(lab, f"{prefix}FAULT:PSH1", "none")
    assert do(lab["RE"], lab["slide"].user_readback.get_value) <= 0.0
    assert do(lab["RE"], lab["shutter"].state) == "open"
    do(lab["RE"], lambda: lab["shutter"].set("closed"))


def put(lab, name, value):
    do(lab["RE"], lambda: aioca.caput(name, value, wait=True, timeout=20))


def test_a_closed_valve_in_the_path_is_a_reason_in_the_preflight(lab):
    with pytest.raises(PreflightError, match="valve is closed, so that there is no light"):
        lab["RE"](scan(lab, path=[lab["valve"]]))
    do(lab["RE"], lambda: lab["valve"].set("open"))
    lab["RE"](scan(lab, path=[lab["valve"], lab["lock"]]))


def test_a_closed_valve_is_in_the_report_of_the_preflight_too(lab):
    trajectory = Trajectory((Region(0.0, 4.0, 2.0),))
    asked = [lab["sample"]], lab["slide"], trajectory, 0.1
    report = do(lab["RE"], lambda: inspect(*asked, path=[lab["valve"], lab["lock"]]))
    (objection,) = report.objections
    assert objection == "valve is closed, so that there is no light behind it; open it first."
    put(lab, f"{lab['prefix']}FAULT:PSH1", "switch fault")
    try:
        report = do(lab["RE"], lambda: inspect(*asked, shutter=lab["shutter"]))
    finally:
        put(lab, f"{lab['prefix']}FAULT:PSH1", "none")
    assert report.objections == ("shutter is in fault, so that it cannot be opened.",)


def test_an_undulator_that_the_control_room_has_locked_is_a_reason_too(lab):
    name = f"{lab['prefix']}UE48:BaseCmdHmLock"
    put(lab, name, 1)
    try:
        with pytest.raises(PreflightError, match="locked by the control room"):
            lab["RE"](scan(lab, path=[lab["lock"]]))
    finally:
        put(lab, name, 0)


def test_what_is_no_shutter_is_refused(lab):
    with pytest.raises(PreflightError, match="sample cannot be the shutter"):
        lab["RE"](scan(lab, shutter=lab["sample"]))
    with pytest.raises(PreflightError, match="sample cannot be in the path"):
        lab["RE"](scan(lab, path=[lab["sample"]]))
