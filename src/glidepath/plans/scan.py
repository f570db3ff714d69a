"""One run of a fly scan, from the opened to the closed run: every flight, and every way out."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import uuid4

import bluesky.preprocessors as bpp
from bluesky.protocols import Status
from bluesky.utils import FailedPause, FailedStatus, Msg, RequestAbort, RequestStop

from glidepath.flyers import (
    BeamGuard,
    Flight,
    FlightError,
    LegPlan,
    RunFile,
    Sampler,
    Triggering,
    Verdict,
    rows_with,
)
from glidepath.flyers.sampling.row_count import ENOUGH, RowCount
from glidepath.flyers.triggers.compare_plan import until
from glidepath.sentences import as_connection_error, cause_of, joined
from glidepath.storage import Pace, data_root, run_folder
from glidepath.trajectory import Leg, Region, Trajectory

from .inspection import Inspection, with_motions
from .light_path import LightPath
from .messages import (
    MsgGenerator,
    answered,
    attempt,
    do,
    done,
    reason_of,
    running_loop,
    wait_for,
    wait_until_done,
)
from .spots import Spots

FILE_NAME = "glidepath.h5"

ARRIVAL_PERIOD = 0.05
"""Seconds between two looks whether an axis has left its range."""

RAW_PERIOD = 0.45
"""Seconds for which raw updates are not announced again, however often rows are."""

REFLIGHTS = 3
"""How often a range of bad rows is flown again at the most."""


@dataclass
class Scan:
    """One run: what its steps share.

    Parameters
    ----------
    detectors, axis, trajectory, beam
        See `glidepath.plans.flyscan`.
    flight
        The flight of the axis.
    inspection
        What the pre-flight found and planned.
    triggering
        What triggers the detectors; None: nothing does.
    exposure
        Exposure in s of the sampled detectors that can be set; None: they are left as they are.
    clock_bound
        Largest distance in s between the clocks of the servers and this machine's.
    refly
        Whether ranges with bad rows are flown again.
    light
        What is open while the axis flies.
    spots
        Where on the sample each pass is flown; None: it stays where it is.
    """

    detectors: Sequence[Any]
    axis: Any
    flight: Flight
    trajectory: Trajectory
    inspection: Inspection
    triggering: Triggering | None
    exposure: float | None
    clock_bound: float
    beam: BeamGuard | None
    refly: bool
    light: LightPath = field(default_factory=LightPath)
    spots: Spots | None = None
    sampler: Sampler = field(init=False)
    described: int = 0
    raw_announced: float = 0.0
    opened: bool = False
    begun: bool = False
    over: bool = False
    loop: asyncio.AbstractEventLoop | None = None
    interruptions: list[tuple[str, float | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        triggered = [] if self.triggering is None else self.triggering.detectors
        self.sampler = Sampler(
            [d for d in self.detectors if d not in triggered],
            self.axis,
            self.inspection.report.period,
            make_rows=rows_with(self.triggering),
            clock_bound=self.clock_bound,
            pace=Pace(data_root()),
        )
        self.flight.before_interruption = self.sampler.end_early
        self.flight.after_interruption = self.interrupted

    async def interrupted(self) -> None:
        """Leave nothing open or armed while the flight is interrupted: the axis stands."""
        try:
            await self.light.close()
        finally:
            if self.triggering is not None:
                await self.triggering.source.disarm()

    def run(self, metadata: Mapping[str, Any]) -> MsgGenerator:
        """Open a run, fly, and close it with the reason why it ended."""
        started: list[Mapping[str, Any]] = []
        # Messages themselves, here and below: a stub of Bluesky looks up the call stack, which
        # takes longer than what it stands for.
        token = yield Msg("subscribe", None, lambda _, document: started.append(document), "start")
        self.opened = True
        uid = yield Msg("open_run", **metadata)
        yield Msg("unsubscribe", None, token=token)
        # A part of another plan's run (`stub_wrapper`) opens none, and knows nothing of that one.
        document = started[0] if started else _unknown_run(metadata)
        yield from bpp.contingency_wrapper(
            self.fly(document), except_plan=self.fail, else_plan=self.succeed, auto_raise=True
        )
        return uid

    def fly(self, document: Mapping[str, Any]) -> MsgGenerator:
        """Fly all legs, and again what is bad in them if that is asked for."""
        self.loop = running_loop()
        folder = run_folder(data_root(), document["uid"], document["scan_id"], document["time"])
        title = f"{document['plan_name']} {self.axis.name}"
        begun = datetime.fromtimestamp(document["time"], UTC).isoformat(timespec="milliseconds")
        entry = {"title": title, "start_time": begun, "entry_identifier": document["uid"]}
        run_file = RunFile(folder / FILE_NAME, entry, self.exposure)
        yield from do("prepare", self.sampler, run_file)
        if self.beam is not None:
            yield from wait_for(self.beam.open)
        if self.spots is not None:
            yield from wait_for(self.light.close_first)
        for plan in self.inspection.legs:
            if self.spots is not None:
                yield from wait_for(partial(self.spots.go, plan.leg.pass_number))
            yield from self.fly_leg(plan)
        for _ in range(REFLIGHTS if self.refly else 0):
            for leg in list(self.bad_legs()):
                for plan in (yield from wait_for(partial(self.planned, leg))) or ():
                    yield from self.fly_leg(plan)
        yield from wait_for(self.sampler.finish)
        self.check_rows()

    def check_rows(self) -> None:
        """Raise `FlightError` when far fewer rows were recorded than were planned."""
        count = self.row_count()
        if self.loop is not None and count.failed:
            said = [count.sentence(), *map(joined, self.sampler.verdict().remarks)]
            raise FlightError(
                f"{'; '.join(said)}: less than {100 * ENOUGH:g} %, so the scan has failed."
            )

    def row_count(self) -> RowCount:
        """Return how many rows were planned, and how many were recorded."""
        legs = self.inspection.legs
        return RowCount(
            sum(plan.expected_rows for plan in legs),
            self.sampler.rows,
            # Each interruption ends within a row.
            sum(plan.spare_rows for plan in legs) + len(self.interruptions),
            self.sampler.with_frames,
        )

    async def planned(self, leg: Leg) -> Sequence[LegPlan]:
        """Plan a leg that the pre-flight did not know of, in as many parts as it needs."""
        rows = leg.rows(self.inspection.report.period)
        plans = [LegPlan(leg, rows, len(leg.regions))]
        if self.triggering is not None:
            plans = await self.triggering.planning.plan([leg])
        return await with_motions(self.flight, plans)

    def fly_leg(self, plan: LegPlan) -> MsgGenerator:
        """Fly a leg, and what is left of it after each interruption."""
        waiting = deque([plan])
        while waiting:
            yield from self.wait_for_beam()
            plan = waiting.popleft()
            rest = yield from self.fly_part(plan)
            if rest == plan.leg:
                waiting.appendleft(plan)
            elif rest is not None:
                waiting.extendleft(reversed((yield from wait_for(partial(self.planned, rest)))))

    def fly_part(self, plan: LegPlan) -> MsgGenerator:
        """Fly a leg as it was planned; return what an interruption has left of it, or None."""
        armed = yield from self.fly_once(plan)
        self.flight.check()
        if not self.flight.interruption or (armed and self.sampler.arrived):
            return None
        reached = self.sampler.reached if armed else None
        rest = plan.leg if reached is None else plan.leg.after(reached)
        self.interruptions.append((self.flight.interruption, reached))
        if rest is not None and rest.rows(self.inspection.report.period) < 1:
            return None
        return rest

    def fly_once(self, plan: LegPlan) -> MsgGenerator:
        """Fly until the end of the leg or an interruption, and make the last rows.

        Returns whether the sampler was armed for it: an interruption can come earlier.
        """
        flight, sampler = self.flight, self.sampler
        self.begun = True
        flight.begin()
        group = f"{flight.name} prepare"
        prepared = yield Msg("prepare", flight, plan.motion or plan.leg, group=group)
        # Every channel has answered: the streams are described while the axis is on its way.
        yield from do("prepare", sampler, plan)
        yield from self.describe()
        yield from wait_until_done(prepared, group)
        if flight.interruption:
            return False
        yield from wait_for(partial(self.light.open_before, plan))
        if flight.interruption:
            return False
        yield from do("kickoff", sampler)
        if not flight.interruption:
            yield from do("kickoff", flight)
        started = time.monotonic()
        if not flight.interruption:
            group = f"{flight.name} complete"
            flown = yield Msg("complete", flight, group=group)
            if flown is not None and self.light.opens_in_flight(plan):
                opened = partial(self.light.open_in_flight, plan, started, flown)
                yield from wait_for(opened)
            yield from self.follow(flown)
            yield from wait_until_done(flown, group)
            if not flight.interruption:
                self.light.check()
        if self.light.each_flight:
            yield from wait_for(self.light.close)
        yield from do("complete", sampler)
        return True

    def follow(self, flown: Status | None) -> MsgGenerator:
        """Announce what is recorded until the flight is over; interrupt it without beam."""
        if flown is None:
            yield from self.collect()
            return
        others: list[Callable[[], Awaitable[None]]] = [partial(done, flown)]
        if self.light.each_flight:
            others.append(self.passed)
        if self.beam is not None:
            others.append(self.beam.lost)
        while not flown.done:
            yield from wait_for(partial(self.sampler.flushed, *others))
            yield from self.collect_news()
            self.sampler.check()
            if self.light.each_flight and self.sampler.arrived:
                yield from wait_for(self.light.close)
            elif not self.flight.interruption:
                self.light.check()
            if self.beam is not None and not flown.done and self.beam.objection:
                yield from wait_for(partial(self.flight.interrupt, f"held: {self.beam.objection}"))
            # A deferred pause comes here.
            yield Msg("checkpoint")

    async def passed(self) -> None:
        """Return when the axis was seen at the end of its range, if the shutter is still open."""
        while True:
            if self.light.is_open and self.sampler.arrived:
                return
            await asyncio.sleep(ARRIVAL_PERIOD)

    def wait_for_beam(self) -> MsgGenerator:
        """Return when there is beam; announce meanwhile what is recorded."""
        if self.beam is None or not self.beam.objection:
            return
        good = yield from wait_for(self.beam.settling)
        while good is not None and not good.done:
            yield from wait_for(partial(self.sampler.flushed, partial(done, good)))
            yield from self.collect_news()
            yield Msg("checkpoint")

    def describe(self) -> MsgGenerator:
        """Describe the streams that are not described yet."""
        for stream in self.sampler.streams[self.described :]:
            message = Msg("declare_stream", None, stream, name=stream.name, collect=True)
            yield from answered(message)
            self.described += 1

    def collect_news(self) -> MsgGenerator:
        """Announce new rows at once, and raw updates now and then: nobody watches those."""
        raw = time.monotonic() >= self.raw_announced + RAW_PERIOD
        if raw:
            self.raw_announced = time.monotonic()
        yield from self.collect(None if raw else 1)

    def collect(self, streams: int | None = None) -> MsgGenerator:
        """Announce what readers of the file can see, of the first so many streams or of all."""
        for stream in self.sampler.streams[:streams]:
            if stream.has_news:
                yield Msg("collect", stream, name=stream.name, return_payload=False)

    def bad_legs(self) -> Iterator[Leg]:
        """Yield what is to be flown again: ranges in which a row is bad or missing."""
        plans = [plan.triggers for plan in self.inspection.legs if plan.triggers is not None]
        stepped = [(plan.leg, plan.step_edges) for plan in plans if plan.step_edges is not None]
        if not stepped:
            yield from self.holes()
        for leg, step_edges in stepped:
            coverage, numbers = self.sampler.coverage, set(leg.numbers)
            for begin, end in coverage.missing_steps(leg.pass_number, numbers, step_edges):
                rest = leg if begin == step_edges[0] else leg.after(begin)
                if rest is not None:
                    yield rest if end == step_edges[-1] else until(rest, end)

    def holes(self) -> Iterator[Leg]:
        """Yield what is to be flown again where rows are on no grid: they come by time."""
        period = self.inspection.report.period
        for leg in self.trajectory.legs():
            (region,), (number,) = leg.regions, leg.numbers
            assert isinstance(region, Region)  # legs that are not joined are straight
            row = region.velocity * (region.period or period)
            low, high = sorted((region.start, region.stop))
            # What is left over at an end of a flight is shorter than a row.
            holes = self.sampler.coverage.holes(leg.pass_number, number, low, high, 1.05 * row)
            for begin, end in holes if region.direction > 0 else reversed(holes):
                # A little more, so that whole rows fit over its ends.
                ends = max(low, begin - row), min(high, end + row)
                start, stop = ends if region.direction > 0 else ends[::-1]
                yield replace(leg, regions=(replace(region, start=start, stop=stop),))

    def could_not_begin(self, error: Exception) -> MsgGenerator:
        """Say in a sentence why a scan failed whose run was not opened: in staging its devices."""
        yield Msg("null")
        if not self.opened and isinstance(error, FailedStatus):
            with as_connection_error("The scan cannot begin: "):
                raise cause_of(error)

    # ---- the ways out ---------------------------------------------------------------------

    def succeed(self) -> MsgGenerator:
        """Close the run of a scan that went to its end."""
        yield from self.end("success", [])

    def fail(self, error: Exception) -> MsgGenerator:
        """Stop what moves, keep what was recorded, and close the run with the reason."""
        ended = isinstance(error, RequestAbort | RequestStop | FailedPause)
        reasons = [reason_of(error)]
        self.sampler.end_early()
        # Standing first: everything else can wait. An axis that was not touched is not ours.
        if self.begun:
            yield from attempt(wait_for(self.flight.halt), reasons)
        yield from attempt(wait_for(self.light.close), reasons)
        yield from attempt(wait_for(self.sampler.end_flight), reasons)
        yield from attempt(wait_for(self.sampler.finish), reasons)
        yield from self.end("abort" if ended else "fail", reasons)

    def end(self, status: str, reasons: list[str]) -> MsgGenerator:
        """Announce, put everything back, close the run. What fails does not stop the rest."""
        trouble: list[str] = []
        yield from attempt(wait_for(self.light.close), trouble)
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
        steps: list[Callable[[], Awaitable[None]]]
        steps = [self.sampler.close, self.flight.restore, self.sampler.restore]
        if self.triggering is not None:
            steps = [self.triggering.disarm, self.triggering.restore, *steps]
        if self.spots is not None:
            steps = [self.spots.stand, *steps]
        return [self.beam.close, *steps] if self.beam is not None else steps

    def announce(self) -> MsgGenerator:
        """Announce the last rows, and what the scan says of itself."""
        if self.sampler.streams:
            yield from self.describe()
            yield from self.collect()
            yield Msg("create", name="verdict")
            yield from answered(Msg("read", self.verdict()))
            yield Msg("save")

    def verdict(self) -> Verdict:
        """Return what is known of the scan."""
        verdict = self.sampler.verdict()
        missing = self.row_count().sentence()
        remarks = [missing, *verdict.remarks] if missing else verdict.remarks
        return replace(verdict, remarks=remarks, interruptions=tuple(self.interruptions))

    def abandon(self) -> None:
        """Do without the run engine what cannot be left undone."""
        if self.loop is not None and not self.over:
            first = [self.flight.halt] if self.begun else []
            self.flight.abandon(self.loop, *first, self.light.close, *self.clean_up())


def _unknown_run(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return what stands in for the start document where this plan opened no run."""
    name = metadata["plan_name"]
    return {"uid": str(uuid4()), "scan_id": 0, "time": time.time(), "plan_name": name}


__all__ = ["Scan"]
