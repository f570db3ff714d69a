"""A channel's recent updates in memory: appended in batches, cut off at the old end."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Series:
    """Growing pair of arrays (timestamps, values), rising strictly in time.

    An update that is not newer than the one before it is not kept: a repeated one (the same
    timestamp, as after a reconnection) is `repeated`, an older one is `out_of_order`.
    """

    def __init__(self, capacity: int = 1024) -> None:
        self._times = np.empty(capacity)
        self._values = np.empty(capacity)
        self._begin = 0
        self._end = 0
        self.repeated = 0
        self.out_of_order = 0

    def __len__(self) -> int:
        return self._end - self._begin

    @property
    def timestamps(self) -> Floats:
        """POSIX s, shape (n,), rising. A view: copy it to keep it."""
        return self._times[self._begin : self._end]

    @property
    def values(self) -> Floats:
        """Values, shape (n,). A view: copy it to keep it."""
        return self._values[self._begin : self._end]

    @property
    def last_timestamp(self) -> float:
        """POSIX s of the newest update; -inf when there is none."""
        return float(self._times[self._end - 1]) if len(self) else -np.inf

    @property
    def last_value(self) -> float:
        """Value of the newest update; NaN when there is none."""
        return float(self._values[self._end - 1]) if len(self) else np.nan

    def append(self, timestamps: Floats, values: Floats) -> tuple[Floats, Floats]:
        """Append a batch and return the part of it that was kept."""
        if not len(timestamps):
            return timestamps, values
        rising = timestamps[0] > self.last_timestamp
        if not (rising and (timestamps[1:] > timestamps[:-1]).all()):
            previous = np.maximum.accumulate(np.append(self.last_timestamp, timestamps))[:-1]
            keep = timestamps > previous
            self.repeated += int(np.sum(timestamps == previous))
            self.out_of_order += int(np.sum(timestamps < previous))
            timestamps, values = timestamps[keep], values[keep]
        n = len(timestamps)
        if self._end + n > len(self._times):
            self._make_room(n)
        self._times[self._end : self._end + n] = timestamps
        self._values[self._end : self._end + n] = values
        self._end += n
        return timestamps, values

    def forget_before(self, time: float, margin: int = 2) -> None:
        """Drop what windows that begin at ``time`` (POSIX s) or later cannot need."""
        keep_from = int(self.timestamps.searchsorted(time)) - margin
        self._begin += max(keep_from, 0)

    def _make_room(self, n: int) -> None:
        size = len(self)
        capacity = max(len(self._times), 2 * (size + n))
        times, values = np.empty(capacity), np.empty(capacity)
        times[:size], values[:size] = self.timestamps, self.values
        self._times, self._values = times, values
        self._begin, self._end = 0, size


__all__ = ["Series"]
