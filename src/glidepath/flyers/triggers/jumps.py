"""Finds a counter that has jumped in flight: one that was reset or preset, or that has wrapped."""

import numpy as np
from numpy.typing import NDArray

from glidepath.trajectory import Leg

from .trigger_source import TriggerError

Floats = NDArray[np.float64]

FASTER = 2.0
"""Times its velocity that an axis may be seen to move from one trigger to the next."""


class JumpWatch:
    """Compares each latched position with the one before it, during one part of a leg.

    Parameters
    ----------
    name
        Name of the box, for messages.
    leg
        What is flown.
    tolerance
        Distance that is no jump however short the time is, in the axis's unit.
    """

    def __init__(self, name: str, leg: Leg, tolerance: float) -> None:
        self._name, self._leg, self._tolerance = name, leg, tolerance
        self._time, self._position = np.empty(0), np.empty(0)

    def check(self, times: Floats, positions: Floats) -> None:
        """Take the next triggers, in order.

        Parameters
        ----------
        times, positions
            Shape (n,): s, clock of the box; latched positions in the axis's unit.

        Raises
        ------
        TriggerError
            If the axis cannot have moved that far from one to the next.
        """
        times = np.concatenate([self._time, times])
        positions = np.concatenate([self._position, positions])
        passed, moved = np.abs(np.diff(times)), np.abs(np.diff(positions))
        jumps = np.flatnonzero(moved > FASTER * self._leg.velocity * passed + self._tolerance)
        if len(jumps):
            at = int(jumps[0])
            raise TriggerError(
                f"{self._name} counted from {positions[at]:.4f} to {positions[at + 1]:.4f} within "
                f"{passed[at]:.3g} s, which is faster than this scan flies; look whether one of "
                "its counters was set or has wrapped, and whether an encoder was reset."
            )
        self._time, self._position = times[-1:], positions[-1:]


__all__ = ["JumpWatch"]
