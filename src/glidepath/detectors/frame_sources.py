"""Which frame source follows triggers for which detector: by its class, or by its own protocol."""

from functools import singledispatch
from typing import Any, Final
from weakref import WeakKeyDictionary

from glidepath.devices.extensions import load_extensions

from .frame_source import FrameSource

EXTENSIONS: Final = "glidepath.frame_sources"
"""Group of the entry points of packages that register classes with `register_frame_source`."""


@singledispatch
def _frame_source_of(device: Any) -> FrameSource | None:
    return None


register_frame_source = _frame_source_of.register
"""Registers a function (device) -> `FrameSource`, or None, for a class of detectors."""

_made: WeakKeyDictionary[Any, FrameSource] = WeakKeyDictionary()


def find_frame_source(device: Any) -> FrameSource | None:
    """Return what follows triggers for a detector; None if it cannot follow any.

    The detector itself if it is a `FrameSource`; else what is registered for its class: for
    ophyd-async's ``StandardDetector`` with a trigger logic `StockDetector`. The same object each
    time for the same detector.
    """
    if isinstance(device, FrameSource):
        return device
    # Only here: it imports much of ophyd-async, and this module.
    from . import stock_detector  # noqa: F401

    load_extensions(EXTENSIONS)
    try:
        known = _made.get(device)
    except TypeError:
        # What cannot be referred to weakly is no device.
        return None
    if known is None:
        known = _frame_source_of(device)
        if known is not None:
            _made[device] = known
    return known


def frame_source_for(device: Any) -> FrameSource:
    """Return what follows triggers for a detector; see `find_frame_source`.

    Raises
    ------
    ValueError
        If it cannot follow any.
    """
    found = find_frame_source(device)
    if found is None:
        raise ValueError(
            f"{getattr(device, 'name', device)!r} cannot follow triggers: it is neither a "
            "FrameSource nor a StandardDetector of ophyd-async with a trigger logic; leave it "
            "out, or register a frame source for its class."
        )
    return found


__all__ = ["EXTENSIONS", "find_frame_source", "frame_source_for", "register_frame_source"]
