"""Which back end flies which axis, and what triggers the detectors."""

from typing import Any

from glidepath.detectors import TriggeredDetector
from glidepath.devices import EnergyAxis, Motor, ProfileMotor, Zebra
from glidepath.devices.monochromator import PGM
from glidepath.trajectory import PreflightError

from .constant_velocity import ConstantVelocity
from .controller_sweep import ControllerSweep
from .flight import Flight
from .internal_clock import InternalClock
from .position_compare import PositionCompare
from .trajectory_controller import TrajectoryController
from .trigger_source import TriggerSource


def flight_for(axis: Any) -> Flight:
    """Return a flight of an axis, by what the axis is.

    Raises
    ------
    PreflightError
        If no back end flies such a device.
    """
    sweeps = isinstance(axis, EnergyAxis) and isinstance(axis.monochromator(), PGM)
    if sweeps or isinstance(axis, PGM):
        return Flight(ControllerSweep(axis), f"{axis.name}_flight")
    if isinstance(axis, ProfileMotor):
        return Flight(TrajectoryController(axis), f"{axis.name}_flight")
    if isinstance(axis, Motor):
        return Flight(ConstantVelocity(axis), f"{axis.name}_flight")
    raise PreflightError(
        f"{getattr(axis, 'name', axis)!r} cannot be flown: an energy axis on a plane-grating "
        "monochromator, such a monochromator, or a motor can be; choose one of these."
    )


def source_for(trigger: Any, axis: Any) -> TriggerSource:
    """Return what triggers the detectors of a scan, by what the trigger is.

    Parameters
    ----------
    trigger
        A trigger box, a detector that goes by its own clock, or a `TriggerSource`.
    axis
        What is flown.

    Raises
    ------
    PreflightError
        If it cannot trigger, or knows no encoder of the axis.
    """
    if isinstance(trigger, TriggerSource):
        return trigger
    if isinstance(trigger, Zebra):
        return PositionCompare(trigger, axis)
    if isinstance(trigger, TriggeredDetector):
        return InternalClock(trigger.name)
    raise PreflightError(
        f"{getattr(trigger, 'name', trigger)!r} makes no triggers: a trigger box does, or a "
        "detector by its own clock; choose one of these."
    )


__all__ = ["flight_for", "source_for"]
