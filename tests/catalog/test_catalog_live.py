"""A scan that is published while it runs can be read while it runs, and is complete after."""

import logging

import numpy as np
import pytest
from written_scan import Scan, close, wait_for

from glidepath.catalog import (
    CatalogError,
    Publisher,
    list_runs,
    load_run,
    read_baseline,
    read_primary,
    read_raw,
    read_verdict,
)


@pytest.fixture
def publisher(server, tmp_path):
    publisher = Publisher(tmp_path / "journal", server.client)
    yield publisher
    publisher.close(20)


def test_a_growing_scan_is_read_while_another_process_writes_it(publisher, client, growing_process):
    scan = Scan(publisher, growing_process.path, scan_id=11)
    scan.announce(growing_process.grow(10_000))

    def rows():
        try:
            return len(read_primary(load_run(client, scan.uid), ["energy", "mesh"])["energy"])
        except CatalogError:
            return 0

    wait_for(lambda: rows() == 10_000)
    assert "stop" not in load_run(client, scan.uid).metadata
    scan.announce(growing_process.grow(5_000))
    wait_for(lambda: rows() == 15_000)

    table = read_primary(load_run(client, scan.uid), ["mesh", "energy"], start=-10)
    assert list(table) == ["mesh", "energy"]
    np.testing.assert_array_equal(table["mesh"], np.arange(14_990, 15_000))
    scan.stop()
    assert publisher.wait_published(scan.uid)


def test_after_the_stop_document_every_row_of_every_stream_is_there(
    publisher, client, growing_file
):
    scan = Scan(publisher, growing_file.path, scan_id=12, sample={"name": "N2"})
    for _ in range(50):
        growing_file.grow(101)
        scan.announce(growing_file.rows)
    scan.event("verdict", {"rows": 5050, "worst_tracking_error": np.float64("nan"), "note": "ok"})
    scan.stop("abort", "Beam lost at 401.2 eV.")
    assert publisher.wait_published(scan.uid)
    assert publisher.status.state == "ok"

    run = load_run(client, scan.uid)
    table = read_primary(run)
    assert list(table) == ["energy", "mesh", "quality"]
    for values in table.values():
        np.testing.assert_array_equal(values, np.arange(5050))
    assert table["quality"].dtype == np.uint16
    timestamps, values = read_raw(run, "mesh")
    assert len(timestamps) == len(values) == 5050
    assert read_baseline(run)["ring_current"].tolist() == [299.5]
    verdict = read_verdict(run)
    assert verdict["rows"] == 5050
    assert np.isnan(verdict["worst_tracking_error"])
    assert verdict["note"] == "ok"
    assert run.metadata["stop"]["exit_status"] == "abort"
    assert run.metadata["stop"]["reason"] == "Beam lost at 401.2 eV."
    assert run.metadata["start"]["sample"] == {"name": "N2"}


def test_runs_are_found_by_uid_number_and_order(publisher, client, growing_file):
    scans = [Scan(publisher, growing_file.path, scan_id=700 + i) for i in range(2)]
    scans.append(Scan(publisher, growing_file.path, scan_id=701))
    for scan in scans:
        scan.stop("fail" if scan is scans[0] else "success", "limit" if scan is scans[0] else "")
        assert publisher.wait_published(scan.uid)

    def uid(selector):
        return load_run(client, selector).metadata["start"]["uid"]

    assert uid(scans[0].uid) == uid(scans[0].uid[:8]) == uid(700) == uid("700") == scans[0].uid
    assert uid(701) == uid(-1) == uid("-1") == scans[2].uid
    assert uid(-2) == scans[1].uid
    newest = list_runs(client, 3)
    assert [run.uid for run in newest] == [scan.uid for scan in reversed(scans)]
    assert (newest[2].exit_status, newest[2].reason) == ("fail", "limit")
    assert list_runs(client, plan_name="no_such_plan") == []
    assert len(list_runs(client, since=newest[0].time)) == 1


@pytest.mark.parametrize(
    ("selector", "says"),
    [
        ("abc", "too short"),
        ("ffffffff-0000", "no run 'ffffffff-0000'"),
        (987654, "scan number 987654"),
        (-100_000, "fewer than 100000 runs"),
    ],
)
def test_a_run_that_is_not_there_is_named_in_one_sentence(client, selector, says):
    with pytest.raises(CatalogError, match=says):
        load_run(client, selector)


def test_a_missing_stream_or_column_is_named_with_what_there_is(publisher, client, growing_file):
    scan = Scan(publisher, growing_file.path)
    growing_file.grow(10)
    scan.announce(10)
    scan.stop()
    assert publisher.wait_published(scan.uid)
    run = load_run(client, scan.uid)
    with pytest.raises(CatalogError, match="no stream 'verdict'; it has baseline, mesh, primary"):
        read_verdict(run)
    with pytest.raises(CatalogError, match="no column 'tey'; it has energy, mesh, quality"):
        read_primary(run, ["tey"])


def test_columns_are_cut_to_the_shortest_while_they_differ(server, client, growing_file):
    from glidepath.catalog.feed import RunFeed

    documents = []
    scan = Scan(lambda name, doc: documents.append((name, doc)), growing_file.path)
    growing_file.grow(100)
    scan.announce(60)
    ahead = len(documents)
    scan.announce(100)
    writer = server.client()
    feed = RunFeed(writer)
    for name, doc in documents[:ahead]:
        feed(name, doc)
    feed.flush("primary")
    feed(*documents[ahead])  # one more datum, of the first column only
    feed.flush("primary")
    table = read_primary(load_run(client, scan.uid))
    assert [len(values) for values in table.values()] == [60, 60, 60]
    close(writer)


def test_more_than_a_million_rows_come_back_complete(publisher, client, growing_file):
    scan = Scan(publisher, growing_file.path)
    for _ in range(6):
        growing_file.grow(200_000)
        scan.announce(growing_file.rows)
    scan.stop()
    assert publisher.wait_published(scan.uid)
    table = read_primary(load_run(client, scan.uid), ["energy"])
    np.testing.assert_array_equal(table["energy"], np.arange(1_200_000))


def test_two_runs_at_once_do_not_mix(publisher, client, growing_file):
    growing_file.grow(30)
    first = Scan(publisher, growing_file.path)
    second = Scan(publisher, growing_file.path)
    first.announce(10)
    second.announce(30)
    first.stop()
    second.stop()
    for scan, rows in ((first, 10), (second, 30)):
        assert publisher.wait_published(scan.uid)
        assert len(read_primary(load_run(client, scan.uid), ["energy"])["energy"]) == rows


def test_documents_are_taken_as_they_were_when_they_came(publisher, client, growing_file, caplog):
    caplog.set_level(logging.WARNING)
    scan = Scan(publisher, growing_file.path)
    stop = scan._run.compose_stop()
    publisher("stop", stop)
    stop.clear()
    assert publisher.wait_published(scan.uid)
    assert load_run(client, scan.uid).metadata["stop"]["exit_status"] == "success"
    assert not caplog.records
