"""One straight flight of an axis as the run engine sees it, whatever back end moves it."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Any, ClassVar

from ophyd_async.core import AsyncStatus, FlyableLogic, StandardFlyable

from glidepath.trajectory import Envelope, Leg


class FlightError(RuntimeError):
    """The axis did not fly as it was told; the text says where it is and what it did."""


class BackEnd(ABC):
    """How one kind of axis flies a leg: straight, or through all its regions.

    `prepare`, `start` and `follow` come in this order and may be cancelled at any time, only
    by `halt`. `halt` and `restore` may come at any time, and twice.

    Attributes
    ----------
    joins
        Whether it flies a leg of several regions in one movement; if not, it gets legs of one
        region only.
    """

    joins: ClassVar[bool] = False

    @abstractmethod
    async def envelope(self, leg: Leg) -> Envelope:
        """Return what the axis can do when it flies this leg. Nothing moves."""

    @abstractmethod
    async def prepare(self, leg: Leg) -> None:
        """Go to the run-up of the leg and set up the flight."""

    @abstractmethod
    async def start(self, leg: Leg) -> None:
        """Start, and return when the axis is under way."""

    @abstractmethod
    async def follow(self, leg: Leg) -> None:
        """Return when the axis has passed the stop, or raise `FlightError`."""

    @abstractmethod
    async def halt(self) -> None:
        """Make the axis stand; return when it does."""

    @abstractmethod
    async def restore(self) -> None:
        """Put back the settings that were changed for the flight."""


class _Steps(FlyableLogic[Leg, Leg]):
    """The back end's steps as the hooks of ophyd-async, each of which a halt can end."""

    def __init__(self, back_end: BackEnd) -> None:
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

    async def on_prepare(self, value: Leg) -> Leg:
        async with self._interruptible():
            await self.back_end.prepare(value)
        return value

    async def on_kickoff(self, ctx: Leg) -> Leg:
        async with self._interruptible():
            await self.back_end.start(ctx)
        return ctx

    async def on_complete(self, ctx: Leg) -> None:
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


class Flight(StandardFlyable[Leg, Leg]):
    """Prepare, kickoff, complete, halt and restore one axis, as the run engine does it.

    Parameters
    ----------
    back_end
        Moves the axis.
    name
        Name for messages.
    """

    def __init__(self, back_end: BackEnd, name: str = "") -> None:
        self.back_end = back_end
        super().__init__(name=name)

    @cached_property
    def flyable_logic(self) -> _Steps:
        """The steps of the back end as hooks."""
        return _Steps(self.back_end)

    async def envelope(self, leg: Leg) -> Envelope:
        """Return what the axis can do when it flies this leg. Nothing moves."""
        return await self.back_end.envelope(leg)

    async def halt(self) -> None:
        """End whatever step is under way and make the axis stand; return when it does."""
        await self.flyable_logic.stop()

    async def restore(self) -> None:
        """Put back the settings that were changed for the flight."""
        await self.back_end.restore()

    @AsyncStatus.wrap
    async def stop(self, success: bool = False) -> None:
        """Make the axis stand (the run engine's verb)."""
        await self.halt()


__all__ = ["BackEnd", "Flight", "FlightError"]
