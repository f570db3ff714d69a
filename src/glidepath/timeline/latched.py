"""Where the axis was during triggered exposures: from latched positions, measured and exact."""

from math import inf

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .channel import Channel, ChannelKind
from .quality import Quality
from .windows import HOLD_AFTER, value_at, window_values

Floats = NDArray[np.float64]


def latched_windows(
    axis: str,
    begins: ArrayLike,
    ends: ArrayLike,
    latch_times: ArrayLike,
    latch_positions: ArrayLike,
    readback: tuple[Channel, ArrayLike, ArrayLike] | None = None,
    *,
    longest: float = HOLD_AFTER,
) -> dict[str, NDArray]:
    """Make the columns of a table that say where and when exposures were open.

    The columns are those of `rebin_windows`. Between two latched positions the axis moves
    linearly. Where an exposure is not wholly between two latches (the last one of a leg), or
    they are too far apart, its path is that of the readback, moved so that it meets the latched
    position at its begin: a readback's constant error does not count.

    Parameters
    ----------
    axis
        Name of the axis.
    begins, ends
        Shape (m,): of the exposures (POSIX s); NaN where not known.
    latch_times, latch_positions
        Shape (n,): rising times (POSIX s) and positions; NaN positions are not used. More
        latches than exposures do not hurt.
    readback
        A readback of the axis with its timestamps (POSIX s, rising) and values. Its last update
        is the last thing it knows.
    longest
        Seconds between two latches above which the axis need not have moved linearly.

    Returns
    -------
    dict
        Columns of shape (m,): ``<axis>`` (the mean over the exposure), ``<axis>_lower``,
        ``<axis>_upper``, ``sample_time``, ``sample_duration`` and ``quality`` (uint16): NaN and
        EXTRAPOLATED where it is not known where the axis was, NaN and NO_DATA where not even the
        times are.
    """
    begin, end = np.asarray(begins, float), np.asarray(ends, float)
    m = len(begin)
    timed = np.isfinite(begin) & (end > begin)
    first, last, mean = (np.full(m, np.nan) for _ in range(3))
    a, b = begin[timed], end[timed]

    t, x = np.asarray(latch_times, float), np.asarray(latch_positions, float)
    t, x = t[np.isfinite(x)], x[np.isfinite(x)]
    at_begin, at_end, between = _on_latches(axis, t, x, a, b, longest)
    if readback is not None:
        channel, times, values = readback
        by_readback = _on_readback(channel, np.asarray(times, float), values, a, b)
        moved = np.where(np.isnan(at_begin), 0.0, at_begin - by_readback[0])
        unknown = np.isnan(between)
        at_end = np.where(unknown, by_readback[1] + moved, at_end)
        between = np.where(unknown, by_readback[2] + moved, between)
        at_begin = np.where(np.isnan(at_begin), by_readback[0], at_begin)
    first[timed], last[timed], mean[timed] = at_begin, at_end, between

    positions = np.concatenate([x, first[np.isfinite(first)]]) if len(x) < 2 else x
    falling = len(positions) > 1 and positions[-1] < positions[0]
    lower, upper = (last, first) if falling else (first, last)
    quality = np.zeros(m, np.uint16)
    quality[np.isnan(mean)] |= Quality.EXTRAPOLATED
    quality[~timed] = Quality.NO_DATA
    return {
        axis: mean,
        f"{axis}_lower": np.where(lower > upper, upper, lower),
        f"{axis}_upper": np.where(lower > upper, lower, upper),
        "sample_time": 0.5 * (begin + end),
        "sample_duration": end - begin,
        "quality": quality,
    }


def _on_latches(
    axis: str, t: Floats, x: Floats, a: Floats, b: Floats, longest: float
) -> tuple[Floats, Floats, Floats]:
    """Return where the axis was at ``a``, at ``b`` and on average; NaN where not known."""
    if not len(t):
        return (np.full(len(a), np.nan),) * 3
    channel = Channel(axis, ChannelKind.READBACK)
    at_begin, at_end = (value_at(channel, t, x, at, inf) for at in (a, b))
    mean = window_values(channel, t, x, a, b, inf).mean
    # Latch k ends piece k - 1; pieces that are too long are counted.
    long = np.append(0, np.cumsum(np.diff(t) > longest))
    before = np.searchsorted(t, a, "right") - 1
    after = np.searchsorted(t, b, "left")
    inside = (before >= 0) & (after < len(t))
    straight = inside & (long[np.minimum(after, len(t) - 1)] == long[np.maximum(before, 0)])
    on_latch = (before >= 0) & (t[np.maximum(before, 0)] == a)
    return (
        np.where(straight | on_latch, at_begin, np.nan),
        np.where(straight, at_end, np.nan),
        np.where(straight, mean, np.nan),
    )


def _on_readback(
    channel: Channel, t: Floats, values: ArrayLike, a: Floats, b: Floats
) -> tuple[Floats, Floats, Floats]:
    known = b + channel.latency <= t[-1] if len(t) else np.zeros(len(a), bool)
    mean = window_values(channel, t, values, a, b).mean
    at_begin, at_end = (value_at(channel, t, values, at) for at in (a, b))
    return (
        np.where(known, at_begin, np.nan),
        np.where(known, at_end, np.nan),
        np.where(known, mean, np.nan),
    )


__all__ = ["latched_windows"]
