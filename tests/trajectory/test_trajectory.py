"""Regions in a row: legs, passes, and what is left of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidepath.trajectory import Leg, Region, Trajectory

N2 = [(370, 395, 2.0), (395, 405, 0.2), (405, 470, 1.0)]


def ends(trajectory, **options):
    return [(leg.start, leg.stop, leg.numbers) for leg in trajectory.legs(**options)]


def test_every_region_is_a_leg_of_its_own_unless_they_can_be_joined():
    three = Trajectory.of(N2)
    assert ends(three) == [(370, 395, (1,)), (395, 405, (2,)), (405, 470, (3,))]
    assert ends(three, joined=True) == [(370, 470, (1, 2, 3))]
    apart = Trajectory.of([(370, 395, 2), (396, 400, 1), (400, 390, 1)])
    assert ends(apart, joined=True) == [
        (370, 395, (1,)),
        (396, 400, (2,)),
        (400, 390, (3,)),
    ]


def test_passes_are_numbered_and_go_back_if_asked():
    there = Trajectory.of(N2, passes=3, there_and_back=True)
    assert [leg.pass_number for leg in there.legs()] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert [(leg.start, leg.numbers) for leg in there.legs(joined=True)] == [
        (370, (1, 2, 3)),
        (470, (3, 2, 1)),
        (370, (1, 2, 3)),
    ]
    assert there.duration == pytest.approx(3 * 127.5)


def test_a_region_may_be_given_by_step_and_dwell_time():
    region = Region.stepped(395, 405, 0.05, 0.25)
    assert (region.velocity, region.period, region.rows(99.0)) == (0.2, 0.25, 200)


@given(
    st.floats(-0.1, 1.1),
    st.lists(st.floats(0.1, 5), min_size=1, max_size=4),
    st.sampled_from([1, -1]),
)
def test_what_is_left_behind_a_position_begins_there(share, lengths, direction):
    regions, at = [], 400.0
    for length in lengths:
        regions.append(Region(at, at + direction * length, 1.0))
        at = regions[-1].stop
    leg = Leg(tuple(regions), tuple(range(1, len(regions) + 1)))
    position = leg.start + share * (leg.stop - leg.start)
    rest = leg.after(position)
    if share >= 1:
        assert rest is None
    elif rest is not None:
        assert rest.stop == leg.stop
        assert rest.start == (leg.start if share <= 0 else position)
        assert rest.numbers == leg.numbers[-len(rest.numbers) :]


@pytest.mark.parametrize(
    ("regions", "sentence"),
    [
        ([], "at least one region"),
        ("370-470", "are no regions"),
        (7, "are no regions"),
        ([(370, 470)], "is no region; give"),
        (["abc"], "is no region; give"),
        ([(370, 470, 0)], "flies nowhere"),
        ([(370, 470, 1, -1)], "A row cannot last"),
    ],
)
def test_what_is_no_trajectory_is_refused_in_one_sentence(regions, sentence):
    with pytest.raises(ValueError, match=sentence):
        Trajectory.of(regions)


@pytest.mark.parametrize("passes", [0, -1, 1.5, True])
def test_passes_are_whole_numbers_above_zero(passes):
    with pytest.raises(ValueError, match="passes"):
        Trajectory.of(N2, passes=passes)
