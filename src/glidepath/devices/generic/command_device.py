"""Valves and shutters with one command to open and one to close, permits and a fault."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ophyd_async.core import AsyncStatus, DeviceVector

from glidepath.devices.positioning import MotionError
from glidepath.devices.signals import Watch, ask, signal_r, signal_rw, tell, watch

from .names import pv_names
from .states import CLOSED, ERROR, OPEN, TWO_SWITCHES, StateTable, settled_error
from .two_states import EPICS_EPOCH, LONGEST_PULSE, Barrier

__all__ = ["CommandDevice", "Permit"]


@dataclass(frozen=True)
class Permit:
    """Something that must be so before a device may be opened.

    Attributes
    ----------
    pv
        Name of the PV; ``{}`` stands for the prefix of the device.
    granted
        Its value when the permit is given.
    meaning
        What is missing otherwise, for messages, such as ``"the hutch is not searched"``.
    """

    pv: str
    granted: int = 1
    meaning: str = ""


class CommandDevice(Barrier):
    """A valve or shutter that has a command to open and one to close.

    Parameters
    ----------
    prefix
        Prefix of the process variables, for example ``"PSH01:"``.
    name
        Name of the device and of its state in the data.
    pvs
        PV names that differ from the defaults: ``open`` (``"{}open"``), ``close``
        (``"{}close"``), ``status`` (``"{}State"``), ``reset`` (``"{}reset"``).
    states
        What the values of the status mean.
    permits
        What must be so before it may be opened. Closing needs no permit.
    resettable
        Whether it has a command that resets a fault.
    travel
        Seconds within which it opens or closes. A status that says the opposite of a newer
        command, and was not renewed so long, is not believed.

    Attributes
    ----------
    position
        ``"open"``, ``"closed"``, ``"moving"`` or ``"error"``.

    Raises
    ------
    MotionError
        By the status of ``set``: no permit, a permit withdrawn, in fault, not there in time.
    """

    def __init__(
        self,
        prefix: str,
        name: str = "",
        *,
        pvs: Mapping[str, str] | None = None,
        states: StateTable = TWO_SWITCHES,
        permits: Sequence[Permit] = (),
        resettable: bool = False,
        travel: float = 10.0,
    ) -> None:
        defaults = {key: f"{{}}{key}" for key in ("open", "close", "reset")}
        names = pv_names(prefix, {**defaults, "status": "{}State"}, pvs)
        self._travel, self._permits = travel, tuple(permits)
        self._commands = {
            OPEN: signal_rw(int, names["open"], wait=False),
            CLOSED: signal_rw(int, names["close"], wait=False),
        }
        self.open_command, self.close_command = self._commands[OPEN], self._commands[CLOSED]
        self.reset_command = signal_rw(int, names["reset"], wait=False) if resettable else None
        self.permits = DeviceVector(
            {
                number: signal_r(int, permit.pv.replace("{}", prefix))
                for number, permit in enumerate(self._permits, 1)
            }
        )
        super().__init__(signal_r(int, names["status"]), states, name)

    async def check_value(self, value: str) -> None:
        """Refuse what is not a state (ValueError), and to open without a permit (MotionError)."""
        await super().check_value(value)
        if value == OPEN:
            given = [await ask(signal) for signal in self.permits.values()]
            if missing := self.missing_permits(given):
                raise MotionError(
                    f"{self.name} may not be opened, for {missing}; see to that first."
                )

    def missing_permits(self, given: Sequence[int]) -> str:
        """Return, of the values of the permits, which are missing: a part of a sentence."""
        return " and ".join(
            permit.meaning or f"{signal.source} is {value}, not {permit.granted}"
            for permit, signal, value in zip(
                self._permits, self.permits.values(), given, strict=True
            )
            if value != permit.granted
        )

    async def _bring(self, target: str) -> None:
        signals = (self.status, *self._commands.values(), *self.permits.values())
        async with watch(*signals) as seen:
            await self._decide(target, seen)

    async def doubt(self) -> str:
        """Return why what its status shows cannot be believed; empty if it can."""
        async with watch(self.status, *self._commands.values()) as seen:
            told = self._contradiction(seen)
            if not told:
                return ""
            since = seen.timestamp(self._commands[told])
            if await seen.until(lambda: not self._contradiction(seen), self._travel):
                return ""
            if await self._renewed(seen, since):
                return ""
            return (
                f"it was told to be {told} and its status was not renewed within "
                f"{self._travel:g} s: {self._shown(seen)}"
            )

    def _contradiction(self, seen: Watch) -> str:
        """Return the state of a command that is newer than a status that shows another one."""
        shown = self.states.meaning(seen.value(self.status))
        for state, command in self._commands.items():
            # A command that has gone back to 0 was given a little before that.
            begin = seen.timestamp(command) - LONGEST_PULSE * (not seen.value(command))
            known = max(seen.timestamp(self.status), EPICS_EPOCH)
            if state != shown and begin > known:
                return state
        return ""

    async def _decide(self, target: str, seen: Watch) -> None:
        def meaning() -> str:
            return self.states.meaning(seen.value(self.status))

        def missing() -> str:
            given = [seen.value(signal) for signal in self.permits.values()]
            return self.missing_permits(given) if target == OPEN else ""

        doubtful = bool(self._contradiction(seen))
        if meaning() == target and not doubtful:
            return
        if meaning() == ERROR and await settled_error(seen, meaning):
            raise self._sentence(target, seen, "is in fault; trigger it to reset the fault")
        first = seen.timestamp(self.status)

        def heard() -> bool:
            return not doubtful or seen.timestamp(self.status) > first

        await tell(self._commands[target], 1)
        reached = await self._arrive(target, seen, self._travel, lambda: bool(missing()), heard)
        if reached == target:
            if heard() or await self._renewed(seen, seen.timestamp(self._commands[target])):
                return
            raise self._sentence(
                target,
                seen,
                f"its status was not renewed within {self._travel:g} s of the command, so that "
                "nobody knows where it is; look at it",
            )
        if missing():
            raise self._sentence(target, seen, f"lost its permit, for {missing()}")
        raise self._sentence(target, seen, f"did not get there within {self._travel:g} s")

    @AsyncStatus.wrap
    async def trigger(self) -> None:
        """Reset a fault, and wait until there is none.

        Raises
        ------
        MotionError
            If it cannot be reset, or is still in fault afterwards.
        """
        if self.reset_command is None:
            raise MotionError(f"{self.name} has no command that resets a fault; reset it by hand.")
        async with watch(self.status) as seen:
            await tell(self.reset_command, 1)
            if not await seen.until(
                lambda: self.states.meaning(seen.value(self.status)) != ERROR, self._travel
            ):
                raise MotionError(
                    f"{self.name} is still in fault {self._travel:g} s after its reset: "
                    f"{self.status.source} is {seen.value(self.status)}."
                )
