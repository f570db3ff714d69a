"""Many columns reach Tiled in few requests, and one by one where the server knows no better."""

from collections import Counter

import numpy as np
import pytest

from conftest import COLUMNS, Scan
from glidepath.catalog import feed as feed_module
from glidepath.catalog import load_run, read_primary
from glidepath.catalog.connection import COLUMNS_PATH
from glidepath.catalog.feed import RunFeed


@pytest.fixture
def requests(client):
    """Count the client's write requests by what they are for."""
    counted: Counter[str] = Counter()

    def count(request):
        for kind in (COLUMNS_PATH, "/data_source/", "/metadata/", "/register/"):
            if request.method != "GET" and kind in request.url.path:
                counted[kind] += 1

    client.context.http_client.event_hooks["request"].append(count)
    yield counted
    client.context.http_client.event_hooks["request"].remove(count)


def rows_of(client, uid):
    run = load_run(client, uid)
    columns = read_primary(run, list(COLUMNS))
    raw = {key: run["mesh"][key].read() for key in ("mesh_timestamp", "mesh_value")}
    return columns | raw


def test_all_columns_of_several_streams_go_in_one_request(client, growing_file, requests):
    feed = RunFeed(client)
    scan = Scan(lambda name, document: feed(name, document), growing_file.path)
    for rows in (10, 25, 40):
        growing_file.grow(rows - growing_file.rows)
        scan.announce(rows)
        feed.flush("primary", "mesh")
        assert {len(column) for column in rows_of(client, scan.uid).values()} == {rows}
    assert requests[COLUMNS_PATH] == 3
    assert requests["/data_source/"] == 0
    assert feed.waiting == {"baseline"}
    scan.stop()
    found = rows_of(client, scan.uid)
    assert all(np.array_equal(column, np.arange(40)) for column in found.values())
    for key in COLUMNS:
        (source,) = load_run(client, scan.uid)["primary"][key].data_sources()
        assert [asset.data_uri for asset in source.assets] == [
            f"file://localhost{growing_file.path}"
        ]


def test_columns_whose_documents_share_their_indices_keep_their_length(client, growing_file):
    feed = RunFeed(client)
    shared: dict[tuple[int, int], dict[str, int]] = {}

    def emit(name, document):
        if name == "stream_datum":
            indices = document["indices"]
            document["indices"] = shared.setdefault((indices["start"], indices["stop"]), indices)
        feed(name, document)

    scan = Scan(emit, growing_file.path)
    growing_file.grow(40)
    for rows in (10, 25, 40):
        scan.announce(rows)
    scan.stop()
    run = load_run(client, scan.uid)
    assert {run["primary"].base[key].shape for key in COLUMNS} == {(40,)}


def test_a_server_that_cannot_take_many_columns_gets_one_at_a_time(
    client, growing_file, requests, monkeypatch
):
    monkeypatch.setattr(feed_module, "COLUMNS_PATH", "/glidepath/not/there")
    feed = RunFeed(client)
    scan = Scan(lambda name, document: feed(name, document), growing_file.path)
    for rows in (10, 25):
        growing_file.grow(rows - growing_file.rows)
        scan.announce(rows)
        feed.flush("primary", "mesh")
        found = rows_of(client, scan.uid)
        assert all(np.array_equal(column, np.arange(rows)) for column in found.values())
    assert requests["/data_source/"] == 2 * len(found)
    scan.stop()
    assert load_run(client, scan.uid).metadata["stop"]["exit_status"] == "success"


def test_a_column_that_is_not_there_is_refused(client, growing_file):
    feed = RunFeed(client)
    scan = Scan(lambda name, document: feed(name, document), growing_file.path)
    growing_file.grow(5)
    scan.announce(5)
    feed.flush("primary")
    load_run(client, scan.uid)["primary"].delete_contents(["mesh"], external_only=True)
    growing_file.grow(5)
    scan.announce(10)
    with pytest.raises(Exception, match=r"409: .*primary has no column 'mesh'"):
        feed.flush("primary")
