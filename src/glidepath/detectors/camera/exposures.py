"""How long a camera exposed, also when somebody changes that while it acquires."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Exposures:
    """Lengths of exposures over time.

    Parameters
    ----------
    length
        At first, s.
    """

    def __init__(self, length: float) -> None:
        self._lengths = [length]
        self._times: list[float] = []

    @property
    def changed(self) -> bool:
        """Whether it was changed since."""
        return bool(self._times)

    def observe(self, timestamp: float, length: float) -> None:
        """Take what the camera reads back, and since when (POSIX s)."""
        if length != self._lengths[-1]:
            self._lengths.append(length)
            self._times.append(timestamp)

    def of(self, ends: Floats) -> Floats:
        """Return how long exposures were, s, that ended then (POSIX s); shape (n,) each.

        A change counts for exposures that begin after it.
        """
        found = np.full(len(ends), self._lengths[0])
        for since, length in zip(self._times, self._lengths[1:], strict=True):
            found[ends - found >= since] = length
        return found


__all__ = ["Exposures"]
