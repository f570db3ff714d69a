"""The devices whose faults the acceptance tests are to find, with bounds that are soon over."""

import os

from ophyd_async.core import Device

from glidepath.beamlines import simulated
from glidepath.devices import Pace
from glidepath.devices.families import (
    ApertureUnit,
    BeamPositionMonitor,
    BeamPositionMonitors,
    BeamShutter,
    BeamSizeMonitor,
    BunchFeedback,
    DelayLine,
    ExitSlit,
    FillPattern,
    Filters,
    HexapodMirror,
    InjectionEngine,
    Kicker,
    MirrorM1,
    Multiplexer,
    PhotonShutter,
    Pinholes,
    PowerConverter,
    Slits,
    TopUpRing,
    Tune,
    UndulatorLock,
    Valve,
)
from glidepath.devices.generic import ResourceLock, Tolerance

__all__ = ["ACCEPTANCE", "AXES", "DETECTORS", "SAFE_RANGES", "make_devices"]

DETECTORS = ["mesh", "sample", "ring"]

AXES = ["energy", "energy_separate", "mono_motor"]

QUADRUPOLES = ("Q4M1D1R", "Q3M1D1R")

QUICK = Pace(slowest=2.0, allowance=3.0, start=2.0, arrival=1.0)

TRAVEL = 3.0
"""Seconds within which a simulated valve or shutter is open or closed."""

SECONDS = 6.0
"""Longest time of a move of a simulated axis."""

SAFE_RANGES = {
    **{name: simulated.SAFE_RANGES[name] for name in (*AXES, "focus")},
    **{f"m1-{axis}": (-2.0, 2.0) for axis in ("tx", "rx")},
    **{f"hexapod-{axis}": (-2.0, 2.0) for axis in ("x", "a")},
    "aperture-vgap": (2.0, 6.0),
    "aperture-top": (1.0, 3.0),
    "slits-hgap": (1.0, 4.0),
    "slits-top": (0.0, 2.0),
    "pinholes-axes-2": (-3.0, 3.0),
    "filters-axes-1": (-3.0, 3.0),
    "exit_slit": (20.0, 200.0),
    "steerer": (-0.5, 0.5),
    "converter": (-2.0, 2.0),
    "kicker": (0.0, 5.0),
    "delay": (-10.0, 10.0),
    "engine": (200.0, 300.0),
}

ACCEPTANCE = {
    **{name: simulated.ACCEPTANCE[name] for name in (*AXES, "focus")},
    "filters-axes-1": {"seconds": SECONDS},
    "kicker": {"seconds": SECONDS},
}


def make_devices(prefix: str | None = None) -> dict[str, Device]:
    """Make devices of all families of the simulation, a motor, a monochromator, an undulator.

    Parameters
    ----------
    prefix
        What every PV begins with; None: the environment's ``GLIDEPATH_PREFIX``, or ``"SIM:"``.
    """
    if prefix is None:
        prefix = os.environ.get("GLIDEPATH_PREFIX", "SIM:")
    known = simulated.make_devices(prefix, panda=False, vacuum=False, accelerator=False)
    names = (*AXES, "pgm", "ue48", "focus", *DETECTORS)
    converter = PowerConverter(f"{prefix}QSPAZR:", "converter", tolerance=_supply(SECONDS))
    devices: list[Device] = [
        Valve(f"{prefix}V1:", "valve", travel=TRAVEL),
        PhotonShutter(f"{prefix}PSH1:", "photon_shutter", travel=TRAVEL),
        BeamShutter(f"{prefix}BS1:", "beam_shutter", travel=TRAVEL),
        MirrorM1(f"{prefix}M1:", "m1"),
        HexapodMirror(
            f"{prefix}HEX1:", "hexapod", pace=QUICK, limits=dict.fromkeys("xyzabc", (-20.0, 20.0))
        ),
        ApertureUnit(f"{prefix}AU1:", "aperture"),
        Slits(f"{prefix}SLIT1:", "slits", tolerance=Tolerance(0.005, settle=0.1, timeout=SECONDS)),
        Pinholes(f"{prefix}PIN1:", "pinholes"),
        Filters(f"{prefix}FIL1:", "filters"),
        ExitSlit(f"{prefix}ES1:", "exit_slit"),
        ResourceLock(f"{prefix}LOCK1:", "lock"),
        UndulatorLock(f"{prefix}UE48:", "undulator_lock"),
        PowerConverter(f"{prefix}HS4P1D4R:", "steerer", tolerance=_supply(SECONDS)),
        converter,
        Multiplexer(f"{prefix}PMUXZR:", converter, "mux", quadrupoles=QUADRUPOLES, timeout=TRAVEL),
        Kicker(f"{prefix}KIK1:", "kicker"),
        DelayLine(f"{prefix}PAHB:", "delay"),
        InjectionEngine(f"{prefix}TOPUPCC:", "engine", timeout=SECONDS),
        TopUpRing(f"{prefix}RING:", f"{prefix}TOPUPCC:", "top_up"),
        FillPattern(f"{prefix}CUMZR:", "pattern"),
        Tune(f"{prefix}TUNEZRP:", "tune"),
        BunchFeedback(f"{prefix}BBQR:", "feedback"),
        BeamPositionMonitors(f"{prefix}MDIZ2T5G:", QUADRUPOLES, "bpms"),
        BeamPositionMonitor(f"{prefix}BPMZD1Q4R:", "bpm"),
        BeamSizeMonitor(f"{prefix}BSM1:Stats1:", (1.0, 1.0), "beam_size"),
    ]
    return {name: known[name] for name in names} | {device.name: device for device in devices}


def _supply(timeout: float) -> Tolerance:
    return Tolerance(absolute=1e-2, settle=0.2, timeout=timeout)
