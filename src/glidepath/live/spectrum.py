"""A spectrum drawn with characters, for terminals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotext
from numpy.typing import ArrayLike, NDArray

UPWARDS, DOWNWARDS, EARLIER = "blue+", "orange+", "gray"
"""Colours of the newest pass, by its direction, and of the passes before it."""


@dataclass(frozen=True)
class Curve:
    """One line of a drawing.

    Attributes
    ----------
    position, value
        Shape (n,); rows with NaN are left out.
    colour
        Colour as plotext knows it, or an empty text.
    """

    position: ArrayLike
    value: ArrayLike
    colour: str = ""


def draw_curves(
    curves: Sequence[Curve],
    *,
    limits: tuple[float, float],
    width: int = 80,
    height: int = 16,
    label: str = "signal",
    axis_label: str = "energy (eV)",
) -> str:
    """Return a drawing of several curves over each other, the last one on top.

    Parameters
    ----------
    curves
        What is drawn.
    limits
        Range of the horizontal axis.
    width, height
        Size in characters.
    label, axis_label
        What the signal and the axis are.
    """
    low, high = min(limits), max(limits)
    plotext.clear_figure()
    plotext.theme("clear")
    # Without a terminal it takes 80 characters for the most there can be.
    plotext.limit_size(False, False)
    plotext.plot_size(width, height)
    plotext.xlim(low, high)
    for curve in curves:
        x, y = _dots(curve, low, high, width)
        if len(x):
            colour = {"color": curve.colour} if curve.colour else {}
            plotext.plot(x.tolist(), y.tolist(), marker="braille", **colour)
    plotext.xlabel(axis_label)
    plotext.title(label)
    return str(plotext.build().rstrip("\n"))


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
    """Return a drawing of one spectrum; the parameters are those of `draw_curves`."""
    return draw_curves(
        [Curve(energy, signal)],
        limits=limits,
        width=width,
        height=height,
        label=label,
        axis_label=f"energy ({unit})",
    )


def _dots(
    curve: Curve, low: float, high: float, width: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Average what falls on one dot: a terminal shows no more, and drawing stays fast."""
    x, y = np.asarray(curve.position, float), np.asarray(curve.value, float)
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    span = (high - low) or 1.0
    # Two points per character cell are what Braille markers can show.
    bins = np.clip(((x - low) / span * 2 * width).astype(int), 0, 2 * width)
    counts = np.bincount(bins, minlength=1)
    filled = counts > 0
    x, y = np.bincount(bins, x), np.bincount(bins, y)
    return x[filled] / counts[filled], y[filled] / counts[filled]


__all__ = ["DOWNWARDS", "EARLIER", "UPWARDS", "Curve", "draw_curves", "draw_spectrum"]
