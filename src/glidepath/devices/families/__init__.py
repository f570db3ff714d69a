"""The families of devices of a beamline and its ring: PV names of BESSY II on generic classes."""

from .apertures import (
    ApertureUnit,
    ExitSlit,
    Filters,
    Pinholes,
    Slits,
)
from .diagnostics import (
    BeamPositionMonitor,
    BeamPositionMonitors,
    BeamSizeMonitor,
    BendingMagnet,
    BunchFeedback,
    FillPattern,
    TopUpRing,
    Tune,
)
from .injection import InjectionEngine
from .magnets import DelayLine, Hysteresis, Kicker, Multiplexer, PowerConverter
from .mirrors import HexapodMirror, MirrorM1
from .shutters import BeamShutter, PhotonShutter, Valve
from .undulator_lock import UndulatorLock

__all__ = [
    "ApertureUnit",
    "BeamPositionMonitor",
    "BeamPositionMonitors",
    "BeamShutter",
    "BeamSizeMonitor",
    "BendingMagnet",
    "BunchFeedback",
    "DelayLine",
    "ExitSlit",
    "FillPattern",
    "Filters",
    "HexapodMirror",
    "Hysteresis",
    "InjectionEngine",
    "Kicker",
    "MirrorM1",
    "Multiplexer",
    "PhotonShutter",
    "Pinholes",
    "PowerConverter",
    "Slits",
    "TopUpRing",
    "Tune",
    "UndulatorLock",
    "Valve",
]
