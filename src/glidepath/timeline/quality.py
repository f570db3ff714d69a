"""What is known about a row: one bit per fact, the same in every mode."""

from enum import IntFlag
from typing import Any

import numpy as np


class Quality(IntFlag):
    """Bits of the ``quality`` column (uint16). Zero: nothing to complain about."""

    HELD = 1
    """A channel was connected but silent: its last value was kept."""
    NO_DATA = 2
    """A channel was disconnected, or had never sent a value: it is NaN in this row."""
    EXTRAPOLATED = 4
    """The scan ended before a readback's last update: its last value was kept."""
    PARTIAL = 8
    """A detector's exposures cover less than half of the row."""
    OVERFLOW = 16
    """A detector was out of its range: it is NaN in this row."""
    TOP_UP = 32
    """The ring was injected into during the row."""
    BEAM_LOST = 64
    """There was no beam during the row."""
    TRACKING = 128
    """The undulator's harmonic was further from the axis than the bound."""
    LATE = 256
    """A trigger or a frame came later than it should have."""
    LOST_TRIGGER = 512
    """A trigger did not lead to a frame."""
    LOST_UPDATES = 1024
    """Updates or frames of a channel were lost on the way (overrun, a dropped frame)."""
    EXTRA = 2048
    """A detector made a frame that belongs to no trigger."""
    AMBIGUOUS = 4096
    """Which of a detector's frames belongs to the trigger cannot be said: none is used."""
    CLOCK = 8192
    """The clock of a channel's server was set during the scan: what is beside it is not its own."""
    CHANGED = 16384
    """A detector's exposure was changed by hand during the scan: it is not what was said."""

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """Meet arrays as uint16: numpy takes a flag for int64, which ``|=`` then refuses."""
        plain = (np.uint16(value) if isinstance(value, Quality) else value for value in inputs)
        return getattr(ufunc, method)(*plain, **options)


__all__ = ["Quality"]
