"""Knows from outside what the axes and the light truly do: no server takes it with it."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .beam import Beam, Photocurrent
from .link import LinkReader

__all__ = ["Witness"]

_KEPT_SECONDS = 3600.0


class Witness:
    """Listens on a beamline's private link in a thread of its own, while it is entered.

    An optics server that is killed leaves its axes on their way: they go where they were sent,
    as a controller does whose IOC has died. When it starts again, its axes are new ones.

    Parameters
    ----------
    link_port
        Port from the beamline's settings.
    """

    def __init__(self, link_port: int) -> None:
        self._port = link_port
        # Since when (POSIX s) which axes hold; one entry for each connection to a server.
        self._epochs: list[tuple[float, LinkReader]] = []
        self._known = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._work, name="witness", daemon=True)

    def __enter__(self) -> "Witness":
        self._thread.start()
        if not self._known.wait(10.0):
            self.__exit__(None, None, None)
            raise TimeoutError("The optics of the simulated beamline do not say where they are.")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join()
        self._loop.close()

    def _work(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._task = self._loop.create_task(self._listen())
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._task)

    async def _listen(self) -> None:
        while True:
            reader = LinkReader(kept_seconds=_KEPT_SECONDS)
            await reader.listen(self._port, partial(self._begin, reader))
            await asyncio.sleep(0.02)

    def _begin(self, reader: LinkReader) -> None:
        self._epochs.append((time.time() if self._epochs else 0.0, reader))
        self._known.set()

    def positions(self, axis: str, time: ArrayLike) -> NDArray[np.float64]:
        """Position of an axis at ``time`` (POSIX s of the host's clock, any shape)."""
        return self._look(time, lambda reader, times: reader.axes[axis].positions(times))

    def current(self, detector: Photocurrent, time: ArrayLike) -> NDArray[np.float64]:
        """Current in A that the light gives in a detector, without noise, as `positions`."""

        def current(reader: LinkReader, times: NDArray[np.float64]) -> NDArray[np.float64]:
            beam = Beam(reader)
            return detector(beam, times, beam.energy(times))

        return self._look(time, current)

    def _look(
        self,
        time: ArrayLike,
        at: Callable[[LinkReader, NDArray[np.float64]], NDArray[np.float64]],
    ) -> NDArray[np.float64]:
        times = np.asarray(time, np.float64)
        found = np.empty(times.shape)

        async def look() -> None:
            # In the thread that plans the axes.
            for since, reader in self._epochs:
                now = times >= since
                if np.any(now):
                    found[now] = at(reader, times[now])

        asyncio.run_coroutine_threadsafe(look(), self._loop).result()
        return found
