"""The focused spot on the simulated camera: its width follows the focus, with shot noise."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FRAME_SHAPE",
    "STATISTICS",
    "expected_counts",
    "make_images",
    "spot_width",
    "statistics",
]

FRAME_SHAPE: Final = (96, 128)
"""Rows and columns of a frame, pixels."""

STATISTICS: Final = ("total", "centroid_x", "centroid_y", "sigma_x", "sigma_y", "orientation")
"""What is computed of every frame."""

_BEST_FOCUS = (-1151.5, -1148.0)
_SMALLEST = (2.2, 2.8)
_PER_MICROMETRE = (0.13, 0.15)
_WIDEST = 18.0
_TILT = np.deg2rad(12.0)
_CENTRE = (67.2, 43.4)
_WALK = (0.02, -0.012)
_WALK_RANGE = 100.0
_COUNTS_PER_SECOND = 3e7
_DARK = 0.2
_FULL = 65535

_y, _x = (np.asarray(axis, np.float32) for axis in np.mgrid[: FRAME_SHAPE[0], : FRAME_SHAPE[1]])


def spot_width(focus: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Standard deviations (pixels) of the spot along x and y of the image.

    The square of each is a parabola of the focus position, up to the width at which the optics
    let no more light through.

    Parameters
    ----------
    focus
        Position of the focus motor in um, any shape.
    """
    first, second = _axes(focus)
    cos, sin = np.cos(_TILT), np.sin(_TILT)
    return np.hypot(first * cos, second * sin), np.hypot(first * sin, second * cos)


def _axes(focus: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    return [
        np.minimum(np.hypot(smallest, slope * (focus - best)), _WIDEST)
        for best, smallest, slope in zip(_BEST_FOCUS, _SMALLEST, _PER_MICROMETRE, strict=True)
    ]


def expected_counts(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Counts in a frame whose exposure saw ``light``: relative intensity times seconds."""
    return _COUNTS_PER_SECOND * light


def make_images(
    counts: NDArray[np.float64], focus: NDArray[np.float64], generator: np.random.Generator
) -> NDArray[np.uint16]:
    """Return frames of shape (n, rows, columns) with shot noise.

    The same generator gives the same frames, in whatever portions they are made.

    Parameters
    ----------
    counts
        Shape (n,): expected sum of each frame.
    focus
        Shape (n,): position of the focus motor in um.
    """
    first, second = (a.astype(np.float32)[:, None, None] for a in _axes(focus))
    walk = np.clip(focus - np.mean(_BEST_FOCUS), -_WALK_RANGE, _WALK_RANGE)
    dx, dy = (
        grid - (centre + slope * walk).astype(np.float32)[:, None, None]
        for grid, centre, slope in zip((_x, _y), _CENTRE, _WALK, strict=True)
    )
    cos, sin = np.float32(np.cos(_TILT)), np.float32(np.sin(_TILT))
    along, across = (cos * dx + sin * dy) / first, (cos * dy - sin * dx) / second
    height = counts.astype(np.float32)[:, None, None] / (2 * np.pi * first * second)
    expected = height * np.exp(-0.5 * (along**2 + across**2)) + np.float32(_DARK)
    # A Poisson distribution costs ten times as much, and looks the same where there is light.
    noise = generator.standard_normal(expected.shape, dtype=np.float32)
    frames = np.rint(expected + np.sqrt(expected) * noise)
    return np.clip(frames, 0, _FULL).astype(np.uint16)


def statistics(frames: NDArray[Any], threshold: float) -> Mapping[str, NDArray[np.float64]]:
    """Return `STATISTICS` of each frame as NDPluginStats computes them (ADCore R3).

    Parameters
    ----------
    frames
        Shape (n, rows, columns).
    threshold
        Pixels below it count for the total only.
    """
    counts = frames.astype(np.float64)
    kept = np.where(counts >= threshold, counts, 0.0)
    rows, columns = (np.arange(size, dtype=np.float64) for size in frames.shape[1:])
    along_x, along_y = kept.sum(axis=1), kept.sum(axis=2)
    weight = along_x.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        x, y = along_x @ columns / weight, along_y @ rows / weight
        xx = np.maximum(along_x @ columns**2 / weight - x**2, 0.0)
        yy = np.maximum(along_y @ rows**2 / weight - y**2, 0.0)
        xy = (kept @ columns) @ rows / weight - x * y
        values = {
            "total": counts.sum(axis=(1, 2)),
            "centroid_x": x,
            "centroid_y": y,
            "sigma_x": np.sqrt(xx),
            "sigma_y": np.sqrt(yy),
            "orientation": np.rad2deg(0.5 * np.arctan2(2 * xy, xx - yy)),
        }
    # A frame without a pixel above the threshold has no centroid: the plugin says 0.
    return {name: np.where(np.isfinite(value), value, 0.0) for name, value in values.items()}
