"""Only what was exposed in good rows counts: their time is in the bins, and nothing beside it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidepath.timeline import (
    EVERYTHING,
    Channel,
    ChannelKind,
    Quality,
    bits_per_bin,
    good_rows,
    joined_windows,
    rebin_energy,
    rebin_windows,
    uniform_grid,
    xas_grid,
)

EPOCH = 1.7e9
ENERGY = Channel("energy", ChannelKind.READBACK, "eV")
CLEAN = (
    Quality.NO_DATA,
    Quality.BEAM_LOST,
    Quality.TOP_UP,
    Quality.CLOCK,
    Quality.CHANGED,
    Quality.TRACKING,
    Quality.LOST_TRIGGER,
    Quality.LOST_UPDATES,
    Quality.OVERFLOW,
    Quality.AMBIGUOUS,
    Quality.EXTRAPOLATED,
)


def there_and_back(passes: int):
    """Flights from 400 to 404 eV in 4 s, each with a run-up and a faster way back."""
    corners = [(0.0, 399.0)]
    for k in range(passes):
        corners += [(7 * k + 1, 399.0), (7 * k + 6, 405.0), (7 * k + 7, 399.0)]
    times, energies = np.array(corners).T
    t = np.arange(0, times[-1] + 0.05, 0.1)
    return EPOCH + t, np.interp(t, times, energies)


def rows_of(passes: int, row: float):
    """Return begin and end of the rows: where each flight is between 400 and 404 eV."""
    begins = 1 + 1 / 1.2 + np.arange(np.floor(4 / 1.2 / row + 1e-9)) * row
    lower = EPOCH + np.concatenate([7 * k + begins for k in range(passes)])
    return lower, lower + row


@given(
    passes=st.integers(1, 4),
    row=st.sampled_from([0.05, 0.13, 0.5]),
    aperture=st.sampled_from([0.02, 0.1, 0.3]),
    latency=st.sampled_from([0.0, 0.04]),
    period=st.sampled_from([0.1, 0.3, 0.35]),
    step=st.sampled_from([0.07, 0.5, 5.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_time_in_the_bins_is_the_time_in_the_good_rows(
    passes, row, aperture, latency, period, step, seed
):
    if aperture > period:
        period = aperture
    random = np.random.default_rng(seed)
    t, energy = there_and_back(passes)
    channel = Channel("mesh", ChannelKind.DETECTOR, "A", latency=latency, aperture=aperture)
    stamps = np.arange(t[0], t[-1], period) + random.uniform(0, period)
    values = random.normal(5, 1, len(stamps))
    lower, upper = rows_of(passes, row)
    good = random.random(len(lower)) < 0.7
    bins = rebin_energy(
        t,
        energy,
        channel,
        stamps,
        values,
        uniform_grid(399, 405, step),
        windows=(lower[good], upper[good]),
    )
    begins, ends = stamps - latency - aperture, stamps - latency
    overlap = np.minimum(ends[:, None], upper[None, good]) - np.maximum(
        begins[:, None], lower[None, good]
    )
    overlap = np.where(overlap > 0, overlap, 0)
    assert bins.exposure_time.sum() == pytest.approx(overlap.sum(), abs=1e-4)
    if overlap.sum() > 0.01:
        filled = bins.exposure_time > 0
        mean = np.average(bins.mean[filled], weights=bins.exposure_time[filled])
        assert mean == pytest.approx((overlap.sum(1) @ values) / overlap.sum(), rel=1e-3)
    assert np.isnan(bins.mean[bins.exposure_time == 0]).all()


def test_rows_that_cover_each_bin_have_its_mean():
    """One row for each bin: the bin has the row's number, to the last digits of the clock."""
    t, energy = there_and_back(1)
    mesh = Channel("mesh", ChannelKind.DETECTOR, "A", aperture=0.1)
    stamps, values = t[1:], 1e-9 * (energy[1:] - 395) ** 2
    lower, upper = rows_of(1, 0.5 / 1.2)
    table = rebin_windows({ENERGY: (t, energy), mesh: (stamps, values)}, "energy", lower, upper)
    edges = np.append(table["energy_lower"], table["energy_upper"][-1])
    bins = rebin_energy(t, energy, mesh, stamps, values, edges, windows=(lower, upper))
    assert bins.mean == pytest.approx(table["mesh"], rel=1e-6)
    assert bins.exposure_time == pytest.approx(upper - lower, abs=1e-5)


def test_what_was_measured_on_the_way_back_or_without_beam_is_in_no_bin():
    t, energy = there_and_back(2)
    mesh = Channel("mesh", ChannelKind.DETECTOR, "A", aperture=0.1)
    lower, upper = rows_of(2, 0.1)
    middle = t[1:] - 0.05
    in_row = np.any((middle[:, None] > lower - 0.1) & (middle[:, None] < upper + 0.1), axis=1)
    values = np.where(in_row, 2e-9, 1e-12)
    quality = np.zeros(len(lower), np.uint16)
    dark = (lower > EPOCH + 3) & (lower < EPOCH + 4)
    quality[dark] = Quality.BEAM_LOST
    values[np.any((middle[:, None] >= lower[dark]) & (middle[:, None] <= upper[dark]), axis=1)] = 0
    good = good_rows(quality)
    edges = uniform_grid(400, 404, 0.25)
    bins = rebin_energy(t, energy, mesh, t[1:], values, edges, windows=(lower[good], upper[good]))
    filled = bins.exposure_time > 0
    assert filled.all()
    # At the rim of the dark second an exposure reaches into it.
    assert np.median(bins.mean) == pytest.approx(2e-9)
    without = rebin_energy(t, energy, mesh, t[1:], values, edges)
    assert np.nanmin(without.mean) < 1.2e-9


@pytest.mark.parametrize("bit", CLEAN)
def test_a_row_with_a_bit_that_spoils_it_is_not_good(bit):
    quality = np.array([0, int(bit), int(Quality.HELD), int(bit | Quality.HELD)], np.uint16)
    assert good_rows(quality).tolist() == [True, False, True, False]
    assert good_rows(quality, EVERYTHING).all()
    assert good_rows(quality, bit).tolist() == [True, True, False, False]


def test_a_bin_has_the_bits_of_the_rows_that_reach_into_it():
    bits = bits_per_bin(
        np.array([0, 1, 2, 4, 8, 16], np.uint16),
        [400.0, 400.5, 401.0, 401.9, 410.0, np.nan],
        [400.5, 401.0, 402.0, 404.1, 411.0, 401.0],
        [400, 401, 402, 403, 404],
    )
    assert bits.tolist() == [1, 2 | 4, 4, 4]
    standing = bits_per_bin([32], [401.0], [401.0], [400, 401, 402])
    assert standing.tolist() == [0, 32]


def test_windows_that_touch_are_one():
    lower, upper = joined_windows([3.0, 1.0, 2.0, 2.5, 7.0, np.nan], [4.0, 2.0, 3.0, 2.6, 7.0, 9.0])
    assert (lower.tolist(), upper.tolist()) == ([1.0], [4.0])
    lower, upper = joined_windows([1.0, 2.1], [2.0, 3.0])
    assert (lower.tolist(), upper.tolist()) == ([1.0, 2.1], [2.0, 3.0])
    assert [len(end) for end in joined_windows([], [])] == [0, 0]


def test_a_grid_for_spectra_is_the_same_whatever_the_unit():
    in_eV = xas_grid(7012, 7912, 7112)
    assert 1e3 * xas_grid(7.012, 7.912, 7.112, unit="keV") == pytest.approx(in_eV)
    fine = xas_grid(7.012, 7.912, 7.112, edge_step=0.0005, unit="keV")
    assert np.diff(fine)[40:60] == pytest.approx(0.0005)
    with pytest.raises(ValueError, match=r"no absorption edge at 7\.112 eV; .*unit='keV'"):
        xas_grid(7.012, 7.912, 7.112)
    with pytest.raises(ValueError, match="needs an axis in eV, keV, meV, not in um"):
        xas_grid(700, 800, 712, unit="um")
    with pytest.raises(ValueError, match="larger step"):
        uniform_grid(400, 500, 1e-9)
    with pytest.raises(ValueError, match="larger step"):
        xas_grid(400, 500, 410, edge_step=1e-9)
