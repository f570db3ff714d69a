"""Staging that takes a while, and that a plan may leave before it is over."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from .positioning import end_task


class Staging:
    """What a device does to be staged, which its unstaging ends.

    A plan that is stopped while a device is being staged unstages it at once. Without this the
    rest of the staging would come after that, and stay.
    """

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    async def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work; return without an error if `end` has cut it short."""
        self._task = task = asyncio.ensure_future(work)
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            await end_task(task)
            raise
        if not task.cancelled():
            task.result()

    async def end(self) -> None:
        """Cut the work short, if it is not done, and wait until it has ended."""
        await end_task(self._task)


__all__ = ["Staging"]
