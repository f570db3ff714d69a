"""The families of devices of a beamline and its ring: PV names of BESSY II on generic classes."""

from .apertures import (
    ApertureUnit,
    ExitSlit,
    Filters,
    Pinholes,
    Slits,
)
from .mirrors import HexapodMirror, MirrorM1
from .shutters import BeamShutter, PhotonShutter, Valve
from .undulator_lock import UndulatorLock

__all__ = [
    "ApertureUnit",
    "BeamShutter",
    "ExitSlit",
    "Filters",
    "HexapodMirror",
    "MirrorM1",
    "PhotonShutter",
    "Pinholes",
    "Slits",
    "UndulatorLock",
    "Valve",
]
