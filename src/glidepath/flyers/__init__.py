"""What moves and what samples during a scan: motion back ends, monitors, the sampler."""

from .monitors.fast import close_idle_channels
from .monitors.ingestion import Batch, FastMonitors, Monitors, PortableMonitors, choose_monitors
from .motion.back_end import BackEnd, FlightError, MotionPlan
from .motion.back_ends import back_end_for, flight_for
from .motion.constant_velocity import ConstantVelocity
from .motion.controller_sweep import ControllerSweep, SweepBounds
from .motion.coupled import Coupled
from .motion.flight import Flight
from .motion.trajectory_controller import ProfileBounds, TrajectoryController
from .sampling.beam import BeamGuard
from .sampling.clocks import clock_offsets
from .sampling.leg_plan import LegPlan
from .sampling.sampler import RunFile, Sampler, rows_with
from .sampling.streams import TableStream
from .sampling.triggering import Triggering
from .sampling.verdict import Verdict
from .triggers.internal_clock import InternalClock
from .triggers.position_compare import PositionCompare
from .triggers.request import Triggers
from .triggers.sources import make_trigger_source, pulses_of, source_for
from .triggers.trigger_source import CapturedTriggers, TriggerError, TriggerPlan, TriggerSource

__all__ = [
    "BackEnd",
    "Batch",
    "BeamGuard",
    "CapturedTriggers",
    "ConstantVelocity",
    "ControllerSweep",
    "Coupled",
    "FastMonitors",
    "Flight",
    "FlightError",
    "InternalClock",
    "LegPlan",
    "Monitors",
    "MotionPlan",
    "PortableMonitors",
    "PositionCompare",
    "ProfileBounds",
    "RunFile",
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
    "back_end_for",
    "choose_monitors",
    "clock_offsets",
    "close_idle_channels",
    "flight_for",
    "make_trigger_source",
    "pulses_of",
    "rows_with",
    "source_for",
]
