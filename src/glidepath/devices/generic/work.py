"""What a device is doing at the moment: it shows progress, and can be given up."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from glidepath.devices.positioning import MotionError, end_task

__all__ = ["Work"]

PROGRESS_PERIOD = 0.2
"""Seconds between two reports of progress."""


class Work:
    """Runs one move at a time in a task that ends with whoever waits for it."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._success = False

    async def steps(self, name: str, move: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
        """Carry out a move; yield now and then, and once more when it has ended.

        Raises
        ------
        MotionError
            If it was given up and that is no success; besides, what the move raises.
        """
        self._success = False
        task = self._task = asyncio.ensure_future(move)
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=PROGRESS_PERIOD)
                yield
            if not task.cancelled():
                task.result()
            elif not self._success:
                raise MotionError(f"{name} was stopped.")
        finally:
            await end_task(task)

    async def give_up(self, success: bool) -> None:
        """End the move that is going on, if there is one."""
        self._success = success
        await end_task(self._task)
