"""A pulse generator on the trigger line: equidistant triggers without a position to compare."""

import asyncio
import time

import numpy as np

from .channels import Database
from .jobs import LEAD_SECONDS, Job, ticks
from .trigger_line import TriggerLine

__all__ = ["PulseGenerator"]

_TICK_SECONDS = 0.01


class PulseGenerator:
    """Sends trains of pulses at exact times.

    ``PULSE:Start`` begins a train of ``PULSE:Number`` pulses (0: until ``PULSE:Stop``), one each
    ``PULSE:Period`` s, each ``PULSE:Width`` s long; ``PULSE:Sent`` counts them, and
    ``PULSE:First`` is the time of the first (POSIX s).

    Parameters
    ----------
    database
        Where the process variables are added.
    line
        Where the pulses go.
    """

    def __init__(self, database: Database, line: TriggerLine) -> None:
        self._line = line
        self._job = Job()
        self._number = database.integer("PULSE:Number", 10, writable=True)
        self._period = database.number(
            "PULSE:Period", 0.01, "s", 6, accept=lambda value: value if value > 0 else None
        )
        self._width = database.number("PULSE:Width", 1e-3, "s", 6, writable=True)
        self._sent = database.integer("PULSE:Sent", 0)
        self._first = database.number("PULSE:First", 0.0, "s", 6)
        database.integer("PULSE:Start", 0, on_put=self._start)
        database.integer("PULSE:Stop", 0, on_put=self._stop)

    async def close(self) -> None:
        """End the train."""
        await self._job.stop()

    async def _start(self, _: int) -> None:
        await self._job.stop()
        await self._sent.post(0)
        first = time.time() + LEAD_SECONDS
        await self._first.post(first + self._first.clock.offset)
        await self._job.start(self._send(first))

    async def _stop(self, _: int) -> None:
        await self._job.stop()

    async def _send(self, first: float) -> None:
        number, period = int(self._number.value), float(self._period.value)
        sent = 0
        async for now in ticks(_TICK_SECONDS):
            due = int((now - first) / period) + 1 if now >= first else 0
            due = min(due, number) if number else due
            if due > sent:
                edges = first + period * np.arange(sent, due, dtype=np.float64)
                self._line.send(np.asarray(edges, np.float64), float(self._width.value))
                sent = due
                await self._sent.post(sent)
            if number and sent >= number:
                return
            await asyncio.sleep(0)
