"""What must be open for light to reach the sample: looked at before a scan, opened by it."""

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from math import nan
from typing import Any

from bluesky.protocols import Status

from glidepath.flyers import FlightError, LegPlan
from glidepath.sentences import as_connection_error
from glidepath.trajectory import PreflightError

from .messages import done

OPEN, CLOSED = "open", "closed"

LATENESS = 0.1
"""Seconds after which at most it is known that the axis has started."""


@dataclass
class Opening:
    """One time that a shutter was open; times of this machine (POSIX s), NaN: it did not happen.

    Attributes
    ----------
    pass_number
        During which pass.
    told_open, open
        When it was told to open, and when it said that it was.
    told_closed, closed
        When it was told to close, and when it said that it was.
    """

    pass_number: int
    told_open: float = nan
    open: float = nan
    told_closed: float = nan
    closed: float = nan


@dataclass
class LightPath:
    """The shutter of a scan: opened for each flight, closed however it ends.

    Parameters
    ----------
    shutter
        What is set to ``"open"`` and ``"closed"``; None: nothing is.
    opening_time
        How long it takes to open, in s: it is told so much before the axis enters the range. None,
        or longer than the run-up: it is open before the axis starts.
    each_flight
        Whether it is closed as soon as the axis has left the range; else it stays open to the end
        of the scan.

    Attributes
    ----------
    openings
        When it was open.
    """

    shutter: Any = None
    opening_time: float | None = None
    each_flight: bool = False
    openings: list[Opening] = field(default_factory=list)
    _opened: bool = False
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    _objection: Callable[[], str] = field(default=lambda: "")

    @property
    def is_open(self) -> bool:
        """Whether it was opened, or told to open, and not closed yet."""
        return self._opened

    async def close_first(self) -> None:
        """Close it before anything moves, if it may be open."""
        if self.shutter is not None:
            await bring(self.shutter, CLOSED)

    async def open_before(self, plan: LegPlan) -> None:
        """Open it while the axis stands at its run-up, if it takes longer than the run-up."""
        if self._delay(plan) is None:
            await self._open(plan)

    def opens_in_flight(self, plan: LegPlan) -> bool:
        """Return whether it is opened while the axis runs up."""
        return self.shutter is not None and self._delay(plan) is not None

    async def open_in_flight(self, plan: LegPlan, started: float, flown: Status) -> None:
        """Open it at the end of the run-up; return when it is open, or the flight over.

        Parameters
        ----------
        plan
            What is flown.
        started
            When the axis began to move, by `time.monotonic`.
        flown
            Is done when the flight is over, however it ended.

        Raises
        ------
        FlightError
            If it was open only after the axis had entered the range: rows are dark then.
        """
        delay = self._delay(plan)
        assert delay is not None
        assert self.opening_time is not None
        working = [asyncio.ensure_future(done(flown))]
        try:
            left = started + delay - time.monotonic()
            await asyncio.wait(working, timeout=max(left, 0.0))
            if working[0].done():
                return
            working.append(asyncio.ensure_future(self._open(plan)))
            await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
            if not working[1].done():
                return
            working[1].result()
        finally:
            for task in working:
                task.cancel()
            await asyncio.wait(working)
        # The axis may have started a little before that was known, which the delay allows for.
        late = time.monotonic() - (started + delay + self.opening_time)
        if late > 0:
            raise FlightError(
                f"{_name(self.shutter)} was open {late:.2f} s after the axis had entered the "
                f"range, so that the first rows are dark; give an opening_time above "
                f"{self.opening_time + late:.2g} s."
            )

    def _delay(self, plan: LegPlan) -> float | None:
        """Return when it is told to open, in s after the axis has started; None: before that."""
        passages = plan.motion.motion.passages if plan.motion is not None else ()
        if self.opening_time is None or not passages:
            return None
        delay = passages[0].begin - self.opening_time - LATENESS
        return delay if delay > 0 else None

    async def _open(self, plan: LegPlan) -> None:
        if self.shutter is None:
            return
        if not self._opened:
            self.openings.append(Opening(plan.leg.pass_number, time.time()))
        self._opened = True
        await bring(self.shutter, OPEN)
        if not self._opened:
            # A pause has closed it again.
            return
        self.openings[-1].open = time.time()
        if callable(kept_open := getattr(self.shutter, "kept_open", None)):
            await self._stack.aclose()
            self._objection = await self._stack.enter_async_context(kept_open())

    def check(self) -> None:
        """Raise `FlightError` if it has closed by itself: rows since then are dark."""
        if objection := self._objection():
            raise FlightError(
                f"{objection}, so that rows may be without light; look what closed it."
            )

    async def close(self) -> None:
        """Close it if this scan has opened it, or has tried to; once."""
        if not self._opened:
            return
        # Not again if it fails: what is toggled must not be toggled twice.
        self._opened, self._objection = False, lambda: ""
        opening = self.openings[-1]
        opening.told_closed = time.time()
        try:
            await bring(self.shutter, CLOSED)
            opening.closed = time.time()
        finally:
            await self._stack.aclose()


def check_light_path(shutter: Any, path: Iterable[Any]) -> None:
    """Refuse (PreflightError) a shutter that cannot be set, and what says nothing of the beam."""
    if shutter is not None and not callable(getattr(shutter, "set", None)):
        raise PreflightError(
            f"{_name(shutter)} cannot be the shutter of a scan, for it cannot be set to {OPEN!r} "
            f"and {CLOSED!r}; give a valve or a shutter of glidepath.devices."
        )
    for device in path:
        if not callable(getattr(device, "objection", None)):
            raise PreflightError(
                f"{_name(device)} cannot be in the path of a scan, for it does not say whether the "
                "beam gets through; give valves and shutters of glidepath.devices."
            )


async def light_path_objections(shutter: Any, path: Iterable[Any]) -> list[str]:
    """Return why there will be no light at the sample, one sentence for each device.

    The shutter itself may be closed: the scan opens it. In fault it is an objection.

    Raises
    ------
    ConnectionError
        If a server does not answer.
    """
    found = []
    with as_connection_error("The scan cannot begin: "):
        for device in path:
            if device is not shutter and (objection := await device.objection()):
                found.append(objection)
        if callable(state := getattr(shutter, "state", None)) and await state() == "error":
            found.append(f"{_name(shutter)} is in fault, so that it cannot be opened.")
        elif callable(doubt := getattr(shutter, "doubt", None)) and (why := await doubt()):
            found.append(f"{_name(shutter)} cannot be the shutter of a scan now, for {why}.")
    return found


async def bring(shutter: Any, state: str) -> None:
    """Open or close a shutter, and wait for it; how long is the shutter's own bound.

    Raises
    ------
    Exception
        What its status has failed of.
    """
    status = shutter.set(state)
    try:
        await done(status)
    except BaseException:
        # Whoever ends the waiting will want to close it, which must not wait for its opening.
        if callable(getattr(shutter, "stop", None)):
            await shutter.stop(success=True)
        raise
    if (error := status.exception()) is not None:
        raise error


def _name(device: Any) -> str:
    return str(getattr(device, "name", None) or repr(device))


__all__ = [
    "CLOSED",
    "OPEN",
    "LightPath",
    "Opening",
    "bring",
    "check_light_path",
    "light_path_objections",
]
