"""Counters with a multichannel scaler, whose bins end with the pulses of a trigger box.

Process variables: ``SIS38XX.template`` of synApps mca R7-10 (SIS3801, SIS3820), whose mca or
waveform records hold as many elements as there are complete bins. ``measCompMCS.template``
(USB-CTR) has the same names but for the internal clock and the advance by software.
"""

import time
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from ophyd_async.core import Array1D, DeviceVector, SignalRW, StandardDetector

from glidepath.devices.sampled import SampledChannel, channels_for
from glidepath.devices.settings import Settings
from glidepath.devices.signals import signal_r, signal_rw, watch

from .frame_source import FrameFile, Frames, FrameSettings, TriggerMode, no_frames
from .handshake import confirm, pv_of, read_together
from .in_stock_plans import Meter, logics_of
from .limits import check_timing
from .scaler import Scaler

SPARE: Final = 64
"""Bins beyond those that are expected, so that extra pulses can be seen."""

_ADVANCE: Final = {TriggerMode.INTERNAL: "Internal", TriggerMode.EDGE: "External"}


class Counter(StandardDetector):
    """Counts between one pulse and the next: a bin for each trigger, without dead time.

    A pulse ends one bin and begins the next, so a frame lasts until the next trigger, whatever
    exposure is asked for, and n frames need n + 1 pulses. If nobody makes the last one, or it does
    not come, the last bin is ended by software one period later or a little more, or when it is
    disarmed; how long it really was is in the frame, as for all of them: one input counts the
    scaler's own clock, from which begins and ends are computed. That clock begins at
    ``HardwareAcquiring``, whose timestamp says when that was.

    A trigger that it misses makes a bin that holds two exposures; nothing in the counter tells
    that but the bin's length.

    It is ready when ``HardwareAcquiring`` says so.

    In stock plans it is a ``StandardDetector``: read once per point it is the scaler, which counts
    for its preset time, or for the ``livetime`` of ``prepare``; in a flight of several events each
    bin is an event, in a file in the data directory. Such a plan cannot know of a trigger that the
    counter missed: Glidepath's own plans can.

    Parameters
    ----------
    prefix
        Prefix of the process variables, for example ``"SIS:3820:"``.
    name
        Name of the device; its columns are ``<name>_<input>`` and ``<name>_time``, how long each
        bin was (s): divide by it to get rates.
    inputs
        Number of an input -> its name.
    scaler
        Name of the scaler record behind the prefix.
    clock_input, clock_Hz
        Input that counts the internal clock, and its rate: 25 MHz (SIS3801), 50 MHz (SIS3820).
    latency
        Seconds from the begin of counting to the timestamp of ``HardwareAcquiring``.
    ready_within
        Seconds within which it must be ready after it was started.

    Attributes
    ----------
    bins
        ``mca1`` ...: counts of the complete bins, shape (n,), by number of the input.
    bins_complete
        ``CurrentChannel``: number of complete bins.
    """

    def __init__(
        self,
        prefix: str,
        name: str = "",
        *,
        inputs: Mapping[int, str],
        scaler: str = "scaler1",
        clock_input: int = 1,
        clock_Hz: float = 50e6,
        latency: float = 0.0,
        ready_within: float = 5.0,
    ) -> None:
        if clock_input in inputs:
            raise ValueError(
                f"Input {clock_input} of {name or prefix} counts the clock, so it cannot be "
                f"{inputs[clock_input]!r} too; name another input."
            )
        self._inputs = dict(inputs)
        self._clock_input, self._clock_Hz = clock_input, clock_Hz
        self.latency, self._ready_within = latency, ready_within
        self._saved = Settings(name)
        self._started: float | None = None
        self._settings: FrameSettings | None = None
        self._delivered = 0
        self._all_seen_at: float | None = None
        self._ended_by_software = False
        self._rest: Frames | None = None
        self.scaler = Scaler(f"{prefix}{scaler}", inputs=inputs)
        self.bins = DeviceVector(
            {
                number: signal_r(Array1D[np.int32], f"{prefix}mca{number}", unit="counts")
                for number in sorted({clock_input, *inputs})
            }
        )
        self.bins_complete = signal_r(int, f"{prefix}CurrentChannel")
        self.acquiring = signal_r(bool, f"{prefix}HardwareAcquiring")
        self.start = signal_rw(int, f"{prefix}EraseStart", wait=False)
        self.halt = signal_rw(int, f"{prefix}StopAll", wait=False)
        self.update = signal_rw(int, f"{prefix}ReadAllOnce")
        self.advance_now = signal_rw(int, f"{prefix}SoftwareChannelAdvance")
        self.wanted = signal_rw(int, f"{prefix}NuseAll")
        self.largest = signal_r(int, f"{prefix}MaxChannels")
        self.advance = signal_rw(str, f"{prefix}ChannelAdvance")
        self.count_on_start = signal_rw(str, f"{prefix}CountOnStart")
        self.clock_source = signal_rw(str, f"{prefix}Channel1Source")
        self.prescale = signal_rw(int, f"{prefix}Prescale")
        self.preset = signal_rw(float, f"{prefix}PresetReal", unit="s")
        self.dwell = signal_rw(float, f"{prefix}Dwell", unit="s")
        self.add_config_signals(self.scaler.preset, self.scaler.frequency)
        counts = list(self.scaler.counts.values())
        self.add_detector_logics(
            *logics_of(
                Meter(
                    self,
                    frozenset(_ADVANCE),
                    self.scaler.count_once,
                    [*counts, self.scaler.elapsed],
                    counts,
                    self.scaler.preset,
                    self.scaler.preset,
                    self.scaler.set_integration_time,
                    lambda _: 0.0,
                )
            )
        )
        super().__init__(name)

    def set_name(self, name: str, *, child_name_separator: str | None = None) -> None:
        """Name the device, and the scaler's counts like the inputs."""
        super().set_name(name, child_name_separator=child_name_separator)
        self.scaler.set_name(name)

    async def channels(self) -> list[SampledChannel]:
        """Return the counts of the scaler, for scans that sample it."""
        return await channels_for(self.scaler)

    def columns(self) -> Mapping[str, str]:
        """Return the columns that each frame fills: name -> unit."""
        counts = {f"{self.name}_{of}": "counts" for of in self._inputs.values()}
        return {**counts, f"{self.name}_time": "s"}

    async def trigger_modes(self) -> frozenset[TriggerMode]:
        """Return what can begin an exposure."""
        return frozenset(_ADVANCE)

    ends_with_next = True

    async def dead_time(self) -> float:
        """Return 0: one bin ends where the next begins."""
        return 0.0

    async def check_frames(self, settings: FrameSettings) -> None:
        """Refuse (ValueError, one sentence) what cannot be done. Nothing is changed."""
        await check_timing(self, settings)
        largest = await self.largest.get_value() - 2
        if settings.number > largest:
            raise ValueError(
                f"{self.name} has room for {largest} frames, but {settings.number} were asked; "
                "fly fewer at a time."
            )

    async def arm(self, settings: FrameSettings) -> None:
        """Set it up; return when it says that it is counting.

        Raises
        ------
        SettingError
            If it does not confirm a setting.
        TimeoutError
            If it does not begin to count.
        """
        await self._stop()
        self._settings, self._rest = None, None
        largest = await self.largest.get_value()
        wanted: list[tuple[SignalRW[Any], Any]] = [
            (self.scaler.automatic, "OneShot"),
            (self.advance, _ADVANCE[settings.mode]),
            (self.count_on_start, "Yes"),
            (self.clock_source, "Int. clock"),
            (self.prescale, 1),
            (self.preset, 0.0),
            (self.dwell, settings.period),
            (
                self.wanted,
                min(settings.number + 1 + SPARE, largest) if settings.number else largest,
            ),
        ]
        self._saved.owner = self.name
        await self._saved.set_all(wanted)
        await self.scaler.counting.set(False)
        async with watch(self.acquiring) as seen:
            await self.start.set(1)
            if not await seen.until(lambda: seen.value(self.acquiring), self._ready_within):
                raise TimeoutError(
                    f"{self.name} did not begin to count within {self._ready_within:g} s: "
                    f"{pv_of(self.acquiring)} is still {seen.value(self.acquiring)!r}."
                )
            self._started = seen.timestamp(self.acquiring) - self.latency
        self._delivered, self._all_seen_at, self._ended_by_software = 0, None, False
        self._settings = settings

    async def frames(self) -> Frames:
        """Return the frames that came since the last call; also, once, after `disarm`."""
        if self._settings is None:
            rest, self._rest = self._rest, None
            return no_frames(self.columns()) if rest is None else rest
        await self._end_last_bin(self._settings)
        return await self._read(self._settings)

    async def _end_last_bin(self, settings: FrameSettings) -> None:
        """End the bin of the last trigger, if no trigger ends it, when its period is over."""
        if settings.mode is TriggerMode.INTERNAL or self._ended_by_software or not settings.number:
            return
        if settings.end_trigger:
            return
        # The bin before the first pulse is complete too.
        if await self.bins_complete.get_value() != settings.number:
            return
        if self._all_seen_at is None:
            self._all_seen_at = time.monotonic()
        if time.monotonic() >= self._all_seen_at + settings.period:
            self._ended_by_software = True
            await self.advance_now.set(1)

    async def _read(self, settings: FrameSettings) -> Frames:
        skipped = 1 if settings.mode is TriggerMode.EDGE else 0
        if await self.bins_complete.get_value() <= self._delivered + skipped:
            # An empty array reads as one zero.
            return no_frames(self.columns())
        arrays = await read_together(list(self.bins.values()), lambda: self.update.set(1))
        bins = min(len(array) for array in arrays)
        counts = {
            number: np.asarray(array[:bins], float)
            for number, array in zip(self.bins, arrays, strict=True)
        }
        assert self._started is not None
        edges = np.append(0.0, np.cumsum(counts[self._clock_input])) / self._clock_Hz
        edges += self._started
        new = slice(self._delivered + skipped, bins)
        begins, ends = edges[:-1][new], edges[1:][new]
        numbers = np.arange(self._delivered, self._delivered + len(begins))
        self._delivered += len(begins)
        values = {f"{self.name}_{of}": counts[number][new] for number, of in self._inputs.items()}
        lengths = counts[self._clock_input][new] / self._clock_Hz
        return Frames(numbers, begins, ends, {**values, f"{self.name}_time": lengths})

    async def dropped(self) -> int:
        """Return 0: nothing gets lost between its memory and here."""
        return 0

    def file(self) -> FrameFile | None:
        """Return None: it writes no file."""
        return None

    async def disarm(self) -> None:
        """End the bin that is open, stop; return when it has stopped. Then read a last time."""
        settings, self._settings = self._settings, None
        if settings is not None:
            pulses = await self.bins_complete.get_value()
            # What the end trigger has begun must not look like one more frame. Where it cannot
            # be told whether it came, or another one was missed, the last frame is left out.
            closed = self._ended_by_software or (settings.end_trigger and pulses >= settings.number)
            if settings.mode is TriggerMode.EDGE and pulses and not closed:
                await self.advance_now.set(1)
        await self._stop()
        if settings is not None:
            self._rest = await self._read(settings)

    async def _stop(self) -> None:
        if await self.acquiring.get_value():
            await self.halt.set(1)
            await confirm(self.acquiring, lambda acquiring: not acquiring, "False")

    async def restore(self) -> None:
        """Put back the settings that `arm` changed."""
        await self._saved.restore()


__all__ = ["Counter"]
