"""Lets an axis be flown by anybody's plan, though what flies it lives a floor above.

A device knows no back end. `flight_of` is a function with one implementation for each type of
axis, which the module of the back ends registers; the axis's own ``prepare``, ``kickoff`` and
``complete`` ask it for a flight. Modules that register something are found by the entry points
of the group ``glidepath.back_ends``, those of this package among them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import singledispatch
from typing import Any, Protocol

from ophyd_async.core import FlyMotorInfo, SignalR

from glidepath.trajectory import Envelope, Leg, PreflightError, Region, preflight

from .extensions import load_extensions
from .positioning import MotionError

__all__ = ["AxisFlying", "FlightOfAxis", "flight_of"]

BACK_ENDS = "glidepath.back_ends"
"""The group of entry points that name modules with back ends."""


class PlannedMotion(Protocol):
    """How a leg is flown."""

    @property
    def envelope(self) -> Envelope:
        """What the axis can do when it flies the leg."""
        ...


class FlightOfAxis(Protocol):
    """What flies one axis."""

    async def plan(self, leg: Leg) -> PlannedMotion:
        """Return how the axis flies a leg, and what it can do. Nothing moves."""
        ...

    def prepare(self, value: Any) -> Awaitable[None]:
        """Go to the run-up of what `plan` has returned, and set up the flight."""
        ...

    def kickoff(self) -> Awaitable[None]:
        """Start; done when the axis is under way."""
        ...

    def complete(self) -> Awaitable[Any]:
        """Be done when the axis has passed the stop, or was halted."""
        ...

    async def halt(self) -> None:
        """End what is under way and make the axis stand."""
        ...

    async def restore(self) -> None:
        """Put back the settings that were changed for the flight."""
        ...


class FlownAxis(Protocol):
    """An axis that can be flown."""

    @property
    def name(self) -> str:
        """Name of the axis."""
        ...

    @property
    def readback(self) -> SignalR[float]:
        """Its position."""
        ...


@singledispatch
def flight_of(axis: Any) -> FlightOfAxis:
    """Return a flight of an axis, by what the axis is.

    Raises
    ------
    PreflightError
        If nothing is known that flies it.
    """
    load_extensions(BACK_ENDS)
    registered = flight_of.dispatch(type(axis))
    if registered is not flight_of.dispatch(object):
        return registered(axis)
    raise PreflightError(
        f"Nothing that could fly {axis.name} is loaded; import glidepath.flyers, or install the "
        "package that flies it."
    )


def leg_of(value: Any) -> Leg:
    """Return what is to be flown as a leg.

    Parameters
    ----------
    value
        A leg of one region, a region, ``(start, stop, velocity)``, or a ``FlyMotorInfo``.

    Raises
    ------
    PreflightError
        If it is none of these.
    """
    if isinstance(value, Leg) and len(value.regions) == 1:
        return value
    if isinstance(value, Region):
        return Leg((value,))
    if isinstance(value, FlyMotorInfo):
        return Leg((Region(value.start_position, value.end_position, value.speed),))
    if isinstance(value, tuple | list) and len(value) == 3:
        return Leg((Region(*value),))
    raise PreflightError(
        f"{value!r} cannot be flown here; give one region, (start, stop, velocity), or a "
        "FlyMotorInfo."
    )


class AxisFlying:
    """One flight of an axis from its preparation to its end, pauses included.

    After a pause the run engine sends the messages of a plan once more, unless the plan forbids
    it: they then join the flight that goes on.

    Parameters
    ----------
    axis
        The axis.
    """

    def __init__(self, axis: FlownAxis) -> None:
        self._axis = axis
        self._flight: FlightOfAxis | None = None
        self._leg: Leg | None = None
        self._planned: PlannedMotion | None = None
        self._rest: Leg | None = None
        self._prepared = self._under_way = False
        self._resumed = False
        self._going = asyncio.Event()
        self._going.set()
        self._halts = 0
        self._ended: bool | None = None
        self._steps: set[asyncio.Task[Any]] = set()
        self._completing: asyncio.Task[Any] | None = None
        self._changing = asyncio.Lock()

    async def prepare(self, value: Any) -> None:
        """Check the leg against what the axis can do, go to its run-up, set up the flight.

        Raises
        ------
        PreflightError
            Before anything moves, if it cannot be flown.
        """
        leg = leg_of(value)
        if self._flight is None or not self._resumed or leg != self._leg:
            await self.end(success=True)
            flight = flight_of(self._axis)
            plan = await flight.plan(leg)
            (region,) = leg.regions
            preflight(self._axis.name, region, region.duration, plan.envelope).check()
            self._flight, self._leg, self._rest, self._ended = flight, leg, leg, None
            self._planned = plan
            self._prepared = self._under_way = self._resumed = False
        await self._step(self._prepare)

    async def kickoff(self) -> None:
        """Start; return when the axis is under way.

        Raises
        ------
        RuntimeError
            If it was not prepared.
        """
        if self._flight is None and not self._resumed:
            raise RuntimeError(f"{self._axis.name} was not prepared; prepare it before its start.")
        await self._step(self._start)

    async def complete(self) -> None:
        """Return when the axis has passed the stop; its settings are then as they were.

        Raises
        ------
        Exception
            What the flight failed of; the axis then stands. MotionError if it was stopped.
        """
        if self._flight is None and not self._resumed:
            raise RuntimeError(f"{self._axis.name} was not started; there is no end to wait for.")
        if self._completing is not None:
            await asyncio.shield(self._completing)
            return
        self._completing = asyncio.current_task()
        try:
            await self._step(self._fly)
            await self._close()
        finally:
            self._completing = None

    async def pause(self) -> None:
        """Make the axis stand and put its settings back; the flight goes on with `resume`."""
        flight, rest = self._flight, self._rest
        if flight is None or not self._going.is_set():
            return
        self._going.clear()
        self._halts += 1
        if self._under_way and rest is not None:
            # What lies behind this place is flown with a run-up of its own.
            self._rest = rest.after(await self._axis.readback.get_value())
            self._planned = None
        self._prepared = self._under_way = False
        try:
            await flight.halt()
        finally:
            await flight.restore()

    def resume(self) -> None:
        """Let a paused flight go on."""
        self._resumed = not self._going.is_set()
        self._going.set()

    async def end(self, success: bool) -> None:
        """Halt a flight, let its steps end, and put its settings back.

        Parameters
        ----------
        success
            Whether a step that is under way ends without an error.
        """
        flight = self._flight
        if flight is None:
            return
        self._ended = success
        self._halts += 1
        self._going.set()
        try:
            await flight.halt()
        finally:
            others = self._steps - {asyncio.current_task()}
            if others:
                await asyncio.wait(others)
            await self._close()

    async def _close(self) -> None:
        flight, self._flight = self._flight, None
        if flight is not None:
            await flight.restore()

    async def _step(self, step: Callable[[FlightOfAxis, Leg], Awaitable[None]]) -> None:
        """Do a step; if a pause has cut it short, do it again when the flight goes on."""
        task = asyncio.current_task()
        assert task is not None
        self._steps.add(task)
        try:
            while self._ended is None:
                await self._going.wait()
                if self._flight is None or self._rest is None:
                    return
                halts = self._halts
                await step(self._flight, self._rest)
                if self._halts == halts:
                    return
            if not self._ended:
                raise MotionError(f"{self._axis.name} was stopped in flight.")
        except BaseException:
            if self._ended is None:
                await self.end(success=True)
            raise
        finally:
            self._steps.discard(task)

    async def _prepare(self, flight: FlightOfAxis, leg: Leg) -> None:
        async with self._changing:
            if self._may_go() and not (self._prepared or self._under_way):
                halts = self._halts
                if self._planned is None:
                    self._planned = await flight.plan(leg)
                await flight.prepare(self._planned)
                # A step that was halted returns as one that succeeded.
                self._prepared = self._halts == halts

    async def _start(self, flight: FlightOfAxis, leg: Leg) -> None:
        await self._prepare(flight, leg)
        async with self._changing:
            if self._may_go() and self._prepared and not self._under_way:
                halts = self._halts
                await flight.kickoff()
                self._under_way = self._halts == halts

    async def _fly(self, flight: FlightOfAxis, leg: Leg) -> None:
        await self._start(flight, leg)
        if self._under_way:
            await flight.complete()

    def _may_go(self) -> bool:
        return self._going.is_set() and self._ended is None
