"""Whether anybody can see what a server does, so that one without clients costs next to nothing."""

import asyncio
import time
from collections.abc import Awaitable, Callable

__all__ = ["LINGER_SECONDS", "Audience", "audience"]

LINGER_SECONDS = 60.0
"""A server works as before for so long after its last client has left, which may come back."""


class Audience:
    """Counts the clients of a server process.

    A process that does not count them is always seen.

    Attributes
    ----------
    on_arrival
        Awaited when somebody comes after a time without anybody, before the first answer: what
        was left out meanwhile, and would be noticed, is made up for.
    """

    def __init__(self) -> None:
        self.on_arrival: list[Callable[[], Awaitable[None]]] = []
        self._counting = False
        self._clients = 0
        self._seen_until = 0.0
        self._waiting: set[asyncio.Future[None]] = set()

    async def count(self) -> None:
        """Make it matter who is there, from now on; who left a moment ago was a test."""
        for _ in range(100):
            if not self._clients:
                break
            await asyncio.sleep(0.001)
        self._counting, self._seen_until = True, 0.0

    @property
    def present(self) -> bool:
        """Whether somebody is there, or was a moment ago."""
        return not self._counting or self._clients > 0 or time.monotonic() < self._seen_until

    async def arrive(self) -> None:
        """A client has come."""
        alone = not self.present
        self._clients += 1
        if alone:
            for make_up in self.on_arrival:
                await make_up()
            for future in self._waiting:
                _end(future)

    def leave(self) -> None:
        """A client has gone."""
        self._clients -= 1
        self._seen_until = time.monotonic() + LINGER_SECONDS

    async def wait(self, seconds: float) -> None:
        """Wait until somebody comes, for so many seconds at most."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(seconds, _end, future)
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)
            timer.cancel()


def _end(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


audience = Audience()
"""That of this process."""
