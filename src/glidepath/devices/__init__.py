"""Devices of a beamline for ophyd-async, one file per family."""

from typing import TYPE_CHECKING, Any

from .accelerator import Ring
from .electrometer import Electrometer
from .encoders import (
    AxisEncoders,
    BraggEncoder,
    EncoderInput,
    GratingEncoders,
    LinearEncoder,
)
from .energy import Coupling, EnergyAxis
from .flying import flight_of
from .gap_table import GapTableError, read_gap_table, write_gap_table
from .monochromator import (
    DCM,
    KMC3DCM,
    PGM,
    SGM,
    GapMethod,
    MoveTiming,
    Sweep,
    SweepAction,
    SweepState,
    SweepTiming,
)
from .motion import Motor
from .positioning import MotionError, Pace
from .profile_move import ExecuteState, ProfileMotor, ProfileMove, ProfileStatus
from .pulse_generator import PulseGenerator, Pulses
from .sampled import Sampled, SampledChannel, channels_for, register_channels, sampled
from .signals import Watch, signal_r, signal_rw, watch
from .undulator import ControlMode, Undulator, UndulatorAxis
from .zebra import Zebra

if TYPE_CHECKING:
    from .panda import Panda, panda_box

__all__ = [
    "DCM",
    "KMC3DCM",
    "PGM",
    "SGM",
    "AxisEncoders",
    "BraggEncoder",
    "ControlMode",
    "Coupling",
    "Electrometer",
    "EncoderInput",
    "EnergyAxis",
    "ExecuteState",
    "GapMethod",
    "GapTableError",
    "GratingEncoders",
    "LinearEncoder",
    "MotionError",
    "Motor",
    "MoveTiming",
    "Pace",
    "Panda",
    "ProfileMotor",
    "ProfileMove",
    "ProfileStatus",
    "PulseGenerator",
    "Pulses",
    "Ring",
    "Sampled",
    "SampledChannel",
    "Sweep",
    "SweepAction",
    "SweepState",
    "SweepTiming",
    "Undulator",
    "UndulatorAxis",
    "Watch",
    "Zebra",
    "channels_for",
    "flight_of",
    "panda_box",
    "read_gap_table",
    "register_channels",
    "sampled",
    "signal_r",
    "signal_rw",
    "watch",
    "write_gap_table",
]


def __getattr__(name: str) -> Any:
    """Import what few beamlines have only when it is asked for: it takes a third of a second."""
    if name in ("Panda", "panda_box"):
        from . import panda

        return getattr(panda, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
