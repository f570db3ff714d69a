"""A moved data directory names its files where they are now, and says what is not there."""

import json
import shutil

import pytest
from written_scan import GrowingFile, Scan

from glidepath.catalog import CatalogError, LocalTiledServer, load_run, read_primary, replay_all
from glidepath.catalog.journal import JournalWriter, encode
from glidepath.catalog.relocation import SET_ASIDE, relocate

pytestmark = pytest.mark.slow


def make(root, name="2026/11/28/000001_abc", camera=None):
    """Write a run into a data directory, with its documents in journal and folder."""
    documents = []
    file = GrowingFile(root / name / "glidepath.h5")
    file.grow(4)
    scan = Scan(lambda n, doc: documents.append((n, dict(doc))), file.path)
    scan.announce(4)
    scan.stop()
    file.close()
    if camera is not None:
        for kind, document in documents:
            if kind == "stream_resource" and document["data_key"] == "quality":
                document["uri"] = f"file://localhost{camera}"
    lines = b"".join(encode(*document) for document in documents)
    writer = JournalWriter(root / "journal", scan.uid)
    writer.write(lines)
    writer.finish()
    writer.release()
    (root / "journal" / f"{scan.uid}.published").touch()
    (root / name / "documents.jsonl").write_bytes(lines)
    return scan.uid


def uris(path):
    entries = [json.loads(line) for line in path.read_bytes().splitlines()]
    return {e["doc"]["uri"] for e in entries if e["name"] == "stream_resource"}


def test_journals_and_folders_name_the_new_place(tmp_path):
    uid = make(tmp_path / "old one")
    (tmp_path / "old one" / "tiled").mkdir()
    shutil.move(tmp_path / "old one", tmp_path / "new")
    done = relocate(tmp_path / "old one", tmp_path / "new")
    assert (done.runs, done.elsewhere, done.missing) == (1, (), ())
    folder = tmp_path / "new" / "2026/11/28/000001_abc"
    expected = {f"file://localhost{folder}/glidepath.h5"}
    assert uris(tmp_path / "new" / "journal" / f"{uid}.jsonl") == expected
    assert uris(folder / "documents.jsonl") == expected
    assert not list((tmp_path / "new" / "journal").glob("*.published"))
    assert (tmp_path / "new" / SET_ASIDE).is_dir()
    again = relocate(tmp_path / "old one", tmp_path / "new")
    assert (again.runs, again.missing) == (1, ())


def test_a_line_that_was_cut_short_or_spoiled_stays_as_it_is(tmp_path):
    uid = make(tmp_path / "old")
    journal = tmp_path / "old" / "journal" / f"{uid}.jsonl"
    first, *others = journal.read_bytes().splitlines(keepends=True)
    # Its process was killed in the middle of the last line.
    journal.write_bytes(first + b"{spoiled\n" + b"".join(others)[:-30])
    shutil.move(tmp_path / "old", tmp_path / "new")
    assert relocate(tmp_path / "old", tmp_path / "new").runs == 1
    lines = (tmp_path / "new" / "journal" / journal.name).read_bytes().splitlines(keepends=True)
    assert lines[1] == b"{spoiled\n"
    assert lines[-1] == others[-1][:-30]
    new = f"file://localhost{tmp_path / 'new'}"
    named = [json.loads(line)["doc"]["uri"] for line in lines if b'"stream_resource"' in line[:30]]
    assert named
    assert all(uri.startswith(new) for uri in named)


def test_a_file_that_is_missing_or_elsewhere_is_named(tmp_path):
    camera = tmp_path / "camera-disk" / "frames.h5"
    make(tmp_path / "old", camera=camera)
    shutil.move(tmp_path / "old", tmp_path / "new")
    file = tmp_path / "new" / "2026/11/28/000001_abc" / "glidepath.h5"
    file.unlink()
    done = relocate(tmp_path / "old", tmp_path / "new")
    assert done.missing == (file,)
    assert done.elsewhere == (camera,)


def test_a_folder_that_is_no_data_directory_is_a_sentence(tmp_path):
    with pytest.raises(CatalogError, match="holds no journals"):
        relocate(tmp_path / "old", tmp_path)


def test_the_runs_are_read_in_a_new_catalogue(tmp_path):
    uid = make(tmp_path / "old")
    shutil.move(tmp_path / "old", tmp_path / "new")
    relocate(tmp_path / "old", tmp_path / "new")
    with LocalTiledServer(tmp_path / "new") as server:
        client = server.client()
        replay_all(tmp_path / "new" / "journal", client)
        assert read_primary(load_run(client, uid))["energy"].tolist() == [0, 1, 2, 3]
        client.context.http_client.close()
