"""What sequencer and position compare of a simulated PandA do in time: exact, without clients.

After the blocks' own descriptions, ``modules/seq`` and ``modules/pcomp`` of PandABlocks-FPGA.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import floor, inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .encoders import Reading, passages

__all__ = ["NO_PULSES", "CompareRun", "Pulses", "SequencerRun"]

Floats = NDArray[np.float64]

_LOOK_AHEAD = 512
"""Lines of a table that are looked at together: more than can be passed in one stretch."""
_SPEED_SECONDS = 1e-3


@dataclass(frozen=True)
class Pulses:
    """When a signal is high: from ``rises`` to ``falls``, POSIX s, both of shape (n,)."""

    rises: Floats
    falls: Floats

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.rises)

    def only(self, kept: Any) -> "Pulses":
        """Return some of them."""
        return Pulses(self.rises[kept], self.falls[kept])

    def later(self, seconds: float) -> "Pulses":
        """Return them later by a time in s."""
        return Pulses(self.rises + seconds, self.falls + seconds)

    def and_then(self, others: "Pulses") -> "Pulses":
        """Return them with others, in order."""
        rises = np.concatenate([self.rises, others.rises])
        falls = np.concatenate([self.falls, others.falls])
        order = np.argsort(rises, kind="stable")
        return Pulses(rises[order], falls[order])


NO_PULSES = Pulses(np.empty(0), np.empty(0))


class SequencerRun:
    """A sequencer from its enabling on; its output A only.

    Parameters
    ----------
    began
        When it was enabled, POSIX s.
    table
        Columns of the table (``seq.block.ini``).
    repeats
        Repeats of the whole table; 0: for ever.
    tick
        Seconds that one unit of the table's times is.
    positions
        "POSA" to "POSC": what is connected.
    bits
        "BITA" to "BITC": what is connected, which does not change.

    Attributes
    ----------
    over
        Whether the last line of its table has begun.
    """

    def __init__(
        self,
        began: float,
        table: Mapping[str, Any],
        repeats: int,
        tick: float,
        positions: Mapping[str, Reading],
        bits: Mapping[str, bool],
    ) -> None:
        self._triggers = [str(trigger) for trigger in table["trigger"]]
        self._repeats = [int(number) for number in table["repeats"]]
        self._positions = np.asarray(table["position"], np.float64)
        self._times1 = np.asarray(table["time1"], np.float64) * tick
        # The second phase is never shorter than one unit.
        self._times2 = np.maximum(np.asarray(table["time2"], np.float64), 1.0) * tick
        self._out1 = [bool(high) for high in table["outa1"]]
        self._out2 = [bool(high) for high in table["outa2"]]
        self._table_repeats, self._inputs, self._bits = repeats, positions, bits
        self._now = began
        self._line = self._line_repeat = self._table_repeat = 0
        self.over = not self._triggers

    @property
    def ends(self) -> float:
        """When the last line ends, POSIX s; infinite before it has begun."""
        return self._now if self.over else inf

    def advance(self, until: float) -> Pulses:
        """Return the pulses that begin up to an instant and were not returned before."""
        made = NO_PULSES
        while not self.over and self._now <= until:
            line = self._line
            starts = self._starts(until)
            if not len(starts):
                self._now = max(self._now, until)
                break
            made = made.and_then(self._high(np.arange(line, line + self._done), starts))
        return made

    def _starts(self, until: float) -> Floats:
        """Return when lines, or repeats of one line, begin; sets how many lines are done."""
        line, trigger = self._line, self._triggers[self._line]
        self._done = 1
        if trigger.startswith("POS"):
            return self._by_position(trigger, until)
        if trigger.startswith("BIT"):
            name, level = trigger.split("=")
            if self._bits[name] != (level == "1"):
                return np.empty(0)
        length = self._times1[line] + self._times2[line]
        left = (self._repeats[line] or inf) - self._line_repeat
        number = int(min(left, floor((until - self._now) / length) + 1))
        starts = self._now + length * np.arange(number, dtype=np.float64)
        self._now += length * number
        self._line_repeat += number
        self._next_line(1 if self._line_repeat == self._repeats[line] else 0)
        return starts

    def _by_position(self, trigger: str, until: float) -> Floats:
        name, condition = trigger[:4], trigger[4:6]
        sign = 1.0 if condition == ">=" else -1.0
        line = self._line
        lines = 1
        thresholds = sign * self._positions
        if self._repeats[line] == 1:
            while (
                line + lines < len(self._triggers)
                and lines < _LOOK_AHEAD
                and self._triggers[line + lines] == trigger
                and self._repeats[line + lines] == 1
                and thresholds[line + lines] >= thresholds[line + lines - 1]
            ):
                lines += 1
        encoder = self._inputs[name]
        met = passages(
            lambda when: sign * encoder(when),
            self._now,
            max(until, self._now),
            thresholds[line : line + lines] - 0.5,
        )
        starts = []
        for number, instant in enumerate(met.tolist()):
            begins = max(instant, self._now)
            if begins > until:
                break
            starts.append(begins)
            # Only then is the next condition looked at.
            self._now = begins + self._times1[line + number] + self._times2[line + number]
        self._done = len(starts)
        if lines > 1:
            self._next_line(len(starts))
        elif starts:
            self._line_repeat += 1
            self._next_line(1 if self._line_repeat == self._repeats[line] else 0)
        return np.array(starts)

    def _next_line(self, lines: int) -> None:
        if not lines:
            return
        self._line_repeat = 0
        self._line += lines
        if self._line == len(self._triggers):
            self._line = 0
            self._table_repeat += 1
            self.over = self._table_repeat == self._table_repeats

    def _high(self, lines: NDArray[np.int64], starts: Floats) -> Pulses:
        """Return when output A is high in these lines, or in repeats of one."""
        first, second = self._times1[lines], self._times2[lines]
        out1 = np.array([self._out1[line] for line in lines]) & (first > 0)
        out2 = np.array([self._out2[line] for line in lines])
        rises = np.where(out1, starts, starts + first)
        falls = np.where(out2, starts + first + second, starts + first)
        return Pulses(rises, falls).only(np.broadcast_to(out1 | out2, rises.shape))


class CompareRun:
    """A position compare from its enabling on: equal steps in counts.

    Parameters
    ----------
    began
        When it was enabled, POSIX s.
    reading
        What is compared, counted positive in the direction that is compared.
    start, before, step, width, pulses
        The registers START, PRE_START, STEP, WIDTH and PULSES in that direction, counts.
    """

    def __init__(
        self,
        began: float,
        reading: Reading,
        start: float,
        before: float,
        step: float,
        width: float,
        *,
        pulses: int,
    ) -> None:
        self._reading, self._step, self._width, self._pulses = reading, step, width, pulses
        self._start, self._before = start, before
        self._now, self._made, self._below = began, 0, False
        self.over = False

    @property
    def ends(self) -> float:
        """When it has made its last pulse, POSIX s; infinite before that."""
        return self._now if self.over else inf

    def advance(self, until: float) -> Pulses:
        """Return the pulses that begin up to an instant and were not returned before."""
        if self.over or until <= self._now:
            return NO_PULSES
        begin = self._now
        if not self._below:
            grid = np.linspace(begin, until, 64)
            under = np.flatnonzero(self._reading(grid) < self._start - self._before - 0.5)
            if not len(under):
                self._now = until
                return NO_PULSES
            self._below, begin = True, float(grid[under[0]])
        left = min(self._pulses - self._made if self._pulses else _LOOK_AHEAD, _LOOK_AHEAD)
        thresholds = self._start + self._step * (self._made + np.arange(left)) - 0.5
        rises = passages(self._reading, begin, until, thresholds)
        self._made += len(rises)
        self._now = until
        self.over = bool(self._pulses) and self._made == self._pulses
        before = self._reading(rises - _SPEED_SECONDS)
        speeds = np.maximum((self._reading(rises) - before) / _SPEED_SECONDS, 1e-9)
        return Pulses(rises, rises + self._width / speeds)
