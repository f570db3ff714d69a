"""Measures the velocity that was really flown, to compare it with the one that was planned."""

from dataclasses import dataclass, field

from bluesky.protocols import Reading

from glidepath.trajectory import Leg

FLOWN_TOLERANCE = 0.1
"""Share by which the velocity that was flown may differ from it: the readback is discrete."""

SHORTEST_CHECK = 1.0
"""Seconds of flight from which on its velocity can be told from the readback."""


@dataclass
class FlownVelocity:
    """The velocity that was flown, from the readback's own timestamps.

    Parameters
    ----------
    leg
        Only readings inside of it count.
    """

    leg: Leg
    _first: Reading[float] | None = field(default=None, init=False)
    _last: Reading[float] | None = field(default=None, init=False)

    def update(self, reading: dict[str, Reading[float]]) -> None:
        """Take in an update of the readback."""
        (newest,) = reading.values()
        low, high = sorted((self.leg.start, self.leg.stop))
        if low <= newest["value"] <= high:
            self._first = self._first or newest
            self._last = newest

    @property
    def velocity(self) -> float | None:
        """Units per second; None where the flight was too short to tell."""
        first, last = self._first, self._last
        if first is None or last is None:
            return None
        seconds = last["timestamp"] - first["timestamp"]
        if seconds < SHORTEST_CHECK:
            return None
        return abs(last["value"] - first["value"]) / seconds


def differs(flown: float | None, asked: float) -> bool:
    """Return whether a flown velocity is another one than asked; False where it is not known."""
    return flown is not None and abs(flown - asked) > FLOWN_TOLERANCE * asked


__all__ = ["FlownVelocity", "differs"]
