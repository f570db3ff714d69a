"""One straight piece of a scan: a range and the velocity at which it is flown."""

from dataclasses import dataclass
from math import floor, isfinite, nan

ROUNDING = 1e-9
"""Relative error of a quotient of energies that may be due to rounding."""

VELOCITY_HINT = "give it in units of the axis per second, above zero"


@dataclass(frozen=True)
class Region:
    """A range flown at constant velocity.

    Parameters
    ----------
    start, stop
        Ends of the range in the unit of the axis (eV); ``stop`` may be below ``start``.
    velocity
        Speed in units per second, above zero whatever the direction.

    Raises
    ------
    ValueError
        If a number is not finite, the range is empty or the velocity not above zero.

    Examples
    --------
    >>> region = Region(370, 470, 2.5)
    >>> region.duration, region.direction, region.rows(0.1)
    (40.0, 1, 400)
    """

    start: float
    stop: float
    velocity: float

    def __post_init__(self) -> None:
        for name in ("start", "stop", "velocity"):
            value = getattr(self, name)
            try:
                number = float(value)
            except (TypeError, ValueError):
                number = nan
            if isinstance(value, bool | str | bytes) or not isfinite(number):
                raise ValueError(f"The {name} of a scan must be a finite number, not {value!r}.")
            object.__setattr__(self, name, number)
        if self.velocity <= 0:
            raise ValueError(f"A velocity of {self.velocity:g} flies nowhere; {VELOCITY_HINT}.")
        if self.start == self.stop:
            raise ValueError(
                f"The range from {self.start:g} to {self.stop:g} is empty; "
                "start and stop must differ."
            )

    @property
    def direction(self) -> int:
        """1 for up, -1 for down."""
        return 1 if self.stop > self.start else -1

    @property
    def length(self) -> float:
        """Length of the range, positive."""
        return abs(self.stop - self.start)

    @property
    def duration(self) -> float:
        """Seconds between start and stop."""
        return self.length / self.velocity

    def rows(self, period: float) -> int:
        """Return how many whole periods (s) fit between start and stop."""
        return floor(self.duration / period * (1 + ROUNDING))


__all__ = ["Region"]
