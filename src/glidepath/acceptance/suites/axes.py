"""Axes: within limits, go where they are sent in time, stop when told, come back."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

from ophyd_async.epics.motor import MotorLimitsError

from glidepath.acceptance.axis import Axis, Trace, axes_of
from glidepath.acceptance.kept import kept_axis, kept_settings
from glidepath.acceptance.outcomes import Failed, LeftOut
from glidepath.acceptance.suite import Suite, Test, register_suite
from glidepath.acceptance.trial import Trial
from glidepath.beamlines import Beamline
from glidepath.devices.positioning import MotionError

from .everything import judge_clock

LATE = 0.5
"""Seconds by which a status may say later than the readback that the axis moves."""

REST = 0.4
"""Seconds after which an axis that has arrived must still be there."""

SHARE = 0.8
"""Of the way to the end of the safe range that is gone."""

UNDER_WAY = 0.1
"""Share of the way after which an axis is told to stop."""

STOPPING = 10.0
"""Seconds within which an axis must stand after it was told to stop."""

REFUSALS = (ValueError, MotionError, MotorLimitsError)
"""What a device raises that refuses a target."""

BEYOND = 0.05
"""Share of the range by which a target that must be refused is outside."""


async def limits(trial: Trial) -> str:
    """The limits make a range, which holds the position and the safe range."""
    axis = await _axis(trial)
    unit, position = await axis.unit(), await axis.position()
    found = await axis.limits()
    if found is None:
        raise LeftOut("Its control system tells no limits.")
    low, high = found
    trial.keep({"low limit": (low, unit), "high limit": (high, unit)})
    tolerance = await axis.precise_to(trial.needs.tolerance)
    if not low < high:
        raise Failed(f"Its limits, {low:g} and {high:g} {unit}, make no range.")
    if not low - tolerance <= position <= high + tolerance:
        raise Failed(f"It is at {position:g} {unit}, outside its limits {low:g} to {high:g}.")
    if (safe := trial.needs.safe) is not None and not low <= safe[0] < safe[1] <= high:
        raise Failed(
            f"Its safe range, {safe[0]:g} to {safe[1]:g} {unit}, is not inside its limits, "
            f"{low:g} to {high:g}; declare another one in the beamline module."
        )
    return f"at {position:g} {unit}, between {low:g} and {high:g}"


async def refuses(trial: Trial) -> str:
    """A target outside the limits is refused, and nothing moves."""
    axis = await _axis(trial)
    found = await axis.limits()
    if found is None or not found[0] < found[1]:
        raise LeftOut("Its control system tells no limits that could be overstepped.")
    before, beyond = await axis.position(), BEYOND * (found[1] - found[0])
    for target in (found[0] - beyond, found[1] + beyond):
        try:
            # Only asked, never set: what does not refuse it would go there.
            await axis.check(target)
        except REFUSALS as error:
            trial.details.append(str(error))
        else:
            raise Failed(
                f"It would have gone to {target:g}, outside its limits {found[0]:g} to "
                f"{found[1]:g}; its device must refuse that."
            )
    if abs(await axis.position() - before) > await axis.precise_to(trial.needs.tolerance):
        raise Failed("It has moved though it was only asked whether it would.")
    return f"refuses what is outside {found[0]:g} to {found[1]:g}"


async def moves(trial: Trial) -> str:
    """It goes where it is sent, in time, and its status says so while it does."""
    async with _allowed(trial) as (axis, start, tolerance):
        unit, target = await axis.unit(), _target(trial, start)
        signals = {"position": axis.readback}
        if axis.status is not None:
            signals["status"] = axis.status
        async with Trace(signals) as trace:
            begun = monotonic()
            await _sent(axis, target, trial)
            taken = monotonic() - begun
            reached = await axis.position()
            # Also for what is said late of the motion.
            await asyncio.sleep(REST)
            rested = await axis.position()
        trial.keep(
            {
                "way": (abs(target - start), unit),
                "time": (taken, "s"),
                "distance from target": (abs(reached - target), unit),
            }
        )
        _arrived(trial, axis, (target, reached, rested), tolerance, unit)
        _in_time(trial, taken)
        _status_told(trial, axis, trace, begun, start, tolerance)
        if trace.offset < float("inf"):
            judge_clock(trial, trace.offset)
        return (
            f"{abs(target - start):.4g} {unit} in {taken:.3g} s, {abs(reached - target):.2g} "
            f"{unit} from its target"
        )


def _arrived(
    trial: Trial, axis: Axis, where: tuple[float, float, float], tolerance: float, unit: str
) -> None:
    target, reached, rested = where
    if not abs(reached - target) <= tolerance:
        raise Failed(
            f"It says that it has arrived at {target:g} {unit} and is at {reached:g}, further off "
            f"than {tolerance:g}."
        )
    if not abs(rested - target) <= tolerance:
        raise Failed(
            f"It did not stay at {target:g} {unit}: {REST:g} s later it is at {rested:g}, further "
            f"off than {tolerance:g}."
        )


def _in_time(trial: Trial, taken: float) -> None:
    allowed = trial.needs.seconds
    if allowed is not None and taken > allowed:
        raise Failed(f"It took {taken:.3g} s, more than the {allowed:g} s that it may take.")


def _status_told(
    trial: Trial, axis: Axis, trace: Trace, begun: float, start: float, tolerance: float
) -> None:
    """Compare when the status and when the readback said that the axis moved."""
    if axis.status is None:
        return
    left = trace.first("position", lambda value: abs(value - start) > tolerance, begun)
    busy = trace.first("status", axis.moving, begun)
    if busy is None:
        raise Failed(
            f"Its status ({axis.status.source}) did not say that it moved within {REST:g} s of "
            "its arrival: whoever waits for it does not wait."
        )
    if left is not None:
        trial.figure("status after motion", busy - left, "s")
        if busy - left > LATE:
            raise Failed(
                f"Its status ({axis.status.source}) said {busy - left:.2g} s after the axis had "
                "left that it moves: until then it looks as if it stood."
            )


async def stops(trial: Trial) -> str:
    """Told to stop on its way, it stands, soon, short of its target."""
    async with _allowed(trial) as (axis, start, tolerance):
        unit, target = await axis.unit(), _target(trial, start)
        way = abs(target - start)
        async with Trace({"position": axis.readback}) as trace:
            begun = monotonic()
            move = asyncio.ensure_future(_awaited(axis.go(target)))
            try:
                await _under_way(trace, begun, start, way, move)
                _not_refused(move)
                told, at = monotonic(), await axis.position()
                await asyncio.wait_for(axis.stop(), STOPPING)
                stood = await _standing(axis, tolerance)
                taken = monotonic() - told
                # Whatever the move says of having been stopped: where the axis is counts.
                await asyncio.wait({move}, timeout=STOPPING)
            finally:
                await _ended(move)
            later = await axis.position()
        trial.keep({"time to stand": (taken, "s"), "way to stand": (abs(stood - at), unit)})
        if abs(later - stood) > tolerance:
            raise Failed(
                f"It was told to stop, stood at {stood:g} {unit}, and is at {later:g} now."
            )
        if abs(later - target) <= tolerance:
            raise LeftOut(
                f"It was at its target before it could be stopped: {way:.3g} {unit} is too short "
                "a way; declare a wider safe range."
            )
        return f"stands {taken:.2g} s and {abs(stood - at):.2g} {unit} after it was told"


async def _standing(axis: Axis, tolerance: float) -> float:
    """Wait until an axis stands; return where.

    Raises
    ------
    Failed
        If it still moves when its time is over.
    """
    deadline = monotonic() + STOPPING
    before = await axis.position()
    while True:
        await asyncio.sleep(REST)
        now = await axis.position()
        if abs(now - before) <= tolerance:
            return now
        if monotonic() > deadline:
            raise Failed(
                f"It was told to stop and still moves after {STOPPING:g} s: from {before:g} to "
                f"{now:g} within {REST:g} s."
            )
        before = now


async def _under_way(
    trace: Trace, begun: float, start: float, way: float, move: "asyncio.Future[Any]"
) -> None:
    """Wait until an axis has gone a part of its way, or has ended its move."""
    while not move.done():
        if trace.first("position", lambda value: abs(value - start) > UNDER_WAY * way, begun):
            return
        await asyncio.sleep(0.01)


def _not_refused(move: "asyncio.Future[Any]") -> None:
    """Fail if a move ended with an error before it was told to stop: what never moved stands, too.

    Raises
    ------
    Failed
        If the device refused to move, or gave up.
    Exception
        Any other with which the move has ended.
    """
    if move.done():
        try:
            move.result()
        except REFUSALS as error:
            raise Failed(str(error)) from error


async def returns(trial: Trial) -> str:
    """From either side it comes back to where it was; the difference is its backlash."""
    async with _allowed(trial) as (axis, start, tolerance):
        assert trial.needs.safe is not None
        unit, found = await axis.unit(), []
        step = _step(trial.needs.safe, start)
        for side in (start - step, start + step):
            await _sent(axis, side, trial)
            await _sent(axis, start, trial)
            found.append(await axis.position())
        below, above = found
        error = max(abs(position - start) for position in found)
        trial.keep(
            {
                "distance from start": (error, unit),
                "from above minus from below": (above - below, unit),
            }
        )
        if error > tolerance:
            raise Failed(
                f"It does not come back to {start:g} {unit}: from below it is at {below:g}, from "
                f"above at {above:g}, and {tolerance:g} is allowed."
            )
        return f"within {error:.2g} {unit}; from above minus from below {above - below:+.2g} {unit}"


def _step(safe: tuple[float, float], start: float) -> float:
    """Return how far an axis can go to both sides; at an end of the range it has no two sides."""
    step = SHARE * min(start - safe[0], safe[1] - start)
    if not step > 0.02 * (safe[1] - safe[0]):
        raise LeftOut(
            f"It is at an end of its safe range ({safe[0]:g} to {safe[1]:g}), so that it cannot "
            "come back from both sides; bring it to the middle."
        )
    return min(step, 0.25 * (safe[1] - safe[0]))


async def _axis(trial: Trial) -> Axis:
    return await axes_of(trial.device)[trial.part]()


@asynccontextmanager
async def _allowed(trial: Trial) -> AsyncIterator[tuple[Axis, float, float]]:
    """Give an axis that may be moved, where it is and its tolerance; it is put back afterwards."""
    safe = trial.needs.safe
    if safe is None:
        raise LeftOut(
            f"No safe range is declared for it: say SAFE_RANGES = {{{trial.part!r}: (low, high)}} "
            "in the beamline module."
        )
    axis = await _axis(trial)
    tolerance = await axis.precise_to(trial.needs.tolerance, max(map(abs, safe)))
    start, unit = await axis.position(), await axis.unit()
    if not safe[0] <= start <= safe[1]:
        raise Failed(
            f"It is at {start:g} {unit}, outside its safe range {safe[0]:g} to {safe[1]:g}, so "
            "that it was not moved; bring it there by hand."
        )
    # A stock motor takes a target in every mode: in Set mode it would change the calibration, on
    # Pause it would stay for later.
    if objections := await axis.objections():
        raise Failed(" ".join(objections))
    async with kept_settings(trial.device), kept_axis(axis, tolerance):
        yield axis, start, tolerance


def _target(trial: Trial, start: float) -> float:
    """Return a target well inside the safe range, towards its further end."""
    assert trial.needs.safe is not None
    low, high = trial.needs.safe
    end = high if high - start >= start - low else low
    return start + SHARE * (end - start)


async def _sent(axis: Axis, target: float, trial: Trial) -> None:
    """Send an axis somewhere; what its device says of a failure is the failure of the test."""
    try:
        await asyncio.wait_for(_awaited(axis.go(target)), trial.needs.seconds)
    except REFUSALS as error:
        raise Failed(str(error)) from error
    except TimeoutError as error:
        if trial.needs.seconds is None:
            raise
        raise Failed(
            f"It did not get to {target:g} within the {trial.needs.seconds:g} s that it may take; "
            f"it is at {await axis.position():g}."
        ) from error


async def _awaited(status: Any) -> None:
    await status


async def _ended(move: "asyncio.Future[Any]") -> None:
    if not move.done():
        move.cancel()
    await asyncio.gather(move, return_exceptions=True)


def _axes(beamline: Beamline, name: str) -> Iterable[str]:
    return axes_of(beamline.devices[name])


def _movable(beamline: Beamline, name: str) -> Iterable[str]:
    """Return the axes that may be moved; of a device that is one axis, this one in any case."""
    return [
        axis
        for axis in axes_of(beamline.devices[name])
        if axis == name or axis in beamline.safe_ranges
    ]


register_suite(Suite("axis", _axes, (Test("has limits", limits), Test("refuses", refuses))))
register_suite(
    Suite(
        "axis that moves",
        _movable,
        (
            Test("moves", moves, moves=True),
            Test("stops", stops, moves=True),
            Test("returns", returns, moves=True),
        ),
    )
)
