"""Every place finds the same runs, and every format is written; how fast is not asked here."""

import pytest
from benchmarks.postgresql import binaries

from benchmarks import catalogue, exports

pytestmark = pytest.mark.slow


def test_every_place_finds_the_same_runs(monkeypatch):
    since = {"since": catalogue.BEGIN + 60.0 * 150}
    monkeypatch.setattr(catalogue, "QUERIES", {**catalogue.QUERIES, "since": since})
    monkeypatch.setattr(catalogue, "LISTED", {**catalogue.LISTED, "since": since})
    rows = list(catalogue.measure(200, 1))
    assert len({row["where"] for row in rows}) == (2 if binaries() is None else 3)
    found = {query: {r["found"] for r in rows if r["query"] == query} for query in catalogue.LISTED}
    assert all(len(counts) == 1 for counts in found.values()), found
    assert found["all"] == {200}
    assert found["failed"] == {10}
    assert found["since"] == {50}
    assert all(0 < count.copy().pop() < 200 for query, count in found.items() if query != "all")
    catalogue.table(rows)


def test_every_format_is_written():
    rows = list(exports.measure_files(500, 1))
    assert {row["what"] for row in rows} > set(exports.KINDS)
    sizes = {row["what"]: row["MB"] for row in rows}
    # Links are small; a crate holds the data.
    assert sizes["nexus"] < 0.2
    assert sizes["crate"] > 0.01
    exports.table(rows)
