"""Tables from raw streams: exposures spread over energies, errors of means, grids."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glidepath.timeline import (
    Channel,
    ChannelKind,
    rebin_energy,
    rebin_windows,
    uniform_grid,
    xas_grid,
)
from glidepath.timeline import rebin as module

EPOCH = 1.7e9
ENERGY = Channel("energy", ChannelKind.READBACK, "eV")
MESH = Channel("mesh", ChannelKind.DETECTOR, "A", latency=0.05, aperture=0.1)


def passes(rate: float = 10.0, noise: float = 0.0, seed: int = 0):
    """Two flights, up and down between 400 and 404 eV at 1 eV/s, with a rest between them."""
    t = np.arange(0.0, 12.0, 1 / rate)
    energy = 400 + np.interp(t, [0, 1, 5, 6, 7, 11, 12], [-0.5, -0.5, 4.5, 4.5, 4.5, -0.5, -0.5])
    return EPOCH + t, energy + noise * np.random.default_rng(seed).normal(size=len(t))


def brute_force(t, energy, channel, timestamps, values, edges, steps=2000):
    """Mean and time per bin from a fine division of every exposure."""
    m = len(edges) - 1
    weight = np.zeros((len(values), m))
    moment = np.zeros(m)
    for k, (stamp, value) in enumerate(zip(timestamps, values, strict=True)):
        if np.isnan(value) or abs(value) >= 9.9e37:
            continue
        begin, end = stamp - channel.latency - channel.aperture, stamp - channel.latency
        x = begin + (np.arange(steps) + 0.5) / steps * (end - begin)
        x = x[(x >= t[0]) & (x < t[-1])]
        at = np.interp(x, t, energy)
        part = (end - begin) / steps
        weight[k] = np.histogram(at, edges)[0] * part
        moment += np.histogram(at, edges, weights=at)[0] * part
    return weight, moment


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_exposures_are_spread_over_the_bins_that_they_saw(noise):
    t, energy = passes(noise=noise)
    stamps = EPOCH + np.arange(-0.3, 13.0, 0.11)
    values = np.sin(np.arange(len(stamps))) + 3
    values[[20, 30]] = np.nan, 9.9e37
    edges = np.array([400.0, 400.3, 400.4, 402.0, 403.0, 405.0])
    bins = rebin_energy(t, energy, MESH, stamps, values, edges)
    weight, moment = brute_force(t, energy, MESH, stamps, values, edges)
    total = weight.sum(axis=0)
    y = np.where(total > 0, np.where(np.abs(values) < 1e30, values, 0.0) @ weight / total, np.nan)
    assert bins.exposure_time == pytest.approx(total, abs=2e-3)
    assert bins.mean == pytest.approx(y, abs=5e-3)
    assert bins.energy == pytest.approx(moment / total, abs=2e-3)
    assert bins.count == pytest.approx(total**2 / (weight**2).sum(axis=0), rel=5e-3)
    assert bins.center == pytest.approx(0.5 * (edges[1:] + edges[:-1]))


@settings(max_examples=40)
@given(
    st.integers(0, 10**6),
    st.sampled_from([3.0, 10.0, 100.0]),
    st.sampled_from([0.0, 0.01, 0.5]),
    st.sampled_from([0.02, 0.1, 0.7]),
    st.sampled_from([0.05, 0.3, 20.0]),
)
def test_nothing_is_lost_and_nothing_added(seed, rate, noise, aperture, step):
    t, energy = passes(rate, noise, seed)
    channel = Channel("mesh", ChannelKind.DETECTOR, aperture=aperture)
    stamps = EPOCH + np.arange(1.0, 11.0, aperture * 1.05)
    values = np.random.default_rng(seed).normal(size=len(stamps))
    bins = rebin_energy(t, energy, channel, stamps, values, uniform_grid(395, 410, step))
    filled = bins.count > 0
    # Exposures that were open after the axis's last update are not known.
    open_ = np.clip(t[-1] - (stamps - aperture), 0, aperture)
    assert bins.exposure_time.sum() == pytest.approx(open_.sum(), abs=1e-4)
    total = bins.mean[filled] @ bins.exposure_time[filled]
    assert total == pytest.approx(values @ open_, abs=1e-3)
    assert np.all(np.isnan(bins.mean[~filled]))
    assert np.all(bins.energy[filled] >= bins.center[filled] - step / 2 - 1e-9)
    assert np.all(bins.energy[filled] <= bins.center[filled] + step / 2 + 1e-9)


def test_both_directions_and_several_passes_count_alike():
    t, energy = passes(rate=100)
    signal = np.interp(energy, [400, 402, 404], [0, 1, 0])
    channel = Channel("mesh", ChannelKind.DETECTOR, aperture=0.01)
    grid = uniform_grid(400, 404, 0.2)
    both = rebin_energy(t, energy, channel, t, signal, grid)
    up = rebin_energy(t[:600], energy[:600], channel, t[:600], signal[:600], grid)
    down = rebin_energy(t[600:], energy[600:], channel, t[600:], signal[600:], grid)
    # Exposures of 10 ms seen from their end: 6 meV late on the way up, early on the way down.
    assert up.mean == pytest.approx(down.mean, abs=0.01)
    weighted = up.mean * up.exposure_time + down.mean * down.exposure_time
    assert both.mean == pytest.approx(weighted / (up.exposure_time + down.exposure_time))
    assert both.exposure_time == pytest.approx(up.exposure_time + down.exposure_time, abs=1e-4)
    assert both.count == pytest.approx(up.count + down.count, rel=0.01)


def test_a_constant_and_a_factor_pass_through():
    t, energy = passes(noise=0.02)
    stamps, values = EPOCH + np.arange(1, 11, 0.1), np.random.default_rng(1).normal(size=100)
    grid = uniform_grid(400, 404, 0.25)
    one = rebin_energy(t, energy, MESH, stamps, values, grid)
    two = rebin_energy(t, energy, MESH, stamps, -3 * values + 100, grid)
    assert two.mean == pytest.approx(-3 * one.mean + 100)
    assert two.standard_error == pytest.approx(3 * one.standard_error)
    assert two.exposure_time.tolist() == one.exposure_time.tolist()


def test_one_reading_out_of_range_spoils_no_bin():
    t, energy = passes()
    stamps, values = EPOCH + np.arange(1, 11, 0.1), np.ones(100)
    values[40] = 9.9e37
    bins = rebin_energy(t, energy, MESH, stamps, values, uniform_grid(400, 404, 0.25))
    assert bins.mean == pytest.approx(1.0)


def test_the_standard_error_is_that_of_the_mean_for_whole_exposures():
    t = EPOCH + np.arange(5)
    energy = np.full(5, 400.5)
    channel = Channel("mesh", ChannelKind.DETECTOR, aperture=0.25)
    stamps = EPOCH + np.array([0.5, 1.0, 1.5, 2.0])
    values = np.array([1.0, 2.0, 4.0, 5.0])
    bins = rebin_energy(t, energy, channel, stamps, values, [400, 401, 402])
    assert bins.mean[0] == 3.0
    assert bins.count.tolist() == [4.0, 0.0]
    assert bins.standard_error[0] == pytest.approx(values.std(ddof=1) / 2)
    assert bins.exposure_time.tolist() == [1.0, 0.0]
    assert np.isnan(bins.mean[1])
    assert np.isnan(bins.energy[1])
    assert np.isnan(bins.standard_error[1])
    single = rebin_energy(t, energy, channel, stamps[:1], values[:1], [400, 401])
    assert single.count[0] == 1.0
    assert np.isnan(single.standard_error[0])


def test_the_standard_error_is_unbiased_for_uneven_weights():
    rng = np.random.default_rng(3)
    t = EPOCH + np.array([0.0, 1000.0])
    grid = uniform_grid(0, 1000, 0.7)
    channel = Channel("mesh", ChannelKind.DETECTOR, aperture=0.45)
    stamps = EPOCH + 0.45 * np.arange(1, 2220)
    bins = rebin_energy(
        t, [0.0, 1000.0], channel, stamps, rng.normal(size=len(stamps)), grid, hold_after=2000
    )
    inner = slice(2, -3)
    expected = np.mean(bins.standard_error[inner] ** 2 * bins.count[inner])
    assert expected == pytest.approx(1.0, abs=0.1)
    pulls = bins.mean[inner] * np.sqrt(bins.count[inner])
    assert pulls.std() == pytest.approx(1.0, abs=0.07)


def test_an_axis_that_stands_fills_the_bin_where_it_stands():
    t = EPOCH + np.array([0.0, 60.0])
    channel = Channel("mesh", ChannelKind.DETECTOR, aperture=0.5)
    stamps = EPOCH + np.arange(1.0, 10.0)
    for position, filled in ((401.0, [0, 1]), (402.0, [0, 0]), (400.0, [1, 0]), (399.9, [0, 0])):
        bins = rebin_energy(
            t, [position, position], channel, stamps, np.ones(9), [400.0, 401.0, 402.0]
        )
        assert (bins.exposure_time > 0).tolist() == [bool(x) for x in filled]
    silent = rebin_energy(t, [400.5, 401.5], channel, stamps, np.ones(9), [400, 401, 402])
    assert silent.exposure_time.tolist() == [4.5, 0.0]  # held, not a slow drift


def test_what_the_axis_did_while_it_was_lost_is_not_guessed():
    t = EPOCH + np.arange(5.0)
    energy = [400.0, 401.0, np.nan, 403.0, 404.0]
    channel = Channel("mesh", ChannelKind.DETECTOR, aperture=0.5)
    stamps = EPOCH + np.arange(0.5, 6.0, 0.5)
    bins = rebin_energy(t, energy, channel, stamps, np.ones(11), uniform_grid(400, 404, 1))
    assert bins.exposure_time == pytest.approx([1, 0, 0, 1])


def test_blocks_make_no_difference(monkeypatch):
    t, energy = passes(noise=0.02)
    stamps, values = EPOCH + np.arange(1, 11, 0.1), np.random.default_rng(1).normal(size=100)
    grid = uniform_grid(400, 404, 0.25)
    whole = rebin_energy(t, energy, MESH, stamps, values, grid)
    monkeypatch.setattr(module, "BLOCK", 7)
    parts = rebin_energy(t, energy, MESH, stamps, values, grid)
    for name in ("energy", "mean", "count", "standard_error", "exposure_time"):
        assert getattr(parts, name) == pytest.approx(getattr(whole, name), rel=1e-12), name


def test_the_latency_of_the_axis_moves_the_spectrum():
    t, energy = passes(rate=100)
    up = slice(0, 550)
    stamps = EPOCH + np.arange(1, 5, 0.1)
    grid = uniform_grid(400, 404, 0.25)
    one = rebin_energy(t[up], energy[up], MESH, stamps, stamps - EPOCH, grid)
    two = rebin_energy(
        t[up] + 0.5, energy[up], MESH, stamps, stamps - EPOCH, grid, axis_latency=0.5
    )
    assert two.mean == pytest.approx(one.mean, abs=1e-4)


def test_no_axis_or_no_exposure_gives_empty_bins():
    for t, stamps in (([], [EPOCH]), ([EPOCH], [EPOCH + 1]), ([EPOCH, EPOCH + 1], [])):
        bins = rebin_energy(
            t, np.full(len(t), 400.5), MESH, stamps, np.ones(len(stamps)), [400, 401]
        )
        assert bins.exposure_time.tolist() == [0.0]
        assert np.isnan(bins.mean[0])


def test_rows_are_made_from_the_windows_alone():
    t, energy = passes()
    stamps, values = EPOCH + np.arange(0, 12, 0.1), np.arange(120.0)
    lower = EPOCH + np.arange(2.0, 4.0, 0.5)
    table = rebin_windows(
        {ENERGY: (t, energy), MESH: (stamps, values)}, "energy", lower, lower + 0.5
    )
    assert list(table) == [
        "energy",
        "energy_lower",
        "energy_upper",
        "sample_time",
        "sample_duration",
        "mesh",
        "mesh_count",
        "quality",
    ]
    expected = 400.75 + 1.25 * (lower - EPOCH - 2)
    assert table["energy_lower"] == pytest.approx(expected, abs=1e-5)
    assert table["energy_upper"] == pytest.approx(expected + 0.625, abs=1e-5)
    assert table["energy"] == pytest.approx(expected + 0.3125, abs=1e-5)
    assert table["mesh_count"].tolist() == [6, 6, 6, 6]
    assert table["quality"].dtype == np.uint16
    assert not table["quality"].any()
    coarse = rebin_windows({ENERGY: (t, energy)}, "energy", lower[0], lower[-1] + 0.5)
    assert coarse["energy"][0] == pytest.approx(table["energy"].mean())


@pytest.mark.parametrize(
    ("streams", "axis", "lower", "upper", "sentence"),
    [
        ({ENERGY: ([1, 2], [1, 2])}, "mesh", [1], [2], "the readbacks are: energy"),
        ({MESH: ([1, 2], [1, 2])}, "mesh", [1], [2], "the readbacks are: none"),
        ({ENERGY: ([2, 1], [1, 2])}, "energy", [1], [2], "'energy' must rise"),
        ({ENERGY: ([1, 1], [1, 2])}, "energy", [1], [2], "'energy' must rise"),
        ({ENERGY: ([1, 2], [1])}, "energy", [1], [2], "one value per timestamp"),
        ({ENERGY: ([1, 2], [1, 2])}, "energy", [2], [2], "Every window"),
        ({ENERGY: ([1, 2], [1, 2])}, "energy", [1, 2], [3], "Every window"),
    ],
)
def test_streams_that_make_no_rows_are_refused_with_a_sentence(
    streams, axis, lower, upper, sentence
):
    with pytest.raises(ValueError, match=sentence):
        rebin_windows(streams, axis, lower, upper)


@pytest.mark.parametrize(
    ("channel", "edges", "sentence"),
    [
        (ENERGY, [1, 2], "is a readback and has no exposures"),
        (MESH, [1], "at least two rising numbers"),
        (MESH, [2, 1], "at least two rising numbers"),
        (MESH, [1, np.nan], "at least two rising numbers"),
    ],
)
def test_bins_that_cannot_be_made_are_refused_with_a_sentence(channel, edges, sentence):
    with pytest.raises(ValueError, match=sentence):
        rebin_energy([1, 2], [1, 2], channel, [1, 2], [1, 2], edges)


@given(st.floats(50, 5000), st.floats(0.01, 500), st.floats(0.01, 50), st.booleans())
def test_a_uniform_grid_covers_the_range_with_whole_bins(start, length, step, swapped):
    ends = (start, start + length)
    edges = uniform_grid(*(ends[::-1] if swapped else ends), step)
    assert edges[0] == start
    assert edges[-1] >= start + length - 1e-8
    assert edges[-2] < start + length
    assert np.diff(edges) == pytest.approx(step, abs=1e-9)


def test_a_uniform_grid_has_no_bin_too_many_from_rounding():
    assert len(uniform_grid(370, 470, 0.1)) == 1001
    assert len(uniform_grid(400, 400.3, 0.1)) == 4


def test_an_absorption_grid_is_coarse_then_fine_then_even_in_k():
    edges = xas_grid(6900, 7900, 7112)
    widths = np.diff(edges)
    assert (edges[0], edges[-1]) == (6900, 7900)
    assert np.all(widths > 0)
    before = edges < 7112 - 30
    assert widths[before[:-1]][:-1] == pytest.approx(5.0)
    fine = (edges[:-1] >= 7112 - 30) & (edges[:-1] < 7112 + 50)
    assert widths[fine][:-1] == pytest.approx(0.25)
    k = np.sqrt(0.262468424 * (edges[edges >= 7112 + 50 - 1e-9] - 7112))
    assert np.diff(k)[:-1] == pytest.approx(0.05)
    assert 0.025 - 1e-9 <= np.diff(k)[-1] <= 0.075 + 1e-9


@given(
    st.floats(100, 400), st.floats(1, 300), st.floats(1, 2000), st.floats(0.02, 9), st.booleans()
)
def test_absorption_grids_rise_and_span_the_range_wherever_the_edge_is(
    start, before, after, step, swapped
):
    ends = (start, start + before + after)
    edge = start + before
    edges = xas_grid(*(ends[::-1] if swapped else ends), edge, edge_step=step / 10)
    assert (edges[0], edges[-1]) == ends
    assert np.all(np.diff(edges) > 0)
    assert np.max(np.diff(edges)[edges[:-1] < edge]) <= 7.5 + 1e-9


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: uniform_grid(400, 400, 0.1), "is empty; give two different ends"),
        (lambda: uniform_grid(400, np.nan, 0.1), "stop must be a finite number"),
        (lambda: uniform_grid(400, 410, 0), "step must be a number above zero"),
        (lambda: uniform_grid(400, 410, -1), "step must be a number above zero"),
        (lambda: xas_grid(400, 410, 420), "not inside 400 to 410 eV"),
        (lambda: xas_grid(400, 410, np.inf), "edge must be a finite number"),
        (lambda: xas_grid(400, 410, 405, k_step=0), "k_step must be a number above zero"),
        (lambda: xas_grid(400, 410, 405, edge_begin=1), "does not hold the edge"),
    ],
)
def test_grids_that_make_no_sense_are_refused_with_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        make()
    assert str(caught.value).count(".") >= 1
    assert str(caught.value).endswith(".")


def test_a_detector_of_unknown_exposure_has_equal_weights_and_no_time():
    t = np.arange(0.0, 10.0, 0.125)
    channel = Channel("mesh", ChannelKind.DETECTOR)
    stamps = np.array([0.25, 0.5, 0.875, 1.5])
    bins = rebin_energy(t, t, channel, stamps, [1.0, 2.0, 6.0, 5.0], [0.0, 1.0, 2.0, 3.0])
    assert np.isnan(bins.exposure_time).all()
    np.testing.assert_allclose(bins.mean, [3.0, 5.0, np.nan], rtol=1e-9)
    np.testing.assert_allclose(bins.count, [3.0, 1.0, 0.0], rtol=1e-9)
