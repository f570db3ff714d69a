"""A long run comes back complete; what is missing or wrong in one is noticed."""

import numpy as np
import pytest

from benchmarks import readback

pytestmark = pytest.mark.slow


def test_a_run_comes_back_complete_each_way_and_no_light_is_lost_on_another_grid(monkeypatch):
    monkeypatch.setattr(readback, "BLOCK", 7000)
    rows = list(readback.measure(30_000, 1))
    assert [row["way"] for row in rows] == ["h5py", "Tiled", "rebin"]
    assert all(row["complete"] for row in rows)
    assert all(row["rows"] == 30_000 and row["seconds"] > 0 for row in rows)


@pytest.mark.parametrize("wrong", ["shorter", "without a column", "shifted", "repeated"])
def test_a_run_that_is_not_as_it_was_written_is_not_complete(wrong):
    columns = readback.expected(0, 5000, 5000)
    assert readback._same(columns, 5000)
    match wrong:
        case "shorter":
            columns = {name: column[:-1] for name, column in columns.items()}
        case "without a column":
            del columns["quality"]
        case "shifted":
            columns["mesh"] = np.roll(columns["mesh"], 1)
        case "repeated":
            columns["energy"][10] = columns["energy"][9]
    assert not readback._same(columns, 5000)
