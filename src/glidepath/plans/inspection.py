"""The pre-flight: what a scan will do, planned once, and every reason not to begin."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from shutil import disk_usage
from typing import Any

from ophyd_async.core import AsyncLocatable

from glidepath.detectors import FrameSource
from glidepath.devices.sampled import Sampled, WithExposure, can_be_sampled, channels_for, offers
from glidepath.flyers import Flight, LegPlan, MotionPlan, Triggering, flight_for, source_for
from glidepath.sentences import as_connection_error
from glidepath.storage import data_root
from glidepath.trajectory import (
    Leg,
    Preflight,
    PreflightError,
    Space,
    Timing,
    Trajectory,
    preflight,
)
from glidepath.trajectory.region import SMALLEST, number_of

DEFAULT_PERIOD = 0.1
"""Row length in seconds where no detector has an exposure."""

ROW_COLUMNS = 10
"""Columns of a row beside two for each channel."""

UPDATES_PER_SECOND = 100.0
"""Updates of a channel that room is asked for."""

BYTES = 8
"""Of a number."""

FILE_BYTES = 1e6
"""Of a file without rows."""


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


async def inspect(
    detectors: Sequence[Any],
    axis: Any,
    trajectory: Trajectory,
    period: float | None = None,
    *,
    trigger: Any = None,
    step: float | None = None,
    exposure: float | None = None,
) -> Preflight:
    """Return the pre-flight report of a scan. Nothing moves and nothing is changed.

    Parameters
    ----------
    detectors, axis, trajectory, period, trigger, step, exposure
        See `trajectory_scan`.

    Raises
    ------
    PreflightError
        Where there is nothing to report on: such an axis does not fly, such triggers cannot be
        made.
    """
    triggering = triggering_of(detectors, axis, period, trigger, step, exposure)
    asked = (detectors, axis, flight_for(axis), trajectory, period, triggering)
    return (await inspection_of(*asked)).report


def triggering_of(
    detectors: Sequence[Any],
    axis: Any,
    period: float | None,
    trigger: Any,
    step: float | None,
    exposure: float | None,
) -> Triggering | None:
    """Return what triggers the detectors of a scan; None if nothing does.

    Raises
    ------
    PreflightError
        If what is asked cannot be.
    """
    if trigger is None:
        if step is not None or exposure is not None:
            raise PreflightError(
                "Only triggers come each step and have an exposure: name what makes them with "
                "trigger=..., or give a period."
            )
        return None
    followers = [d for d in detectors if isinstance(d, FrameSource)]
    source = source_for(trigger, axis)
    return Triggering(source, followers, step=step, period=period, exposure=exposure)


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


async def _sampled(
    detectors: Sequence[Any],
    axis: Any,
    flight: Flight,
    trajectory: Trajectory,
    period: float | None,
) -> Inspection:
    timings = await _timings(detectors, period)
    row = _row_length(period, timings)
    motions = await plan_motions(flight, trajectory.legs(joined=flight.back_end.joins))
    report = await _report(detectors, axis, flight, trajectory, row, timings, motions)
    legs = [
        LegPlan(stage.leg, stage.flight.rows(row), motion)
        for stage, motion in zip(report.stages, motions, strict=True)
    ]
    return Inspection(report, tuple(legs))


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
    report = await _report(sampled, axis, flight, trajectory, period, timings, motions)
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
        Of the axis.
    plans
        Without motions.
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
    sampled: Sequence[Any],
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
        space=await _space([axis, *sampled], trajectory, period),
        detectors=timings,
    )


async def _space(devices: Sequence[Sampled], trajectory: Trajectory, period: float) -> Space:
    """Return how much the scan will write, generously, and how much room there is."""
    channels = [channel for device in devices for channel in await channels_for(device)]
    rows = trajectory.rows(period) * (2 * len(channels) + ROW_COLUMNS)
    updates = trajectory.duration * len(channels) * UPDATES_PER_SECOND * 2
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
    "with_motions",
]
