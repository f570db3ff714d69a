"""Electrometers of the Keithley family on a trigger line: one reading for each pulse.

The meter is the `Electrometer` of the devices; here is what it takes to trigger it. Process
variables: ``setTrgSrc``, ``setTrgInLine``, ``setTrgDly``, ``cmdStart`` and ``cmdCancel`` as in the
BESSY II support (``hz-b/bessyii_devices``, ``keithley.py``); those of the buffer have no public
names, here they are those of the simulated beamline. What they stand for: Keithley 6514 manual,
sections "Triggering" and "Buffer".
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from bluesky.protocols import Reading
from numpy.typing import NDArray
from ophyd_async.core import Array1D, SignalR, SignalRW, StandardDetector

from glidepath.devices import Electrometer
from glidepath.devices.electrometer import MAINS_FREQUENCY
from glidepath.devices.sampled import SampledChannel
from glidepath.devices.settings import Settings
from glidepath.devices.signals import signal_r, signal_rw, watch
from glidepath.timeline.windows import OVERFLOW

from .frame_source import FrameFile, Frames, FrameSettings, TriggerMode, no_frames
from .handshake import confirm, pv_of, read_together
from .in_stock_plans import Meter, logics_of
from .limits import check_timing

Floats = NDArray[np.float64]

_SOURCES: Final = {TriggerMode.INTERNAL: "Immediate", TriggerMode.EDGE: "Trigger Link"}
_FILLING: Final = "Filling"


class TriggeredElectrometer(StandardDetector):
    """One channel of current whose exposures pulses begin; sampled, it is the meter itself.

    The moving average is off while it is armed, and back afterwards, as for any scan. Readings
    come from the meter's buffer, or, unbuffered, one by one from the record of the current: that
    needs nothing of the support but monitors, of which Channel Access may lose some without a
    word if the client is slow.

    It is ready when its trigger source reads back and, buffered, when ``rbkBufState`` says that
    the buffer is being filled; the timestamp of that is where the buffer's times begin.
    A reading out of range is NaN.

    In stock plans it is a ``StandardDetector``: an event of a step scan has the meter's next
    reading; in a flight of several events each reading is one, in a file in the data directory.
    Such a plan cannot know of a trigger that the meter missed: Glidepath's own plans can.

    Parameters
    ----------
    prefix
        Prefix of the process variables, for example ``"K64851MF102L:"``.
    name
        Name of the device and of its current in the data.
    buffered
        Whether to read the buffer.
    trigger_line
        Line of the trigger link that the pulses come on (1 to 6).
    dead_time
        Seconds that the meter needs between two exposures.
    nplc_range, latency, mains_frequency, frequency_pv
        As for `Electrometer`.
    ready_within
        Seconds within which it must be ready.

    Attributes
    ----------
    meter
        The `Electrometer`.
    """

    def __init__(
        self,
        prefix: str,
        name: str = "",
        *,
        buffered: bool = True,
        trigger_line: int = 1,
        dead_time: float = 0.01,
        nplc_range: tuple[float, float] = (0.01, 10.0),
        latency: float = 0.0,
        mains_frequency: float = MAINS_FREQUENCY,
        frequency_pv: str | None = None,
        ready_within: float = 5.0,
    ) -> None:
        self._buffered, self._line = buffered, trigger_line
        self._dead_time, self.latency, self._ready_within = dead_time, latency, ready_within
        self._saved = Settings(name)
        self._touched = False
        self._armed: FrameSettings | None = None
        self._exposure = 0.0
        self._delivered = 0
        self._began = 0.0
        self._readings: list[tuple[float, float]] = []
        self._hear: Callable[[dict[str, Reading[float]]], None] | None = None
        self._rest: Frames | None = None
        self.meter = Electrometer(
            prefix,
            nplc_range=nplc_range,
            latency=latency,
            mains_frequency=mains_frequency,
            frequency_pv=frequency_pv,
        )
        self.line = signal_rw(int, f"{prefix}rbkTrgInLine", f"{prefix}setTrgInLine")
        self.delay = signal_rw(float, f"{prefix}rbkTrgDly", f"{prefix}setTrgDly", "s")
        self.start = signal_rw(int, f"{prefix}cmdStart")
        self.cancel = signal_rw(int, f"{prefix}cmdCancel")
        if buffered:
            self.buffer_state = signal_r(str, f"{prefix}rbkBufState")
            self.buffer_points = signal_r(int, f"{prefix}rbkBufPoints")
            self.buffer_count = signal_r(int, f"{prefix}rbkBufCount")
            self.buffer_start = signal_rw(int, f"{prefix}cmdBufStart")
            self.buffer_stop = signal_rw(int, f"{prefix}cmdBufStop")
            self.buffer_read = signal_rw(int, f"{prefix}cmdBufRead")
            self.buffer = signal_r(Array1D[np.float64], f"{prefix}rdBuf", unit="A")
            self.buffer_times = signal_r(Array1D[np.float64], f"{prefix}rdBufTime", unit="s")
        meter = self.meter
        self.add_config_signals(
            meter.range,
            meter.nplc,
            meter.line_frequency,
            meter.integration_time,
            meter.filter_count,
            meter.function,
            meter.arm_source,
            meter.trigger_source,
            meter.zero_check,
            meter.scan_rate,
        )
        self.add_detector_logics(
            *logics_of(
                Meter(
                    self,
                    frozenset(_SOURCES),
                    self._read_once,
                    [self.meter.current],
                    [self.meter.current],
                    self.meter.integration_time,
                    self.meter.nplc,
                    self.meter.set_integration_time,
                    lambda _: self._dead_time,
                    begin=self._stage_meter,
                    end=self._unstage_meter,
                )
            )
        )
        super().__init__(name)

    def set_name(self, name: str, *, child_name_separator: str | None = None) -> None:
        """Name the device, and the meter and its current like it."""
        super().set_name(name, child_name_separator=child_name_separator)
        self.meter.set_name(name)

    # ---- sampled: the meter itself --------------------------------------------------------

    @property
    def integration_time(self) -> SignalR[float]:
        """The exposure of one reading as it is set now, in seconds."""
        return self.meter.integration_time

    def check_integration_time(self, seconds: float) -> None:
        """Refuse an integration time (ValueError) that the meter cannot do."""
        self.meter.check_integration_time(seconds)

    async def set_integration_time(self, seconds: float) -> None:
        """Set the integration time in s and wait until the meter confirms it."""
        await self.meter.set_integration_time(seconds)

    async def _read_once(self) -> None:
        """Wait for a reading whose exposure began after this call."""
        await self.meter.trigger()

    async def _stage_meter(self) -> None:
        await self.meter.stage()

    async def _unstage_meter(self) -> None:
        await self.meter.unstage()

    async def channels(self) -> list[SampledChannel]:
        """Return the current as a detector whose aperture is the exposure as read back."""
        return await self.meter.channels()

    # ---- triggered ------------------------------------------------------------------------

    def columns(self) -> Mapping[str, str]:
        """Return the column that each frame fills: name -> unit."""
        return {self.name: "A"}

    async def trigger_modes(self) -> frozenset[TriggerMode]:
        """Return what can begin an exposure."""
        return frozenset(_SOURCES)

    async def dead_time(self) -> float:
        """Return the seconds that it needs between two exposures."""
        return self._dead_time

    async def check_frames(self, settings: FrameSettings) -> None:
        """Refuse (ValueError, one sentence) what cannot be done. Nothing is changed."""
        await check_timing(self, settings)
        self.meter.check_integration_time(settings.exposure)
        if self._buffered:
            points = await self.buffer_points.get_value()
            if not 0 < settings.number <= points:
                number = settings.number or "any number of"
                raise ValueError(
                    f"The buffer of {self.name} holds {points} readings, but {number} were asked; "
                    "fly fewer at a time, or make it with buffered=False."
                )

    async def arm(self, settings: FrameSettings) -> None:
        """Set it up; return when it says that it is ready for the first trigger.

        Raises
        ------
        TimeoutError
            If it does not confirm a setting, or does not fill its buffer.
        ValueError
            If the meter's zero check is on.
        """
        self._stop_listening()
        self._armed, self._rest, self._touched = None, None, True
        await self.meter.stage()
        await self.cancel.set(1)
        self._saved.owner = self.name
        await self._saved.lend(self.meter.nplc)
        await self.meter.set_integration_time(settings.exposure)
        wanted: list[tuple[SignalRW[Any], Any]] = [
            (self.line, self._line),
            (self.delay, 0.0),
            (self.meter.arm_source, "Immediate"),
            (self.meter.trigger_source, _SOURCES[settings.mode]),
        ]
        await self._saved.set_all(wanted, within=self._ready_within)
        self._exposure = await self.meter.exposure()
        self._delivered = 0
        if self._buffered:
            await self._fill_buffer()
        else:
            await self._listen()
        await self.start.set(1)
        self._armed = settings

    async def _fill_buffer(self) -> None:
        await self.buffer_stop.set(1)
        await confirm(self.buffer_state, lambda state: state != _FILLING, "idle")
        async with watch(self.buffer_state) as seen:
            await self.buffer_start.set(1)
            if not await seen.until(
                lambda: seen.value(self.buffer_state) == _FILLING, self._ready_within
            ):
                raise TimeoutError(
                    f"{self.name} did not fill its buffer within {self._ready_within:g} s: "
                    f"{pv_of(self.buffer_state)} is {seen.value(self.buffer_state)!r}."
                )
            self._began = seen.timestamp(self.buffer_state)

    async def _listen(self) -> None:
        current, source = self.meter.current, self.meter.trigger_source
        last = (await current.read(cached=False))[current.name]["timestamp"]
        ready = (await source.read(cached=False))[source.name]["timestamp"]
        # An exposure that began before it was told to wait for triggers follows none.
        last = max(last, ready + self.latency + self._exposure)

        def hear(readings: dict[str, Reading[float]]) -> None:
            reading = readings[current.name]
            if reading["timestamp"] > last:
                self._readings.append((reading["timestamp"], reading["value"]))

        self._readings.clear()
        self._hear = hear
        current.subscribe_reading(hear)

    def _stop_listening(self) -> None:
        hear, self._hear = self._hear, None
        if hear is not None:
            self.meter.current.clear_sub(hear)

    async def frames(self) -> Frames:
        """Return the frames that came since the last call; also, once, after `disarm`."""
        if self._armed is None:
            rest, self._rest = self._rest, None
            return no_frames(self.columns()) if rest is None else rest
        return await self._read()

    async def _read(self) -> Frames:
        if self._buffered:
            ends, values = await self._read_buffer()
        else:
            heard, self._readings[:] = list(self._readings), []
            ends, values = np.array(heard).reshape(-1, 2).T
        numbers = np.arange(self._delivered, self._delivered + len(ends))
        self._delivered += len(ends)
        ends = ends - self.latency
        known = np.where(np.abs(values) < OVERFLOW, values, np.nan)
        return Frames(numbers, ends - self._exposure, ends, {self.name: known})

    async def _read_buffer(self) -> tuple[Floats, Floats]:
        """Return end (POSIX s) and value of the readings that are new."""
        if await self.buffer_count.get_value() <= self._delivered:
            return np.empty(0), np.empty(0)
        arrays = await read_together(
            (self.buffer, self.buffer_times), lambda: self.buffer_read.set(1)
        )
        length = min(len(array) for array in arrays)
        values, times = (np.asarray(array, float)[self._delivered : length] for array in arrays)
        return self._began + times, values

    async def dropped(self) -> int:
        """Return 0: the meter does not say it, the timestamps do."""
        return 0

    def file(self) -> FrameFile | None:
        """Return None: it writes no file."""
        return None

    async def disarm(self) -> None:
        """End the exposures. What was read until now can still be had."""
        armed, self._armed = self._armed, None
        if not self._touched:
            return
        await self.cancel.set(1)
        self._stop_listening()
        if armed is not None:
            self._rest = await self._read()
        if self._buffered:
            await self.buffer_stop.set(1)

    async def restore(self) -> None:
        """Put the settings back, the moving average too, and let the meter run freely."""
        touched, self._touched = self._touched, False
        self._stop_listening()
        if not touched:
            return
        try:
            await self._saved.restore()
        finally:
            try:
                await self.meter.unstage()
            finally:
                await self.start.set(1)


__all__ = ["TriggeredElectrometer"]
