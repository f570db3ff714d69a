"""How an axis moves whose controller reports 'done' by itself: one logic for all families."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Protocol, runtime_checkable

from ophyd_async.core import (
    DeviceMock,
    MovableLogic,
    SignalR,
    StandardMovable,
    TimeoutCalculator,
    callback_on_mock_put,
    set_mock_value,
)

from .signals import NoAnswerError, Watch, ask_reading, lost, patience_with, watch

__all__ = [
    "ControllerMove",
    "InstantMove",
    "MotionError",
    "Pace",
    "WithLimits",
    "check_range",
    "disconnected",
    "renewed",
    "together",
]

STANDING_TIMEOUT = 10.0
"""Seconds within which an axis must stand after it was told to stop."""

CANCELLATIONS, CANCELLATION_TIMEOUT = 20, 0.05
"""How often a task is cancelled, and how long in s it may take to end each time."""


class MotionError(RuntimeError):
    """An axis did not do what it was told."""


@runtime_checkable
class WithLimits(Protocol):
    """An axis that tells what it can reach."""

    async def limits(self) -> tuple[float, float] | None:
        """Return the lowest and the highest position; None where they are not known."""
        ...


def check_range(name: str, position: float, limits: tuple[float, float] | None, unit: str) -> None:
    """Refuse a position that is not a number or outside the limits (None: no limits known).

    Raises
    ------
    ValueError
        In one sentence: what was asked and what is possible.
    """
    if not isfinite(position):
        raise ValueError(f"{name} needs a finite position in {unit}, not {position!r}.")
    if limits is None:
        return
    low, high = limits
    if not low <= position <= high:
        raise ValueError(
            f"{name} cannot go to {position:g} {unit}: its range is {low:g} to {high:g} {unit}."
        )


def disconnected(*signals: SignalR[Any]) -> str:
    """Return which signals have lost their connection, as the end of a sentence; may be empty."""
    gone = " and ".join(lost(*signals))
    return f" (the connection to {gone} is lost)" if gone else ""


async def renewed(status: SignalR[Any], command: SignalR[Any]) -> bool:
    """Return whether the record of a status was processed since that of a command.

    By the time stamps that their servers give when they are asked. What does not answer was not.
    """
    try:
        told, said = await ask_reading(command), await ask_reading(status)
    except NoAnswerError:
        return False
    return said["timestamp"] >= told["timestamp"]


@dataclass(frozen=True)
class Pace:
    """How long an axis may take before something is wrong.

    Parameters
    ----------
    slowest
        Speed in units per second below which a move counts as hanging, where the controller does
        not tell its velocity.
    allowance
        Seconds on top, for acceleration, backlash and settling.
    start
        Seconds within which a sign of motion must be seen.
    arrival
        Seconds between the controller's 'done' and the readback's arrival at the target.
    confirmation
        Seconds to wait for 'busy' when the target is so near that the readback cannot tell
        a finished move from one that has not begun.
    """

    slowest: float = 0.2
    allowance: float = 30.0
    start: float = 5.0
    arrival: float = 2.0
    confirmation: float = 0.5


@dataclass
class ControllerMove(MovableLogic[float]):
    """Move of an axis with a setpoint, a readback and a status that says when it is done.

    A move has ended when the controller says done *and* the readback is within the tolerance.
    The status that is found right after the put belongs to the move before: 'done' counts only
    when 'busy' has been seen since the put, or when the readback has arrived.

    Parameters
    ----------
    setpoint, readback
        As for ophyd-async's ``MovableLogic``.
    status
        Signal that tells whether the axis moves.
    is_done
        Whether a value of the status means that the axis stands.
    halt
        Function that tells the controller to stop; it need not wait.
    limits
        Returns the range of positions, or None where it is not known.
    unit
        Unit of positions, for messages.
    tolerance
        Largest distance between readback and target at the end of a move.
    pace
        Time bounds.
    velocity
        Speed in units per second, where the controller tells it: bounds the time of a move.
    before
        Called after the range check and before the setpoint is written.
    go
        Called after the setpoint was written, where the controller needs a command to start.
    heard
        Whether an arrival counts only if the status has said something of the move: that the axis
        moved, or, if that was too short to be seen, anything since the setpoint was written. For a
        controller whose status may have died without anyone noticing.
    """

    status: SignalR[Any]
    is_done: Callable[[Any], bool]
    halt: Callable[[], Awaitable[None]]
    limits: Callable[[], Awaitable[tuple[float, float] | None]]
    unit: str
    tolerance: float
    pace: Pace = field(default_factory=Pace)
    velocity: SignalR[float] | None = None
    before: Callable[[], Awaitable[None]] | None = None
    go: Callable[[], Awaitable[None]] | None = None
    heard: bool = False
    _moving: asyncio.Task[Any] | None = field(default=None, init=False, repr=False)

    async def check_move(self, new_position: float) -> None:
        """Refuse a position outside the limits (ValueError)."""
        check_range(self.readback.name, new_position, await self.limits(), self.unit)

    async def get_units_precision(self) -> tuple[str | None, int | None]:
        """Return the unit of positions and the decimal places of the readback."""
        _, precision = await super().get_units_precision()
        return self.unit, precision

    async def calculate_timeout(self, old_position: float, new_position: float) -> float:
        """Return the seconds that a move may take."""
        slowest = self.pace.slowest
        if self.velocity is not None and (velocity := await self.velocity.get_value()) > 0:
            slowest = velocity / 2
        return self.pace.allowance + abs(new_position - old_position) / slowest

    async def move(self, new_position: float, timeout: TimeoutCalculator) -> None:
        """Move and wait for the end.

        Raises
        ------
        MotionError
            If the axis never started, did not finish in time, or stopped short of the target.
        """
        self._moving = asyncio.current_task()
        try:
            async with watch(self.status, self.readback) as seen:
                await self._move(new_position, seen, timeout)
        finally:
            self._moving = None

    async def _move(self, target: float, seen: Watch, time_left: TimeoutCalculator) -> None:
        def arrived() -> bool:
            return abs(seen.value(self.readback) - target) <= self.tolerance

        def done() -> bool:
            return self.is_done(seen.value(self.status))

        def sentence(what: str) -> MotionError:
            return MotionError(
                f"{self.readback.name} {what}: it is at {seen.value(self.readback):g} {self.unit}, "
                f"was sent to {target:g} {self.unit}, and {self.status.source} is "
                f"{seen.value(self.status)!r}{disconnected(self.status, self.readback)}."
            )

        near_from_the_start = arrived()
        # From before the put on: a short move may be over when the put returns.
        started = seen.latch(lambda: not done())
        if self.before is not None:
            await self.before()
        await self.setpoint.set(target)
        if self.go is not None:
            await self.go()
        if near_from_the_start:
            await seen.until(started, self.pace.confirmation)
        elif not await seen.until(lambda: started() or arrived(), self.pace.start):
            raise sentence(f"did not start to move within {self.pace.start:g} s")
        if not await seen.until(done, time_left()):
            raise sentence("was still moving when its time was over")
        if not await seen.until(arrived, self.pace.arrival):
            raise sentence("stopped short of its target")
        if not self.heard or near_from_the_start:
            return
        if not await seen.until(started, self.pace.arrival):
            if not await renewed(self.status, self.setpoint):
                raise sentence("is at its target, but its status was silent")
        elif not await seen.until(done, time_left()):
            raise sentence("was still moving when its time was over")

    async def stop(self) -> None:
        """Stop the axis and wait until it stands.

        Raises
        ------
        MotionError
            If it still moves after ten seconds, or its server does not answer.
        """
        # The move ends first: it must not take the halt for a failure of its own.
        await end_task(self._moving)
        try:
            await self.halt()
            await self._stand()
        except (NoAnswerError, TimeoutError) as error:
            raise MotionError(
                f"{self.readback.name} could not be stopped and may still be moving: {error}"
            ) from error

    async def is_moving(self) -> bool:
        """Return whether the axis moves at this moment, whoever moves it."""
        return not self.is_done(await self.status.get_value())

    async def _stand(self) -> None:
        async with watch(self.status, within=patience_with(self.status)) as seen:
            standing = await seen.until(
                lambda: self.is_done(seen.value(self.status)), STANDING_TIMEOUT
            )
            if not standing:
                raise MotionError(
                    f"{self.readback.name} was told to stop and still moves after "
                    f"{STANDING_TIMEOUT:g} s: {self.status.source} is "
                    f"{seen.value(self.status)!r}."
                )


async def end_task(task: asyncio.Task[Any] | None) -> None:
    """Cancel a task and wait (bounded) until it has ended; its result is its owner's business."""
    if task is None or task is asyncio.current_task():
        return
    for _ in range(CANCELLATIONS):
        if task.done():
            return
        # Again and again: asyncio.wait_for, which every put goes through, can swallow one that
        # comes while the put ends (Python below 3.12).
        task.cancel()
        await asyncio.wait({task}, timeout=CANCELLATION_TIMEOUT)


async def together(*works: Awaitable[Any]) -> None:
    """Await several works at once; when one fails, end the others and raise what it raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            await end_task(task)
    for failure in [task.exception() for task in tasks if not task.cancelled()]:
        if failure is not None:
            raise failure
    for task in tasks:
        task.result()


class InstantMove(DeviceMock[StandardMovable[float]]):
    """Mock of an axis that stands, and arrives as soon as its setpoint is written."""

    async def connect(self, device: StandardMovable[float]) -> None:
        """Let the readback follow the setpoint."""
        logic = device.movable_logic
        callback_on_mock_put(logic.setpoint, lambda value: set_mock_value(logic.readback, value))
