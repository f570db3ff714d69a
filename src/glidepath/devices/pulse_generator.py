"""A pulse generator that triggers detectors without an axis that moves: for their acceptance."""

from typing import Protocol, runtime_checkable

from ophyd_async.core import StandardReadable
from ophyd_async.core import StandardReadableFormat as Format

from .signals import signal_r, signal_rw


@runtime_checkable
class Pulses(Protocol):
    """What sends pulses to the detectors' trigger inputs."""

    @property
    def name(self) -> str:
        """Name of the device."""
        ...

    async def send(self, number: int, period: float, width: float) -> float:
        """Begin to send pulses, one each ``period`` s, ``width`` s long.

        Returns the time of the first (POSIX s, clock of its server); NaN if that is not known.
        """
        ...

    async def stop(self) -> None:
        """Send no more pulses."""
        ...


class PulseGenerator(StandardReadable):
    """Trains of pulses at exact times: the one on the trigger line of the simulated beamline.

    Parameters
    ----------
    prefix
        Prefix of the process variables, for example ``"SIM:PULSE:"``.
    name
        Name of the device.

    Attributes
    ----------
    number, period, width
        ``Number`` of the pulses, their ``Period`` and ``Width`` in s.
    first
        ``First``: time of the first one, POSIX s.
    sent
        ``Sent``: how many have been sent.
    """

    def __init__(self, prefix: str, name: str = "") -> None:
        with self.add_children_as_readables(Format.CONFIG_SIGNAL):
            self.number = signal_rw(int, f"{prefix}Number")
            self.period = signal_rw(float, f"{prefix}Period", unit="s")
            self.width = signal_rw(float, f"{prefix}Width", unit="s")
        with self.add_children_as_readables():
            self.sent = signal_r(int, f"{prefix}Sent")
            self.first = signal_r(float, f"{prefix}First", unit="s")
        self.begin = signal_rw(int, f"{prefix}Start")
        self.end = signal_rw(int, f"{prefix}Stop")
        super().__init__(name)

    async def send(self, number: int, period: float, width: float) -> float:
        """Begin to send pulses; return the time of the first; see `Pulses`."""
        await self.number.set(number)
        await self.period.set(period)
        await self.width.set(width)
        await self.begin.set(1)
        return await self.first.get_value()

    async def stop(self) -> None:
        """Send no more pulses."""
        await self.end.set(1)


__all__ = ["PulseGenerator", "Pulses"]
