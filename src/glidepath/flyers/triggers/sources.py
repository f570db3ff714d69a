"""Which trigger source serves which trigger box or detector."""

import sys
from types import SimpleNamespace
from typing import Any

from glidepath.detectors import FrameSource
from glidepath.devices import Pulses, Zebra
from glidepath.trajectory import PreflightError

from .internal_clock import InternalClock
from .position_compare import PositionCompare
from .trigger_source import TriggerSource


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
    if _is_panda(trigger):
        from glidepath.flyers.triggers.sequencer import Sequencer

        return Sequencer(trigger, axis)
    if isinstance(trigger, FrameSource):
        return InternalClock(trigger.name)
    raise PreflightError(
        f"{getattr(trigger, 'name', trigger)!r} makes no triggers: a trigger box does, or a "
        "detector by its own clock; choose one of these."
    )


def pulses_of(device: Any) -> Pulses:
    """Return what sends pulses without a flight: a pulse generator, or what a trigger box makes.

    Raises
    ------
    ValueError
        If the device can do neither.
    """
    if (isinstance(device, Zebra) or _is_panda(device)) and device.axes:
        source = source_for(device, SimpleNamespace(name=next(iter(device.axes))))
        assert isinstance(source, Pulses)
        return source
    if isinstance(device, Pulses):
        return device
    raise ValueError(
        f"{getattr(device, 'name', device)} sends no pulses; name a trigger box that has an axis, "
        "or a device with send() and stop()."
    )


def _is_panda(device: Any) -> bool:
    """Tell whether it is one; who has made it has imported its class, for which nobody else waits.

    With ophyd-async's blocks of a PandA comes much that takes a third of a second to import.
    """
    module = sys.modules.get("glidepath.devices.panda")
    return module is not None and isinstance(device, module.Panda)


__all__ = ["pulses_of", "source_for"]
