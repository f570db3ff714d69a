"""One straight piece of a scan: a range and the velocity at which it is flown."""

from dataclasses import dataclass, replace
from math import floor, inf, isfinite, nan
from typing import Any

ROUNDING = 1e-9
"""Relative error of a quotient of energies that may be due to rounding."""

LARGEST, SMALLEST = 1e9, 1e-9
"""Bounds of all numbers of a scan, whatever its units; beyond them floats run out of digits."""

VELOCITY_HINT = "give it in units of the axis per second, above zero"


def number_of(value: Any) -> float:
    """Return a number as a float; NaN for what is none, or is not one of a scan."""
    if isinstance(value, bool | str | bytes):
        return nan
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return nan
    return number if abs(number) <= LARGEST else nan


@dataclass(frozen=True)
class Region:
    """A range flown at constant velocity.

    Parameters
    ----------
    start, stop
        Ends of the range in the unit of the axis (eV); ``stop`` may be below ``start``.
    velocity
        Speed in units per second, above zero whatever the direction.
    period
        Length of its rows in s; None: that of the scan.

    Raises
    ------
    ValueError
        If a number is not finite, or is beyond `LARGEST`, the range is empty, or velocity or
        period not above zero, or below `SMALLEST`.

    Examples
    --------
    >>> region = Region(370, 470, 2.5)
    >>> region.duration, region.direction, region.rows(0.1)
    (40.0, 1, 400)
    """

    start: float
    stop: float
    velocity: float
    period: float | None = None

    def __post_init__(self) -> None:
        for name in ("start", "stop", "velocity", "period"):
            value = getattr(self, name)
            if name == "period" and value is None:
                continue
            number = number_of(value)
            if not isfinite(number):
                # Only of a number that is one does it help to know how large it may be.
                huge = isinstance(value, int | float) and LARGEST < abs(value) < inf
                bound = f" of at most {LARGEST:,.0f}" if huge else ""
                raise ValueError(
                    f"The {name} of a scan must be a finite number{bound}, not {value!r}."
                )
            object.__setattr__(self, name, number)
        if self.velocity < SMALLEST:
            raise ValueError(f"A velocity of {self.velocity:g} flies nowhere; {VELOCITY_HINT}.")
        if self.period is not None and self.period < SMALLEST:
            raise ValueError(f"A row cannot last {self.period:g} s; choose a period above zero.")
        if self.length < SMALLEST:
            raise ValueError(
                f"The range from {self.start:g} to {self.stop:g} is empty; "
                "start and stop must differ."
            )

    @classmethod
    def stepped(cls, start: float, stop: float, step: float, dwell: float) -> "Region":
        """Return the flight with one row of ``dwell`` s for each ``step`` (units).

        Examples
        --------
        >>> Region.stepped(370, 395, 0.5, 0.1)
        Region(start=370.0, stop=395.0, velocity=5.0, period=0.1)
        """
        for value, what in ((step, "step"), (dwell, "dwell time")):
            if not number_of(value) > 0:
                raise ValueError(f"The {what} of a region must be a number above zero: {value!r}.")
        return cls(start, stop, step / dwell, dwell)

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

    @property
    def speeds(self) -> tuple[float, float]:
        """Speed at its start and at its stop, units per second."""
        return self.velocity, self.velocity

    def rows(self, period: float) -> int:
        """Return how many rows, of ``period`` s if it has none of its own, fit into it."""
        return floor(self.duration / (self.period or period) * (1 + ROUNDING))

    def reversed(self) -> "Region":
        """Return the same range flown the other way."""
        return replace(self, start=self.stop, stop=self.start)

    def after(self, position: float) -> "Region | None":
        """Return what of it lies behind ``position`` on the way; None if nothing does."""
        if self.direction * (position - self.start) <= 0:
            return self
        if self.direction * (self.stop - position) <= ROUNDING * self.length:
            return None
        return replace(self, start=position)

    def straight(self) -> "tuple[Region, ...]":
        """Return straight regions in its place: it is one."""
        return (self,)


__all__ = ["Region"]
