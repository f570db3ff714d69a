"""Notices that the clock of a server was set while it sent: its timestamps no longer fit."""

from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

STEP = 0.1
"""Seconds by which timestamps may go back, or be ahead of their arrival, without being a step."""


@dataclass(frozen=True)
class ClockStep:
    """The clock of a channel's server was set.

    Attributes
    ----------
    since
        Timestamp of the last update before (POSIX s): what comes later fits nothing else.
    seconds
        By how much at least; negative: back.
    """

    since: float
    seconds: float


class ClockWatch:
    """Looks at the updates of one channel as they arrive.

    Time goes on, and nothing arrives before it was sent. So a clock was set back if a timestamp
    is older than the one before, and set forward if an update seems to arrive before its
    timestamp, by more than the clocks differed until then. Updates that are late are no step,
    however late they are.

    Parameters
    ----------
    bound
        Seconds that are no step yet.

    Examples
    --------
    >>> watch = ClockWatch()
    >>> watch.look(np.array([9.0, 10.0, 10.1]), np.array([10.0, 10.01, 10.12]))
    >>> watch.look(np.array([10.7]), np.array([10.22]))
    ClockStep(since=10.1, seconds=0.48)
    """

    def __init__(self, bound: float = STEP) -> None:
        self._bound = bound
        self._last = -inf
        self._connected = False
        self._earliest = -inf

    def disconnect(self) -> None:
        """Take note that the connection was lost: the next update can be of any age."""
        self._connected = False
        self._last = -inf

    def look(self, timestamps: Floats, arrivals: Floats) -> ClockStep | None:
        """Take updates in the order in which they arrived; return the first step among them.

        Parameters
        ----------
        timestamps, arrivals
            POSIX s, shape (n,), without NaN: by the server's clock, and by the local one.
        """
        if not len(timestamps):
            return None
        before = np.concatenate([[self._last], timestamps[:-1]])
        early = timestamps - arrivals
        if not self._connected:
            # The value that a server sends first was perhaps posted long ago.
            before[0], early[0] = -inf, -inf
            self._connected = True
        back = before - timestamps
        # The clocks may differ from the beginning: what was seen is no step.
        allowed = np.maximum.accumulate(np.concatenate([[self._earliest], early[:-1]]))
        allowed = np.where(allowed > -inf, np.maximum(allowed, 0.0), inf)
        stepped = np.flatnonzero((back > self._bound) | (early > allowed + self._bound))
        self._earliest = max(self._earliest, float(early.max()))
        self._last = float(timestamps[-1])
        if not len(stepped):
            return None
        k = int(stepped[0])
        seconds = -float(back[k]) if back[k] > self._bound else float(early[k] - allowed[k])
        return ClockStep(float(before[k]), round(seconds, 3))


__all__ = ["STEP", "ClockStep", "ClockWatch"]
