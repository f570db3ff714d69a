"""The families of devices of the simulated beamline: vacuum and optics, and its accelerator."""

from ophyd_async.core import Device

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
from glidepath.devices.generic import ResourceLock

__all__ = ["accelerator_devices", "vacuum_devices"]

SECTIONS = tuple(f"{kind}{number}" for number in range(1, 9) for kind in ("D", "T"))
QUADRUPOLES = tuple(f"{family}M1{section}R" for section in SECTIONS for family in ("Q4", "Q3"))
"""Names around the ring, with a beam position monitor at each."""

UM_PER_PIXEL = (2.0, 3.0)
"""Of the beam size monitor, for x and y."""


def vacuum_devices(prefix: str, undulator: str) -> list[Device]:
    """Return the devices of the vacuum and optics server, not connected.

    Parameters
    ----------
    prefix
        What every PV begins with.
    undulator
        Which one can be locked, such as ``"UE48"``.
    """
    return [
        BeamShutter(f"{prefix}BS1:", "beam_shutter"),
        PhotonShutter(f"{prefix}PSH1:", "photon_shutter"),
        Valve(f"{prefix}V1:", "valve1"),
        Valve(f"{prefix}V2:", "valve2"),
        MirrorM1(f"{prefix}M1:", "mirror"),
        HexapodMirror(f"{prefix}HEX1:", "hexapod"),
        ApertureUnit(f"{prefix}AU1:", "aperture"),
        Slits(f"{prefix}SLIT1:", "slits"),
        Pinholes(f"{prefix}PIN1:", "pinholes"),
        Filters(f"{prefix}FIL1:", "filters"),
        ExitSlit(f"{prefix}ES1:", "exit_slit"),
        ResourceLock(f"{prefix}LOCK1:", "lock"),
        UndulatorLock(f"{prefix}{undulator}:", "undulator_lock"),
    ]


def accelerator_devices(prefix: str) -> list[Device]:
    """Return the devices of the accelerator, not connected.

    Parameters
    ----------
    prefix
        What every PV begins with.
    """
    converter = PowerConverter(f"{prefix}QSPAZR:", "converter")
    return [
        TopUpRing(f"{prefix}RING:", f"{prefix}TOPUPCC:", "topup"),
        InjectionEngine(f"{prefix}TOPUPCC:", "injection"),
        FillPattern(f"{prefix}CUMZR:", "fill_pattern"),
        PowerConverter(f"{prefix}HS4P1D4R:", "steerer_x"),
        PowerConverter(f"{prefix}VS3P1D4R:", "steerer_y"),
        converter,
        Multiplexer(f"{prefix}PMUXZR:", converter, "multiplexer", quadrupoles=QUADRUPOLES),
        Kicker(f"{prefix}KIK1:", "kicker"),
        DelayLine(f"{prefix}PAHB:", "delay"),
        Tune(f"{prefix}TUNEZRP:", "tune"),
        BunchFeedback(f"{prefix}BBQR:", "feedback"),
        BeamPositionMonitors(f"{prefix}MDIZ2T5G:", QUADRUPOLES, "bpms"),
        BeamPositionMonitor(f"{prefix}BPMZD4Q4R:", "bpm"),
        BeamSizeMonitor(f"{prefix}BSM1:Stats1:", UM_PER_PIXEL, "beam_size"),
    ]
