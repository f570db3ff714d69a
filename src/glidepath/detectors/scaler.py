"""The scaler record: counts for a preset time, one point after the other."""

from collections.abc import Mapping

from ophyd_async.core import AsyncStatus, SignalR, StandardReadable
from ophyd_async.core import StandardReadableFormat as Format

from glidepath.devices.signals import signal_r, signal_rw

ALLOWANCE = 5.0
"""Seconds beyond the preset time within which counting must have ended."""


class Scaler(StandardReadable):
    """A bank of counters that start and stop together (scaler record reference, synApps).

    For step scans and `count`: each trigger counts for the preset time. The record has no memory of
    frames and no input for triggers, so it is a readable device and no ``StandardDetector``; the
    `Counter` in front of the same record is one.

    Parameters
    ----------
    prefix
        Name of the record, for example ``"CNT1:scaler1"``.
    name
        Name of the device; its columns are ``<name>_<input>``.
    inputs
        Number of an input -> its name.

    Attributes
    ----------
    preset
        ``TP``: how long it counts, s.
    elapsed
        ``T``: how long it has counted, s.
    counting
        ``CNT``: put 1 to count; the put ends with the counting.
    automatic
        ``CONT``: ``AutoCount`` or ``OneShot``.
    counts
        ``S1`` ...: by number of the input.
    """

    def __init__(self, prefix: str, name: str = "", *, inputs: Mapping[int, str]) -> None:
        self._inputs = dict(inputs)
        self.counting = signal_rw(bool, f"{prefix}.CNT")
        self.automatic = signal_rw(str, f"{prefix}.CONT")
        self.counts = {
            number: signal_r(float, f"{prefix}.S{number}", unit="counts") for number in inputs
        }
        for number, signal in self.counts.items():
            setattr(self, f"s{number}", signal)
        self.add_readables(list(self.counts.values()), Format.HINTED_UNCACHED_SIGNAL)
        with self.add_children_as_readables(Format.UNCACHED_SIGNAL):
            # Not from the last monitor: it may come later than the end of the counting.
            self.elapsed = signal_r(float, f"{prefix}.T", unit="s")
        with self.add_children_as_readables(Format.CONFIG_SIGNAL):
            self.preset = signal_rw(float, f"{prefix}.TP", unit="s")
            self.frequency = signal_rw(float, f"{prefix}.FREQ", unit="Hz")
        super().__init__(name)

    def set_name(self, name: str, *, child_name_separator: str | None = None) -> None:
        """Name the device, and its counts like the inputs."""
        super().set_name(name, child_name_separator=child_name_separator)
        for number, signal in self.counts.items():
            signal.set_name(f"{self.name}_{self._inputs[number]}")

    @property
    def integration_time(self) -> SignalR[float]:
        """How long it counts, in seconds."""
        return self.preset

    def check_integration_time(self, seconds: float) -> None:
        """Refuse (ValueError) a time that is none."""
        if not 0 < seconds < float("inf"):
            raise ValueError(f"{self.name} cannot count for {seconds!r} s; give some seconds.")

    async def set_integration_time(self, seconds: float) -> None:
        """Set how long it counts, in s."""
        self.check_integration_time(seconds)
        await self.preset.set(seconds)

    @AsyncStatus.wrap
    async def trigger(self) -> None:
        """Count for the preset time; see `count_once`."""
        await self.count_once()

    async def count_once(self) -> None:
        """Count for the preset time.

        Raises
        ------
        TimeoutError
            If counting has not ended five seconds after that time.
        """
        within = await self.preset.get_value() + ALLOWANCE
        try:
            await self.counting.set(True, timeout=within)
        except TimeoutError as error:
            raise TimeoutError(f"{self.name} did not end counting within {within:g} s.") from error


__all__ = ["Scaler"]
