"""Flies an axis along a trajectory and samples everything meanwhile: the core of every fly scan."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from importlib.metadata import version
from shutil import disk_usage
from typing import Any

import bluesky.preprocessors as bpp
from bluesky.protocols import Stageable
from bluesky.utils import FailedPause, Msg, RequestAbort, RequestStop
from ophyd_async.core import AsyncLocatable

from glidepath.detectors import FrameSource
from glidepath.devices.sampled import Sampled, WithExposure, can_be_sampled, channels_for, offers
from glidepath.flyers import (
    BeamGuard,
    Flight,
    FlightError,
    Sampler,
    Triggering,
    Verdict,
    flight_for,
    source_for,
)
from glidepath.flyers.sampling.sampler import CLOCK_BOUND, PATIENCE
from glidepath.sentences import as_connection_error
from glidepath.storage import data_root, run_folder
from glidepath.trajectory import (
    Leg,
    Preflight,
    PreflightError,
    Region,
    Space,
    Timing,
    Trajectory,
    preflight,
)
from glidepath.trajectory.region import SMALLEST, number_of

from .messages import MsgGenerator, attempt, done, reason_of, wait_for, wait_until_done

DEFAULT_PERIOD = 0.1
"""Row length in seconds where no detector has an exposure."""

FILE_NAME = "glidepath.h5"

SOFTWARE = ("glidepath", "bluesky", "ophyd-async", "aioca", "numpy", "h5py")

ROW_COLUMNS = 10
"""Columns of a row beside two for each channel."""

UPDATES_PER_SECOND = 100.0
"""Updates of a channel that room is asked for."""

BYTES = 8
"""Of a number."""

FILE_BYTES = 1e6
"""Of a file without rows."""

CUT_PATIENCE = 0.5
"""Seconds to wait for updates that are still on their way when a flight ended early."""

REFLIGHTS = 3
"""How often a range of bad rows is flown again at the most."""

BAD_ROWS = "bad rows"
"""What can be flown again."""


def trajectory_scan(
    detectors: Sequence[Any],
    axis: Any,
    trajectory: Trajectory,
    *,
    period: float | None = None,
    clock_bound: float = CLOCK_BOUND,
    beam: BeamGuard | None = None,
    refly: str | None = None,
    trigger: Any = None,
    step: float | None = None,
    exposure: float | None = None,
    plan_name: str = "trajectory_scan",
    plan_args: Mapping[str, Any] | None = None,
    md: Mapping[str, Any] | None = None,
) -> MsgGenerator:
    """Fly ``axis`` along a trajectory and record what the detectors saw on the way.

    `glidepath.plans.flyscan` and `glidepath.plans.xas_flyscan` say what comes of it.

    Parameters
    ----------
    detectors, axis, period, clock_bound, beam, refly, trigger, step, exposure, md
        See `glidepath.plans.flyscan`.
    trajectory
        What is flown.
    plan_name, plan_args
        For the start document.
    """
    detectors = list(detectors)
    if beam is not None and beam.ring not in detectors:
        detectors.append(beam.ring)
    if refly not in (None, BAD_ROWS):
        raise PreflightError(f"refly can be None or {BAD_ROWS!r}, not {refly!r}.")
    triggering = _triggering(detectors, axis, period, trigger, step, exposure)
    _check_devices(detectors, axis, triggering)
    flight = flight_for(axis)
    report = yield from wait_for(
        partial(_inspect, detectors, axis, flight, trajectory, period, triggering)
    )
    report.check()
    scan = _Scan(
        detectors, axis, flight, trajectory, report, clock_bound, beam, refly, period, triggering
    )
    metadata = {
        "plan_name": plan_name,
        "detectors": [device.name for device in detectors],
        "motors": [axis.name],
        "plan_args": {
            "detectors": [device.name for device in detectors],
            "axis": axis.name,
            **(plan_args or {}),
        },
        "hints": {"dimensions": [([axis.name], "primary")]},
        "preflight": report.to_document(),
        "software": software_versions(),
        **(md or {}),
    }
    # Whatever has channels can be sampled; most of it has nothing to prepare.
    staged = [detector for detector in detectors if offers(detector, Stageable)]
    run = scan.run(metadata)
    if staged:
        run = bpp.stage_wrapper(run, staged)
    try:
        # What was flown cannot be replayed: a pause interrupts the flight, the rest is flown.
        return (yield from bpp.rewindable_wrapper(run, False))
    except GeneratorExit:
        # RE.halt: no message is carried out any more. The axis must stand all the same.
        scan.abandon()
        raise


@dataclass
class _Scan:
    """One run: what its steps share."""

    detectors: Sequence[Any]
    axis: Any
    flight: Flight
    trajectory: Trajectory
    report: Preflight
    clock_bound: float
    beam: BeamGuard | None
    refly: str | None
    period: float | None
    triggering: Triggering | None
    sampler: Sampler = field(init=False)
    described: int = 0
    begun: bool = False
    over: bool = False
    loop: asyncio.AbstractEventLoop | None = None
    undo: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    interruptions: list[tuple[str, float | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        triggered = [] if self.triggering is None else self.triggering.detectors
        sampled = [d for d in self.detectors if d not in triggered]
        self.sampler = Sampler(sampled, self.axis, self.report.period, triggering=self.triggering)
        self.flight.before_interruption = self.sampler.cut
        if self.triggering is not None:
            self.flight.after_interruption = self.triggering.source.disarm

    def run(self, metadata: Mapping[str, Any]) -> MsgGenerator:
        started: list[Mapping[str, Any]] = []
        # Messages themselves, here and below: a stub of Bluesky looks up the call stack, which
        # takes longer than what it stands for.
        token = yield Msg("subscribe", None, lambda _, document: started.append(document), "start")
        uid = yield Msg("open_run", **metadata)
        yield Msg("unsubscribe", None, token=token)
        yield from bpp.contingency_wrapper(
            self.fly(started[0]), except_plan=self.fail, else_plan=self.succeed, auto_raise=True
        )
        return uid

    def fly(self, document: Mapping[str, Any]) -> MsgGenerator:
        self.loop = asyncio.get_running_loop()
        if self.period is not None and self.triggering is None:
            yield from wait_for(self.set_exposures)
        folder = run_folder(data_root(), document["uid"], document["scan_id"], document["time"])
        title = f"{document['plan_name']} {self.axis.name}"
        entry = {"title": title, "entry_identifier": document["uid"]}
        prepared = yield Msg("prepare", self.sampler, (folder / FILE_NAME, entry), group="sampler")
        yield from wait_until_done(prepared, "sampler")
        if self.beam is not None:
            yield from wait_for(self.beam.open)
        for leg in self.trajectory.legs(joined=self.flight.back_end.joins):
            yield from self.fly_parts(leg)
        for _ in range(REFLIGHTS if self.refly else 0):
            for leg in list(self.bad_legs()):
                yield from self.fly_parts(leg)
        yield from wait_for(self.sampler.finish)

    def fly_parts(self, leg: Leg) -> MsgGenerator:
        """Fly a leg in as many parts as a source of triggers can hold."""
        parts = [leg]
        if self.triggering is not None:
            parts = yield from wait_for(partial(self.triggering.parts, leg))
        for part in parts:
            yield from self.fly_leg(part)

    def fly_leg(self, leg: Leg) -> MsgGenerator:
        """Fly a leg, and what is left of it after each interruption."""
        rest: Leg | None = leg
        while rest is not None:
            yield from self.wait_for_beam()
            armed = yield from self.fly_once(rest)
            self.flight.check()
            if not self.flight.interruption or (armed and self.sampler.arrived):
                return
            reached = self.sampler.reached if armed else None
            rest = rest if reached is None else rest.after(reached)
            if rest is not None and rest.rows(self.report.period) < 1:
                rest = None
            self.interruptions.append((self.flight.interruption, reached))

    def fly_once(self, leg: Leg) -> MsgGenerator:
        """Fly until the end of the leg or an interruption, and make the last rows.

        Returns whether the sampler was armed for it: an interruption can come earlier.
        """
        flight, sampler = self.flight, self.sampler
        self.begun = True
        flight.begin()
        group = f"{flight.name} prepare"
        prepared = yield Msg("prepare", flight, leg, group=group)
        # Every channel has answered: the streams are described while the axis is on its way.
        yield from wait_for(partial(sampler.arm_detectors, leg))
        yield from self.describe()
        yield from wait_until_done(prepared, group)
        yield from wait_for(self.check_clocks)
        if flight.interruption:
            return False
        yield from wait_for(partial(sampler.arm, leg))
        if not flight.interruption:
            group = f"{flight.name} kickoff"
            started = yield Msg("kickoff", flight, group=group)
            yield from wait_until_done(started, group)
        if not flight.interruption:
            group = f"{flight.name} complete"
            flown = yield Msg("complete", flight, group=group)
            yield from self.follow(flown)
            yield from wait_until_done(flown, group)
        patience = CUT_PATIENCE if flight.interruption else PATIENCE
        yield from wait_for(partial(sampler.land, patience=patience))
        sampler.check()
        if self.triggering is not None:
            self.triggering.check()
        return True

    def follow(self, flown: Any) -> MsgGenerator:
        """Announce what is recorded until the flight is over; interrupt it without beam."""
        others: list[Callable[[], Awaitable[None]]] = [partial(done, flown)]
        if self.beam is not None:
            others.append(self.beam.lost)
        while not flown.done:
            yield from wait_for(partial(self.sampler.flushed, *others))
            yield from self.collect()
            self.sampler.check()
            if self.triggering is not None:
                self.triggering.check()
            if self.beam is not None and not flown.done and self.beam.objection:
                yield from wait_for(partial(self.flight.interrupt, f"held: {self.beam.objection}"))
            # A deferred pause comes here.
            yield Msg("checkpoint")

    def wait_for_beam(self) -> MsgGenerator:
        """Return when there is beam; announce meanwhile what is recorded."""
        if self.beam is None or not self.beam.objection:
            return
        good = yield from wait_for(self.beam.settling)
        while not good.done:
            yield from wait_for(partial(self.sampler.flushed, partial(done, good)))
            yield from self.collect()
            yield Msg("checkpoint")

    def describe(self) -> MsgGenerator:
        for stream in self.sampler.streams[self.described :]:
            # Nothing comes back from one that a pause has interrupted before it did anything.
            while (
                yield Msg("declare_stream", None, stream, name=stream.name, collect=True)
            ) is None:
                pass
            self.described += 1

    def collect(self) -> MsgGenerator:
        for stream in self.sampler.streams:
            if stream.has_news:
                yield Msg("collect", stream, name=stream.name, return_payload=False)

    def bad_legs(self) -> Iterator[Leg]:
        """Yield what is to be flown again: ranges in which a row is bad or missing."""
        for leg in self.trajectory.legs():
            (region,), (number,) = leg.regions, leg.numbers
            assert isinstance(region, Region)  # legs that are not joined are straight
            row = region.velocity * (region.period or self.report.period)
            low, high = sorted((region.start, region.stop))
            # What is left over at an end of a flight is shorter than a row.
            holes = self.sampler.coverage.holes(leg.pass_number, number, low, high, 1.05 * row)
            for begin, end in holes if region.direction > 0 else reversed(holes):
                # A little more, so that whole rows fit over its ends.
                ends = max(low, begin - row), min(high, end + row)
                start, stop = ends if region.direction > 0 else ends[::-1]
                yield replace(leg, regions=(replace(region, start=start, stop=stop),))

    def succeed(self) -> MsgGenerator:
        yield from self.end("success", [])

    def fail(self, error: Exception) -> MsgGenerator:
        ended = isinstance(error, RequestAbort | RequestStop | FailedPause)
        reasons = [reason_of(error)]
        self.sampler.cut()
        # Standing first: everything else can wait. An axis that was not touched is not ours.
        if self.begun:
            yield from attempt(wait_for(self.flight.halt), reasons)
        yield from attempt(wait_for(partial(self.sampler.land, patience=CUT_PATIENCE)), reasons)
        yield from attempt(wait_for(self.sampler.finish), reasons)
        yield from self.end("abort" if ended else "fail", reasons)

    def end(self, status: str, reasons: list[str]) -> MsgGenerator:
        """Announce, put everything back, close the run. What fails does not stop the rest."""
        trouble: list[str] = []
        yield from attempt(self.announce(), trouble)
        for step in self.clean_up():
            yield from attempt(wait_for(step), trouble)
        self.over = True
        if trouble and status == "success":
            status = "fail"
        *before, last = dict.fromkeys(reasons + trouble or [self.verdict().sentence()])
        reason = "; and then: ".join([*(said.rstrip(".") for said in before), last])
        yield Msg("close_run", exit_status=status, reason=reason)
        if trouble and not reasons:
            raise FlightError(reason)

    def clean_up(self) -> list[Callable[[], Awaitable[None]]]:
        """Return the steps that leave everything as it was."""
        steps = [self.sampler.close, self.flight.restore, *reversed(self.undo)]
        if self.triggering is not None:
            steps = [self.triggering.disarm, self.triggering.restore, *steps]
        return [self.beam.close, *steps] if self.beam is not None else steps

    def announce(self) -> MsgGenerator:
        """Announce the last rows, and what the scan says of itself."""
        if self.sampler.streams:
            yield from self.describe()
            yield from self.collect()
            yield Msg("create", name="verdict")
            verdict = self.verdict()
            while (yield Msg("read", verdict)) is None:
                pass
            yield Msg("save")

    def verdict(self) -> Verdict:
        return replace(self.sampler.verdict(), interruptions=tuple(self.interruptions))

    def abandon(self) -> None:
        """Do without the run engine what cannot be left undone."""
        if self.loop is not None and not self.over:
            first = [self.flight.halt] if self.begun else []
            self.flight.abandon(self.loop, *first, *self.clean_up())

    async def check_clocks(self) -> None:
        self.sampler.check_clocks(self.clock_bound)

    async def set_exposures(self) -> None:
        seconds = self.period
        assert seconds is not None
        for detector in self.detectors:
            if offers(detector, WithExposure):
                before = await detector.integration_time.get_value()
                if before != seconds:
                    # Noted first, so that a change that fails half-way is undone too.
                    self.undo.append(partial(detector.set_integration_time, before))
                    await detector.set_integration_time(seconds)


@cache
def software_versions() -> dict[str, str]:
    """Return the versions of what takes part in a scan."""
    return {name: version(name) for name in SOFTWARE}


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
    triggering = _triggering(detectors, axis, period, trigger, step, exposure)
    return await _inspect(detectors, axis, flight_for(axis), trajectory, period, triggering)


def _triggering(
    detectors: Sequence[Any],
    axis: Any,
    period: float | None,
    trigger: Any,
    step: float | None,
    exposure: float | None,
) -> Triggering | None:
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


async def _inspect(*asked: Any) -> Preflight:
    """Return the report; ConnectionError, in a sentence, if a server does not answer."""
    with as_connection_error("The scan cannot begin: "):
        return await _report(*asked)


async def _report(
    detectors: Sequence[Any],
    axis: Any,
    flight: Flight,
    trajectory: Trajectory,
    period: float | None,
    triggering: Triggering | None,
) -> Preflight:
    joined = flight.back_end.joins
    timings, triggers = [], None
    if triggering is not None:
        parts = [p for leg in trajectory.legs(joined=joined) for p in await triggering.parts(leg)]
        plans = [await triggering.plan(part) for part in parts]
        dead = await triggering.dead_times()
        timings = [Timing(name, plans[0].exposure, dead[name]) for name in dead]
        triggers = sum(len(plan.positions) for plan in plans)
        period = min(plan.shortest_period for plan in plans)
    followers = [] if triggering is None else triggering.detectors
    sampled = [d for d in detectors if d not in followers]
    adjustable = [d for d in sampled if offers(d, WithExposure)]
    if period is not None and triggering is None:
        period = _positive(period)
        for detector in adjustable:
            detector.check_integration_time(period)
        exposures = [period for _ in adjustable]
    else:
        exposures = [await detector.integration_time.get_value() for detector in adjustable]
        period = max(exposures, default=DEFAULT_PERIOD) if period is None else period
    legs = list(trajectory.legs(joined=joined))
    # Passes fly the same regions again, and each envelope asks the controller.
    different = {leg.regions: leg for leg in legs}
    asked = {regions: (await flight.plan(leg)).envelope for regions, leg in different.items()}
    envelopes = [asked[leg.regions] for leg in legs]
    position = None
    if isinstance(axis, AsyncLocatable):
        position = (await axis.locate())["readback"]
    report = preflight(
        axis.name,
        trajectory,
        period,
        envelopes,
        joined=joined,
        position=position,
        moving=await flight.moving(),
        space=await _space([axis, *sampled], trajectory, period),
        detectors=[
            *timings,
            *(Timing(d.name, seconds) for d, seconds in zip(adjustable, exposures, strict=True)),
        ],
    )
    return report if triggers is None else replace(report, rows=triggers)


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


def _check_devices(detectors: Sequence[Any], axis: Any, triggering: Triggering | None) -> None:
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


__all__ = ["BAD_ROWS", "FILE_NAME", "inspect", "trajectory_scan"]
