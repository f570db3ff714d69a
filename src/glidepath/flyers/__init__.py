"""What moves and what samples during a scan: motion back ends, monitors, the sampler."""

from .back_ends import flight_for, pulses_of, source_for
from .beam import BeamGuard
from .clocks import clock_offsets
from .constant_velocity import ConstantVelocity
from .controller_sweep import ControllerSweep, SweepBounds
from .coupled import Coupled
from .fast_monitors import close_idle_channels
from .flight import BackEnd, Flight, FlightError
from .ingestion import Batch, FastMonitors, Monitors, PortableMonitors, choose_monitors
from .internal_clock import InternalClock
from .position_compare import PositionCompare
from .sampler import Sampler, TableStream
from .trajectory_controller import ProfileBounds, TrajectoryController
from .trigger_source import TriggerError, TriggerPlan, Triggers, TriggerSource
from .triggering import Triggering
from .verdict import Verdict

__all__ = [
    "BackEnd",
    "Batch",
    "BeamGuard",
    "ConstantVelocity",
    "ControllerSweep",
    "Coupled",
    "FastMonitors",
    "Flight",
    "FlightError",
    "InternalClock",
    "Monitors",
    "PortableMonitors",
    "PositionCompare",
    "ProfileBounds",
    "Sampler",
    "SweepBounds",
    "TableStream",
    "TrajectoryController",
    "TriggerError",
    "TriggerPlan",
    "TriggerSource",
    "Triggering",
    "Triggers",
    "Verdict",
    "choose_monitors",
    "clock_offsets",
    "close_idle_channels",
    "flight_for",
    "pulses_of",
    "source_for",
]
