"""Lets plans go on only while a lock is ours, and acts between flights: never in one."""

from typing import TYPE_CHECKING, Any

import bluesky.preprocessors as bpp
from bluesky.utils import Msg

from glidepath.devices.generic import LockedError, ResourceLock
from glidepath.devices.signals import watch
from glidepath.sentences import errors

from .messages import MsgGenerator, wait_for

if TYPE_CHECKING:
    from bluesky import RunEngine

HOLDING = ("open_run", "prepare", "checkpoint")
"""Messages before which a plan may be held: a run, a flight or a step begins with them."""

__all__ = ["LockSuspender"]


class LockSuspender:
    """Lets the plans of a run engine begin a run, a flight or a step only while a lock is ours.

    Where it is free it is taken; where somebody else has it, the plan waits, and can be paused
    and ended meanwhile. A lock that is lost during a flight does not end it: an axis that stands
    in the middle of a spectrum helps nobody. The flight goes on to its end, which is said at once
    and in the reason of the run, and the next one begins when the lock is ours again. A lock that
    the plan has taken is given back at its end.

    Parameters
    ----------
    lock
        Connected.

    Examples
    --------
    >>> RE.install_suspender(LockSuspender(lock))  # doctest: +SKIP
    """

    tripped = False
    """Suspenders of Bluesky say so that they act at once; this one never does."""

    def __init__(self, lock: ResourceLock) -> None:
        self.lock = lock
        self._engine: RunEngine | None = None

    def install(self, engine: "RunEngine") -> None:
        """Act on the plans that begin from now on; the run engine calls it."""
        self.remove()
        self._engine = engine
        engine.preprocessors.append(self._wrapped)

    def remove(self) -> None:
        """Act on no more plans; the run engine calls it."""
        if self._engine is not None and self._wrapped in self._engine.preprocessors:
            self._engine.preprocessors.remove(self._wrapped)
        self._engine = None

    def get_futures(self) -> tuple[list[Any], str]:
        """Return nothing to wait for: a plan is held by its own messages."""
        return [], ""

    def _wrapped(self, plan: MsgGenerator) -> MsgGenerator:
        holding = _Holding(self.lock)
        try:
            return (yield from bpp.finalize_wrapper(bpp.plan_mutator(plan, holding), holding.end()))
        finally:
            holding.listen_no_more()


class _Holding:
    """What a lock does to one plan."""

    def __init__(self, lock: ResourceLock) -> None:
        self._lock, self._taken, self._lost = lock, False, 0
        self._listening = self._ours = False
        self._flying: dict[int, Any] = {}

    def __call__(self, message: Msg) -> tuple[MsgGenerator | None, None]:
        """Return what is done in place of a message; None: the message itself."""
        if message.command == "prepare":
            # What is prepared again flies no more, however its flight has ended.
            self._flying.pop(id(message.obj), None)
        if message.command in HOLDING and not self._in_flight():
            return self._when_ours(message), None
        if message.command in ("kickoff", "complete"):
            return self._noted(message), None
        if message.command == "close_run" and self._lost:
            return self._said(message), None
        return None, None

    def _in_flight(self) -> bool:
        return any(status is None or not status.done for status in self._flying.values())

    def _noted(self, message: Msg) -> MsgGenerator:
        """Note that something flies, until the status of its end is done."""
        answer = yield message
        self._flying[id(message.obj)] = answer if message.command == "complete" else None
        return answer

    def _when_ours(self, message: Msg) -> MsgGenerator:
        yield from wait_for(self._until_ours)
        return (yield message)

    def _said(self, message: Msg) -> MsgGenerator:
        times = "once" if self._lost == 1 else f"{self._lost} times"
        said = f"{self._lock.name} was lost {times} during a flight, which went on to its end."
        # The new message comes by here again, and is not to be said of once more, for ever.
        self._lost = 0
        reason = str(message.kwargs.get("reason") or "").rstrip(".")
        whole = f"{reason}; {said}" if reason else said
        return (yield message._replace(kwargs={**message.kwargs, "reason": whole}))

    async def _until_ours(self) -> None:
        said = False
        while not await self._lock.held_by_us():
            try:
                await self._lock.acquire()
                self._taken = True
            except LockedError as error:
                if not said:
                    _say(f"{error} The plan waits between its flights.")
                said = True
                await self._until_free()
        if not self._listening:
            self._listening = True
            self._lock.holder.subscribe_reading(self._on_holder)

    async def _until_free(self) -> None:
        free = self._lock.free
        async with watch(free) as seen:
            await seen.until(lambda: bool(seen.value(free)), None)

    def _on_holder(self, reading: dict[str, Any]) -> None:
        ours = reading[self._lock.holder.name]["value"] == self._lock.owner
        if self._ours and not ours and self._in_flight():
            self._lost += 1
            _say(
                f"{self._lock.name} was lost during a flight: the flight goes on to its end, and "
                "the next one begins when the lock is ours again."
            )
        self._ours = ours

    def listen_no_more(self) -> None:
        """End the subscription. Doing it twice does no harm."""
        if self._listening:
            self._listening = False
            self._lock.holder.clear_sub(self._on_holder)

    def end(self) -> MsgGenerator:
        """Give the lock back if this plan has taken it."""
        self.listen_no_more()
        if self._taken:
            yield from wait_for(self._lock.release)


def _say(text: str) -> None:
    errors.print(f"glidepath: {text}", style="yellow", markup=False, soft_wrap=True)
