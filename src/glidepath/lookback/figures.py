"""Pictures of spectra: files for the logbook and drawings for the terminal."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from glidepath.live import Curve, draw_curves

from .spectra import Spectrum

FORMATS = (".png", ".svg", ".pdf")

COLOURS = ("blue+", "orange+", "green+", "red+", "magenta+", "cyan+")
"""Of the curves in a terminal, in turn."""


def draw(spectra: Sequence[Spectrum], path: Path | None = None, title: str = "") -> Figure:
    """Draw curves with their error bands; rows with bits are hollow.

    Parameters
    ----------
    spectra
        The spectra, from `glidepath.lookback.spectra_of`.
    path
        Picture to write; its ending says the format. None: only return the figure.
    title
        Above the picture.

    Raises
    ------
    ValueError
        If the ending is unknown or the file cannot be written.
    """
    if path is not None and path.suffix.lower() not in FORMATS:
        raise ValueError(f"{path} must end with one of {', '.join(FORMATS)}.")
    figure = Figure(figsize=(9, 5.2), layout="constrained")
    axes = figure.subplots()
    for number, spectrum in enumerate(spectra):
        colour = f"C{number % 10}"
        curve = spectrum.curve
        axes.plot(curve.position, curve.value, lw=1.1, color=colour, label=spectrum.label)
        if np.isfinite(curve.error).any():
            axes.fill_between(
                curve.position,
                curve.value - curve.error,
                curve.value + curve.error,
                color=colour,
                alpha=0.25,
                lw=0,
            )
        if spectrum.bad.size:
            axes.plot(*spectrum.bad, "o", mfc="none", mec=colour, ms=4, label="rows with bits")
    axes.set(xlabel=spectra[0].axis_label, ylabel=spectra[0].value_label)
    axes.legend(fontsize=8)
    if title:
        axes.set_title(title, fontsize=11)
    if path is not None:
        try:
            figure.savefig(path, dpi=130)
        except OSError as error:
            raise ValueError(
                f"{path} cannot be written ({error.strerror}); name another place."
            ) from error
    return figure


def draw_in_terminal(spectra: Sequence[Spectrum], width: int = 100, height: int = 24) -> str:
    """Return a drawing with characters."""
    curves = [
        Curve(one.curve.position, one.curve.value, COLOURS[number % len(COLOURS)])
        for number, one in enumerate(spectra)
    ]
    positions = np.concatenate([one.curve.position for one in spectra])
    return draw_curves(
        curves,
        limits=(float(np.nanmin(positions)), float(np.nanmax(positions))),
        width=width,
        height=height,
        label=f"{spectra[0].value_label}: {', '.join(one.label for one in spectra)}",
        axis_label=spectra[0].axis_label,
    )


__all__ = ["FORMATS", "draw", "draw_in_terminal"]
