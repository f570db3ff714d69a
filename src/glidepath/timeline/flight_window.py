"""When the axis entered and left the ranges of a flight, and where the rows in them begin and end.

All that is known of a flight is the axis's readback: updates that come late, of an axis that
stands, overshoots and returns. A flight is found in them by its direction and its order, span after
span, and in each span by two crossings: of its start, and after that of its stop.
"""

from collections import deque
from math import floor, inf

import numpy as np
from numpy.typing import NDArray

from .spans import Span
from .tracks import Track
from .windows import CLOCK_RESOLUTION, exposures

Floats = NDArray[np.float64]

EDGES_PER_SECOND = 2.0**20
"""Rows begin and end on this grid, so that middle and duration give the ends back exactly."""


class FlightWindow:
    """Finds one flight after the other in the updates of the axis, and lays rows into it.

    Its answers depend on the updates alone, not on when it is asked, if they are complete up to
    the watermark that it is given.

    Parameters
    ----------
    axis
        The axis's updates.
    reference
        The slowest detector, to whose exposures rows are aligned; None: to the range.
    period
        Length of a row in seconds where a span has none of its own.
    hold_after
        Silence in seconds after which the axis stood still; see `windows.HOLD_AFTER`.

    Attributes
    ----------
    span
        The range that is looked for, or flown through; None before `arm`.
    exit
        When the axis left it (POSIX s); infinity if not yet.
    early_end
        When the flight was ended early (POSIX s); infinity if it was not.
    """

    def __init__(
        self, axis: Track, reference: Track | None, period: float, hold_after: float
    ) -> None:
        self._axis, self._reference = axis, reference
        self._period, self._hold_after = period, hold_after
        self._waiting: deque[Span] = deque()
        self.span: Span | None = None
        self.exit = self.early_end = inf
        self._armed_after = -inf
        self._entry: float | None = None
        # Where the first row of the span begins, and the number of the next row from there.
        self._origin: float | None = None
        self._next_row = 0

    def arm(self, *spans: Span) -> None:
        """Look for the beginning of a flight in the updates that come after this."""
        self._waiting = deque(spans)
        self.early_end = inf
        self._begin(self._axis.series.last_timestamp)

    def _begin(self, after: float) -> None:
        """Look for the next span, in updates of the axis with timestamps later than ``after``."""
        self.span = self._waiting.popleft()
        self._armed_after = after
        self._entry, self.exit, self._origin = None, inf, None
        self._next_row = 0

    def end_early(self) -> None:
        """End the flight at the newest update of the axis."""
        self.early_end = min(self.early_end, self._axis.covered_until)

    @property
    def passed(self) -> bool:
        """True when the axis was seen at or beyond the last stop, or the flight was ended early."""
        return self.early_end < inf or self.arrived

    @property
    def arrived(self) -> bool:
        """True when the axis was seen at or beyond the last stop, before any early end."""
        return self.exit < inf and self.exit <= self.early_end and not self._waiting

    @property
    def end(self) -> float:
        """When the axis left the present span, or was ended early in it; infinity if not yet."""
        return min(self.exit, self.early_end)

    def finished(self, watermark: float) -> bool:
        """Return whether it has left the last range, and every row of it is final."""
        last = self.early_end if self._waiting else self.end
        return self.passed and watermark >= last

    def go_on(self, watermark: float) -> bool:
        """Look for the next span, if this one is behind the watermark; False if there is none."""
        if not self._waiting or self.exit >= self.early_end or watermark < self.exit:
            return False
        # The update that crossed the stop is also the first one in the next span.
        self._begin(self.exit + self._axis.channel.latency - CLOCK_RESOLUTION)
        return True

    def final_edges(self, watermark: float, final_until: float, *, finish: bool) -> Floats:
        """Return the edges of the rows that became final; shape (m + 1,), or empty.

        Parameters
        ----------
        watermark
            Time (POSIX s) up to which nothing that matters is still on its way.
        final_until
            Where the last row of any flight ended (POSIX s).
        finish
            The last call: nothing more is waited for.
        """
        nothing = np.empty(0)
        span = self.span
        if span is None or not self._find(span, final_until):
            return nothing
        if self._origin is None:
            self._origin = self._first_row(span, watermark, finish)
            if self._origin is None:
                return nothing
        until = min(watermark, self.end)
        if until <= self._origin:
            return nothing
        last = floor((until - self._origin) / self._row_length(span)) + 1
        edges = self._edges(span, np.arange(self._next_row, last + 1))
        return edges[edges <= until]

    def hand_out(self, rows: int) -> None:
        """Go on behind that many rows."""
        self._next_row += rows

    def needed_from(self, otherwise: float) -> float:
        """Return the time (POSIX s) before which no update can matter to this flight any more.

        Parameters
        ----------
        otherwise
            The answer between two flights: the next one begins after everything that is known of
            the axis.
        """
        if self.span is not None and self._origin is not None:
            done, following = self._edges(self.span, np.arange(self._next_row, self._next_row + 2))
            if following <= self.end:
                return float(done)
        elif self._entry is not None:
            return self._entry
        if self._waiting and self.exit < self.early_end:
            return self.exit
        return otherwise

    def _row_length(self, span: Span) -> float:
        return span.period or self._period

    def _edges(self, span: Span, number: NDArray[np.int64]) -> Floats:
        assert self._origin is not None
        # Each from the origin, not from the one before: nothing adds up.
        edges = self._origin + number * self._row_length(span)
        return np.round(edges * EDGES_PER_SECOND) / EDGES_PER_SECOND

    def _find(self, span: Span, final_until: float) -> bool:
        """Find when the axis entered and left the range, as far as it is known."""
        if self._entry is None:
            entry = self._crossing(span, self._armed_after, span.start)
            if entry is not None:
                # Two flights share no row.
                self._entry = max(entry, final_until)
        if self._entry is not None and self.exit == inf:
            # From the update that entered on: a short span is left by the same one.
            entered = self._entry + self._axis.channel.latency
            crossed = self._crossing(span, entered - CLOCK_RESOLUTION, span.stop)
            self.exit = inf if crossed is None else crossed
        return self._entry is not None

    def _crossing(self, span: Span, after: float, position: float) -> float | None:
        """Return when the axis first reaches ``position`` on its way from start to stop.

        Looks at updates with timestamps later than ``after``.
        """
        t = self._axis.series.timestamps
        # Turned round for a flight down, so that there is one case.
        x = span.sign * self._axis.series.values
        level = span.sign * position
        # Updates from the way to the run-up, the other way, may arrive when it is over. The
        # comparison is this way round because a value that follows a loss (NaN) may be forward.
        with np.errstate(invalid="ignore"):
            forward = ~(np.diff(x, prepend=-inf) <= 0)
        begin = int(np.searchsorted(t, after, "right"))
        reached = np.flatnonzero(forward[begin:] & (x[begin:] >= level))
        if not len(reached):
            return None
        k = begin + int(reached[0])
        at = float(t[k]) - self._axis.channel.latency
        if k == 0 or not x[k - 1] < level:
            # Nothing is known of how it came here.
            return at
        gap = float(t[k] - t[k - 1])
        if gap > self._hold_after:
            # An axis that was silent stood still until this update.
            return at
        # On the straight line between the two updates, as its position is in every row.
        return at - float((x[k] - level) / (x[k] - x[k - 1])) * gap

    def _first_row(self, span: Span, watermark: float, finish: bool) -> float | None:
        """Return where the first row begins: at an exposure of the slowest detector.

        A row that cuts exposures in two mixes each of them with its neighbour's energies; rows
        that follow the exposures do not. None as long as it cannot be told: the answer depends on
        the data alone, not on when it is asked for.
        """
        assert self._entry is not None
        # A little later than the entry, so that rounding to the grid of edges does not put the
        # first row outside the range.
        step = 2 / EDGES_PER_SECOND
        limit = self._entry
        period = self._row_length(span)
        if self._reference is not None:
            channel = self._reference.channel
            series = self._reference.series
            ends = series.timestamps[np.isfinite(series.values)] - channel.latency
            begins, _ = exposures(ends, channel.aperture)
            # A detector that does not send for so long is not waited for.
            limit = min(self._entry + 2 * max(period, channel.aperture), self.end)
            usable = begins[(begins >= self._entry) & (begins < limit) & (begins <= watermark)]
            if len(usable):
                # Whole periods back as far as the entry allows: no light is thrown away.
                whole = floor((usable[0] - self._entry - step) / period)
                return float(usable[0] - max(whole, 0) * period)
        return self._entry + step if finish or watermark >= limit else None


__all__ = ["EDGES_PER_SECOND", "FlightWindow"]
