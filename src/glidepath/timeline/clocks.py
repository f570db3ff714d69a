"""How the clock of a detector runs against the clock of the triggers: found from the frames alone.

Both clocks are only known to some bounds, and frames may be missing where the two series begin,
so that counting from the first one is no way to find out. What decides is how the intervals
vary: only one offset puts nearly all frames next to triggers and keeps them there. Where no
offset is far better than all others (equal intervals, wide bounds), the detector's own counter is
asked when all is over: a trigger makes one frame at the most. Where that leaves more than one
possibility, none is chosen.
"""

from dataclasses import dataclass, replace
from math import log, sqrt

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

MAX_DRIFT = 1e-4
"""Largest relative difference in speed of two clocks: 100 ppm, two poor quartz oscillators."""

RESOLUTION = 2e-6
"""Smallest scatter in s that is believed: POSIX times in float64 are good to 0.24 µs."""

DECISIVE = 20.0
"""Natural logarithm of the odds above which an alignment is taken for the right one."""

LOOKED_AT = 2048
"""Newest frames that an offset is found from."""

FEWEST = 8
"""Frames before which no offset is found while more are still to come."""

FOLLOWED = 256
"""Newest matched frames that a clock is followed with."""

ANCHORS, COARSE, RIVALS = 8, 64, 64
"""Frames that propose offsets, frames that test them first, offsets that are tested by all."""

LEAST_CHANCE = 1.0
"""Nats by which an alignment may differ because it was refined from another side."""

DISTINCT = 3.0
"""Standard deviations of the scatter that must fit into the jitter for times to decide."""

CERTAIN = 4.0
"""Standard deviations by which what speaks against the count must exceed chance."""

GAUSS = 0.5 * log(2 * np.pi * np.e)
"""Entropy of a normal distribution of unit width, in nats."""


@dataclass(frozen=True)
class ClockFit:
    """A detector's clock against the clock of the triggers.

    Attributes
    ----------
    offset
        Begin of a frame on its own clock minus time of its trigger (s), at ``origin``: offset
        of the clocks plus latency.
    drift
        Change of the offset in s per s.
    origin
        Time on the detector's clock (s).
    scatter
        Standard deviation of single frames around that (s).
    """

    offset: float
    drift: float
    origin: float
    scatter: float

    def trigger_times(self, begins: Floats) -> Floats:
        """Return when frames that begin at ``begins`` were triggered; same shape and unit."""
        return begins - self.offset - self.drift * (begins - self.origin)

    def bounds(self, begin: float) -> tuple[float, float]:
        """Return the smallest and the largest offset (s) that are possible later, at ``begin``.

        They serve the next leg, if the clock of the triggers has not been set anew between.
        """
        since = begin - self.origin
        middle = self.offset + self.drift * since
        margin = 6 * self.scatter + MAX_DRIFT * abs(since)
        return middle - margin, middle + margin


@dataclass(frozen=True)
class _Alignment:
    """One way to put frames next to triggers, and what speaks for and against it."""

    fit: ClockFit
    residuals: Floats
    faults: float

    @property
    def matched(self) -> int:
        return len(self.residuals)

    def evidence(self, interval: float, scatter: float, correlation: float) -> float:
        """Return the logarithm of its likelihood against that of frames at any time."""
        if not self.matched:
            return 0.0
        near = self.matched * (log(interval / scatter) - GAUSS)
        worse = self.matched * log(self.fit.scatter / scatter)
        # Neighbours that scatter alike are not independent witnesses.
        return near - self.faults - worse * (1 - correlation) / (1 + correlation)


def find_clock(
    triggers: Floats,
    begins: Floats,
    low: float,
    high: float,
    jitter: float | None = None,
    *,
    complete: bool = False,
    numbers: Indices | None = None,
) -> ClockFit | None:
    """Return how a detector's clock runs, or None if that cannot be said with certainty.

    Alignments are compared by their likelihood: a frame next to a trigger is worth more, the
    less it scatters; an extra frame is worth nothing, and it and each run of lost triggers cost
    the bits that tell where they are. A run may be long, because a detector that was not ready
    lost all of the first triggers for one reason: alignments that differ in nothing but such a
    run are never told apart.

    Parameters
    ----------
    triggers
        Shape (m,), rising: all triggers so far (s, clock of the triggers).
    begins
        Shape (n,): begin of the frames so far, in their order (s, clock of the detector).
    low, high
        Bounds of the offset (s).
    jitter
        Largest distance in s of a frame from where the others say that it should be. None: a
        quarter of the usual interval.
    complete
        No more triggers and frames are to come.
    numbers
        Shape (n,): the frames as the detector counts them, from 0 for the first one that it made.
        With them, an alignment that is the only one with a trigger for each frame, and for each
        frame that is missing in between, is right although the intervals do not tell.
    """
    timed = np.flatnonzero(np.isfinite(begins))[-LOOKED_AT:]
    everything = begins = begins[timed]
    if not complete:
        # A frame is looked at when, by any offset, its trigger must be known already.
        begins = begins[begins - low <= triggers[-1]] if len(triggers) else begins[:0]
    if not len(triggers) or not len(begins) or (len(begins) < FEWEST and not complete):
        return None
    interval = _usual_interval(triggers, begins, high - low)
    jitter = 0.25 * interval if jitter is None else jitter
    found = [
        _refined(triggers, begins, fit, low, high, jitter)
        for fit in _candidates(triggers, begins, low, high, jitter)
    ]
    most = max((a.matched for a in found), default=0)
    if not most:
        return None
    narrowest = min(
        (a for a in found if 2 * a.matched >= most), key=lambda alignment: alignment.fit.scatter
    )
    correlation = _correlation(narrowest.residuals)
    evidence = [a.evidence(interval, narrowest.fit.scatter, correlation) for a in found]
    best = int(np.argmax(evidence))
    offset = found[best].fit.offset
    rivals = [
        e for e, a in zip(evidence, found, strict=True) if abs(a.fit.offset - offset) > jitter
    ]
    enough = DECISIVE
    if complete and high - low + 2 * jitter < np.min(np.diff(triggers), initial=np.inf):
        # By the bounds alone no frame can have two triggers: few frames are enough.
        enough = 0.0
    elif DISTINCT * narrowest.fit.scatter > jitter:
        # Frames that scatter beyond what is looked at are lost and too many by chance, which
        # weighs more than the intervals do: times do not decide, whatever the odds.
        enough = np.inf
    if evidence[best] - max([0.0, *rivals]) <= enough:
        if not complete or numbers is None:
            return None
        counted = _counted(triggers, begins, numbers[timed], found[best].fit, low, high, jitter)
        if counted is None:
            return None
        against = evidence[best] - counted.evidence(interval, narrowest.fit.scatter, correlation)
        if against > _chance(triggers, begins, found[best].fit, counted.fit, correlation):
            return None
        found[best] = counted
    final = _refined(triggers, everything, found[best].fit, low, high, jitter)
    return replace(final.fit, scatter=max(_spread(final.residuals), RESOLUTION))


def follow_clock(fit: ClockFit, triggers: Floats, begins: Floats) -> ClockFit:
    """Return a clock as its newest frames have it.

    Parameters
    ----------
    fit
        The clock so far.
    triggers, begins
        Shape (n,): trigger and begin of frames that belong to each other, in their order.
    """
    triggers, begins = triggers[-FOLLOWED:], begins[-FOLLOWED:]
    if len(begins) < FEWEST:
        return fit
    line = _line(begins - triggers, begins, float(begins[-1]))
    return replace(line, scatter=max(_spread(line.trigger_times(begins) - triggers), RESOLUTION))


def nearest(points: Floats, at: Floats) -> Indices:
    """Return the index of the point nearest to each instant; ``points`` rising, not empty."""
    after = np.clip(np.searchsorted(points, at), 1, max(len(points) - 1, 1))
    before = after - 1
    after = np.minimum(after, len(points) - 1)
    return np.where(at - points[before] <= points[after] - at, before, after)


def one_to_one(targets: Indices, distances: Floats) -> Indices:
    """Return which items are the nearest ones of their targets, one per target, in order.

    Parameters
    ----------
    targets
        Shape (n,): index of the target of each item.
    distances
        Shape (n,): not negative.
    """
    order = np.lexsort((distances, targets))
    first = np.append(True, np.diff(targets[order]) != 0)[: len(order)]
    return np.sort(order[first])


def _usual_interval(triggers: Floats, begins: Floats, otherwise: float) -> float:
    for times in (triggers, begins):
        if len(times) > 1:
            return float(np.median(np.diff(times)))
    return otherwise


def _candidates(
    triggers: Floats, begins: Floats, low: float, high: float, jitter: float
) -> list[ClockFit]:
    """Return the most promising clocks: each puts one of a few frames right onto a trigger."""
    chosen = np.unique(np.linspace(0, len(begins) - 1, ANCHORS).astype(int))
    offsets = np.concatenate(
        [_possible(triggers, begin, low - jitter, high + jitter) for begin in begins[chosen]]
    )
    if not len(offsets):
        return []
    _, kept = np.unique(np.floor((offsets - low) / (0.5 * jitter)), return_index=True)
    offsets = offsets[kept]
    tested = begins[np.unique(np.linspace(0, len(begins) - 1, COARSE).astype(int))]
    origin = 0.5 * float(begins[0] + begins[-1])
    x = tested - origin
    at = tested - offsets[:, np.newaxis]
    away = at - triggers[nearest(triggers, at.ravel())].reshape(at.shape)
    near = np.abs(away) <= jitter + MAX_DRIFT * np.ptp(tested)
    count = np.maximum(near.sum(axis=1), 1)
    mean = np.where(near, away, 0.0).sum(axis=1) / count
    away = np.where(near, away - mean[:, np.newaxis], 0.0)
    squares = np.where(near, x**2, 0.0).sum(axis=1)
    slope = np.divide((away * x).sum(axis=1), squares, out=np.zeros(len(count)), where=squares > 0)
    slope = np.clip(slope, -MAX_DRIFT, MAX_DRIFT)
    left = np.where(near, away - slope[:, np.newaxis] * x, 0.0)
    spread = np.maximum(np.sqrt((left**2).sum(axis=1) / count), RESOLUTION)
    best = np.lexsort((spread, -near.sum(axis=1)))[:RIVALS]
    return [
        ClockFit(float(offsets[k] + mean[k]), float(slope[k]), origin, float(spread[k]))
        for k in best
    ]


def _possible(triggers: Floats, begin: float, low: float, high: float) -> Floats:
    first = np.searchsorted(triggers, begin - high, "left")
    return begin - triggers[first : np.searchsorted(triggers, begin - low, "right")]


def _refined(
    triggers: Floats, begins: Floats, fit: ClockFit, low: float, high: float, jitter: float
) -> _Alignment:
    """Return the alignment that a clock becomes when all frames near triggers have their say."""
    frames = trigger_of = np.empty(0, np.int64)
    away = np.empty(0)
    for _ in range(4):
        at = fit.trigger_times(begins)
        k = nearest(triggers, at)
        distance = np.abs(at - triggers[k])
        near = np.flatnonzero(distance <= jitter)
        frames = near[one_to_one(k[near], distance[near])]
        trigger_of = k[frames]
        if not len(frames):
            break
        fit = _line((begins - triggers[k])[frames], begins[frames], fit.origin)
        away = fit.trigger_times(begins[frames]) - triggers[trigger_of]
    margin = 3 * fit.scatter / np.sqrt(max(len(frames), 1))
    if not len(frames) or not low - margin <= fit.offset <= high + margin:
        return _Alignment(fit, np.empty(0), 0.0)
    losses = int(np.sum(np.diff(trigger_of) > 1))
    faults = _cost(losses, int(np.ptp(trigger_of)) + 1)
    faults += _cost(len(begins) - len(frames), len(begins))
    return _Alignment(fit, away, faults)


def _counted(
    triggers: Floats,
    begins: Floats,
    numbers: Indices,
    fit: ClockFit,
    low: float,
    high: float,
    jitter: float,
) -> _Alignment | None:
    """Return the only alignment with a trigger for each frame, and for each that was made.

    None if there is none, or if there are several. ``fit`` is an alignment like it, some triggers
    too early or too late: its drift is right.
    """
    spare = len(triggers) - 1 - int(numbers[-1])
    found = []
    # The last frame cannot belong to a trigger that is not at least as far behind the first.
    for last in triggers[len(triggers) - 1 - spare :] if 0 <= spare < RIVALS else ():
        shift = float(fit.trigger_times(begins[-1:])[0] - last)
        moved = replace(fit, offset=fit.offset + shift)
        alignment = _refined(triggers, begins, moved, low, high, jitter)
        at = alignment.fit.trigger_times(begins)
        k = nearest(triggers, at)
        before, behind = k - numbers, len(triggers) - 1 - k - (numbers[-1] - numbers)
        near = np.abs(at - triggers[k]) <= jitter
        single = alignment.matched and np.all(np.diff(k) > 0)
        if single and np.all(near & (before >= 0) & (behind >= 0)):
            found.append(alignment)
    if not found or np.ptp([alignment.fit.offset for alignment in found]) > jitter:
        return None
    return found[0]


def _chance(
    triggers: Floats, begins: Floats, other: ClockFit, right: ClockFit, correlation: float
) -> float:
    """Return by how many nats another alignment may look better by chance, if one is right.

    Two alignments differ in their residuals by how the intervals vary. Let that be a share of the
    scatter, such that all frames together tell them apart by D nats on the average. The logarithm
    of the odds then is normally distributed: about D for the right one, with a variance of 2 D
    (that of a likelihood ratio of two normal distributions of equal width). Where intervals are
    all but equal, D is about one and a wrong alignment looks better by a nat or two now and then;
    that must not outweigh the count. Where they vary, D is large and the wrong one never does: if
    it does, two faults have cancelled each other in the count.
    """
    first, second = (triggers[nearest(triggers, f.trigger_times(begins))] for f in (other, right))
    line = _line(first - second, begins, right.origin)
    apart = float(np.std(first - second - line.drift * (begins - line.origin)))
    independent = len(begins) * (1 - correlation) / (1 + correlation)
    telling = 0.5 * independent * (apart / right.scatter) ** 2
    return LEAST_CHANCE + max(0.0, CERTAIN * sqrt(2 * telling) - telling)


def _line(offsets: Floats, begins: Floats, origin: float) -> ClockFit:
    """Return a straight line through offsets, robust against some that are far off."""
    x = begins - origin
    middle = float(np.median(offsets))
    away = offsets - middle
    spread = max(_spread(away), RESOLUTION)
    drift = 0.0
    # Two rounds: what is far off is known once the drift is.
    for _ in range(2):
        good = np.abs(away - drift * x) <= 4 * spread + MAX_DRIFT * np.ptp(x)
        mean_x, mean = float(np.mean(x[good])), float(np.mean(away[good]))
        squares = float(np.sum((x[good] - mean_x) ** 2)) + (spread / MAX_DRIFT) ** 2
        drift = float(np.sum((x[good] - mean_x) * (away[good] - mean))) / squares
        drift = min(max(drift, -MAX_DRIFT), MAX_DRIFT)
    level = mean - drift * mean_x
    left = away - level - drift * x
    scatter = float(np.sqrt(np.sum(left**2) / max(len(left) - 2, 1)))
    return ClockFit(middle + level, drift, origin, max(scatter, RESOLUTION))


def _spread(residuals: Floats) -> float:
    """Return their standard deviation, whatever some of them are (median absolute deviation)."""
    return 1.4826 * float(np.median(np.abs(residuals)))


def _cost(faults: int, length: int) -> float:
    """Return the nats that say where ``faults`` faults are among ``length`` items."""
    share = min(faults / length, 0.5)
    if not share:
        return 0.0
    return -length * (share * log(share) + (1 - share) * log(1 - share))


def _correlation(residuals: Floats) -> float:
    """Return how alike neighbours scatter, 0 to below 1."""
    one, following = residuals[:-1], residuals[1:]
    power = float(np.sum(residuals**2))
    if power <= len(residuals) * RESOLUTION**2:
        return 0.0
    return float(np.clip(np.sum(one * following) / power, 0.0, 0.99))


__all__ = [
    "FEWEST",
    "FOLLOWED",
    "MAX_DRIFT",
    "ClockFit",
    "find_clock",
    "follow_clock",
    "nearest",
    "one_to_one",
]
