"""Fly one axis over a range at constant velocity and sample everything meanwhile."""

from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from functools import cache, partial
from importlib.metadata import version
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.utils import FailedPause, FailedStatus, Msg, RequestAbort, RequestStop

from glidepath.devices.sampled import Sampled, WithExposure
from glidepath.flyers import Flight, FlightError, Sampler, flight_for
from glidepath.flyers.sampler import CLOCK_BOUND
from glidepath.storage import data_root, run_folder
from glidepath.trajectory import Leg, Preflight, PreflightError, Region, preflight

MsgGenerator = Generator[Msg, Any, Any]

DEFAULT_PERIOD = 0.1
"""Row length in seconds where no detector has an exposure."""

FILE_NAME = "glidepath.h5"

SOFTWARE = ("glidepath", "bluesky", "ophyd-async", "aioca", "numpy", "h5py")


def flyscan(
    detectors: Sequence[Any],
    axis: Any,
    start: float,
    stop: float,
    velocity: float,
    *,
    period: float | None = None,
    clock_bound: float = CLOCK_BOUND,
    md: Mapping[str, Any] | None = None,
) -> MsgGenerator:
    """Fly ``axis`` from ``start`` to ``stop`` and record what the detectors saw on the way.

    Every readback is sampled by monitors at the control system's own time. The stream
    ``primary`` has one row per ``period``: the mean energy while the row's exposure was open,
    the energy at its two ends, the mean of each detector over it. Each channel's updates are
    in a raw stream of its own.

    Parameters
    ----------
    detectors
        Devices to sample.
    axis
        An energy axis, a plane-grating monochromator or a motor.
    start, stop
        Range in the axis's unit (eV); ``stop`` may be below ``start``. All rows lie inside.
    velocity
        Units per second (eV/s), above zero.
    period
        Length of a row in s. Detectors with an adjustable exposure are set to it, and put
        back afterwards. None: leave them, and take the longest exposure among them.
    clock_bound
        Largest distance in s between the clocks of the servers and this machine's.
    md
        Metadata for the start document.

    Raises
    ------
    PreflightError
        Before anything moves, if the scan cannot be flown.
    FlightError
        If the axis does not do what it was told. The axis then stands, its settings are as
        they were, and the run is closed with what was recorded and the reason.

    Examples
    --------
    >>> RE(flyscan([mesh, sample], energy, 370, 470, 0.1))  # doctest: +SKIP
    """
    detectors = list(detectors)
    _check_devices(detectors, axis)
    region = Region(start, stop, velocity)
    flight = flight_for(axis)
    report = yield from _await(partial(inspect, detectors, axis, flight, region, period))
    report.check()
    root = data_root()
    sampler = Sampler(detectors, axis, region.start, region.stop, report.period)
    restore: list[Callable[[], Awaitable[None]]] = []
    metadata = {
        "plan_name": "flyscan",
        "detectors": [device.name for device in detectors],
        "motors": [axis.name],
        "plan_args": {
            "detectors": [device.name for device in detectors],
            "axis": axis.name,
            "start": region.start,
            "stop": region.stop,
            "velocity": region.velocity,
            "period": period,
        },
        "hints": {"dimensions": [([axis.name], "primary")]},
        "preflight": report.to_document(),
        "software": software_versions(),
        **(md or {}),
    }

    def body() -> MsgGenerator:
        started: list[Mapping[str, Any]] = []
        token = yield from bps.subscribe("start", lambda _, document: started.append(document))
        uid = yield from bps.open_run(metadata)
        yield from bps.unsubscribe(token)
        # A hard pause ends the scan: what was flown cannot be replayed.
        yield from bps.clear_checkpoint()
        yield from bpp.contingency_wrapper(
            fly(started[0]),
            except_plan=fail,
            else_plan=succeed,
            auto_raise=True,
        )
        return uid

    def fly(document: Mapping[str, Any]) -> MsgGenerator:
        if period is not None:
            yield from _await(partial(_set_exposures, detectors, period, restore))
        folder = run_folder(root, document["uid"], document["scan_id"], document["time"])
        entry = {"title": f"flyscan {axis.name}", "entry_identifier": document["uid"]}
        yield from bps.prepare(sampler, (folder / FILE_NAME, entry), wait=True)
        # Every channel answers: the axis may go to its run-up while the streams are described.
        yield from bps.prepare(flight, Leg((region,)), group=f"{flight.name} prepare", wait=False)
        for stream in sampler.streams:
            # The message itself: Bluesky's stubs look up the call stack, a millisecond for each.
            yield Msg("declare_stream", None, stream, name=stream.name, collect=True)
        yield from bps.wait(group=f"{flight.name} prepare")
        yield from _await(partial(_check_clocks, sampler, clock_bound))
        yield from _await(sampler.arm)
        yield from bps.kickoff(flight, wait=True)
        flown = yield from bps.complete(flight, group=f"{flight.name} complete", wait=False)
        while not flown.done:
            yield from _await(partial(sampler.flushed, flown))
            yield from _collect(sampler)
        yield from bps.wait(group=f"{flight.name} complete")
        yield from _await(sampler.finish)

    def succeed() -> MsgGenerator:
        yield from end("success", [])

    def fail(error: Exception) -> MsgGenerator:
        ended = isinstance(error, RequestAbort | RequestStop | FailedPause)
        reasons = [reason_of(error)]
        # Standing first: everything else can wait.
        yield from _attempt(_await(flight.halt), reasons)
        yield from _attempt(_await(partial(sampler.finish, cut=True, patience=0.5)), reasons)
        yield from end("abort" if ended else "fail", reasons)

    def end(status: str, reasons: list[str]) -> MsgGenerator:
        """Announce, put everything back, close the run. What fails does not stop the rest."""
        trouble: list[str] = []
        yield from _attempt(_announce(sampler), trouble)
        yield from _attempt(_await(sampler.close), trouble)
        for undo in [flight.restore, *reversed(restore)]:
            yield from _attempt(_await(undo), trouble)
        if trouble and status == "success":
            status = "fail"
        reason = "; and then: ".join(reasons + trouble) or sampler.verdict().sentence()
        yield from bps.close_run(exit_status=status, reason=reason)
        if trouble and not reasons:
            raise FlightError(reason)

    return (yield from bpp.stage_wrapper(body(), detectors))


@cache
def software_versions() -> dict[str, str]:
    """Return the versions of what takes part in a scan."""
    return {name: version(name) for name in SOFTWARE}


async def inspect(
    detectors: Sequence[Any],
    axis: Any,
    flight: Flight,
    region: Region,
    period: float | None = None,
) -> Preflight:
    """Return the pre-flight report of a scan. Nothing moves and nothing is changed."""
    adjustable = [detector for detector in detectors if isinstance(detector, WithExposure)]
    if period is not None:
        period = _positive(period)
        for detector in adjustable:
            detector.check_integration_time(period)
    else:
        exposures = [await detector.integration_time.get_value() for detector in adjustable]
        period = max(exposures, default=DEFAULT_PERIOD)
    envelope = await flight.envelope(Leg((region,)))
    return preflight(axis.name, region, period, envelope)


def _positive(period: Any) -> float:
    try:
        value = float(period)
    except (TypeError, ValueError):
        value = float("nan")
    if not 0 < value < float("inf"):
        raise PreflightError(
            f"A row cannot last {period!r} s; give the period as a number of seconds above zero."
        )
    return value


def _check_devices(detectors: Sequence[Any], axis: Any) -> None:
    for device in [*detectors, axis]:
        if not isinstance(device, Sampled):
            raise PreflightError(
                f"{getattr(device, 'name', device)!r} cannot be sampled: it has no channels(); "
                "leave it out, or add channels() to its class."
            )
    names = [device.name for device in [*detectors, axis]]
    for name in names:
        if names.count(name) > 1 and name != axis.name:
            raise PreflightError(f"The detector {name!r} is named twice; name each one once.")


async def _check_clocks(sampler: Sampler, bound: float) -> None:
    sampler.check_clocks(bound)


async def _set_exposures(
    detectors: Sequence[Any], seconds: float, restore: list[Callable[[], Awaitable[None]]]
) -> None:
    for detector in detectors:
        if isinstance(detector, WithExposure):
            before = await detector.integration_time.get_value()
            if before != seconds:
                # Noted first, so that a change that fails half-way is undone too.
                restore.append(partial(detector.set_integration_time, before))
                await detector.set_integration_time(seconds)


def _await(function: Callable[[], Awaitable[Any]]) -> MsgGenerator:
    """Await a coroutine function in the run engine's loop and return its result."""
    (task,) = yield Msg("wait_for", None, [function])
    return task.result()


def _collect(sampler: Sampler) -> MsgGenerator:
    for stream in sampler.streams:
        yield Msg("collect", stream, name=stream.name, return_payload=False)


def _announce(sampler: Sampler) -> MsgGenerator:
    """Announce the last rows, and what the scan says of itself."""
    if sampler.streams:
        yield from _collect(sampler)
        yield from bps.create(name="verdict")
        yield from bps.read(sampler.verdict())
        yield from bps.save()


def _attempt(plan: MsgGenerator, reasons: list[str]) -> MsgGenerator:
    """Run a step of the clean-up; add to the reasons why it failed, if it did."""
    try:
        yield from plan
    except Exception as error:
        reasons.append(reason_of(error))


def reason_of(error: BaseException) -> str:
    """Return why a scan ended, in one line."""
    while isinstance(error, FailedStatus) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, RequestAbort):
        return "aborted by the user"
    if isinstance(error, RequestStop):
        return "stopped by the user before its end"
    if isinstance(error, FailedPause):
        return "interrupted by the user: a flight cannot be paused, so it was ended"
    text = " ".join(str(error).split())
    return text or type(error).__name__


__all__ = ["FILE_NAME", "flyscan", "inspect", "reason_of"]
