"""A simulated TetrAMM electrometer behind the records of the quadEM support: four currents."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .area_detector import EPICS_EPOCH, ArrayRecords, Plugin
from .audience import audience
from .beam import Beam, Photocurrent
from .channels import Database
from .jobs import ticks
from .trigger_input import TriggerInput, numbers
from .trigger_line import TriggerLine

__all__ = ["DEAD_TIME", "TRANSFER_SECONDS", "QuadElectrometer"]

Floats = NDArray[np.float64]

DEAD_TIME: Final = 1e-4
"""Seconds after an exposure in which a trigger is not seen."""

TRANSFER_SECONDS: Final = 5e-4
"""Seconds from the end of an exposure to the timestamp of its frame, at least."""

_CONVERSION_SECONDS = 1e-5
_FEWEST_VALUES = 5
_STAMP_JITTER = 2e-5
_ARM_SECONDS = 0.02
_TICK_SECONDS = 0.01
_POINTS = 8
_SERIES_POINTS = 2048
_DARK = 1.5e-12
_CHARGES_PER_QUANTUM = 10.0
_ELEMENTARY_CHARGE = 1.602176634e-19
_READOUT_NOISE = 1e-12
_READOUT_SECONDS = 1e-3
_MODES = ("Free run", "Ext. trig.", "Ext. bulb", "Ext. gate")
_SCANS = ("Passive", "Event", "I/O Intr", "10 second", "5 second", "2 second", "1 second")


class _Current(Plugin):
    """Mean, total and sigma of one current in each frame (NDStats), also as time series."""

    def __init__(self, database: Database, prefix: str, port: str, source: str) -> None:
        super().__init__(database, prefix, port, source, "NDPluginStats", enabled=True)
        self._mean = self.read_only("number", "MeanValue_RBV", 0.0, "A", 12)
        self.setting("choice", "ComputeStatistics", "Yes", ("No", "Yes"))
        series = Plugin(
            database, f"{prefix}TS:", f"{port}_TS", port, "NDPluginTimeSeries", enabled=True
        )
        self._series_enabled, self.series_dropped = series.enabled, series.dropped
        self._arrays = {
            name: self.read_only("array", f"TS{record}", _SERIES_POINTS, unit)
            for name, record, unit in (
                ("mean", "MeanValue", "A"),
                ("total", "Total", "A"),
                ("stamp", "Timestamp", "s"),
            )
        }
        self.read_only("choice", "TS:TSAcquire", "Done", ("Done", "Acquire"), on_put=self._collect)
        self._collecting = self.read_only("choice", "TS:TSAcquiring", "Done", ("Done", "Acquiring"))
        self._points = self.read_only(
            "integer", "TS:TSNumPoints", _SERIES_POINTS, on_put=self._erase
        )
        self._point = self.read_only("integer", "TS:TSCurrentPoint", 0)
        self._mode = self.setting(
            "choice",
            "TS:TSAcquireMode",
            "Fixed length",
            ("Fixed length", "Circ. buffer"),
            on_put=self._erase,
        )
        self.read_only("integer", "TS:TSNumAverage", 1)
        self.read_only("choice", "TS:TSRead", "Done", ("Done", "Read"), on_put=self._read)
        self.scan = self.read_only("choice", "TS:TSRead.SCAN", "1 second", _SCANS, writable=True)
        self._collected = np.empty((3, 0))

    async def add(self, mean: Floats, counts: NDArray[np.int64], stamps: Floats) -> None:
        """Take the frames of a moment, shape (n,); stamps are times of the server's clock."""
        if self.enabled.value != "Enable" or not len(mean):
            return
        await self.counter.post(int(self.counter.value) + len(mean))
        shown = slice(None) if self._mean.observed else slice(-1, None)
        for value, stamp in zip(mean[shown], stamps[shown], strict=True):
            await self._mean.post(float(value), float(stamp) - self.database.clock.offset)
        if self._collecting.value != "Acquiring" or self._series_enabled.value != "Enable":
            return
        new = np.stack([mean, mean * counts, stamps - EPICS_EPOCH])
        self._collected = np.concatenate([self._collected, new], axis=1)
        room = int(self._points.value)
        if self._mode.value == "Circ. buffer":
            self._collected = self._collected[:, -room:]
        elif self._collected.shape[1] >= room:
            self._collected = self._collected[:, :room]
            await self._collecting.change("Done")
            await self._publish()

    async def read_periodically(self) -> None:
        """Publish the time series, if it is set to do that by itself."""
        if self.scan.value == "1 second":
            await self._read("Read")

    async def _collect(self, value: str) -> None:
        if value == "Acquire":
            await self._erase(None)
            await self._collecting.change("Acquiring")
        else:
            await self._publish()
            await self._collecting.change("Done")

    async def _erase(self, _: Any) -> None:
        self._collected = np.empty((3, 0))
        await self._point.change(0)

    async def _read(self, _: str) -> None:
        # The record is disabled (SDIS) while nothing is collected.
        if self._collecting.value == "Acquiring":
            await self._publish()

    async def _publish(self) -> None:
        block = self._collected
        if self._mode.value == "Circ. buffer":
            empty = int(self._points.value) - block.shape[1]
            block = np.concatenate([np.zeros((3, empty)), block], axis=1)
        await self._point.change(self._collected.shape[1])
        for array, values in zip(self._arrays.values(), block, strict=True):
            await array.post(values.copy())


class QuadElectrometer(ArrayRecords):
    """A picoammeter with four inputs that averages samples of up to 20 kHz over an exposure.

    The records are those of quadEM's TetrAMM and its plugins ``Current1:`` to ``Current4:``. The
    first input has the mesh, the second the sample, the others nothing but their dark currents.
    It runs freely until it is told otherwise.

    Faults, behind ``FAULT:<name>_``: those of :class:`TriggerInput`; ``drop``: numbers of frames,
    counted from 0 when it is armed, that do not get into the plugins; ``never_arms``.

    Parameters
    ----------
    database
        Where the process variables are added.
    name
        Name of the device, without the colon.
    beam
        The light.
    photocurrents
        What the light gives at the first inputs.
    generator
        Source of the noise.
    record
        Called with (name, start, stop, mean energy, mean current of the first input) of every
        exposure.
    line
        Cable from the trigger box.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        beam: Beam,
        photocurrents: tuple[Photocurrent, ...],
        generator: np.random.Generator,
        record: Callable[[str, float, float, float, float], None],
        line: TriggerLine,
    ) -> None:
        super().__init__(database, f"{name}:", name)
        self.name = name
        self._beam, self._photocurrents = beam, photocurrents
        self._generator, self._record = generator, record
        self.read_only("text", "Model", "TetrAMM")
        self._mode = self.setting("choice", "TriggerMode", _MODES[0], _MODES)
        self.setting("choice", "TriggerPolarity", "Positive", ("Positive", "Negative"))
        self.setting("choice", "AcquireMode", "Continuous", ("Continuous", "Multiple", "Single"))
        self.setting("integer", "NumAcquire", 1)
        self._values_per_read = self.setting(
            "integer",
            "ValuesPerRead",
            _FEWEST_VALUES,
            accept=lambda number: max(int(number), _FEWEST_VALUES),
            on_put=self._find_numbers,
        )
        self._averaging_time = self.setting(
            "number",
            "AveragingTime",
            0.1,
            "s",
            6,
            accept=lambda seconds: seconds if seconds > 0 else None,
            on_put=self._find_numbers,
        )
        self._sample_time = self.read_only(
            "number", "SampleTime_RBV", _FEWEST_VALUES * _CONVERSION_SECONDS, "s", 6
        )
        self._number = self.read_only("integer", "NumAverage_RBV", 2000)
        self._averaged = self.read_only("integer", "NumAveraged_RBV", 0)
        self.read_only("choice", "Acquire", "Acquire", ("Done", "Acquire"), on_put=self._acquire)
        self._acquiring = self.read_only(
            "choice", "Acquire_RBV", "Acquiring", ("Done", "Acquiring")
        )
        self._currents = [
            _Current(database, f"{name}:Current{k}:", f"{name}_STATS{k}", name) for k in range(1, 5)
        ]
        self._input = TriggerInput(database, name, line)
        self._drop = database.text(f"FAULT:{name}_drop", "", writable=True)
        self._never_arms = database.integer(f"FAULT:{name}_never_arms", 0, writable=True)
        self._ended = asyncio.Event()
        self._free = time.time()
        self._made = 0
        # Begin, end and number of samples of exposures that have begun.
        self._exposures: deque[tuple[float, float, int]] = deque()
        audience.on_arrival.append(self._make_up)

    async def run(self) -> None:
        """Expose and publish, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._expose())
            group.create_task(self._read_series())

    async def _read_series(self) -> None:
        async for _ in ticks(1.0):
            for current in self._currents:
                await current.read_periodically()

    async def _find_numbers(self, _: Any) -> None:
        sample = int(self._values_per_read.value) * _CONVERSION_SECONDS
        await self._sample_time.change(sample)
        await self._number.change(max(round(float(self._averaging_time.value) / sample), 1))

    async def _acquire(self, value: str) -> None:
        if value == "Done":
            self._input.disarm()
            self._exposures.clear()
            await self._acquiring.change("Done")
            self._ended.set()
            return
        if self._acquiring.value == "Acquiring":
            return
        self._ended.clear()
        if not self._never_arms.value:
            await asyncio.sleep(_ARM_SECONDS)
            self._exposures.clear()
            self._made, self._free = 0, time.time()
            if self._mode.value != _MODES[0]:
                self._input.arm(self._free)
            await self._acquiring.change("Acquiring")
        # A busy record: a put with completion ends with the acquisition.
        await self._ended.wait()

    async def _expose(self) -> None:
        async for _ in ticks(_TICK_SECONDS):
            if self._acquiring.value == "Acquiring":
                await self._expose_until(time.time())

    async def _expose_until(self, now: float) -> None:
        if self._mode.value == _MODES[0]:
            self._run_freely(now)
        else:
            self._follow(now)
        await self._deliver(now)

    async def _make_up(self) -> None:
        """Make the frames that were due while nobody could see them."""
        if self._acquiring.value == "Acquiring":
            await self._expose_until(time.time())

    def _run_freely(self, now: float) -> None:
        number, sample = int(self._number.value), float(self._sample_time.value)
        # What lies further back than a second is forgotten: the server was frozen.
        begin = max(self._free, now - 1.0)
        while begin <= now:
            self._exposures.append((begin, begin + number * sample, number))
            begin += number * sample
        self._free = begin

    def _follow(self, now: float) -> None:
        sample = float(self._sample_time.value)
        for edge, width in self._input.take(now):
            if edge < self._free:
                continue
            number = int(self._number.value)
            if self._mode.value == "Ext. bulb":
                number = max(int(width / sample), 1)
            begin = edge + float(self._generator.uniform(0, _CONVERSION_SECONDS))
            end = begin + number * sample
            self._exposures.append((begin, end, number))
            self._free = end + DEAD_TIME

    async def _deliver(self, now: float) -> None:
        """Make frames of the exposures that are complete."""
        complete = []
        while self._exposures and self._exposures[0][1] + 2 * TRANSFER_SECONDS <= now:
            complete.append(self._exposures.popleft())
        if not complete:
            return
        begins, ends, counts = (np.array(column) for column in zip(*complete, strict=True))
        currents = self._measure(begins, ends)
        late = np.abs(self._generator.normal(0.0, _STAMP_JITTER, len(ends)))
        stamps = ends + TRANSFER_SECONDS + late + self.database.clock.offset
        dropped = np.isin(self._made + np.arange(len(ends)), list(numbers(self._drop.value)))
        self._made += len(ends)
        await self.counter.post(int(self.counter.value) + len(ends))
        await self._averaged.change(int(counts[-1]))
        if self.array_callbacks.value != "Enable":
            return
        for current, values in zip(self._currents, currents, strict=True):
            if dropped.any():
                await current.dropped.post(int(current.dropped.value) + int(dropped.sum()))
            await current.add(values[~dropped], counts[~dropped], stamps[~dropped])

    def _measure(self, begins: Floats, ends: Floats) -> Floats:
        """Return the currents of exposures with their noise, shape (4, n), A."""
        length = ends - begins
        instants = begins[:, None] + length[:, None] * (np.arange(_POINTS) + 0.5) / _POINTS
        flat = instants.ravel()
        energy = self._beam.energy(flat)
        true = np.full((len(self._currents), len(begins)), _DARK)
        for row, photocurrent in enumerate(self._photocurrents):
            found = photocurrent(self._beam, flat, energy)
            true[row] = found.reshape(instants.shape).mean(axis=1)
        means = energy.reshape(instants.shape).mean(axis=1)
        for exposure in zip(begins, ends, means, true[0], strict=True):
            self._record(self.name, *(float(value) for value in exposure))
        shot = _CHARGES_PER_QUANTUM * _ELEMENTARY_CHARGE * np.abs(true) / length
        readout = _READOUT_NOISE**2 * _READOUT_SECONDS / length
        return np.asarray(true + self._generator.normal(size=true.shape) * np.sqrt(shot + readout))
