"""The pre-flight: what a scan will do, planned once, and every reason not to begin."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from shutil import disk_usage
from typing import Any

from ophyd_async.core import AsyncLocatable

from glidepath.detectors import FrameSource, find_frame_source
from glidepath.devices.sampled import SampledChannel, WithExposure, can_be_sampled, offers
from glidepath.flyers import Flight, LegPlan, MotionPlan, Triggering, flight_for, source_for
from glidepath.sentences import as_connection_error
from glidepath.storage import data_root
from glidepath.trajectory import (
    Envelope,
    Leg,
    Preflight,
    PreflightError,
    Space,
    Timing,
    Trajectory,
    preflight,
)
from glidepath.trajectory.region import SMALLEST, number_of

from .light_path import check_light_path, light_path_objections
from .names import check_names, listed
from .requests import TriggersAsked, old_keywords, request_of

DEFAULT_PERIOD = 0.1
"""Row length in seconds where no detector has an exposure."""

ROW_COLUMNS = 10
"""Columns of a row beside two for each channel."""

UPDATES_PER_SECOND = 100.0
"""Updates of a channel that room is asked for."""

BYTES = 8
"""Size of a number in a file, in bytes."""

FEWEST_ROWS = 2
"""Rows that must fit into a region that is sampled, so that there is one."""

FILE_BYTES = 1e6
"""Size of a file without rows, in bytes."""


@dataclass(frozen=True)
class Inspection:
    """What the pre-flight found: the report for people, and the plan of each flight.

    Attributes
    ----------
    report
        The pre-flight report.
    legs
        What is flown, part by part, in this order.
    """

    report: Preflight
    legs: tuple[LegPlan, ...]


@old_keywords
async def inspect(
    detectors: Sequence[Any],
    axis: Any,
    trajectory: Trajectory,
    period: float | None = None,
    *,
    triggers: TriggersAsked = None,
    shutter: Any = None,
    path: Sequence[Any] = (),
) -> Preflight:
    """Return the pre-flight report of a scan. Nothing moves and nothing is changed.

    Parameters
    ----------
    detectors, axis, trajectory, period, triggers, shutter, path
        See `trajectory_scan`.

    Raises
    ------
    PreflightError
        Where there is nothing to report on: such an axis does not fly, such triggers cannot be
        made, a detector cannot be sampled or is named twice, or the detectors are no list.
    """
    detectors = following(listed(detectors), triggers)
    triggering = triggering_of(detectors, axis, period, triggers)
    check_devices(detectors, axis, triggering)
    check_light_path(shutter, path)
    asked = (detectors, axis, flight_for(axis), trajectory, period, triggering)
    return (await with_light_path(await inspection_of(*asked), shutter, path)).report


async def with_light_path(inspection: Inspection, shutter: Any, path: Sequence[Any]) -> Inspection:
    """Return what the pre-flight found, with what is closed in the path of the beam."""
    return with_objections(inspection, await light_path_objections(shutter, path))


def with_objections(inspection: Inspection, found: Iterable[str]) -> Inspection:
    """Return what the pre-flight found, with more reasons not to begin."""
    report = inspection.report
    return replace(inspection, report=replace(report, objections=(*report.objections, *found)))


def following(detectors: Sequence[Any], triggers: TriggersAsked) -> list[Any]:
    """Return the detectors of a scan, those that can follow its triggers as what does so."""
    if triggers is None:
        return list(detectors)
    return [find_frame_source(detector) or detector for detector in detectors]


def triggering_of(
    detectors: Sequence[Any], axis: Any, period: float | None, triggers: TriggersAsked
) -> Triggering | None:
    """Return what triggers the detectors of a scan; None if nothing does.

    Raises
    ------
    PreflightError
        If what is asked cannot be.
    """
    if triggers is None:
        return None
    asked = request_of(triggers)
    if period is not None:
        raise PreflightError(
            "A triggered scan has a row for each trigger, so that it cannot have a period of its "
            "own; give the period to the triggers, as in triggers=Triggers(box, period=0.1)."
        )
    followers = [d for d in detectors if isinstance(d, FrameSource)]
    return Triggering(source_for(asked.box, axis), followers, asked)


async def inspection_of(
    detectors: Sequence[Any],
    axis: Any,
    flight: Flight,
    trajectory: Trajectory,
    period: float | None,
    triggering: Triggering | None,
) -> Inspection:
    """Plan a scan. Nothing moves and nothing is changed.

    Raises
    ------
    PreflightError
        See `inspect`.
    ConnectionError
        In a sentence, if a server does not answer.
    """
    with as_connection_error("The scan cannot begin: "):
        if triggering is None:
            return await _sampled(detectors, axis, flight, trajectory, period)
        return await _triggered(detectors, axis, flight, trajectory, triggering)


def unseen(axis: Any, flight: Flight, trajectory: Trajectory, period: float | None) -> Inspection:
    """Return what stands in for a pre-flight where nobody carries out the plan (a simulator).

    Nothing is known of the axis, so that it has no limits, and what is triggered is one part.
    """
    row = DEFAULT_PERIOD if period is None else _positive(period)
    joined = flight.back_end.joins
    envelope = Envelope(None, None, None, "", run_up=0.0, run_up_time=0.0)
    report = preflight(axis.name, trajectory, row, envelope, joined=joined)
    legs = trajectory.legs(joined=joined)
    return Inspection(report, tuple(LegPlan(leg, leg.rows(row)) for leg in legs))


async def _sampled(
    detectors: Sequence[Any],
    axis: Any,
    flight: Flight,
    trajectory: Trajectory,
    period: float | None,
) -> Inspection:
    timings = await _timings(detectors, period)
    row = _row_length(period, timings)
    channels = await check_names(detectors, axis, None)
    motions = await plan_motions(flight, trajectory.legs(joined=flight.back_end.joins))
    report = await _report(channels, axis, flight, trajectory, row, timings, motions)
    report = replace(report, objections=(*report.objections, *_too_short(report)))
    legs = [
        LegPlan(stage.leg, stage.flight.rows(row), len(stage.leg.regions), motion)
        for stage, motion in zip(report.stages, motions, strict=True)
    ]
    return Inspection(report, tuple(legs))


def _too_short(report: Preflight) -> Iterator[str]:
    """Object to regions in which there may be no row, though one would fit."""
    for region in report.regions:
        if region.rows == 1:
            slower = abs(region.stop - region.start) / (FEWEST_ROWS * region.period)
            yield (
                f"Only one row of {region.period:g} s fits between {region.start:g} and "
                f"{region.stop:g} {report.unit}, and since rows begin with an exposure of the "
                f"detectors there may be none: fly at {slower:.2g} {report.unit}/s or slower, or "
                "choose a shorter period."
            )


async def _triggered(
    detectors: Sequence[Any],
    axis: Any,
    flight: Flight,
    trajectory: Trajectory,
    triggering: Triggering,
) -> Inspection:
    legs = list(trajectory.legs(joined=flight.back_end.joins))
    motions = await plan_motions(flight, legs)
    plans = await triggering.planning.plan(legs)
    triggers = [plan.triggers for plan in plans if plan.triggers is not None]
    dead = await triggering.planning.dead_times()
    sampled = [d for d in detectors if d not in triggering.detectors]
    timings = [Timing(name, triggers[0].exposure, dead[name]) for name in dead]
    timings += await _timings(sampled, None)
    period = min(plan.shortest_period for plan in triggers)
    channels = await check_names(sampled, axis, triggering)
    report = await _report(channels, axis, flight, trajectory, period, timings, motions)
    rows = sum(plan.expected_rows for plan in plans)
    return Inspection(replace(report, rows=rows), await with_motions(flight, plans, motions))


async def plan_motions(flight: Flight, legs: Iterable[Leg]) -> list[MotionPlan]:
    """Plan how the axis flies some legs. Passes over the same regions are planned once."""
    planned: dict[Any, MotionPlan] = {}
    found = []
    for leg in legs:
        if leg.regions not in planned:
            planned[leg.regions] = await flight.plan(leg)
        found.append(planned[leg.regions])
    return found


async def with_motions(
    flight: Flight, plans: Sequence[LegPlan], known: Sequence[MotionPlan] = ()
) -> tuple[LegPlan, ...]:
    """Return the plans of some flights with their motions.

    Parameters
    ----------
    flight
        Flight of the axis.
    plans
        The plans, without motions.
    known
        Motions of whole legs. Only parts of legs are planned anew.
    """
    planned = {motion.leg.regions: motion for motion in known}
    for plan in plans:
        if plan.leg.regions not in planned:
            planned[plan.leg.regions] = await flight.plan(plan.leg)
    return tuple(replace(plan, motion=planned[plan.leg.regions]) for plan in plans)


async def _timings(detectors: Sequence[Any], period: float | None) -> list[Timing]:
    """Return how long the detectors read whose exposure can be set, or is set to a period (s)."""
    adjustable = [detector for detector in detectors if offers(detector, WithExposure)]
    if period is None:
        return [Timing(d.name, await d.integration_time.get_value()) for d in adjustable]
    exposure = _positive(period)
    for detector in adjustable:
        detector.check_integration_time(exposure)
    return [Timing(detector.name, exposure) for detector in adjustable]


def _row_length(period: float | None, timings: Sequence[Timing]) -> float:
    """Return the length of a row (s): the one asked for, or the longest exposure."""
    if period is not None:
        return _positive(period)
    return max((timing.exposure for timing in timings), default=DEFAULT_PERIOD)


async def _report(
    channels: Sequence[SampledChannel],
    axis: Any,
    flight: Flight,
    trajectory: Trajectory,
    period: float,
    timings: Sequence[Timing],
    motions: Sequence[MotionPlan],
) -> Preflight:
    position = None
    if isinstance(axis, AsyncLocatable):
        position = (await axis.locate())["readback"]
    return preflight(
        axis.name,
        trajectory,
        period,
        [motion.envelope for motion in motions],
        joined=flight.back_end.joins,
        position=position,
        moving=await flight.moving(),
        space=_space(len(channels), trajectory, period),
        detectors=timings,
    )


def _space(channels: int, trajectory: Trajectory, period: float) -> Space:
    """Return how much the scan will write, generously, and how much room there is."""
    rows = trajectory.rows(period) * (2 * channels + ROW_COLUMNS)
    updates = trajectory.duration * channels * UPDATES_PER_SECOND * 2
    root = data_root()
    return Space(int(BYTES * (rows + updates) + FILE_BYTES), disk_usage(root).free, str(root))


def _positive(period: Any) -> float:
    value = number_of(period)
    if not value >= SMALLEST:
        raise PreflightError(
            f"A row cannot last {period!r} s; give the period as a number of seconds above zero."
        )
    return value


def check_devices(detectors: Sequence[Any], axis: Any, triggering: Triggering | None) -> None:
    """Refuse (PreflightError) devices that cannot be sampled, or that are named twice."""
    triggered = [] if triggering is None else triggering.detectors
    for device in [*detectors, axis]:
        if device not in triggered and not can_be_sampled(device):
            raise PreflightError(
                f"{getattr(device, 'name', device)!r} cannot be sampled: it is neither a "
                "signal nor a device that can be read; leave it out, or give its signals."
            )
    names = [device.name for device in [*detectors, axis]]
    for name in names:
        if names.count(name) > 1 and name != axis.name:
            raise PreflightError(f"The detector {name!r} is named twice; name each one once.")


__all__ = [
    "Inspection",
    "check_devices",
    "inspect",
    "inspection_of",
    "triggering_of",
    "unseen",
    "with_light_path",
    "with_motions",
    "with_objections",
]
