"""Fast electrometers with four inputs behind the quadEM support: TetrAMM and its relatives.

Process variables: ``quadEM.template``, ``TetrAMM.template`` and the plugins that
``quadEM_Plugins.cmd`` loads (synApps quadEM R9). Each trigger makes one NDArray of samples, and
each NDArray one point in the time series of the statistics plugins ``Current1:`` ...: the mean
over the exposure, and the time at which the driver had all of its samples.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from aioca import cainfo
from numpy.typing import NDArray
from ophyd_async.core import (
    Array1D,
    Device,
    DeviceVector,
    SignalDatatypeT,
    SignalR,
    SignalRW,
    StandardDetector,
)

from glidepath.devices.sampled import SampledChannel
from glidepath.devices.settings import Settings
from glidepath.devices.signals import signal_r, signal_rw, watch
from glidepath.timeline.channel import Channel, ChannelKind

from .camera.time_series import join
from .frame_source import FrameFile, Frames, FrameSettings, TriggerMode, no_frames
from .handshake import confirm, put_and_confirm, pv_of, read_together
from .in_stock_plans import Meter, logics_of
from .limits import check_timing

Floats = NDArray[np.float64]

EPICS_EPOCH: Final = 631152000
"""POSIX s of 1990-01-01: there the time of the driver's NDArrays begins (drvQuadEM.cpp)."""

TETRAMM: Final[Mapping[TriggerMode, str]] = {
    TriggerMode.INTERNAL: "Free run",
    TriggerMode.EDGE: "Ext. trig.",
    TriggerMode.LEVEL: "Ext. bulb",
}
"""What ``TriggerMode`` of a TetrAMM is called."""

CONTINUOUS: Final = "Continuous"
CIRCULAR: Final = "Circ. buffer"
PASSIVE: Final = "Passive"


class QuadCurrent(Device):
    """The statistics of one input, and their time series (NDStats, NDTimeSeries).

    Attributes
    ----------
    mean
        ``MeanValue_RBV``: of the newest frame, A.
    means, totals, stamps
        Shape (n,), n the length of the series: mean (A) and sum of the samples of each frame,
        and the time of its NDArray (s from 1990-01-01); 0 where nothing was collected yet.
    """

    def __init__(self, prefix: str, name: str = "") -> None:
        self.mean = signal_r(float, f"{prefix}MeanValue_RBV", unit="A")
        self.enabled = _setting(bool, f"{prefix}EnableCallbacks")
        self.statistics = _setting(bool, f"{prefix}ComputeStatistics")
        self.dropped = signal_r(int, f"{prefix}DroppedArrays_RBV")
        series = f"{prefix}TS:"
        self.series_enabled = _setting(bool, f"{series}EnableCallbacks")
        self.series_dropped = signal_r(int, f"{series}DroppedArrays_RBV")
        self.collecting = signal_rw(bool, f"{series}TSAcquiring", f"{series}TSAcquire", wait=False)
        self.points = signal_rw(int, f"{series}TSNumPoints")
        self.series_mode = _setting(str, f"{series}TSAcquireMode")
        self.averaged = signal_r(int, f"{series}TSNumAverage")
        self.update = signal_rw(bool, f"{series}TSRead")
        self.update_rate = signal_rw(str, f"{series}TSRead.SCAN")
        self.means = signal_r(Array1D[np.float64], f"{prefix}TSMeanValue", unit="A")
        self.totals = signal_r(Array1D[np.float64], f"{prefix}TSTotal", unit="A")
        self.stamps = signal_r(Array1D[np.float64], f"{prefix}TSTimestamp", unit="s")
        super().__init__(name)

    async def begin(self, saved: Settings) -> None:
        """Collect frames from now on, in a buffer that goes round.

        Raises
        ------
        ValueError
            If the series averages frames.
        TimeoutError
            If it does not begin.
        """
        await self.collecting.set(False)
        info = await cainfo(pv_of(self.means))
        settings: list[tuple[SignalRW[Any], Any]] = [
            (self.enabled, True),
            (self.statistics, True),
            (self.series_enabled, True),
            (self.series_mode, CIRCULAR),
            (self.points, int(info.count)),
            # Only we read it, so that the waveforms that we read belong together.
            (self.update_rate, PASSIVE),
        ]
        await saved.set_all(settings)
        averaged = await self.averaged.get_value()
        if averaged != 1:
            raise ValueError(
                f"The time series {pv_of(self.averaged)} averages {averaged} frames; set its "
                "TSAveragingTime to its TSTimePerPoint."
            )
        await put_and_confirm(self.collecting, True)

    async def read(self) -> tuple[Floats, Floats, Floats]:
        """Return stamps, means and totals of the frames in the buffer, oldest first, shape (n,).

        Raises
        ------
        TimeoutError
            If the waveforms are not updated.
        """
        found = await read_together(
            (self.stamps, self.means, self.totals), lambda: self.update.set(True)
        )
        stamps, means, totals = (np.asarray(array, float) for array in found)
        filled = stamps > 0
        return stamps[filled], means[filled], totals[filled]


class QuadElectrometer(StandardDetector):
    """Four currents, as means over an exposure: running freely and sampled, or triggered.

    It names its dead time and its trigger modes; it is ready when ``Acquire_RBV`` says so, after
    the meter has confirmed every setting. Frames are read as waveforms. The support does not say
    which frames were dropped on the way, only how many: their rows miss a frame (`dropped`
    tells that it was not a trigger that was lost). A frame that one input's plugin dropped is
    NaN there.

    In stock plans it is a ``StandardDetector``: an event of a step scan has the next exposure that
    began after its trigger; in a flight of several events each frame is one, in a file in the data
    directory. Such a plan cannot know of a trigger that the meter missed: Glidepath's own can.

    Parameters
    ----------
    prefix
        Prefix of the process variables, for example ``"QE1:TetrAMM:"``.
    name
        Name of the device; its columns are ``<name>_<input>``.
    inputs
        Number of an input -> its name.
    trigger_choices
        What the model calls its trigger modes; modes that it does not have are left out.
    dead_time
        Seconds that it needs between two exposures, beside one sample.
    latency
        Seconds from the end of an exposure to the time of its frame.
    ready_within
        Seconds within which it must be ready after it was told to acquire.

    Attributes
    ----------
    currents
        `QuadCurrent` by number of the input.
    averaging_time
        ``AveragingTime``: exposure asked for, s. The real one is a whole number of samples.
    sample_time, samples
        ``SampleTime_RBV`` (s) and ``NumAverage_RBV``: length and number of samples.
    """

    def __init__(
        self,
        prefix: str,
        name: str = "",
        *,
        inputs: Mapping[int, str],
        trigger_choices: Mapping[TriggerMode, str] = TETRAMM,
        dead_time: float = 1e-4,
        latency: float = 0.0,
        ready_within: float = 5.0,
    ) -> None:
        self._inputs = dict(inputs)
        self._choices = dict(trigger_choices)
        self._dead_time, self.latency, self._ready_within = dead_time, latency, ready_within
        self._saved = Settings(name)
        self._was_running: bool | None = None
        self._armed: FrameSettings | None = None
        self._dropped_before: list[int] = []
        self._made_before = 0
        self._newest = 0.0
        self._count = 0
        self._exposure = 0.0
        self._rest: Frames | None = None
        self.averaging_time = _setting(float, f"{prefix}AveragingTime", "s")
        self.sample_time = signal_r(float, f"{prefix}SampleTime_RBV", "s")
        self.samples = signal_r(int, f"{prefix}NumAverage_RBV")
        self.values_per_read = _setting(int, f"{prefix}ValuesPerRead")
        self.trigger_mode = _setting(str, f"{prefix}TriggerMode")
        self.acquire_mode = _setting(str, f"{prefix}AcquireMode")
        self.array_counter = _setting(int, f"{prefix}ArrayCounter")
        self.running = signal_rw(bool, f"{prefix}Acquire_RBV", f"{prefix}Acquire", wait=False)
        self.array_callbacks = _setting(bool, f"{prefix}ArrayCallbacks")
        self.currents = DeviceVector(
            {number: QuadCurrent(f"{prefix}Current{number}:") for number in inputs}
        )
        self.add_config_signals(
            self.averaging_time,
            self.samples,
            self.values_per_read,
            self.trigger_mode,
            self.acquire_mode,
        )
        means = [current.mean for current in self.currents.values()]
        self.add_detector_logics(
            *logics_of(
                Meter(
                    self,
                    frozenset(self._choices),
                    self._read_once,
                    means,
                    means,
                    self.averaging_time,
                    self.averaging_time,
                    self.set_integration_time,
                    lambda values: self._dead_time + values[self.sample_time],
                    frozenset({self.sample_time}),
                )
            )
        )
        super().__init__(name)

    def set_name(self, name: str, *, child_name_separator: str | None = None) -> None:
        """Name the device, and its currents like the inputs."""
        super().set_name(name, child_name_separator=child_name_separator)
        for number, current in self.currents.items():
            current.mean.set_name(self._column(number))

    def _column(self, number: int) -> str:
        return f"{self.name}_{self._inputs[number]}"

    # ---- running freely -------------------------------------------------------------------

    @property
    def integration_time(self) -> SignalR[float]:
        """The exposure of one reading as it is set now, in seconds."""
        return self.averaging_time

    def check_integration_time(self, seconds: float) -> None:
        """Refuse (ValueError) an exposure that is none."""
        if not 0 < seconds < float("inf"):
            raise ValueError(f"{self.name} cannot average for {seconds!r} s; give some seconds.")

    async def set_integration_time(self, seconds: float) -> None:
        """Set the exposure in s, and wait until the meter confirms it."""
        self.check_integration_time(seconds)
        await self._set_averaging_time(seconds)

    async def _set_averaging_time(self, seconds: float) -> None:
        await self.averaging_time.set(seconds)
        sample = await self.sample_time.get_value()
        # The meter takes a whole number of samples.
        await confirm(
            self.samples,
            lambda samples: abs(samples * sample - seconds) <= sample,
            f"{seconds / sample:.0f} (an averaging time of {seconds:g} s)",
        )

    async def channels(self) -> list[SampledChannel]:
        """Return the currents as detectors whose aperture is the exposure as read back."""
        aperture = await self._length()
        settings = self.sample_time.source, self.samples.source
        return [
            SampledChannel(
                Channel(
                    self._column(number),
                    ChannelKind.DETECTOR,
                    "A",
                    latency=self.latency,
                    aperture=aperture,
                ),
                current.mean.source,
                settings=settings,
            )
            for number, current in self.currents.items()
        ]

    async def _length(self) -> float:
        sample, samples = await asyncio.gather(
            self.sample_time.get_value(), self.samples.get_value()
        )
        return sample * samples

    # ---- read once, in step scans ---------------------------------------------------------

    async def _read_once(self) -> None:
        """Wait for means whose exposure began after this call; a meter that stands is started.

        Raises
        ------
        TimeoutError
            If no such means came.
        """
        if await self.running.get_value():
            await self._next_means()
            return
        await put_and_confirm(self.running, True, self._ready_within)
        try:
            await self._next_means()
        finally:
            await put_and_confirm(self.running, False)

    async def _next_means(self) -> None:
        means = [current.mean for current in self.currents.values()]
        bound = self._ready_within + 10 * await self._length()
        async with watch(*means) as seen:
            last = {mean: seen.timestamp(mean) for mean in means}
            new = dict.fromkeys(means, 0)

            def are_new() -> bool:
                for mean in means:
                    if seen.timestamp(mean) > last[mean]:
                        last[mean] = seen.timestamp(mean)
                        new[mean] += 1
                # The first of them began before: exposures follow each other without a gap.
                return all(count > 1 for count in new.values())

            if not await seen.until(are_new, bound):
                silent = next(mean for mean in means if new[mean] <= 1)
                raise TimeoutError(
                    f"{self.name} made no new exposure within {bound:.3g} s: {pv_of(silent)} does "
                    "not update; does it run freely, with its statistics enabled?"
                )

    # ---- triggered ------------------------------------------------------------------------

    def columns(self) -> Mapping[str, str]:
        """Return the columns that each frame fills: name -> unit."""
        return {self._column(number): "A" for number in self._inputs}

    async def trigger_modes(self) -> frozenset[TriggerMode]:
        """Return what can begin an exposure."""
        return frozenset(self._choices)

    async def dead_time(self) -> float:
        """Return the seconds that it needs between two exposures, as it is set up now."""
        return self._dead_time + await self.sample_time.get_value()

    async def check_frames(self, settings: FrameSettings) -> None:
        """Refuse (ValueError, one sentence) what cannot be done. Nothing is changed."""
        sample = await self.sample_time.get_value()
        if settings.exposure < sample:
            raise ValueError(
                f"{self.name} cannot expose for {settings.exposure:g} s, for one sample takes "
                f"{sample:g} s; expose for longer or set ValuesPerRead to less."
            )
        if settings.mode is not TriggerMode.INTERNAL:
            await check_timing(self, settings)

    async def arm(self, settings: FrameSettings) -> None:
        """Set it up; return when it says that it is acquiring.

        Raises
        ------
        TimeoutError
            If it does not confirm a setting, or does not begin to acquire.
        """
        if self._was_running is None:
            self._was_running = await self.running.get_value()
        await put_and_confirm(self.running, False)
        self._armed, self._rest = None, None
        self._saved.owner = self.name
        await self._saved.lend(self.averaging_time)
        wanted: list[tuple[SignalRW[Any], Any]] = [
            (self.array_callbacks, True),
            (self.acquire_mode, CONTINUOUS),
            (self.trigger_mode, self._choices[settings.mode]),
        ]
        await self._saved.set_all(wanted)
        exposure = settings.exposure
        if settings.mode is TriggerMode.INTERNAL:
            # It exposes all the time: one frame each period.
            exposure = settings.period
        await self._set_averaging_time(exposure)
        for current in self.currents.values():
            await current.begin(self._saved)
        self._exposure = await self._length()
        self._newest, self._count = 0.0, 0
        self._dropped_before = await self._dropped_counts()
        self._made_before = await self.array_counter.get_value()
        await put_and_confirm(self.running, True, self._ready_within)
        self._armed = settings

    async def frames(self) -> Frames:
        """Return the frames that came since the last call; also, once, after `disarm`."""
        if self._armed is None:
            rest, self._rest = self._rest, None
            return no_frames(self.columns()) if rest is None else rest
        return await self._read(self._armed)

    async def _read(self, settings: FrameSettings) -> Frames:
        series = dict(
            zip(
                self._inputs,
                await asyncio.gather(*(c.read() for c in self.currents.values())),
                strict=True,
            )
        )
        # A frame counts when no input can still get it.
        until = min((s[-1] if len(s) else 0.0 for s, _, _ in series.values()), default=0.0)
        stamps = np.unique(np.concatenate([s for s, _, _ in series.values()]))
        overrun = self._count and len(stamps) and stamps[0] > self._newest
        stamps = stamps[(stamps > self._newest) & (stamps <= until)]
        values = {
            self._column(number): join(s, stamps, {"mean": means})["mean"]
            for number, (s, means, _) in series.items()
        }
        first = self._count
        if overrun:
            # More frames than the buffer holds have come since the last call: a gap.
            made = await self.array_counter.get_value() - self._made_before
            first += max(made - self._count - len(stamps), 1)
        self._count = first + len(stamps)
        self._newest = max(self._newest, until)
        ends = stamps + EPICS_EPOCH - self.latency
        lengths = np.full(len(ends), self._exposure)
        if settings.mode is TriggerMode.LEVEL:
            samples = [
                join(s, stamps, {"": total / mean})[""] for s, mean, total in series.values()
            ]
            lengths = np.nanmax(np.round(samples), axis=0) * await self.sample_time.get_value()
        return Frames(np.arange(first, self._count), ends - lengths, ends, values)

    async def dropped(self) -> int:
        """Return how many frames one of its plugins dropped since arming, at most."""
        counts = await self._dropped_counts()
        return max((n - b for n, b in zip(counts, self._dropped_before, strict=True)), default=0)

    async def _dropped_counts(self) -> list[int]:
        signals = [s for c in self.currents.values() for s in (c.dropped, c.series_dropped)]
        return list(await asyncio.gather(*(signal.get_value() for signal in signals)))

    def file(self) -> FrameFile | None:
        """Return None: it writes no file."""
        return None

    async def disarm(self) -> None:
        """End the acquisition; return when the meter says so. What it made can still be read."""
        armed, self._armed = self._armed, None
        if self._was_running is None:
            return
        await put_and_confirm(self.running, False)
        if armed is not None:
            self._rest = await self._read(armed)
        for current in self.currents.values():
            await current.collecting.set(False)

    async def restore(self) -> None:
        """Put the settings back, and let it run if it ran before."""
        was_running, self._was_running = self._was_running, None
        try:
            await self._saved.restore()
        finally:
            if was_running:
                await put_and_confirm(self.running, True, self._ready_within)


def _setting(datatype: type[SignalDatatypeT], pv: str, unit: str = "") -> SignalRW[SignalDatatypeT]:
    return signal_rw(datatype, f"{pv}_RBV", pv, unit)


__all__ = ["TETRAMM", "QuadCurrent", "QuadElectrometer"]
