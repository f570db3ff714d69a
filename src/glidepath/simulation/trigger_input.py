"""The socket at which a simulated detector takes its triggers, with faults on demand."""

from bisect import insort

import numpy as np
from numpy.typing import NDArray

from .channels import Database
from .trigger_line import TriggerLine

__all__ = ["Pulse", "TriggerInput"]

Pulse = tuple[float, float]
"""Rising edge (true POSIX s) and width (s)."""


class TriggerInput:
    """Keeps the pulses that come while the detector is armed.

    Faults, behind ``FAULT:<name>_``, take effect when it is armed: ``miss`` and ``extra`` are
    numbers of pulses, counted from 0, that are not seen, and after which another one is seen
    ``extra_after`` seconds later.

    Parameters
    ----------
    database
        Where the process variables are added.
    name
        Name of the detector, without the colon.
    line
        The cable.
    """

    def __init__(self, database: Database, name: str, line: TriggerLine) -> None:
        fault = f"FAULT:{name}_"
        self._miss = database.text(f"{fault}miss", "", writable=True)
        self._extra = database.text(f"{fault}extra", "", writable=True)
        self._after = database.number(f"{fault}extra_after", 0.002, "s", writable=True)
        self._pulses: list[Pulse] = []
        self._ready = np.inf
        self._number = 0
        line.listeners.append(self._receive)

    def arm(self, ready: float) -> None:
        """See the pulses that come after a time (POSIX s)."""
        self._pulses.clear()
        self._ready, self._number = ready, 0
        self._missed, self._doubled = numbers(self._miss.value), numbers(self._extra.value)

    def disarm(self) -> None:
        """See no more pulses; those that have come already can still be taken."""
        self._ready = np.inf

    def take(self, now: float) -> list[Pulse]:
        """Return the pulses up to now that have not been taken yet, in order."""
        taken = [pulse for pulse in self._pulses if pulse[0] <= now]
        del self._pulses[: len(taken)]
        return taken

    def _receive(self, edges: NDArray[np.float64], width: float) -> None:
        for edge in edges[edges >= self._ready].tolist():
            if self._number not in self._missed:
                insort(self._pulses, (edge, width))
            if self._number in self._doubled:
                insort(self._pulses, (edge + float(self._after.value), width))
            self._number += 1


def numbers(text: str) -> frozenset[int]:
    """Return the numbers in a text such as ``"3, 7 8"``."""
    return frozenset(int(word) for word in str(text).replace(",", " ").split() if word.isdigit())
