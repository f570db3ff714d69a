"""Where good rows are, and where some are missing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidepath.timeline import Coverage, Quality


def table(edges, quality, *, region=1, pass_number=1):
    edges = np.asarray(edges, float)
    count = len(edges) - 1
    return {
        "energy_lower": np.minimum(edges[:-1], edges[1:]),
        "energy_upper": np.maximum(edges[:-1], edges[1:]),
        "quality": np.asarray(quality, np.uint16),
        "region_number": np.full(count, region, np.uint16),
        "pass_number": np.full(count, pass_number, np.uint16),
    }


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.booleans(), st.integers(1, 7))
def test_holes_are_the_bad_rows_however_they_came(bad, backwards, batch):
    coverage = Coverage("energy")
    n = len(bad)
    edges = np.arange(n + 1.0)
    order = -1 if backwards else 1
    edges, marks = edges[::order], np.array(bad)[::order] * int(Quality.BEAM_LOST)
    for k in range(0, n, batch):
        coverage.add(table(edges[k : k + batch + 1], marks[k : k + batch]))
    holes = coverage.holes(1, 1, 0.0, float(n), 1.0)
    covered = np.ones(n, bool)
    for begin, end in holes:
        covered[int(begin) : int(end)] = False
    assert np.array_equal(~covered, bad)
    assert holes == sorted(holes)


def test_what_is_flown_again_fills_its_hole_in_its_own_region_only():
    coverage = Coverage("energy")
    coverage.add(table(np.arange(11.0), [0, 0, 64, 64, 0, 0, 0, 0, 0, 0]))
    coverage.add(table(np.arange(11.0), [0] * 10, region=2))
    assert coverage.holes(1, 1, 0, 10, 1.0) == [(2.0, 4.0)]
    assert coverage.holes(1, 2, 0, 10, 1.0) == []
    assert coverage.holes(2, 1, 0, 10, 1.0) == [(0, 10)]
    coverage.add(table([1.5, 2.5, 3.5, 4.5], [0, 0, 0]))
    assert coverage.holes(1, 1, 0, 10, 0.5) == []


def test_an_energy_that_is_not_known_covers_nothing():
    coverage = Coverage("energy")
    rows = table(np.arange(6.0), [0, 0, 2, 0, 0])
    rows["energy_lower"][2] = rows["energy_upper"][2] = np.nan
    coverage.add(rows)
    assert coverage.holes(1, 1, 0, 5, 1.0) == [(2.0, 3.0)]


@pytest.mark.parametrize("bit", [Quality.HELD, Quality.TRACKING, Quality.EXTRAPOLATED])
def test_what_flying_again_would_not_mend_is_no_hole(bit):
    coverage = Coverage("energy")
    coverage.add(table(np.arange(4.0), [0, bit, 0]))
    assert coverage.holes(1, 1, 0, 3, 1.0) == []


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(("first", "last"), [(0.0, 0.01), (0.0, 1.0), (0.1, 0.9), (0.495, 0.505)])
def test_missing_steps_are_whole_ones_wherever_in_its_step_an_exposure_lies(first, last, backwards):
    coverage = Coverage("energy")
    rng = np.random.default_rng(3)
    for step in (0, 1, 4, 5, 9):
        # With the jitter of an encoder.
        ends = step + np.array([first, last]) + rng.uniform(-0.1, 0.1)
        coverage.add(table(10 - ends if backwards else ends, [0]))
    coverage.add(table([7, 8], [int(Quality.NO_DATA)]))
    step_edges = np.arange(11.0)
    expected = [(2, 4), (6, 9)]
    if backwards:
        step_edges, expected = step_edges[::-1], [(10 - a, 10 - b) for a, b in expected]
    assert coverage.missing_steps(1, [1], step_edges) == expected
    assert coverage.missing_steps(2, [1], step_edges) == [(step_edges[0], step_edges[-1])]
