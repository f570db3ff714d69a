"""Steps of a server's clock are told from updates that are late, however late they are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidepath.timeline import ClockStep, ClockWatch


def posted(times, offset=0.0, late=0.01):
    times = np.asarray(times, float)
    return times + offset, times + late


def watch_after(offset=0.0):
    watch = ClockWatch()
    # The first value is an old one.
    assert watch.look(np.array([3.0]), np.array([100.0])) is None
    assert watch.look(*posted([100.1, 100.2, 100.3], offset)) is None
    return watch


@pytest.mark.parametrize("offset", [0.0, 0.4, -0.4])
def test_a_clock_that_is_set_forward_is_noticed_at_the_first_update(offset):
    watch = watch_after(offset)
    # Of a clock that is behind, a step is seen as far as it leads beyond the present.
    hidden = max(-offset, 0.0)
    found = watch.look(*posted([100.4, 100.5], offset + 1.0))
    assert found == ClockStep(pytest.approx(100.3 + offset), pytest.approx(1.0 - hidden, abs=0.03))


def test_a_clock_that_is_set_back_is_noticed_at_the_first_update():
    found = watch_after().look(*posted([100.4, 100.5], -0.5))
    assert found == ClockStep(pytest.approx(100.3), pytest.approx(-0.4))


def test_it_is_noticed_within_a_batch():
    early = posted([100.4, 100.5])
    late = posted([100.6, 100.7], 2.0)
    found = watch_after().look(*(np.concatenate(pair) for pair in zip(early, late, strict=True)))
    assert found is not None
    assert found.since == pytest.approx(100.5)


def test_a_step_is_told_once():
    watch = watch_after()
    assert watch.look(*posted([100.4], 1.0)) is not None
    assert watch.look(*posted([100.5, 100.6], 1.0)) is None


def test_what_a_server_sends_first_after_a_loss_is_of_any_age():
    watch = watch_after()
    watch.disconnect()
    assert watch.look(*posted([50.0], late=52.0)) is None
    assert watch.look(*posted([102.2, 102.3])) is None


def test_nothing_is_nothing():
    assert ClockWatch().look(np.empty(0), np.empty(0)) is None


@given(
    st.lists(st.floats(0.001, 1.0), min_size=1, max_size=50),
    st.lists(st.floats(0.0, 3.0), min_size=50, max_size=50),
    st.integers(1, 50),
)
def test_late_updates_are_no_step(distances, delays, batch):
    times = 100.3 + np.cumsum(distances)
    # The way keeps the order.
    arrivals = np.maximum.accumulate(times + delays[: len(times)])
    watch = watch_after()
    for begin in range(0, len(times), batch):
        part = slice(begin, begin + batch)
        assert watch.look(times[part], arrivals[part]) is None
