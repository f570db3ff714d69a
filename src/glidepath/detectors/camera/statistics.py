"""What the plugin NDStats says of a frame: names, units, and which columns they become."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from glidepath.detectors.several_frames import spot

Floats = NDArray[np.float64]

FWHM_PER_SIGMA: Final = 2.355
"""Full width at half maximum of a Gaussian, in standard deviations."""

PARAMETERS: Final = {
    "total": "TOTAL",
    "centroid_x": "CENTROIDX_VALUE",
    "centroid_y": "CENTROIDY_VALUE",
    "sigma_x": "SIGMAX_VALUE",
    "sigma_y": "SIGMAY_VALUE",
    "orientation": "ORIENTATION_VALUE",
}
"""Statistic -> parameter of the plugin (NDPluginStats.h)."""

UNITS: Final = {
    "total": "counts",
    "centroid_x": "px",
    "centroid_y": "px",
    "sigma_x": "px",
    "sigma_y": "px",
    "fwhm_x": "px",
    "fwhm_y": "px",
    "orientation": "deg",
}
"""Statistic -> its unit, with those that are computed here."""

FWHM: Final = {"fwhm_x": "sigma_x", "fwhm_y": "sigma_y"}
"""Width at half maximum -> the standard deviation that it is computed from."""

ATTRIBUTE: Final = "stats_"
"""What the names of our NDAttributes begin with."""

ATTRIBUTES: Final = tuple(f"{ATTRIBUTE}{statistic}" for statistic in PARAMETERS)
"""Our NDAttributes, in the order of `PARAMETERS`."""


class StatisticsSource(StrEnum):
    """Where the statistics of triggered frames come from."""

    AUTO = "auto"
    """From the file if its images can go through the statistics plugin unchanged."""
    FILE = "file"
    """NDAttributes in the file: of every frame in it, however many."""
    SERIES = "series"
    """The plugin's time series: of as many frames as its waveforms hold."""


def column(camera: str, statistic: str) -> str:
    """Return the name of a column."""
    return f"{camera}_{statistic}"


def fwhm(sigma: Floats) -> Floats:
    """Return the full width at half maximum of Gaussians, any shape."""
    return FWHM_PER_SIGMA * sigma


def columns_of(camera: str, values: Mapping[str, Floats], frames: int) -> dict[str, Floats]:
    """Return the columns of some frames.

    Parameters
    ----------
    camera
        Name of the camera.
    values
        Statistic -> shape (n,); those that are missing are NaN.
    frames
        n.
    """
    known = {name: values.get(name, np.full(frames, np.nan)) for name in PARAMETERS}
    known |= {width: fwhm(known[sigma]) for width, sigma in FWHM.items()}
    return {column(camera, statistic): known[statistic] for statistic in UNITS}


def columns_of_rows(camera: str, values: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return the statistics of the sum of the images of each row; the total is their mean.

    Parameters
    ----------
    camera
        Name of the camera.
    values
        Column -> shape (m, n): of the n images of m rows; NaN where there is none.
    """
    found = spot({statistic: values[column(camera, statistic)] for statistic in PARAMETERS})
    found |= {width: fwhm(found[sigma]) for width, sigma in FWHM.items()}
    return {column(camera, statistic): values for statistic, values in found.items()}


__all__ = [
    "ATTRIBUTE",
    "ATTRIBUTES",
    "FWHM",
    "FWHM_PER_SIGMA",
    "PARAMETERS",
    "UNITS",
    "StatisticsSource",
    "column",
    "columns_of",
    "columns_of_rows",
    "fwhm",
]
