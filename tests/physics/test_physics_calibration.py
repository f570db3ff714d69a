"""Offset and slope of an undulator's table, and where a harmonic is."""

import numpy as np
import pytest

from glidepath.physics import UE48, Calibration, fit_harmonic


def test_two_points_give_offset_slope_and_errors():
    found = Calibration.two_point((400.0, 400.5), (500.0, 500.7), error=0.01)
    assert (found.offset, found.slope) == pytest.approx((-0.3, 1.002))
    assert found.slope_error == pytest.approx(0.01 * np.sqrt(2) / 100)
    assert found.offset_error == pytest.approx(0.01 * np.hypot(400, 500) / 100)


def test_two_points_at_one_energy_are_refused():
    with pytest.raises(ValueError, match="Both points of the calibration are at 400 eV"):
        Calibration.two_point((400.0, 400.1), (400.0, 400.2))


def test_a_fit_finds_offset_and_slope_with_honest_errors():
    generator = np.random.default_rng(3)
    table = np.linspace(200.0, 500.0, 9)
    sigma = 0.02
    pulls = []
    for _ in range(60):
        measured = 0.12 + 1.0004 * table + generator.normal(0, sigma, len(table))
        found = Calibration.fitted(table, measured, np.full(len(table), sigma))
        pulls.append(
            [
                (found.offset - 0.12) / found.offset_error,
                (found.slope - 1.0004) / found.slope_error,
            ]
        )
    assert np.std(pulls, axis=0) == pytest.approx([1.0, 1.0], abs=0.3)
    assert np.mean(pulls, axis=0) == pytest.approx([0.0, 0.0], abs=0.4)


def test_a_fit_without_errors_takes_them_from_the_scatter():
    table = np.array([200.0, 300.0, 400.0, 500.0])
    found = Calibration.fitted(table, table + np.array([0.11, 0.13, 0.11, 0.13]))
    assert found.offset == pytest.approx(0.12, abs=0.05)
    assert 0 < found.slope_error < 1e-3


@pytest.mark.parametrize("table", [[400.0, 500.0], [400.0, 400.0, 400.0]])
def test_a_fit_needs_three_energies(table):
    with pytest.raises(ValueError, match="at least three energies"):
        Calibration.fitted(table, table)


@pytest.mark.parametrize(("offset", "slope"), [(np.nan, 1.0), (0.0, 0.0), (0.0, np.inf)])
def test_what_is_no_calibration_is_refused(offset, slope):
    with pytest.raises(ValueError, match="a slope above zero"):
        Calibration(offset, slope)


def test_a_harmonic_is_found_within_its_error():
    generator = np.random.default_rng(5)
    energy = np.linspace(395.0, 406.0, 60)
    intensity = 2e-9 * UE48.spectrum(energy, UE48.gap(400.37)) + 3e-11
    found = fit_harmonic(
        energy, intensity + generator.normal(0, 4e-12, len(energy)), UE48.relative_width()
    )
    assert abs(found.energy - 400.37) < 4 * found.error < 0.1


@pytest.mark.parametrize("energies", [[400.0, 401.0], np.linspace(400.5, 410.0, 50)])
def test_where_there_is_no_peak_no_harmonic_is_found(energies):
    intensity = UE48.spectrum(energies, UE48.gap(400.0))
    with pytest.raises(ValueError, match="No harmonic was found: scan the monochromator over"):
        fit_harmonic(energies, intensity, UE48.relative_width())
