"""A simulated camera behind areaDetector records: exposures, triggers, dead time and faults."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .area_detector import (
    COLOR_MODES,
    DATA_TYPES,
    ArrayRecords,
    Batch,
    Region,
    Statistics,
)
from .beam import Beam
from .channels import Database
from .hdf5_plugin import Hdf5Plugin
from .jobs import ticks
from .motion import Axis
from .spot import FRAME_SHAPE, expected_counts, make_images
from .trigger_line import TriggerLine

__all__ = ["DEAD_TIME", "TRANSFER_SECONDS", "Camera"]

DEAD_TIME: Final = 63e-6
"""Seconds after an exposure in which a trigger is not seen: a Manta G-125's."""

TRANSFER_SECONDS: Final = 0.001
"""Seconds from the end of an exposure to the timestamp of its frame."""

_ARM_SECONDS = 0.03
_TICK_SECONDS = 0.01
_POINTS = 5
_STATES = (
    *("Idle", "Acquire", "Readout", "Correct", "Saving", "Aborting"),
    *("Error", "Waiting", "Initializing", "Disconnected", "Aborted"),
)
_ON_OFF = ("Off", "On")
_FRAME, _BURST = "FrameStart", "FrameBurstStart"
_TRIGGER_SOURCES = ("Freerun", "Line1", "Line2", "FixedRate", "Software", "Action0", "Action1")


@dataclass
class _Acquisition:
    """What one acquisition was told, and how far it is.

    Attributes
    ----------
    triggered
        Whether pulses begin the exposures; else they follow each other from ``ready`` on.
    source
        Where pulses come from.
    level
        Whether the exposure lasts as long as the pulse.
    exposure, period, dead_time
        Times in s.
    number
        Frames after which it ends; 0: none.
    ready
        When it was ready for the first exposure, true POSIX s.
    missed
        Numbers of the pulses that it does not see.
    frames
        Exposures that a pulse begins, one after the other.
    """

    triggered: bool
    source: str
    level: bool
    exposure: float
    period: float
    dead_time: float
    number: int
    ready: float
    missed: frozenset[int]
    frames: int = 1
    begun: int = 0
    made: int = 0
    pulses: int = 0
    free: float = 0.0
    exposures: deque[tuple[float, float]] = field(default_factory=deque)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def pulse(self, edges: NDArray[np.float64], width: float) -> None:
        """Begin the exposures of pulses; one that comes too early begins none."""
        length = width if self.level else self.exposure
        apart = max(self.period, length + self.dead_time)
        for edge in edges.tolist():
            if edge < self.ready:
                continue
            number, self.pulses = self.pulses, self.pulses + 1
            if edge < self.free or number in self.missed:
                continue
            for begin in (edge + apart * k for k in range(self.frames)):
                if not (self.number and self.begun >= self.number):
                    self._expose(begin, begin + length)

    def run_freely(self, now: float) -> None:
        """Begin the exposures that follow each other until now."""
        # What lies further back than a second is forgotten: the server was frozen.
        begin = max(self.free, self.ready, now - 1.0)
        while begin <= now and not (self.number and self.begun >= self.number):
            self._expose(begin, begin + self.exposure)
            self.free = max(self.free, begin + self.period)
            begin = self.free

    def _expose(self, begin: float, end: float) -> None:
        self.exposures.append((begin, end))
        self.begun += 1
        self.free = end + self.dead_time


class Camera(ArrayRecords):
    """A camera that looks at the focused beam, with its statistics and its file writer.

    The records are those of ADVimba, with the burst of other GenICam cameras, and the plugins
    ``ROI1:``, ``Stats1:`` and ``HDF1:``. The spot's width follows the focus motor, its intensity
    the beam.

    Faults, behind ``FAULT:<name>_``: ``drop``, ``miss`` and ``late`` are numbers, counted from 0
    when it is armed, of frames that get lost before the file writer, of triggers that are not
    seen, and of frames that arrive ``lateness`` seconds late; ``never_arms``; ``slow``: seconds
    added to the dead time; ``names``: 1 for a driver that sets its ``UniqueId_RBV``, which most
    leave at 0; and those of the file writer.

    Parameters
    ----------
    database
        Where the process variables are added.
    name
        Name of the device, without the colon.
    beam
        The light.
    focus
        Gives the focus motor, whose position is in um.
    generator
        Source of the noise.
    record
        Called with (name, start, stop, mean energy, expected counts) of every exposure.
    line
        Cable from the trigger box to ``Line1``.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        beam: Beam,
        focus: Callable[[], Axis],
        generator: np.random.Generator,
        record: Callable[[str, float, float, float, float], None],
        line: TriggerLine,
    ) -> None:
        super().__init__(database, f"{name}:cam1:", name)
        self.name = name
        self._beam, self._focus = beam, focus
        self._generator, self._record = generator, record
        self._add_settings()
        self._add_readout()
        fault = f"FAULT:{name}_"
        self._faults = {
            which: database.text(f"{fault}{which}", "", writable=True)
            for which in ("drop", "miss", "late")
        }
        self._lateness = database.number(f"{fault}lateness", 0.02, "s", writable=True)
        self._slow = database.number(f"{fault}slow", 0.0, "s", writable=True)
        self._never_arms = database.integer(f"{fault}never_arms", 0, writable=True)
        self._names = database.integer(f"{fault}names", 0, writable=True)
        self._region = Region(database, f"{name}:ROI1:", "ROI1", name)
        self._statistics = Statistics(database, f"{name}:Stats1:", "STATS1", name)
        self._writer = Hdf5Plugin(database, f"{name}:HDF1:", "HDF1", name, fault)
        self._plugins = (self._region, self._statistics, self._writer)
        self._acquisition: _Acquisition | None = None
        self._last_stamp = 0.0
        line.listeners.append(lambda edges, width: self._pulse("Line1", edges, width))

    def _add_settings(self) -> None:
        rows, columns = FRAME_SHAPE
        for record, text in (
            ("Manufacturer", "Allied Vision Technologies"),
            ("Model", "Manta G-125"),
            ("SerialNumber", "simulated"),
            ("SDKVersion", "1.0"),
            ("FirmwareVersion", "1.0"),
        ):
            self.read_only("text", f"{record}_RBV", text)
        self.read_only("integer", "MaxSizeX_RBV", columns)
        self.read_only("integer", "MaxSizeY_RBV", rows)

        def positive(value: float) -> float | None:
            return value if value > 0 else None

        def not_negative(value: float) -> float | None:
            return value if value >= 0 else None

        self._exposure = self.setting("number", "AcquireTime", 0.02, "s", 6, accept=positive)
        self._period = self.setting("number", "AcquirePeriod", 0.05, "s", 6, accept=not_negative)
        self._number = self.setting("integer", "NumImages", 1, accept=not_negative)
        self._image_mode = self.setting(
            "choice", "ImageMode", "Continuous", ("Single", "Multiple", "Continuous")
        )
        self._trigger_mode = self.setting("choice", "TriggerMode", "Off", _ON_OFF)
        self._trigger_source = self.setting("choice", "TriggerSource", "Freerun", _TRIGGER_SOURCES)
        self.setting("choice", "TriggerOverlap", "Off", ("Off", "PreviousFrame"))
        self._exposure_mode = self.setting(
            "choice", "ExposureMode", "Timed", ("Timed", "TriggerWidth")
        )
        self.setting(
            "choice", "ConvertPixelFormat", "None", ("None", "Mono8", "Mono16", "RGB8", "RGB16")
        )
        self.read_only("integer", "TriggerSoftware", 0, on_put=self._software_trigger)
        self._selector = self.setting("choice", "GC_TriggerSelector", _FRAME, (_FRAME, _BURST))
        self._burst = self.setting("number", "GC_AcqBurFrameCount", 1.0, "", 0, accept=positive)
        self._waits = self.read_only("choice", "WaitForPlugins", "No", ("No", "Yes"), writable=True)
        self._state = self.read_only("choice", "DetectorState_RBV", "Idle", _STATES)
        self._message = self.read_only("long_text", "StatusMessage_RBV", "")
        self.read_only("choice", "Acquire", "Done", ("Done", "Acquire"), on_put=self._acquire)
        self._acquiring = self.read_only("choice", "Acquire_RBV", "Done", ("Done", "Acquiring"))

    def _add_readout(self) -> None:
        """Add what decides the size and the type of the images (ADBase.template)."""
        rows, columns = FRAME_SHAPE

        def binning(value: float) -> float | None:
            return value if 1 <= value <= rows else None

        self._sizes = [
            self.setting("integer", f"Size{axis}", size, accept=lambda n: n if n > 0 else None)
            for axis, size in (("Y", rows), ("X", columns))
        ]
        self._begins = [
            self.setting("integer", f"Min{axis}", 0, accept=lambda n: n if n >= 0 else None)
            for axis in "YX"
        ]
        self._bins = [self.setting("integer", f"Bin{axis}", 1, accept=binning) for axis in "YX"]
        # Their readbacks are those of the last frame.
        self._data_type = self.read_only("choice", "DataType", "UInt16", DATA_TYPES, writable=True)
        self._color_mode = self.read_only(
            "choice", "ColorMode", "Mono", COLOR_MODES, on_put=self._change_color_mode
        )

    async def _change_color_mode(self, mode: str) -> None:
        await self.channel("ColorMode_RBV").change(mode)

    @property
    def names_arrays(self) -> bool:  # type: ignore[override]
        """Whether the driver shows the number of its newest frame."""
        return bool(self._names.value)

    async def run(self) -> None:
        """Expose, process and write, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._writer.run())
            group.create_task(self._expose())

    async def close(self) -> None:
        """Close the file."""
        await self._writer.close()

    def _numbers(self, fault: str) -> frozenset[int]:
        text = str(self._faults[fault].value).replace(",", " ")
        return frozenset(int(word) for word in text.split() if word.isdigit())

    async def _acquire(self, value: str) -> None:
        if value == "Done":
            await self._end("Idle")
            return
        if self._acquisition is not None:
            return
        mode = self._image_mode.value
        numbers = {"Single": 1, "Multiple": int(self._number.value), "Continuous": 0}
        self._acquisition = acquisition = _Acquisition(
            triggered=self._trigger_mode.value == "On",
            source=str(self._trigger_source.value),
            level=self._exposure_mode.value == "TriggerWidth",
            exposure=float(self._exposure.value),
            period=float(self._period.value),
            dead_time=DEAD_TIME + float(self._slow.value),
            number=numbers[mode],
            ready=np.inf,
            missed=self._numbers("miss"),
            frames=int(self._burst.value) if self._selector.value == _BURST else 1,
        )
        await self._state.change("Initializing")
        await self._message.change("Waiting for the sensor")
        if not self._never_arms.value:
            await asyncio.sleep(_ARM_SECONDS)
            if self._acquisition is acquisition:
                acquisition.ready = time.time()
                await self._message.change("")
                await self._state.change("Waiting" if acquisition.triggered else "Acquire")
                await self._acquiring.change("Acquiring")
        await acquisition.ended.wait()

    async def _end(self, state: str) -> None:
        acquisition, self._acquisition = self._acquisition, None
        if acquisition is None:
            return
        await self._message.change("")
        await self._state.change(state)
        await self._acquiring.change("Done")
        await self.channel("Acquire").change("Done")
        acquisition.ended.set()

    async def _software_trigger(self, _: Any) -> None:
        self._pulse("Software", np.array([time.time()]), 0.0)

    def _pulse(self, source: str, edges: NDArray[np.float64], width: float) -> None:
        acquisition = self._acquisition
        if acquisition is not None and acquisition.triggered and acquisition.source == source:
            acquisition.pulse(edges, width)

    async def _expose(self) -> None:
        async for _ in ticks(_TICK_SECONDS):
            acquisition = self._acquisition
            if acquisition is None:
                continue
            if not acquisition.triggered:
                acquisition.run_freely(time.time())
            await self._deliver(acquisition)
            if acquisition.number and acquisition.made >= acquisition.number:
                if self._waits.value == "Yes":
                    await self._writer.drained()
                if self._acquisition is acquisition:
                    await self._end("Idle")

    async def _deliver(self, acquisition: _Acquisition) -> None:
        """Make frames of the exposures that are complete and send them on their way."""
        now = time.time()
        late, lateness = self._numbers("late"), float(self._lateness.value)
        exposures: list[tuple[float, float]] = []
        stamps: list[float] = []
        while acquisition.exposures:
            number = acquisition.made + len(exposures)
            arrival = acquisition.exposures[0][1] + TRANSFER_SECONDS
            # A frame stays behind one that is late.
            arrival = max(arrival + (lateness if number in late else 0.0), self._last_stamp)
            if arrival > now:
                break
            exposures.append(acquisition.exposures.popleft())
            stamps.append(arrival)
            self._last_stamp = arrival
        if not exposures:
            return
        numbers = acquisition.made + np.arange(len(exposures))
        acquisition.made += len(exposures)
        first = int(self.counter.value) + 1
        batch = Batch(
            images=self._look(np.array(exposures)),
            ids=np.arange(first, first + len(exposures), dtype=np.int32),
            stamps=np.array(stamps) + self.database.clock.offset,
            lost=np.isin(numbers, list(self._numbers("drop"))),
            color_mode=str(self._color_mode.value),
        )
        await self.passed_on(batch)
        if self.array_callbacks.value == "Enable":
            await self._distribute(batch)

    def _look(self, exposures: NDArray[np.float64]) -> NDArray[Any]:
        begin, end = exposures.T
        length = end - begin
        instants = begin[:, None] + length[:, None] * (np.arange(_POINTS) + 0.5) / _POINTS
        energy = self._beam.energy(instants)
        light = self._beam.intensity(instants, energy).mean(axis=1) * length
        focus = self._focus().positions(0.5 * (begin + end))
        counts = expected_counts(light)
        for exposure in zip(begin, end, energy.mean(axis=1), counts, strict=True):
            self._record(self.name, *(float(value) for value in exposure))
        return self._read_out(make_images(counts, focus, self._generator))

    def _read_out(self, images: NDArray[np.uint16]) -> NDArray[Any]:
        """Return the part of the images that is read out, binned, in the type that is asked for.

        What does not fit into the type is clipped, as a converter does it.
        """
        for axis, begin, size, binning in zip(
            (1, 2), self._begins, self._sizes, self._bins, strict=True
        ):
            step = int(binning.value)
            first, last = int(begin.value), int(begin.value) + int(size.value)
            part = images.take(
                range(min(first, images.shape[axis] - step), min(last, images.shape[axis])), axis
            )
            whole = part.shape[axis] // step * step
            part = part.take(range(whole), axis).astype(np.uint32)
            images = np.add.reduceat(part, range(0, whole, step), axis=axis)
        dtype = np.dtype(str(self._data_type.value).lower())
        if dtype.kind in "iu":
            images = np.minimum(images, np.iinfo(dtype).max)
        return images.astype(dtype)

    async def _distribute(self, batch: Batch) -> None:
        """Give the frames to the plugins, each after the one that it takes them from."""
        outputs = {self.port: batch}
        waiting = list(self._plugins)
        while ready := [p for p in waiting if p.source.value in outputs]:
            for plugin in ready:
                outputs[plugin.port] = await plugin.take(outputs[str(plugin.source.value)])
                waiting.remove(plugin)
