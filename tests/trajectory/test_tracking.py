"""Knots of a gap, and how far the harmonic is off between them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidepath.physics import UE46, UE48, UE52, UE56, GapTable
from glidepath.trajectory import TRACKING_BOUND, gap_path

RANGES = {
    "UE48": (UE48, 370.0, 470.0),
    "UE52": (UE52, 370.0, 470.0),
    "UE56": (UE56, 370.0, 470.0),
    "UE46": (UE46, 520.0, 580.0),
}


def curve_of(law):
    return GapTable.from_law(law, np.arange(14.0, 101.0)).curve()


def path(curve, start, stop, **options):
    return gap_path(curve, start, stop, run_up=2.0, run_down=1.0, **options)


@pytest.mark.parametrize("name", RANGES)
def test_the_fewest_knots_that_keep_the_bound_are_chosen(name):
    law, low, high = RANGES[name]
    curve = curve_of(law)
    chosen = path(curve, low, high)
    assert chosen.share <= TRACKING_BOUND
    assert path(curve, low, high, segments=chosen.segments - 1).share > TRACKING_BOUND


@pytest.mark.parametrize("name", RANGES)
def test_the_prediction_is_the_largest_distance_of_the_harmonic(name):
    law, low, high = RANGES[name]
    made = path(curve_of(law), low, high, segments=4)
    energy = np.linspace(low, high, 20001)
    off = np.abs(law.energy([made.gap(e) for e in energy]) - energy)
    assert made.mismatch == pytest.approx(np.max(off), rel=0.02)
    assert made.share == pytest.approx(np.max(off * law.periods / energy), rel=0.02)


def test_knots_lie_equidistant_in_energy_on_the_curve():
    curve = curve_of(UE48)
    made = path(curve, 470.0, 370.0, segments=4)
    assert list(made.energies) == [472.0, 470.0, 445.0, 420.0, 395.0, 370.0, 369.0]
    np.testing.assert_allclose(made.gaps, curve.gap(made.energies))
    assert (made.segments, made.direction) == (4, -1)
    assert made.gap(432.5) == pytest.approx(float(np.mean(curve.gap([445.0, 420.0]))))
    assert made.slopes[1] == pytest.approx(float(curve.gap(470.0) - curve.gap(445.0)) / 25.0)


@pytest.mark.parametrize(
    ("energy", "piece"),
    [(480, 0), (472, 0), (471, 0), (470, 1), (446, 1), (445, 2), (371, 4), (369.5, 5), (300, 5)],
)
def test_every_energy_is_in_one_piece(energy, piece):
    assert path(curve_of(UE48), 470.0, 370.0, segments=4).piece(energy) == piece


@given(st.floats(0.0, 0.25), st.floats(0.02, 0.2))
def test_what_is_left_to_the_drive_is_not_used_by_the_knots(allowance, bound):
    curve = curve_of(UE48)
    made = path(curve, 370.0, 470.0, bound=bound, allowance=allowance)
    room = bound - allowance / float(curve.width(370.0))
    assert made.share <= max(room, bound / 4)


def test_a_drive_that_needs_more_than_the_bound_does_not_get_knots_without_end():
    assert path(curve_of(UE48), 370.0, 470.0, allowance=10.0).segments < 16


def test_a_path_beyond_the_curve_is_refused():
    with pytest.raises(ValueError, match=r"but 572 eV was asked"):
        path(curve_of(UE48), 500.0, 571.0)


def test_no_segment_is_no_path():
    with pytest.raises(ValueError, match="cannot be driven in 0 segments"):
        path(curve_of(UE48), 370.0, 470.0, segments=0)
