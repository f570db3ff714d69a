"""Which back end flies which axis."""

from typing import Any

from glidepath.devices import EnergyAxis, Motor, ProfileMotor
from glidepath.devices.monochromator import PGM
from glidepath.trajectory import PreflightError

from .constant_velocity import ConstantVelocity
from .controller_sweep import ControllerSweep
from .flight import Flight
from .trajectory_controller import TrajectoryController


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


__all__ = ["flight_for"]
