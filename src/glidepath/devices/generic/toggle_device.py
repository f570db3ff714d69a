"""Valves and shutters with one command that toggles them: toggled once, and only when it helps.

A command that toggles is dangerous: sent to a valve that is opening, or twice, it does the
opposite of what was wanted. The rules here:

- a movement, or a pulse that the controller has not taken yet, is waited for before anything is
  decided;
- a status that is older than the last pulse, whoever sent it, is not believed until it is
  renewed. If that does not happen within the time by which it may be late, nobody knows where the
  valve is: that is an error, and nothing is toggled;
- one call sends one pulse at most. What does not come to its end is an error that names the
  state; it is never tried again.

Channel Access cannot test and set in one step: two clients that decide within the same few
milliseconds can both send a pulse. A `ResourceLock` excludes that where it matters.
"""

from collections.abc import Mapping
from contextlib import AsyncExitStack

from ophyd_async.core import Device, Reference

from glidepath.devices.signals import Watch, ask, signal_r, signal_rw, tell, watch

from .names import pv_names
from .resource_lock import ResourceLock
from .states import ERROR, FOUR_BITS, MOVING, StateTable, settled_error
from .two_states import EPICS_EPOCH, LONGEST_PULSE, Barrier

__all__ = ["ToggleDevice"]


class ToggleDevice(Barrier):
    """A valve or shutter with a command that toggles it and a status that says where it is.

    Set to ``"open"`` or ``"closed"`` it is toggled once, or not at all if it is there already.

    Parameters
    ----------
    prefix
        Prefix of the process variables, for example ``"V03V01U012L:"``.
    name
        Name of the device and of its state in the data.
    pvs
        PV names that differ from the defaults: ``toggle`` (``"{}SetTa"``), ``status``
        (``"{}State1"``); ``{}`` stands for the prefix.
    states
        What the values of the status mean.
    travel
        Seconds within which it opens or closes.
    lateness
        Seconds by which the status may be late. A status that was not renewed so long after a
        pulse is not believed: a movement, or a record that is processed again, renews it.
        That is told by time stamps: the clocks of both PVs must agree.
    lock
        Held while it is toggled, where several clients may do so.

    Attributes
    ----------
    position
        ``"open"``, ``"closed"``, ``"moving"`` or ``"error"``.
    status
        The number that says so.
    toggle
        1 toggles; 0 again when the controller has taken the command.

    Raises
    ------
    MotionError
        By the status of ``set``: in fault, still moving, not there in time, moved back, or with a
        status that is older than the last pulse.

    Examples
    --------
    >>> valve = ToggleDevice("V03V01U012L:", "valve")
    >>> RE(bps.mv(valve, "open"))  # doctest: +SKIP
    """

    def __init__(
        self,
        prefix: str,
        name: str = "",
        *,
        pvs: Mapping[str, str] | None = None,
        states: StateTable = FOUR_BITS,
        travel: float = 10.0,
        lateness: float = 3.0,
        lock: ResourceLock | None = None,
    ) -> None:
        names = pv_names(prefix, {"toggle": "{}SetTa", "status": "{}State1"}, pvs)
        self._travel, self._lateness = travel, lateness
        self._lock = None if lock is None else Reference(lock)
        self._edge = 0.0
        self.toggle = signal_rw(int, names["toggle"], wait=False)
        super().__init__(signal_r(int, names["status"]), states, name)

    def parts(self) -> list[Device]:
        """Return the devices that this one refers to: they must be connected as well."""
        return [] if self._lock is None else [self._lock()]

    async def _bring(self, target: str) -> None:
        async with AsyncExitStack() as stack:
            if self._lock is not None:
                await stack.enter_async_context(self._lock().held())
            seen = await stack.enter_async_context(watch(self.status, self.toggle))
            await self._decide(target, seen)

    async def _decide(self, target: str, seen: Watch) -> None:
        """Toggle it if that is what brings it to the state."""

        def meaning() -> str:
            return self.states.meaning(seen.value(self.status))

        await self._until_at_rest(target, seen)
        if not await self._believable(seen):
            raise self._sentence(
                target,
                seen,
                f"was not toggled, for its status was not renewed within {self._lateness:g} s of "
                "the last pulse, so that nobody knows where it is; look at it, and move it by "
                "hand or let its status be processed",
            )
        await self._until_at_rest(target, seen)
        if meaning() == target:
            return
        if meaning() == ERROR and await settled_error(seen, meaning):
            raise self._sentence(target, seen, "is in fault, so that it was not toggled")
        # What a monitor has shown may be a moment old; the server itself is right.
        if await ask(self.toggle) or await self.state() != meaning():
            raise self._sentence(target, seen, "was being moved by somebody else; set it again")
        await self._pulse(target, seen)

    async def _until_at_rest(self, target: str, seen: Watch) -> None:
        """Wait until nothing moves, and no pulse is under way, whoever sent it."""

        def at_rest() -> bool:
            moving = self.states.meaning(seen.value(self.status)) == MOVING
            return not moving and not seen.value(self.toggle)

        if not await seen.until(at_rest, self._travel):
            what = f"was still moving after {self._travel:g} s, so that it was not toggled"
            raise self._sentence(target, seen, what)

    async def doubt(self) -> str:
        """Return why what its status shows cannot be believed; empty if it can."""
        async with watch(self.status, self.toggle) as seen:
            if await self._believable(seen):
                return ""
            return (
                f"its status was not renewed within {self._lateness:g} s of the last pulse: "
                f"{self._shown(seen)}"
            )

    async def _believable(self, seen: Watch) -> bool:
        """Wait until the status is newer than the last pulse; return whether it is."""
        pulsed = seen.timestamp(self.toggle)
        if pulsed <= EPICS_EPOCH:
            return True
        if await seen.until(lambda: seen.timestamp(self.status) >= pulsed, self._lateness):
            return True
        # Of a pulse that is over only the end may be known, and what is fast was there before it.
        end = seen.timestamp(self.toggle)
        begin = end if seen.value(self.toggle) else end - LONGEST_PULSE
        return await self._renewed(seen, max(begin, min(self._edge, end)))

    def _note_edge(self, seen: Watch) -> bool:
        if seen.value(self.toggle):
            self._edge = seen.timestamp(self.toggle)
        return False

    async def _pulse(self, target: str, seen: Watch) -> None:
        seen.latch(lambda: self._note_edge(seen))
        # If this fails, nobody knows whether the pulse has arrived: it is not sent again.
        await tell(self.toggle, 1)
        reached = await self._arrive(target, seen, self._travel + self._lateness)
        if reached == target:
            return
        if reached == ERROR:
            raise self._sentence(target, seen, "went into fault after it was toggled")
        if self._edge and not await self._renewed(seen, self._edge):
            raise self._sentence(
                target,
                seen,
                "its status was not renewed after it was toggled once, so that nobody knows where "
                "it is; look at it before you set it again",
            )
        raise self._sentence(
            target,
            seen,
            "did not get there after it was toggled once; an interlock or somebody else may have "
            "moved it, so look at it before you set it again",
        )
