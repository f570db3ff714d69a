"""How long it takes to find runs among ten thousand: in SQLite, in PostgreSQL, by journals.

The catalogues are filled below Tiled, by its own tables: ten thousand runs with streams and columns
would take hours by its requests. They are asked through Tiled, over HTTP, as any client does.
"""

import asyncio
import json
import os
import random
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.postgresql import PostgreSQLServer, binaries
from glidepath.catalog import LocalTiledServer, search_runs
from glidepath.catalog.database import PostgreSQL, index_statements

__all__ = ["measure", "rows", "table"]

RUNS, QUICK_RUNS = 10_000, 300
REPEATS, QUICK_REPEATS = 11, 3
STREAMS, COLUMNS = 1, 4
"""Nodes below each run: so many streams, with so many columns each."""
BATCH = 2000
"""Nodes that are put in together."""
BEGIN = 1.7e9
SAMPLES = [f"sample {number:03d}" for number in range(100)]
EDGES = [("N", "K"), ("O", "K"), ("Fe", "L3"), ("Cu", "L3"), ("Ce", "M5")]
PEOPLE = [f"Person {number:02d}" for number in range(50)]


def documents_of(number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the start and the stop document of a run, as large as those of a scan."""
    choose = random.Random(number)
    element, edge = choose.choice(EDGES)
    first, second = choose.sample(PEOPLE, 2)
    uid = str(uuid.UUID(int=choose.getrandbits(128), version=4))
    start = {
        "uid": uid,
        "scan_id": number,
        "time": BEGIN + 60.0 * number,
        "plan_name": "flyscan",
        "motors": ["energy"],
        "detectors": ["mesh", "sample"],
        "facility": "BESSY II",
        "beamline": "UE48",
        "element": element,
        "edge": edge,
        "mode": "tey",
        "sample": {"name": choose.choice(SAMPLES), "sample_id": f"S-{number}"},
        "users": [{"name": first, "identifier": first.lower()}, {"name": second}],
        "user_name": first,
        "username": first.lower(),
        "proposal": {"proposal_id": f"242-{number % 200:05d}", "title": "Absorption of gases"},
        "preflight": {"start": 400.0, "stop": 410.0, "unit": "eV", "rows": 1000, "legs": [{}] * 40},
        "plan_args": {"velocity": 0.1, "detectors": ["mesh", "sample"], "notes": "x" * 1500},
    }
    failed = number % 20 == 0
    stop = {
        "uid": f"stop-{uid}",
        "run_start": uid,
        "time": start["time"] + 50.0,
        "exit_status": "fail" if failed else "success",
        "reason": "The beam was lost." if failed else "1000 rows.",
        "num_events": {"primary": 1000},
    }
    return start, stop


QUERIES: Mapping[str, Mapping[str, Any]] = {
    "all": {},
    "sample": {"sample": SAMPLES[7]},
    "element and edge": {"element": "N", "edge": "K"},
    "proposal": {"proposal": "242-00007"},
    "user": {"user": PEOPLE[7]},
    "failed": {"exit_status": "fail"},
    "since": {"since": BEGIN + 60.0 * (RUNS - 100)},
}
"""What is asked of Tiled: the keywords of `glidepath.catalog.search_runs`."""

LISTED: Mapping[str, Mapping[str, Any]] = {
    "all": {},
    "sample": {"sample": SAMPLES[7]},
    "element and edge": {"edge": "N K"},
    "proposal": {"proposal": "242-00007"},
    "user": {"user": PEOPLE[7]},
    "failed": {"failed": True},
    "since": {"since": BEGIN + 60.0 * (RUNS - 100)},
}
"""The same for ``glidepath runs``."""


def fill(uri: str, runs: int) -> None:
    """Put runs into the tables of a catalogue."""
    from sqlalchemy import select
    from sqlalchemy.ext.asyncio import create_async_engine
    from tiled.catalog import orm
    from tiled.server.connection_pool import json_serializer

    def node(key: str, parent: int, family: str, metadata: Any, specs: Any) -> dict[str, Any]:
        return {
            "key": key,
            "parent": parent,
            "structure_family": family,
            "metadata": metadata,
            "specs": specs,
        }

    async def work() -> None:
        engine = create_async_engine(uri, json_serializer=json_serializer)
        spec = [{"name": "BlueskyRun", "version": "3.0"}]
        for first in range(0, runs, BATCH):
            documents = [documents_of(n) for n in range(first, min(first + BATCH, runs))]
            await _put(
                engine,
                [
                    node(a["uid"], 0, "container", {"start": a, "stop": b}, spec)
                    for a, b in documents
                ],
            )
        below = select(orm.Node.id).where(orm.Node.parent == 0)
        for count, family in ((STREAMS, "container"), (COLUMNS, "array")):
            async with engine.connect() as connection:
                parents = list((await connection.execute(below)).scalars())
            for first in range(0, len(parents), BATCH):
                await _put(
                    engine,
                    [
                        node(f"{family}{n}", parent, family, {"name": f"{family}{n}"}, [])
                        for parent in parents[first : first + BATCH]
                        for n in range(count)
                    ],
                )
            below = select(orm.Node.id).where(orm.Node.key.like("container%"))
        await engine.dispose()

    asyncio.run(work())


async def _put(engine: Any, nodes: list[dict[str, Any]]) -> None:
    """Insert nodes; without statistics PostgreSQL looks through all of them for each."""
    from sqlalchemy import insert, text
    from tiled.catalog import orm

    async with engine.begin() as connection:
        await connection.execute(insert(orm.Node.__table__), nodes)
        await connection.execute(text("analyze"))


def without_indexes(uri: str) -> None:
    """Take our indexes away, to measure what they are good for."""
    _run(uri, [f"drop index {line.split()[5]}" for line in index_statements(_dialect(uri))])


def with_indexes(uri: str) -> None:
    """Put our indexes back."""
    _run(uri, [*index_statements(_dialect(uri)), "analyze"])


def _dialect(uri: str) -> str:
    return uri.partition("+")[0]


def _run(uri: str, statements: Iterable[str]) -> None:
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import create_async_engine

    async def work() -> None:
        engine = create_async_engine(uri)
        async with engine.begin() as connection:
            for statement in statements:
                await connection.execute(text(statement))
        await engine.dispose()

    asyncio.run(work())


def timed(ask: Callable[[], int], repeats: int) -> tuple[int, list[float]]:
    """Return what was found and how long (ms) each time took; the first time is not counted."""
    found = ask()
    took = []
    for _ in range(repeats):
        begin = time.perf_counter()
        found = ask()
        took.append(1e3 * (time.perf_counter() - begin))
    return found, took


def asked_of_tiled(client: Any, asked: Mapping[str, Any]) -> int:
    """Return how many runs are found, and fetch the newest 20 of them, as a list does."""
    found = search_runs(client, **asked)
    list(found.values()[:20])
    return len(found)


def measure(runs: int, repeats: int) -> Iterator[dict[str, Any]]:
    """Fill each catalogue and ask it; yield a row for each question.

    Yields
    ------
    dict
        ``where`` (with ``indexes``: whether ours are there), ``runs``, ``query``, ``found``,
        ``median_ms``, ``slowest_ms``.
    """
    with ExitStack() as stack:
        places: dict[str, str | None] = {"SQLite": None}
        if binaries() is not None:
            server = stack.enter_context(PostgreSQLServer())
            os.environ["PGPASSWORD"] = server.password
            stack.callback(os.environ.pop, "PGPASSWORD")
            version = server.version.split()[2].partition(".")[0]
            places[f"PostgreSQL {version}"] = server.address("runs")
        for where, address in places.items():
            with tempfile.TemporaryDirectory(prefix="glidepath-bench-") as folder:
                yield from _catalogue(where, Path(folder), address, runs, repeats)
    with tempfile.TemporaryDirectory(prefix="glidepath-bench-") as folder:
        yield from _journals(Path(folder), runs, repeats)


def _catalogue(
    where: str, folder: Path, address: str | None, runs: int, repeats: int
) -> Iterator[dict[str, Any]]:
    with LocalTiledServer(folder, database=address):
        pass  # it has made the tables
    if address is None:
        uri = f"sqlite+aiosqlite:///{folder / 'tiled' / 'catalog.db'}"
    else:
        uri = PostgreSQL.of(address).uri.replace(":", "+asyncpg:", 1)
    fill(uri, runs)
    with LocalTiledServer(folder) as server:
        client = server.client()
        for indexes in (False, True):
            (with_indexes if indexes else without_indexes)(uri)
            for query, asked in QUERIES.items():
                found, took = timed(partial(asked_of_tiled, client, asked), repeats)
                yield _row(where, runs, query, found, took, indexes)
            found, took = timed(partial(_numbered, client, runs // 2), repeats)
            yield _row(where, runs, "one by number", found, took, indexes)
        client.context.http_client.close()


def _numbered(client: Any, number: int) -> int:
    return len([client[number]])


def _journals(folder: Path, runs: int, repeats: int) -> Iterator[dict[str, Any]]:
    from glidepath.lookback import RunIndex

    (folder / "journal").mkdir()
    for number in range(runs):
        start, stop = documents_of(number)
        lines = [{"name": "start", "doc": start}, {"name": "stop", "doc": stop}]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / "journal" / f"{start['uid']}.jsonl").write_text(text)
    index = RunIndex(folder)
    begin = time.perf_counter()
    found = len(index.runs(limit=None))
    first = 1e3 * (time.perf_counter() - begin)
    yield _row("glidepath runs", runs, "all, the first time", found, [first], None)
    for query, asked in LISTED.items():
        found, took = timed(partial(_listed, index, asked), repeats)
        yield _row("glidepath runs", runs, query, found, took, None)
    found, took = timed(lambda: len(index.find(runs // 2)), repeats)
    yield _row("glidepath runs", runs, "one by number", found, took, None)


def _listed(index: Any, asked: Mapping[str, Any]) -> int:
    return len(index.runs(limit=None, **asked))


def _row(
    where: str, runs: int, query: str, found: int, took: list[float], indexes: bool | None
) -> dict[str, Any]:
    return {
        "where": where,
        "indexes": {None: None, False: "Tiled's", True: "ours too"}[indexes],
        "runs": runs,
        "query": query,
        "found": found,
        "median_ms": statistics.median(took),
        "slowest_ms": max(took),
    }


def rows(quick: bool = False) -> list[dict[str, Any]]:
    """Measure; a row for each question and place."""
    return list(measure(QUICK_RUNS, QUICK_REPEATS) if quick else measure(RUNS, REPEATS))


def table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Show the rows."""
    result = Table(title="catalogue: runs are found among many", title_justify="left")
    for label in ("where", "indexes", "runs", "query", "found", "median (ms)", "slowest (ms)"):
        result.add_column(label)
    for row in rows:
        result.add_row(
            row["where"],
            row["indexes"] or "",
            str(row["runs"]),
            row["query"],
            str(row["found"]),
            f"{row['median_ms']:.1f}",
            f"{row['slowest_ms']:.1f}",
        )
    return result
