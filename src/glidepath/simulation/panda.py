"""A simulated PandA: sequencers, position compare and position capture, served over PV Access.

Blocks and fields: ``modules/*/*.block.ini`` of PandABlocks-FPGA; how they are served:
fastcs-PandABlocks.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glidepath.physics import counted

from .channels import Clock, Database
from .encoders import Reading
from .jobs import ticks
from .panda_blocks import NO_PULSES, CompareRun, Pulses, SequencerRun
from .panda_data import DataWriter
from .pv_access import Block, PvaServer, Variable
from .trigger_line import TriggerLine

__all__ = ["Panda"]

Floats = NDArray[np.float64]
Record = Callable[[Floats, float], None]
"""Called with the pulses that left the box: rising edges (POSIX s) and width (s)."""

_SEQUENCERS = _COMPARES = _PULSES = _OUTPUTS = 2
_CLOCK_SECONDS = 8e-9
_TURN_COUNTS = 1_000_000
"""Counts from one reference mark of an encoder to the next."""
_UNITS = {"min": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}
_BITS = (
    *("ZERO", "ONE", "PCAP.ACTIVE"),
    *(f"SEQ{number}.OUT{output}" for number in range(1, _SEQUENCERS + 1) for output in "ABCDEF"),
    *(f"PCOMP{number}.OUT" for number in range(1, _COMPARES + 1)),
    *(f"PULSE{number}.OUT" for number in range(1, _PULSES + 1)),
)
_TRIGGERS = (
    "Immediate",
    *(f"BIT{name}={level}" for name in "ABC" for level in "01"),
    *(f"POS{name}{sign}POSITION" for name in "ABC" for sign in (">=", "<=")),
)
_COLUMNS = (
    ("repeats", "H"),
    ("trigger", "s"),
    ("position", "i"),
    ("time1", "I"),
    *((f"out{name}1", "?") for name in "abcdef"),
    ("time2", "I"),
    *((f"out{name}2", "?") for name in "abcdef"),
)
_CAPTURES = ("Value", "Diff", "Sum", "Mean", "Min", "Max", "Min Max", "Min Max Mean", "No")
_STAMPS = ("ts_start", "ts_end", "ts_trig")
_EDGES = ("Rising", "Falling", "Either")
_POINTS = 64
"""Instants of an exposure at which an encoder is looked at for its mean."""

_POLL_SECONDS = 0.02
_BEHIND_SECONDS = 0.025
"""The box knows what happened this long ago: by then every change of motion has been heard of."""
_LONGEST_STRETCH = 0.25
_SHOW_SECONDS = 0.1
_ARM_SECONDS = 0.05
_TABLE_SECONDS = 0.05
"""How long after a put has been answered the server shows a table."""


@dataclass
class _Running:
    """A block that makes pulses, from its enabling on."""

    run: SequencerRun | CompareRun
    active: Variable
    stopped: float = inf
    made: int = 0
    previous: float | None = None
    extra: Pulses = NO_PULSES


class Panda:
    """A PandA with two sequencers, position compares and pulse blocks, and four encoders.

    What is connected to its first output, ``TTLOUT1``, goes to the trigger line. A sequencer has
    its output A only; gate and trigger of position capture are one signal. Enable inputs know
    ``ZERO`` and ``ONE``.

    Faults, under ``FAULT:``: ``panda_never_arms``; ``panda_lost_pulse``, the number (from 1 on) of
    the pulse since a block was enabled that is not made; ``panda_extra_pulse``, the number of the
    one behind which there is one too many; for those of its files see
    :class:`~glidepath.simulation.panda_data.DataWriter`.

    Parameters
    ----------
    database
        Where the process variables of the faults are added; its prefix is that of the PandA's.
    name
        What the names of its process variables begin with, such as ``PANDA:``.
    encoders
        What is connected to its four encoder inputs.
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
        line: TriggerLine,
        record: Record,
    ) -> None:
        self._encoders, self._line, self._record = encoders, line, record
        self._clock: Clock = database.clock
        self._root = Block(self._clock, database.prefix + name)
        self._server: PvaServer | None = None
        self._offsets = [0] * len(encoders)
        self._running: dict[str, _Running] = {}
        self._seen_to = 0.0
        self._waiting = NO_PULSES
        self._armed = self._capture_ends = inf
        self._begun = False
        self._tables: list[tuple[float, Variable, dict[str, Any]]] = []
        self._never_arms = database.integer("FAULT:panda_never_arms", 0, writable=True)
        self._lost = database.integer("FAULT:panda_lost_pulse", 0, writable=True)
        self._added = database.integer("FAULT:panda_extra_pulse", 0, writable=True)
        self._data = DataWriter(self._root.block("data"), database)
        self._build_encoders()
        self._build_sources()
        self._build_capture()
        for number in range(1, _OUTPUTS + 1):
            self._bit(self._part("ttlout", number), "val")
            self._part("ttlout", number).scalar("val_delay", 0, writable=True)

    # -- process variables -------------------------------------------------------------------

    def _part(self, kind: str, number: int) -> Block:
        return self._root.block(kind).block(str(number))

    def _bit(self, block: Block, field: str, on_put: Callable[[Any], None] | None = None) -> None:
        block.choice(field, "ZERO", _BITS, writable=True, on_put=on_put)

    def _time(self, block: Block, field: str) -> None:
        block.scalar(field, 0.0, writable=True)
        block.choice(f"{field}_units", "s", tuple(_UNITS), writable=True)

    def _build_encoders(self) -> None:
        self._inputs = []
        for index in range(len(self._encoders)):
            block = self._part("inenc", index + 1)
            block.scalar("val", 0)
            block.scalar("val_scale", 1.0, writable=True)
            block.scalar("val_offset", 0.0, writable=True)
            block.scalar("val_units", "", writable=True)
            block.choice("val_capture", "No", _CAPTURES, on_put=self._show_datasets)
            block.scalar("val_dataset", "", on_put=self._show_datasets)
            block.scalar("setp", 0, on_put=partial(self._preset, index))
            block.choice("rst_on_z", "0", ("0", "1"), writable=True)
            self._inputs.append(block)

    def _build_sources(self) -> None:
        positions = ("ZERO", *(f"INENC{n}.VAL" for n in range(1, len(self._encoders) + 1)))
        for number in range(1, _SEQUENCERS + 1):
            block = self._part("seq", number)
            self._bit(block, "enable", partial(self._enable_sequencer, number))
            block.scalar("enable_delay", 0, writable=True)
            for letter in "abc":
                self._bit(block, f"bit{letter}")
                block.choice(f"pos{letter}", "ZERO", positions, writable=True)
            block.table(
                "table",
                _COLUMNS,
                {column: [] for column, _ in _COLUMNS},
                partial(self._take_table, block),
            )
            block.scalar("repeats", 1, writable=True)
            self._time(block, "prescale")
            block.scalar("active", False)
            block.choice("health", "OK", ("OK", "DMA underrun", "Not ready for table"))
        for number in range(1, _COMPARES + 1):
            block = self._part("pcomp", number)
            self._bit(block, "enable", partial(self._enable_compare, number))
            block.choice("inp", "ZERO", positions, writable=True)
            for field in ("pre_start", "start", "width", "step", "pulses"):
                block.scalar(field, 0, writable=True)
            block.choice("dir", "Positive", ("Positive", "Negative", "Either"), writable=True)
            block.scalar("active", False)
        for number in range(1, _PULSES + 1):
            block = self._part("pulse", number)
            self._bit(block, "enable")
            self._bit(block, "trig")
            self._time(block, "delay")
            self._time(block, "width")
            self._time(block, "step")
            block.scalar("pulses", 0, writable=True)

    def _build_capture(self) -> None:
        self._pcap = pcap = self._root.block("pcap")
        self._arm = pcap.choice("arm", "Disarm", ("Disarm", "Arm"), on_put=self._arm_or_disarm)
        self._active = pcap.scalar("active", False)
        for field in ("enable", "gate", "trig"):
            self._bit(pcap, field)
            pcap.scalar(f"{field}_delay", 0, writable=True)
        pcap.scalar("shift_sum", 0, writable=True)
        pcap.choice("trig_edge", "Rising", _EDGES, writable=True)
        for field in _STAMPS:
            pcap.choice(f"{field}_capture", "No", ("No", "Value"), on_put=self._show_datasets)
            pcap.scalar(f"{field}_dataset", "", on_put=self._show_datasets)
        pcap.choice("health", "OK", ("OK", "Capture events too close together", "Samples overflow"))

    def _show_datasets(self, _: Any) -> None:
        # Like the real server, it tells of those only that were given a name.
        named = [
            (block, field)
            for block, field in (
                *((block, "val") for block in self._inputs),
                *((self._pcap, field) for field in _STAMPS),
            )
            if block[f"{field}_dataset"].value and block[f"{field}_capture"].value != "No"
        ]
        self._data.show_datasets([str(b[f"{field}_dataset"].value) for b, field in named])

    # -- what clients do ---------------------------------------------------------------------

    def _preset(self, index: int, value: int) -> None:
        now = int(counted(self._encoders[index](np.array([time.time()])))[0])
        self._offsets[index] = int(value) - now

    def _reading(self, multiplexer: str) -> Reading:
        """Return what a position input is connected to."""
        if not multiplexer.startswith("INENC"):
            return lambda when: np.zeros(len(when))
        index = int(multiplexer[len("INENC")]) - 1
        encoder, offset = self._encoders[index], self._offsets[index]
        if self._inputs[index]["rst_on_z"].value == "1":
            return lambda when: (encoder(when) + offset) % _TURN_COUNTS
        return lambda when: encoder(when) + offset

    @staticmethod
    def _delay(block: Block, field: str) -> float:
        """Return by how many seconds a bit input is looked at later."""
        return int(block[f"{field}_delay"].value) * _CLOCK_SECONDS

    @staticmethod
    def _seconds(block: Block, field: str) -> float:
        return float(block[field].value) * _UNITS[str(block[f"{field}_units"].value)]

    def _take_table(self, block: Block, value: dict[str, Any]) -> None:
        columns = {
            name: np.asarray([] if value[name] is None else value[name], dtype=object).tolist()
            for name, _ in _COLUMNS
        }
        self._tables.append((time.time() + _TABLE_SECONDS, block["table"], columns))

    def _enable_sequencer(self, number: int, value: str) -> None:
        block, name = self._part("seq", number), f"SEQ{number}.OUTA"
        if value != "ONE":
            self._stop(name)
            return
        now = time.time()
        run = SequencerRun(
            now + self._delay(block, "enable"),
            block["table"].value,
            int(block["repeats"].value),
            self._seconds(block, "prescale") or _CLOCK_SECONDS,
            {f"POS{x.upper()}": self._reading(str(block[f"pos{x}"].value)) for x in "abc"},
            {f"BIT{x.upper()}": block[f"bit{x}"].value == "ONE" for x in "abc"},
        )
        self._start(name, run, block["active"])

    def _enable_compare(self, number: int, value: str) -> None:
        block, name = self._part("pcomp", number), f"PCOMP{number}.OUT"
        if value != "ONE":
            self._stop(name)
            return
        now = time.time()
        reading, start = self._reading(str(block["inp"].value)), int(block["start"].value)
        sign = -1 if block["dir"].value == "Negative" else 1
        if block["dir"].value == "Either":
            sign = 1 if reading(np.array([now]))[0] < start else -1
        run = CompareRun(
            now,
            lambda when: sign * reading(when),
            sign * start,
            *(float(block[field].value) for field in ("pre_start", "step", "width")),
            pulses=int(block["pulses"].value),
        )
        self._start(name, run, block["active"])

    def _start(self, name: str, run: SequencerRun | CompareRun, active: Variable) -> None:
        self._running[name] = _Running(run, active)
        active.post(True)

    def _stop(self, name: str) -> None:
        if name in self._running:
            running = self._running[name]
            running.stopped = min(running.stopped, time.time())
            if self._pcap["trig"].value == name:
                waiting = self._waiting
                self._waiting = Pulses(waiting.rises, np.minimum(waiting.falls, running.stopped))

    def _arm_or_disarm(self, value: str) -> None:
        now = time.time()
        if value == "Disarm":
            self._capture_ends = min(self._capture_ends, now)
            if not self._begun:
                self._armed = inf
        elif not self._never_arms.value and self._pcap["enable"].value == "ONE":
            self._armed, self._capture_ends, self._begun = now + _ARM_SECONDS, inf, False
            self._waiting = NO_PULSES

    # -- running -----------------------------------------------------------------------------

    def start(self, port: int, search_port: int) -> None:
        """Serve on these ports."""
        self._server = PvaServer(self._root, port, search_port)

    def close(self) -> None:
        """End the server and close its file."""
        if self._server is not None:
            self._server.close()
        self._data.close()

    async def run(self) -> None:
        """Make pulses, capture, write and publish, for ever."""
        shown = self._seen_to = time.time()
        async for tick in ticks(_POLL_SECONDS):
            self._show_tables(tick)
            self._begin_capture(tick)
            while self._seen_to < (until := tick - _BEHIND_SECONDS):
                self._advance(min(until, self._seen_to + _LONGEST_STRETCH))
            self._end_capture()
            self._data.flush(tick)
            if tick - shown >= _SHOW_SECONDS:
                shown = tick
                for index, block in enumerate(self._inputs):
                    encoder = self._reading(f"INENC{index + 1}.VAL")
                    block["val"].change(int(counted(encoder(np.array([tick])))[0]))

    def _show_tables(self, now: float) -> None:
        while self._tables and self._tables[0][0] <= now:
            _, table, columns = self._tables.pop(0)
            table.post(columns)

    def _advance(self, until: float) -> None:
        """Let everything happen that begins up to an instant."""
        self._seen_to = until
        signals = {}
        for name, running in list(self._running.items()):
            stretch = min(until, running.stopped)
            made = self._with_faults(running, running.run.advance(stretch), stretch)
            signals[name] = Pulses(made.rises, np.minimum(made.falls, running.stopped))
            if until >= min(running.stopped, running.run.ends):
                del self._running[name]
                running.active.post(False)
        for number in range(1, _PULSES + 1):
            block = self._part("pulse", number)
            source = signals.get(str(block["trig"].value), NO_PULSES)
            if block["enable"].value == "ONE" and len(source):
                rises = source.rises + self._seconds(block, "delay")
                width = self._seconds(block, "width") or source.falls - source.rises
                signals[f"PULSE{number}.OUT"] = Pulses(rises, rises + width)
        sent = signals.get(str(self._part("ttlout", 1)["val"].value), NO_PULSES)
        widths = np.round(sent.falls - sent.rises, 9)
        late = self._delay(self._part("ttlout", 1), "val")
        for edges in np.split(np.arange(len(sent)), np.flatnonzero(np.diff(widths)) + 1):
            if len(edges):
                self._record(sent.rises[edges] + late, float(widths[edges[0]]))
                self._line.send(sent.rises[edges] + late, float(widths[edges[0]]))
        captured = signals.get(str(self._pcap["trig"].value), NO_PULSES)
        late = self._delay(self._pcap, "gate")
        self._capture(captured.later(late), until)

    def _with_faults(self, running: _Running, made: Pulses, until: float) -> Pulses:
        numbers = running.made + 1 + np.arange(len(made))
        running.made += len(made)
        before = [] if running.previous is None else [running.previous]
        rises = np.concatenate([before, made.rises])
        at = np.flatnonzero(numbers == int(self._added.value)) + len(before)
        if len(at) and at[0] > 0:
            # Half a period behind it, by the period before it: the next one is not known yet.
            rise = 1.5 * rises[at[0]] - 0.5 * rises[at[0] - 1]
            width = 0.25 * (rises[at[0]] - rises[at[0] - 1])
            running.extra = Pulses(np.array([rise]), np.array([rise + width]))
        if len(made):
            running.previous = float(made.rises[-1])
        made = made.only(numbers != int(self._lost.value))
        if len(running.extra) and running.extra.rises[0] <= until:
            made, running.extra = made.and_then(running.extra), NO_PULSES
        return made

    # -- position capture --------------------------------------------------------------------

    def _begin_capture(self, now: float) -> None:
        if self._begun or now < self._armed:
            return
        self._begun = True
        self._active.post(True)
        datasets = list(self._samples(NO_PULSES))
        self._data.begin(datasets, self._armed + self._clock.offset)

    def _end_capture(self) -> None:
        if self._begun and self._seen_to >= self._capture_ends:
            self._begun, self._armed = False, inf
            self._data.end(self._seen_to)
            self._active.post(False)
            self._arm.post("Disarm")

    def _capture(self, pulses: Pulses, until: float) -> None:
        """Take a sample at the edge of each pulse that lies in the capture."""
        if not self._begun:
            return
        waiting = self._waiting.and_then(pulses)
        by_end = self._pcap["trig_edge"].value != "Rising"
        edges = waiting.falls if by_end else waiting.rises
        past = edges <= min(until, self._capture_ends)
        self._waiting = waiting.only(~past)
        taken = waiting.only(past & (waiting.rises >= self._armed))
        if len(taken):
            self._data.add(self._samples(taken))

    def _samples(self, pulses: Pulses) -> dict[str, Floats]:
        """Return what is captured of pulses: dataset -> shape (n,)."""
        columns: dict[str, Floats] = {}
        by_end = self._pcap["trig_edge"].value != "Rising"
        edges = pulses.falls if by_end else pulses.rises
        for index, block in enumerate(self._inputs):
            mode = str(block["val_capture"].value)
            if mode == "No":
                continue
            reading = self._reading(f"INENC{index + 1}.VAL")
            scale, offset = float(block["val_scale"].value), float(block["val_offset"].value)
            for capture in mode.split() if mode.startswith("Min Max") else [mode]:
                name = str(block["val_dataset"].value)
                if not name:
                    name = f"INENC{index + 1}.VAL.{capture}"
                elif mode.startswith("Min Max") and capture != "Mean":
                    name = f"{name}-{capture.lower()}"
                shift = int(self._pcap["shift_sum"].value)
                counts = _gated(reading, pulses, capture, edges, shift)
                columns[name] = counts * scale + offset
        for field, instants in zip(_STAMPS, (pulses.rises, pulses.falls, edges), strict=True):
            if self._pcap[f"{field}_capture"].value == "Value":
                name = str(self._pcap[f"{field}_dataset"].value) or f"PCAP.{field.upper()}.Value"
                passed = instants - self._armed if len(instants) else instants
                columns[name] = np.floor(passed / _CLOCK_SECONDS) * _CLOCK_SECONDS
        return columns


def _gated(reading: Reading, pulses: Pulses, capture: str, edges: Floats, shift: int = 0) -> Floats:
    """Return what position capture makes of an encoder during pulses, in counts.

    ``shift`` divides sums and the number of samples by a power of two, and drops what is left.
    """
    if not len(pulses):
        return np.empty(0)
    if capture == "Value":
        return counted(reading(edges)).astype(np.float64)
    share = (np.arange(_POINTS) + 0.5) / _POINTS
    if capture in ("Min", "Max"):
        share = np.concatenate([[0.0], share, [1.0]])
    when = pulses.rises[:, None] + (pulses.falls - pulses.rises)[:, None] * share
    counts = counted(reading(when.ravel())).reshape(when.shape).astype(np.float64)
    if capture == "Mean":
        samples = np.round((pulses.falls - pulses.rises) / _CLOCK_SECONDS)
        total = np.floor(counts.mean(axis=1) * samples / 2**shift)
        return total / np.maximum(np.floor(samples / 2**shift), 1)
    if capture == "Min":
        return counts.min(axis=1)
    if capture == "Max":
        return counts.max(axis=1)
    if capture == "Diff":
        return counts[:, -1] - counts[:, 0]
    total = counts.sum(axis=1) * (pulses.falls - pulses.rises) / _CLOCK_SECONDS / _POINTS
    return np.floor(total / 2**shift)
