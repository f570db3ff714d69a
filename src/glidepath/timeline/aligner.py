"""From updates as they arrive to rows that are final: windows, watermark, energies."""

from collections.abc import Sequence
from math import inf

import numpy as np
from numpy.typing import NDArray

from .channel import Channel, ChannelKind
from .flight_window import FlightWindow
from .quality import Quality
from .rebin import rebin_windows
from .spans import Span, check_period
from .tracks import GRACE, ChannelReport, Mark, Track, first_finite
from .windows import CLOCK_RESOLUTION, HOLD_AFTER

Floats = NDArray[np.float64]
Columns = dict[str, NDArray]

SPARE = 5.0
"""Seconds of updates that are kept beyond what the next row needs."""


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
        self._tracks = [Track(channel) for channel in channels]
        found = [t for t in self._tracks if t.channel.name == axis]
        if not found or found[0].channel.kind is not ChannelKind.READBACK:
            readbacks = [c.name for c in channels if c.kind is ChannelKind.READBACK]
            raise ValueError(
                f"{axis!r} cannot be the axis of a scan; the readbacks are: "
                f"{', '.join(readbacks) or 'none'}."
            )
        if period is not None:
            check_period(period)
        self._axis = found[0]
        reference = _slowest(self._tracks)
        self.period = period or (reference.channel.aperture if reference else 0.1)
        self._flight = FlightWindow(self._axis, reference, self.period, hold_after)
        self._grace, self._hold_after = grace, hold_after
        by_name = {t.channel.name: t for t in self._tracks}
        self._marks = [(mark, by_name[mark.channel]) for mark in marks if mark.channel in by_name]
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
        """True when the axis was seen at or beyond the last stop, or the flight was ended early."""
        return self._flight.passed

    @property
    def arrived(self) -> bool:
        """True when the axis was seen at or beyond the last stop, before any early end."""
        return self._flight.arrived

    def finished(self, now: float) -> bool:
        """Return True when the axis has left the last range and every row of it is final."""
        return self._flight.finished(self.watermark(now))

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
        self.reached = None
        self._flight.arm(*spans)

    def end_early(self) -> None:
        """End the flight at the newest update of the axis: it was stopped early."""
        self._flight.end_early()

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
        track.note_clock(timestamps, arrivals)
        if track.recovering and len(timestamps):
            timestamps, values = track.recover(
                timestamps, values, arrivals, self._final_until, self._clock_offset(track)
            )
        return track.keep(timestamps, values, now, self._final_until, self._hold_after)

    def disconnect(self, index: int, time: float) -> tuple[Floats, Floats]:
        """Mark a channel as unknown from ``time`` (POSIX s, local clock) on.

        The mark, a NaN, is put on the clock of the channel's server and behind all final rows.
        """
        track = self._tracks[index]
        return track.lose(
            max(
                time - self._clock_offset(track),
                self._final_until + track.channel.latency + CLOCK_RESOLUTION,
                track.series.last_timestamp + CLOCK_RESOLUTION,
            )
        )

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
        flight = self._flight
        while flight.span is not None:
            watermark = self._axis.covered_until if finish else self.watermark(now)
            edges = flight.final_edges(watermark, self._final_until, finish=finish)
            if len(edges) > 1:
                columns = self._windows(edges[:-1], edges[1:], now, finish)
                parts.append(self._inside(flight.span, columns))
                flight.hand_out(len(edges) - 1)
                self._final_until = float(edges[-1])
            if not flight.go_on(self.watermark(now)):
                break
        columns = (
            {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
            if parts
            else {}
        )
        self.rows += len(columns.get("quality", ()))
        self.forget(now)
        return columns

    def forget(self, now: float, needed: float = inf) -> None:
        """Forget updates that no row needs any more, nor a window that begins at ``needed``."""
        needed = min(needed, self._flight.needed_from(self._known_until(self._axis, now)))
        for track in self._tracks:
            track.series.forget_before(needed + track.channel.latency - SPARE)

    def watermark(self, now: float) -> float:
        """Return the time (POSIX s) up to which nothing that matters is still on its way."""
        # A channel without a connection sends nothing: what it is, is not known.
        waited_for = [t for t in self._tracks if t.connected]
        return min((self._known_until(track, now) for track in waited_for), default=-inf)

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

    def _windows(self, lower: Floats, upper: Floats, now: float, finish: bool) -> Columns:
        columns = rebin_windows(
            {t.channel: (t.series.timestamps, t.series.values) for t in self._tracks},
            self._axis.channel.name,
            lower,
            upper,
            hold_after=self._hold_after,
        )
        if finish:
            # The last rows do not wait for the update that they would be interpolated to.
            for track in self._tracks:
                if track.channel.kind is ChannelKind.READBACK and track.connected:
                    guessed = upper > self._known_until(track, now)
                    columns["quality"][guessed] |= np.uint16(Quality.EXTRAPOLATED)
        for mark, track in self._marks:
            columns["quality"][track.out_of(mark, lower, upper)] |= np.uint16(mark.bit)
        return columns

    def _inside(self, span: Span, columns: Columns) -> Columns:
        """Return the rows that lie in a span, with what they belong to."""
        name = self._axis.channel.name
        position = columns[name]
        low, high = min(span.start, span.stop), max(span.start, span.stop)
        inside = (columns[f"{name}_lower"] >= low) & (columns[f"{name}_upper"] <= high)
        # The mean too: an axis that went out of the range and came back within a row.
        inside &= (position >= low) & (position <= high)
        # A row of which the energy is not known is a row all the same, with its bit.
        inside |= np.isnan(position)
        columns["region_number"] = np.full(len(position), span.region, np.uint16)
        columns["pass_number"] = np.full(len(position), span.pass_number, np.uint16)
        columns = {key: column[inside] for key, column in columns.items()}
        ends = columns[f"{name}_upper" if span.sign > 0 else f"{name}_lower"]
        known = ends[np.isfinite(ends)]
        if len(known):
            self.reached = float(known[-1])
        return columns

    def _known_until(self, track: Track, now: float) -> float:
        return track.known_until(now, self._axis, self._grace, self._hold_after)

    def _clock_offset(self, track: Track) -> float:
        return first_finite(track.report.clock_offset, self._axis.report.clock_offset, 0.0)


def _slowest(tracks: Sequence[Track]) -> Track | None:
    """Return the detector with the longest exposure; None if no exposure is known."""
    detectors = [
        t for t in tracks if t.channel.kind is ChannelKind.DETECTOR and t.channel.aperture > 0
    ]
    # Of equals the last one: by custom the signal comes after its reference.
    return max(reversed(detectors), key=lambda t: t.channel.aperture, default=None)


__all__ = ["Aligner"]
