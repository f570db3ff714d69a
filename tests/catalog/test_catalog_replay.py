"""Replaying never stops at one run: what can be stored of each is, and what cannot is named."""

import json

import pytest
from bluesky_tiled_plugins.queries import PartialUID, ScanID
from event_model import compose_run
from written_scan import GrowingFile, Scan, close, data_key, wait_for

from glidepath.catalog import (
    CatalogError,
    Publisher,
    list_runs,
    load_run,
    read_primary,
    read_stream,
    replay_all,
    replay_run,
    unpublished,
)
from glidepath.catalog.journal import decode, encode
from glidepath.catalog.recorder import Recorder


def journal_of(folder, uid=None, event=None, before=(), **metadata):
    """Write the journal of a run of one event; return its uid."""
    run = compose_run(uid=uid, metadata=metadata) if uid else compose_run(metadata=metadata)
    data = {"det": 1.0} if event is None else event
    keys = {key: data_key("string" if isinstance(v, str) else "number") for key, v in data.items()}
    descriptor = run.compose_descriptor(name="primary", data_keys=keys)
    taken = descriptor.compose_event(data=data, timestamps=dict.fromkeys(data, 1.0))
    documents = [
        ("start", run.start_doc),
        *((name, make(run.start_doc["uid"])) for name, make in before),
        ("descriptor", descriptor.descriptor_doc),
        ("event", taken),
        ("stop", run.compose_stop()),
    ]
    folder.mkdir(exist_ok=True)
    path = folder / f"{run.start_doc['uid']}.jsonl"
    path.write_bytes(b"".join(encode(name, document) for name, document in documents))
    return run.start_doc["uid"]


def resource(uid):
    return {
        "uid": "old-resource",
        "run_start": uid,
        "spec": "AD_TIFF",
        "root": "/images",
        "resource_path": "a/b",
        "resource_kwargs": {},
        "path_semantics": "posix",
    }


def datum(_):
    return {"datum_id": "old-resource/0", "resource": "old-resource", "datum_kwargs": {}}


def damage(path, number):
    lines = path.read_bytes().splitlines(keepends=True)
    lines[number] = b"\x00rubbish\n"
    path.write_bytes(b"".join(lines))


def test_no_run_stands_in_the_way_of_another(client, tmp_path):
    folder = tmp_path / "journal"
    good = [journal_of(folder, scan_id=1)]
    headless = journal_of(folder)
    damage(folder / f"{headless}.jsonl", 0)
    (folder / "empty.jsonl").touch()
    (folder / "binary.jsonl").write_bytes(bytes(range(256)) * 10)
    (folder / "list.jsonl").write_text("[1, 2]\n3\n")
    good.append(journal_of(folder, sample="caf\udce9", users=["\ud800", "\U0001f600"]))
    good.append(journal_of(folder, number=2**80, more={"low": -(2**63), "high": 2**64}))
    good.append(journal_of(folder, event={"det": 1.0, "comment": "\udcff"}))
    partly = [journal_of(folder, before=[("resource", resource), ("datum", datum)])]
    partly.append(journal_of(folder))
    damage(folder / f"{partly[-1]}.jsonl", 2)
    descriptorless = journal_of(folder)
    damage(folder / f"{descriptorless}.jsonl", 1)
    last = journal_of(folder)
    results = {one.uid: one for one in replay_all(folder, client)}
    refused = {uid for uid, one in results.items() if one.action == "refused"}
    assert refused == {headless, "empty", "binary", "list"}
    assert all("no run to replay" in str(results[uid]) for uid in refused)
    for uid in [*good, *partly, descriptorless, last]:
        assert results[uid].action == "written", str(results[uid])
        assert load_run(client, uid).metadata["stop"]["exit_status"] == "success"
    for uid in [*good, last]:
        assert results[uid].losses == ()
        assert read_stream(load_run(client, uid), "primary", ["det"])["det"].tolist() == [1.0]
    assert "/images/a/b (AD_TIFF) are not in the catalogue" in str(
        load_run(client, partly[0]).metadata["notes"]
    )
    assert "Damaged lines of its journal: 1." in str(results[partly[1]])
    assert "(what they refer to is missing)" in str(results[descriptorless])
    assert load_run(client, good[1]).metadata["start"]["sample"] == "caf?"
    # Again: only those of which nothing could be stored are left.
    assert {path.stem for path in unpublished(folder)} == refused
    assert {one.uid for one in replay_all(folder, client)} == refused


def test_a_run_with_images_of_an_older_device_is_stored_while_it_goes_on(server, client, tmp_path):
    publisher = Publisher(tmp_path / "journal", server.client)
    scan = Scan(publisher, tmp_path / "none.h5")
    publisher("resource", resource(scan.uid))
    publisher("datum", datum(scan.uid))
    scan.stop()
    assert publisher.wait_published(scan.uid, 120)
    assert publisher.close().to_replay == ()
    assert "older ophyd" in str(load_run(client, scan.uid).metadata["notes"])


def test_when_the_server_goes_the_replay_says_so_and_forgets_nothing(tmp_path, monkeypatch):
    import httpx

    from glidepath.catalog import replay

    folder = tmp_path / "journal"
    journal_of(folder)
    journal_of(folder)

    def gone(*_):
        raise httpx.ConnectError("Connection refused")

    monkeypatch.setattr(replay, "_find", gone)
    with pytest.raises(CatalogError, match=r"does not answer any more .* replay again"):
        replay_all(folder, None)
    assert len(unpublished(folder)) == 2


def test_a_journal_that_the_disk_takes_later_is_whole(tmp_path):
    """A folder that cannot be made at the start costs no document: not even the first ones."""
    obstacle = tmp_path / "journal"
    obstacle.touch()
    publisher = Publisher(obstacle)
    scan = Scan(publisher, tmp_path / "none.h5")
    wait_for(lambda: publisher.status.state == "no journal")
    obstacle.unlink()
    scan.announce(10)
    scan.stop()
    publisher.close()
    lines = (obstacle / f"{scan.uid}.jsonl").read_bytes().splitlines()
    names = [json.loads(line)["name"] for line in lines]
    assert (names[0], names[-1], names.count("stream_datum")) == ("start", "stop", 5)
    assert publisher.status.state == "journal only"


def test_what_no_server_takes_is_made_usual():
    name, document = decode(encode("start", {"a\udc80": ["\ud83d"], "n": [2**63, -(2**63), True]}))
    assert name == "start"
    assert document == {"a?": ["?"], "n": [str(2**63), -(2**63), True]}
    text = json.dumps(document)
    assert text.encode()


def test_runs_are_found_by_number_or_by_a_uid_that_is_all_digits(client, tmp_path):
    folder = tmp_path / "journal"
    uid = "31415926-5358-4979-8323-846264338327"
    journal_of(folder, uid, scan_id=20261128)
    named = journal_of(folder, "71828182-5358-4979-8323-846264338327", scan_id=27182)
    journal_of(folder, "27182818-5358-4979-8323-846264338327", scan_id=6)
    replay_all(folder, client)
    for asked in ("31415", "3141592", "31415926", "31415926-", uid, 20261128, "20261128"):
        assert load_run(client, asked).metadata["start"]["uid"] == uid, asked
    assert load_run(client, "27182").metadata["start"]["uid"] == named  # the number goes first
    assert load_run(client, "271828").metadata["start"]["scan_id"] == 6
    for asked in ("4242", "99999999", 99999999, "x", "%%%%%"):
        with pytest.raises(CatalogError):
            load_run(client, asked)


def test_blueskys_own_queries_find_what_they_ask_for(client, server, tmp_path):
    folder = tmp_path / "journal"
    uid = journal_of(folder, scan_id=987654)
    journal_of(folder, scan_id=987655)
    replay_all(folder, client)
    assert [run.metadata["start"]["uid"] for run in client.search(ScanID(987654)).values()] == [uid]
    assert len(client.search(ScanID(123456789))) == 0
    assert len(client.search(PartialUID(uid[:9]))) == 1
    assert client[uid[:9]].metadata["start"]["uid"] == uid
    assert len(list_runs(client, plan_name="no such plan")) == 0
    with pytest.raises(KeyError):
        client["ab"]
    # Also for who brings a client of Tiled's own.
    from tiled.client import from_uri

    own = from_uri(server.uri, api_key=server.api_key)
    assert len(own.search(ScanID(987654))) == 1
    close(own)


def test_a_run_gives_its_documents(client, server):
    file = GrowingFile(server.data_root / "documents" / "glidepath.h5")
    publisher = Publisher(server.data_root / "journal", server.client)
    scan = Scan(publisher, file.path)
    file.grow(5)
    scan.announce(5)
    scan.stop()
    file.close()
    assert publisher.wait_published(scan.uid, 120)
    publisher.close()
    run = load_run(client, scan.uid)
    names = [name for name, _ in run.documents()]
    assert (names[0], names[-1]) == ("start", "stop")
    assert {"descriptor", "stream_resource", "stream_datum"} <= set(names)
    assert len(read_primary(run)["energy"]) == 5


def test_the_recorder_goes_on_after_a_document_of_no_run(tmp_path, caplog):
    publisher = Publisher(tmp_path / "journal")
    publisher("event", {"descriptor": "nobody's"})
    publisher("stop", {"run_start": "nobody's"})
    scan = Scan(publisher, tmp_path / "none.h5")
    scan.stop()
    publisher.close()
    assert (tmp_path / "journal" / f"{scan.uid}.jsonl").exists()
    assert len([record for record in caplog.records if "not understood" in record.message]) == 2
    assert isinstance(publisher._recorder, Recorder)


def test_a_single_run_that_cannot_be_stored_is_one_sentence(client, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"[]\n")
    with pytest.raises(CatalogError, match="does not begin with a start document"):
        replay_run(path, client)
