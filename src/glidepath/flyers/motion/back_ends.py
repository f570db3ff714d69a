"""Which back end flies which axis: a registry by type, open to other packages.

A package that brings a kind of axis of its own registers its back end for the type::

    @back_end_for.register
    def _(axis: MyAxis) -> BackEnd:
        return MyBackEnd(axis)

and names the module that does so as an entry point of the group ``glidepath.back_ends``; it is
imported when an axis is to be flown that nothing is known about.
"""

from functools import singledispatch
from typing import Any

from ophyd_async.epics.motor import Motor

from glidepath.devices.energy import Coupling, EnergyAxis
from glidepath.devices.extensions import load_extensions
from glidepath.devices.flying import BACK_ENDS, flight_of
from glidepath.devices.monochromator import DCM, KMC3DCM, PGM, SGM
from glidepath.devices.profile_move import ProfileMotor
from glidepath.trajectory import PreflightError

from .back_end import BackEnd
from .constant_velocity import ConstantVelocity
from .controller_sweep import ControllerSweep
from .coupled import Coupled
from .flight import Flight
from .followed import Followed
from .ordinary_move import OrdinaryMove
from .trajectory_controller import TrajectoryController


@singledispatch
def back_end_for(axis: Any) -> BackEnd[Any]:
    """Return what flies an axis, by what the axis is.

    Raises
    ------
    PreflightError
        If no back end flies such a device.
    """
    load_extensions(BACK_ENDS)
    registered = back_end_for.dispatch(type(axis))
    if registered is not back_end_for.dispatch(object):
        return registered(axis)
    raise PreflightError(
        f"{getattr(axis, 'name', axis)!r} cannot be flown: an energy axis, a monochromator "
        "or a motor can be; choose one of these, or register a back end for it."
    )


@back_end_for.register
def _(axis: EnergyAxis) -> BackEnd[Any]:
    back_end = back_end_for(axis.monochromator())
    if axis.undulator() is None:
        return back_end
    if axis.coupling is Coupling.SEPARATE:
        return Coupled(axis, back_end)
    return Followed(axis, back_end)


@back_end_for.register
def _(axis: PGM) -> BackEnd[Any]:
    return ControllerSweep(axis)


@back_end_for.register
def _(axis: SGM | DCM | KMC3DCM) -> BackEnd[Any]:
    return OrdinaryMove(axis)


@back_end_for.register
def _(axis: ProfileMotor) -> BackEnd[Any]:
    return TrajectoryController(axis)


@back_end_for.register
def _(axis: Motor) -> BackEnd[Any]:
    return ConstantVelocity(axis)


def flight_for(axis: Any) -> Flight:
    """Return a flight of an axis, by what the axis is; PreflightError if nothing flies it."""
    return Flight(back_end_for(axis), f"{axis.name}_flight")


@flight_of.register
def _(axis: EnergyAxis) -> Flight:
    return flight_for(axis)


__all__ = ["back_end_for", "flight_for"]
