"""Simulated electrometers: they integrate a photocurrent, exposure after exposure."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from .audience import audience
from .beam import Beam, Photocurrent
from .channels import Database
from .jobs import sleep_until
from .trigger_input import TriggerInput
from .trigger_line import TriggerLine

__all__ = ["Electrometer"]

_READOUT_SECONDS = 0.01
_SHORTEST_CYCLE = 0.01
_TICK_SECONDS = 0.01
_BUFFER_POINTS = 2500
_TRIGGER_LINK = "Trigger Link"
_OVER_RANGE = 9.9e37
_ELEMENTARY_CHARGE = 1.602176634e-19
_CHARGES_PER_QUANTUM = 10.0
_READOUT_NOISE = 3e-14
_SCANS = (
    "Passive",
    "Event",
    "I/O Intr",
    "10 second",
    "5 second",
    "2 second",
    "1 second",
    ".5 second",
    ".2 second",
    ".1 second",
)


class Electrometer:
    """Electrometer that runs freely or is triggered (Keithley 6514 and its kin).

    Exposures follow each other without a gap (but not more than 100 in a second); each lasts NPLC
    power line cycles and is published with the time of its end; one that ``cmdCancel``
    interrupts is not. A moving average over
    more than one reading (``setFiltAverCnt``) smears what changes meanwhile, as the real one does.

    With ``setTrgSrc`` at ``Trigger Link`` a pulse begins each exposure; for 10 ms after its end
    no other is seen. Readings also go to a buffer that ``cmdBufStart`` clears and fills, and that
    ``cmdBufRead`` publishes: ``rdBuf``, and ``rdBufTime``, s from the time of ``rbkBufState`` to
    the end of each exposure. (The support of the real meters has no public names for that.)

    Faults, behind ``FAULT:<name>_``: those of :class:`TriggerInput`, ``silent``, ``never_arms``.

    Parameters
    ----------
    database
        Where the process variables are added.
    name
        Name of the device, without the colon.
    beam
        The light.
    photocurrent
        What the light gives.
    generator
        Source of the noise.
    record
        Called with (name, start, stop, mean energy, mean current) of every exposure.
    line
        Cable from the trigger box.
    mains_Hz
        Frequency of the mains, which the meter tells by ``rbkLineFreq``, Hz.
    noise
        So many times the noise of the charges and of the readout; 1 is that of a meter alone.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        beam: Beam,
        photocurrent: Photocurrent,
        generator: np.random.Generator,
        record: Callable[[str, float, float, float, float], None],
        line: TriggerLine,
        mains_Hz: float = 50.0,
        noise: float = 1.0,
    ) -> None:
        self.name = name
        self._mains = mains_Hz
        self._noise = noise
        self._beam, self._photocurrent = beam, photocurrent
        self._generator, self._record = generator, record
        self._free_running = True
        self._single = False
        self._cancelled = 0
        self._wake = asyncio.Event()
        self._recent: deque[float] = deque(maxlen=100)
        # Exposures that nobody could see: the newest, as many as the filter may want.
        self._unseen: deque[tuple[float, float]] = deque(maxlen=100)
        audience.on_arrival.append(self._make_up)
        self._input = TriggerInput(database, name, line)
        self._triggered: deque[tuple[float, float]] = deque()
        self._free = 0.0
        p = f"{name}:"
        self._reading = database.number(f"{p}rdCur", 0.0, "A", 6)
        database.number(f"{p}rbkLineFreq", mains_Hz, "Hz", 0)
        self._deadband = database.number(f"{p}rdCur.MDEL", -1.0, "A", writable=True)
        database.integer(f"{p}rdCur.PROC", 0, on_put=self._read_once)
        database.integer(f"{p}cmdStart", 0, on_put=self._start)
        database.integer(f"{p}cmdCancel", 0, on_put=self._cancel)
        database.integer(f"{p}cmdReset.PROC", 0, on_put=self._reset)
        self._zero_check = database.integer(f"{p}cmdZeroCheck", 0, writable=True)
        database.choice(f"{p}fwdMeas.SCAN", "Passive", _SCANS, writable=True)

        def setting(
            read: str, write: str, channel: Callable[..., Any], *args: Any, **more: Any
        ) -> Any:
            readback = channel(f"{p}{read}", *args)
            channel(f"{p}{write}", *args, on_put=readback.post, **more)
            return readback

        self._power_line_cycles = setting(
            "rbkIntegrTime",
            "setIntegrTime",
            database.number,
            5.0,
            limits=(0.01, 10.0),
        )
        self._range = setting(
            "rbkRangeCur",
            "setRangeCur",
            database.number,
            2e-8,
            "A",
            12,
            limits=(1e-12, 0.02),
        )
        self._auto_range = setting(
            "rbkRangeCurAuto", "cmdRangeCurAuto", database.choice, "Off", ("Off", "On")
        )
        self._filter_count = setting(
            "rbkFiltAverCnt",
            "setFiltAverCnt",
            database.integer,
            1,
            accept=lambda count: count if 1 <= count <= 100 else None,
        )
        setting(
            "rbkFiltAverCtrl", "cmdFiltAverCtrl", database.choice, "Moving", ("Moving", "Repeat")
        )
        setting(
            "rbkFunc",
            "setFunc",
            database.choice,
            "Current",
            ("Voltage", "Current", "Resistance", "Charge"),
        )
        sources = ("Immediate", _TRIGGER_LINK)
        setting("rbkArmSrc", "setArmSrc", database.choice, "Immediate", sources)
        self._source = database.choice(f"{p}rbkTrgSrc", "Immediate", sources)
        database.choice(f"{p}setTrgSrc", "Immediate", sources, on_put=self._choose_source)
        setting("rbkTrgInLine", "setTrgInLine", database.integer, 1)
        setting("rbkTrgDly", "setTrgDly", database.number, 0.0, "s")
        setting("rbkDisp", "cmdDisp", database.choice, "On", ("Off", "On"))
        self._never_arms = database.integer(f"FAULT:{name}_never_arms", 0, writable=True)
        self._add_buffer(database, p)
        self._silent = database.integer(f"FAULT:{name}_silent", 0, writable=True)

    def _add_buffer(self, database: Database, p: str) -> None:
        self._points = database.integer(f"{p}rbkBufPoints", _BUFFER_POINTS)
        self._state = database.choice(f"{p}rbkBufState", "Idle", ("Idle", "Filling", "Full"))
        self._stored = database.integer(f"{p}rbkBufCount", 0)
        database.integer(f"{p}cmdBufStart", 0, on_put=self._fill)
        database.integer(f"{p}cmdBufStop", 0, on_put=self._stop_filling)
        database.integer(f"{p}cmdBufRead", 0, on_put=self._publish_buffer)
        self._buffer = database.array(f"{p}rdBuf", _BUFFER_POINTS, "A")
        self._buffer_times = database.array(f"{p}rdBufTime", _BUFFER_POINTS, "s")
        self._readings: list[tuple[float, float]] = []
        self._filled_from = 0.0

    async def prime(self) -> None:
        """Publish a first reading, of an exposure that has just ended."""
        now = time.time()
        await self._finish(now - float(self._power_line_cycles.value) / self._mains, now)

    async def run(self) -> None:
        """Expose and publish, for ever."""
        start = time.time()
        while True:
            if not self._free_running and not self._single:
                await self._wake.wait()
                self._wake.clear()
                start = time.time()
                continue
            if self._source.value == _TRIGGER_LINK:
                await asyncio.sleep(_TICK_SECONDS)
                await self._follow(time.time())
                start = time.time()
                continue
            self._single = False
            stop = start + float(self._power_line_cycles.value) / self._mains
            cancelled = self._cancelled
            await sleep_until(stop + _READOUT_SECONDS)
            if cancelled != self._cancelled:
                start = time.time()
                continue
            await self._finish(start, stop)
            following = max(stop, start + _SHORTEST_CYCLE)
            start = following if time.time() - following < 1.0 else time.time()

    async def _follow(self, now: float) -> None:
        """Begin the exposures of pulses up to now, and finish those that are over."""
        duration = float(self._power_line_cycles.value) / self._mains
        for edge, _ in self._input.take(now):
            if edge >= self._free:
                self._triggered.append((edge, edge + duration))
                self._free = edge + duration + _READOUT_SECONDS
        while self._triggered and self._triggered[0][1] + _READOUT_SECONDS <= now:
            await self._finish(*self._triggered.popleft())

    async def _make_up(self) -> None:
        """Measure what somebody who has just come may see: the newest reading, filtered."""
        wanted = int(self._filter_count.value)
        exposures = list(self._unseen)[-wanted:]
        self._unseen.clear()
        for start, stop in exposures:
            await self._measure(start, stop)

    async def _finish(self, start: float, stop: float) -> None:
        if audience.present:
            await self._measure(start, stop)
        else:
            self._unseen.append((start, stop))

    async def _measure(self, start: float, stop: float) -> None:
        duration = stop - start
        count = min(max(16, math.ceil(duration * 1000)), 1000)
        instants = np.asarray(start + (np.arange(count) + 0.5) * (duration / count), np.float64)
        energy = self._beam.energy(instants)
        current = float(np.mean(self._photocurrent(self._beam, instants, energy)))
        self._record(self.name, start, stop, float(np.mean(energy)), current)
        self._recent.append(self._measured(current, duration))
        if self._silent.value:
            return
        window = list(self._recent)[-int(self._filter_count.value) :]
        value = sum(window) / len(window)
        over = self._auto_range.value == "Off" and abs(value) > 1.05 * float(self._range.value)
        await self._store(_OVER_RANGE if over else value, stop)
        if over:
            await self._reading.post_invalid(_OVER_RANGE, stop)
        elif abs(value - float(self._reading.value)) > float(self._deadband.value):
            await self._reading.post_valid(value, stop)

    def _measured(self, current: float, duration: float) -> float:
        """Current with shot noise and readout noise, A."""
        if self._zero_check.value:
            current = 0.0
        shot = _CHARGES_PER_QUANTUM * _ELEMENTARY_CHARGE * abs(current) / duration
        readout = _READOUT_NOISE**2 / (duration * self._mains)
        spread = self._noise * math.sqrt(shot + readout)
        return current + float(self._generator.normal(0.0, spread))

    async def _store(self, value: float, stop: float) -> None:
        if self._state.value == "Filling" and stop > self._filled_from:
            self._readings.append((value, stop - self._filled_from))
            await self._stored.post(len(self._readings))
            if len(self._readings) >= int(self._points.value):
                await self._state.change("Full")

    async def _fill(self, _: int) -> None:
        self._readings.clear()
        await self._stored.change(0)
        await self._state.change("Idle")
        if self._never_arms.value:
            return
        self._arm()
        self._filled_from = time.time()
        await self._state.change("Filling", self._filled_from)

    async def _stop_filling(self, _: int) -> None:
        await self._state.change("Idle")

    async def _publish_buffer(self, _: int) -> None:
        stored = np.array(self._readings).reshape(-1, 2)
        await self._buffer.post(stored[:, 0].copy())
        await self._buffer_times.post(stored[:, 1].copy())

    async def _choose_source(self, source: str) -> None:
        if not self._never_arms.value:
            self._input.disarm()
            if source == _TRIGGER_LINK:
                self._arm()
            await self._source.change(source)

    def _arm(self) -> None:
        self._triggered.clear()
        self._free = time.time()
        self._input.arm(self._free)

    async def _start(self, _: int) -> None:
        self._free_running = True
        self._wake.set()

    async def _cancel(self, _: int) -> None:
        self._free_running = False
        self._cancelled += 1
        self._wake.clear()

    async def _read_once(self, _: int) -> None:
        if not self._free_running:
            self._single = True
            self._wake.set()

    async def _reset(self, _: int) -> None:
        self._recent.clear()
