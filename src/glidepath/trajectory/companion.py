"""An axis that moves along when another one is flown: what it can do, and what is needed of it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Law = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Companion:
    """Another axis that moves when the axis is flown: a gap, a Bragg angle, a grating.

    Parameters
    ----------
    name, unit
        What it is, for messages.
    low, high
        Its range of positions; None where no limit is known.
    max_velocity, max_acceleration
        Largest speed (units per second) and acceleration (units per second squared); None where
        there is no limit.
    law
        Its position as a function of the axis's, arrays of shape (n,); None if not known.
    needed_low, needed_high, needed_velocity, needed_acceleration
        What a flight needs of it, run-up and run-down included.
    advice
        What to do if it cannot, for messages.

    Examples
    --------
    >>> from glidepath.trajectory import Leg, Motion, Region
    >>> wedge = Companion("wedge", "mm", low=0.0, high=9.0, max_velocity=0.5, law=lambda e: e / 50)
    >>> motion = Motion.along(Leg((Region(370, 470, 10.0),)), acceleration=20.0)
    >>> needed = motion.needs(wedge)
    >>> needed.needed_low, needed.needed_high, needed.needed_velocity
    (7.35, 9.45, 0.2)
    """

    name: str
    unit: str
    low: float | None = None
    high: float | None = None
    max_velocity: float | None = None
    max_acceleration: float | None = None
    law: Law | None = field(default=None, compare=False, repr=False)
    needed_low: float | None = None
    needed_high: float | None = None
    needed_velocity: float = 0.0
    needed_acceleration: float = 0.0
    advice: str = "choose start and stop inside it"

    def during(
        self, position: Floats, velocity: Floats, acceleration: float, reach: tuple[float, float]
    ) -> tuple[float, float, float, float]:
        """Return its lowest and highest position, and largest speed and acceleration, meanwhile.

        Parameters
        ----------
        position, velocity, acceleration
            Position, velocity, acceleration of the axis, the first two of shape (n,).
        reach
            Range of the axis inside which the law may be asked.

        Raises
        ------
        ValueError
            If its law is not known.
        """
        if self.law is None:
            raise ValueError(f"The law of {self.name} is not known; give it as a function.")
        slope, bend = derivatives(self.law, position, reach)
        own = self.law(position)
        return (
            float(np.min(own)),
            float(np.max(own)),
            float(np.max(np.abs(slope * velocity))),
            float(np.max(np.abs(bend * velocity**2 + slope * acceleration))),
        )

    def needing(
        self, low: float, high: float, velocity: float, acceleration: float = 0.0
    ) -> "Companion":
        """Return it with what a flight needs of it."""
        low, high, velocity, acceleration = (
            float(f"{value:.9g}") for value in (low, high, velocity, acceleration)
        )
        return replace(
            self,
            needed_low=low,
            needed_high=high,
            needed_velocity=velocity,
            needed_acceleration=acceleration,
        )


def derivatives(law: Law, position: Floats, reach: tuple[float, float]) -> tuple[Floats, Floats]:
    """Return first and second derivative of a law at positions, shape (n,), by differences.

    They are taken inside ``reach``, where the law is known.
    """
    low, high = reach
    step = (high - low) / 1e3
    middle = np.clip(position, low + step, high - step)
    below, at, above = law(middle - step), law(middle), law(middle + step)
    return (above - below) / (2 * step), (above - 2 * at + below) / step**2


__all__ = ["Companion", "Law", "derivatives"]
