"""One channel of a scan while it runs: its newest updates, and up to when they are complete."""

from dataclasses import dataclass, field
from math import inf, isfinite

import numpy as np
from numpy.typing import NDArray

from .channel import Channel, ChannelKind
from .quality import Quality
from .series import Series
from .windows import CLOCK_RESOLUTION

Floats = NDArray[np.float64]

GRACE = 1.5
"""Seconds without an arrival after which a connected channel is taken as silent."""

LATENESS = 0.5
"""Seconds by which an update of a silent channel may arrive later than the axis's updates do.

A shutter that was silent for an hour closes *now*: rows are held back that long, so that it is
not too late for its row.
"""


@dataclass
class ChannelReport:
    """What one channel did during a scan.

    Attributes
    ----------
    updates
        Updates that were kept.
    late
        Updates that came after the row they belong to was final.
    lost
        Updates that were thrown away before they came here; counted by whom it may concern.
    repeated, out_of_order
        Updates with the timestamp of the one before, or an older one; not used.
    disconnections
        How often the connection was lost.
    clock_offset
        Smallest arrival minus timestamp (s): the offset of the server's clock plus the
        shortest way. NaN before the second update.
    clock_step
        By how much at least the server's clock was first set during the scan (s; negative: back).
        0: it was not.
    """

    updates: int = 0
    late: int = 0
    lost: int = 0
    repeated: int = 0
    out_of_order: int = 0
    disconnections: int = 0
    clock_offset: float = np.nan
    clock_step: float = 0.0


@dataclass(frozen=True)
class Mark:
    """Sets a bit of ``quality`` in the rows during which a channel was out of a range.

    A continuous readback counts as out of it from its last update inside until its next one
    inside: nobody knows what it did in between.

    Parameters
    ----------
    bit
        What is set.
    channel
        Name of the channel.
    low, high
        The range, ends included, in the channel's unit.
    """

    bit: Quality
    channel: str
    low: float = -inf
    high: float = inf


@dataclass
class Track:
    """A channel, its updates in memory, and what it did.

    Attributes
    ----------
    last_update
        Timestamp of the newest update (POSIX s); unlike the newest of the series, not of a mark.
    last_arrival
        When that came, on the clock of `Aligner.add`.
    connected
        Whether the connection is there.
    recovering
        Whether it was lost and no update has been kept since.
    """

    channel: Channel
    series: Series = field(default_factory=Series)
    report: ChannelReport = field(default_factory=ChannelReport)
    last_update: float = -inf
    last_arrival: float = -inf
    connected: bool = True
    recovering: bool = False

    @property
    def covered_until(self) -> float:
        """POSIX s up to which the updates say what was."""
        return self.series.last_timestamp - self.channel.latency

    def note_clock(self, timestamps: Floats, arrivals: Floats) -> None:
        """Look at how far the server's clock is behind: the smallest of all, the shortest way."""
        # The first update after (re)connecting is the newest value, of any age.
        fresh = slice(1 if self.recovering else 0, None)
        if self.report.updates and len(timestamps[fresh]):
            offset = float(np.min((arrivals - timestamps)[fresh]))
            self.report.clock_offset = float(np.fmin(self.report.clock_offset, offset))

    def keep(
        self, timestamps: Floats, values: Floats, now: float, final: float, hold_after: float
    ) -> tuple[Floats, Floats]:
        """Append updates; return those that count, the others being repeated or out of order.

        Parameters
        ----------
        timestamps, values
            Shape (n,).
        now
            When they came, on the clock of `Aligner.add`.
        final
            POSIX s up to which rows are final: what belongs before is late.
        hold_after
            See `windows.HOLD_AFTER`.
        """
        before = (self.series.last_timestamp, self.series.last_value)
        kept_t, kept_v = self.series.append(timestamps, values)
        if len(kept_t):
            self.recovering = False
            self.last_arrival, self.last_update = now, float(kept_t[-1])
            self.report.updates += len(kept_t)
            self.report.late += self._late(before, kept_t, kept_v, final, hold_after)
        return kept_t, kept_v

    def lose(self, at: float) -> tuple[Floats, Floats]:
        """Mark the channel as unknown from ``at`` (POSIX s, its server's clock) on."""
        self.connected = False
        self.recovering = True
        self.report.disconnections += 1
        return self.series.append(np.array([at]), np.array([np.nan]))

    def recover(
        self,
        timestamps: Floats,
        values: Floats,
        arrivals: Floats,
        final: float,
        clock_offset: float,
    ) -> tuple[Floats, Floats]:
        """Return the first updates after a loss of the connection so that final rows stay true.

        The server sends its newest value again. If that is older than the loss or than the
        final rows, all it says is what is so now, on the clock of the channel's server. An
        exposure of a detector cannot be moved: it counts if it began after both.

        Parameters
        ----------
        timestamps, values, arrivals
            Shape (n,), n at least 1.
        final
            POSIX s up to which rows are final.
        clock_offset
            Seconds by which the server's clock is behind this machine's.
        """
        lost = self.series.last_timestamp
        final_here = final + self.channel.latency
        if self.channel.kind is ChannelKind.DETECTOR:
            earliest = max(lost, final_here) - CLOCK_RESOLUTION
            whole = timestamps - self.channel.aperture >= earliest
            self.report.late += int(np.sum((timestamps > lost) & ~whole))
            return timestamps[whole], values[whole]
        if timestamps[0] <= max(lost, final_here):
            arrived = arrivals[0] - clock_offset
            timestamps = timestamps.copy()
            timestamps[0] = max(arrived, max(lost, final_here) + CLOCK_RESOLUTION)
        return timestamps, values

    def known_until(self, now: float, axis: "Track", grace: float, hold_after: float) -> float:
        """Return the time (POSIX s) up to which no update that may still come can change a row.

        Silence is told by the local clock, but how far it reaches by the control system's: by
        the axis's timestamps, whose updates never stop during a flight.

        Parameters
        ----------
        now
            Local clock (s) of the same kind as given to `keep`.
        axis
            The axis's track, which may be this one.
        grace, hold_after
            Seconds; see `GRACE` and `windows.HOLD_AFTER`.
        """
        covered = self.covered_until
        if now - self.last_arrival <= grace or axis.last_update == -inf:
            return covered
        axis_clock = axis.last_update + (now - axis.last_arrival)
        silent_until = axis_clock - LATENESS - self.channel.latency
        if self.channel.kind is ChannelKind.READBACK:
            # Held only if the next update is too far away to be interpolated to.
            held = silent_until - covered > hold_after + CLOCK_RESOLUTION
            return silent_until if held else covered
        # The next value of a detector covers what was before its timestamp.
        return max(covered, silent_until - self.channel.aperture)

    def out_of(self, mark: Mark, lower: Floats, upper: Floats) -> NDArray[np.bool_]:
        """Return which windows saw an update outside the range of a mark; shape (m,)."""
        t, x = self.series.timestamps - self.channel.latency, self.series.values
        # Counted up to each update, so that a window costs two look-ups and not a search.
        with np.errstate(invalid="ignore"):
            out = np.concatenate([[0], np.cumsum((x < mark.low) | (x > mark.high))])
        # The value that holds when the window begins came before it.
        first = np.maximum(np.searchsorted(t, lower, "right") - 1, 0)
        last = np.searchsorted(t, upper, "left")
        if self.channel.kind is not ChannelKind.STATE:
            # The value behind the window tells where it was going, or what was exposed in it.
            last = np.minimum(last + 1, len(t))
        return out[np.maximum(last, first)] > out[first]

    def _late(
        self,
        before: tuple[float, float],
        timestamps: Floats,
        values: Floats,
        final: float,
        hold_after: float,
    ) -> int:
        """Count the updates, which follow the update ``before``, that came too late."""
        t = timestamps - self.channel.latency
        previous = np.append(before[0] - self.channel.latency, t[:-1])
        late = t < final
        if self.channel.kind is ChannelKind.READBACK:
            # Between two updates it is interpolated: the later one changes what was before it,
            # unless the silence was so long that the earlier value held.
            known = np.isfinite(np.append(before[1], values[:-1]))
            late |= known & (previous < final) & (t - previous <= hold_after)
        elif self.channel.kind is ChannelKind.DETECTOR:
            # What counts is when the exposure began, not when its value was sent.
            late = np.maximum(t - self.channel.aperture, previous) < final - CLOCK_RESOLUTION
        return int(np.sum(late))


def first_finite(*offsets: float) -> float:
    """Return the first number that is finite."""
    return next(offset for offset in offsets if isfinite(offset))


__all__ = ["GRACE", "LATENESS", "ChannelReport", "Mark", "Track", "first_finite"]
