"""Which trigger source serves which trigger box or detector; others register theirs here."""

from functools import singledispatch
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from glidepath.detectors import FrameSource, find_frame_source
from glidepath.devices import Pulses, Zebra
from glidepath.devices.extensions import load_extensions
from glidepath.trajectory import PreflightError

from .internal_clock import InternalClock
from .position_compare import PositionCompare
from .trigger_source import TriggerSource

GROUP = "glidepath.trigger_sources"
"""Entry points of other packages: modules that register their boxes when they are imported."""

LATER = ("glidepath.flyers.triggers.sequencer",)
"""Modules of this package like that. With ophyd-async's blocks of a PandA comes much that takes a
third of a second to import, for which nobody waits who has none."""


@singledispatch
def make_trigger_source(trigger: Any, axis: Any) -> TriggerSource:
    """Return what lets a device trigger the detectors of a scan; by the device's class.

    Other packages register a function for each class of their trigger boxes, in a module that an
    entry point of the group ``glidepath.trigger_sources`` names::

        @make_trigger_source.register
        def _(trigger: MyBox, axis: Any) -> TriggerSource:
            return MyTriggerSource(trigger, axis)

    Parameters
    ----------
    trigger
        The device.
    axis
        What is flown.

    Raises
    ------
    PreflightError
        If the device cannot trigger, or knows no encoder of the axis.
    """
    if find_frame_source(trigger) is not None:
        return InternalClock(trigger.name)
    raise PreflightError(
        f"{getattr(trigger, 'name', trigger)!r} makes no triggers: a trigger box does, or a "
        "detector by its own clock; choose one of these."
    )


@make_trigger_source.register
def _(trigger: TriggerSource, axis: Any) -> TriggerSource:
    return trigger


@make_trigger_source.register
def _(trigger: Zebra, axis: Any) -> TriggerSource:
    return PositionCompare(trigger, axis)


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
    _registered_for(trigger)
    return make_trigger_source(trigger, axis)


def pulses_of(device: Any) -> Pulses:
    """Return what sends pulses without a flight: a pulse generator, or what a trigger box makes.

    Raises
    ------
    ValueError
        If the device can do neither.
    """
    if isinstance(device, Pulses):
        return device
    axes = getattr(device, "axes", None)
    if _registered_for(device) and axes:
        source = make_trigger_source(device, SimpleNamespace(name=next(iter(axes))))
        if isinstance(source, Pulses):
            return source
    raise ValueError(
        f"{getattr(device, 'name', device)} sends no pulses; name a trigger box that has an axis, "
        "or a device with send() and stop()."
    )


def _registered_for(device: Any) -> bool:
    """Tell whether a device's class triggers others, after all that may know it were asked."""

    def known() -> bool:
        found = make_trigger_source.dispatch(type(device))
        return found is not make_trigger_source.dispatch(object)

    if not known() and not isinstance(device, FrameSource):
        for module in LATER:
            import_module(module)
        load_extensions(GROUP)
    return known()


__all__ = ["make_trigger_source", "pulses_of", "source_for"]
