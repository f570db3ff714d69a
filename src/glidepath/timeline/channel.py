"""What a stream of (timestamp, value) pairs means: the definition of a channel."""

from dataclasses import dataclass
from enum import StrEnum
from math import isfinite


class ChannelKind(StrEnum):
    """How a channel's values relate to the time between them."""

    READBACK = "readback"
    """A continuous quantity: interpolated between updates (energy, gap, position)."""
    DETECTOR = "detector"
    """An integral over an exposure that ended shortly before the timestamp."""
    STATE = "state"
    """Keeps its value until the next update (a shutter, a blank-out signal)."""


@dataclass(frozen=True)
class Channel:
    """Definition of one sampled channel.

    Parameters
    ----------
    name
        Column name in the tables.
    kind
        How values relate to time.
    unit
        Unit of the values, as in the descriptor.
    latency
        Seconds between the end of what was measured and the timestamp.
    aperture
        Length of a detector's exposure in seconds: a value with timestamp ``t`` covers
        ``[t - latency - aperture, t - latency]``. 0 where it is not known: a value then counts
        at its time alone. Zero for readbacks and states.

    Examples
    --------
    >>> mesh = Channel("mesh", ChannelKind.DETECTOR, "A", latency=0.25, aperture=0.5)
    >>> mesh.exposure(100.0)
    (99.25, 99.75)
    """

    name: str
    kind: ChannelKind
    unit: str = ""
    latency: float = 0.0
    aperture: float = 0.0

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("A channel needs a name; give it the name of its column.")
        if not isfinite(self.latency):
            raise ValueError(f"Channel {self.name!r}: the latency must be a finite number of s.")
        if self.kind is ChannelKind.DETECTOR:
            if not (isfinite(self.aperture) and self.aperture >= 0):
                raise ValueError(
                    f"Channel {self.name!r} integrates, so its aperture must be a number of "
                    f"seconds, or 0 where it is not known, not {self.aperture!r}."
                )
        elif self.aperture != 0:
            raise ValueError(f"Channel {self.name!r} is a {self.kind}, so it has no aperture.")

    def exposure(self, timestamp: float) -> tuple[float, float]:
        """Return begin and end (POSIX s) of what a value with this timestamp covers."""
        end = timestamp - self.latency
        return end - self.aperture, end
