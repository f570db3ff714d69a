"""The cable from a simulated trigger box to the simulated detectors."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["TriggerLine"]

Listener = Callable[[NDArray[np.float64], float], None]


class TriggerLine:
    """Carries pulses to every detector that listens, in the same process.

    Attributes
    ----------
    listeners
        Called with the rising edges, shape (n,), true POSIX s, in order, and the width of the
        pulses in s; at most some 50 ms after the last of them, never before it.
    """

    def __init__(self) -> None:
        self.listeners: list[Listener] = []

    def send(self, edges: NDArray[np.float64], width: float) -> None:
        """Send pulses that have just happened."""
        for listener in self.listeners:
            listener(edges, width)
