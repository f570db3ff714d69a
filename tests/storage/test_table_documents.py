"""Documents announce each row once, in order, and nothing that is not there."""

from pathlib import Path
from urllib.parse import unquote, urlparse

from event_model import DocumentNames, schema_validators
from hypothesis import given, settings
from hypothesis import strategies as st

from glidepath.storage import HDF5_MIMETYPE, TableDocuments, column_key, dataset_paths

PATH = Path("/data/2026/01/02/000007_0123abcd/glidepath.h5")


def documents() -> TableDocuments:
    return TableDocuments(PATH, dataset_paths("/entry/data", ["energy", "mesh"]))


@settings(derandomize=True, database=None, deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 50), max_size=12))
def test_every_row_of_every_column_is_announced_once_and_in_order(visible):
    table = documents()
    announced: dict[str, list[int]] = {}
    keys: dict[str, str] = {}
    for rows in visible:
        for name, document in table.until(rows):
            if name == "stream_resource":
                assert document["uid"] not in keys
                keys[document["uid"]] = document["data_key"]
                announced[document["data_key"]] = []
            else:
                indices = document["indices"]
                assert indices["start"] < indices["stop"] <= rows
                column = announced[keys[document["stream_resource"]]]
                column += range(indices["start"], indices["stop"])
    newest = max(visible, default=0)
    assert table.announced == newest
    assert announced == (
        {name: list(range(newest)) for name in ("energy", "mesh")} if newest else {}
    )


def test_nothing_is_announced_before_the_first_row():
    table = documents()
    assert list(table.until(0)) == []
    assert [name for name, _ in table.until(1)] == ["stream_resource"] * 2 + ["stream_datum"] * 2
    assert list(table.until(1)) == []
    assert [name for name, _ in table.until(2)] == ["stream_datum"] * 2


def test_the_documents_share_nothing_that_somebody_may_change():
    table = documents()
    datums = [document for name, document in table.until(10) if name == "stream_datum"]
    datums[0]["indices"]["stop"] = 99
    assert datums[1]["indices"] == {"start": 0, "stop": 10}


def test_the_documents_are_valid_and_point_into_the_file():
    for name, document in documents().until(10):
        schema_validators[DocumentNames[name]].validate(
            {**document, "descriptor": "d"} if name == "stream_datum" else document
        )
        if name == "stream_resource":
            assert document["mimetype"] == HDF5_MIMETYPE
            uri = urlparse(document["uri"])
            assert (uri.scheme, uri.netloc) == ("file", "localhost")
            assert unquote(uri.path) == PATH.as_posix()
            assert document["parameters"] == {
                "dataset": f"/entry/data/{document['data_key']}",
                "chunk_shape": [1_000_000],
                "swmr": True,
            }


def test_a_column_is_described_as_scalars_in_a_file():
    assert column_key("ca://SIM:x", "eV") == {
        "source": "ca://SIM:x",
        "dtype": "number",
        "dtype_numpy": "<f8",
        "shape": [],
        "external": "STREAM:",
        "units": "eV",
    }
    count = column_key("glidepath", dtype="<i8")
    assert count["dtype"] == "integer"
    assert "units" not in count


def test_datasets_are_named_alike_or_by_a_mapping():
    assert dataset_paths("/entry/data", ["a"]) == {"a": "/entry/data/a"}
    assert dataset_paths("/g", {"mesh_value": "value"}) == {"mesh_value": "/g/value"}
