"""Holds a scan while there is no beam to measure with."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from ophyd_async.core import AsyncStatus, SignalR

from glidepath.devices import Ring
from glidepath.devices.signals import Watch, watch


@dataclass
class BeamGuard:
    """Watches the beam during a scan.

    Parameters
    ----------
    ring
        The ring; its ``lowest_current`` says what is no beam any more.
    settle
        Seconds for which everything must be good again before the scan goes on.
    hold_top_up
        Whether an injection holds the scan too; if not, it only marks the rows.
    shutter, shutter_open
        A signal that has this value while the shutter lets the beam through; None: there is no
        shutter to be watched.
    """

    ring: Ring
    settle: float = 5.0
    hold_top_up: bool = False
    shutter: SignalR[Any] | None = None
    shutter_open: Any = 1
    _settling: AsyncStatus | None = field(default=None, init=False, repr=False)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack, init=False, repr=False)
    _seen: Watch = field(default_factory=Watch, init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.settle < float("inf"):
            raise ValueError(
                f"The beam cannot settle for {self.settle!r} s; give a number of seconds from 0 on."
            )

    async def open(self) -> None:
        """Begin to watch.

        Raises
        ------
        TimeoutError
            If a signal does not answer.
        """
        signals: list[SignalR[Any]] = [self.ring.current, self.ring.blankout]
        if self.shutter is not None:
            signals.append(self.shutter)
        self._seen = await self._stack.enter_async_context(watch(*signals))

    async def close(self) -> None:
        """End it. Closing twice is harmless."""
        settling, self._settling = self._settling, None
        if settling is not None:
            settling.task.cancel()
            await asyncio.wait({settling.task})
        await self._stack.aclose()

    @property
    def objection(self) -> str:
        """Why one cannot measure now; empty if one can."""
        seen, ring = self._seen, self.ring
        if (current := seen.value(ring.current)) < ring.lowest_current:
            return f"the ring current is {current:.3g} mA, below {ring.lowest_current:g} mA"
        if self.shutter is not None and seen.value(self.shutter) != self.shutter_open:
            return f"the shutter {self.shutter.name} is {seen.value(self.shutter)!r}"
        if self.hold_top_up and seen.value(ring.blankout):
            return "the ring is injected into"
        return ""

    async def lost(self) -> None:
        """Return when there is an objection."""
        await self._seen.until(lambda: bool(self.objection), None)

    async def settling(self) -> AsyncStatus:
        """Return a status that is done when there was no objection for as long as it settles."""
        self._settling = AsyncStatus(self._settle())
        return self._settling

    async def _settle(self) -> None:
        while True:
            await self._seen.until(lambda: not self.objection, None)
            if not await self._seen.until(lambda: bool(self.objection), self.settle):
                return


__all__ = ["BeamGuard"]
