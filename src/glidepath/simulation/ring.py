"""The simulated storage ring: a current that decays, is topped up, and can be lost."""

import asyncio
import time

from .channels import Database
from .jobs import LEAD_SECONDS, ticks
from .motion import FOREVER, Axis, Segment

__all__ = ["FULL_CURRENT", "StorageRing"]

FULL_CURRENT = 300.0
"""Ring current after an injection, mA."""
_LIFETIME_HOURS = 10.0
_INTERVAL, _INJECTION = 60.0, 1.0
_ORBIT_RIPPLE = 3.0


class StorageRing:
    """Ring current with an injection every minute.

    Parameters
    ----------
    database
        Where the process variables are added.
    axis
        The current, mA.
    """

    def __init__(self, database: Database, axis: Axis) -> None:
        self.axis = axis
        self._current = database.number("RING:current", axis.position(0.0), "mA")
        self._lifetime = database.number("RING:lt10", _LIFETIME_HOURS, "h", 2)
        self._countdown = database.number("TOPUP:estCntDwnS", _INTERVAL, "s", 1)
        self._blank_out = database.integer("TOPUP:stBlankout2", 0)
        self._loss = database.integer("FAULT:beam_loss", 0, on_put=lambda _: self._wake_up())
        self._inject = database.integer("FAULT:inject", 0, on_put=lambda _: self._wake_up())
        self._wake = asyncio.Event()
        self._next_injection = time.time() + _INTERVAL

    async def run(self) -> None:
        """Decay and top up, for ever."""
        self._decay(time.time())
        while True:
            await self._wait(self._next_injection)
            if self._loss.value:
                await self._be_lost()
            elif self._inject.value or time.time() >= self._next_injection:
                await self._inject.change(0)
                await self._top_up()

    async def publish(self) -> None:
        """Publish the current and the count-down twice a second, for ever."""
        async for tick in ticks(0.5):
            await self._current.post(self.axis.position(tick), tick)
            await self._countdown.post(max(self._next_injection - tick, 0.0), tick)

    async def _wake_up(self) -> None:
        self._wake.set()

    async def _wait(self, until: float) -> None:
        """Wait for an instant, or until something has been asked for."""
        try:
            async with asyncio.timeout(max(until - time.time(), 0.0)):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    def _decay(self, start: float) -> None:
        current = self.axis.position(start)
        rate = -current / (_LIFETIME_HOURS * 3600)
        self.axis.plan([Segment(start, FOREVER, current, rate)])

    async def _top_up(self) -> None:
        start = time.time() + LEAD_SECONDS
        end = start + _INJECTION
        current = self.axis.position(start)
        rate = (FULL_CURRENT - current) / _INJECTION
        self._next_injection = end + _INTERVAL
        # The injection kicks the stored beam: the light on the sample flickers.
        kicked = Segment(start, _INJECTION, current, rate, 0.0, _ORBIT_RIPPLE, 0.0, start)
        decay = -FULL_CURRENT / (_LIFETIME_HOURS * 3600)
        self.axis.plan([kicked, Segment(end, FOREVER, FULL_CURRENT, decay)])
        await self._blank_out.post(1, start)
        await self._wait(end)
        if not self._loss.value:
            await asyncio.sleep(max(end - time.time(), 0.0))
        await self._blank_out.post(0)

    async def _be_lost(self) -> None:
        now = time.time()
        self.axis.plan([Segment(now, FOREVER, 0.0)])
        await self._current.post(0.0, now)
        await self._lifetime.post(0.0)
        while self._loss.value:
            await self._wait(time.time() + 3600)
        self.axis.plan([Segment(time.time(), FOREVER, FULL_CURRENT)])
        self._decay(time.time())
        await self._lifetime.post(_LIFETIME_HOURS)
        self._next_injection = time.time() + _INTERVAL
