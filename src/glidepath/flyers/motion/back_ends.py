"""Which back end flies which axis."""

from typing import Any

from glidepath.devices import (
    Coupling,
    EnergyAxis,
    Motor,
    ProfileMotor,
    use_flights,
)
from glidepath.devices.monochromator import PGM
from glidepath.trajectory import PreflightError

from .constant_velocity import ConstantVelocity
from .controller_sweep import ControllerSweep
from .coupled import Coupled
from .flight import BackEnd, Flight
from .trajectory_controller import TrajectoryController


def back_end_for(axis: Any) -> BackEnd:
    """Return what flies an axis, by what the axis is.

    Raises
    ------
    PreflightError
        If no back end flies such a device.
    """
    if isinstance(axis, EnergyAxis):
        monochromator, undulator = axis.monochromator(), axis.undulator()
        if undulator is not None and axis.coupling is Coupling.SEPARATE:
            return Coupled(axis, back_end_for(monochromator))
        if isinstance(monochromator, PGM):
            return ControllerSweep(axis)
        if undulator is None and isinstance(monochromator, Motor):
            return ConstantVelocity(monochromator)
    if isinstance(axis, PGM):
        return ControllerSweep(axis)
    if isinstance(axis, ProfileMotor):
        return TrajectoryController(axis)
    if isinstance(axis, Motor):
        return ConstantVelocity(axis)
    raise PreflightError(
        f"{getattr(axis, 'name', axis)!r} cannot be flown: an energy axis on a plane-grating "
        "monochromator or on a motor, such a monochromator, or a motor can be; choose one of these."
    )


def flight_for(axis: Any) -> Flight:
    """Return a flight of an axis, by what the axis is; PreflightError if nothing flies it."""
    return Flight(back_end_for(axis), f"{axis.name}_flight")


use_flights(flight_for)

__all__ = ["back_end_for", "flight_for"]
