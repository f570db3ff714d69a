"""Every view shows the same of a table: passes, bad rows, the mean with its error."""

import numpy as np
import pytest

from glidepath.live import Display, derivative_of, display_of, mean_of, passes_of
from glidepath.timeline import HARMLESS, Quality

START = {
    "motors": ["energy"],
    "detectors": ["mesh", "sample", "ring"],
    "display": {"reference": "mesh", "silent": ["ring"]},
    "preflight": {"unit": "eV"},
}
COLUMNS = ["energy", "mesh", "mesh_count", "sample", "sample_count", "ring", "quality"]


def test_the_last_detector_that_is_not_silent_is_shown_over_the_reference():
    assert display_of(START, COLUMNS) == Display("energy", "sample", "mesh", "eV")


def test_a_run_without_wishes_shows_its_last_detector_as_it_is():
    plain = {key: value for key, value in START.items() if key != "display"}
    assert display_of(plain, COLUMNS) == Display("energy", "ring", "", "eV")


def test_what_the_user_wants_goes_first_and_must_be_there():
    assert display_of(START, COLUMNS, "mesh") == Display("energy", "mesh", "", "eV")
    assert display_of(START, COLUMNS, "ring", "").label == "ring"
    with pytest.raises(ValueError, match=r"no column 'smple'; it has energy, mesh, .*sample"):
        display_of(START, COLUMNS, "smple")


def table(**more):
    return {
        "energy": np.array([1.0, 2.0, 3.0, 3.0, 2.0, 1.0]),
        "sample": np.array([2.0, 4.0, 6.0, 8.0, 6.0, 4.0]),
        "mesh": np.full(6, 2.0),
        "pass_number": np.array([1, 1, 1, 2, 2, 2]),
        **more,
    }


def test_passes_know_their_direction_and_are_normalised():
    up, down = passes_of(table(), Display("energy", "sample", "mesh", "eV"))
    assert (up.number, up.upwards, down.number, down.upwards) == (1, True, 2, False)
    assert up.value.tolist() == [1.0, 2.0, 3.0]
    assert down.value.tolist() == [4.0, 3.0, 2.0]


def test_held_rows_are_good_and_rows_without_beam_are_not():
    quality = np.array([0, 1, 64, 65, 0, 0], np.uint16)
    up, down = passes_of(table(quality=quality), Display("energy", "sample", "", "eV"))
    assert up.bad.tolist() == [False, False, True]
    assert down.bad.tolist() == [True, False, False]


def test_what_rebinning_takes_as_good_is_good_in_every_view():
    quality = np.array([HARMLESS, Quality.PARTIAL, Quality.LATE, Quality.NO_DATA, 0, 0], np.uint16)
    up, down = passes_of(table(quality=quality), Display("energy", "sample", "", "eV"))
    assert up.bad.tolist() == [False, False, False]
    assert down.bad.tolist() == [True, False, False]


def test_the_mean_of_two_passes_has_the_error_of_the_mean():
    mean = mean_of(passes_of(table(), Display("energy", "sample", "mesh", "eV")))
    assert mean.position.tolist() == [1.0, 2.0, 3.0]
    assert mean.value.tolist() == [1.5, 2.5, 3.5]
    # Two values that differ by 1: standard deviation 0.7071, of the mean 0.5.
    assert mean.error == pytest.approx([0.5, 0.5, 0.5])
    assert mean.rows.tolist() == [2, 2, 2]


def test_bad_rows_are_not_in_the_mean_and_one_row_has_no_error():
    quality = np.array([64, 0, 0, 0, 0, 0], np.uint16)
    mean = mean_of(passes_of(table(quality=quality), Display("energy", "sample", "mesh", "eV")))
    assert mean.value[0] == 2.0
    assert mean.rows.tolist() == [1, 2, 2]
    assert np.isnan(mean.error[0])


def test_the_error_of_the_mean_is_right_for_noise_of_known_size():
    random = np.random.default_rng(3)
    passes = 400
    energy = np.tile(np.arange(10.0), passes)
    columns = {
        "energy": energy,
        "sample": 5.0 + random.normal(0, 0.3, len(energy)),
        "pass_number": np.repeat(np.arange(passes), 10),
    }
    mean = mean_of(passes_of(columns, Display("energy", "sample", "", "eV")))
    assert mean.error == pytest.approx(np.full(10, 0.3 / np.sqrt(passes)), rel=0.15)


def test_the_slope_of_a_straight_line_is_its_slope():
    slope = derivative_of(mean_of(passes_of(table(), Display("energy", "sample", "mesh", "eV"))))
    assert slope.value == pytest.approx([1.0, 1.0, 1.0])
    assert slope.error[1] == pytest.approx(np.hypot(0.5, 0.5) / 2)


def test_nothing_but_bad_rows_is_an_empty_mean():
    quality = np.full(6, 64, np.uint16)
    mean = mean_of(passes_of(table(quality=quality), Display("energy", "sample", "mesh", "eV")))
    assert len(mean.position) == len(mean.value) == len(mean.error) == 0
