"""What is open or closed: the face that all valves and shutters have, whatever moves them."""

import asyncio
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from bluesky.protocols import Locatable, Location, Stoppable
from ophyd_async.core import (
    SignalR,
    StandardReadable,
    WatchableAsyncStatus,
    WatcherUpdate,
    derived_signal_r,
    soft_signal_rw,
)
from ophyd_async.core import StandardReadableFormat as Format

from glidepath.devices.positioning import MotionError
from glidepath.devices.signals import NoAnswerError, Watch, ask, ask_reading, lost, watch

from .states import CLOSED, ERROR, MOVING, OPEN, StateTable, check_target, settled_error
from .work import Work

__all__ = ["Barrier"]

EPICS_EPOCH = 631_152_000.0
"""POSIX time of 1990-01-01: the time stamp of a record that was never processed."""

LONGEST_PULSE = 1.0
"""Seconds after which a command that goes back to 0 by itself has done so.

Where only its end is known, it began at most so much earlier.
"""

GLIMPSE = 1.0
"""Seconds that a report of progress may wait for the state."""

ABSENCE = 2.0
"""Seconds for which the connection to what is to stay open may be lost."""

SHARE = {CLOSED: 0.0, OPEN: 1.0}
"""How far open it is, for a progress bar."""


def never() -> bool:
    """Give nothing up."""
    return False


def always() -> bool:
    """Believe what is shown."""
    return True


class Barrier(StandardReadable, Locatable[str], Stoppable):
    """A valve or a shutter: something in the beam that can be set to "open" or "closed".

    Parameters
    ----------
    status
        The signal that tells where it is.
    states
        What the values of the status mean.
    name
        Name of the device and of its state in the data.

    Attributes
    ----------
    position
        ``"open"``, ``"closed"``, ``"moving"`` or ``"error"``.
    status
        The number that says so.
    target
        Where it was sent last; empty at first.
    """

    def __init__(self, status: SignalR[int], states: StateTable, name: str = "") -> None:
        self.states, self.status = states, status
        self.target = soft_signal_rw(str)
        self._work, self._turn = Work(), asyncio.Lock()
        with self.add_children_as_readables(Format.HINTED_SIGNAL):
            self.position = derived_signal_r(self._meaning, value=self.status)
        super().__init__(name)

    def set_name(self, name: str, *, child_name_separator: str | None = None) -> None:
        """Name the device; its state has the same name in the data."""
        super().set_name(name, child_name_separator=child_name_separator)
        self.position.set_name(name)

    def _meaning(self, value: int) -> str:
        return self.states.meaning(value)

    async def state(self) -> str:
        """Return ``"open"``, ``"closed"``, ``"moving"`` or ``"error"``, from its server."""
        return self.states.meaning(await ask(self.status))

    async def doubt(self) -> str:
        """Return why what its status shows cannot be believed; empty if it can.

        It cannot if a command is newer than the status and the status should have changed since:
        it is waited for as long as it may be late, and silence is no answer.

        Returns
        -------
        str
            A part of a sentence that names the PV and what it shows.

        Raises
        ------
        NoAnswerError, TimeoutError
            If a server does not answer.
        """
        return ""

    async def objection(self) -> str:
        """Return why the beam does not get through, as a sentence; empty if it does.

        That nobody knows whether it does is an objection as well.
        """
        state = await self.state()
        if state == OPEN:
            if doubt := await self.doubt():
                return f"Nobody knows whether there is light behind {self.name}, for {doubt}."
            return ""
        shown = {MOVING: "moving", ERROR: "in fault"}.get(state, state)
        return f"{self.name} is {shown}, so that there is no light behind it; open it first."

    @asynccontextmanager
    async def kept_open(self) -> AsyncIterator[Callable[[], str]]:
        """Watch that it stays open for the length of a block.

        Gives a function that returns, as a part of a sentence, that it has not been open all the
        time; empty if it has.
        """
        async with watch(self.status) as seen:

            def closed() -> bool:
                return self.states.meaning(seen.value(self.status)) != OPEN

            was_closed = seen.latch(closed)
            missing = closed()
            gone_since: float | None = None

            def objection() -> str:
                nonlocal gone_since
                if missing or was_closed():
                    return f"{self.name} did not stay open"
                now = time.monotonic()
                gone_since = (gone_since or now) if lost(self.status) else None
                if gone_since is not None and now - gone_since > ABSENCE:
                    return (
                        f"{self.status.source} is disconnected, so that nobody knows whether "
                        f"{self.name} has stayed open"
                    )
                return ""

            yield objection

    async def locate(self) -> Location[str]:
        """Return where it was sent last, or is if it was not sent yet, and where it is."""
        state = await self.state()
        return Location(setpoint=await self.target.get_value() or state, readback=state)

    async def check_value(self, value: str) -> None:
        """Refuse (ValueError) what is neither ``"open"`` nor ``"closed"``."""
        check_target(self.name, value)

    @WatchableAsyncStatus.wrap
    async def set(self, value: str) -> AsyncIterator[WatcherUpdate[float]]:
        """Open or close it.

        Raises
        ------
        ValueError
            If the value is neither ``"open"`` nor ``"closed"``.
        MotionError
            If it may not be moved, does not get there in time, or goes back.
        """
        await self.check_value(value)
        initial = SHARE.get(await self.state(), 0.5)
        async for _ in self._work.steps(self.name, self._in_turn(value)):
            try:
                now = SHARE.get(self._meaning(await ask(self.status, GLIMPSE)), 0.5)
            except NoAnswerError:
                # What comes of it is said by the work itself.
                continue
            yield WatcherUpdate(now, initial, SHARE[value], self.name)

    async def _in_turn(self, target: str) -> None:
        async with self._turn:
            await self.target.set(target)
            await self._bring(target)

    @abstractmethod
    async def _bring(self, target: str) -> None:
        """Bring it to a state, within bounded time."""

    async def stop(self, success: bool = False) -> None:
        """Wait no longer. What has begun to move goes on: there is nothing that stops it."""
        await self._work.give_up(success)

    async def _renewed(self, seen: Watch, since: float) -> bool:
        """Return whether the record of the status was processed since a time of its server.

        What does not answer was not.
        """
        if seen.timestamp(self.status) >= since:
            return True
        try:
            return (await ask_reading(self.status))["timestamp"] >= since
        except NoAnswerError:
            return False

    async def _arrive(
        self,
        target: str,
        seen: Watch,
        within: float,
        given_up: Callable[[], bool] = never,
        heard: Callable[[], bool] = always,
    ) -> str:
        """Wait, after a command, until it is where it was sent or will not get there.

        Parameters
        ----------
        target
            Where it was sent.
        seen
            Of the status.
        within
            Seconds.
        given_up
            Whether there is nothing to wait for any more.
        heard
            Whether the status counts that shows the target; else it is from before the command.

        Returns
        -------
        str
            The state at the end; "moving" or the old state if the time was over.
        """

        def meaning() -> str:
            return self.states.meaning(seen.value(self.status))

        moved = seen.latch(lambda: meaning() == MOVING)

        def over() -> bool:
            rests_again = moved() and meaning() != MOVING
            there = meaning() == target and heard()
            return there or meaning() == ERROR or rests_again or given_up()

        await seen.until(over, within)
        if meaning() == ERROR and not await settled_error(seen, meaning):
            await seen.until(lambda: meaning() == target, within)
        return meaning()

    def _sentence(self, target: str, seen: Watch, what: str) -> MotionError:
        return MotionError(f"{self.name} was to be {target} and {what}: {self._shown(seen)}.")

    def _shown(self, seen: Watch) -> str:
        """Return what the status shows, or has shown last, as a part of a sentence."""
        value = seen.value(self.status)
        shown = f"{value} ({self.states.meaning(value)})"
        if lost(self.status):
            return f"{self.status.source} is disconnected, and was {shown} before"
        return f"{self.status.source} is {shown}"
