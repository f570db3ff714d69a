"""Lets an axis be flown by anybody's plan, though what flies it lives a floor above.

A device knows no back end. ``glidepath.flyers`` says at its import how a flight of an axis is
made (`use_flights`); the axis's own ``prepare``, ``kickoff`` and ``complete`` ask for one here.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from ophyd_async.core import FlyableLogic, FlyMotorInfo, SignalR

from glidepath.trajectory import Envelope, Leg, PreflightError, Region, preflight

from .positioning import MotionError

__all__ = ["AxisFlying", "FlightOfAxis", "use_flights"]


class FlightOfAxis(Protocol):
    """What flies one axis."""

    async def envelope(self, leg: Leg) -> Envelope:
        """Return what the axis can do when it flies this leg. Nothing moves."""
        ...

    def prepare(self, value: Leg) -> Awaitable[None]:
        """Go to the run-up of the leg and set up the flight."""
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


_makers: list[Callable[[Any], FlightOfAxis]] = []


def use_flights(make: Callable[[Any], FlightOfAxis]) -> None:
    """Say how a flight of an axis is made; it may refuse an axis (PreflightError)."""
    _makers[:] = [make]


def leg_of(value: Any) -> Leg:
    """Return what is to be flown as a leg.

    Parameters
    ----------
    value
        A leg, a region, ``(start, stop, velocity)``, or a ``FlyMotorInfo``.

    Raises
    ------
    PreflightError
        If it is none of these.
    """
    if isinstance(value, Leg):
        return value
    if isinstance(value, Region):
        return Leg((value,))
    if isinstance(value, FlyMotorInfo):
        return Leg((Region(value.start_position, value.end_position, value.speed),))
    if isinstance(value, tuple | list) and len(value) == 3:
        return Leg((Region(*value),))
    raise PreflightError(
        f"{value!r} cannot be flown; give a region, (start, stop, velocity), or a FlyMotorInfo."
    )


class AxisFlying(FlyableLogic[Any, Leg]):
    """One flight of an axis from its preparation to its end, pauses included.

    Parameters
    ----------
    axis
        The axis.
    """

    def __init__(self, axis: FlownAxis) -> None:
        self._axis = axis
        self._flight: FlightOfAxis | None = None
        self._rest: Leg | None = None
        self._prepared = self._under_way = False
        self._going = asyncio.Event()
        self._going.set()
        self._halts = 0
        self._ended: bool | None = None
        self._steps: set[asyncio.Task[Any]] = set()

    async def on_prepare(self, value: Any) -> Leg:
        """Check the leg against what the axis can do, go to its run-up, set up the flight."""
        leg = leg_of(value)
        if not _makers:
            raise PreflightError(
                f"Nothing that could fly {self._axis.name} is loaded; import glidepath.flyers."
            )
        # A plan that was rewound prepares again while its first flight is still under way.
        await self.end(success=True)
        flight = _makers[0](self._axis)
        envelope = await flight.envelope(leg)
        for region in leg.regions:
            preflight(self._axis.name, region, region.duration, envelope).check()
        self._flight, self._rest, self._ended = flight, leg, None
        self._prepared = self._under_way = False
        await self._step(self._prepare)
        return leg

    async def on_kickoff(self, ctx: Leg) -> Leg:
        """Start; return when the axis is under way."""
        await self._step(self._start)
        return ctx

    async def on_complete(self, ctx: Leg) -> None:
        """Return when the axis has passed the stop; its settings are then as they were.

        Raises
        ------
        Exception
            What the flight failed of; the axis then stands. MotionError if it was stopped.
        """
        await self._step(self._fly)
        await self._close()

    async def stop(self) -> None:
        """End the flight, if there is one: what ``stage`` and ``unstage`` do."""
        await self.end(success=False)

    async def pause(self) -> None:
        """Make the axis stand; the flight goes on with `resume`."""
        flight, rest = self._flight, self._rest
        if flight is None or not self._going.is_set():
            return
        self._going.clear()
        self._halts += 1
        if self._under_way and rest is not None:
            # What lies behind this place is flown with a run-up of its own.
            self._rest = rest.after(await self._axis.readback.get_value())
        self._prepared = self._under_way = False
        await flight.halt()

    def resume(self) -> None:
        """Let a paused flight go on."""
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
        halts = self._halts
        await flight.prepare(leg)
        # A step that was halted returns as one that succeeded.
        self._prepared = self._halts == halts

    async def _start(self, flight: FlightOfAxis, leg: Leg) -> None:
        if not self._prepared:
            await self._prepare(flight, leg)
        if self._prepared:
            halts = self._halts
            await flight.kickoff()
            self._under_way = self._halts == halts

    async def _fly(self, flight: FlightOfAxis, leg: Leg) -> None:
        if not self._under_way:
            await self._start(flight, leg)
        if self._under_way:
            await flight.complete()
