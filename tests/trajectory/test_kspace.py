"""Regions in k: equidistant in the wave number, as a parabola of time or as straight pieces."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidepath.physics import wave_number
from glidepath.trajectory import KRegion, Motion, Region, Trajectory, xas_regions

EDGE = 7112.0

k_regions = st.builds(
    KRegion,
    st.just(EDGE),
    st.floats(1.0, 6.0),
    st.floats(6.5, 16.0),
    st.floats(0.02, 0.3),
    st.floats(0.05, 2.0),
    st.floats(0.02, 0.3),
)
either_way = k_regions.flatmap(lambda r: st.sampled_from([r, r.reversed()]))


def steps_in_k(pieces):
    """Return the change of k in every row that the pieces hold, and its row's length."""
    steps = []
    for piece in pieces:
        rows = piece.rows(99.0)
        at = piece.start + piece.direction * piece.velocity * piece.period * np.arange(rows + 1)
        steps.append(np.abs(np.diff(wave_number(at, EDGE))))
    return np.concatenate(steps)


@given(either_way)
def test_straight_pieces_keep_the_step_in_k_within_the_bound(region):
    pieces = region.straight()
    assert pieces[0].start == region.start
    assert pieces[-1].stop == region.stop
    for one, following in pairwise(pieces):
        assert one.stop == following.start
    steps = steps_in_k(pieces)
    assert len(steps) == region.rows()
    # A piece of one row, and what does not fill another, cannot be shorter.
    single = np.concatenate([np.full(p.rows(9.0), p.rows(9.0) == 1) for p in pieces])
    off = abs(steps / region.k_step - 1)
    np.testing.assert_array_less(off[~single], region.bound + 1e-6)
    np.testing.assert_array_less(off[single], region.k_step / min(region.k_start, region.k_stop))
    assert sum(p.duration for p in pieces) == pytest.approx(region.duration)


@given(k_regions)
def test_no_piece_could_take_one_more_row(region):
    # The last but one leaves a row for what does not fill one.
    for piece in region.straight()[:-2]:
        low, high = wave_number([piece.start, piece.stop], EDGE)
        assert (high + region.k_step - low) / (2 * low) > region.bound * (1 - 1e-6)


@given(either_way)
def test_a_joined_flight_goes_through_it_at_constant_change_of_k(region):
    (leg,) = Trajectory((region,)).legs(joined=True)
    motion = Motion.along(leg, acceleration=500.0)
    (passage,) = motion.passages
    assert passage.duration == pytest.approx(region.duration)
    assert passage.rows(99.0) == region.rows()
    t = np.linspace(passage.begin, passage.end, 200)
    k = wave_number(motion.position(t), EDGE)
    np.testing.assert_allclose(k, np.linspace(region.k_start, region.k_stop, 200), rtol=1e-9)
    speed = region.direction * motion.velocity(t[:-1])
    np.testing.assert_allclose(speed, np.linspace(*region.speeds, 200)[:-1], rtol=1e-6)


@given(either_way, st.floats(0.05, 0.95))
def test_what_is_left_behind_a_position_begins_there(region, share):
    position = region.start + share * (region.stop - region.start)
    rest = region.after(position)
    assert rest.start == pytest.approx(position)
    assert rest.stop == region.stop
    assert region.after(region.start) == region
    assert region.after(region.stop) is None


def test_regions_of_a_spectrum_follow_each_other_and_join():
    trajectory = Trajectory.of(xas_regions(EDGE, k_max=10.0))
    (leg,) = trajectory.legs(joined=True)
    assert leg.numbers == (1, 2, 3)
    assert (leg.start, round(leg.stop, 1)) == (6962.0, 7493.0)
    straight = list(trajectory.legs())
    assert [leg.numbers for leg in straight[:3]] == [(1,), (2,), (3,)]
    assert {leg.numbers for leg in straight[2:]} == {(3,)}
    assert all(isinstance(region, Region) for leg in straight for region in leg.regions)
    assert sum(leg.regions[0].rows(9.0) for leg in straight) == trajectory.rows(9.0)
    back = Trajectory(trajectory.regions, passes=2, there_and_back=True)
    assert [leg.start for leg in back.legs(joined=True)] == [leg.start, leg.stop]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            (EDGE, 0.0, 12, 0.05, 0.5),
            "The k_start of a k region must be a number above zero, not 0.",
        ),
        ((EDGE, 3, "12", 0.05, 0.5), "The k_stop of a k region must be a number above zero"),
        (
            (EDGE, 3, 12, 0.05, None),
            "The dwell of a k region must be a number above zero, not None",
        ),
        ((EDGE, 3, 3, 0.05, 0.5), "is empty; k_start and k_stop must differ"),
    ],
)
def test_what_is_no_region_is_refused_with_a_sentence(arguments, sentence):
    with pytest.raises(ValueError) as caught:
        KRegion(*arguments)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"begin": -20.0}, "these must rise"),
        ({"edge_end": -1.0}, "these must rise"),
        ({"k_max": 3.0}, "cannot end at 3; choose"),
        ({"edge_step": 0.0}, "step of a region must be a number above zero"),
    ],
)
def test_regions_that_do_not_follow_each_other_are_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        xas_regions(EDGE, **options)
