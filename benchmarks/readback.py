"""A run of ten million rows: does it come back complete, how soon, and how soon on another grid.

The run is written as the sampler writes it, into one growing file with its documents, and is put
into a real Tiled server: ``primary`` with two detectors, and the raw streams of the axis and of
one detector, an update for each row. It is read with plain h5py and through Tiled, and brought
onto bins of energy from its raw streams.
"""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from event_model import compose_run
from rich.table import Table as Shown

from glidepath.catalog import LocalTiledServer, load_run, read_primary
from glidepath.catalog.feed import RunFeed
from glidepath.catalog.rebinning import rebin_run
from glidepath.storage import (
    Column,
    GrowingFile,
    Table,
    TableDocuments,
    column_key,
    dataset_paths,
    read_columns,
)
from glidepath.timeline import EVERYTHING, uniform_grid

from .medians import median, shown

__all__ = ["expected", "make_run", "measure", "rows", "table"]

ROWS = 10_000_000
QUICK_ROWS = 100_000
REPEATS = 3

BLOCK = 500_000
"""Rows that are written and announced at once."""

PERIOD = 2.0**-10
"""Seconds; added to a time of today it is exact in float64, which 1e-3 is not."""
EPOCH = 1.7e9
START, STOP = 370.0, 470.0

PRIMARY = (
    *(Column(name, unit="eV") for name in ("energy", "energy_lower", "energy_upper")),
    *(Column(name, unit="s") for name in ("sample_time", "sample_duration")),
    *(Column("mesh", unit="A"), Column("mesh_count", "<i8")),
    *(Column("sample", unit="A"), Column("sample_count", "<i8")),
    *(Column(name, "<u2") for name in ("region_number", "pass_number", "quality")),
)
RAW = ("energy", "sample")


def expected(begin: int, stop: int, total: int) -> dict[str, np.ndarray]:
    """Return the rows from ``begin`` to ``stop`` of ``total``: columns of shape (m,)."""
    number = np.arange(begin, stop)
    step = (STOP - START) / total
    energy = START + step * (number + 0.5)
    return {
        "energy": energy,
        "energy_lower": energy - 0.5 * step,
        "energy_upper": energy + 0.5 * step,
        "sample_time": EPOCH + PERIOD * (number + 0.5),
        "sample_duration": np.full(len(number), PERIOD),
        "mesh": 1e-9 + 1e-12 * (number % 1000),
        "mesh_count": number % 7,
        "sample": 2e-9 + 1e-12 * (number % 1013),
        "sample_count": number % 3,
        "region_number": number % 4,
        "pass_number": number % 2,
        "quality": number % 65536,
    }


def _updates(channel: str, begin: int, stop: int, total: int) -> dict[str, np.ndarray]:
    """Return raw updates: exposures that end with their row, the axis at all ends of rows."""
    if channel == "energy":
        number = np.arange(begin, stop + (stop == total))
        value = START + (STOP - START) / total * number
        return {"value": value, "time": EPOCH + PERIOD * number}
    number = np.arange(begin, stop)
    value = expected(begin, stop, total)[channel]
    return {"value": value, "time": EPOCH + PERIOD * (number + 1)}


def make_run(emit: Callable[[str, Any], Any], path: Path, total: int) -> str:
    """Write the file and emit the documents of a run of ``total`` rows; return its uid."""
    raw = [
        Table(f"/entry/instrument/{name}", [Column("value", unit="eV"), Column("time")], "NXlog")
        for name in RAW
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    file = GrowingFile(path, [Table("/entry/data", PRIMARY, "NXdata"), *raw])
    run = compose_run(metadata={"plan_name": "flyscan", "scan_id": 1, "motors": ["energy"]})
    emit("start", run.start_doc)
    streams = []
    for number, name in enumerate(("primary", *RAW)):
        if number:
            group = f"/entry/instrument/{name}"
            paths = {f"{name}_value": "value", f"{name}_timestamp": "time"}
            keys = dict.fromkeys(paths, column_key("bench"))
        else:
            group, paths = "/entry/data", {column.name: column.name for column in PRIMARY}
            keys = {c.name: column_key("bench", c.unit, c.dtype) for c in PRIMARY}
        stream = run.compose_descriptor(name, keys, configuration=_configuration(name, number))
        emit("descriptor", stream.descriptor_doc)
        streams.append((stream.descriptor_doc, TableDocuments(path, dataset_paths(group, paths))))
    for begin in range(0, total, BLOCK):
        stop = min(begin + BLOCK, total)
        file.append(0, expected(begin, stop, total))
        for number, name in enumerate(RAW, start=1):
            file.append(number, _updates(name, begin, stop, total))
        file.flush()
        for (descriptor, documents), length in zip(streams, file.rows, strict=True):
            for name, document in documents.until(length):
                if name == "stream_datum":
                    first, last = document["indices"]["start"], document["indices"]["stop"]
                    seq_nums = {"start": first + 1, "stop": last + 1}
                    document |= {"descriptor": descriptor["uid"], "seq_nums": seq_nums}
                emit(name, document)
    file.close()
    emit("stop", run.compose_stop())
    uid: str = run.start_doc["uid"]
    return uid


def _configuration(name: str, number: int) -> dict[str, Any]:
    """Return what a raw stream says of its channel."""
    if not number:
        return {}
    kind, aperture = ("readback", 0.0) if name == "energy" else ("detector", PERIOD)
    data = {f"{name}_kind": kind, f"{name}_latency": 0.0, f"{name}_aperture": aperture}
    return {name: {"data": data, "timestamps": dict.fromkeys(data, EPOCH), "data_keys": {}}}


def _same(found: Mapping[str, np.ndarray], total: int) -> bool:
    """Tell whether all rows of all columns are there, each as it was written."""
    if found.keys() != {column.name for column in PRIMARY}:
        return False
    if {len(column) for column in found.values()} != {total}:
        return False
    blocks = range(0, total, BLOCK)
    return all(
        np.array_equal(found[name][begin : begin + BLOCK], column.astype(found[name].dtype))
        for begin in blocks
        for name, column in expected(begin, min(begin + BLOCK, total), total).items()
    )


def measure(total: int = ROWS, repeats: int = REPEATS) -> Iterator[dict[str, Any]]:
    """Make a run, read it back and rebin it; yield a row for each way.

    Yields
    ------
    dict
        ``way`` ("h5py", "Tiled", "rebin"), ``rows``, ``columns``, ``complete`` (all of them, as
        they were written; for "rebin": the time of all exposures is in the bins, none twice),
        ``seconds`` (median) and ``MB_per_s``.
    """
    with (
        tempfile.TemporaryDirectory(prefix="glidepath-bench-") as place,
        LocalTiledServer(Path(place)) as server,
    ):
        client = server.client()
        path = server.data_root / "long" / "glidepath.h5"
        run = load_run(client, make_run(RunFeed(client), path, total))
        names = [column.name for column in PRIMARY]
        megabytes = total * sum(np.dtype(column.dtype).itemsize for column in PRIMARY) / 1e6
        ways: dict[str, Callable[[], Mapping[str, np.ndarray]]] = {
            "h5py": lambda: read_columns(path, "/entry/data", names),
            "Tiled": lambda: read_primary(run),
        }
        for way, read in ways.items():
            seconds, complete = [], True
            for _ in range(repeats):
                begin = time.perf_counter()
                found = read()
                seconds.append(time.perf_counter() - begin)
                complete &= _same(found, total)
                del found
            yield _row(way, total, len(names), complete, seconds, megabytes)
        edges = uniform_grid(START, STOP, 0.05)
        seconds, complete = [], True
        for _ in range(repeats):
            begin = time.perf_counter()
            columns = rebin_run(run, edges, ["sample"], accept=EVERYTHING).columns
            seconds.append(time.perf_counter() - begin)
            complete &= bool(np.isclose(columns["sample_time"].sum(), total * PERIOD, 1e-6))
        yield _row("rebin", total, 4, complete, seconds, 4 * 8 * total / 1e6)
        client.context.http_client.close()


def _row(
    way: str, total: int, columns: int, complete: bool, seconds: list[float], megabytes: float
) -> dict[str, Any]:
    took = median(seconds)
    return {
        "way": way,
        "rows": total,
        "columns": columns,
        "complete": complete,
        "seconds": took,
        "MB_per_s": median([megabytes / took]) if took else None,
        "repeats": len(seconds),
    }


def rows(quick: bool = False) -> list[dict[str, Any]]:
    """Measure; a row for each way of reading, one for the rebinning."""
    return list(measure(QUICK_ROWS, 1) if quick else measure())


def table(rows: Iterable[Mapping[str, Any]]) -> Shown:
    """Show the rows."""
    result = Shown(title="readback: a long run, read and rebinned", title_justify="left")
    for label in ("way", "rows", "columns", "complete", "s", "MB/s"):
        result.add_column(label)
    for row in rows:
        result.add_row(
            row["way"],
            f"{row['rows']:.3g}",
            str(row["columns"]),
            "yes" if row["complete"] else "NO",
            shown(row["seconds"]),
            shown(row["MB_per_s"]),
        )
    return result
