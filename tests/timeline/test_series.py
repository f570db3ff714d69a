"""A channel's updates in memory: rising, none twice, no more than is needed."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from glidepath.timeline import Series


@given(st.lists(st.lists(st.integers(0, 30), max_size=6), max_size=8))
def test_updates_are_kept_if_they_are_newer_than_all_before_in_any_batches(batches):
    series = Series(capacity=1)
    kept, repeated, older, newest = [], 0, 0, -1
    for batch in batches:
        for t in batch:
            if t > newest:
                kept.append(float(t))
            repeated += t == newest
            older += t < newest
            newest = max(newest, t)
        t = np.array(batch, float)
        series.append(t, 10 * t)
    assert series.timestamps.tolist() == kept
    assert series.values.tolist() == [10 * t for t in kept]
    assert (series.repeated, series.out_of_order) == (repeated, older)
    assert series.last_timestamp == (kept[-1] if kept else -np.inf)
    assert len(series) == len(kept)
    assert np.isnan(series.last_value) if not kept else series.last_value == 10 * kept[-1]


def test_append_returns_what_was_kept():
    series = Series()
    t, v = series.append(np.array([1.0, 3.0, 2.0, 3.0, 4.0]), np.arange(5.0))
    assert t.tolist() == [1.0, 3.0, 4.0]
    assert v.tolist() == [0.0, 1.0, 4.0]


def test_what_is_forgotten_is_older_and_two_updates_before_are_left():
    series = Series()
    series.append(np.arange(10.0), np.arange(10.0))
    series.forget_before(6.5)
    assert series.timestamps.tolist() == [5.0, 6.0, 7.0, 8.0, 9.0]
    series.forget_before(-1.0)
    assert len(series) == 5
    series.forget_before(1e9)
    assert series.timestamps.tolist() == [8.0, 9.0]
    series.append(np.array([8.5, 10.0]), np.array([0.0, 0.0]))
    assert series.timestamps.tolist() == [8.0, 9.0, 10.0]


def test_memory_stays_flat_in_a_long_run():
    series = Series()
    for k in range(2000):
        t = k + np.arange(100) / 100
        series.append(t, t)
        series.forget_before(k - 2.0)
    assert len(series._times) <= 1024
    assert series.timestamps.tolist() == series.values.tolist()
    assert series.last_timestamp == 1999.99
