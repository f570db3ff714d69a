"""Which frame is nearest to which trigger, and what became of those without: pure functions.

A detector with n frames per trigger has n *events* for each trigger: the instants at which a frame
should begin, on the clock of the triggers. Times decide first. Where the time of a frame is wrong,
its order and the detector's counter decide. `TriggerAccounting` keeps what is known from one call
to the next; here nothing is kept.
"""

from bisect import bisect_left
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from .clocks import FEWEST, nearest, one_to_one
from .quality import Quality

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Flags = NDArray[np.bool_]

PUNCTUAL = 0.05
"""Share of the interval by which a frame may be off without a word; more if it scatters more."""

UNUSUAL = 5.0
"""Standard deviations of its scatter that a frame may be off without a word."""

APART = 0.45
"""Share of the interval within which a frame is nearer to one trigger than to its neighbours."""


@dataclass(frozen=True)
class FollowingDetector:
    """A detector that follows the triggers, and what is known of it beforehand.

    Parameters
    ----------
    name
        Name of the detector.
    low, high
        Bounds of "begin of a frame on the detector's clock minus time of its trigger on the
        clock of the triggers", in s: offset of the clocks plus latency. The wider apart they
        are, compared with the interval of the triggers, the more the intervals must vary to
        make clear which frame belongs to which trigger.
    frames_per_trigger
        Frames that one trigger makes, or that fall on it from a faster train of pulses.
    spacing
        Seconds from one to the next of these. None: they share the interval to the next trigger
        evenly; the last row is then EXTRAPOLATED.
    jitter
        Largest distance in s of a frame's begin from where the others say that it should be.
        None: a quarter of the interval.
    ends_with_next
        Whether its frames last until the next trigger, so that the one that closes a leg begins
        none.

    Raises
    ------
    ValueError
        If the bounds are not finite and in order, or a number is not above zero.
    """

    name: str
    low: float
    high: float
    frames_per_trigger: int = 1
    spacing: float | None = None
    jitter: float | None = None
    ends_with_next: bool = False

    def __post_init__(self) -> None:
        if not (isfinite(self.low) and isfinite(self.high) and self.low <= self.high):
            raise ValueError(
                f"{self.name}: its clock cannot be between {self.low!r} and {self.high!r} s off; "
                "give two finite numbers, the smaller one first."
            )
        positive = (self.frames_per_trigger, self.spacing, self.jitter)
        if not all(number is None or number > 0 for number in positive):
            raise ValueError(
                f"{self.name}: frames per trigger, spacing and jitter must be above zero."
            )

    @property
    def shares(self) -> bool:
        """Whether its frames share the interval to the next trigger, which may not be known yet."""
        return self.frames_per_trigger > 1 and self.spacing is None

    def events(self, times: Floats) -> Floats:
        """Return when frames should begin, shape (m n,), for triggers at times, shape (m,)."""
        n = self.frames_per_trigger
        if n == 1 or not len(times):
            return times
        if self.spacing is None:
            gaps = np.diff(times, append=np.nan)
            # The interval behind the last trigger is taken to be the one before it.
            gaps[-1] = gaps[-2] if len(gaps) > 1 else 0.0
            return (times[:, np.newaxis] + gaps[:, np.newaxis] * np.arange(n) / n).ravel()
        return (times[:, np.newaxis] + self.spacing * np.arange(n)).ravel()


@dataclass(frozen=True)
class Events:
    """Instants at which frames should begin, and how far from them a frame may be.

    Attributes
    ----------
    times
        Shape (m,): s, clock of the triggers.
    apart
        Shape (m,): distance in s within which a frame is nearer to this event than to all others.
        Where the scatter of the frames comes near it, times cannot tell them apart.
    tolerance
        Shape (m,): distance in s within which a frame is punctual.
    interval
        Median distance in s from one event to the next; infinite for a single one.
    """

    times: Floats
    apart: Floats
    tolerance: Floats
    interval: float

    def __len__(self) -> int:
        return len(self.times)

    @classmethod
    def expected(cls, follower: FollowingDetector, times: Floats) -> "Events":
        """Return the events of triggers at times, before anything is known of the scatter."""
        at = follower.events(times)
        interval = float(np.median(np.diff(at))) if len(at) > 1 else np.inf
        return cls(at, np.empty(0), np.empty(0), interval)

    def within(self, follower: FollowingDetector, scatter: float) -> "Events":
        """Return the same events for frames with a standard deviation of ``scatter`` s."""
        gaps = np.diff(self.times)
        apart = APART * np.minimum(np.append(np.inf, gaps), np.append(gaps, np.inf))
        if not len(gaps):
            # A single event has no neighbour: whatever lies between the clock's bounds is its own.
            apart[:] = follower.high - follower.low + 20 * scatter
        most = apart
        if follower.jitter is not None:
            most = np.minimum(apart, follower.jitter)
        tolerance = np.minimum(np.maximum(UNUSUAL * scatter, PUNCTUAL / APART * apart), most)
        if follower.shares:
            # Which interval they share is not known before the next trigger.
            n = follower.frames_per_trigger
            tolerance[-n:] = most[-n:]
        return Events(self.times, apart, tolerance, self.interval)


@dataclass(frozen=True)
class Match:
    """Events of frames that are in no row yet; n frames, in the order in which they were made.

    Attributes
    ----------
    at
        Shape (n,): when they began, s, on the clock of the triggers; NaN where not known.
    event_of
        Shape (n,): event that each belongs to, or -1.
    late
        Shape (n,): whether it was found by its order, because its time is too late.
    judged
        Of how many of the first is decided; those behind may belong to triggers not yet told.
    ignored
        How many began with the end trigger or later.
    latest
        The last event to which a punctual frame belongs; -1 if there is none.
    """

    at: Floats
    event_of: Indices
    late: Flags
    judged: int = 0
    ignored: int = 0
    latest: int = -1

    @classmethod
    def none(cls, number: int) -> "Match":
        """Return that of so many frames nothing is decided."""
        return cls(np.full(number, np.nan), np.full(number, -1), np.zeros(number, bool))


def match_frames(
    events: Events,
    at: Floats,
    numbers: Indices,
    *,
    base: int,
    last: tuple[int, int],
    closed: float,
    finish: bool,
) -> Match:
    """Return which event each frame belongs to.

    Parameters
    ----------
    events
        At least one.
    at, numbers
        Shape (n,): begin on the clock of the triggers (s), and the detector's own counter.
    base
        The first event that is not in a final row.
    last
        Event and counter of the last frame that is in a final row; -1 each if there is none.
    closed
        Time of the trigger that begins no row (s); infinite if there is none.
    finish
        Whether no more triggers will come.
    """
    k = nearest(events.times, at)
    away = np.abs(at - events.times[k])
    # A frame behind the newest trigger belongs to one that has not been told yet.
    known = finish | (at <= events.times[-1] + events.tolerance[-1])
    after = at >= closed - events.tolerance[-1]
    in_reach = np.flatnonzero(known & ~after)
    judged = int(in_reach[-1]) + 1 if len(in_reach) else 0
    near = (away <= events.tolerance[k]) & (k >= base)
    chosen = _in_order(np.flatnonzero(near[:judged]), k, away)
    event_of, late = np.full(len(at), -1), np.zeros(len(at), bool)
    event_of[chosen] = k[chosen]
    latest = int(k[chosen[-1]]) if len(chosen) else -1
    _place_the_rest(events, at[:judged], numbers, chosen, event_of, late, base=base, last=last)
    return Match(at, event_of, late, judged, int(np.sum(after)), latest)


def _place_the_rest(
    events: Events,
    at: Floats,
    numbers: Indices,
    chosen: Indices,
    event_of: Indices,
    late: Flags,
    *,
    base: int,
    last: tuple[int, int],
) -> None:
    """Find the events of frames that are near none, in the gaps between those that are.

    As many frames as events, by the counter too: their timestamps are late, their order is
    right. Else a frame that begins after an event that has no other began late. Changes
    ``event_of`` and ``late``.
    """
    left = np.flatnonzero(event_of[: len(at)] < 0)
    gap_of = np.searchsorted(chosen, left)
    reached = np.searchsorted(events.times, at[left], "right") - 1
    for gap in np.unique(gap_of):
        group, latest = left[gap_of == gap], reached[gap_of == gap]
        event, number = last
        if gap:
            event, number = int(event_of[chosen[gap - 1]]), numbers[chosen[gap - 1]]
        begin, stop = max(event + 1, base), len(events)
        if gap < len(chosen):
            stop = int(event_of[chosen[gap]])
            counted = int(numbers[chosen[gap]] - number)
            if len(group) == stop - begin and counted == stop - event:
                event_of[group] = np.arange(begin, stop)
                late[group] = True
                continue
        for frame, reach in zip(group, np.minimum(latest, stop - 1).tolist(), strict=True):
            if reach >= begin and at[frame] - events.times[reach] < events.interval:
                event_of[frame], late[frame] = reach, True
                # Order holds: the next frame belongs to a later event.
                begin = reach + 1


def too_long(events: Events, event_of: Indices, until: Floats) -> Flags:
    """Return which frames lasted until after the next event, so that they hold both.

    A counter whose bins end with the next trigger does that when it misses one.

    Parameters
    ----------
    events
        As above.
    event_of, until
        Shape (n,): event of each frame, and when it ended (s, clock of the triggers).
    """
    if not len(event_of):
        return np.zeros(0, bool)
    # Nothing is known to follow the last one: half an interval more is allowed.
    following = np.append(events.times[1:], events.times[-1] + 1.5 * events.interval)
    return until > following[event_of] + events.tolerance[event_of]


def explain_missing(
    missing: Indices, events: Indices, index: Indices, numbers: Indices, finish: bool
) -> tuple[NDArray[np.uint16], int]:
    """Return why events have no frame: lost, dropped on the way, or not here in time.

    Parameters
    ----------
    missing
        Shape (m,): events without a frame, rising.
    events, index, numbers
        Shape (n,): event, index and counter of the frames that have one, by event; the first is
        the last one in a final row, -1 each if there is none.
    finish
        Whether no more frames will come.

    Returns
    -------
    tuple
        Bits of `Quality`, shape (m,), and how many of them were dropped by the counter.
    """
    after = np.searchsorted(events, missing)
    closed = after < len(events)
    s, p = np.minimum(after, len(events) - 1), after - 1
    # The counter went on by more than the frames that came.
    free = events[s] - events[p] - 1
    dropped = np.clip(numbers[s] - numbers[p] - (index[s] - index[p]), 0, free)
    why = np.zeros(len(missing), np.uint16)
    # Where only some of a gap were dropped, nobody can say which: both are possible.
    why[np.where(closed, dropped < free, finish)] |= Quality.LOST_TRIGGER
    why[closed & (dropped > 0)] |= Quality.LOST_UPDATES
    why[~closed & (not finish)] |= Quality.LATE
    return why, int(np.sum(closed & (missing - events[p] <= dropped)))


def relative_rate(events: Floats, begins: Floats, offset: float) -> float:
    """Return the frames' rate against that of the events at the same time; NaN if too few.

    Parameters
    ----------
    events, begins
        Shapes (m,), (n,): s, on the clock of the triggers and of the detector.
    offset
        Between the two clocks, s.
    """
    begins = begins[np.isfinite(begins)]
    if not len(begins):
        return np.nan
    first, stop = np.searchsorted(events, begins[[0, -1]] - offset)
    events = events[max(first - 1, 0) : stop + 1]
    if min(len(events), len(begins)) <= FEWEST:
        return np.nan
    return float(np.median(np.diff(events)) / np.median(np.diff(begins)))


def _in_order(items: Indices, events: Indices, distances: Floats) -> Indices:
    """Return the items that are the nearest ones of their events, with events that rise.

    Parameters
    ----------
    items
        Indices into the other two, rising.
    events, distances
        Event of each frame and how far it is away.
    """
    while True:
        chosen = items[one_to_one(events[items], distances[items])]
        if np.all(np.diff(events[chosen]) > 0):
            return chosen
        # Frames come in the order in which they were made: those that break it have wrong times.
        rising = _longest_rising(events[chosen])
        items = np.setdiff1d(items, np.delete(chosen, rising))


def _longest_rising(values: Indices) -> list[int]:
    """Return the indices of a longest subsequence that rises."""
    # Patience sorting: `ends[k]` is the smallest value with which a subsequence of k + 1 can end.
    ends: list[int] = []
    last_of: list[int] = []
    before: list[int] = []
    for index, value in enumerate(values.tolist()):
        place = bisect_left(ends, value)
        before.append(last_of[place - 1] if place else -1)
        ends[place : place + 1] = [value]
        last_of[place : place + 1] = [index]
    chain = []
    index = last_of[-1]
    while index >= 0:
        chain.append(index)
        index = before[index]
    return chain[::-1]


__all__ = [
    "Events",
    "FollowingDetector",
    "Match",
    "explain_missing",
    "match_frames",
    "relative_rate",
    "too_long",
]
