"""Whether a scan may begin: what is asked against what the axis, and all that goes along, can."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import ceil, floor, log10

from .companion import Companion
from .envelope import Envelope
from .kspace import KRegion
from .report import (
    CLOCK_BOUND,
    AxisReport,
    Preflight,
    PreflightError,
    RegionReport,
    Space,
    Timing,
    between,
    in_bytes,
)
from .schedule import Stage, schedule
from .trajectory import AnyRegion, Trajectory

DUST = 1e-6
"""Share of a limit by which a computed number may be beyond it."""


def preflight(
    axis: str,
    asked: AnyRegion | Trajectory,
    period: float,
    envelopes: Envelope | Sequence[Envelope],
    *,
    joined: bool = False,
    position: float | None = None,
    moving: str = "",
    space: Space | None = None,
    clocks: Mapping[str, float] | None = None,
    clock_bound: float = CLOCK_BOUND,
    detectors: Sequence[Timing] = (),
) -> Preflight:
    """Compare what is asked with what the axis, and all that goes with it, can do.

    Parameters
    ----------
    axis
        Name of the axis, for messages.
    asked
        What is asked.
    period
        Length of a row in s where a region has none of its own.
    envelopes
        What the axis can do: one for each of ``trajectory.legs(joined=joined)``, or one for all.
    joined
        Whether the axis flies regions that join in one movement.
    position
        Where the axis is now, for the duration; None if that is not known.
    moving
        Name of what moves already and would be flown; empty if all stands.
    space
        Room for the data; None: not checked.
    clocks
        Seconds by which the clock of a server is off, by a name for it.
    clock_bound
        How much is allowed, s.
    detectors
        How fast the detectors follow.

    Raises
    ------
    PreflightError
        If the period is not above zero.
    """
    if not period > 0:
        raise PreflightError(f"A row cannot last {period:g} s; choose a period above zero.")
    trajectory = Trajectory.of(asked)
    legs = list(trajectory.legs(joined=joined))
    if isinstance(envelopes, Envelope):
        envelopes = [envelopes] * len(legs)
    stages = schedule(legs, envelopes, position)
    regions = tuple(_regions(trajectory, stages, period))
    unit = envelopes[0].unit
    mismatches = [e.mismatch for e in envelopes if e.mismatch is not None]
    bounds = [e.mismatch_bound for e in envelopes if e.mismatch_bound is not None]
    mismatch, bound = max(mismatches, default=None), min(bounds, default=None)
    shortest = min(region.period for region in regions)
    objections = list(_moves(axis, moving))
    for stage in stages:
        objections += stage.envelope.objections
        objections += _flown_beyond(axis, stage)
        objections += _wrong_velocity(axis, stage)
        objections += _wrong_acceleration(axis, stage)
        for companion in stage.envelope.companions:
            objections += _companion_cannot(companion, stage)
    for region in trajectory.regions:
        objections += _too_short(region, period, unit)
    objections += _no_room(space)
    objections += _clocks_off(clocks or {}, clock_bound)
    objections += _too_slow(detectors, shortest)
    return Preflight(
        axis=axis,
        start=trajectory.regions[0].start,
        stop=trajectory.regions[-1].stop,
        velocity=trajectory.velocity,
        unit=unit,
        period=period,
        rows=sum(stage.flight.rows(period) for stage in stages),
        duration=sum(p.duration for stage in stages for p in stage.flight.passages),
        total_duration=float(stages[-1].end),
        run_up=max(abs(stage.leg.start - stage.flight.start) for stage in stages),
        predicted_mismatch=mismatch,
        smear=max(region.fastest * region.period for region in regions),
        objections=tuple(dict.fromkeys(objections)),
        notes=tuple(_notes(unit, stages, regions, mismatch, bound, detectors, shortest)),
        low=trajectory.low,
        high=trajectory.high,
        passes=trajectory.passes,
        there_and_back=trajectory.there_and_back,
        flights=len(legs),
        regions=regions,
        axes=tuple(_axes(axis, stages)),
        mismatch_bound=bound,
        space=space,
        clocks=dict(clocks or {}),
        clock_bound=clock_bound,
        detectors=tuple(detectors),
        stages=stages,
    )


def with_clocks(
    report: Preflight, clocks: Mapping[str, float], bound: float = CLOCK_BOUND
) -> Preflight:
    """Return a report to which the clocks of the servers were added.

    Parameters
    ----------
    report
        The report without them.
    clocks, bound
        As for `preflight`.
    """
    return replace(
        report,
        clocks=dict(clocks),
        clock_bound=bound,
        objections=(*report.objections, *_clocks_off(clocks, bound)),
    )


def _moves(axis: str, moving: str) -> Iterator[str]:
    if moving:
        what = axis if moving == axis else f"{moving}, which {axis} moves,"
        yield f"{what} is moving already: wait until it stands, or stop it, before a scan begins."


def _flown_beyond(axis: str, stage: Stage) -> Iterator[str]:
    """Object to ends of a leg outside the range; then to run-ups that leave it."""
    leg, envelope, unit = stage.leg, stage.envelope, stage.envelope.unit
    low, high = envelope.low, envelope.high
    ends = (
        (leg.start, stage.flight.start, "run-up"),
        (leg.stop, stage.flight.stop, "run-down"),
    )
    for asked, flown, what in ends:
        if not _inside(asked, low, high):
            yield (
                f"{axis} cannot fly to {asked:g} {unit}: its range is {between(low, high, unit)}; "
                "choose start and stop inside it."
            )
        # The run-up that a velocity needs is of interest only if the axis can do the velocity.
        elif not _inside(flown, low, high) and not list(_wrong_velocity(axis, stage)):
            yield (
                f"{axis} needs {abs(flown - asked):.3g} {unit} of {what} beyond {asked:g} {unit}, "
                f"but its range is {between(low, high, unit)}; keep that distance to its end."
            )


def _wrong_velocity(axis: str, stage: Stage) -> Iterator[str]:
    leg, envelope, unit = stage.leg, stage.envelope, stage.envelope.unit
    fastest = envelope.max_velocity
    if fastest is not None and leg.velocity > fastest:
        yield (
            f"{axis} cannot fly at {leg.velocity:g} {unit}/s: its highest velocity is "
            f"{fastest:g} {unit}/s; choose a lower one."
        )
    elif leg.slowest < envelope.min_velocity:
        yield (
            f"{axis} cannot fly at {leg.slowest:g} {unit}/s: its lowest velocity is "
            f"{envelope.min_velocity:g} {unit}/s; choose a higher one."
        )


def _wrong_acceleration(axis: str, stage: Stage) -> Iterator[str]:
    envelope, unit = stage.envelope, stage.envelope.unit
    most = envelope.max_acceleration
    if most is None or envelope.motion is None:
        return
    needed = envelope.motion.top_acceleration
    if needed > most * (1 + DUST):
        yield (
            f"{axis} would change its velocity with {needed:.3g} {unit}/s², but its highest "
            f"acceleration is {most:g} {unit}/s²; fly slower."
        )


def _companion_cannot(companion: Companion, stage: Stage) -> Iterator[str]:
    name, unit = companion.name, companion.unit
    low, high = companion.needed_low, companion.needed_high
    if low is not None and high is not None:
        inside = _inside(low, companion.low, None) and _inside(high, None, companion.high)
        if not inside:
            limits = between(companion.low, companion.high, unit)
            yield (
                f"{name} would go from {low:.6g} to {high:.6g} {unit}, but its range is {limits}; "
                f"{companion.advice}."
            )
    most, needed = companion.max_velocity, companion.needed_velocity
    if most is not None and needed > most * (1 + DUST):
        slower = _floor(stage.leg.velocity * most / needed)
        yield (
            f"{name} would move at {needed:.3g} {unit}/s, but its highest velocity is {most:g} "
            f"{unit}/s; fly at {slower:g} {stage.envelope.unit}/s or slower."
        )
    most, needed = companion.max_acceleration, companion.needed_acceleration
    if most is not None and needed > most * (1 + DUST):
        yield (
            f"{name} would change its velocity with {needed:.3g} {unit}/s², but its highest "
            f"acceleration is {most:g} {unit}/s²; fly slower."
        )


def _too_short(region: AnyRegion, period: float, unit: str) -> Iterator[str]:
    if region.rows(period) >= 1:
        return
    row = region.period or period
    advice = "choose a shorter dwell time or a smaller step"
    if not isinstance(region, KRegion):
        slowest = _floor(region.length / row)
        advice = f"fly at {slowest:g} {unit}/s or slower, or choose a shorter period"
    yield (
        f"Not one row of {row:g} s fits between {region.start:g} and {region.stop:g} {unit} "
        f"at {region.velocity:g} {unit}/s; {advice}."
    )


def _no_room(space: Space | None) -> Iterator[str]:
    if space is not None and space.needed > space.free:
        yield (
            f"The scan will write about {in_bytes(space.needed)}, but only "
            f"{in_bytes(space.free)} are free in {space.place}; make room or name another data "
            "directory."
        )


def _clocks_off(clocks: Mapping[str, float], bound: float) -> Iterator[str]:
    for name, offset in clocks.items():
        if abs(offset) > bound:
            side = "behind" if offset > 0 else "ahead of"
            yield (
                f"The clock of the server of {name} is {abs(offset):.2f} s {side} this machine, "
                f"but {bound:g} s are allowed: synchronise the clocks, or allow more with "
                "clock_bound."
            )


def _too_slow(detectors: Sequence[Timing], shortest: float) -> Iterator[str]:
    for timing in detectors:
        if timing.dead_time is not None and timing.shortest > shortest * (1 + DUST):
            yield (
                f"{timing.name} needs {timing.shortest:g} s from one reading to the next "
                f"({timing.exposure:g} s and a dead time of {timing.dead_time:g} s), but rows last "
                f"{shortest:g} s; choose a longer period or a shorter exposure."
            )


def _notes(
    unit: str,
    stages: Sequence[Stage],
    regions: Sequence[RegionReport],
    mismatch: float | None,
    bound: float | None,
    detectors: Sequence[Timing],
    shortest: float,
) -> Iterator[str]:
    if mismatch is not None and bound is not None and mismatch > bound:
        yield (
            f"The undulator will be up to {mismatch:.3g} {unit} off, rows beyond {bound:.3g} "
            f"{unit} are marked; fly slower to keep it nearer."
        )
    yield from dict.fromkeys(note for stage in stages for note in stage.envelope.notes)
    slower = [f"{r.slower:.3g} {unit} of region {r.number}" for r in regions if r.slower > 0]
    if slower:
        yield (
            f"Where the velocity changes, {' and '.join(slower)} "
            f"{'is' if len(slower) == 1 else 'are'} flown slower than asked."
        )
    for timing in detectors:
        if timing.dead_time is None and timing.exposure > shortest * (1 + DUST):
            yield (
                f"{timing.name} reads for {timing.exposure:g} s, longer than rows of "
                f"{shortest:g} s: neighbouring rows share its readings."
            )


def _regions(
    trajectory: Trajectory, stages: Sequence[Stage], period: float
) -> Iterator[RegionReport]:
    unit = stages[0].envelope.unit
    for number, region in enumerate(trajectory.regions, start=1):
        passages = [
            passage
            for stage in stages
            if stage.leg.pass_number == 1
            for passage in stage.flight.passages
            if passage.number == number
        ]
        what = f"{region.start:.6g} to {region.stop:.6g} {unit}"
        if isinstance(region, KRegion):
            what += (
                f", k {region.k_start:.3g} to {region.k_stop:.3g} 1/Å in steps of "
                f"{region.k_step:g} 1/Å"
            )
        else:
            what += f" at {region.velocity:g} {unit}/s"
        yield RegionReport(
            number,
            region.start,
            region.stop,
            min(region.speeds),
            region.velocity,
            region.period or period,
            sum(passage.rows(period) for passage in passages),
            sum(passage.duration for passage in passages),
            sum(passage.slower for passage in passages),
            what,
        )


def _axes(axis: str, stages: Sequence[Stage]) -> list[AxisReport]:
    """Return what is needed of the axis and of each companion in all legs."""
    found: dict[str, list[Companion]] = {}
    for stage in stages:
        envelope, flight = stage.envelope, stage.flight
        own = Companion(
            axis,
            envelope.unit,
            envelope.low,
            envelope.high,
            envelope.max_velocity,
            envelope.max_acceleration,
        ).needing(
            *flight.reach,
            stage.leg.velocity,
            0.0 if envelope.motion is None else flight.top_acceleration,
        )
        for companion in (own, *envelope.companions):
            found.setdefault(companion.name, []).append(companion)
    reports = []
    for name, parts in found.items():
        lows = [part.needed_low for part in parts if part.needed_low is not None]
        highs = [part.needed_high for part in parts if part.needed_high is not None]
        reports.append(
            AxisReport(
                name,
                parts[0].unit,
                parts[0].low,
                parts[0].high,
                parts[0].max_velocity,
                parts[0].max_acceleration,
                min(lows, default=None),
                max(highs, default=None),
                max(part.needed_velocity for part in parts),
                max(part.needed_acceleration for part in parts),
            )
        )
    return reports


def _inside(position: float, low: float | None, high: float | None) -> bool:
    return (low is None or position >= low) and (high is None or position <= high)


def _floor(value: float) -> float:
    """Return the value rounded down to two digits, so that the advice holds."""
    scale = 10.0 ** (ceil(log10(value)) - 2)
    return floor(value / scale * (1 + 1e-10)) * scale


__all__ = ["preflight", "with_clocks"]
