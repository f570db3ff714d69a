"""Tasks that belong to a device: one at a time, always awaited, never lost."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine
from typing import Any

from .audience import audience

__all__ = ["LEAD_SECONDS", "Job", "sleep_until", "ticks"]

LEAD_SECONDS = 0.01
"""Motion begins this long after its command, so that every process knows it before it begins."""

_IDLE_SECONDS = 0.5
"""Distance of instants while nobody sees what happens at them."""

_log = logging.getLogger(__name__)


async def sleep_until(true_time: float) -> None:
    """Sleep until a time of the host's clock, POSIX s."""
    await asyncio.sleep(max(true_time - time.time(), 0.0))


class Job:
    """The one thing a device is doing at a time: starting another ends it."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    async def start(self, work: Coroutine[Any, Any, None]) -> None:
        """End the present work and begin another."""
        await self.stop()
        self._task = asyncio.create_task(self._run(work))

    async def stop(self) -> None:
        """End the present work, if there is any."""
        task, self._task = self._task, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    @staticmethod
    async def _run(work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            _log.exception("A device of the simulation failed.")


class ticks:  # noqa: N801 (reads as a function in `async for tick in ticks(0.1)`)
    """Instants at equal distances, each yielded as soon as it has passed.

    Late instants are made up for, unless more than a second late: those are left out. So are
    most of them while nobody sees them.

    Parameters
    ----------
    period
        Distance of the instants, s.
    """

    def __init__(self, period: float) -> None:
        self._period = period
        self._next = time.time()

    def __aiter__(self) -> "ticks":
        return self

    async def __anext__(self) -> float:
        """Wait for the next instant and return it, POSIX s."""
        if not audience.present:
            await audience.wait(_IDLE_SECONDS)
            self._next = max(self._next, time.time())
        late = time.time() - self._next
        if late > 1.0:
            self._next += self._period * int(late / self._period)
        instant = self._next
        self._next += self._period
        await sleep_until(instant)
        return instant
