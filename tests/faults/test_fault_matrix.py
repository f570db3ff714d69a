"""The matrix: each fault, back end and mode, and what must hold after every scan."""

import os

import pytest
from benchmarks.fault_scans import cases

from conftest import BOUND

CASES = cases(all_of_them=os.environ.get("GLIDEPATH_FAULTS") == "all")


def parameters():
    for case in CASES:
        marks = []
        if case.fault.open_issue:
            marks = [pytest.mark.xfail(reason=case.fault.open_issue, strict=True)]
        yield pytest.param(case, id=str(case), marks=marks)


@pytest.mark.timeout(BOUND + 20)
@pytest.mark.parametrize("case", parameters())
def test_after_a_fault_the_axis_stands_and_no_row_is_wrong_without_a_bit(matrix, case):
    outcome = matrix.outcomes[case].result(timeout=BOUND)
    assert not outcome.broken, f"{outcome.status}: {outcome.reason}"
