"""Values of channels in windows of time. The same functions serve live and recorded data.

A window is ``[lower, upper]`` in POSIX seconds. A window's result depends on the updates that
touch it and on nothing else, to the last bit: a long series and a short piece of it agree.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .channel import Channel, ChannelKind
from .quality import Quality

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

HOLD_AFTER = 1.0
"""Seconds of silence after which a readback is taken as unchanged instead of interpolated."""

OVERFLOW = 9.9e37
"""Electrometers report this when the current is out of range (SCPI overflow value)."""

COVERED_ENOUGH = 0.5
"""Rows of which a detector saw less than this share carry `Quality.PARTIAL`."""

HELD, NO_DATA, PARTIAL, TOO_LARGE = (
    np.uint16(bit) for bit in (Quality.HELD, Quality.NO_DATA, Quality.PARTIAL, Quality.OVERFLOW)
)

CLOCK_RESOLUTION = 1e-6
"""Seconds; shorter overlaps of exposure and window are rounding (POSIX float64: 0.24 µs)."""

INSTANT = 2.0**-18
"""Seconds (3.8 us) that a value counts for whose exposure is not known.

The same for all, so that their mean is the plain one: a power of two, so that no rounding of
time stamps makes a difference; longer than `CLOCK_RESOLUTION`, so that it is seen.
"""


@dataclass(frozen=True)
class WindowValues:
    """Values of one channel in m windows.

    Attributes
    ----------
    mean
        Shape (m,). Mean over the window; NaN where it is not known.
    count
        Shape (m,), int64. Raw updates that went into the mean; 0 where it was held.
    quality
        Shape (m,), uint16. Bits of `Quality`.
    """

    mean: Floats
    count: NDArray[np.int64]
    quality: NDArray[np.uint16]


def window_values(
    channel: Channel,
    timestamps: ArrayLike,
    values: ArrayLike,
    lower: ArrayLike,
    upper: ArrayLike,
    hold_after: float = HOLD_AFTER,
) -> WindowValues:
    """Return what a channel was in each window, by the rule of its kind.

    Parameters
    ----------
    channel
        What the series means.
    timestamps, values
        Shape (n,), rising in time. A NaN value means that from then on nothing is known
        (the channel was disconnected) until the next update.
    lower, upper
        Shape (m,), begin and end of each window (POSIX s), ``lower < upper``.
    hold_after
        Silence in seconds after which a readback is held, not interpolated.
    """
    t = np.asarray(timestamps, float) - channel.latency
    v = np.asarray(values, float)
    a = np.atleast_1d(np.asarray(lower, float))
    b = np.atleast_1d(np.asarray(upper, float))
    if channel.kind is ChannelKind.DETECTOR:
        return _detector(t, v, a, b, channel.aperture)
    if channel.kind is ChannelKind.READBACK:
        slope, held = slopes(t, v, hold_after)
        return _piecewise(t, v, slope, held, a, b)
    return _piecewise(t, v, np.zeros(len(t)), np.zeros(len(t), bool), a, b)


def value_at(
    channel: Channel,
    timestamps: ArrayLike,
    values: ArrayLike,
    at: ArrayLike,
    hold_after: float = HOLD_AFTER,
) -> Floats:
    """Return a readback at instants: shape of ``at`` (POSIX s), NaN where it is not known."""
    t = np.asarray(timestamps, float) - channel.latency
    v = np.asarray(values, float)
    x = np.atleast_1d(np.asarray(at, float))
    if not len(t):
        return np.full(x.shape, np.nan)
    slope, _ = slopes(t, v, hold_after)
    k = np.searchsorted(t, x, side="right") - 1
    since = x - t[np.maximum(k, 0)]
    # At an update itself the value is known, whatever comes after.
    change = np.multiply(slope[k], since, out=np.zeros(x.shape), where=since > 0)
    return np.where(k >= 0, v[k] + change, np.nan)


def slopes(t: Floats, v: Floats, hold_after: float) -> tuple[Floats, NDArray[np.bool_]]:
    """Return slope after each update, and where the value is held; both shape (n,).

    NaN where the next update says that nothing is known. Nothing follows the last update: it
    is held.
    """
    gap = _following(t, np.inf) - t
    held = gap > hold_after
    slope = np.zeros(len(t))
    with np.errstate(invalid="ignore", over="ignore"):
        np.divide(_following(v, 0.0) - v, gap, out=slope, where=~held)
    return slope, held


def _following(values: Floats, last: float) -> Floats:
    """Return for each value the one after it; shape (n,). (numpy's append takes longer.)"""
    following = np.empty(len(values))
    following[:-1] = values[1:]
    following[-1:] = last
    return following


def pairs(first: Indices, stop: Indices) -> tuple[Indices, Indices]:
    """Return ``(window, item)`` for the items ``first[w] ... stop[w] - 1`` of every window w."""
    count = np.maximum(stop - first, 0)
    window = np.arange(len(count)).repeat(count)
    item = np.arange(len(window)) + (first - (count.cumsum() - count))[window]
    return window, item


def sums(groups: Indices, weights: Floats, m: int) -> Floats:
    """Return the sum of the weights in each of m groups, added in their order."""
    return np.bincount(groups, weights, m).astype(float, copy=False)


def exposures(t: Floats, aperture: float) -> tuple[Floats, Floats]:
    """Return begin and end of the exposures that end at ``t``, rising, shape (n,).

    Exposures do not overlap: where timestamps jitter, the later one gives way. An aperture of 0
    is not known; it is taken as an `INSTANT`.
    """
    begin = t - (aperture or INSTANT)
    np.maximum(begin[1:], t[:-1], out=begin[1:])
    return begin, t


def _piecewise(
    t: Floats, v: Floats, slope: Floats, held: NDArray[np.bool_], a: Floats, b: Floats
) -> WindowValues:
    """Mean of a function that is linear after each update; the last piece has no end."""
    m = len(a)
    quality = np.zeros(m, np.uint16)
    mean = np.full(m, np.nan)
    finite = np.isfinite(v)
    updates = np.zeros(len(t) + 1, np.int64)
    finite.cumsum(out=updates[1:])
    known_at = t.searchsorted(a, "right")
    count = updates[t.searchsorted(b, "right")] - updates[known_at]
    if len(t):
        unknown = ~(finite & np.isfinite(slope))
        level, slope = np.where(unknown, 0.0, v), np.where(unknown, 0.0, slope)
        first = np.maximum(known_at - 1, 0)
        window, k = pairs(first, t.searchsorted(b, "left"))
        begin = np.maximum(a[window], t[k]) - t[k]
        end = np.minimum(b[window], _following(t, np.inf)[k]) - t[k]
        # Each window has its own origin: no digits are lost to an offset, and one huge value
        # spoils no other window.
        origin = level[first]
        height = level[k] - origin[window] + 0.5 * slope[k] * (begin + end)
        means = origin + sums(window, height * (end - begin), m) / (b - a)
        known = (a >= t[0]) & (np.bincount(window[unknown[k]], minlength=m) == 0)
        silent = np.bincount(window[held[k]], minlength=m) > 0
        mean[known] = means[known]
        quality[known & silent] |= HELD
    quality[np.isnan(mean)] |= NO_DATA
    return WindowValues(mean, count, quality)


def _detector(t: Floats, v: Floats, a: Floats, b: Floats, aperture: float) -> WindowValues:
    m = len(a)
    quality = np.zeros(m, np.uint16)
    seen = ~np.isnan(v)
    begin, end = exposures(t[seen], aperture)
    level = v[seen]
    window, k = pairs(end.searchsorted(a, "right"), begin.searchsorted(b, "left"))
    overlap = np.minimum(end[k], b[window]) - np.maximum(begin[k], a[window])
    real = overlap > CLOCK_RESOLUTION
    window, k, overlap = window[real], k[real], overlap[real]
    count = np.bincount(window, minlength=m)
    good = np.abs(level) < OVERFLOW
    out = np.bincount(window[~good[k]], minlength=m) > 0
    weight = sums(window, overlap, m)
    total = sums(window, overlap * np.where(good, level, 0.0)[k], m)
    mean = np.full(m, np.nan)
    np.divide(total, weight, out=mean, where=~out & (weight > 0))
    quality[out] |= TOO_LARGE
    if aperture:
        # How much of the window was seen cannot be told where the exposure is not known.
        quality[(count > 0) & (weight < COVERED_ENOUGH * (b - a))] |= PARTIAL
    # No exposure touches the window: a connected, silent detector keeps its value.
    empty = count == 0
    latest = t.searchsorted(b, "left") - 1
    held = empty & (latest >= 0)
    held[held] = ~np.isnan(v[latest[held]])
    kept = v[latest[held]]
    mean[held] = np.where(np.abs(kept) < OVERFLOW, kept, np.nan)
    quality[held] |= HELD
    unknown = np.isnan(mean)
    quality[held & unknown] |= TOO_LARGE
    quality[unknown & ((quality & TOO_LARGE) == 0)] |= NO_DATA
    return WindowValues(mean, count, quality)


__all__ = [
    "CLOCK_RESOLUTION",
    "HOLD_AFTER",
    "INSTANT",
    "OVERFLOW",
    "WindowValues",
    "exposures",
    "pairs",
    "slopes",
    "sums",
    "value_at",
    "window_values",
]
