"""Many columns reach Tiled in few requests, and one by one where the server knows no better."""

import threading
from collections import Counter

import httpx
import numpy as np
import pytest
from written_scan import COLUMNS, Scan, wait_for

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
    assert requests["/data_source/"] == requests["/register/"] == 0
    assert feed.waiting == {"baseline"}
    scan.stop()
    # One more says to all who listen that this was all.
    assert requests[COLUMNS_PATH] == 4
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
    assert requests["/register/"] == len(found)
    assert requests["/data_source/"] == 2 * len(found)
    scan.stop()
    assert load_run(client, scan.uid).metadata["stop"]["exit_status"] == "success"


def test_a_request_whose_answer_is_lost_is_sent_again_and_changes_nothing(
    client, growing_file, monkeypatch
):
    send = client.context.http_client.request
    lost = []

    def request(method, uri, **more):
        response = send(method, uri, **more)
        if method == "PUT" and len(lost) < 2:
            lost.append(uri)
            raise httpx.ReadTimeout("lost")
        return response

    monkeypatch.setattr(client.context.http_client, "request", request)
    feed = RunFeed(client)
    scan = Scan(lambda name, document: feed(name, document), growing_file.path)
    growing_file.grow(10)
    scan.announce(10)
    scan.stop()
    assert len(lost) == 2
    found = rows_of(client, scan.uid)
    assert all(np.array_equal(column, np.arange(10)) for column in found.values())


# Tiled's client opens the websocket in a way that its library is giving up.
@pytest.mark.filterwarnings(r"ignore:connect\(\) must be used:DeprecationWarning")
def test_who_listens_to_a_column_hears_of_new_rows_and_of_the_end(client, growing_file):
    feed = RunFeed(client)
    scan = Scan(lambda name, document: feed(name, document), growing_file.path)
    growing_file.grow(10)
    scan.announce(10)
    feed.flush("primary")
    heard: list[tuple[int, ...]] = []
    closed = threading.Event()

    # Kept by name: the subscription holds callbacks weakly.
    def hear(update):
        heard.append(tuple(update.shape))

    def end(_):
        closed.set()

    subscription = load_run(client, scan.uid)["primary"].base["energy"].subscribe()
    subscription.new_data.add_callback(hear)
    subscription.stream_closed.add_callback(end)
    subscription.start_in_thread(1)
    growing_file.grow(5)
    scan.announce(15)
    feed.flush("primary")
    wait_for(lambda: (15,) in heard)
    scan.stop()
    assert closed.wait(20)
    subscription.disconnect()
