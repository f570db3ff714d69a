"""Cycle magnets, so that their fields depend on their currents only."""

from glidepath.devices.families import PowerConverter
from glidepath.devices.positioning import together

from .messages import MsgGenerator, wait_for

__all__ = ["standardise"]


def standardise(*converters: PowerConverter) -> MsgGenerator:
    """Cycle magnets, all at once; when one fails, the others are stopped.

    Parameters
    ----------
    *converters
        With their hysteresis.

    Raises
    ------
    ValueError
        If one has no cycle, or its ends are outside its limits.
    MotionError
        If one does not get to an end in time.

    Examples
    --------
    >>> RE(standardise(quadrupole, steerer))  # doctest: +SKIP
    """
    yield from wait_for(lambda: together(*(one.standardise() for one in converters)))
