"""How long the exposures of triggered rows can be: as long as triggers and detectors allow."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from glidepath.trajectory import Leg, PreflightError

from .request import Triggers
from .trigger_source import TriggerPlan

Plan = TypeVar("Plan", bound=TriggerPlan)

SHORTER = 0.998
"""By how much an exposure is shortened until a source can make it."""

PROBE = 1e-6
"""Shortest exposure in s that is asked for to learn how far triggers are apart."""

UNEVEN = 0.04
"""Units of the axis per second by which its velocity may vary: a servo's ripple of 2 meV at some
hertz. Slower flights are that much more uneven, and their exposures that much shorter."""

LEAST_UNEVEN, MOST_UNEVEN = 0.005, 0.2
"""Smallest and largest share of a step's time that is left for that."""


def with_exposure(
    leg: Leg,
    request: Triggers,
    dead_time: float,
    planned: Callable[[float], Sequence[Plan]],
) -> tuple[Plan, ...]:
    """Return the plans of a leg's parts, with the exposure that was asked for or the longest.

    Parameters
    ----------
    leg
        What is flown.
    request
        What was asked; its exposure is used if there is one.
    dead_time
        Seconds that source and detectors need between two exposures.
    planned
        Returns the plans of the leg's parts for an exposure in s.

    Raises
    ------
    PreflightError
        If the detectors' dead time leaves no time for an exposure, or there is no plan.
    """
    if request.exposure is not None:
        return tuple(planned(request.exposure))
    # Of an exposure that always fits only the triggers' distance is wanted.
    apart = request.period if request.step is None else request.step / leg.velocity
    assert apart is not None
    shortest = min(plan.shortest_period for plan in planned(max(1e-3 * apart, PROBE)))
    uneven = 0.0
    if request.period is None:
        uneven = min(max(UNEVEN / leg.slowest, LEAST_UNEVEN), MOST_UNEVEN)
    longest = shortest * (1 - uneven) - dead_time
    if not longest > 0:
        raise PreflightError(
            f"A trigger would come each {1e3 * shortest:.4g} ms, but the detectors need "
            f"{1e3 * dead_time:.4g} ms between two exposures; fly slower or choose larger steps."
        )
    exposure = longest
    while True:
        plans = tuple(planned(exposure))
        if max(plan.exposure for plan in plans) <= longest:
            return plans
        # A source makes pulses of whole ticks of its clock: the next shorter one.
        exposure *= SHORTER


__all__ = ["with_exposure"]
