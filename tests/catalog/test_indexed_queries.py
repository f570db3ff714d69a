"""Keys that are looked for have indexes, and the queries of a Tiled server use them."""

import sqlite3

import pytest

from glidepath.catalog.database import INDEXED, index_statements, sqlite_path
from glidepath.catalog.indexed_queries import with_keys

NODES = "create table nodes (id integer primary key, parent integer, metadata text)"
FROM = "select id from nodes where nodes.parent = ?"
BY_TIME = (
    "order by JSON_QUOTE(JSON_EXTRACT(JSON_QUOTE(JSON_EXTRACT(nodes.metadata, ?)), ?)) desc, "
    "nodes.id limit ? offset ?"
)


@pytest.fixture
def database():
    opened = sqlite3.connect(":memory:")
    opened.execute(NODES)
    for statement in index_statements("sqlite"):
        opened.execute(statement)
    for number in range(50):
        start = f'{{"time": {9.0 + number}, "scan_id": {number}, "element": "N"}}'
        opened.execute("insert into nodes values (?, 0, ?)", (number + 1, f'{{"start": {start}}}'))
    yield opened
    opened.close()


def plan(database, statement, parameters):
    return " ".join(
        row[3] for row in database.execute(f"explain query plan {statement}", parameters)
    )


@pytest.mark.parametrize("key", INDEXED)
def test_a_condition_on_each_key_uses_its_index_and_finds_the_same(database, key):
    statement = f"{FROM} and JSON_EXTRACT(nodes.metadata, ?) = ?"
    for value in (7, "N", 16.0):
        asked = (0, sqlite_path(key), value)
        found = with_keys(statement, asked)
        assert f"glidepath_{key.replace('.', '_')} (parent=? AND <expr>" in plan(database, *found)
        rows = database.execute(*found).fetchall()
        assert rows == database.execute(statement, asked).fetchall()


def test_the_newest_first_uses_the_index_of_time_and_is_by_number(database):
    asked = (0, '$."start"', '$."time"', 3, 1)
    found = with_keys(f"{FROM} {BY_TIME}", asked)
    assert "glidepath_start_time" in plan(database, *found)
    assert [row[0] for row in database.execute(*found)] == [49, 48, 47]


def test_other_keys_and_parameters_stay_as_they_are():
    statement = (
        f"{FROM} and JSON_EXTRACT(nodes.metadata, ?) = ? and JSON_EXTRACT(nodes.metadata, ?) like ?"
        f" and nodes.specs like ? {BY_TIME}"
    )
    asked = (0, '$."start"."colour"', "red", '$."start"."uid"', "?%", '%{"name"', "a", "b", 5, 0)
    found, left = with_keys(statement, asked)
    assert left == (0, '$."start"."colour"', "red", "?%", '%{"name"', "a", "b", 5, 0)
    assert found.count("?") == len(left)
    quote = with_keys(f"{FROM} and JSON_EXTRACT(nodes.metadata, ?) = ?", (0, '$."x\'; drop"', 1))
    assert quote == (f"{FROM} and JSON_EXTRACT(nodes.metadata, ?) = ?", (0, '$."x\'; drop"', 1))
