"""A picture of a spectrum for the logbook."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from glidepath.physics.nitrogen import N2Fit
from glidepath.timeline import good_rows

EDGE_EV = 409.9
"""N2 1s ionisation threshold (eV)."""

RYDBERG_EV = (406.1, 407.1)
"""First N2 Rydberg lines (eV)."""


def save_spectrum(
    path: Path,
    energy: ArrayLike,
    signal: ArrayLike,
    *,
    title: str,
    signal_label: str,
    tracking_error: ArrayLike | None = None,
    fit: N2Fit | None = None,
    energy_label: str = "photon energy (eV)",
    quality: ArrayLike | None = None,
) -> None:
    """Write a spectrum, and what is known about it, as a PNG.

    Parameters
    ----------
    path
        File to write.
    energy, signal
        Shape (n,).
    title
        What was measured, when, in which run.
    signal_label
        Label of the signal axis, with its unit.
    tracking_error
        Shape (n,), eV: distance of the undulator's harmonic from the energy; a panel of its own.
    fit
        Fit of the N2 pi* series; a panel of its own shows it.
    energy_label
        Label of the energy axis, with its unit.
    quality
        Shape (n,), uint16: bits of the rows. Those that spoil a row leave it out of the line and
        make it a hollow mark.
    """
    x, all_y = np.asarray(energy, float), np.asarray(signal, float)
    good = np.ones(len(x), bool) if quality is None else good_rows(quality)
    y = np.where(good, all_y, np.nan)
    panels = (
        ["whole"] + ["series"] * (fit is not None) + ["tracking"] * (tracking_error is not None)
    )
    heights = {"whole": 3.0, "series": 3.0, "tracking": 1.2}
    figure = Figure(figsize=(9, 1.2 + sum(heights[p] for p in panels)), layout="constrained")
    figure.suptitle(title, fontsize=11)
    axes = dict(
        zip(
            panels,
            np.atleast_1d(
                figure.subplots(len(panels), 1, height_ratios=[heights[p] for p in panels])
            ),
            strict=True,
        )
    )
    whole = axes["whole"]
    whole.plot(x, y, lw=0.8, color="C0")
    if not good.all():
        hollow = {"mfc": "none", "mec": "0.6", "ms": 3, "label": "rows with quality bits"}
        whole.plot(x[~good], all_y[~good], "o", **hollow)
        whole.legend(loc="lower right", fontsize=8)
    whole.set(xlabel=energy_label, ylabel=signal_label, xlim=(np.nanmin(x), np.nanmax(x)))
    if fit is not None:
        marks = [(fit.first_line, r"N$_2$ 1s$\rightarrow\pi^*$", "C3")]
        marks += [(e, "Rydberg", "0.4") for e in RYDBERG_EV[:1]]
        marks += [(EDGE_EV, "1s edge 409.9 eV", "0.4")]
        for place, text, color in marks:
            if np.nanmin(x) < place < np.nanmax(x):
                whole.axvline(place, color=color, lw=0.7, ls=":")
                whole.annotate(
                    text,
                    (place, 0.97),
                    xycoords=("data", "axes fraction"),
                    rotation=90,
                    va="top",
                    ha="right",
                    fontsize=8,
                    color=color,
                )
        series = axes["series"]
        near = (x > fit.first_line - 1.2) & (x < fit.line_energies[-1] + 0.8)
        grid = np.linspace(x[near].min(), x[near].max(), 800)
        # What the rows scatter by around the fit is what is known of their error.
        spread = float(np.nanstd(y[near] - fit.model(x[near])))
        series.errorbar(
            *(x[near], y[near], np.full(int(near.sum()), spread)),
            fmt=".",
            ms=4,
            color="C0",
            elinewidth=0.6,
            label="measured",
        )
        series.plot(grid, fit.model(grid), "-", lw=1.0, color="C3", label="fit")
        for number, place in enumerate(fit.line_energies):
            series.axvline(place, color="0.6", lw=0.6, ls=":")
            series.annotate(
                f"v'={number}",
                (place, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
                fontsize=8,
                color="0.4",
            )
        series.set(xlabel=energy_label, ylabel=signal_label, xlim=(grid[0], grid[-1]))
        series.legend(
            loc="upper right",
            fontsize=8,
            title=f"first line {fit.first_line:.4f} ± {fit.first_line_error:.4f} eV\n"
            f"Gaussian width {1e3 * fit.gaussian_fwhm:.0f} meV (FWHM)",
            title_fontsize=8,
        )
    if tracking_error is not None:
        tracking = axes["tracking"]
        tracking.plot(x, np.asarray(tracking_error, float), lw=0.8, color="C2")
        tracking.axhline(0, color="0.6", lw=0.6)
        tracking.set(
            xlabel=energy_label,
            ylabel="undulator -\nenergy (eV)",
            xlim=(np.nanmin(x), np.nanmax(x)),
        )
    figure.savefig(path, dpi=130)


__all__ = ["save_spectrum"]
