"""From updates as they arrive to rows that are final: windows, watermark, energies."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import floor, inf, isfinite

import numpy as np
from numpy.typing import NDArray

from .channel import Channel, ChannelKind
from .quality import Quality
from .rebin import rebin_windows
from .series import Series
from .windows import CLOCK_RESOLUTION, HOLD_AFTER, exposures

Floats = NDArray[np.float64]
Columns = dict[str, NDArray]

GRACE = 1.5
"""Seconds without an arrival after which a connected channel is taken as silent."""

LATENESS = 0.5
"""Seconds by which an update of a silent channel may arrive later than the axis's updates do.

A shutter that was silent for an hour closes *now*: rows are held back that long, so that it is
not too late for its row.
"""

SPARE = 5.0
"""Seconds of updates that are kept beyond what the next row needs."""

EDGES_PER_SECOND = 2.0**20
"""Rows begin and end on this grid, so that middle and duration give the ends back exactly."""


@dataclass(frozen=True)
class Span:
    """A range that the axis flies through once, in one direction, with rows of one length.

    Parameters
    ----------
    start, stop
        Ends of the range in the axis's unit; ``stop`` may be below ``start``.
    period
        Length of a row in s; None: that of the scan.
    region, pass_number
        What it belongs to, for its rows.

    Raises
    ------
    ValueError
        If the range is empty or the period not above zero.
    """

    start: float
    stop: float
    period: float | None = None
    region: int = 1
    pass_number: int = 1

    def __post_init__(self) -> None:
        if not (isfinite(self.start) and isfinite(self.stop) and self.start != self.stop):
            raise ValueError(
                f"A range from {self.start!r} to {self.stop!r} has no rows; "
                "give two different finite numbers."
            )
        if self.period is not None:
            _check_period(self.period)

    @property
    def sign(self) -> float:
        """1 for up, -1 for down."""
        return 1.0 if self.stop > self.start else -1.0


def _check_period(period: float) -> None:
    if not (isfinite(period) and period > 0):
        raise ValueError(f"A row cannot last {period!r} s; give a period above zero.")


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


@dataclass
class _Track:
    channel: Channel
    series: Series = field(default_factory=Series)
    report: ChannelReport = field(default_factory=ChannelReport)
    last_update: float = -inf
    last_arrival: float = -inf
    connected: bool = True
    recovering: bool = False

    @property
    def covered_until(self) -> float:
        return self.series.last_timestamp - self.channel.latency


class Aligner:
    """Makes the rows of the flights of one axis from the channels' updates.

    A flight goes through one `Span` or through several that join. In each, rows are windows of
    equal length, one after the other, that lie wholly inside its range. A row is final, and
    handed out once, when every channel has data past its end, or has been silent for longer than
    a grace time and nothing that it may still send can change the row. Its numbers are those
    that `rebin_windows` gives for the updates that `add` and `disconnect` returned.

    Parameters
    ----------
    channels
        All channels; the one named ``axis`` must be a readback.
    axis
        Name of the channel that is flown.
    period
        Length of a row in seconds where a span has none of its own. None: the longest exposure
        of a detector, else 0.1 s.
    grace, hold_after
        Seconds; see `GRACE` and `windows.HOLD_AFTER`.
    marks
        What is to be marked in ``quality`` beyond what the windows say.

    Raises
    ------
    ValueError
        If there is no such axis or the period is not above zero.

    Attributes
    ----------
    rows
        Rows handed out.
    reached
        Where the last row of this flight ended, in the axis's unit; None before the first one.
    """

    def __init__(
        self,
        channels: Sequence[Channel],
        axis: str,
        period: float | None = None,
        grace: float = GRACE,
        hold_after: float = HOLD_AFTER,
        marks: Sequence[Mark] = (),
    ) -> None:
        self._tracks = [_Track(channel) for channel in channels]
        found = [t for t in self._tracks if t.channel.name == axis]
        if not found or found[0].channel.kind is not ChannelKind.READBACK:
            readbacks = [c.name for c in channels if c.kind is ChannelKind.READBACK]
            raise ValueError(
                f"{axis!r} cannot be the axis of a scan; the readbacks are: "
                f"{', '.join(readbacks) or 'none'}."
            )
        if period is not None:
            _check_period(period)
        self._axis = found[0]
        detectors = [
            t
            for t in self._tracks
            if t.channel.kind is ChannelKind.DETECTOR and t.channel.aperture > 0
        ]
        # Of equals the last one: by custom the signal comes after its reference.
        self._reference = max(reversed(detectors), key=lambda t: t.channel.aperture, default=None)
        self.period = period or (self._reference.channel.aperture if self._reference else 0.1)
        self._grace, self._hold_after = grace, hold_after
        by_name = {t.channel.name: t for t in self._tracks}
        self._marks = [(mark, by_name[mark.channel]) for mark in marks if mark.channel in by_name]
        self._span: Span | None = None
        self._waiting: deque[Span] = deque()
        self._armed_after = -inf
        self._entry: float | None = None
        self._exit = self._cut = inf
        self._origin: float | None = None
        self._next_row = 0
        self._final_until = -inf
        self.rows = 0
        self.reached: float | None = None

    @property
    def reports(self) -> dict[str, ChannelReport]:
        """What each channel did, by name."""
        for track in self._tracks:
            track.report.repeated = track.series.repeated
            track.report.out_of_order = track.series.out_of_order
        return {track.channel.name: track.report for track in self._tracks}

    def report(self, index: int) -> ChannelReport:
        """Return what channel number ``index`` did, to be added to."""
        return self._tracks[index].report

    @property
    def passed(self) -> bool:
        """True when the axis was seen at or beyond the last stop, or the flight was cut."""
        return self._cut < inf or self.arrived

    @property
    def arrived(self) -> bool:
        """True when the axis was seen at or beyond the last stop, before any cut."""
        return self._exit < inf and self._exit <= self._cut and not self._waiting

    @property
    def _end(self) -> float:
        """When the axis left the present span, or was cut in it; infinity if not yet."""
        return min(self._exit, self._cut)

    def finished(self, now: float) -> bool:
        """Return True when the axis has left the last range and every row of it is final."""
        last = self._cut if self._waiting else self._end
        return self.passed and self._watermark(now) >= last

    @property
    def position(self) -> float:
        """Newest position of the axis; NaN where it is not known."""
        return self._axis.series.last_value

    def arm(self, *spans: Span) -> None:
        """Look for the beginning of a flight from the updates that come after this.

        Parameters
        ----------
        spans
            What it flies through; each begins where the one before ends.
        """
        self._waiting = deque(spans)
        self._cut = inf
        self.reached = None
        self._begin(self._axis.series.last_timestamp)

    def _begin(self, after: float) -> None:
        """Look for the next span, in updates of the axis with timestamps later than ``after``."""
        self._span = self._waiting.popleft()
        self._armed_after = after
        self._entry, self._exit, self._origin = None, inf, None
        self._next_row = 0

    def cut(self) -> None:
        """End the flight at the newest update of the axis: it was stopped early."""
        self._cut = min(self._cut, self._axis.covered_until)

    def add(
        self, index: int, timestamps: Floats, values: Floats, arrivals: Floats, now: float
    ) -> tuple[Floats, Floats]:
        """Take a batch of updates of channel ``index``; return those that count.

        Parameters
        ----------
        index
            Position of the channel in ``channels``.
        timestamps, values, arrivals
            Shape (n,): the server's timestamp, the value, and the local clock at arrival
            (POSIX s).
        now
            Local clock (s) of the same kind as given to `final_rows`.
        """
        track = self._tracks[index]
        track.connected = True
        # The first update after (re)connecting is the newest value, of any age.
        fresh = slice(1 if track.recovering else 0, None)
        if track.report.updates and len(timestamps[fresh]):
            offset = float(np.min((arrivals - timestamps)[fresh]))
            track.report.clock_offset = float(np.fmin(track.report.clock_offset, offset))
        if track.recovering and len(timestamps):
            timestamps, values = self._recover(track, timestamps, values, arrivals)
        before = (track.series.last_timestamp, track.series.last_value)
        kept_t, kept_v = track.series.append(timestamps, values)
        if len(kept_t):
            track.recovering = False
            track.last_arrival, track.last_update = now, float(kept_t[-1])
            track.report.updates += len(kept_t)
            track.report.late += self._late(track, before, kept_t, kept_v)
        return kept_t, kept_v

    def disconnect(self, index: int, time: float) -> tuple[Floats, Floats]:
        """Mark a channel as unknown from ``time`` (POSIX s, local clock) on.

        The mark, a NaN, is put on the clock of the channel's server and behind all final rows.
        """
        track = self._tracks[index]
        track.connected = False
        track.recovering = True
        track.report.disconnections += 1
        at = max(
            time - self._clock_offset(track),
            self._final_until + track.channel.latency + CLOCK_RESOLUTION,
            track.series.last_timestamp + CLOCK_RESOLUTION,
        )
        return track.series.append(np.array([at]), np.array([np.nan]))

    def final_rows(self, now: float, *, finish: bool = False) -> Columns:
        """Return the rows that became final, as columns of equal length (m,).

        Parameters
        ----------
        now
            Local clock in seconds (monotonic), for the grace time.
        finish
            Make the rows up to the last update of the axis, without waiting for others.
        """
        parts = []
        while self._span is not None:
            edges = self._final_edges(self._span, now, finish)
            if len(edges) > 1:
                parts.append(self._columns(self._span, edges, now, finish))
                self._next_row += len(edges) - 1
                self._final_until = float(edges[-1])
            if not self._waiting or self._exit >= self._cut or self._watermark(now) < self._exit:
                break
            self._begin(self._exit + self._axis.channel.latency - CLOCK_RESOLUTION)
        columns = (
            {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
            if (parts)
            else {}
        )
        self.rows += len(columns.get("quality", ()))
        self.forget(now)
        return columns

    def forget(self, now: float, needed: float = inf) -> None:
        """Forget updates that no row needs any more, nor a window that begins at ``needed``."""
        needed = min(needed, self._needed_from(now))
        for track in self._tracks:
            track.series.forget_before(needed + track.channel.latency - SPARE)

    def watermark(self, now: float) -> float:
        """Return the time (POSIX s) up to which nothing that matters is still on its way."""
        return self._watermark(now)

    def rows_of(self, lower: Floats, upper: Floats, now: float, *, finish: bool = False) -> Columns:
        """Return the columns of windows that somebody else has made, all before the watermark.

        Parameters
        ----------
        lower, upper
            Shape (m,): begin and end of each (POSIX s), rising.
        now, finish
            As for `final_rows`.
        """
        columns = self._windows(lower, upper, now, finish)
        self._final_until = float(upper[-1])
        self.rows += len(upper)
        return columns

    @property
    def readback(self) -> tuple[Channel, Floats, Floats]:
        """The axis, and its newest updates: timestamps (POSIX s) and values."""
        track = self._axis
        return track.channel, track.series.timestamps, track.series.values

    def _final_edges(self, span: Span, now: float, finish: bool) -> Floats:
        """Return the edges of the windows that became final; shape (m + 1,), or empty."""
        nothing = np.empty(0)
        if not self._find_flight(span):
            return nothing
        watermark = self._axis.covered_until if finish else self._watermark(now)
        if self._origin is None:
            self._origin = self._first_window(span, watermark, finish)
            if self._origin is None:
                return nothing
        until = min(watermark, self._end)
        if until <= self._origin:
            return nothing
        last = floor((until - self._origin) / self._row_length(span)) + 1
        edges = self._edges(span, np.arange(self._next_row, last + 1))
        return edges[edges <= until]

    def _row_length(self, span: Span) -> float:
        return span.period or self.period

    def _edges(self, span: Span, number: NDArray[np.int64]) -> Floats:
        assert self._origin is not None
        edges = self._origin + number * self._row_length(span)
        return np.round(edges * EDGES_PER_SECOND) / EDGES_PER_SECOND

    def _columns(self, span: Span, edges: Floats, now: float, finish: bool) -> Columns:
        columns = self._windows(edges[:-1], edges[1:], now, finish)
        return self._inside(span, columns)

    def _windows(self, lower: Floats, upper: Floats, now: float, finish: bool) -> Columns:
        columns = rebin_windows(
            {t.channel: (t.series.timestamps, t.series.values) for t in self._tracks},
            self._axis.channel.name,
            lower,
            upper,
            hold_after=self._hold_after,
        )
        if finish:
            for track in self._tracks:
                if track.channel.kind is ChannelKind.READBACK and track.connected:
                    guessed = upper > self._known_until(track, now)
                    columns["quality"][guessed] |= np.uint16(Quality.EXTRAPOLATED)
        for mark, track in self._marks:
            columns["quality"][_out_of(mark, track, lower, upper)] |= np.uint16(mark.bit)
        return columns

    def _inside(self, span: Span, columns: Columns) -> Columns:
        """Return the rows that lie in a span, with what they belong to."""
        name = self._axis.channel.name
        position = columns[name]
        low, high = min(span.start, span.stop), max(span.start, span.stop)
        inside = (columns[f"{name}_lower"] >= low) & (columns[f"{name}_upper"] <= high)
        inside &= (position >= low) & (position <= high)
        inside |= np.isnan(position)
        columns["region_number"] = np.full(len(position), span.region, np.uint16)
        columns["pass_number"] = np.full(len(position), span.pass_number, np.uint16)
        columns = {key: column[inside] for key, column in columns.items()}
        ends = columns[f"{name}_upper" if span.sign > 0 else f"{name}_lower"]
        known = ends[np.isfinite(ends)]
        if len(known):
            self.reached = float(known[-1])
        return columns

    def _find_flight(self, span: Span) -> bool:
        """Find when the axis entered and left the range, as far as it is known."""
        if self._entry is None:
            entry = self._crossing(span, self._armed_after, span.start)
            if entry is not None:
                # Two flights share no row.
                self._entry = max(entry, self._final_until)
        if self._entry is not None and self._exit == inf:
            entered = self._entry + self._axis.channel.latency
            crossed = self._crossing(span, entered - CLOCK_RESOLUTION, span.stop)
            self._exit = inf if crossed is None else crossed
        return self._entry is not None

    def _crossing(self, span: Span, after: float, position: float) -> float | None:
        """Return when the axis first reaches ``position`` on its way from start to stop.

        Looks at updates with timestamps later than ``after``.
        """
        t = self._axis.series.timestamps
        x = span.sign * self._axis.series.values
        level = span.sign * position
        # Updates from the way to the run-up, the other way, may arrive when it is over.
        with np.errstate(invalid="ignore"):
            forward = ~(np.diff(x, prepend=-inf) <= 0)
        begin = int(np.searchsorted(t, after, "right"))
        reached = np.flatnonzero(forward[begin:] & (x[begin:] >= level))
        if not len(reached):
            return None
        k = begin + int(reached[0])
        at = float(t[k]) - self._axis.channel.latency
        if k == 0 or not x[k - 1] < level:
            return at
        gap = float(t[k] - t[k - 1])
        if gap > self._hold_after:
            # An axis that was silent stood still until this update.
            return at
        return at - float((x[k] - level) / (x[k] - x[k - 1])) * gap

    def _watermark(self, now: float) -> float:
        """Return the time up to which nothing that matters is still on its way."""
        waited_for = [t for t in self._tracks if t.connected]
        return min((self._known_until(track, now) for track in waited_for), default=-inf)

    def _known_until(self, track: _Track, now: float) -> float:
        """Return the time up to which no update of a channel can change a row."""
        covered = track.covered_until
        axis = self._axis
        if now - track.last_arrival <= self._grace or axis.last_update == -inf:
            return covered
        axis_clock = axis.last_update + (now - axis.last_arrival)
        silent_until = axis_clock - LATENESS - track.channel.latency
        if track.channel.kind is ChannelKind.READBACK:
            # Held only if the next update is too far away to be interpolated to.
            held = silent_until - covered > self._hold_after + CLOCK_RESOLUTION
            return silent_until if held else covered
        # The next value of a detector covers what was before its timestamp.
        return max(covered, silent_until - track.channel.aperture)

    def _first_window(self, span: Span, watermark: float, finish: bool) -> float | None:
        """Return where the first window begins: at an exposure of the slowest detector.

        The answer depends on the data alone, not on when it is asked for.
        """
        assert self._entry is not None
        step = 2 / EDGES_PER_SECOND
        limit = self._entry
        period = self._row_length(span)
        if self._reference is not None:
            channel = self._reference.channel
            series = self._reference.series
            ends = series.timestamps[np.isfinite(series.values)] - channel.latency
            begins, _ = exposures(ends, channel.aperture)
            limit = min(self._entry + 2 * max(period, channel.aperture), self._end)
            usable = begins[(begins >= self._entry) & (begins < limit) & (begins <= watermark)]
            if len(usable):
                # Whole periods back as far as the entry allows: no light is thrown away.
                whole = floor((usable[0] - self._entry - step) / period)
                return float(usable[0] - max(whole, 0) * period)
        # A little later, so that rounding does not put the first row outside the range.
        return self._entry + step if finish or watermark >= limit else None

    def _needed_from(self, now: float) -> float:
        """Return the time before which no update can matter any more."""
        if self._span is not None and self._origin is not None:
            done, following = self._edges(self._span, np.arange(self._next_row, self._next_row + 2))
            if following <= self._end:
                return float(done)
        elif self._entry is not None:
            return self._entry
        if self._waiting and self._exit < self._cut:
            return self._exit
        # Between flights: the next one begins after everything that is known of the axis.
        return self._known_until(self._axis, now)

    def _clock_offset(self, track: _Track) -> float:
        offsets = (track.report.clock_offset, self._axis.report.clock_offset, 0.0)
        return next(offset for offset in offsets if isfinite(offset))

    def _recover(
        self, track: _Track, timestamps: Floats, values: Floats, arrivals: Floats
    ) -> tuple[Floats, Floats]:
        """Return the first updates after a loss of the connection so that final rows stay true.

        The server sends its newest value again. If that is older than the loss or than the
        final rows, all it says is what is so now, on the clock of the channel's server. An
        exposure of a detector cannot be moved: it counts if it began after both.
        """
        channel = track.channel
        lost = track.series.last_timestamp
        final = self._final_until + channel.latency
        if channel.kind is ChannelKind.DETECTOR:
            whole = timestamps - channel.aperture >= max(lost, final) - CLOCK_RESOLUTION
            track.report.late += int(np.sum((timestamps > lost) & ~whole))
            return timestamps[whole], values[whole]
        if timestamps[0] <= max(lost, final):
            arrived = arrivals[0] - self._clock_offset(track)
            timestamps = timestamps.copy()
            timestamps[0] = max(arrived, max(lost, final) + CLOCK_RESOLUTION)
        return timestamps, values

    def _late(
        self, track: _Track, before: tuple[float, float], timestamps: Floats, values: Floats
    ) -> int:
        """Count the updates, which follow the update ``before``, that came too late."""
        final = self._final_until
        t = timestamps - track.channel.latency
        previous = np.append(before[0] - track.channel.latency, t[:-1])
        late = t < final
        if track.channel.kind is ChannelKind.READBACK:
            known = np.isfinite(np.append(before[1], values[:-1]))
            late |= known & (previous < final) & (t - previous <= self._hold_after)
        elif track.channel.kind is ChannelKind.DETECTOR:
            late = np.maximum(t - track.channel.aperture, previous) < final - CLOCK_RESOLUTION
        return int(np.sum(late))


def _out_of(mark: Mark, track: _Track, lower: Floats, upper: Floats) -> NDArray[np.bool_]:
    """Return which windows saw an update outside the range of a mark; shape (m,)."""
    t, x = track.series.timestamps - track.channel.latency, track.series.values
    with np.errstate(invalid="ignore"):
        out = np.concatenate([[0], np.cumsum((x < mark.low) | (x > mark.high))])
    first = np.maximum(np.searchsorted(t, lower, "right") - 1, 0)
    last = np.searchsorted(t, upper, "left")
    if track.channel.kind is not ChannelKind.STATE:
        last = np.minimum(last + 1, len(t))
    return out[np.maximum(last, first)] > out[first]


__all__ = ["GRACE", "LATENESS", "Aligner", "ChannelReport", "Mark", "Span"]
