"""The delay between detector and axis is found again in made-up pairs of scans."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glidepath.timeline import Pass, estimate_delay

PERIOD = 0.1
LINES = ((400.88, 1.0), (401.11, 0.94), (401.34, 0.6), (401.56, 0.29))
HALF_WIDTH = 0.07


def integral(energy):
    """Integral of the nitrogen lines and an edge: rows are means over what they saw."""
    lines = sum(h * HALF_WIDTH * np.arctan((energy - e) / HALF_WIDTH) for e, h in LINES)
    return lines + 0.3 * 0.1 * np.logaddexp(0, (energy - 409.9) / 0.1)


def scan(rng, velocity, delay, direction, noise, scale=1.0, offset=0.0):
    edges = np.arange(396 + rng.uniform(0, 0.1), 412, velocity * PERIOD)
    signal = np.diff(integral(edges - direction * velocity * delay)) / np.diff(edges)
    signal = scale * signal + offset + noise * rng.normal(size=len(signal))
    return Pass(0.5 * (edges[1:] + edges[:-1])[::direction], signal[::direction], velocity)


@settings(max_examples=40)
@given(
    st.integers(0, 10**6),
    st.floats(-0.6, 0.6),
    st.sampled_from([0.1, 0.3, 1.0]),
    st.sampled_from([0.1, 0.3, 1.0]),
    st.floats(0.2, 5.0),
    st.floats(-3.0, 3.0),
)
def test_a_delay_is_found_far_below_a_step(seed, delay, up, down, scale, offset):
    rng = np.random.default_rng(seed)
    found = estimate_delay(
        scan(rng, up, delay, 1, 0.002), scan(rng, down, delay, -1, 0.002, scale, offset)
    )
    assert found.delay == pytest.approx(delay, abs=max(6 * found.uncertainty, 0.002))
    assert found.shift == pytest.approx(found.delay * (up + down))
    # One step is PERIOD seconds.
    assert abs(found.delay - delay) < 0.06 * PERIOD
    assert 0.99 < found.correlation <= 1


def test_the_uncertainty_is_the_scatter_of_the_result():
    for velocity in (0.2, 1.0):
        rng = np.random.default_rng(7)
        results = []
        for _ in range(50):
            delay = rng.uniform(-0.2, 0.2)
            found = estimate_delay(
                scan(rng, velocity, delay, 1, 0.02), scan(rng, velocity, delay, -1, 0.02)
            )
            results.append(((found.delay - delay) / found.uncertainty, found.uncertainty))
        pulls = np.array(results)[:, 0]
        assert 0.6 < pulls.std() < 1.6
        assert abs(pulls.mean()) < 0.6


def test_swapping_the_noise_free_scans_changes_the_sign():
    rng = np.random.default_rng(1)
    up, down = scan(rng, 0.3, 0.15, 1, 0.0), scan(rng, 0.3, 0.15, -1, 0.0)
    forward, backward = estimate_delay(up, down), estimate_delay(down, up)
    assert backward.delay == pytest.approx(-forward.delay, abs=1e-4)


def test_missing_points_are_left_out():
    rng = np.random.default_rng(1)
    up, down = scan(rng, 0.3, 0.15, 1, 0.0), scan(rng, 0.3, 0.15, -1, 0.0)
    up.signal[::17] = np.nan
    assert estimate_delay(up, down).delay == pytest.approx(0.15, abs=0.003)


def test_an_edge_alone_is_enough():
    energy = np.arange(400, 420, 0.02)
    up = Pass(energy, np.arctan((energy - 0.05 - 410) / 0.1), 0.5)
    down = Pass(energy, np.arctan((energy + 0.05 - 410) / 0.1), 0.5)
    assert estimate_delay(up, down).delay == pytest.approx(0.1, abs=1e-4)


GOOD = scan(np.random.default_rng(0), 0.3, 0.1, 1, 0.0)


@pytest.mark.parametrize(
    ("up", "down", "options", "sentence"),
    [
        (GOOD, GOOD._replace(velocity=0.0), {}, "must be above zero"),
        (GOOD, GOOD._replace(velocity=-0.3), {}, "must be above zero"),
        (GOOD, GOOD._replace(energy=GOOD.energy + 100), {}, "too little in common"),
        (GOOD, GOOD._replace(energy=GOOD.energy[1:]), {}, "one signal per energy"),
        (GOOD, Pass(GOOD.energy[:9], GOOD.signal[:9], 1.0), {}, "only 9 points"),
        (GOOD, GOOD._replace(signal=np.ones_like(GOOD.signal)), {}, "no structure in common"),
        (GOOD, GOOD._replace(signal=-GOOD.signal), {}, "no structure in common"),
        (GOOD, GOOD, {"max_delay": 0.0}, "cannot be looked for"),
    ],
)
def test_scans_that_give_no_delay_are_refused_with_a_sentence(up, down, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        estimate_delay(up, down, **options)
