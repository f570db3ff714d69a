"""Trigger boxes: each triggers each detector in a flight, and no trigger is lost."""

from collections.abc import Iterable
from typing import Any

from glidepath.acceptance.needs import Needs
from glidepath.acceptance.outcomes import Failed, LeftOut
from glidepath.acceptance.suite import Suite, Test, register_suite
from glidepath.acceptance.trial import Trial
from glidepath.beamlines import Beamline
from glidepath.detectors import TriggerMode, find_frame_source
from glidepath.flyers import Triggers
from glidepath.plans import flyscan
from glidepath.sentences import ScanError, sentence_of

from .flights import Kept, flown_range

WITH = " with "
"""Between the names of a box and of a detector."""

TRIGGERS = 40
"""Of one flight."""

SPARE = 1.5
"""Share of the shortest period of the detector in which triggers come."""


def triggers(trial: Trial) -> str:
    """Every trigger of a flight leads to a frame of the detector, and to a row."""
    session, detector = trial.session, trial.part.partition(WITH)[2]
    axis = _axis_of_box(session.beamline, trial.name)
    trial.may(axis, detector)
    found: list[Any] = session.devices([axis, detector])
    device, followed = found
    flown = _on(trial, axis, device)
    source = find_frame_source(followed)
    assert source is not None
    if session.call(source.trigger_modes) <= {TriggerMode.INTERNAL}:
        raise LeftOut(f"{detector} takes no pulses: it goes by its own clock only.")
    exposure = trial.needs.exposure or trial.asked.exposure
    period = SPARE * (exposure + session.call(source.dead_time)) + 0.005
    with Kept(flown):
        velocity = _velocity(flown, period)
        start, stop = flown_range(flown, velocity)
        stop = start + min(stop - start, TRIGGERS * period * velocity)
        asked = Triggers(trial.device, step=period * velocity, exposure=exposure)
        try:
            session.run(
                flyscan(
                    [followed],
                    device,
                    start,
                    stop,
                    velocity,
                    triggers=asked,
                    md={"tested": f"{trial.name} {detector}"},
                )
            )
        except (ScanError, ValueError) as error:
            raise Failed(sentence_of(error)) from error
    run = session.last
    rows, expected = run.run.rows, int(run.start["preflight"]["rows"])
    trial.keep({"rows": (rows, ""), "rate": (1 / period, "Hz")})
    if rows < expected - 1:
        raise Failed(f"{rows} rows of {expected} came of triggers each {1e3 * period:.3g} ms.")
    return f"{rows} rows along {axis}, a trigger each {1e3 * period:.3g} ms"


def _on(trial: Trial, axis: str, device: Any) -> Trial:
    """Return the trial of the axis that is flown for the trigger box."""
    needs = Needs.of(trial.session.beamline, axis)
    if needs.safe is None:
        raise LeftOut(f"No safe range is declared for {axis}, along which it would trigger.")
    return Trial(trial.session, device, axis, axis, needs, trial.asked, trial.folder)


def _velocity(flown: Trial, period: float) -> float:
    """Return a velocity at which the triggers take a third of the safe range, or what is known."""
    assert flown.needs.safe is not None
    low, high = flown.needs.safe
    if flown.needs.velocities:
        return min(flown.needs.velocities)
    return (high - low) / 3 / (TRIGGERS * period)


def _axis_of_box(beamline: Beamline, name: str) -> str:
    """Return along which axis of the beamline a trigger box triggers; empty if it is no box."""
    known = getattr(beamline.devices[name], "axes", None)
    if not isinstance(known, dict):
        return ""
    can = [axis for axis in beamline.axes if axis in known]
    return next((axis for axis in can if axis in beamline.safe_ranges), "".join(can[:1]))


def _detectors_of_box(beamline: Beamline, name: str) -> Iterable[str]:
    if not _axis_of_box(beamline, name):
        return []
    return [
        f"{name}{WITH}{detector}"
        for detector, device in beamline.devices.items()
        if find_frame_source(device) is not None
    ]


register_suite(Suite("trigger box", _detectors_of_box, (Test("triggers", triggers, moves=True),)))
