"""A motion is continuous, keeps its limits, and flies each region as asked or says how far not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidepath.physics import UE48, bragg_angle
from glidepath.trajectory import Companion, KRegion, Leg, Motion, Region, Trajectory

N2 = Trajectory.of([(370, 395, 2.0), (395, 405, 0.2), (405, 470, 1.0)])


@st.composite
def legs(draw):
    direction = draw(st.sampled_from([1, -1]))
    at, regions = draw(st.floats(300, 500)), []
    for _ in range(draw(st.integers(1, 4))):
        end = at + direction * draw(st.floats(2.0, 50.0))
        regions.append(Region(at, end, draw(st.floats(0.05, 3.0))))
        at = end
    return Leg(tuple(regions), tuple(range(1, len(regions) + 1)))


@given(legs(), st.floats(5.0, 100.0), st.floats(0.0, 1.0))
def test_position_and_velocity_are_continuous_and_the_acceleration_is_kept(leg, limit, settle):
    motion = Motion.along(leg, limit, settle=settle)
    for piece, following in zip(motion.pieces, motion.pieces[1:], strict=False):
        assert piece.end == pytest.approx((following.position, following.velocity), abs=1e-6)
        assert abs(piece.acceleration) <= limit * (1 + 1e-9)
    assert motion.pieces[0].velocity == 0
    assert motion.pieces[-1].end[1] == pytest.approx(0, abs=1e-6)
    t = np.linspace(0, motion.duration, 2001)
    at = motion.position(t)
    assert np.all(leg.direction * np.diff(at) >= -1e-9)
    assert np.max(np.abs(motion.velocity(t))) <= leg.velocity * (1 + 1e-9)
    # Finite differences agree with what it says of its velocity.
    middle = np.diff(at) / np.diff(t)
    mean = (motion.velocity(t)[1:] + motion.velocity(t)[:-1]) / 2
    np.testing.assert_allclose(middle, mean, atol=limit * t[1])


@given(legs(), st.floats(5.0, 100.0))
def test_a_region_is_flown_at_its_velocity_but_for_joins_with_slower_ones(leg, limit):
    motion = Motion.along(leg, limit)
    speeds = [region.velocity for region in leg.regions]
    for k, (region, passage) in enumerate(zip(leg.regions, motion.passages, strict=True)):
        assert motion.position(passage.begin) == pytest.approx(region.start)
        assert motion.position(passage.end) == pytest.approx(region.stop)
        steady = np.linspace(passage.steady_begin, passage.steady_end, 12)[1:-1]
        np.testing.assert_allclose(np.abs(motion.velocity(steady)), region.velocity)
        neighbours = speeds[max(k - 1, 0) : k] + speeds[k + 1 : k + 2]
        expected = sum(
            (region.velocity**2 - v**2) / (2 * limit) for v in neighbours if v < region.velocity
        )
        assert passage.slower == pytest.approx(expected, abs=1e-9)
        # What is lost to the joins is lost in time as well, and nothing else.
        lost = sum((region.velocity - v) ** 2 / (2 * limit * region.velocity) for v in neighbours)
        if all(v >= region.velocity for v in neighbours):
            assert passage.duration == pytest.approx(region.duration)
        elif all(v <= region.velocity for v in neighbours):
            assert passage.duration == pytest.approx(region.duration + lost)


def test_the_n2_edge_in_one_movement():
    (leg,) = N2.legs(joined=True)
    motion = Motion.along(leg, 10.0, settle=0.3)
    assert motion.start == pytest.approx(370 - 0.2 - 0.6)
    assert motion.stop == pytest.approx(470 + 0.05)
    assert [round(p.duration, 3) for p in motion.passages] == [12.581, 50.0, 65.032]
    assert [round(p.slower, 3) for p in motion.passages] == [0.198, 0.0, 0.048]
    # The joins take longer than straight corners would: 0.11 s of 127.5 s.
    assert motion.rows(0.1) == 125 + 500 + 650
    assert motion.duration == pytest.approx(0.2 + 0.3 + 127.613 + 0.1, abs=1e-3)


def test_before_and_after_it_the_axis_stands():
    motion = Motion.along(Leg((Region(400, 410, 1.0),)), 1.0)
    np.testing.assert_allclose(motion.position([-5.0, motion.duration + 5]), [399.5, 410.5])
    np.testing.assert_array_equal(motion.velocity([-5.0, motion.duration, 1e9]), 0)


def test_a_k_region_joins_a_slower_and_a_faster_one():
    k = KRegion(7112.0, 4.0, 8.0, 0.05, 0.5)
    before = Region(k.start - 40, k.start, k.speeds[0] / 3)
    behind = Region(k.stop, k.stop + 60, 2 * k.speeds[1])
    motion = Motion.along(Leg((before, k, behind), (1, 2, 3)), acceleration=8.0)
    slow, middle, fast = motion.passages
    assert slow.slower == 0
    assert middle.slower > 0  # in its head only
    assert middle.steady_end == middle.end
    assert fast.slower > 0
    down = Motion.along(
        Leg((behind.reversed(), k.reversed(), before.reversed()), (1, 2, 3)), acceleration=8.0
    )
    assert down.duration == pytest.approx(motion.duration)
    t = np.linspace(0, motion.duration, 500)
    np.testing.assert_allclose(down.position(t), motion.position(motion.duration - t))


def test_what_leaves_no_room_for_a_join_is_refused_in_one_sentence():
    leg = Leg((Region(400, 410, 0.1), Region(410, 410.5, 5.0), Region(410.5, 420, 0.1)), (1, 2, 3))
    with pytest.raises(
        ValueError, match=r"Between 410 and 410\.5 units there is no room"
    ) as caught:
        Motion.along(leg, 10.0)
    assert str(caught.value).endswith("make it longer or fly it slower.")
    k = KRegion(7112.0, 4.0, 8.0, 0.05, 0.5)
    with pytest.raises(ValueError, match="the region itself changes as fast"):
        Motion.along(Leg((Region(k.start - 40, k.start, 0.5), k), (1, 2)), acceleration=0.01)
    with pytest.raises(ValueError, match="starts nothing"):
        Motion.along(leg, 0.0)


LAWS = {
    "gap": Companion("gap", "mm", max_acceleration=0.02, law=UE48.gap),
    "bragg": Companion(
        "bragg", "rad", max_acceleration=1e-4, law=lambda e: bragg_angle(e * 10, 0.3135)
    ),
}


@pytest.mark.parametrize("name", LAWS)
def test_joins_are_slow_enough_for_what_moves_along(name):
    leg = Leg((Region(400, 420, 0.2), Region(420, 460, 1.0), Region(460, 470, 0.2)), (1, 2, 3))
    companion = LAWS[name]
    quick = Motion.along(leg, 10.0)
    gentle = Motion.along(leg, 10.0, companions=[companion])
    assert quick.needs(companion).needed_acceleration > companion.max_acceleration
    needed = gentle.needs(companion)
    assert needed.needed_acceleration <= companion.max_acceleration * 1.001
    assert gentle.passages[1].slower > 2 * quick.passages[1].slower
    # Found by another way: differences of the companion's own positions over time.
    t = np.linspace(0, gentle.duration, 40001)
    own = gentle.of(companion.law)(t)
    assert np.max(np.abs(np.gradient(own, t))) == pytest.approx(needed.needed_velocity, rel=0.01)
    assert (needed.needed_low, needed.needed_high) == pytest.approx((own.min(), own.max()))


def test_a_move_from_rest_to_rest_keeps_its_limits():
    for distance, velocity in ((100.0, 25.0), (-3.0, 25.0), (0.0, 1.0)):
        move = Motion.between(400, 400 + distance, velocity, 50.0)
        assert move.stop == pytest.approx(400 + distance)
        t = np.linspace(0, move.duration, 300)
        assert np.max(np.abs(move.velocity(t))) <= velocity
        top = min(velocity, np.sqrt(abs(distance) * 50))
        assert move.duration == pytest.approx(abs(distance) / top + top / 50 if distance else 0)
