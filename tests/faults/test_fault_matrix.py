"""The matrix: each fault, back end and mode, and what must hold after every scan."""

import os

import pytest

from glidepath.faults.laboratory import cases
from glidepath.faults.random_faults import drawn

pytestmark = pytest.mark.slow

CASES = cases(all_of_them=os.environ.get("GLIDEPATH_FAULTS") == "all")

RANDOM = list(drawn(scans=4, seed=4))
"""`python -m glidepath.faults.random_faults` flies hundreds."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_after_a_fault_the_axis_stands_and_no_row_is_wrong_without_a_bit(matrix, case):
    outcome = matrix.outcome(case)
    assert not outcome.broken, f"{outcome.status}: {outcome.reason}"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", RANDOM, ids=str)
def test_after_any_faults_at_any_moment_the_same_holds(matrix, case):
    outcome = matrix.outcome(case)
    assert not outcome.broken, f"{outcome.status}: {outcome.reason}"
