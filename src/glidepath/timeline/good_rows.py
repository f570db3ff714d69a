"""Which rows of a table say what the sample did, and when they were open.

Whatever averages, fits or compares rows takes the good ones only, unless the user says otherwise.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .quality import Quality

Floats = NDArray[np.float64]

HARMLESS = Quality.HELD | Quality.PARTIAL | Quality.LATE | Quality.EXTRA
"""Bits that take nothing from the numbers of a row.

A value that was held did not change; what a detector saw of a part of the row is counted with the
time that it saw; frames that were late, or belong to no trigger, are not in the row's numbers.
"""

EVERYTHING = Quality(sum(bit.value for bit in Quality))
"""All bits: with these accepted, every row is good."""

TOUCHING = 5e-6
"""Seconds; windows that are closer than this touch: POSIX times in float64 have 0.24 µs."""


def good_rows(quality: ArrayLike, accept: Quality = HARMLESS) -> NDArray[np.bool_]:
    """Return which rows can be used.

    Parameters
    ----------
    quality
        Shape (n,), uint16: the column of the table.
    accept
        Bits that a good row may have.

    Returns
    -------
    array
        Shape (n,), bool.
    """
    return (np.asarray(quality).astype(np.uint16) & ~np.uint16(accept)) == 0


def joined_windows(lower: ArrayLike, upper: ArrayLike) -> tuple[Floats, Floats]:
    """Join windows of time that touch or overlap.

    Parameters
    ----------
    lower, upper
        Shape (n,), begin and end of each (POSIX s), in any order; those without length, or of
        NaN, are left out.

    Returns
    -------
    lower, upper
        Shape (m,), m <= n, rising, apart from each other.
    """
    a, b = np.asarray(lower, float), np.asarray(upper, float)
    real = a < b
    order = np.argsort(a[real], kind="stable")
    a, b = a[real][order], np.maximum.accumulate(b[real][order]) if real.any() else b[real]
    first = np.ones(len(a), bool)
    first[1:] = a[1:] > b[:-1] + TOUCHING
    last = np.ones(len(a), bool)
    last[:-1] = first[1:]
    return a[first], b[last]


def bits_per_bin(
    quality: ArrayLike, lower: ArrayLike, upper: ArrayLike, edges: ArrayLike
) -> NDArray[np.uint16]:
    """Return all bits of the rows that reach into each bin of energy.

    Parameters
    ----------
    quality
        Shape (n,), uint16.
    lower, upper
        Shape (n,): lowest and highest energy of each row, in the unit of the edges; NaN: nowhere.
    edges
        Shape (m + 1,), rising.

    Returns
    -------
    array
        Shape (m,), uint16.
    """
    grid = np.asarray(edges, float)
    bits = np.asarray(quality).astype(np.uint16)
    low, high = np.asarray(lower, float), np.asarray(upper, float)
    found = np.zeros(len(grid) - 1, np.uint16)
    # An end that only touches an edge is not in the next bin: it would mark that by rounding.
    rounding = 1e-9 * np.diff(grid).min()
    flagged = np.flatnonzero((bits != 0) & (high >= grid[0]) & (low < grid[-1]))
    first = np.searchsorted(grid, low[flagged] + rounding, side="right") - 1
    stop = np.searchsorted(grid, high[flagged] - rounding, side="left")
    first, stop = np.maximum(first, 0), np.maximum(stop, first + 1)
    for row, begin, end in zip(flagged, first, stop, strict=True):
        found[begin:end] |= bits[row]
    return found


__all__ = ["EVERYTHING", "HARMLESS", "bits_per_bin", "good_rows", "joined_windows"]
