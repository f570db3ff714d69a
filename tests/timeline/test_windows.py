"""Means in windows against slow, obvious loops; and what a window must not depend on."""

from itertools import pairwise
from math import inf, isnan, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidepath.timeline import (
    HOLD_AFTER,
    Channel,
    ChannelKind,
    Quality,
    value_at,
    window_values,
)

EPOCH = 1.7e9
HUGE = 9.9e37
ENERGY = Channel("energy", ChannelKind.READBACK, "eV", latency=0.125)
SHUTTER = Channel("shutter", ChannelKind.STATE)
MESH = Channel("mesh", ChannelKind.DETECTOR, "A", latency=0.25, aperture=0.5)

gaps = st.sampled_from([0.01, 0.1, 0.25, 0.5, 0.7, 1.0, 1.5, 4.0])
plain = st.floats(-1000, 1000).map(lambda x: round(x, 3))
with_losses = st.one_of(plain, plain, plain, st.just(nan))
detector_values = st.one_of(plain, plain, plain, st.sampled_from([nan, HUGE, -HUGE]))


@st.composite
def series(draw, values=plain, least=0):
    """Timestamps (binary fractions: exact) and values."""
    steps = draw(st.lists(st.tuples(gaps, values), min_size=least, max_size=20))
    times = EPOCH + np.round(np.cumsum([gap for gap, _ in steps]) * 1024) / 1024
    return times, np.array([value for _, value in steps], float)


@st.composite
def windows(draw):
    begins = draw(st.lists(st.floats(-2, 14), min_size=1, max_size=8))
    lengths = draw(st.lists(st.floats(0.05, 3), min_size=len(begins), max_size=len(begins)))
    lower = EPOCH + np.round(np.array(begins) * 1024) / 1024
    return lower, lower + np.ceil(np.array(lengths) * 1024) / 1024


def value_by_loop(t, v, x, hold_after):
    before = [k for k in range(len(t)) if t[k] <= x]
    if not before:
        return nan, False
    k = before[-1]
    if k + 1 < len(t) and t[k + 1] - t[k] <= hold_after:
        return v[k] + (v[k + 1] - v[k]) * (x - t[k]) / (t[k + 1] - t[k]), False
    return v[k], True


def readback_by_loop(t, v, a, b, hold_after):
    """Mean and whether it was held: each linear piece counts with its middle."""
    edges = [a, *[x for x in t if a < x < b], b]
    total, held = 0.0, False
    for x0, x1 in pairwise(edges):
        value, silent = value_by_loop(t, v, 0.5 * (x0 + x1), hold_after)
        total += value * (x1 - x0)
        held |= silent
    return total / (b - a), held


def detector_by_loop(t, v, a, b, aperture):
    """Mean, count and quality."""
    weight, total, count, overflow, previous = 0.0, 0.0, 0, False, -inf
    for end, value in zip(t, v, strict=True):
        if isnan(value):
            continue
        overlap = min(end, b) - max(end - aperture, previous, a)
        previous = end
        if overlap > 1e-6:
            count += 1
            weight += overlap
            if abs(value) >= HUGE:
                overflow = True
            else:
                total += overlap * value
    if count:
        quality = Quality.OVERFLOW if overflow else Quality(0)
        if weight < 0.5 * (b - a):
            quality |= Quality.PARTIAL
        return (nan if overflow else total / weight), count, quality
    kept = [value for end, value in zip(t, v, strict=True) if end < b]
    if not kept or isnan(kept[-1]):
        return nan, 0, Quality.NO_DATA
    if abs(kept[-1]) >= HUGE:
        return nan, 0, Quality.HELD | Quality.OVERFLOW
    return kept[-1], 0, Quality.HELD


@given(series(with_losses), windows(), st.sampled_from([0.5, 1.0, 2.0]))
def test_readback_means_are_those_of_a_slow_loop(data, where, hold_after):
    (t, v), (lower, upper) = data, where
    found = window_values(ENERGY, t, v, lower, upper, hold_after)
    shifted = t - ENERGY.latency
    for m, (a, b) in enumerate(zip(lower, upper, strict=True)):
        mean, held = readback_by_loop(shifted, v, a, b, hold_after)
        assert found.mean[m] == pytest.approx(mean, abs=1e-8, nan_ok=True)
        assert found.count[m] == sum(
            a < x <= b and not isnan(y) for x, y in zip(shifted, v, strict=True)
        )
        if isnan(mean):
            assert found.quality[m] == Quality.NO_DATA
        else:
            assert found.quality[m] == (Quality.HELD if held else 0)


@given(series(with_losses), windows())
def test_state_means_are_those_of_a_slow_loop(data, where):
    (t, v), (lower, upper) = data, where
    found = window_values(SHUTTER, t, v, lower, upper)
    for m, (a, b) in enumerate(zip(lower, upper, strict=True)):
        mean, _ = readback_by_loop(t, v, a, b, hold_after=-1.0)
        assert found.mean[m] == pytest.approx(mean, abs=1e-8, nan_ok=True)
        assert found.quality[m] == (Quality.NO_DATA if isnan(mean) else 0)


@given(series(detector_values), windows())
def test_detector_means_are_those_of_a_slow_loop(data, where):
    (t, v), (lower, upper) = data, where
    found = window_values(MESH, t, v, lower, upper)
    ends = t - MESH.latency
    for m, (a, b) in enumerate(zip(lower, upper, strict=True)):
        mean, count, quality = detector_by_loop(ends, v, a, b, MESH.aperture)
        assert found.mean[m] == pytest.approx(mean, abs=1e-8, nan_ok=True)
        assert found.count[m] == count
        assert found.quality[m] == quality


@given(series(with_losses), st.lists(st.floats(-2, 14), min_size=1, max_size=8))
def test_values_at_instants_are_those_of_a_slow_loop(data, at):
    t, v = data
    x = EPOCH + np.array(at)
    expected = [value_by_loop(t - ENERGY.latency, v, a, HOLD_AFTER)[0] for a in x]
    assert value_at(ENERGY, t, v, x) == pytest.approx(expected, abs=1e-8, nan_ok=True)


def test_an_update_is_known_at_its_own_time_even_if_a_loss_follows():
    t, v = EPOCH + np.array([0.0, 0.5]), np.array([3.0, nan])
    at = value_at(Channel("x", ChannelKind.READBACK), t, v, EPOCH + np.array([0.0, 0.25]))
    assert at[0] == 3.0
    assert np.isnan(at[1])


@given(series(detector_values, least=1), windows(), st.sampled_from([ENERGY, SHUTTER, MESH]))
def test_a_piece_of_the_series_gives_the_same_bits(data, where, channel):
    (t, v), (lower, upper) = data, where
    whole = window_values(channel, t, v, lower, upper)
    for m in range(len(lower)):
        first = max(np.searchsorted(t - channel.latency, lower[m], "right") - 2, 0)
        stop = np.searchsorted(t - channel.latency - channel.aperture, upper[m]) + 2
        piece = window_values(channel, t[first:stop], v[first:stop], lower[m], upper[m])
        assert piece.mean.tobytes() == whole.mean[m : m + 1].tobytes()
        assert piece.count[0] == whole.count[m]
        assert piece.quality[0] == whole.quality[m]


@given(series(least=2), st.sampled_from([ENERGY, SHUTTER, MESH]), st.floats(-1e9, 1e9))
def test_a_constant_and_a_factor_pass_through(data, channel, constant):
    t, v = data
    lower = EPOCH + np.arange(0.0, 12.0, 0.75)
    upper = lower + 0.75
    plain_mean = window_values(channel, t, v, lower, upper).mean
    more = window_values(channel, t, v + constant, lower, upper).mean
    assert more == pytest.approx(plain_mean + constant, abs=4e-16 * 1e9 + 1e-9, nan_ok=True)
    scaled = window_values(channel, t, -2 * v, lower, upper).mean
    assert scaled == pytest.approx(-2 * plain_mean, abs=1e-9, nan_ok=True)


@given(
    series(with_losses, least=1),
    st.sampled_from([ENERGY, SHUTTER]),
    st.lists(st.floats(0.05, 3), min_size=1, max_size=8),
)
def test_integrals_over_adjoining_windows_add_up(data, channel, lengths):
    t, v = data
    edges = EPOCH + np.cumsum([0.5, *np.ceil(np.array(lengths) * 1024) / 1024])
    parts = window_values(channel, t, v, edges[:-1], edges[1:])
    union = window_values(channel, t, v, edges[0], edges[-1])
    together = np.sum(parts.mean * np.diff(edges))
    assert union.mean[0] * (edges[-1] - edges[0]) == pytest.approx(together, abs=1e-8, nan_ok=True)
    assert union.count[0] == np.sum(parts.count)


@given(series(least=1), st.lists(st.floats(0.05, 3), min_size=1, max_size=8))
def test_adjoining_windows_share_out_each_exposure(data, lengths):
    t, v = data
    begin, end = t[0] - MESH.latency - MESH.aperture, t[-1] - MESH.latency
    inner = begin + np.cumsum(np.ceil(np.array(lengths) * 1024) / 1024)
    edges = np.array([begin, *inner[inner < end], end])
    found = window_values(MESH, t, v, edges[:-1], edges[1:])
    ends = t - MESH.latency
    begins = np.maximum(ends - MESH.aperture, np.append(-np.inf, ends[:-1]))
    overlap = np.minimum(ends, edges[1:, None]) - np.maximum(begins, edges[:-1, None])
    covered = np.maximum(overlap, 0).sum(axis=1)
    total = np.where(covered > 0, found.mean, 0.0) @ covered
    assert total == pytest.approx(np.sum(v * (ends - begins)), abs=1e-7)


@pytest.mark.parametrize("channel", [ENERGY, SHUTTER, MESH])
@pytest.mark.parametrize("place", [0, 7, 19])
def test_one_huge_value_spoils_no_window_that_it_does_not_touch(channel, place):
    t = EPOCH + 0.5 * np.arange(20)
    v = np.sin(np.arange(20))
    spoiled = v.copy()
    spoiled[place] = HUGE
    lower = EPOCH + 0.3 * np.arange(-3, 33)
    upper = lower + 0.3
    good = window_values(channel, t, v, lower, upper)
    bad = window_values(channel, t, spoiled, lower, upper)
    reach = 0.5 if channel is ENERGY else 0.0
    begin = t[place] - channel.latency - channel.aperture - reach
    end = t[place] - channel.latency
    if channel is not MESH:
        end = np.inf if place == 19 else end + 0.5
    elif place == 19:
        end = np.inf  # held
    apart = (upper <= begin) | (lower >= end)
    assert apart.sum() > 5
    assert good.mean[apart].tobytes() == bad.mean[apart].tobytes()
    assert np.array_equal(good.quality[apart], bad.quality[apart])
    assert (bad.quality[~apart] & Quality.OVERFLOW).any() == (channel is MESH)


def test_a_silence_longer_than_the_hold_is_a_step_and_a_shorter_one_a_line():
    channel = Channel("energy", ChannelKind.READBACK)
    for gap, expected, quality in ((1.0, 400.5, 0), (1.001, 400.0, Quality.HELD)):
        t = EPOCH + np.array([0.0, gap, gap + 0.1])
        found = window_values(channel, t, [400.0, 401.0, 401.0], EPOCH, EPOCH + gap)
        assert found.mean[0] == pytest.approx(expected)
        assert found.quality[0] == quality


def test_a_window_after_the_last_update_is_held_and_one_before_the_first_is_unknown():
    for channel in (ENERGY, SHUTTER, MESH):
        lower = EPOCH + np.array([-5.0, 5.0])
        found = window_values(channel, [EPOCH], [7.0], lower, lower + 1)
        assert np.isnan(found.mean[0])
        assert found.quality[0] == Quality.NO_DATA
        assert found.mean[1] == 7.0
        assert found.quality[1] == (0 if channel is SHUTTER else Quality.HELD)
        assert found.count[1] == 0


def test_no_update_at_all_is_no_data():
    for channel in (ENERGY, SHUTTER, MESH):
        found = window_values(channel, [], [], [EPOCH], [EPOCH + 1])
        assert np.isnan(found.mean[0])
        assert found.quality[0] == Quality.NO_DATA
    assert np.isnan(value_at(ENERGY, [], [], [EPOCH])[0])


def test_no_windows_give_no_values():
    for channel in (ENERGY, SHUTTER, MESH):
        found = window_values(channel, [EPOCH], [1.0], [], [])
        assert found.mean.shape == found.count.shape == found.quality.shape == (0,)


def test_a_row_that_lies_on_its_exposure_counts_one_update_in_spite_of_rounding():
    channel = Channel("mesh", ChannelKind.DETECTOR, aperture=0.1)
    ends = EPOCH + 0.1 * np.arange(1, 50)
    lower = np.nextafter(ends[5:40] - 0.1, -np.inf)
    upper = np.nextafter(ends[5:40], np.inf)
    found = window_values(channel, ends, np.arange(49.0), lower, upper)
    assert np.all(found.count == 1)
    assert found.mean == pytest.approx(np.arange(5, 40), abs=1e-4)


def test_flags_go_into_columns_of_uint16():
    quality = np.zeros(3, np.uint16)
    quality[[True, False, True]] |= Quality.TRACKING
    quality[quality > 1000] |= Quality.LATE
    quality |= Quality.HELD
    assert quality.dtype == np.uint16
    assert quality.tolist() == [129, 1, 129]
    assert (quality & Quality.TRACKING).dtype == np.uint16
    assert Quality(int(quality[0])) == Quality.TRACKING | Quality.HELD


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"name": ""}, "needs a name"),
        ({"latency": nan}, "latency must be a finite number"),
        ({"kind": ChannelKind.DETECTOR, "aperture": -1.0}, "aperture must be a number"),
        ({"aperture": 0.1}, "has no aperture"),
    ],
)
def test_a_channel_that_makes_no_sense_is_refused_with_a_sentence(arguments, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        Channel(**{"name": "energy", "kind": ChannelKind.READBACK, **arguments})
    assert str(caught.value).endswith(".")


def test_a_channel_tells_what_a_value_covers():
    assert MESH.exposure(100.0) == (99.25, 99.75)


def test_values_of_unknown_exposure_count_once_each_in_the_window_they_fall_into():
    channel = Channel("diode", ChannelKind.DETECTOR, latency=0.5)
    origin = 1_700_000_000.0
    times = origin + np.array([0.75, 1.25, 1.5, 2.75, 4.75])
    values = np.array([1.0, 2.0, 4.0, 8.0, nan])
    lower = origin + np.array([0.0, 1.5, 2.5, 4.5])
    found = window_values(channel, times, values, lower, lower + 1.0)
    # Three fall into the first window; one into the second; none into the third: held; then
    # nothing is known.
    np.testing.assert_array_equal(found.mean, [7 / 3, 8.0, 8.0, nan])
    assert found.count.tolist() == [3, 1, 0, 0]
    assert found.quality.tolist() == [0, 0, Quality.HELD, Quality.NO_DATA]
