"""A simulated Zebra: compares encoder positions, makes pulses, and captures what it saw.

Process variables and their units: the EPICS support of Diamond Light Source (``zebra.template``
and ``zebraRegisterWrite*.template`` of ``dls-controls/zebra``); what the box does with them: its
manual, TDI-CTRL-TNO-042.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import floor, inf

import numpy as np
from numpy.typing import NDArray

from glidepath.physics import counted

from .channels import Choice, Database, Number
from .encoders import Reading, first_passages
from .jobs import ticks
from .trigger_line import TriggerLine

__all__ = ["Zebra"]

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Record = Callable[[Floats, float], None]
"""Called with the pulses that left the box: rising edges (POSIX s) and width (s)."""

_POSITION, _TIME, _EXTERNAL = "Position", "Time", "External"
_SOURCES = (_POSITION, _TIME, _EXTERNAL)
_ENCODERS = ("Enc1", "Enc2", "Enc3", "Enc4")
_POSITIVE, _NEGATIVE = "Positive", "Negative"
_UNIT_SECONDS = {"ms": 1e-3, "s": 1.0, "10s": 10.0}
_TICK = 1e-4
"""Resolution of all times, in time units."""
_CAPTURES = 100_000
"""How many captures the support keeps of one arming."""
_HIGHEST = 2**31
_EDGES = ("Rising", "Falling")
_PC_PULSE = 31
_PULSE_1 = 52
_OUTPUTS = 4

_POLL_SECONDS = 0.02
_BEHIND_SECONDS = 0.025
"""The box knows what happened this long ago: by then every change of motion has been heard of."""
_LONGEST_STRETCH = 1.0
_ARRAY_SECONDS = 1.0


class _Register:
    """A 32-bit register: a demand and a readback in engineering units.

    Parameters
    ----------
    database, name, raw
        Where its variables are added, under which name, and what it holds at first.
    scale
        Returns units for one step, and the units at zero.
    locked
        Whether it takes no value now.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        raw: int,
        scale: Callable[[], tuple[float, float]],
        locked: Callable[[], bool],
        highest: int = _HIGHEST,
    ) -> None:
        self.raw = raw
        self._scale, self._locked, self._highest = scale, locked, highest
        self._demand = database.number(name, self._value(), accept=self._accept, on_put=self._take)
        self._readback = database.number(f"{name}:RBV", self._value())

    def _value(self) -> float:
        scale, offset = self._scale()
        return self.raw * scale + offset

    def _steps(self, value: float) -> int:
        scale, offset = self._scale()
        return floor((value - offset) / scale + 0.5)

    def _accept(self, value: float) -> float | None:
        if self._locked() or self._scale()[0] == 0 or not abs(value) < inf:
            return None
        return value if abs(self._steps(value)) < self._highest else None

    async def _take(self, value: float) -> None:
        self.raw = self._steps(value)
        await self.show()

    async def show(self) -> None:
        """Publish what it holds, as it is in the present units."""
        await self._demand.change(self._value())
        await self._readback.change(self._value())


@dataclass
class _Run:
    """One arming: the registers as they were then, and how far it has come."""

    armed: float
    reading: Reading
    """Of the encoder that is compared, in the direction in which it is compared."""
    gate_source: str
    gate_start: float
    gate_width: float
    gate_step: float
    gates: int
    pulse_source: str
    pulse_start: float
    pulse_step: float
    pulses: int
    unit: float
    seen_to: float
    below: bool = False
    opened: float | None = None
    """When the gate opened; None while it is shut."""
    base: float = 0.0
    """Reading from which the pulses of the open gate are counted."""
    gate: int = 0
    pulse: int = 0
    ends: float = inf
    """When it was told to disarm."""

    def opens(self, until: float) -> float | None:
        """Return when the gate opens before an instant; None if it does not."""
        start = self.gate_start + self.gate * self.gate_step
        if self.gate_source == _TIME:
            opened = max(self.armed + start, self.seen_to)
            return opened if opened < until else None
        if self.gate_source == _EXTERNAL:
            return None
        threshold, begin = start - 0.5, self.seen_to
        if not self.below:
            # It opens when the position crosses the start, not because it is beyond it.
            grid = np.linspace(begin, until, 64)
            under = np.flatnonzero(self.reading(grid) < threshold)
            if not len(under):
                return None
            self.below, begin = True, float(grid[under[0]])
        passages = first_passages(self.reading, begin, until, threshold)
        return float(passages[0]) if len(passages) else None

    def shuts(self, until: float) -> float | None:
        """Return when the open gate shuts before an instant; None if it does not."""
        assert self.opened is not None
        if self.gate_source == _TIME:
            closing = self.opened + self.gate_width
            return closing if closing <= until else None
        threshold = self.base + self.gate_width - 0.5
        passages = first_passages(self.reading, self.seen_to, until, threshold)
        return float(passages[0]) if len(passages) else None

    def pulses_before(self, end: float) -> Floats:
        """Return the pulses of the open gate that come before an instant."""
        assert self.opened is not None
        if self.pulse_source == _EXTERNAL or self.pulse_step <= 0:
            return np.empty(0)
        left = self.pulses - self.pulse if self.pulses else _HIGHEST
        if self.pulse_source == _TIME:
            first = self.opened + self.pulse_start
            due = floor((end - first) / self.pulse_step) + 1 - self.pulse
            numbers = self.pulse + np.arange(min(max(due, 0), left), dtype=np.float64)
            times = first + self.pulse_step * numbers
        else:
            first = self.base + self.pulse_start - 0.5 + self.pulse * self.pulse_step
            times = first_passages(self.reading, self.seen_to, end, first, self.pulse_step, left)
        times = times[times < end]
        self.pulse += len(times)
        return times


class _Outputs:
    """The pulse blocks, and what leaves the box at its outputs.

    Parameters
    ----------
    database, name
        Where the process variables are added, and what their names begin with.
    line, record
        As for `Zebra`.

    Attributes
    ----------
    error_bits
        Pulse blocks that were given a pulse while they were busy.
    """

    def __init__(self, database: Database, name: str, line: TriggerLine, record: Record) -> None:
        self._line, self._record = line, record
        self._busy_until = [-inf] * _OUTPUTS
        self.error_bits = 0

        def free() -> bool:
            return False

        self._blocks = []
        for number in range(1, _OUTPUTS + 1):
            block = f"{name}PULSE{number}"
            readback = database.choice(f"{block}_PRE:RBV", "ms", tuple(_UNIT_SECONDS))
            unit = database.choice(
                f"{block}_PRE", "ms", tuple(_UNIT_SECONDS), on_put=readback.change
            )
            edge = database.choice(
                f"{name}POLARITY:B{'CDEF'[number - 1]}", _EDGES[0], _EDGES, writable=True
            )
            registers = {
                part: _Register(database, f"{block}_{part}", 0, scale, free, highest)
                for part, scale, highest in (
                    ("INP", _number, 64),
                    ("DLY", _time, 1 << 16),
                    ("WID", _time, 1 << 16),
                )
            }
            self._blocks.append((unit, edge, registers))
        self._outputs = [
            _Register(database, f"{name}OUT{number}_TTL", 0, _number, free, 64)
            for number in range(1, _OUTPUTS + 1)
        ]

    def send(self, times: Floats, own_width: Callable[[Floats], float]) -> None:
        """Send what the first output carries.

        Parameters
        ----------
        times
            Rising edges of the pulses of the compare block, POSIX s.
        own_width
            Returns how long these are, s.
        """
        source = self._outputs[0].raw
        for block, (unit, edge, registers) in enumerate(self._blocks):
            if registers["INP"].raw != _PC_PULSE:
                continue
            scale = _TICK * _UNIT_SECONDS[unit.value]
            delay, width = registers["DLY"].raw * scale, registers["WID"].raw * scale
            answered = times
            if edge.value != _EDGES[0]:
                answered = times + own_width(times)
            accepted = self._unoccupied(block, answered, delay + width)
            if source == _PULSE_1 + block:
                self._emit(accepted + delay, width)
        if source == _PC_PULSE:
            self._emit(times, own_width(times))

    def _unoccupied(self, block: int, times: Floats, occupied: float) -> Floats:
        """Return the pulses that find a pulse block at rest; the others are its errors."""
        accepted = []
        for instant in times:
            if instant >= self._busy_until[block]:
                accepted.append(instant)
                self._busy_until[block] = instant + occupied
            else:
                self.error_bits |= 1 << block
        return np.array(accepted, dtype=np.float64)

    def _emit(self, edges: Floats, width: float) -> None:
        if len(edges):
            self._record(edges, width)
            self._line.send(edges, width)


class Zebra:
    """Position compare, pulse blocks and outputs of a Zebra.

    Gate and pulses by position or by time. What the box makes at its first output, ``OUT1_TTL``,
    goes to the trigger line. While it is armed or downloads, settings take no value, as with the
    real support. ``PC_PULSE_DLY`` has no effect.

    Faults, under ``FAULT:``: ``zebra_never_arms``; ``zebra_lost_pulse``, the number (from 1 on) of
    the pulse of a gate that is not made; ``zebra_extra_pulse``, the number (from 2 on) of the one
    behind which there is one too many; ``zebra_download_rate``, captures that it hands over in a
    second (0: all at once); ``zebra_captures``, the size of the buffer (``PC_TIME.NELM``).

    Parameters
    ----------
    database
        Where the process variables are added.
    name
        What their names begin with.
    encoders
        What is connected to its four encoder inputs.
    scales
        Units and offset of a count of each, as its motor record would say (``M1:ERES``,
        ``M1:OFF``); (1, 0) where there is no motor record: counts.
    line
        Where the pulses go.
    record
        Called with the pulses that left the box.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        encoders: Sequence[Reading],
        scales: Sequence[tuple[float, float]],
        line: TriggerLine,
        record: Record,
    ) -> None:
        self._encoders = encoders
        self._offsets = [0] * len(_ENCODERS)
        self._run: _Run | None = None
        self._times: Floats = np.zeros(_CAPTURES + 1)
        self._counts: Counts = np.zeros((len(_ENCODERS), _CAPTURES), dtype=np.int64)
        self._capacity = _CAPTURES
        self._made = 0
        self._downloaded = 0.0
        self._extra: float | None = None
        self._previous: float | None = None
        self._build_captures(database, name)
        self._build_encoders(database, name, scales)
        self._build_settings(database, name)
        self._outputs = _Outputs(database, name, line, record)
        database.number(f"{name}PC_ARM", 0.0, accept=self._unless_locked, on_put=self._arm)
        database.number(f"{name}PC_DISARM", 0.0, on_put=self._disarm)
        self._armed = database.number(f"{name}PC_ARM_OUT", 0.0)
        database.number(f"{name}SYS_RESET", 0.0, on_put=self._reset)
        self._errors = database.number(f"{name}SYS_STATERR", 0.0)
        firmware = database.integer(f"{name}SYS_VER", 0x20)
        database.integer(f"{name}CONNECTED", 1)
        database.integer("FAULT:zebra_firmware", 0x20, on_put=firmware.post)
        self._never_arms = database.integer("FAULT:zebra_never_arms", 0, writable=True)
        self._lost = database.integer("FAULT:zebra_lost_pulse", 0, writable=True)
        self._added = database.integer("FAULT:zebra_extra_pulse", 0, writable=True)
        database.integer(
            "FAULT:zebra_captures",
            _CAPTURES,
            accept=lambda size: size if 0 < size <= _CAPTURES else None,
            on_put=self._resize,
        )
        self._rate = database.number("FAULT:zebra_download_rate", 0.0, "1/s", writable=True)

    def _build_captures(self, database: Database, name: str) -> None:
        self._time_array = database.array(f"{name}PC_TIME", _CAPTURES)
        self._size = database.integer(f"{name}PC_TIME.NELM", _CAPTURES)
        self._arrays = [
            database.array(f"{name}PC_ENC{number}", _CAPTURES)
            for number in range(1, len(_ENCODERS) + 1)
        ]
        self._number_made = database.number(f"{name}PC_NUM_CAP", 0.0)
        self._number_downloaded = database.number(f"{name}PC_NUM_DOWN", 0.0)
        self._acquiring = database.number(f"{name}ARRAY_ACQ", 0.0)
        database.number(f"{name}ARRAY_UPDATE", 0.0, on_put=lambda _: self._publish())

    def _build_encoders(
        self, database: Database, name: str, scales: Sequence[tuple[float, float]]
    ) -> None:
        self._scales: list[tuple[Number, Number]] = []
        for index, (resolution, offset) in enumerate(scales):
            motor = f"{name}M{index + 1}"
            self._scales.append(
                (
                    database.number(f"{motor}:ERES", resolution, on_put=self._show_settings),
                    database.number(f"{motor}:OFF", offset, on_put=self._show_settings),
                )
            )
        self._presets = [
            database.number(
                f"{name}POS{index + 1}_SET",
                0.0,
                accept=self._unless_locked,
                on_put=lambda value, index=index: self._preset(index, value),
            )
            for index in range(len(_ENCODERS))
        ]

    def _build_settings(self, database: Database, name: str) -> None:
        def choice(parameter: str, value: str, choices: tuple[str, ...]) -> Choice:
            readback = database.choice(f"{name}{parameter}:RBV", value, choices)

            async def take(taken: str) -> None:
                await readback.change(taken)
                await self._show_settings(0.0)

            return database.choice(
                f"{name}{parameter}", value, choices, accept=self._unless_locked, on_put=take
            )

        self._encoder = choice("PC_ENC", "Enc1", (*_ENCODERS, "Enc1-4Av"))
        self._direction = choice("PC_DIR", _POSITIVE, (_POSITIVE, _NEGATIVE))
        self._unit = choice("PC_TSPRE", "ms", tuple(_UNIT_SECONDS))
        self._arm_source = choice("PC_ARM_SEL", "Soft", ("Soft", _EXTERNAL))
        self._gate_source = choice("PC_GATE_SEL", _POSITION, _SOURCES)
        self._pulse_source = choice("PC_PULSE_SEL", _POSITION, _SOURCES)
        self._registers: dict[str, _Register] = {}
        scales: dict[str, tuple[int, Callable[[], tuple[float, float]]]] = {
            "PC_GATE_START": (0, self._gate_position),
            "PC_GATE_WID": (0, self._gate_distance),
            "PC_GATE_STEP": (0, self._gate_distance),
            "PC_GATE_NGATE": (1, _number),
            "PC_PULSE_START": (0, self._pulse_distance),
            "PC_PULSE_STEP": (1, self._pulse_distance),
            "PC_PULSE_WID": (0, self._pulse_distance),
            "PC_PULSE_DLY": (0, _time),
            "PC_PULSE_MAX": (0, _number),
        }
        for parameter, (raw, scale) in scales.items():
            self._registers[parameter] = _Register(
                database, name + parameter, raw, scale, self._locked
            )
        self._captured = _Register(
            database, f"{name}PC_BIT_CAP", 0b1111, _number, self._locked, 1 << 10
        )

    # -- settings ----------------------------------------------------------------------------

    def _locked(self) -> bool:
        return bool(self._acquiring.value)

    def _unless_locked(self, value: object) -> object:
        return None if self._locked() else value

    def _selected(self) -> int:
        """Index of the encoder that is compared; the average of all is not simulated."""
        return _ENCODERS.index(self._encoder.value) if self._encoder.value in _ENCODERS else 0

    def _position(self, index: int) -> tuple[float, float]:
        resolution, offset = self._scales[index]
        return float(resolution.value), float(offset.value)

    def _gate_position(self) -> tuple[float, float]:
        if self._gate_source.value == _POSITION:
            return self._position(self._selected())
        return self._gate_distance()

    def _gate_distance(self) -> tuple[float, float]:
        return self._distance(self._gate_source)

    def _pulse_distance(self) -> tuple[float, float]:
        return self._distance(self._pulse_source)

    def _distance(self, source: Choice) -> tuple[float, float]:
        if source.value == _POSITION:
            return abs(self._position(self._selected())[0]), 0.0
        return _time()

    async def _show_settings(self, _: float) -> None:
        """Publish all registers again: their units may have changed."""
        for register in self._registers.values():
            await register.show()

    async def _preset(self, index: int, value: float) -> None:
        resolution, offset = self._position(index)
        if resolution:
            now = int(counted(self._encoders[index](np.array([time.time()])))[0])
            self._offsets[index] = floor((value - offset) / resolution + 0.5) - now

    # -- arming ------------------------------------------------------------------------------

    async def _arm(self, _: int) -> None:
        if self._never_arms.value or self._arm_source.value != "Soft":
            return
        raw = {name: register.raw for name, register in self._registers.items()}
        unit = _UNIT_SECONDS[self._unit.value]
        gate_by_time = self._gate_source.value == _TIME
        pulse_by_time = self._pulse_source.value == _TIME
        gate_scale = _TICK * unit if gate_by_time else 1.0
        pulse_scale = _TICK * unit if pulse_by_time else 1.0
        index, sign = self._selected(), self._sign()
        now = time.time()
        self._run = _Run(
            armed=now,
            reading=self._compared(index, sign),
            gate_source=self._gate_source.value,
            gate_start=raw["PC_GATE_START"] * (gate_scale if gate_by_time else sign),
            gate_width=raw["PC_GATE_WID"] * gate_scale,
            gate_step=raw["PC_GATE_STEP"] * gate_scale,
            gates=raw["PC_GATE_NGATE"],
            pulse_source=self._pulse_source.value,
            pulse_start=raw["PC_PULSE_START"] * pulse_scale,
            pulse_step=raw["PC_PULSE_STEP"] * pulse_scale,
            pulses=raw["PC_PULSE_MAX"],
            unit=unit,
            seen_to=now,
        )
        self._made, self._downloaded = 0, 0.0
        self._extra = self._previous = None
        await self._acquiring.post(1, now)
        await self._number_made.post(0, now)
        await self._publish()
        await self._armed.post(1, now)

    def _sign(self) -> int:
        """Direction in which the counts go, as the support translates it."""
        resolution, _ = self._position(self._selected())
        return (-1 if self._direction.value == _NEGATIVE else 1) * (-1 if resolution < 0 else 1)

    def _compared(self, index: int, sign: int) -> Reading:
        encoder, offset = self._encoders[index], self._offsets[index]
        return lambda when: sign * (encoder(when) + offset)

    async def _resize(self, captures: int) -> None:
        self._capacity = captures
        await self._size.post(captures)

    async def _disarm(self, _: int) -> None:
        if self._run is not None:
            self._run.ends = min(self._run.ends, time.time())

    async def _reset(self, _: int) -> None:
        """Soft reset: disarmed, what was not downloaded is gone, errors are cleared."""
        self._run = None
        self._made = int(self._downloaded)
        self._outputs.error_bits = 0
        await self._errors.change(0)
        await self._armed.change(0)

    # -- running -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Make pulses, capture, and publish, for ever."""
        published = time.time()
        async for tick in ticks(_POLL_SECONDS):
            if self._run is not None:
                await self._advance(self._run, tick - _BEHIND_SECONDS)
            self._download()
            await self._number_made.change(self._made)
            over = self._run is None and bool(self._acquiring.value)
            if over and self._downloaded >= min(self._made, self._capacity):
                await self._publish()
                await self._acquiring.change(0)
            elif tick - published >= _ARRAY_SECONDS:
                published = tick
                await self._publish()
            await asyncio.sleep(0)

    def _download(self) -> None:
        rate = float(self._rate.value)
        kept = min(self._made, self._capacity)
        self._downloaded = min(kept, self._downloaded + (rate * _POLL_SECONDS if rate else inf))

    async def _advance(self, run: _Run, until: float) -> None:
        """Let everything happen that happens up to an instant."""
        until = min(until, run.ends)
        while run.seen_to < until:
            if not self._step(run, min(until, run.seen_to + _LONGEST_STRETCH)):
                run.ends = run.seen_to
                break
        if run.seen_to >= run.ends:
            self._run = None
            await self._armed.change(0)
        await self._errors.change(self._outputs.error_bits)

    def _step(self, run: _Run, until: float) -> bool:
        """Go on to an instant, or to the next change of the gate; False after the last gate."""
        if run.opened is None:
            opened = run.opens(until)
            run.seen_to = until if opened is None else opened
            if opened is not None:
                run.opened, run.pulse = opened, 0
                by_position = run.gate_source == _POSITION
                run.base = (
                    run.gate_start + run.gate * run.gate_step
                    if by_position
                    else float(counted(run.reading(np.array([opened])))[0])
                )
            return True
        closing = run.shuts(until)
        end = until if closing is None else closing
        self._make(run, run.pulses_before(end), end)
        run.seen_to = end
        if closing is None:
            return True
        run.opened = None
        run.gate += 1
        return run.gates == 0 or run.gate < run.gates

    def _make(self, run: _Run, times: Floats, end: float) -> None:
        """Capture and send pulses, after the faults have had their way."""
        times = self._with_faults(run, times, end)
        if len(times):
            self._capture(run, times)
            self._outputs.send(times, partial(self._own_width, run))

    def _with_faults(self, run: _Run, times: Floats, end: float) -> Floats:
        numbers = run.pulse - len(times) + 1 + np.arange(len(times))
        made = times if self._previous is None else np.insert(times, 0, self._previous)
        at = np.flatnonzero(numbers == int(self._added.value)) + len(made) - len(times)
        if len(at) and at[0] > 0:
            # Half a period behind it, by the period before it: the next one is not known yet.
            self._extra = float(1.5 * made[at[0]] - 0.5 * made[at[0] - 1])
        if len(times):
            self._previous = float(times[-1])
        times = times[numbers != int(self._lost.value)]
        if self._extra is not None and self._extra <= end:
            times = np.sort(np.append(times, self._extra))
            self._extra = None
        return times

    def _capture(self, run: _Run, times: Floats) -> None:
        begin = min(self._made, self._capacity)
        kept = times[: self._capacity - begin]
        end = begin + len(kept)
        ticks_ = np.floor((kept - run.armed) / (_TICK * run.unit))
        self._times[begin:end] = ticks_ * _TICK
        for index, encoder in enumerate(self._encoders):
            # The counter has changed at the pulse that its change has made.
            counts = counted(encoder(kept) + self._offsets[index])
            self._counts[index, begin:end] = counts
        self._made += len(times)

    def _own_width(self, run: _Run, times: Floats) -> float:
        """Length of the compare block's own pulses, s: by position it is a distance."""
        width = self._registers["PC_PULSE_WID"].raw
        if run.pulse_source == _TIME:
            return width * _TICK * run.unit
        speed = np.median(run.reading(times) - run.reading(times - 1e-3)) / 1e-3
        return float(width / max(speed, 1e-9))

    # -- what clients see --------------------------------------------------------------------

    async def _publish(self) -> None:
        """Publish the captures that have been downloaded, the count of them last."""
        number = int(self._downloaded)
        # The support shows one more time than there are captures.
        await self._time_array.post(self._times[: min(number + 1, self._capacity)].copy())
        for index, array in enumerate(self._arrays):
            resolution, offset = self._position(index)
            chosen = (self._captured.raw >> index) & 1
            counts = self._counts[index, :number] if chosen else np.zeros(number)
            await array.post(counts * resolution + offset if chosen else counts)
        await self._number_downloaded.post(number)


def _number() -> tuple[float, float]:
    return 1.0, 0.0


def _time() -> tuple[float, float]:
    return _TICK, 0.0
