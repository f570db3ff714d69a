"""When counters change: against root finding, and against what a millisecond cannot see."""

import numpy as np
import pytest
from scipy.optimize import brentq

from glidepath.physics import grating_angles
from glidepath.simulation.encoders import first_passages
from glidepath.simulation.motion import Axis, plan_sweep

START = 1_700_000_000.0
COUNTS_PER_DEGREE = 360_000


def sweep(first, last, velocity):
    axis = Axis("energy", first)
    segments, entered, passed = plan_sweep(START, first, last, velocity, ripple=0.002)
    axis.plan(segments)
    sign = 1 if last < first else -1  # beta falls when the energy rises

    def reading(time):
        _, beta = grating_angles(axis.positions(time), 600.0, 2.25)
        return sign * np.degrees(beta) * COUNTS_PER_DEGREE

    return reading, entered, passed


@pytest.mark.parametrize(("first", "last"), [(400.0, 401.0), (401.0, 400.0)])
@pytest.mark.parametrize("velocity", [0.2, 5.0])
def test_passages_are_right_to_a_microsecond(first, last, velocity):
    reading, entered, passed = sweep(first, last, velocity)
    threshold = np.floor(reading(np.array([entered]))[0]) + 10.5
    times = first_passages(reading, entered, passed, threshold, 87.0, 15)
    exact = [
        # From the beginning on, so that the root is found with more digits than POSIX time has.
        entered
        + brentq(
            lambda elapsed, t=threshold + 87.0 * k: (
                float(reading(np.array([entered + elapsed]))[0]) - t
            ),
            0.0,
            passed - entered,
            xtol=1e-9,
        )
        for k in range(15)
    ]
    assert len(times) == 15
    assert np.abs(times - exact).max() < 1e-6


def test_it_does_not_matter_how_time_is_cut():
    reading, entered, passed = sweep(400.0, 401.0, 1.0)
    threshold = np.floor(reading(np.array([entered]))[0]) + 10.5
    at_once = first_passages(reading, entered, passed, threshold, 87.0, 15)
    cut, at = [], entered
    while at < passed:
        until = min(at + 0.0173, passed)
        cut += list(
            first_passages(reading, at, until, threshold + 87.0 * len(cut), 87.0, 15 - len(cut))
        )
        at = until
    assert np.abs(np.array(cut) - at_once).max() < 1e-6


def test_an_axis_that_goes_back_passes_each_threshold_once():
    def reading(time):
        elapsed = time - START
        return 100 * elapsed + 20 * np.sin(2 * np.pi * 4 * elapsed)

    backwards = np.diff(reading(START + np.linspace(0, 2, 2000))) < 0
    assert backwards.any()
    times = first_passages(reading, START, START + 2, 0.5, 1.0, 150)
    assert len(times) == 150
    assert np.all(np.diff(times) >= 0)
    assert np.all(reading(times) - (0.5 + np.arange(150)) < 0.1)


def test_what_lies_behind_is_passed_at_the_beginning_and_what_lies_ahead_is_not():
    def reading(time):
        return 10.0 * (time - START)

    times = first_passages(reading, START + 1, START + 2, 5.0, 10.0, 10)
    assert times == pytest.approx([START + 1, START + 1.5])
    assert not len(first_passages(reading, START, START + 1, 11.0))
