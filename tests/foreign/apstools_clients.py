"""Device classes of ``apstools``, unmodified, on classic ophyd, in stock plans."""

import sys

import bluesky.plan_stubs as bps
import bluesky.plans as bp
from apstools.devices import (
    ApsPssShutter,
    ApsPssShutterWithStatus,
    AxisTunerMixin,
    EpicsDescriptionMixin,
    EpicsMotorDialMixin,
    EpicsMotorResolutionMixin,
    EpicsMotorServoMixin,
    EpicsMotorShutter,
    EpicsOnOffShutter,
    PVPositionerSoftDone,
    PVPositionerSoftDoneWithStop,
    Struck3820,
    ad_creator,
    mb_creator,
)
from bluesky import RunEngine
from ophyd import EpicsMotor
from reporting import report, rows_of

prefix = sys.argv[1]
engine = RunEngine({})


def connected(device):
    device.wait_for_connection(timeout=20)
    return device


def soft_done(kind, pv, *positions):
    device = connected(
        kind(
            prefix, name="supply", readback_pv=f"{pv}:rdbk", setpoint_pv=f"{pv}:set", tolerance=0.02
        )
    )
    rows = rows_of(engine, bp.list_scan([device], device, list(positions)), "supply")
    engine(bps.mv(device, 0.0))
    return [round(row[0], 2) for row in rows]


def commanded_shutter():
    shutter = connected(
        ApsPssShutter(
            f"{prefix}BS1:",
            name="shutter",
            open_pv=f"{prefix}BS1:open",
            close_pv=f"{prefix}BS1:close",
        )
    )
    engine(bps.mv(shutter, "close"))
    engine(bps.mv(shutter, "open"))
    return shutter.state


def shutter_with_status():
    shutter = connected(
        ApsPssShutterWithStatus(
            f"{prefix}BS1:",
            f"{prefix}BS1:State",
            name="shutter",
            open_pv=f"{prefix}BS1:open",
            close_pv=f"{prefix}BS1:close",
        )
    )
    engine(bps.mv(shutter, "close"))
    return shutter.state


def motor_shutter():
    shutter = connected(EpicsMotorShutter(f"{prefix}m2", name="shutter"))
    shutter.open_value, shutter.close_value = 0.0, 1.0
    states = []
    for state in ("close", "open"):
        engine(bps.mv(shutter, state))
        states.append(shutter.state)
    return states


def on_off_shutter():
    shutter = connected(EpicsOnOffShutter(f"{prefix}UE48:BaseCmdHmLock", name="shutter"))
    shutter.open_value, shutter.close_value = 0, 1
    states = []
    for state in ("close", "open"):
        engine(bps.mv(shutter, state))
        states.append(shutter.state)
    return states


def motor_with(mixin, *parts):
    kind = type("Mixed", (mixin, EpicsMotor), {})
    motor = connected(kind(f"{prefix}m2", name="motor"))
    engine(bps.mv(motor, 1.0))
    rows = rows_of(engine, bp.scan([motor], motor, 0.0, 1.0, 3), "motor")
    engine(bps.mv(motor, 0.0))
    return [[round(row[0], 3) for row in rows], *(getattr(motor, part).get() for part in parts)]


def motor_bundle():
    bundle = connected(mb_creator(prefix=prefix, motors={"x": "m2", "y": "m4"}, name="bundle"))
    plan = bp.grid_scan([bundle], bundle.x, 0, 1, 2, bundle.y, 0, 1, 2)
    rows = rows_of(engine, plan, "bundle_x", "bundle_y")
    return [[round(value, 3) for value in row] for row in rows]


def camera():
    device = ad_creator(
        f"{prefix}CAM1:",
        name="camera",
        plugins=["cam", "stats1"],
        validate_ports=False,
    )
    connected(device)
    device.cam.acquire_time.put(0.05)
    rows = rows_of(engine, bp.count([device], 2))
    return len(rows)


def struck():
    return connected(Struck3820(f"{prefix}CNT1:", name="struck")).model.get()


report("PVPositionerSoftDone", soft_done, PVPositionerSoftDone, "HS4P1D3R", -0.2, 0.2)
report("PVPositionerSoftDoneWithStop", soft_done, PVPositionerSoftDoneWithStop, "KIK1", 1.0, 2.0)
report("ApsPssShutter", commanded_shutter)
report("ApsPssShutterWithStatus", shutter_with_status)
report("EpicsMotorShutter", motor_shutter)
report("EpicsOnOffShutter", on_off_shutter)
report("EpicsMotorDialMixin", motor_with, EpicsMotorDialMixin, "dial")
report("EpicsMotorResolutionMixin", motor_with, EpicsMotorResolutionMixin, "resolution")
report("EpicsMotorServoMixin", motor_with, EpicsMotorServoMixin, "servo")
report("EpicsDescriptionMixin", motor_with, EpicsDescriptionMixin, "desc")
report("AxisTunerMixin", motor_with, AxisTunerMixin)
report("mb_creator", motor_bundle)
report("ad_creator", camera)
report("Struck3820", struck)
