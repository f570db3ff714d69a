"""Flies an axis along a trajectory and samples everything meanwhile: the core of every fly scan."""

from collections.abc import Mapping, Sequence
from functools import cache, partial
from importlib.metadata import version
from typing import Any

import bluesky.preprocessors as bpp
from bluesky.protocols import Movable, Readable, Stageable

from glidepath.devices.sampled import offers
from glidepath.flyers import BeamGuard, flight_for
from glidepath.flyers.sampling.sampler import CLOCK_BOUND
from glidepath.trajectory import PreflightError, Trajectory

from .companions import with_companions
from .inspection import (
    check_devices,
    following,
    inspection_of,
    triggering_of,
    unseen,
    with_light_path,
    with_objections,
)
from .light_path import LightPath, check_light_path
from .messages import MsgGenerator, wait_for
from .requests import TriggersAsked, old_keywords
from .scan import Scan
from .spots import Spots

SOFTWARE = ("glidepath", "bluesky", "ophyd-async", "aioca", "numpy", "h5py")

BAD_ROWS = "bad rows"
"""What can be flown again."""


@old_keywords
def trajectory_scan(
    detectors: Sequence[Readable[Any]],
    axis: Readable[Any],
    trajectory: Trajectory,
    *,
    period: float | None = None,
    clock_bound: float = CLOCK_BOUND,
    beam: BeamGuard | None = None,
    refly: str | None = None,
    triggers: TriggersAsked = None,
    shutter: Movable[Any] | None = None,
    path: Sequence[Any] = (),
    opening_time: float | None = None,
    spots: Spots | None = None,
    plan_name: str = "trajectory_scan",
    plan_args: Mapping[str, Any] | None = None,
    md: Mapping[str, Any] | None = None,
) -> MsgGenerator:
    """Fly ``axis`` along a trajectory and record what the detectors saw on the way.

    In a session its silent detectors are recorded beside those that are named.

    `glidepath.plans.flyscan` and `glidepath.plans.xas_flyscan` say what comes of it.

    Parameters
    ----------
    detectors, axis, period, clock_bound, beam, refly, triggers, shutter, path, md
        See `glidepath.plans.flyscan`.
    trajectory
        What is flown.
    opening_time
        How long the shutter takes to open, in s: it is told so much before the axis enters the
        range. None: it is open before the axis starts.
    spots
        Where on the sample each pass is flown. The shutter is then open only while the axis is in
        its range, and not while the sample moves.
    plan_name, plan_args
        For the start document.
    """
    detectors = yield from with_companions(detectors, axis)
    detectors = following(detectors, triggers)
    if beam is not None and beam.ring not in detectors:
        detectors.append(beam.ring)
    if refly not in (None, BAD_ROWS):
        raise PreflightError(f"refly can be None or {BAD_ROWS!r}, not {refly!r}.")
    triggering = triggering_of(detectors, axis, period, triggers)
    check_devices(detectors, axis, triggering)
    check_light_path(shutter, path)
    flight = flight_for(axis)
    inspection = yield from wait_for(
        partial(inspection_of, detectors, axis, flight, trajectory, period, triggering)
    )
    if inspection is None:
        inspection = unseen(axis, flight, trajectory, period)
    else:
        if shutter is not None or path:
            inspection = yield from wait_for(partial(with_light_path, inspection, shutter, path))
        if spots is not None:
            found = yield from wait_for(spots.objections)
            inspection = with_objections(inspection, found)
    inspection.report.check()
    scan = Scan(
        detectors,
        axis,
        flight,
        trajectory,
        inspection,
        clock_bound=clock_bound,
        beam=beam,
        refly=refly is not None,
        exposure=period if triggering is None else None,
        triggering=triggering,
        light=spots.light if spots is not None else LightPath(shutter, opening_time),
        spots=spots,
    )
    metadata = {
        "plan_name": plan_name,
        "detectors": [device.name for device in detectors],
        "motors": [axis.name],
        "plan_args": {
            "detectors": [device.name for device in detectors],
            "axis": axis.name,
            "path": [device.name for device in path],
            **(plan_args or {}),
        },
        "hints": {"dimensions": [([axis.name], "primary")]},
        "preflight": inspection.report.to_document(),
        "software": software_versions(),
        **(md or {}),
    }
    # Whatever has channels can be sampled; most of it has nothing to prepare.
    staged = [detector for detector in detectors if offers(detector, Stageable)]
    run = scan.run(metadata)
    if staged:
        run = bpp.stage_wrapper(run, staged)
    run = bpp.contingency_wrapper(run, except_plan=scan.could_not_begin, auto_raise=True)
    try:
        # What was flown cannot be replayed: a pause interrupts the flight, the rest is flown.
        return (yield from bpp.rewindable_wrapper(run, False))
    except GeneratorExit:
        # RE.halt: no message is carried out any more. The axis must stand all the same.
        scan.abandon()
        raise


@cache
def software_versions() -> dict[str, str]:
    """Return the versions of what takes part in a scan."""
    return {name: version(name) for name in SOFTWARE}


__all__ = ["BAD_ROWS", "trajectory_scan"]
