"""A picture of a focus scan for the logbook."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from glidepath.physics import FocusFit


def save_focus(
    path: Path,
    columns: Mapping[str, ArrayLike],
    fits: Mapping[str, FocusFit],
    *,
    title: str,
    position_label: str,
) -> None:
    """Write the widths and the centroid of a beam against the position of its focus as a PNG.

    Parameters
    ----------
    path
        File to write.
    columns
        ``position``, ``fwhm_x``, ``fwhm_y``, ``centroid_x``, ``centroid_y``: shape (n,), all but
        the position in pixels.
    fits
        ``fwhm_x``, ``fwhm_y`` and ``focus`` (their quadratic mean) -> fit, as far as there is one.
    title
        What was measured, when, in which run.
    position_label
        Label of the position axis, with its unit.
    """
    values = {name: np.asarray(column, float) for name, column in columns.items()}
    position = values["position"]
    grid = np.linspace(np.nanmin(position), np.nanmax(position), 400)
    figure = Figure(figsize=(9, 6.2), layout="constrained")
    figure.suptitle(title, fontsize=11)
    width, centroid = figure.subplots(2, 1, height_ratios=[2.2, 1.0], sharex=True)
    for axis, color in (("x", "C0"), ("y", "C1")):
        key = f"fwhm_{axis}"
        width.plot(position, values[key], "o", ms=4, color=color, label=f"FWHM {axis}")
        if key in fits:
            width.plot(grid, fits[key].model(grid), "-", lw=1.0, color=color)
        walk = values[f"centroid_{axis}"]
        walk = walk - np.nanmean(walk)
        centroid.plot(position, walk, "o-", ms=3, lw=0.8, color=color, label=f"centroid {axis}")
    focus = fits.get("focus")
    if focus is not None:
        for panel in (width, centroid):
            panel.axvline(focus.position, color="C3", lw=0.8, ls="--")
        width.annotate(
            f"focus {focus.position:.2f} ± {focus.position_error:.2f}",
            (focus.position, 0.97),
            xycoords=("data", "axes fraction"),
            xytext=(4, 0),
            textcoords="offset points",
            va="top",
            fontsize=9,
            color="C3",
        )
    width.set(ylabel="FWHM (px)", ylim=(0, None))
    centroid.set(ylabel="centroid - mean (px)", xlabel=position_label)
    width.legend(fontsize=8)
    centroid.legend(fontsize=8)
    figure.savefig(path, dpi=130)


__all__ = ["save_focus"]
