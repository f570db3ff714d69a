"""An N2 spectrum is judged by what is in it, or it is said that nothing can be told."""

import numpy as np
import pytest

from glidepath.physics import N2Check, N2Limits, N2Outcome, absorption, check_series

ENERGY = np.arange(399.8, 403.0, 0.02)


def spectrum(shift=0.0, resolution=0.05, noise=0.005, seed=1):
    random = np.random.default_rng(seed)
    return 0.1 + absorption(ENERGY - shift, resolution) + random.normal(0, noise, len(ENERGY))


def outcomes(check):
    return {one.name: one.outcome for one in check.judgements}


def test_a_beamline_as_it_should_be_passes():
    check = check_series(ENERGY, spectrum())
    assert check.outcome is N2Outcome.PASSED
    assert check.sentence().startswith("N2 check passed: first line 400.8")
    assert check.numbers()["shift"][0] == pytest.approx(0.0, abs=2e-3)
    assert check.numbers()["resolving_power"][0] == pytest.approx(400.88 / 0.05, rel=0.1)


@pytest.mark.parametrize("shift", [-0.3, -0.08, 0.08, 0.3])
def test_a_shift_beyond_the_limit_fails_and_is_measured(shift):
    check = check_series(ENERGY, spectrum(shift))
    assert check.outcome is N2Outcome.FAILED
    assert outcomes(check)["shift"] is N2Outcome.FAILED
    assert outcomes(check)["resolving_power"] is N2Outcome.PASSED
    assert check.numbers()["shift"][0] == pytest.approx(shift, abs=2e-3)
    assert "(NOT within 50 meV)" in check.sentence()


def test_a_blunt_resolution_fails_in_each_of_its_measures():
    limits = N2Limits(resolving_power=5000, gaussian_fwhm=0.08, valley_to_peak=0.75)
    good, blunt = (check_series(ENERGY, spectrum(resolution=r), limits) for r in (0.05, 0.12))
    assert set(outcomes(good).values()) == {N2Outcome.PASSED}
    assert outcomes(blunt) == {
        "shift": N2Outcome.PASSED,
        "resolving_power": N2Outcome.FAILED,
        "gaussian_fwhm": N2Outcome.FAILED,
        "valley_to_peak": N2Outcome.FAILED,
    }


def test_a_limit_within_the_error_decides_nothing():
    measured = check_series(ENERGY, spectrum(noise=0.05)).numbers()["resolving_power"][0]
    check = check_series(ENERGY, spectrum(noise=0.05), N2Limits(resolving_power=measured))
    assert check.outcome is N2Outcome.UNDECIDED
    assert "too near to tell" in check.sentence()


def test_too_much_gas_in_the_cell_is_nitrogen_all_the_same():
    saturated = -np.expm1(-1.5 * absorption(ENERGY, 0.05))
    assert check_series(ENERGY, saturated + 0.002 * spectrum()).fit is not None


def test_what_has_no_limit_is_measured_and_not_judged():
    check = check_series(ENERGY, spectrum(0.5), N2Limits(shift=None, resolving_power=3000))
    assert check.outcome is N2Outcome.PASSED
    assert outcomes(check)["shift"] is None
    assert "shift_limit" not in check.numbers()


@pytest.mark.parametrize(
    "signal",
    [
        np.random.default_rng(3).normal(1.0, 0.1, len(ENERGY)),
        1.0 + 0.2 * (ENERGY - 400),
        np.ones(len(ENERGY)),
        np.full(len(ENERGY), np.nan),
        np.where(ENERGY < 401, 1.0, 2.0),
        np.arctan((ENERGY - 401) / 0.1),
        np.exp(-0.5 * ((ENERGY - 401) / 0.05) ** 2),
    ],
    ids=["noise", "slope", "constant", "unknown", "step", "edge", "one line"],
)
def test_where_there_is_no_series_nothing_is_invented(signal):
    check = check_series(ENERGY, signal)
    assert check.outcome is N2Outcome.UNDECIDED
    assert check.fit is None
    assert check.numbers() == {}
    assert check.sentence().startswith("N2 check not decided: ")


def test_noise_alone_never_fails_a_beamline_that_is_within_its_limits():
    for seed in range(6):
        fit = check_series(ENERGY, spectrum(noise=0.04, seed=seed)).fit
        near = N2Limits(shift=3 * fit.first_line_error, resolving_power=None)
        assert N2Check(near, fit).outcome is not N2Outcome.FAILED


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"shift": -0.1}, "limit -0.1 for shift"),
        ({"resolving_power": float("nan")}, "limit nan"),
        ({"shift": None, "resolving_power": None}, "needs a limit"),
    ],
)
def test_limits_that_limit_nothing_are_refused(given, text):
    with pytest.raises(ValueError, match=text):
        N2Limits(**given)
