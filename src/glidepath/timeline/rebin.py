"""From raw streams to tables: onto windows of time (the rows) or onto a grid of energies."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .channel import Channel, ChannelKind
from .good_rows import joined_windows
from .windows import (
    CLOCK_RESOLUTION,
    HOLD_AFTER,
    OVERFLOW,
    exposures,
    pairs,
    slopes,
    sums,
    value_at,
    window_values,
)

Floats = NDArray[np.float64]

BLOCK = 32768
"""Exposures that are treated at once: what fits into the processor's cache, memory bounded."""


def rebin_windows(
    streams: Mapping[Channel, tuple[ArrayLike, ArrayLike]],
    axis: str,
    lower: ArrayLike,
    upper: ArrayLike,
    *,
    hold_after: float = HOLD_AFTER,
) -> dict[str, NDArray]:
    """Make the columns of a table from raw streams, one row per window of time.

    The rows of a scan are made by this function. With the windows of its rows, which are
    ``sample_time`` plus and minus half of ``sample_duration``, it gives their numbers again, to
    the last bit. (Not the bits of ``quality`` that are not a matter of the streams, such as
    EXTRAPOLATED and TRACKING.)

    Parameters
    ----------
    streams
        Channel -> timestamps (POSIX s, rising) and values, both of shape (n,); n differs from
        channel to channel. NaN values mark losses of the connection.
    axis
        Name of the channel that was flown, a readback.
    lower, upper
        Shape (m,), begin and end of each window (POSIX s).
    hold_after
        Silence in seconds after which a readback is held, not interpolated.

    Returns
    -------
    dict
        Columns of shape (m,): ``<axis>``, ``<axis>_lower``, ``<axis>_upper``, ``sample_time``,
        ``sample_duration``, for each other channel ``<channel>`` and ``<channel>_count``
        (int64), and ``quality`` (uint16).

    Raises
    ------
    ValueError
        If a window has no length, a stream does not rise in time, or there is no such axis.
    """
    a, b = np.atleast_1d(np.asarray(lower, float)), np.atleast_1d(np.asarray(upper, float))
    if a.shape != b.shape or a.ndim != 1 or not np.all(a < b):
        raise ValueError("Every window needs a begin and, later than it, an end.")
    flown = [c for c in streams if c.name == axis and c.kind is ChannelKind.READBACK]
    if not flown:
        readbacks = [c.name for c in streams if c.kind is ChannelKind.READBACK]
        raise ValueError(
            f"{axis!r} cannot be the axis; the readbacks are: {', '.join(readbacks) or 'none'}."
        )
    series = {c: _stream(c.name, t, v) for c, (t, v) in streams.items()}
    found = {c: window_values(c, t, v, a, b, hold_after) for c, (t, v) in series.items()}
    ends = [value_at(flown[0], *series[flown[0]], at, hold_after) for at in (a, b)]
    columns: dict[str, NDArray] = {
        axis: found[flown[0]].mean,
        f"{axis}_lower": np.minimum(*ends),
        f"{axis}_upper": np.maximum(*ends),
        "sample_time": 0.5 * (a + b),
        "sample_duration": b - a,
    }
    quality = np.zeros(len(a), np.uint16)
    for channel, values in found.items():
        quality |= values.quality
        if channel is not flown[0]:
            columns[channel.name] = values.mean
            columns[f"{channel.name}_count"] = values.count
    columns["quality"] = quality
    return columns


@dataclass(frozen=True)
class EnergyBins:
    """One detector on a grid of m bins of energy; arrays of shape (m,).

    Attributes
    ----------
    center
        Middle of each bin (eV).
    energy
        Mean energy while exposures were open in the bin (eV); NaN for an empty bin.
    mean
        Mean of the detector, weighted by the time of each exposure in the bin; NaN for an
        empty bin.
    count
        Effective number of exposures, ``(sum w)^2 / sum w^2``; 0 for an empty bin.
    standard_error
        Standard error of ``mean`` from the scatter of the exposures; NaN with less than two.
    exposure_time
        Time that exposures were open in the bin (s), the sum of the weights w; NaN where the
        channel does not say how long an exposure is.
    """

    center: Floats
    energy: Floats
    mean: Floats
    count: Floats
    standard_error: Floats
    exposure_time: Floats


def rebin_energy(
    axis_timestamps: ArrayLike,
    axis_values: ArrayLike,
    detector: Channel,
    timestamps: ArrayLike,
    values: ArrayLike,
    edges: ArrayLike,
    *,
    axis_latency: float = 0.0,
    hold_after: float = HOLD_AFTER,
    windows: tuple[ArrayLike, ArrayLike] | None = None,
) -> EnergyBins:
    """Spread each exposure of a detector over the energies at which it was open.

    An exposure that saw several bins counts in each with a weight w: the time in seconds that
    the axis, interpolated between its updates, was in the bin while the exposure was open.
    Directions and passes do not matter; what was outside the grid, where the axis is not known
    or after its last update is left out, and so are readings out of range.

    With ``W = sum w`` and ``Q = sum w^2`` over the exposures of a bin, their values y have the
    mean ``sum(w y) / W``, the variance ``s^2 = sum(w (y - mean)^2) / (W - Q / W)``, which is
    unbiased for weights that say nothing of the scatter, and the mean has the standard error
    ``s sqrt(Q) / W``: with equal weights the usual ``s / sqrt(n)``. It includes the slope of a
    spectrum within a bin. Neighbouring bins share exposures, so their errors are correlated.

    A detector whose aperture is 0 does not say how long it was open: its values count with equal
    weights, at the energy of their time stamps, and their time is NaN.

    Parameters
    ----------
    axis_timestamps, axis_values
        Shape (n,), POSIX s and eV, rising in time.
    detector
        The detector channel: its latency and aperture are used.
    timestamps, values
        Shape (p,), POSIX s and the detector's unit, rising in time.
    edges
        Shape (m + 1,), rising, eV. A bin holds its lower edge, not its upper.
    axis_latency
        Latency of the axis in seconds.
    hold_after
        Silence in seconds after which the axis is held, not interpolated.
    windows
        Begin and end of windows of time, each of shape (k,), POSIX s, such as those of the good
        rows of a scan: only what was exposed inside them counts. An exposure that is cut counts
        with the time inside, as it does in the rows. None: all exposures count.

    Raises
    ------
    ValueError
        If the channel is no detector, a stream does not rise in time, or the edges do not rise.
    """
    grid = np.asarray(edges, float)
    if grid.ndim != 1 or len(grid) < 2 or not np.all(np.diff(grid) > 0):
        raise ValueError("The edges of the energy bins must be at least two rising numbers.")
    if detector.kind is not ChannelKind.DETECTOR:
        raise ValueError(
            f"{detector.name!r} is a {detector.kind} and has no exposures; name a detector."
        )
    t, energy = _stream("axis", axis_timestamps, axis_values)
    t = t - axis_latency
    ends, y = _stream(detector.name, timestamps, values)
    known = ~np.isnan(y)
    begins, ends = exposures(ends[known] - detector.latency, detector.aperture)
    y = y[known]
    good = np.abs(y) < OVERFLOW
    begins, ends, y = begins[good], ends[good], y[good]
    if windows is None:
        part_of = np.arange(len(y))
    else:
        part_of, begins, ends = _inside(begins, ends, *joined_windows(*windows))
    m = len(grid) - 1
    parts = [
        _weights(
            t,
            energy,
            part_of[k : k + BLOCK],
            begins[k : k + BLOCK],
            ends[k : k + BLOCK],
            grid,
            hold_after,
        )
        for k in range(0, len(part_of) if len(t) > 1 else 0, BLOCK)
    ]
    empty = (np.empty(0, np.int64), np.empty(0), np.empty(0))
    key, weight, moment = (np.concatenate(column) for column in zip(empty, *parts, strict=True))
    # An exposure that was in a bin several times is one exposure.
    if len(key) and not np.all(np.diff(key) > 0):
        key, inverse = np.unique(key, return_inverse=True)
        weight, moment = sums(inverse, weight, len(key)), sums(inverse, moment, len(key))
    exposure, bins = key // m, key % m
    total = sums(bins, weight, m)
    squares = sums(bins, weight * weight, m)
    filled = total > 0

    def per_bin(numerator: Floats, denominator: Floats, where: NDArray[np.bool_]) -> Floats:
        return np.divide(numerator, denominator, out=np.full(m, np.nan), where=where)

    center = 0.5 * (grid[:-1] + grid[1:])
    value = y[exposure]
    mean = per_bin(sums(bins, weight * value, m), total, filled)
    scatter = sums(bins, weight * (value - mean[bins]) ** 2, m)
    free = total - per_bin(squares, total, filled)
    enough = (np.bincount(bins, minlength=m) > 1) & (free > 1e-12 * total)
    variance = per_bin(scatter * squares, free * total**2, enough)
    return EnergyBins(
        center=center,
        energy=center + per_bin(sums(bins, moment, m), total, filled),
        mean=mean,
        count=np.where(filled, per_bin(total**2, squares, filled), 0.0),
        standard_error=np.sqrt(variance),
        exposure_time=total if detector.aperture > 0 else np.full(m, np.nan),
    )


def _inside(
    begins: Floats, ends: Floats, lower: Floats, upper: Floats
) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Return the parts of exposures that are inside windows: number of the exposure, begin, end."""
    first = np.searchsorted(upper, begins, side="right")
    exposure, k = pairs(first, np.searchsorted(lower, ends, side="left"))
    begin, end = np.maximum(begins[exposure], lower[k]), np.minimum(ends[exposure], upper[k])
    real = end - begin > CLOCK_RESOLUTION
    return exposure[real], begin[real], end[real]


def _weights(
    t: Floats,
    energy: Floats,
    numbers: NDArray[np.int64],
    begins: Floats,
    ends: Floats,
    grid: Floats,
    hold_after: float,
) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Return key, time in the bin, and the integral of energy minus center of bin over it.

    One entry for each piece of an exposure that is in a bin; its key is the exposure's number
    times the number of bins, plus the bin. ``numbers`` are those of the exposures.
    """
    low, high = np.searchsorted(t, [begins[0], ends[-1]])
    piece = slice(max(low - 1, 0), high + 1)
    t, energy = t[piece], energy[piece]
    slope, _ = slopes(t, energy, hold_after)
    unknown = ~(np.isfinite(energy) & np.isfinite(slope))
    # Pieces of an exposure in which the axis is linear.
    first = np.maximum(np.searchsorted(t, begins, side="right") - 1, 0)
    stop = np.minimum(np.searchsorted(t, ends, side="left"), len(t) - 1)
    exposure, k = pairs(first, stop)
    begin = np.maximum(begins[exposure], t[k]) - t[k]
    duration = np.minimum(ends[exposure], t[k + 1]) - t[k] - begin
    real = (duration > CLOCK_RESOLUTION) & ~unknown[k]
    exposure, k, begin, duration = exposure[real], k[real], begin[real], duration[real]
    rate = slope[k]
    from_energy = energy[k] + rate * begin
    change = rate * duration
    low_energy = from_energy + np.minimum(change, 0.0)
    high_energy = from_energy + np.maximum(change, 0.0)
    # Each piece is cut at the edges that it crosses.
    m = len(grid) - 1
    first_bin = np.maximum(np.searchsorted(grid, low_energy, side="right") - 1, 0)
    stop_bin = np.minimum(np.searchsorted(grid, high_energy, side="left"), m)
    flat = low_energy == high_energy
    inside = (low_energy >= grid[0]) & (low_energy < grid[-1])
    stop_bin = np.where(flat, np.where(inside, first_bin + 1, first_bin), stop_bin)
    piece_of, bins = pairs(first_bin, stop_bin)
    lower = np.maximum(low_energy[piece_of], grid[bins])
    upper = np.minimum(high_energy[piece_of], grid[bins + 1])
    span = (high_energy - low_energy)[piece_of]
    share = np.divide(upper - lower, span, out=np.ones(len(bins)), where=span > 0)
    weight = share * duration[piece_of]
    moment = weight * (0.5 * (lower + upper) - 0.5 * (grid[bins] + grid[bins + 1]))
    return numbers[exposure[piece_of]] * m + bins, weight, moment


def _stream(name: str, timestamps: ArrayLike, values: ArrayLike) -> tuple[Floats, Floats]:
    t, v = np.asarray(timestamps, float), np.asarray(values, float)
    if t.ndim != 1 or t.shape != v.shape:
        raise ValueError(
            f"The stream {name!r} needs one value per timestamp, "
            f"not shapes {v.shape} and {t.shape}."
        )
    if not np.all(t[1:] > t[:-1]):
        raise ValueError(f"The timestamps of the stream {name!r} must rise; sort them first.")
    return t, v


__all__ = [
    "EnergyBins",
    "rebin_energy",
    "rebin_windows",
]
