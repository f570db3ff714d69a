"""Cuts a leg into parts whose tables a PandA's sequencer can hold."""

from math import ceil

from glidepath.physics import EncoderGeometry
from glidepath.trajectory import Leg, PreflightError

from .compare_plan import until
from .request import Triggers
from .sequence_plan import SequencePlan, sequence_plan


def sequence_parts(
    box: str,
    leg: Leg,
    geometry: EncoderGeometry,
    request: Triggers,
    *,
    exposure: float,
    lines: int,
    end_trigger: bool = False,
) -> list[SequencePlan]:
    """Return what a box has to be told for each part of a leg.

    A table is loaded while the sequencer stands. Triggers by time need few lines, triggers by
    position one line each.

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
    lines
        That a table can have.
    end_trigger
        See `sequence_plan`.

    Raises
    ------
    PreflightError
        If there is no such plan; one sentence.
    """
    parts = _cut(leg, request.step, lines - end_trigger)
    plans = []
    for part in parts:
        plan = sequence_plan(
            box,
            part,
            geometry,
            step=request.step,
            period=request.period,
            exposure=exposure,
            end_trigger=end_trigger,
        )
        if len(plan.table) > lines:
            raise PreflightError(
                f"{box} has tables of {lines} lines, but {len(plan.table)} are needed for the "
                f"{len(part.regions)} regions between {part.start:g} and {part.stop:g}; fly fewer "
                "regions in one scan."
            )
        plans.append(plan)
    return plans


def _cut(leg: Leg, step: float | None, rows: int) -> list[Leg]:
    """Return parts of a leg with so many steps each; by time, the whole leg."""
    if step is None:
        return [leg]
    number = ceil(leg.length / (rows * step) * (1 - 1e-9))
    parts: list[Leg] = []
    rest: Leg | None = leg
    for k in range(1, number):
        assert rest is not None
        cut = leg.start + leg.direction * step * rows * k
        parts.append(until(rest, cut))
        rest = rest.after(cut)
    return parts if rest is None else [*parts, rest]


__all__ = ["sequence_parts"]
