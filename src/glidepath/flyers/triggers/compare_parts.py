"""Cuts a leg into parts that a Zebra can hold, none of which misses or repeats a trigger."""

from collections.abc import Callable

import numpy as np

from glidepath.physics import EncoderGeometry
from glidepath.trajectory import Leg, PreflightError

from .compare_plan import ComparePlan, compare_plan, until
from .request import Triggers

Planned = Callable[[Leg], ComparePlan]


def compare_parts(
    box: str,
    leg: Leg,
    geometry: EncoderGeometry,
    request: Triggers,
    *,
    exposure: float,
    capacity: int,
    end_trigger: bool = False,
) -> list[ComparePlan]:
    """Return what a box has to be told for each part of a leg.

    Arming again takes longer than a trigger can wait: it cannot be done in flight.

    Parameters
    ----------
    box
        Name for messages.
    leg
        What is flown.
    geometry
        How its positions and counts go together.
    request
        Step or period of the triggers.
    exposure
        Length of the pulses in s.
    capacity
        Rows that the box holds of one arming.
    end_trigger
        See `compare_plan`.

    Raises
    ------
    PreflightError
        If there is no such plan; one sentence.
    """
    if capacity < 1:
        raise PreflightError(
            f"{box} has no room for a single trigger; make the arrays of its EPICS server larger."
        )

    def planned(part: Leg) -> ComparePlan:
        asked = {"step": request.step, "period": request.period}
        return compare_plan(
            box, part, geometry, **asked, exposure=exposure, end_trigger=end_trigger
        )

    parts: list[ComparePlan] = []
    rest: Leg | None = leg
    while rest is not None:
        plan = planned(rest)
        if len(plan.positions) <= capacity:
            parts.append(plan)
            break
        cut = _cut(plan, capacity, planned)
        if cut is None:
            raise PreflightError(
                f"{box} holds {capacity} triggers of one flight, and cannot cut {leg.start:g} to "
                f"{leg.stop:g} into parts with steps of {request.step:g}; choose another step."
            )
        parts.append(planned(until(rest, cut)))
        rest = rest.after(cut)
    return parts


def _cut(plan: ComparePlan, capacity: int, planned: Planned) -> float | None:
    """Return where the first trigger lies that the first part of a leg does not make, if anywhere.

    Steps are counted by the average of the leg, so a part of it can have others: a part is
    right if it ends with a step of its own.
    """
    for number in range(capacity, 0, -1):
        counts = plan.step
        for _ in range(2):
            if counts is None:
                cut = float(plan.positions[number])
            else:
                edge = plan.first + plan.direction * (number * counts - 0.5)
                cut = float(plan.geometry.position(np.array([[edge]]))[0])
            part = planned(until(plan.leg, cut))
            if part.step == counts and len(part.positions) == number:
                return cut
            counts = part.step
    return None


__all__ = ["compare_parts"]
