"""What several images of a row are together: what their sum would have shown."""

import numpy as np
import pytest

from glidepath.detectors.several_frames import mean, spot

PIXELS = np.arange(80.0)


def statistics(images):
    """Return the statistics of images, shape (..., y, x), as NDStats computes them."""
    total = images.sum(axis=(-2, -1))
    found = {"total": total}
    for axis, along in (("x", -1), ("y", -2)):
        profile = images.sum(axis=-2 if along == -1 else -1)
        middle = (profile * PIXELS).sum(axis=-1) / total
        squares = (profile * (PIXELS - middle[..., None]) ** 2).sum(axis=-1) / total
        found |= {f"centroid_{axis}": middle, f"sigma_{axis}": np.sqrt(squares)}
    return {**found, "orientation": np.zeros_like(total)}


def image(x, y, width, height):
    return height * np.exp(-((PIXELS[:, None] - y) ** 2 + (PIXELS - x) ** 2) / (2 * width**2))


def test_a_row_is_what_the_sum_of_its_images_shows():
    images = np.array(
        [
            [image(40, 40, 3, 1), image(44, 40, 4, 5), image(42, 37, 3, 2)],
            [image(30, 45, 5, 2), image(30, 45, 5, 0), image(35, 45, 2, 1)],
        ]
    )
    with np.errstate(invalid="ignore"):
        of_each = statistics(images)
    lost = of_each["total"] == 0
    for values in of_each.values():
        values[lost] = np.nan
    found, expected = spot(of_each), statistics(images.sum(axis=1))
    for name in ("centroid_x", "centroid_y", "sigma_x", "sigma_y"):
        assert found[name] == pytest.approx(expected[name], rel=1e-9), name
    # A lost image makes no row darker.
    assert found["total"] == pytest.approx(expected["total"] / [3, 2])


def test_an_axis_has_no_direction_and_a_row_without_images_is_nan():
    ones = np.ones((2, 2))
    of_each = dict.fromkeys(("total", "centroid_x", "centroid_y", "sigma_x", "sigma_y"), ones)
    of_each = {**of_each, "orientation": np.array([[89.0, -89.0], [10.0, 20.0]])}
    found = spot(of_each)["orientation"]
    assert np.abs(found) == pytest.approx([90.0, 15.0])
    nothing = spot({name: np.full((1, 2), np.nan) for name in of_each})
    assert all(np.isnan(values).all() for values in nothing.values())


def test_weights_that_are_all_zero_are_none():
    assert mean(np.array([[1.0, 3.0]]), np.zeros((1, 2))).tolist() == [2.0]
