"""The flight of an axis as the run engine sees it, whatever back end moves it."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Any

from ophyd_async.core import AsyncStatus, FlyableLogic, StandardFlyable

from glidepath.trajectory import Leg

from .back_end import BackEnd, MotionPlan

log = logging.getLogger(__name__)

STANDING_GRACE = 2.0
"""Seconds in which what is about to stand may come to rest before a scan begins."""

STANDING_PERIOD = 0.05
"""Seconds between two looks at it."""


class _Steps(FlyableLogic[MotionPlan | Leg, MotionPlan]):
    """The back end's steps as the hooks of ophyd-async, each of which a halt can end."""

    def __init__(self, back_end: BackEnd[Any]) -> None:
        self.back_end = back_end
        self._active: set[asyncio.Task[Any]] = set()
        self._halting = False

    @asynccontextmanager
    async def _interruptible(self) -> AsyncIterator[None]:
        # A step that a halt has ended returns as if it had succeeded: a failure of its own
        # would hide the reason for the halt.
        task = asyncio.current_task()
        assert task is not None
        self._active.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if not self._halting:
                raise
        finally:
            self._active.discard(task)

    async def on_prepare(self, value: MotionPlan | Leg) -> MotionPlan:
        plan = await self.back_end.plan(value) if isinstance(value, Leg) else value
        async with self._interruptible():
            await self.back_end.prepare(plan)
        return plan

    async def on_kickoff(self, ctx: MotionPlan) -> MotionPlan:
        async with self._interruptible():
            await self.back_end.start(ctx)
        return ctx

    async def on_complete(self, ctx: MotionPlan) -> None:
        async with self._interruptible():
            await self.back_end.follow(ctx)

    async def stop(self) -> None:
        self._halting = True
        try:
            active = set(self._active)
            for task in active:
                task.cancel()
            if active:
                await asyncio.wait(active)
            await self.back_end.halt()
        finally:
            self._halting = False


class Flight(StandardFlyable[MotionPlan | Leg, MotionPlan]):
    """Prepare, kickoff, complete, interrupt, halt and restore one axis, as the run engine does it.

    ``prepare`` takes what `plan` has made of a leg, or a leg, which is planned then.

    A pause of the run engine interrupts it: the axis stands, its settings are as they were
    before, and a plan that looks at `interruption` can fly the rest later.

    Parameters
    ----------
    back_end
        Moves the axis.
    name
        Name for messages.

    Attributes
    ----------
    interruption
        Why the flight was interrupted; empty if it was not.
    before_interruption
        Called before an interruption stops the axis.
    after_interruption
        Awaited when the axis stands.
    """

    def __init__(self, back_end: BackEnd[Any], name: str = "") -> None:
        self.back_end = back_end
        self.interruption = ""
        self.before_interruption: Callable[[], None] = lambda: None
        self.after_interruption: Callable[[], Awaitable[None]] | None = None
        self._trouble: Exception | None = None
        self._abandoned: Future[None] | None = None
        super().__init__(name=name)

    @cached_property
    def flyable_logic(self) -> _Steps:
        """The steps of the back end as hooks."""
        return _Steps(self.back_end)

    async def plan(self, leg: Leg) -> MotionPlan:
        """Return how the axis flies a leg, and what it can do. Nothing moves."""
        plan: MotionPlan = await self.back_end.plan(leg)
        return plan

    async def moving(self) -> str:
        """Return the name of what still moves after a while of grace; empty if all stands."""
        deadline = time.monotonic() + STANDING_GRACE
        while True:
            name = await self.back_end.moving()
            if not name or time.monotonic() > deadline:
                return name
            await asyncio.sleep(STANDING_PERIOD)

    def begin(self) -> None:
        """Forget an earlier interruption: what comes is a new flight."""
        self.interruption = ""

    def check(self) -> None:
        """Raise what went wrong when the run engine interrupted the flight, if anything did."""
        trouble, self._trouble = self._trouble, None
        if trouble is not None:
            raise trouble

    async def interrupt(self, reason: str) -> None:
        """End the flight, so that the rest of it can be flown later; return when all stands."""
        self.interruption = reason
        self.before_interruption()
        try:
            await self.halt()
        finally:
            if self.after_interruption is not None:
                await self.after_interruption()
            await self.restore()

    async def halt(self) -> None:
        """End whatever step is under way and make the axis stand; return when it does."""
        await self.flyable_logic.stop()

    async def restore(self) -> None:
        """Put back the settings that were changed for the flight."""
        await self.back_end.restore()

    async def pause(self) -> None:
        """Interrupt the flight (the run engine's verb, for a pause and for a suspender)."""
        try:
            await self.interrupt("paused")
        except Exception as error:
            # The run engine would drop the plan, clean-up and all. It hears of it when it resumes.
            self._trouble = error
            log.exception("%s could not be brought to a stand for the pause", self.name)

    async def resume(self) -> None:
        """Do nothing (the run engine's verb): the plan flies the rest."""

    def abandon(
        self, loop: asyncio.AbstractEventLoop, *steps: Callable[[], Awaitable[Any]]
    ) -> None:
        """Take the steps of a clean-up with nobody to wait for them: the plan was halted.

        Parameters
        ----------
        loop
            The run engine's.
        steps
            What is to be done, one after the other.
        """
        if not loop.is_closed():
            # From whatever thread the plan is thrown away in.
            self._abandoned = asyncio.run_coroutine_threadsafe(_each(steps), loop)

    @AsyncStatus.wrap
    async def stop(self, success: bool = False) -> None:
        """Make the axis stand (the run engine's verb)."""
        await self.halt()


async def _each(steps: Sequence[Callable[[], Awaitable[Any]]]) -> None:
    for step in steps:
        try:
            await step()
        except Exception:
            log.exception("A step of the clean-up after a halt failed")


__all__ = ["Flight"]
