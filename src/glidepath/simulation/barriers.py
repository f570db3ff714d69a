"""The simulated valves and shutters: toggled or commanded, with the faults that real ones have.

What happens to a second pulse while the first is still shown (``SetTa`` is 1) is a guess: it has
no rising edge, so that it does nothing. Any other pulse counts, during a movement too: the
movement turns round.
"""

import asyncio
import time

from .channels import Database
from .jobs import Job, sleep_until
from .motion import FOREVER, Axis, Segment

__all__ = ["OPEN", "CommandedShutter", "ToggledValve"]

FAULTS = ("none", "stuck", "late status", "no status", "half-way", "switch fault", "goes back")
PULSE_SECONDS = 0.2
LATE_SECONDS = 2.0
OPEN, CLOSED, MOVING, FAULT = "open", "closed", "moving", "fault"
FOUR_BITS = {OPEN: 14, CLOSED: 5, MOVING: 4, FAULT: 7}
TWO_SWITCHES = {OPEN: 2, CLOSED: 1, MOVING: 0, FAULT: 3}


class _Plate:
    """What moves in and out of the beam, and the switches that show where it is."""

    def __init__(
        self,
        database: Database,
        name: str,
        status: str,
        codes: dict[str, int],
        travel: float,
        place: str,
    ) -> None:
        self.axis = Axis(name.rstrip(":"), float(place == OPEN))
        self.codes, self.travel = codes, travel
        self.place, self.target = place, place
        self._status = database.integer(f"{name}{status}", codes[place])
        self.fault = database.choice(
            f"FAULT:{name.rstrip(':')}", "none", FAULTS, on_put=self._on_fault
        )
        self.job, self._late = Job(), set[asyncio.Task[None]]()

    async def go(self, target: str) -> None:
        """Begin to move to the target."""
        if self.fault.value == "stuck":
            # Its controller goes on to look at the switches, which have not changed.
            await self._status.post(self._status.value)
            return
        self.target = target
        await self.job.start(self._move())

    async def _on_fault(self, fault: str) -> None:
        if fault == "none":
            # The switches are looked at anew, whatever they have shown.
            await self._status.post(self.codes[self.place])
        elif fault == "switch fault":
            await self.show(FAULT)

    async def _move(self) -> None:
        start = time.time()
        before = self.place
        self.place = MOVING
        self._glide(start, before)
        await self.show(MOVING)
        if self.fault.value == "half-way":
            return
        await sleep_until(start + self.travel)
        self.place = before if self.fault.value == "goes back" else self.target
        self.target = self.place
        await self.show(self.place)

    def _glide(self, start: float, before: str) -> None:
        """Plan how the plate moves, which does so whatever its switches show."""
        here = self.axis.position(start)
        stops = [float(self.target == OPEN)]
        if self.fault.value == "half-way":
            stops = [0.5]
        elif self.fault.value == "goes back":
            stops = [0.5, float(before == OPEN)]
        seconds, segments = self.travel / len(stops), []
        for stop in stops:
            segments.append(Segment(start, seconds, here, (stop - here) / seconds))
            start, here = start + seconds, stop
        self.axis.plan([*segments, Segment(start, FOREVER, here)])

    async def show(self, place: str) -> None:
        """Let the switches show a place, as the present fault has it."""
        fault = self.fault.value
        if fault == "switch fault":
            place = FAULT
        if fault == "late status":
            task = asyncio.create_task(self._show_later(place))
            self._late.add(task)
            task.add_done_callback(self._late.discard)
        elif fault != "no status":
            await self._status.change(self.codes[place])

    async def _show_later(self, place: str) -> None:
        await asyncio.sleep(LATE_SECONDS)
        await self._status.change(self.codes[place])

    async def close(self) -> None:
        """End all work."""
        await self.job.stop()
        for task in self._late:
            task.cancel()


class ToggledValve:
    """A valve or photon shutter whose one command toggles it.

    Parameters
    ----------
    database
        Where the process variables are added.
    name
        Its prefix, such as ``"V1:"``.
    travel
        Seconds from open to closed.
    place
        Where it is at the beginning.

    Notes
    -----
    ``SetTa`` 1 toggles and goes back to 0; ``State1`` has sixteen states. ``FAULT:<name>`` sets
    one of `FAULTS`; ``TRUTH:<name>`` counts the pulses that had an effect.

    Attributes
    ----------
    axis
        Where its plate is: 0 in the beam, 1 out of it.
    """

    def __init__(
        self, database: Database, name: str, travel: float = 0.6, place: str = CLOSED
    ) -> None:
        self._toggle = database.integer(f"{name}SetTa", 0, accept=self._edge, on_put=self._on_put)
        self._plate = _Plate(database, name, "State1", FOUR_BITS, travel, place)
        self.axis = self._plate.axis
        self._count = database.integer(f"TRUTH:{name.rstrip(':')}", 0)
        self._pulse = Job()

    def _edge(self, value: int) -> int | None:
        return None if self._toggle.value else int(value)

    async def _on_put(self, value: int) -> None:
        if value != 1:
            return
        await self._count.post(self._count.value + 1)
        plate = self._plate
        await self._pulse.start(self._end_pulse())
        await plate.go(CLOSED if plate.target == OPEN else OPEN)

    async def _end_pulse(self) -> None:
        await asyncio.sleep(PULSE_SECONDS)
        await self._toggle.post(0)

    async def close(self) -> None:
        """End all work."""
        await self._pulse.stop()
        await self._plate.close()


class CommandedShutter:
    """A shutter with commands to open and to close, two permits and a latched fault.

    Parameters
    ----------
    database
        Where the process variables are added.
    name
        Its prefix, such as ``"BS1:"``.
    travel
        Seconds from open to closed.
    place
        Where it is at the beginning.

    Notes
    -----
    It closes by itself when a permit is withdrawn. A fault stays until ``reset``; an open command
    without a permit, or in fault, does nothing. ``TRUTH:<name>`` counts the open commands.

    Attributes
    ----------
    axis
        Where its plate is: 0 in the beam, 1 out of it.
    """

    def __init__(
        self, database: Database, name: str, travel: float = 0.6, place: str = CLOSED
    ) -> None:
        self._plate = _Plate(database, name, "State", TWO_SWITCHES, travel, place)
        self.axis = self._plate.axis
        self._permits = [
            database.integer(f"{name}permit{number}", 1, on_put=self._on_permit)
            for number in (1, 2)
        ]
        self._opened = database.integer(f"TRUTH:{name.rstrip(':')}", 0)
        for command in ("open", "close", "reset"):
            database.integer(f"{name}{command}", 0, on_put=getattr(self, f"_{command}"))

    async def _on_permit(self, value: int) -> None:
        if not value:
            await self._plate.go(CLOSED)

    async def _open(self, value: int) -> None:
        await self._opened.post(self._opened.value + 1)
        permitted = all(permit.value for permit in self._permits)
        if value and permitted and self._plate.fault.value != "switch fault":
            await self._plate.go(OPEN)

    async def _close(self, value: int) -> None:
        if value:
            await self._plate.go(CLOSED)

    async def _reset(self, value: int) -> None:
        if value and self._plate.fault.value == "switch fault":
            await self._plate.fault.post("none")
            await self._plate.show(self._plate.place)

    async def close(self) -> None:
        """End all work."""
        await self._plate.close()
