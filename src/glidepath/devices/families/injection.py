"""The injection engine: fills the ring up to a current, and is off again however that ends."""

from collections.abc import AsyncIterator, Mapping

from bluesky.protocols import Locatable, Location, Stoppable
from ophyd_async.core import StandardReadable, WatchableAsyncStatus, WatcherUpdate, soft_signal_rw
from ophyd_async.core import StandardReadableFormat as Format

from glidepath.devices.generic import pv_names
from glidepath.devices.generic.work import Work
from glidepath.devices.positioning import MotionError, check_range, disconnected
from glidepath.devices.signals import NoAnswerError, ask, signal_r, signal_rw, tell, watch

__all__ = ["InjectionEngine"]

ON, OFF = "ON", "OFF"

GLIMPSE = 1.0
"""Seconds that a report of progress may wait for the current."""


class InjectionEngine(StandardReadable, Locatable[float], Stoppable):
    """Injects until the ring has a current in mA, and then no more.

    Parameters
    ----------
    prefix
        Prefix of the process variables, for example ``"TOPUPCC:"``.
    name
        Name of the device and of the current in the data.
    pvs
        PV names that differ from the defaults: ``state`` (``"{}state"``), ``current``
        (``"{}rdCur"``).
    highest
        mA that may be asked for.
    timeout
        Seconds within which the current must be reached.
    """

    def __init__(
        self,
        prefix: str,
        name: str = "",
        *,
        pvs: Mapping[str, str] | None = None,
        highest: float = 300.0,
        timeout: float = 60.0,
    ) -> None:
        names = pv_names(prefix, {"state": "{}state", "current": "{}rdCur"}, pvs)
        self._highest, self._timeout, self._work = highest, timeout, Work()
        self.state = signal_rw(str, names["state"], wait=False)
        self.target = soft_signal_rw(float, units="mA")
        with self.add_children_as_readables(Format.HINTED_SIGNAL):
            self.current = signal_r(float, names["current"], unit="mA")
        super().__init__(name)

    async def locate(self) -> Location[float]:
        """Return the current that was asked for last, and the present one, in mA."""
        return Location(setpoint=await self.target.get_value(), readback=await ask(self.current))

    @WatchableAsyncStatus.wrap
    async def set(self, value: float) -> AsyncIterator[WatcherUpdate[float]]:
        """Inject until the current is reached; with more than that already, do nothing.

        Raises
        ------
        ValueError
            If more is asked for than may be.
        MotionError
            If the current is not reached in time.
        """
        check_range(self.name, value, (0.0, self._highest), "mA")
        await self.target.set(value)
        initial = await ask(self.current)
        async for _ in self._work.steps(self.name, self._fill(value)):
            try:
                now = await ask(self.current, GLIMPSE)
            except NoAnswerError:
                # What comes of it is said by the work itself.
                continue
            yield WatcherUpdate(now, initial, value, self.name, "mA")

    async def _fill(self, target: float) -> None:
        async with watch(self.current) as seen:
            if seen.value(self.current) >= target:
                return
            try:
                await tell(self.state, ON)
                filled = await seen.until(lambda: seen.value(self.current) >= target, self._timeout)
            finally:
                await tell(self.state, OFF)
            if not filled:
                raise MotionError(
                    f"{self.name} did not reach {target:g} mA within {self._timeout:g} s: "
                    f"{self.current.source} is {seen.value(self.current):g} mA"
                    f"{disconnected(self.current)}."
                )

    async def stop(self, success: bool = False) -> None:
        """Inject no more."""
        await self._work.give_up(success)
        await tell(self.state, OFF)
