"""Trajectories as scanspecs and back, and motions as paths that controllers take."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scanspec.core import Path
from scanspec.specs import Fly, Linspace, Spec

from glidepath.trajectory import KRegion, Leg, Motion, Region, Trajectory
from glidepath.trajectory.specs import from_scanspec, motion_path, to_scanspec

N2 = [(370, 395, 2.0), (395, 405, 0.2), (405, 470, 1.0)]


@st.composite
def trajectories(draw):
    at, regions = round(draw(st.floats(300, 500)), 3), []
    for _ in range(draw(st.integers(1, 4))):
        rows = draw(st.integers(2, 40))
        step = round(draw(st.floats(0.01, 0.5)), 3) * draw(st.sampled_from([1, -1]))
        end = round(at + rows * step, 6)
        regions.append(Region.stepped(at, end, abs(step), draw(st.sampled_from([0.02, 0.1, 1.5]))))
        at = end
    passes = draw(st.integers(1, 3))
    back = passes > 1 and draw(st.booleans())
    return Trajectory(tuple(regions), passes, there_and_back=back)


def numbers(trajectory):
    return [(r.start, r.stop, r.velocity, r.period) for r in trajectory.regions]


@settings(max_examples=25)
@given(trajectories())
def test_straight_regions_of_whole_rows_come_back_as_they_went(trajectory):
    spec = to_scanspec(trajectory, "energy", 99.0)
    again = from_scanspec(Spec.deserialize(spec.serialize()))
    # Neighbours that are flown alike are one region.
    merged = [numbers(trajectory)[0]]
    for start, stop, velocity, period in numbers(trajectory)[1:]:
        begin, _, before, row = merged[-1]
        way = np.sign(merged[-1][1] - begin) == np.sign(stop - start)
        if way and velocity == pytest.approx(before, rel=1e-6) and period == row:
            merged[-1] = (begin, stop, before, row)
        else:
            merged.append((start, stop, velocity, period))
    np.testing.assert_allclose(numbers(again), merged, rtol=1e-7)
    assert (again.passes, again.there_and_back) == (trajectory.passes, trajectory.there_and_back)
    assert len(Path(spec.calculate())) == trajectory.rows(99.0)
    assert again.duration == pytest.approx(trajectory.duration)


def test_frames_cover_their_regions_at_the_velocity_of_each():
    spec = to_scanspec(Trajectory.of(N2), "energy", 0.3)
    frames = Path(spec.calculate()).consume()
    assert np.all(frames.duration >= 0.3)
    np.testing.assert_array_equal(frames.lower["energy"][1:], frames.upper["energy"][:-1])
    speed = (frames.upper["energy"] - frames.lower["energy"]) / frames.duration
    np.testing.assert_allclose(np.unique(speed.round(9)), [0.2, 1.0, 2.0])
    assert sum(frames.duration) == pytest.approx(127.5)


def test_passes_there_and_back_are_a_snake():
    spec = to_scanspec(Trajectory.of(N2, passes=2, there_and_back=True), "energy", 0.5)
    frames = Path(spec.calculate()).consume()
    half = len(frames) // 2
    np.testing.assert_allclose(
        frames.midpoints["energy"][:half], frames.midpoints["energy"][half:][::-1]
    )
    np.testing.assert_allclose(frames.duration, 0.5)


def test_a_region_in_k_is_written_as_its_straight_pieces():
    k = KRegion(7112.0, 3.0, 12.0, 0.05, 0.5)
    again = from_scanspec(to_scanspec(Trajectory((k,)), "energy", 1.0))
    np.testing.assert_allclose(numbers(again), numbers(Trajectory(k.straight())), rtol=1e-7)


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (0.1 @ Linspace("x", 1, 2, 3).zip(Linspace("y", 1, 2, 3)), "one axis, but this spec has 2"),
        (Fly(Linspace("x", 1, 2, 3)), "says nothing of time; write 0.1 @ spec"),
        (0.1 @ (Linspace("x", 1, 1, 3)), "frames that do not move"),
        (Fly(2 * (3 * (0.1 @ Linspace("x", 1, 2, 3)))), "nests 3 of them"),
    ],
)
def test_what_is_no_trajectory_is_refused_in_one_sentence(spec, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        from_scanspec(spec)
    assert str(caught.value).endswith(".")


def test_a_region_shorter_than_a_row_is_refused():
    with pytest.raises(ValueError, match=r"Not one row of 1 s fits between 400 and 400\.5"):
        to_scanspec(Trajectory.of([(400, 400.5, 1.0)]), "energy", 1.0)


def through_points(durations, positions, at):
    """Return positions of a controller that goes through points with mean velocities (PVT)."""
    speeds = np.concatenate(
        [[0.0], (positions[2:] - positions[:-2]) / (durations[1:] + durations[:-1]), [0.0]]
    )
    times = np.concatenate([[0.0], np.cumsum(durations)])
    k = np.clip(np.searchsorted(times, at, side="right") - 1, 0, len(durations) - 1)
    h, u = durations[k], (at - times[k]) / durations[k]
    p, q, v, w = positions[k], positions[k + 1], speeds[k] * h, speeds[k + 1] * h
    return p + u * v + u * u * (3 * (q - p) - 2 * v - w) + u**3 * (2 * (p - q) + v + w)


def test_a_controller_that_interpolates_the_points_stays_near_the_motion():
    (leg,) = Trajectory.of(N2).legs(joined=True)
    motion = Motion.along(leg, 10.0, settle=0.3)
    frames = motion_path(motion, "energy", 0.05).consume()
    positions = np.concatenate([frames.lower["energy"][:1], frames.upper["energy"]])
    assert len(positions) < 40
    assert positions[0] == motion.start
    assert positions[-1] == pytest.approx(motion.stop)
    assert sum(frames.duration) == pytest.approx(motion.duration)
    at = np.linspace(0, motion.duration, 20001)
    off = np.abs(through_points(frames.duration, positions, at) - motion.position(at))
    assert np.max(off) < 1e-3
    # Inside the regions, where rows are, but for the joins: exactly.
    for passage in motion.passages:
        inside = (at > passage.steady_begin + 0.1) & (at < passage.steady_end - 0.1)
        assert np.max(off[inside]) < 1e-9


def test_a_region_in_k_is_followed_exactly():
    k = KRegion(7112.0, 4.0, 8.0, 0.05, 0.1)
    motion = Motion.along(Leg((k,)), 20.0)
    frames = motion_path(motion, "energy", 0.1).consume()
    positions = np.concatenate([frames.lower["energy"][:1], frames.upper["energy"]])
    at = np.linspace(motion.passages[0].begin + 0.2, motion.passages[0].end - 0.2, 5000)
    off = through_points(frames.duration, positions, at) - motion.position(at)
    assert np.max(np.abs(off)) < 1e-8
