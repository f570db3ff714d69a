"""A spectrum drawn with characters, for terminals."""

import numpy as np
import plotext
from numpy.typing import ArrayLike

COLUMNS_PER_BIN = 0.5
"""Two points per character cell are what Braille markers can show."""


def draw_spectrum(
    energy: ArrayLike,
    signal: ArrayLike,
    *,
    limits: tuple[float, float],
    width: int = 80,
    height: int = 16,
    label: str = "signal",
    unit: str = "eV",
) -> str:
    """Return a drawing of a spectrum.

    Parameters
    ----------
    energy, signal
        Shape (n,); rows with NaN are left out.
    limits
        Range of the energy axis.
    width, height
        Size in characters.
    label
        What the signal is.
    unit
        Unit of the energy axis.
    """
    x, y = np.asarray(energy, float), np.asarray(signal, float)
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    low, high = min(limits), max(limits)
    # Average what falls on one dot: a terminal shows no more, and drawing stays fast.
    bins = np.clip(((x - low) / (high - low) * 2 * width).astype(int), 0, 2 * width)
    counts = np.bincount(bins, minlength=1)
    filled = counts > 0
    x = np.bincount(bins, x)[filled] / counts[filled]
    y = np.bincount(bins, y)[filled] / counts[filled]
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(width, height)
    plotext.xlim(low, high)
    if len(x):
        plotext.plot(x.tolist(), y.tolist(), marker="braille")
    plotext.xlabel(f"energy ({unit})")
    plotext.title(label)
    return plotext.build().rstrip("\n")


__all__ = ["draw_spectrum"]
