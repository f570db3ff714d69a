"""A simulated counter: a scaler record and a multichannel scaler that pulses advance (SIS3820)."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .beam import Beam, Photocurrent
from .channels import Database
from .jobs import Job, sleep_until, ticks
from .trigger_input import TriggerInput
from .trigger_line import TriggerLine

__all__ = ["CLOCK_HZ", "START_SECONDS", "Counter"]

Floats = NDArray[np.float64]

CLOCK_HZ: Final = 50e6
"""Rate of the internal clock, which the first input counts."""

START_SECONDS: Final = 0.001
"""Seconds from the begin of counting to the time that its start is published with."""

MAX_BINS: Final = 40_000

_COUNTS_PER_COULOMB = 1e15
_DARK_HZ = 5.0
_ARM_SECONDS = 0.01
_TICK_SECONDS = 0.01
_POINTS = 8
_SCANS = ("Passive", "10 second", "5 second", "2 second", "1 second", ".5 second", ".2 second")


class Counter:
    """Counts the clock, the mesh and the sample through voltage-to-frequency converters.

    The records are those of synApps' ``SIS38XX.template``, with its sequence program, and of the
    scaler record. A bin ends with the next pulse of the channel advance; without an end it goes
    on counting.

    Faults, behind ``FAULT:<name>_``: those of :class:`TriggerInput`; ``never_arms``.

    Parameters
    ----------
    database
        Where the process variables are added.
    name
        Name of the device, without the colon.
    beam
        The light.
    photocurrents
        What is counted at the second input and those that follow.
    generator
        Source of the noise.
    record
        Called with (name, start, stop, mean energy, expected rate of the second input) of every
        bin that a pulse has begun.
    line
        Cable from the trigger box to the channel advance.
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
        self.name = name
        self._beam, self._photocurrents = beam, photocurrents
        self._generator, self._record = generator, record
        self._input = TriggerInput(database, name, line)
        self._never_arms = database.integer(f"FAULT:{name}_never_arms", 0, writable=True)
        self._signals = len(photocurrents) + 2
        self._add_multichannel_scaler(database, f"{name}:")
        self._add_scaler(database, f"{name}:scaler1")
        self._ended = asyncio.Event()
        self._counts: list[NDArray[np.int64]] = []
        self._bins = 0
        self._open_since = 0.0
        self._started = 0.0
        self._count = Job()

    def _add_multichannel_scaler(self, database: Database, p: str) -> None:
        def command(name: str, action: Callable[[Any], Any]) -> None:
            database.integer(f"{p}{name}", 0, on_put=action)

        command("EraseAll", self._erase)
        command("EraseStart", self._erase_and_start)
        command("StartAll", self._start)
        command("StopAll", self._stop)
        command("ReadAllOnce", self._read)
        command("DoReadAll", self._read)
        command("SoftwareChannelAdvance", self._advance_now)
        states = ("Done", "Acquiring")
        self._acquiring = database.choice(f"{p}Acquiring", "Done", states)
        self._hardware = database.choice(f"{p}HardwareAcquiring", "Done", states)
        self._elapsed = database.number(f"{p}ElapsedReal", 0.0, "s", 2)
        self._scan = database.choice(f"{p}ReadAll.SCAN", "1 second", _SCANS, writable=True)
        self._bins_wanted = database.integer(
            f"{p}NuseAll", 2048, accept=lambda bins: min(max(int(bins), 1), MAX_BINS)
        )
        self._current = database.integer(f"{p}CurrentChannel", 0)
        database.integer(f"{p}MaxChannels", MAX_BINS)
        database.choice(f"{p}Model", "SIS3820", ("SIS3801", "SIS3820"))
        self._dwell = database.number(
            f"{p}Dwell", 0.1, "s", 6, accept=lambda seconds: seconds if seconds > 0 else None
        )
        database.number(f"{p}PresetReal", 0.0, "s", 3, writable=True)
        self._advance = database.choice(
            f"{p}ChannelAdvance", "Internal", ("Internal", "External"), writable=True
        )
        self._count_on_start = database.choice(
            f"{p}CountOnStart", "No", ("No", "Yes"), writable=True
        )
        self._first_source = database.choice(
            f"{p}Channel1Source", "Int. clock", ("Int. clock", "External"), writable=True
        )
        database.integer(f"{p}Prescale", 1, writable=True)
        self._mode = database.choice(f"{p}AcquireMode", "Scaler", ("MCS", "Scaler"))
        self._arrays = []
        for number in range(1, self._signals + 1):
            array = database.integers(f"{p}mca{number}", MAX_BINS)
            database[f"{database.prefix}{p}mca{number}.VAL"] = array
            self._arrays.append(array)

    def _add_scaler(self, database: Database, p: str) -> None:
        self._counting = database.choice(
            f"{p}.CNT", "Done", ("Done", "Count"), on_put=self._count_once
        )
        self._preset = database.number(f"{p}.TP", 1.0, "s", 3, writable=True)
        self._time = database.number(f"{p}.T", 0.0, "s", 3)
        database.number(f"{p}.FREQ", CLOCK_HZ, "Hz", 0, writable=True)
        self._automatic = database.choice(
            f"{p}.CONT", "OneShot", ("OneShot", "AutoCount"), writable=True
        )
        self._sums = [
            database.number(f"{p}.S{number}", 0.0, "", 0) for number in range(1, self._signals + 1)
        ]
        names = ("clock", "mesh", "sample", "dark")
        for number in range(1, self._signals + 1):
            database.text(f"{p}.NM{number}", names[number - 1], writable=True)

    async def run(self) -> None:
        """Count, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._fill())
            group.create_task(self._read_periodically())
            group.create_task(self._count_automatically())

    async def close(self) -> None:
        """End what the scaler counts."""
        await self._count.stop()

    # ---- multichannel scaler --------------------------------------------------------------

    async def _erase(self, _: Any) -> None:
        self._counts.clear()
        self._bins = 0
        await self._current.change(0)
        await self._read(None)

    async def _erase_and_start(self, _: Any) -> None:
        await self._erase(None)
        await self._start(None)

    async def _start(self, _: Any) -> None:
        if self._hardware.value == "Acquiring" or self._counting.value == "Count":
            return
        self._ended.clear()
        await self._acquiring.change("Acquiring")
        if not self._never_arms.value:
            await asyncio.sleep(_ARM_SECONDS)
            await self._mode.change("MCS")
            self._started = time.time()
            external = self._advance.value == "External"
            waits = external and self._count_on_start.value == "No"
            self._open_since = np.nan if waits else self._started
            if external:
                self._input.arm(self._started)
            await asyncio.sleep(START_SECONDS)
            await self._hardware.change("Acquiring", self._started + START_SECONDS)
        # A busy record: a put with completion ends with the acquisition.
        await self._ended.wait()

    async def _stop(self, _: Any) -> None:
        self._input.disarm()
        await self._hardware.change("Done")
        await self._read(None)
        await self._acquiring.change("Done")
        self._ended.set()

    async def _advance_now(self, _: Any) -> None:
        if self._hardware.value == "Acquiring":
            await self._take_pulses(time.time())
            await self._end_bins(np.array([time.time()]))

    async def _fill(self) -> None:
        async for _ in ticks(_TICK_SECONDS):
            if self._hardware.value != "Acquiring":
                continue
            now = time.time()
            await self._take_pulses(now)
            await self._elapsed.post(now - self._started)

    async def _take_pulses(self, now: float) -> None:
        if self._advance.value == "External":
            ends = np.array([edge for edge, _ in self._input.take(now)])
        else:
            dwell = float(self._dwell.value)
            number = int((now - self._open_since) / dwell)
            ends = self._open_since + dwell * np.arange(1, number + 1)
        if len(ends) and np.isnan(self._open_since):
            self._open_since, ends = float(ends[0]), ends[1:]
        await self._end_bins(ends)

    async def _end_bins(self, ends: Floats) -> None:
        """End the open bin at the first of some times, and begin one at each of them."""
        ends = ends[: int(self._bins_wanted.value) - self._bins]
        if not len(ends):
            return
        begins = np.append(self._open_since, ends[:-1])
        # What was counted before the first pulse is no exposure.
        external = self._advance.value == "External"
        before = self._bins == 0 and external and self._count_on_start.value == "Yes"
        self._counts.append(self._count_between(begins, ends, not_recorded=int(before)))
        self._open_since = float(ends[-1])
        self._bins += len(ends)
        await self._current.post(self._bins)
        if self._bins >= int(self._bins_wanted.value):
            await self._stop(None)

    def _count_between(self, begins: Floats, ends: Floats, not_recorded: int) -> NDArray[np.int64]:
        """Return the counts of bins, shape (inputs, n)."""
        length = ends - begins
        instants = begins[:, None] + length[:, None] * (np.arange(_POINTS) + 0.5) / _POINTS
        flat = instants.ravel()
        energy = self._beam.energy(flat)
        rates = np.full((self._signals, len(begins)), _DARK_HZ)
        for row, photocurrent in enumerate(self._photocurrents, start=1):
            current = photocurrent(self._beam, flat, energy).reshape(instants.shape)
            rates[row] += _COUNTS_PER_COULOMB * current.mean(axis=1)
        counts = self._generator.poisson(rates * length)
        if self._first_source.value == "Int. clock":
            # What the clock has counted since its begin, not rounded bin by bin.
            edges = np.round((np.append(begins[:1], ends) - self._started) * CLOCK_HZ)
            counts[0] = np.diff(edges)
        means = energy.reshape(instants.shape).mean(axis=1)
        for k in range(not_recorded, len(begins)):
            self._record(
                self.name, float(begins[k]), float(ends[k]), float(means[k]), float(rates[1, k])
            )
        return np.asarray(counts, np.int64)

    async def _read(self, _: Any) -> None:
        counts = np.concatenate([np.empty((self._signals, 0), np.int64), *self._counts], axis=1)
        self._counts[:] = [counts]
        for array, values in zip(self._arrays, counts, strict=True):
            await array.post(values.astype(np.int32))

    async def _read_periodically(self) -> None:
        async for _ in ticks(1.0):
            if self._hardware.value == "Acquiring" and self._scan.value == "1 second":
                await self._read(None)

    # ---- scaler ---------------------------------------------------------------------------

    async def _count_once(self, value: str) -> None:
        await self._count.stop()
        if value == "Count" and self._hardware.value != "Acquiring":
            done = asyncio.Event()
            await self._count.start(self._count_for(float(self._preset.value), done))
            await done.wait()

    async def _count_for(self, seconds: float, done: asyncio.Event) -> None:
        try:
            await self._mode.change("Scaler")
            begin = time.time()
            await sleep_until(begin + seconds)
            await self._show(begin, begin + seconds)
        finally:
            await self._counting.change("Done")
            done.set()

    async def _show(self, begin: float, end: float) -> None:
        self._started = begin
        counts = self._count_between(np.array([begin]), np.array([end]), not_recorded=1)
        await self._time.post(end - begin)
        for channel, count in zip(self._sums, counts[:, 0], strict=True):
            await channel.post(float(count))

    async def _count_automatically(self) -> None:
        async for tick in ticks(1.0):
            free = self._hardware.value != "Acquiring" and self._counting.value != "Count"
            if self._automatic.value == "AutoCount" and free:
                await self._show(tick - 1.0, tick)
