"""The energies of triggered rows are those that were latched, or said to be unknown."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidepath.timeline import Channel, ChannelKind, Quality, latched_windows, rebin_windows

EPOCH = 1.7e9
READBACK = Channel("energy", ChannelKind.READBACK, "eV", latency=0.01)


def path(t, direction=1):
    """An axis with a ripple."""
    return 400 + direction * ((t - EPOCH) + 0.002 * np.sin(40 * (t - EPOCH)))


def times(number=50, seed=0):
    rng = np.random.default_rng(seed)
    return EPOCH + np.cumsum(rng.uniform(0.8, 1.2, number)) * 0.01


@given(st.integers(0, 1000), st.sampled_from([1, -1]), st.floats(0.1, 0.79))
def test_rows_are_those_of_the_latches_and_the_same_as_of_a_stream(seed, direction, share):
    t = times(seed=seed)
    begins, ends = t[:-1], t[:-1] + share * 0.01
    x = path(t, direction)
    rows = latched_windows("energy", begins, ends, t, x)
    stream = Channel("energy", ChannelKind.READBACK)
    again = rebin_windows({stream: (t, x)}, "energy", begins, ends)
    assert rows.keys() == again.keys()
    for name, column in again.items():
        assert rows[name] == pytest.approx(column, abs=1e-9), name
    assert np.array_equal(rows["energy_lower" if direction > 0 else "energy_upper"], x[:-1])
    assert not rows["quality"].any()
    truth = path(0.5 * (begins + ends), direction)
    assert rows["energy"] == pytest.approx(truth, abs=1e-4)


@pytest.mark.parametrize("direction", [1, -1])
def test_behind_the_last_latch_the_axis_is_not_known(direction):
    t = times(5)
    rows = latched_windows("energy", t, t + 0.006, t, path(t, direction))
    assert rows["quality"].tolist() == [0, 0, 0, 0, Quality.EXTRAPOLATED]
    assert np.isnan(rows["energy"][-1])
    known, unknown = ("lower", "upper") if direction > 0 else ("upper", "lower")
    assert rows[f"energy_{known}"][-1] == path(t[-1], direction)
    assert np.isnan(rows[f"energy_{unknown}"][-1])
    assert rows["sample_duration"] == pytest.approx(0.006, abs=1e-6)


def test_a_readback_carries_on_from_the_last_latch_without_its_constant_error():
    t = times(5)
    updates = EPOCH + np.arange(0, 0.2, 0.002)
    readback = (READBACK, updates, path(updates - READBACK.latency) + 0.3)
    rows = latched_windows("energy", t, t + 0.006, t, path(t), readback)
    assert not rows["quality"].any()
    assert rows["energy_upper"] == pytest.approx(path(t + 0.006), abs=1e-4)
    assert rows["energy"] == pytest.approx(path(t + 0.003), abs=1e-4)


def test_a_readback_that_ended_before_the_exposure_is_no_help():
    t = times(5)
    updates = EPOCH + np.arange(0, 0.05, 0.002)
    readback = (READBACK, updates, path(updates))
    rows = latched_windows("energy", t, t + 0.006, t, path(t), readback)
    assert rows["quality"][-1] == Quality.EXTRAPOLATED


def test_without_latches_the_readback_is_what_is_known():
    t = times(20)[3:]
    updates = EPOCH + np.arange(0, 0.3, 0.002)
    readback = (READBACK, updates, path(updates - READBACK.latency))
    rows = latched_windows("energy", t, t + 0.006, t, np.full(len(t), np.nan), readback)
    assert not rows["quality"].any()
    assert rows["energy_lower"] == pytest.approx(path(t), abs=1e-4)
    assert rows["energy_upper"] == pytest.approx(path(t + 0.006), abs=1e-4)


def test_between_latches_that_are_far_apart_the_axis_is_not_known():
    t = EPOCH + np.array([0.0, 0.01, 2.0, 2.01])
    rows = latched_windows("energy", t[:3], t[:3] + 0.005, t, path(t))
    assert rows["quality"].tolist() == [0, Quality.EXTRAPOLATED, 0]


def test_rows_whose_times_are_not_known_have_no_energy():
    t = times(5)
    ends = t[:-1] + 0.006
    ends[2] = np.nan
    rows = latched_windows("energy", t[:-1], ends, t, path(t))
    assert rows["quality"].tolist() == [0, 0, Quality.NO_DATA, 0]
    assert np.isnan(rows["energy"][2])
    assert np.isnan(rows["sample_duration"][2])


def test_no_rows_and_no_latches_give_empty_columns():
    rows = latched_windows("energy", [], [], [], [])
    assert all(len(column) == 0 for column in rows.values())
