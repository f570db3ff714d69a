"""Device classes of ``dls-dodal``, unmodified, in stock plans."""

import asyncio
import sys
import tempfile
from pathlib import Path

import bluesky.plan_stubs as bps
import bluesky.plans as bp
from bluesky import RunEngine
from dodal.devices.fast_shutter import FastShutter
from dodal.devices.motors import (
    XThetaStage,
    XYPitchStage,
    XYRollStage,
    XYStage,
    XYZPitchYawStage,
    XYZStage,
    XYZThetaStage,
    YZStage,
)
from dodal.devices.scaler_card import ScalerCard, ScalerCardController
from dodal.devices.slits import MinimalSlits, Slits
from dodal.devices.tetramm import TetrammDetector
from dodal.devices.wrapped_axis import WrappedAxis
from dodal.devices.zebra.zebra import Zebra
from dodal.devices.zebra.zebra_constants_mapping import ZebraMapping
from ophyd_async.core import DeviceVector, StaticPathProvider, StrictEnum, UUIDFilenameProvider
from ophyd_async.epics.core import epics_signal_r
from ophyd_async.epics.motor import Motor
from reporting import report, rows_of

prefix = sys.argv[1]
engine = RunEngine({})


def connected(device):
    work = device.connect(timeout=20)
    asyncio.run_coroutine_threadsafe(work, engine.loop).result(30)
    return device


def stage(kind, axes):
    """Scan the first axis of a stage, and move the second one."""
    infixes = {f"{axis}_infix": f"m{number}" for axis, number in axes.items()}
    device = connected(kind(prefix, name="stage", **infixes))
    first, second = (getattr(device, axis) for axis in list(axes)[:2])
    engine(bps.mv(first, 0.0, second, 1.0))
    rows = rows_of(engine, bp.scan([device], first, 0.0, 1.0, 3), first.name, second.name)
    return [[round(value, 3) for value in row] for row in rows]


def slits(kind, **infixes):
    device = connected(kind(prefix, name="slits", **infixes))
    engine(bps.mv(device.x_gap, 0.5))
    rows = rows_of(engine, bp.scan([device], device.y_gap, 0.5, 1.0, 2), "slits-y_gap")
    return [round(row[0], 3) for row in rows]


def wrapped_axis():
    motor = connected(Motor(f"{prefix}m2", "motor"))
    device = connected(WrappedAxis(motor, "wrapped"))
    engine(bps.mv(motor, 5.0))
    engine(bps.mv(device.phase, 8.0))
    rows = rows_of(engine, bp.count([device]), "wrapped-phase")
    engine(bps.mv(motor, 0.0))
    return round(rows[0][0], 3)


def scaler_card():
    scaler = f"{prefix}CNT1:scaler1"
    controller = ScalerCardController(scaler, ".CNT", ".TP", "controller")
    channels = DeviceVector({n: epics_signal_r(float, f"{scaler}.S{n}") for n in (1, 2)})
    card = ScalerCard(channels, controller, "card")
    connected(controller)
    connected(card)
    engine(bps.mv(card, 0.5))
    rows = rows_of(engine, bp.count([card], 2), "card-channel-1")
    return [row[0] > 0 for row in rows]


class Switch(StrictEnum):
    """States of the top-up, whose record is an enumeration of two."""

    OFF = "OFF"
    ON = "ON"


def fast_shutter():
    device = FastShutter(f"{prefix}TOPUPCC:state", Switch.ON, Switch.OFF, "shutter")
    connected(device)
    engine(bps.mv(device.open, False))
    engine(bps.mv(device, Switch.OFF))
    return [row[0] for row in rows_of(engine, bp.count([device]), "shutter-shutter_state")]


def zebra():
    device = connected(Zebra(ZebraMapping(), f"{prefix}ZEBRA:", "zebra"))
    engine(bps.abs_set(device.pc.pulse_width, 0.2, wait=True))
    engine(bps.abs_set(device.pc.gate_start, 3.0, wait=True))
    found = asyncio.run_coroutine_threadsafe(device.pc.pulse_width.get_value(), engine.loop)
    return round(found.result(20), 3)


def tetramm():
    folder = StaticPathProvider(UUIDFilenameProvider(), Path(tempfile.mkdtemp()))
    device = TetrammDetector(f"{prefix}QE1:", folder, "", "HDF1:", name="tetramm")
    connected(device)
    return "connected"


STAGES = {
    XThetaStage: {"x": 2, "theta": 4},
    XYStage: {"x": 2, "y": 4},
    YZStage: {"y": 2, "z": 4},
    XYZStage: {"x": 2, "y": 4, "z": 1},
    XYPitchStage: {"x": 2, "y": 4, "pitch": 1},
    XYRollStage: {"x": 2, "y": 4, "roll": 1},
    XYZThetaStage: {"x": 2, "y": 4, "z": 1, "theta": 3},
    XYZPitchYawStage: {"x": 2, "y": 4, "z": 1, "pitch": 3, "yaw": 4},
}
for kind, axes in STAGES.items():
    report(kind.__name__, stage, kind, axes)
report("MinimalSlits", lambda: slits(MinimalSlits, x_gap="m2", y_gap="m4"))
report("Slits", lambda: slits(Slits, x_gap="m2", y_gap="m4", x_centre="m1", y_centre="m3"))
report("WrappedAxis", wrapped_axis)
report("ScalerCard", scaler_card)
report("FastShutter", fast_shutter)
report("Zebra", zebra)
report("TetrammDetector", tetramm)
