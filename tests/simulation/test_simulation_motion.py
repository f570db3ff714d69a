"""The trajectories of the simulated axes, as pure functions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidepath.simulation.motion import (
    RUN_UP_SECONDS,
    SETTLE_SECONDS,
    Axis,
    plan_follow,
    plan_move,
    plan_stop,
    plan_sweep,
    run_up_distance,
)

NOW = 1.8e9
positions = st.floats(-1000.0, 1000.0)
velocities = st.floats(0.1, 50.0)
accelerations = st.floats(0.1, 100.0)


def profile(axis: Axis, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions, and velocities by finite differences, at 4000 instants."""
    at = axis.positions(NOW + np.linspace(0.0, seconds, 4001))
    return at, np.diff(at) * 4000 / seconds


@given(positions, positions, velocities, accelerations)
def test_move_ends_at_its_target_within_the_limits(start, target, velocity, acceleration):
    axis = Axis("x", start)
    axis.plan(plan_move(axis, NOW, target, velocity, acceleration))
    end = axis.rests_from()
    assert axis.position(NOW - 1) == start
    assert axis.position(end + 1) == target
    assert axis.state(end)[1] == 0
    shortest = abs(target - start) / velocity
    assert end - NOW >= shortest * (1 - 1e-6) - 1e-6
    at, speeds = profile(axis, max(end - NOW, 0.01))
    assert np.all(np.abs(speeds) <= velocity * 1.001 + 1e-4)
    assert np.all((at >= min(start, target) - 1e-4) & (at <= max(start, target) + 1e-4))


@given(positions, positions, velocities, velocities, accelerations, st.floats(0.01, 0.99))
def test_change_of_target_on_the_way_never_jumps(first, second, fast, slow, acceleration, share):
    axis = Axis("x", 0.0)
    axis.plan(plan_move(axis, NOW, first, fast, acceleration))
    turn = NOW + share * (axis.rests_from() - NOW)
    before = axis.state(turn)
    axis.plan(plan_move(axis, turn, second, slow, acceleration))
    assert axis.state(turn) == pytest.approx(before, abs=1e-6)
    assert axis.position(axis.rests_from()) == second
    for segment, successor in zip(axis.segments, axis.segments[1:], strict=False):
        if segment.start > 0:
            # Times of about 1.8e9 s resolve 0.24 us, in which a fast axis moves a little.
            assert segment.after(successor.start - segment.start)[0] == pytest.approx(
                successor.position, abs=1e-4
            )


def test_velocity_changes_on_the_way_without_a_stop():
    axis = Axis("x", 0.0)
    axis.plan(plan_move(axis, NOW, 10.0, 1.0, 2.0))
    axis.plan(plan_move(axis, NOW + 2.0, 20.0, 3.0, 2.0))
    _, speeds = profile(axis, 6.0)
    assert np.min(speeds[int(0.6 / 6 * 4000) :]) > 0.9
    assert np.max(speeds) == pytest.approx(3.0, rel=1e-3)


@given(st.floats(100, 1000), st.floats(100, 1000), st.floats(0.01, 10))
def test_sweep_is_linear_between_its_energies(first, last, velocity):
    if abs(first - last) < 0.1:
        last = first + 1.0
    sign = np.sign(last - first)
    axis = Axis("x", first - sign * run_up_distance(velocity))
    segments, entered, passed = plan_sweep(NOW, first, last, velocity, 0.0)
    axis.plan(segments)
    assert entered == pytest.approx(NOW + RUN_UP_SECONDS + SETTLE_SECONDS)
    time = np.linspace(entered, passed, 50)
    expected = first + sign * velocity * (time - entered)
    assert axis.positions(time) == pytest.approx(expected, abs=1e-5)
    assert axis.position(NOW) == pytest.approx(segments[0].position)
    assert axis.state(axis.rests_from())[1] == 0


def test_ripple_is_there_only_while_moving_and_never_jumps():
    axis = Axis("x", 0.0)
    segments, entered, passed = plan_sweep(NOW, 10.0, 20.0, 5.0, 0.01)
    axis.plan(segments)
    smooth = Axis("x", 0.0)
    smooth.plan(plan_sweep(NOW, 10.0, 20.0, 5.0, 0.0)[0])
    time = NOW + np.linspace(0, axis.rests_from() - NOW + 1, 20001)
    ripple = axis.positions(time) - smooth.positions(time)
    assert np.max(np.abs(ripple)) == pytest.approx(0.01, rel=0.5)
    assert np.max(np.abs(np.diff(ripple))) < 1e-4
    assert np.all(ripple[time > axis.rests_from()] == 0)
    assert np.std(ripple[(time > entered) & (time < passed)]) > 0.002


@given(velocities, accelerations, st.floats(0.01, 0.99), st.floats(0.05, 0.5))
def test_stop_brings_a_moving_axis_to_rest_in_time(velocity, acceleration, share, seconds):
    axis = Axis("x", 0.0)
    axis.plan(plan_move(axis, NOW, 100.0, velocity, acceleration, ripple=0.01))
    moment = NOW + share * (axis.rests_from() - NOW)
    before = axis.position(moment)
    axis.plan(plan_stop(axis, moment, seconds))
    assert axis.position(moment) == pytest.approx(before, abs=1e-5)
    assert axis.rests_from() <= moment + seconds + 1e-6
    assert not axis.moving(axis.rests_from() + 0.001)


def test_follower_lags_a_ramp_by_its_time_constant_and_settles():
    gap = Axis("gap", 0.0)
    rate, lag = 0.05, 0.1
    for tick in np.arange(NOW, NOW + 5.0, 0.1):
        target = rate * (tick - NOW)
        gap.plan(plan_follow(gap, tick + 0.01, [target], 1.0, 1.0, lag=lag))
    # The lag of the servo, half a period of sampling, and the 10 ms of the command.
    behind = rate * 4.85 - gap.position(NOW + 4.85)
    assert behind / rate == pytest.approx(lag + 0.05 + 0.01, abs=0.03)
    for tick in np.arange(NOW + 5.0, NOW + 7.0, 0.1):
        gap.plan(plan_follow(gap, tick + 0.01, [0.25], 1.0, 1.0, lag=lag))
    assert gap.position(NOW + 7.0) == pytest.approx(0.25, abs=1e-5)


def test_a_follower_whose_new_targets_are_late_goes_on_with_those_that_it_has():
    gaps = [Axis("gap", 0.0), Axis("gap", 0.0)]
    rate, times = 0.05, NOW + 0.1 * np.arange(40)
    for number, tick in enumerate(times):
        targets = list(rate * (tick + 0.1 * np.arange(3) - NOW))
        gaps[0].plan(plan_follow(gaps[0], tick + 0.01, targets, 1.0, 1.0))
        if number % 3 == 0:
            gaps[1].plan(plan_follow(gaps[1], tick + 0.01, targets, 1.0, 1.0))
    at = np.arange(NOW, NOW + 3.9, 0.01)
    assert gaps[1].positions(at) == pytest.approx(gaps[0].positions(at), abs=1e-4)


def test_follower_keeps_its_limits():
    gap = Axis("gap", 0.0)
    for tick in np.arange(NOW, NOW + 3.0, 0.1):
        gap.plan(plan_follow(gap, tick, [10.0], 1.0, 2.0))
    _, speeds = profile(gap, 2.9)
    assert np.max(np.abs(speeds)) <= 1.001
    # Over 50 steps, because times of 1.8e9 s are too coarse for one.
    assert np.max(np.abs(speeds[50:] - speeds[:-50])) <= 2.05 * 50 * 2.9 / 4000


def test_follower_reaches_a_far_target_without_overshoot():
    gap = Axis("gap", 0.0)
    for tick in np.arange(NOW, NOW + 6.0, 0.1):
        gap.plan(plan_follow(gap, tick, [2.0], 1.0, 1.0))
    at, _ = profile(gap, 6.0)
    assert np.max(at) < 2.002
    assert at[-1] == pytest.approx(2.0, abs=1e-4)


def test_old_segments_are_forgotten():
    axis = Axis("x", 0.0)
    for number in range(1000):
        axis.plan(plan_follow(axis, NOW + 0.1 * number, [float(number)], 1e3, 1e6))
    assert len(axis.segments) < 1000
