"""Which frame belongs to which trigger, live: no row holds what another exposure saw.

Triggers and frames are matched by time, on clocks that need not agree, and by the detectors' own
counters. What was lost, dropped, late, extra or double is located and marked; nothing behind it
moves by a row. How frames are matched is in `matching`; here is what is kept from call to call.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import isfinite

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .clocks import FEWEST, FOLLOWED, ClockFit, find_clock, follow_clock, nearest
from .matching import (
    Events,
    FollowingDetector,
    Match,
    explain_missing,
    match_frames,
    relative_rate,
    too_long,
)
from .quality import Quality

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

PATIENCE = 2.0
"""Seconds after which a row does without what has not come."""

DISTINCT = 3.0
"""Standard deviations of the scatter that must fit in there."""

MAY_MISS = 0.1
"""Share of the frames that may be missing, or too many, while rows wait for them to be counted."""

WRONG_RATE = 0.1
"""Relative difference of two rates above which they are not the same."""

MISSING, MATCHED, UNDECIDED = 0, 1, 2
"""What an event can be when its row is final."""


@dataclass(frozen=True)
class MatchedRows:
    """Rows that are final: one per trigger, in order; m rows.

    Attributes
    ----------
    numbers, times, positions
        Shape (m,): the triggers, as they were given.
    frames
        Detector -> shape (m, frames per trigger), int64: index of the frame among all that were
        given of this detector, or -1.
    durations
        Detector -> shape (m,): seconds from the begin of the row's first to the end of its last
        frame, by the detector's own clock; NaN where one of the two is missing.
    quality
        Shape (m,), uint16: bits of `Quality`, of all detectors together.
    """

    numbers: Indices
    times: Floats
    positions: Floats
    frames: dict[str, Indices]
    durations: dict[str, Floats]
    quality: NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.numbers)


@dataclass
class DetectorAccount:
    """What became of the triggers of one leg at one detector.

    A detector with n frames per trigger is accounted for frame by frame: a trigger counts n.

    Attributes
    ----------
    name
        Name of the detector.
    triggers
        Triggers whose rows are final, times frames per trigger.
    frames
        Frames that came.
    matched
        Frames that are in a row.
    lost
        Triggers that did not lead to a frame.
    lost_at
        Positions of the rows that miss a frame, whatever the reason.
    dropped
        Frames that were made and did not arrive: gaps in the detector's counter.
    late
        Frames that began, ended or arrived later than they should have.
    extra
        Frames that belong to no trigger.
    double
        Frames that a trigger made which had made one already.
    ambiguous
        Triggers of which cannot be said which frame belongs to them.
    rate
        Rate of the frames divided by the rate that the triggers ask for; NaN where not known.
    clock
        Clock of the detector; None if it could not be found out.
    """

    name: str
    triggers: int = 0
    frames: int = 0
    matched: int = 0
    lost: int = 0
    lost_at: list[float] = field(default_factory=list)
    dropped: int = 0
    late: int = 0
    extra: int = 0
    double: int = 0
    ambiguous: int = 0
    rate: float = np.nan
    clock: ClockFit | None = None

    @property
    def wrong_rate(self) -> bool:
        """True when frames come at a rate that is not that of the triggers."""
        return abs(self.rate - 1) > WRONG_RATE

    @property
    def perfect(self) -> bool:
        """True when there is exactly one frame for every trigger, in time."""
        faults = (self.lost, self.dropped, self.late, self.extra, self.double, self.ambiguous)
        return not any(faults) and not self.lost_at and not self.wrong_rate

    def sentence(self, unit: str = "") -> str:
        """Return the account in one line; ``unit`` is that of the positions."""
        parts = [f"{self.name}: {self.matched} of {self.triggers} frames"]
        for number, what in (
            (self.lost, "lost"),
            (self.dropped, "dropped on the way"),
            (self.late, "late"),
            (self.extra, "extra"),
            (self.double, "double"),
            (self.ambiguous, "cannot be told apart"),
        ):
            if number:
                parts.append(f"{number} {what}")
        known = [position for position in self.lost_at if isfinite(position)]
        if known:
            where = f"at {known[0]:.6g}"
            if len(known) > 1:
                where = f"between {min(known):.6g} and {max(known):.6g}"
            parts.append(f"missing {where} {unit}".rstrip())
        if self.wrong_rate:
            parts.append(f"{self.rate:.3g} times the rate of the triggers")
        return ", ".join(parts)


class TriggerAccounting:
    """Matches the frames of some detectors to the triggers of one leg, while both come in.

    A row is final, and handed out once, when every detector has a frame that belongs to a later
    trigger, or `PATIENCE` has passed since its trigger became known. Where times do not tell which
    frame belongs to which trigger, as long as hardly any is missing: when all have been counted,
    at the end.

    Parameters
    ----------
    followers
        The detectors.
    patience
        Seconds; twelve intervals if that is longer and it is not known yet how a detector's
        clock runs.
    """

    def __init__(self, followers: Sequence[FollowingDetector], patience: float = PATIENCE) -> None:
        self._detectors = {follower.name: _DetectorFrames(follower) for follower in followers}
        self._patience = patience
        self._numbers = _Growing(np.int64)
        self._times = _Growing()
        self._positions = _Growing()
        self._known_since = _Growing()
        self.rows = 0

    @property
    def triggers(self) -> int:
        """Triggers so far."""
        return len(self._times)

    @property
    def next_time(self) -> float:
        """Time of the first trigger whose row is not final; infinite if there is none."""
        return float(self._times.values[self.rows]) if self.rows < len(self._times) else np.inf

    def add_triggers(
        self, numbers: ArrayLike, times: ArrayLike, positions: ArrayLike, now: float
    ) -> None:
        """Take triggers.

        Parameters
        ----------
        numbers, times, positions
            Shape (n,): number in the leg, time (s, clock of the source), latched position.
        now
            Local clock (s, monotonic), for the patience.

        Raises
        ------
        ValueError
            If numbers or times do not rise: what comes is not one leg.
        """
        new_numbers, new_times = np.asarray(numbers, np.int64), np.asarray(times, float)
        for old, new in ((self._numbers.values, new_numbers), (self._times.values, new_times)):
            if not np.all(np.diff(np.concatenate([old[-1:], new])) > 0):
                raise ValueError(
                    "Numbers and times of triggers must rise; make an account for each leg."
                )
        self._numbers.append(new_numbers)
        self._times.append(new_times)
        self._positions.append(np.asarray(positions, float))
        self._known_since.append(np.full(len(new_times), now))

    def add_frames(self, name: str, numbers: ArrayLike, begins: ArrayLike, ends: ArrayLike) -> None:
        """Take frames of a detector, in the order in which they were made.

        Parameters
        ----------
        name
            Name of the detector.
        numbers
            Shape (n,): its own counter, 0 for the first one after arming.
        begins, ends
            Shape (n,): of the exposure (s, clock of the detector); NaN where not known.
        """
        detector = self._detectors[name]
        detector.numbers.append(np.asarray(numbers, np.int64))
        detector.begins.append(np.asarray(begins, float))
        detector.ends.append(np.asarray(ends, float))

    def close(self, time: float) -> None:
        """Take a last trigger that begins no row: it ends exposures that last until the next.

        Parameters
        ----------
        time
            Of it (s, clock of the triggers). Frames that begin with it, or later, are not looked
            at: some detectors make one, some do not.
        """
        for detector in self._detectors.values():
            detector.closed = time

    def final_rows(self, now: float, *, finish: bool = False) -> MatchedRows:
        """Return the rows that became final.

        Parameters
        ----------
        now
            Local clock (s) of the same kind as given to `add_triggers`.
        finish
            No more triggers and frames will come: all rows are final.
        """
        times = self._times.values
        detectors = self._detectors.values()
        for detector in detectors:
            detector.look(times, self.rows, finish)
        stop = len(times)
        if not finish:
            settled = min((detector.settled for detector in detectors), default=stop)
            overdue = self._overdue(now)
            if any(detector.will_count(overdue) for detector in detectors):
                overdue = self.rows
            stop = max(settled, overdue, self.rows)
        rows = slice(self.rows, stop)
        quality = np.zeros(stop - self.rows, np.uint16)
        frames, durations = {}, {}
        for name, detector in self._detectors.items():
            frames[name] = detector.close(self._positions.values, rows, quality, finish)
            durations[name] = detector.durations(frames[name])
        self.rows = stop
        return MatchedRows(
            self._numbers.values[rows].copy(),
            times[rows].copy(),
            self._positions.values[rows].copy(),
            frames,
            durations,
            quality,
        )

    def _overdue(self, now: float) -> int:
        """Return how many of the first rows have waited long enough."""
        patience = self._patience
        if len(self._times) > 1 and not all(
            detector.clock for detector in self._detectors.values()
        ):
            interval = float(np.median(np.diff(self._times.values)))
            patience = max(patience, 1.5 * FEWEST * interval)
        return int(np.searchsorted(self._known_since.values, now - patience))

    def accounts(self) -> dict[str, DetectorAccount]:
        """Return what became of the triggers so far, by detector."""
        times = self._times.values
        return {name: detector.account(times) for name, detector in self._detectors.items()}


class _Growing:
    """An array that is appended to."""

    def __init__(self, dtype: type = float) -> None:
        self._array: NDArray = np.empty(256, dtype)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def values(self) -> NDArray:
        return self._array[: self._size]

    def append(self, values: NDArray) -> None:
        size = self._size + len(values)
        if size > len(self._array):
            self._array = np.concatenate([self.values, np.empty(size, self._array.dtype)])
        self._array[self._size : size] = values
        self._size = size


class _DetectorFrames:
    """The frames of one detector against the triggers: what is known so far.

    With n frames per trigger there are n *events* for each trigger, instants at which a frame
    should begin. Indices of events count from the beginning of the leg.
    """

    def __init__(self, follower: FollowingDetector) -> None:
        self._follower = follower
        self._n = follower.frames_per_trigger
        self.numbers = _Growing(np.int64)
        self.begins = _Growing()
        self.ends = _Growing()
        self.clock: ClockFit | None = None
        self.closed = np.inf
        self.settled = 0
        self._ignored = 0
        self._tried_with = 0
        self._account = DetectorAccount(follower.name)
        self._accounted_for = 0
        self._arrived_late = 0
        self._state = _Growing(np.uint8)
        # The last frame that is in a row: its event, its index, and its number.
        self._last = (-1, -1, -1)
        self._pairs = np.empty((2, 0))
        # Of the frames behind the first `_consumed` ones, as `look` found them.
        self._consumed = 0
        self._events = Events.expected(follower, np.empty(0))
        self._match = Match.none(0)

    def look(self, times: Floats, rows: int, finish: bool) -> None:
        """Match what is not final yet; ``rows`` are final."""
        self._events = Events.expected(self._follower, times)
        self.settled = 0
        self._find_clock(times, finish)
        pending = self.begins.values[self._consumed :]
        self._match = Match.none(len(pending))
        if self.clock is None or not len(self._events):
            return
        self._events = self._events.within(self._follower, self.clock.scatter)
        event, _, number = self._last
        self._match = match_frames(
            self._events,
            self.clock.trigger_times(pending),
            self.numbers.values[self._consumed :],
            base=rows * self._n,
            last=(event, number),
            closed=self.closed,
            finish=finish,
        )
        self._ignored = self._match.ignored
        self.settled = max(self._match.latest, 0) // self._n

    def will_count(self, overdue: int) -> bool:
        """Whether counting can tell at the end what times do not: about all frames are there.

        Parameters
        ----------
        overdue
            Triggers whose frames should be here.
        """
        number, events = len(self.begins), len(self._events)
        if self.clock is not None or number < FEWEST:
            return False
        few = MAY_MISS * events
        return overdue * self._n - few <= number <= events + few

    def close(
        self, positions: Floats, rows: slice, quality: NDArray[np.uint16], finish: bool
    ) -> Indices:
        """Make rows final: return their frames, shape (m, n), and add to their quality."""
        n, first, stop = self._n, rows.start * self._n, rows.stop * self._n
        frames = np.full(stop - first, -1)
        bits = np.zeros(stop - first, np.uint16)
        event_of, late = self._match.event_of, self._match.late
        mine = np.flatnonzero((event_of >= first) & (event_of < stop))
        undecided = np.zeros(stop - first, bool)
        if self.clock is not None:
            undecided = self._events.apart[first:stop] < DISTINCT * self.clock.scatter
        elif len(self.begins):
            undecided[:] = True
        frames[event_of[mine] - first] = self._consumed + mine
        late_ones = mine[late[mine] | self._too_long(mine)]
        bits[event_of[late_ones] - first] = Quality.LATE
        self._explain_missing(frames, bits, first, finish)
        frames[undecided], bits[undecided] = -1, Quality.AMBIGUOUS
        state = np.where(frames >= 0, MATCHED, MISSING)
        self._state.append(np.where(undecided, UNDECIDED, state))

        missing = np.sum(frames.reshape(-1, n) < 0, axis=1)
        row_bits = np.bitwise_or.reduce(bits.reshape(-1, n), axis=1)
        row_bits[missing == n] |= Quality.NO_DATA
        row_bits[(2 * missing > n) & (missing < n)] |= Quality.PARTIAL
        if self._follower.shares and rows.start < rows.stop == len(positions):
            row_bits[-1] |= Quality.EXTRAPOLATED
        account = self._account
        account.triggers += len(frames)
        account.matched += int(np.sum(frames >= 0))
        account.ambiguous += int(np.sum(undecided))
        account.late += int(np.sum((frames >= 0) & ((bits & Quality.LATE) != 0)))
        account.lost_at += positions[rows][missing > 0].tolist()
        self._follow(frames, bits, first)
        self._consume(mine, stop, row_bits, rows.start)
        quality |= row_bits
        return frames.reshape(-1, n)

    def durations(self, frames: Indices) -> Floats:
        """Return the seconds from the first frame's begin to the last one's end, shape (m,)."""
        first, last = frames[:, 0], frames[:, -1]
        known = (first >= 0) & (last >= 0)
        seconds = np.full(len(frames), np.nan)
        seconds[known] = self.ends.values[last[known]] - self.begins.values[first[known]]
        return seconds

    def account(self, times: Floats) -> DetectorAccount:
        """Return what became of the triggers so far."""
        numbers = self.numbers.values
        gaps = np.diff(np.append(-1, numbers)) - 1
        missing = int(np.sum(self._state.values == MISSING))
        return replace(
            self._account,
            frames=len(numbers) - self._ignored,
            lost=missing - self._accounted_for - self._arrived_late,
            lost_at=list(self._account.lost_at),
            dropped=int(np.sum(gaps[gaps > 0])),
            rate=self._rate(times),
            clock=self.clock,
        )

    def _rate(self, times: Floats) -> float:
        """Return the frames' rate against that of the events at the same time."""
        offset = 0.5 * (self._follower.low + self._follower.high)
        if self.clock is not None:
            offset = self.clock.offset
        return relative_rate(self._follower.events(times), self.begins.values, offset)

    def _find_clock(self, times: Floats, finish: bool) -> None:
        known = min(len(self._events), len(self.begins))
        grown = known >= self._tried_with + max(FEWEST, self._tried_with // 2)
        if self.clock is None and (grown or finish):
            self._tried_with = known
            # What the end trigger made speaks for the right clock too.
            makes_one = isfinite(self.closed) and not self._follower.ends_with_next
            self.clock = find_clock(
                self._follower.events(np.append(times, self.closed if makes_one else [])),
                self.begins.values,
                self._follower.low,
                self._follower.high,
                self._follower.jitter,
                complete=finish,
                numbers=self.numbers.values,
            )

    def _too_long(self, pending: Indices) -> NDArray[np.bool_]:
        """Return which of the frames that are not final lasted until after the next event."""
        index = self._consumed + pending
        lengths = self.ends.values[index] - self.begins.values[index]
        until = self._match.at[pending] + lengths
        return too_long(self._events, self._match.event_of[pending], until)

    def _explain_missing(
        self, frames: Indices, bits: NDArray[np.uint16], first: int, finish: bool
    ) -> None:
        """Mark events without a frame with the reason."""
        missing = np.flatnonzero(frames < 0) + first
        if not len(missing):
            return
        event_of = self._match.event_of
        placed = np.flatnonzero(event_of >= 0)
        placed = placed[np.argsort(event_of[placed], kind="stable")]
        # With the last final one before them, so that the first gap has a begin too.
        event, index, number = self._last
        why, dropped = explain_missing(
            missing,
            np.append(event, event_of[placed]),
            np.append(index, self._consumed + placed),
            np.append(number, self.numbers.values[self._consumed + placed]),
            finish,
        )
        bits[missing - first] = why
        self._accounted_for += dropped

    def _follow(self, frames: Indices, bits: NDArray[np.uint16], first: int) -> None:
        """Let the clock learn from frames that are in rows now."""
        in_rows = np.flatnonzero(frames >= 0)
        if not len(in_rows):
            return
        latest = int(in_rows[-1])
        index = int(frames[latest])
        self._last = (first + latest, index, int(self.numbers.values[index]))
        punctual = in_rows[bits[in_rows] == 0]
        new = np.stack([self._events.times[first + punctual], self.begins.values[frames[punctual]]])
        self._pairs = np.concatenate([self._pairs, new], axis=1)[:, -FOLLOWED:]
        if self.clock is not None:
            self.clock = follow_clock(self.clock, *self._pairs)

    def _consume(
        self, mine: Indices, stop: int, row_bits: NDArray[np.uint16], first_row: int
    ) -> None:
        """Be done with all frames before event number ``stop``; count those in no row."""
        if self.clock is None:
            return
        limit = np.inf
        if stop < len(self._events):
            limit = self._events.times[stop] - self._events.tolerance[stop]
        done = int(mine[-1]) + 1 if len(mine) else 0
        match = self._match
        # A frame without a known begin does not wait: nothing that comes later will place it.
        while done < match.judged and match.event_of[done] < 0 and not match.at[done] >= limit:
            done += 1
        for frame in np.flatnonzero(match.event_of[:done] < 0).tolist():
            self._count_unplaced(float(match.at[frame]), row_bits, first_row)
        self._consumed += done

    def _count_unplaced(self, at: float, row_bits: NDArray[np.uint16], first_row: int) -> None:
        """Count a frame that is in no row: too late for its row, double, or extra."""
        events = self._events
        event = int(nearest(events.times, np.array([at]))[0]) if isfinite(at) else -1
        if event >= 0 and at < events.times[event] - events.tolerance[event]:
            # It began before that event by more than a frame can: the one before made it.
            event -= 1
        event = min(event, len(self._state) - 1)
        state = self._state.values[event] if event >= 0 else MATCHED
        since = at - events.times[event] if event >= 0 else np.inf
        if state == MISSING and since < events.interval:
            self._account.late += 1
            self._arrived_late += 1
        elif state != UNDECIDED:
            if since < 0.5 * events.interval:
                self._account.double += 1
            else:
                self._account.extra += 1
            if 0 <= event // self._n - first_row < len(row_bits):
                row_bits[event // self._n - first_row] |= Quality.EXTRA


__all__ = ["PATIENCE", "DetectorAccount", "MatchedRows", "TriggerAccounting"]
