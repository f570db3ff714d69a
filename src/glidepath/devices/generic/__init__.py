"""The few kinds of devices that families are made of: what they do, without anyone's PV names."""

from .blade_slits import BladeSlits, SlitAxis
from .command_device import CommandDevice, Permit
from .compared_axis import ComparedAxis, Tolerance
from .names import pv_names
from .pose import Pose
from .resource_lock import LockedError, ResourceLock
from .states import CLOSED, OPEN, StateTable
from .status_axis import StatusAxis
from .toggle_device import ToggleDevice
from .two_states import Barrier

__all__ = [
    "CLOSED",
    "OPEN",
    "Barrier",
    "BladeSlits",
    "CommandDevice",
    "ComparedAxis",
    "LockedError",
    "Permit",
    "Pose",
    "ResourceLock",
    "SlitAxis",
    "StateTable",
    "StatusAxis",
    "ToggleDevice",
    "Tolerance",
    "pv_names",
]
