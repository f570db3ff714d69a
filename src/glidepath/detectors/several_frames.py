"""What the frames of a row are together: as if one longer exposure had been made of them."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def mean(values: Floats, weights: Floats | None = None) -> Floats:
    """Return the mean of the frames of each row, of those that are there.

    Parameters
    ----------
    values
        Shape (m, n); NaN where there is no frame.
    weights
        Shape (m, n), not negative. None: all alike; so too where they are all zero.

    Returns
    -------
    array
        Shape (m,); NaN where no frame is.
    """
    there = np.isfinite(values)
    alike = there.astype(float)
    if weights is None:
        weights = alike
    weights = np.where(there & np.isfinite(weights), weights, 0.0)
    weights = np.where(weights.sum(axis=1, keepdims=True) > 0, weights, alike)
    whole = weights.sum(axis=1)
    summed = np.sum(np.where(there, values, 0.0) * weights, axis=1)
    return np.divide(summed, whole, out=np.full(len(values), np.nan), where=whole > 0)


def spot(statistics: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return the statistics of the summed images of each row from those of its images.

    Centroids are weighted with the totals, widths are those of the sum (the spot's own, and how
    it moved from image to image), orientations are averaged as axes, whose direction is the same
    after half a turn. The total is the mean of the images: a lost one does not make it smaller.

    Parameters
    ----------
    statistics
        ``total``, ``centroid_x``, ``centroid_y``, ``sigma_x``, ``sigma_y`` (pixels) and
        ``orientation`` (degrees) -> shape (m, n); NaN where there is no image.

    Returns
    -------
    dict
        The same names -> shape (m,); NaN where a row has no image.
    """
    weights = np.clip(statistics["total"], 0.0, None)
    found = {"total": mean(statistics["total"])}
    for axis in "xy":
        centroid = statistics[f"centroid_{axis}"]
        middle = mean(centroid, weights)
        squares = statistics[f"sigma_{axis}"] ** 2 + (centroid - middle[:, np.newaxis]) ** 2
        found[f"centroid_{axis}"] = middle
        found[f"sigma_{axis}"] = np.sqrt(mean(squares, weights))
    doubled = 2 * np.radians(statistics["orientation"])
    along, across = (mean(part(doubled), weights) for part in (np.cos, np.sin))
    found["orientation"] = np.degrees(np.arctan2(across, along)) / 2
    return found


__all__ = ["mean", "spot"]
