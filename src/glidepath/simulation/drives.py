"""Simulated axes and power supplies: a setpoint, a readback that follows it, and often a status."""

import asyncio
import time

import numpy as np

from .channels import Database, Number
from .jobs import Job

__all__ = ["Drive", "Hexapod", "Status"]

FAULTS = ("none", "stuck", "late status", "no status", "stops short", "tripped")
PERIOD = 0.05
LATE_SECONDS = 1.0


class Status:
    """A status that drives share: busy while any of them moves.

    Parameters
    ----------
    database
        Where the process variable is added.
    name
        Its name.
    busy
        Its value while something moves; it is ``1 - busy`` otherwise.
    """

    def __init__(self, database: Database, name: str, busy: int = 1) -> None:
        self._channel, self._busy = database.integer(name, 1 - busy), busy
        self._moving: set[object] = set()

    async def show(self, drive: object, moving: bool) -> None:
        """Say of one of the drives whether it moves."""
        (self._moving.add if moving else self._moving.discard)(drive)
        await self._channel.change(self._busy if self._moving else 1 - self._busy)


class Drive:
    """One axis or supply that goes to its setpoint at a constant velocity.

    Parameters
    ----------
    database
        Where the process variables are added.
    name
        Under which its fault is set: ``FAULT:<name>``, one of `FAULTS`.
    setpoint, readback
        Names of its process variables.
    status
        Name of its status, or one that it shares with others; None: it has none.
    unit
        Unit of the positions.
    position
        Where it is at the beginning.
    limits
        Drive limits; a value outside is not taken.
    velocity
        Units per second.
    noise
        Standard deviation of the readback.
    stop
        Name of a command that stops it; None: it has none.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        setpoint: str,
        readback: str,
        status: str | Status | None = None,
        *,
        unit: str = "mm",
        position: float = 0.0,
        limits: tuple[float, float] = (-25.0, 25.0),
        velocity: float = 4.0,
        noise: float = 0.0,
        stop: str | None = None,
    ) -> None:
        self._velocity, self._noise = velocity, noise
        self._generator = np.random.default_rng(len(database))
        self.position = position
        self.setpoint: Number = database.number(
            setpoint, position, unit, limits=limits, on_put=self.go
        )
        self._readback = database.number(readback, position, unit)
        self._status = Status(database, status) if isinstance(status, str) else status
        if stop is not None:
            database.integer(stop, 0, on_put=self._on_stop)
        self.fault = database.choice(f"FAULT:{name}", "none", FAULTS, on_put=self._on_fault)
        self._job, self._late = Job(), set[asyncio.Task[None]]()

    async def go(self, target: float) -> None:
        """Begin to move."""
        if self.fault.value not in ("stuck", "tripped"):
            await self._job.start(self._move(float(target)))

    async def _on_stop(self, _: int) -> None:
        await self._job.stop()
        await self._show_status(False)

    async def _on_fault(self, fault: str) -> None:
        if fault == "tripped":
            await self._job.stop()
            self.position = 0.0
            await self._readback.post(0.0)

    async def _move(self, target: float) -> None:
        await self._show_status(True)
        if self.fault.value == "stops short":
            target = (self.position + target) / 2
        origin, start = self.position, time.time()
        way = target - origin
        duration = abs(way) / self._velocity
        while (elapsed := time.time() - start) < duration:
            self.position = origin + way * elapsed / duration
            await self._readback.post(self._seen())
            await asyncio.sleep(PERIOD)
        self.position = target
        await self._readback.post(self._seen())
        await self._show_status(False)

    def _seen(self) -> float:
        return self.position + self._noise * float(self._generator.standard_normal())

    async def _show_status(self, moving: bool) -> None:
        if self._status is None or self.fault.value == "no status":
            return
        if self.fault.value == "late status":
            task = asyncio.create_task(self._show_later(moving))
            self._late.add(task)
            task.add_done_callback(self._late.discard)
        else:
            await self._status.show(self, moving)

    async def _show_later(self, moving: bool) -> None:
        assert self._status is not None
        await asyncio.sleep(LATE_SECONDS)
        await self._status.show(self, moving)

    async def close(self) -> None:
        """End all work."""
        await self._job.stop()
        for task in self._late:
            task.cancel()


class Hexapod:
    """Six axes that start at once, when the pose is complete.

    Parameters
    ----------
    database
        Where the process variables are added.
    name
        Its prefix, such as ``"HEX1:"``.

    Notes
    -----
    With ``hexapod:mbboRunAfterValue`` at 1 every new value starts a move, at 0 none does.
    ``hexapod:setPoseA.PROC`` starts one at 1 only. ``TRUTH:<name>`` counts the moves.
    """

    def __init__(self, database: Database, name: str) -> None:
        self._mode = database.integer(f"{name}hexapod:mbboRunAfterValue", 1, writable=True)
        self._running = database.integer(f"{name}multiaxis:running", 0)
        self._moves = database.integer(f"TRUTH:{name.rstrip(':')}", 0)
        self.fault = database.choice(f"FAULT:{name.rstrip(':')}", "none", FAULTS, writable=True)
        self._axes = {}
        for axis in "XYZABC":
            setpoint = database.number(
                f"{name}hexapod:setPose{axis}",
                0.0,
                "mm" if axis in "XYZ" else "mrad",
                limits=(-20.0, 20.0),
                on_put=self._on_value,
            )
            self._axes[axis] = (
                setpoint,
                database.number(
                    f"{name}hexapod:getReadPose{axis}", 0.0, "mm" if axis in "XYZ" else "mrad"
                ),
            )
        database.integer(f"{name}hexapod:setPoseA.PROC", 0, on_put=self._on_value)
        database.text(f"{name}pmac.AOUT", "", on_put=self._on_abort)
        self._job = Job()

    async def _on_value(self, _: float) -> None:
        if self._mode.value and self.fault.value != "stuck":
            await self._moves.post(self._moves.value + 1)
            await self._job.start(self._move())

    async def _on_abort(self, _: str) -> None:
        await self._job.stop()
        await self._running.change(0)

    async def _move(self) -> None:
        await self._running.change(1)
        begin = {axis: float(readback.value) for axis, (_, readback) in self._axes.items()}
        ends = {axis: float(setpoint.value) for axis, (setpoint, _) in self._axes.items()}
        duration = max(abs(ends[axis] - begin[axis]) for axis in begin) / 4.0
        start = time.time()
        share = 0.0
        stop_at = 0.5 if self.fault.value == "stops short" else 1.0
        while share < stop_at:
            await asyncio.sleep(PERIOD)
            share = min((time.time() - start) / max(duration, PERIOD), stop_at)
            for axis, (_, readback) in self._axes.items():
                await readback.post(begin[axis] + share * (ends[axis] - begin[axis]))
        if self.fault.value != "no status":
            await self._running.change(0)

    async def close(self) -> None:
        """End all work."""
        await self._job.stop()
