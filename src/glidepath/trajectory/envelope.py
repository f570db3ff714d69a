"""What an axis, and the axes that move with it, can do, and what a flight of a leg costs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .companion import Companion
from .motion import Motion
from .trajectory import Leg

Floats = NDArray[np.float64]
Prediction = Callable[[Floats, Floats], Floats]


@dataclass(frozen=True)
class Envelope:
    """What an axis can do when it flies a leg, and what that costs.

    Parameters
    ----------
    low, high
        Range of positions; None where no limit is known.
    max_velocity
        Largest speed in units per second; None where there is no limit.
    unit
        Unit of positions.
    run_up
        Distance before start that the flight at the velocity asked for needs.
    run_up_time
        Seconds spent on that distance, and again behind stop.
    min_velocity
        Smallest speed in units per second.
    mismatch
        Largest predicted distance between undulator harmonic and axis; None without one.
    mismatch_bound
        Distance beyond which rows are marked; None without a bound.
    mismatch_at
        Predicted distance as a function of the axis's position and velocity, arrays of shape (n,).
    max_acceleration
        Largest acceleration in units per second squared; None where there is no limit.
    motion
        The leg as it will be flown, run-up and run-down included; None: as it follows from
        ``run_up`` and ``run_up_time``.
    companions
        The other axes that move.
    approach_velocity, approach_acceleration
        Of the way to the run-up, units per second (squared); None where they are not known.
    overhead
        Seconds that a leg takes on top of its motions: what is said to the controller, settling.
    objections, notes
        What the axis itself has against the flight, and what a user should know of it: complete
        sentences.

    Examples
    --------
    >>> Envelope(200.0, 1000.0, 5.0, "eV", run_up=0.5, run_up_time=1.0).companions
    ()
    """

    low: float | None
    high: float | None
    max_velocity: float | None
    unit: str
    run_up: float
    run_up_time: float
    min_velocity: float = 0.0
    mismatch: float | None = None
    mismatch_bound: float | None = None
    mismatch_at: Prediction | None = field(default=None, compare=False, repr=False)
    max_acceleration: float | None = None
    motion: Motion | None = None
    companions: tuple[Companion, ...] = ()
    approach_velocity: float | None = None
    approach_acceleration: float | None = None
    overhead: float = 0.0
    objections: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def of_motion(
        cls,
        leg: Leg,
        motion: Motion,
        unit: str,
        *,
        low: float | None = None,
        high: float | None = None,
        max_velocity: float | None = None,
        **others: Any,
    ) -> "Envelope":
        """Return the envelope of a leg whose motion is known, from which its run-up follows.

        Parameters
        ----------
        leg
            What is flown.
        motion
            How it is flown, run-up and run-down included.
        unit, low, high, max_velocity, others
            As for the class.

        Examples
        --------
        >>> from glidepath.trajectory import Leg, Motion, Region
        >>> leg = Leg((Region(400.0, 402.0, 1.0),))
        >>> Envelope.of_motion(leg, Motion.along(leg, 2.0), "eV").run_up
        0.25
        """
        return cls(
            low,
            high,
            max_velocity,
            unit,
            run_up=abs(leg.start - motion.start),
            run_up_time=motion.passages[0].begin,
            motion=motion,
            **others,
        )


__all__ = ["Envelope"]
