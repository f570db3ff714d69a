"""Trajectory controllers as the EPICS motor module shows them: the profile move interface.

Records and labels: ``profileMoveController.template`` and ``profileMoveAxis.template``
(``motorApp/Db``, https://github.com/epics-modules/motor), which the drivers of several controllers
serve (Newport XPS, Aerotech Automation1, ACS, ecmc).
"""

from enum import StrEnum

import numpy as np
from ophyd_async.core import Array1D, DeviceVector, SignalRW, StandardReadable
from ophyd_async.core import StandardReadableFormat as Format

from .motion import Motor
from .signals import signal_r, signal_rw

__all__ = [
    "ExecuteState",
    "MoveMode",
    "ProfileMotor",
    "ProfileMove",
    "ProfileStatus",
    "TimeMode",
]


class TimeMode(StrEnum):
    """Labels of ``TimeMode``: where the times of the elements come from."""

    FIXED = "Fixed"
    ARRAY = "Array"


class MoveMode(StrEnum):
    """Labels of ``MoveMode``: what positions count from."""

    ABSOLUTE = "Absolute"
    RELATIVE = "Relative"


class ExecuteState(StrEnum):
    """Labels of ``ExecuteState``."""

    DONE = "Done"
    MOVE_START = "Move start"
    """On the way to where the profile begins."""
    EXECUTING = "Executing"
    FLYBACK = "Flyback"
    """The profile is over; the axes go to where it ends."""


class ProfileStatus(StrEnum):
    """Labels of ``BuildStatus`` and ``ExecuteStatus`` (the last two of the latter only)."""

    UNDEFINED = "Undefined"
    SUCCESS = "Success"
    FAILURE = "Failure"
    ABORT = "Abort"
    TIMEOUT = "Timeout"


class ProfileMove(StandardReadable):
    """The controller's side of a profile move: points over time for one or more axes.

    A profile is n points and the times of the n - 1 elements between them: ``Times[i]`` is the
    time in s from ``Positions[i]`` to ``Positions[i + 1]``, both arrays have n elements. Drivers
    add ramps from rest to the velocity of the first element and from that of the last to rest.

    Parameters
    ----------
    prefix
        ``$(P)$(R)`` of the templates, for example ``"IOC:Prof1:"``.
    axes
        Numbers of the axes that have records, ``$(M)`` of the axis template.
    name
        Name of the device.

    Attributes
    ----------
    number, most_points
        ``NumPoints``: points in use; and how many fit.
    times, time_mode
        Times of the elements, s, and a :class:`TimeMode`.
    acceleration
        ``Acceleration``: of the ramps that the driver adds, units of the axes per s^2.
    move_mode
        A :class:`MoveMode`.
    build, build_state, build_status, build_message
        Checks the profile; ``"Busy"`` meanwhile; a :class:`ProfileStatus`; and why.
    execute, execute_state, execute_status, execute_message, current_point
        Flies it: an :class:`ExecuteState`, a :class:`ProfileStatus`, why, and where it is.
    abort
        Ends it.
    use_axis, positions
        By number of the axis: whether it takes part, and its points in the motor's user units.
    """

    def __init__(self, prefix: str, axes: tuple[int, ...], name: str = "") -> None:
        with self.add_children_as_readables(Format.CONFIG_SIGNAL):
            self.number = signal_rw(int, f"{prefix}NumPoints")
            self.time_mode = signal_rw(str, f"{prefix}TimeMode")
            self.acceleration = signal_rw(float, f"{prefix}Acceleration")
            self.move_mode = signal_rw(str, f"{prefix}MoveMode")
        self.most_points = signal_r(int, f"{prefix}Times.NELM")
        self.times = signal_rw(Array1D[np.float64], f"{prefix}Times", unit="s")
        # Both are busy records: their processing lasts as long as what they start.
        self.build = signal_rw(str, f"{prefix}Build", wait=False)
        self.execute = signal_rw(str, f"{prefix}Execute", wait=False)
        self.abort = signal_rw(str, f"{prefix}Abort", wait=False)
        self.build_state = signal_r(str, f"{prefix}BuildState")
        self.build_status = signal_r(str, f"{prefix}BuildStatus")
        self.build_message = signal_r(str, f"{prefix}BuildMessage")
        self.execute_state = signal_r(str, f"{prefix}ExecuteState")
        self.execute_status = signal_r(str, f"{prefix}ExecuteStatus")
        self.execute_message = signal_r(str, f"{prefix}ExecuteMessage")
        self.current_point = signal_r(int, f"{prefix}CurrentPoint")
        self.use_axis: DeviceVector[SignalRW[str]] = DeviceVector(
            {axis: signal_rw(str, f"{prefix}M{axis}UseAxis") for axis in axes}
        )
        self.positions: DeviceVector[SignalRW[Array1D[np.float64]]] = DeviceVector(
            {axis: signal_rw(Array1D[np.float64], f"{prefix}M{axis}Positions") for axis in axes}
        )
        super().__init__(name)


class ProfileMotor(Motor):
    """A motor whose controller flies profiles: several regions, also curved ones, in one movement.

    Parameters
    ----------
    prefix
        Prefix of the PVs of the motor record.
    profile
        Prefix of the profile move records of its controller.
    axis
        Number of this motor at the controller.
    axes
        Numbers of all axes that have records there: the others do not take part in a flight.
    name
        Name of the device and of its position in the data.
    max_acceleration
        Acceleration of the motor, units per s^2; None: what it has when it moves at ``VELO``.
    """

    def __init__(
        self,
        prefix: str,
        profile: str,
        axis: int,
        axes: tuple[int, ...] = (),
        name: str = "",
        *,
        max_acceleration: float | None = None,
    ) -> None:
        self.axis = axis
        self.top_acceleration = max_acceleration
        self.profile = ProfileMove(profile, tuple(sorted({axis, *axes})))
        super().__init__(prefix, name)
