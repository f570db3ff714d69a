"""The nitrogen spectrum and its fit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glidepath.physics import N2_RELATIVE_HEIGHTS, N2_LINES_eV, absorption, fit_series


def test_maxima_lie_near_the_lines():
    energy = np.arange(400.0, 402.3, 0.002)
    spectrum = absorption(energy, 0.02)
    inside = (spectrum[1:-1] > spectrum[:-2]) & (spectrum[1:-1] > spectrum[2:])
    assert energy[1:-1][inside][:4] == pytest.approx(N2_LINES_eV[:4], abs=0.02)


def test_lower_resolution_lowers_the_first_line():
    heights = [float(absorption(400.88, fwhm)) for fwhm in (0.02, 0.05, 0.1, 0.2)]
    assert heights == sorted(heights, reverse=True)


def test_edge_and_resonance_absorb_and_below_there_is_nearly_nothing():
    below, resonance = absorption(np.array([395.0, 419.0]))
    assert below < 0.01 < resonance


@settings(max_examples=12, deadline=None)
@given(st.floats(-1.5, 1.5), st.floats(0.03, 0.12), st.integers(0, 2**32 - 1))
def test_fit_recovers_energy_and_resolution(shift, fwhm, seed):
    energy = np.arange(398.5, 405.5, 0.02)
    noise = np.random.default_rng(seed).normal(0, 0.005, len(energy))
    signal = 3e-9 * (absorption(energy - shift, fwhm) + noise + 0.1)
    fit = fit_series(energy, signal)
    assert fit.first_line == pytest.approx(N2_LINES_eV[0] + shift, abs=0.005)
    assert fit.gaussian_fwhm == pytest.approx(fwhm, abs=0.012)
    assert fit.heights[1] / fit.heights[0] == pytest.approx(N2_RELATIVE_HEIGHTS[1], abs=0.1)
    assert np.std(fit.model(energy[100:150]) - signal[100:150]) < 0.02 * 3e-9


def test_fit_takes_points_in_any_order_and_leaves_out_what_is_not_known():
    energy = np.arange(399.0, 404.0, 0.02)[::-1].copy()
    signal = absorption(energy)
    signal[10] = np.nan
    fit = fit_series(energy, signal, first_line=400.9)
    assert fit.first_line == pytest.approx(N2_LINES_eV[0], abs=1e-3)
    assert fit.first_line_error < 1e-3
    assert fit.resolving_power == pytest.approx(400.88 / 0.05, rel=0.05)


def test_spectrum_without_the_series_is_refused():
    with pytest.raises(ValueError, match="No N2 series"):
        fit_series(np.linspace(400, 401, 10), np.ones(10))
    with pytest.raises(ValueError, match=r"over 1\.50 eV"):
        fit_series(np.linspace(400, 401.5, 100), np.ones(100))
    with pytest.raises(ValueError, match="at least 20 points"):
        fit_series(np.linspace(300, 320, 500), np.ones(500), first_line=400.9)
