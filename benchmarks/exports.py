"""What exporting costs: the time and the size of each format, and what it adds to a scan.

A run is exported when it stops, in a process of its own. So two things are asked: how long that
process takes for runs of 1e3 to 1e6 rows, and whether scans that follow each other notice it.
"""

import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.beamline import in_own_process
from glidepath.export import Choice, Run, write_run
from glidepath.storage import Column, GrowingFile
from glidepath.storage import Table as StoredTable

__all__ = ["measure_files", "measure_scans", "rows", "table"]

ROWS, QUICK_ROWS = (1000, 100_000, 1_000_000), (1000,)
SCANS, QUICK_SCANS = 12, 2
REPEATS = 3
DETECTORS = ("mesh", "sample", "ring")
KINDS = {"nexus": ".nxs", "xdi": ".xdi", "csv": ".csv", "crate": ".zip"}
UNITS = {"energy": "eV", "energy_lower": "eV", "energy_upper": "eV", "sample_duration": "s"}


def make_run(folder: Path, count: int) -> list[tuple[str, dict[str, Any]]]:
    """Write a run with so many rows, and as many updates of each channel; return its documents."""
    from event_model import compose_run

    folder.mkdir(parents=True)
    path = folder / "glidepath.h5"
    noise = np.random.default_rng(1)
    energy = np.linspace(400.0, 410.0, count)
    mesh = 1e-9 * (2.0 + 0.01 * noise.normal(size=count))
    columns = {
        "energy": energy,
        "energy_lower": energy - 5.0 / count,
        "energy_upper": energy + 5.0 / count,
        "sample_time": 1.7e9 + 0.01 * np.arange(count),
        "sample_duration": np.full(count, 0.01),
        "mesh": mesh,
        "sample": mesh * (1.0 + np.exp(-(((energy - 405.0) / 0.5) ** 2))),
        "ring": 299.0 + noise.normal(size=count),
        "quality": np.zeros(count),
    }
    logs = ("energy", *DETECTORS)
    described = [Column(name, unit=UNITS.get(name, "")) for name in columns]
    log = [Column("value"), Column("time", unit="s")]
    tables = [StoredTable("/entry/data", described, "NXdata")]
    tables += [StoredTable(f"/entry/instrument/{name}", log, "NXlog") for name in logs]
    file = GrowingFile(path, tables)
    file.append(0, columns)
    for number, name in enumerate(logs, start=1):
        file.append(number, {"value": columns[name], "time": columns["sample_time"]})
    file.close()
    run = compose_run(
        metadata={
            "scan_id": 1,
            "plan_name": "flyscan",
            "motors": ["energy"],
            "element": "N",
            "edge": "K",
            "mode": "tey",
            "sample": {"name": "N2"},
            "spectra": {"tey": {"signal": "sample", "i0": "mesh"}},
        }
    )
    documents: list[tuple[str, dict[str, Any]]] = [("start", dict(run.start_doc))]
    streams = {"primary": {name: f"/entry/data/{name}" for name in columns}}
    for name in logs:
        group = f"/entry/instrument/{name}"
        streams[name] = {f"{name}_value": f"{group}/value", f"{name}_timestamp": f"{group}/time"}
    for stream, places in streams.items():
        keys = {
            key: {
                "source": "bench",
                "dtype": "number",
                "shape": [],
                "units": UNITS.get(key, ""),
                "external": "STREAM:",
            }
            for key in places
        }
        descriptor = run.compose_descriptor(name=stream, data_keys=keys)
        documents.append(("descriptor", descriptor.descriptor_doc))
        for key, dataset in places.items():
            resource, compose = run.compose_stream_resource(
                mimetype="application/x-hdf5",
                uri=f"file://localhost{path}",
                data_key=key,
                parameters={"dataset": dataset, "chunk_shape": [1_000_000]},
            )
            part = {"start": 0, "stop": count}
            numbers = {"start": 1, "stop": count + 1}
            datum = compose(part, numbers, descriptor=descriptor.descriptor_doc)
            documents += [("stream_resource", resource), ("stream_datum", datum)]
    documents.append(("stop", run.compose_stop()))
    return documents


def measure_files(count: int, repeats: int = REPEATS) -> Iterator[dict[str, Any]]:
    """Export one run in each format; yield a row for each.

    Yields
    ------
    dict
        ``what``, ``rows``, ``seconds`` (median, in this process), ``MB`` (of the file) and
        ``data_MB`` (of the run's own file).
    """
    from glidepath.catalog.journal import encode

    with tempfile.TemporaryDirectory(prefix="glidepath-bench-") as place:
        folder = Path(place)
        documents = make_run(folder / "run", count)
        lines = b"".join(encode(name, document) for name, document in documents)
        data = (folder / "run" / "glidepath.h5").stat().st_size / 1e6
        for kind, ending in KINDS.items():
            # NeXus as at the end of a scan, with links; all others hold copies.
            path = folder / "run" / f"x{ending}" if kind == "nexus" else folder / f"x{ending}"
            took = []
            for _ in range(repeats):
                begin = time.perf_counter()
                write_run(Run(documents), path, kind, Choice(), documents=lines)
                took.append(time.perf_counter() - begin)
            yield _row(kind, count, statistics.median(took), path.stat().st_size / 1e6, data)
        yield _process(folder, documents, lines, count, repeats, data)


def _process(
    folder: Path, documents: Any, lines: bytes, count: int, repeats: int, data: float
) -> dict[str, Any]:
    """Measure the whole process that a session starts when a run stops."""
    from glidepath.session.session import EXPORT_COMMAND

    journal = folder / "journal" / f"{documents[0][1]['uid']}.jsonl"
    journal.parent.mkdir()
    journal.write_bytes(lines)
    took = []
    for _ in range(repeats):
        begin = time.perf_counter()
        subprocess.run(
            [*EXPORT_COMMAND, str(journal), "--data", str(folder)], check=True, capture_output=True
        )
        took.append(time.perf_counter() - begin)
    return _row("the process at the end of a scan", count, statistics.median(took), None, data)


def _row(
    what: str, count: int | None, seconds: float, size: float | None, data: float | None
) -> dict[str, Any]:
    return {"what": what, "rows": count, "seconds": seconds, "MB": size, "data_MB": data}


def measure_scans(count: int, exports: bool) -> list[float]:
    """Fly scans one after the other in a session; return the seconds from begin to begin."""
    return in_own_process(_scans, count, exports)


def _scans(count: int, exports: bool) -> list[float]:
    import os

    from glidepath.simulation import SimulatedBeamline

    with (
        tempfile.TemporaryDirectory(prefix="glidepath-bench-") as folder,
        SimulatedBeamline(seed=1) as simulated,
    ):
        os.environ.update(simulated.environment)
        os.environ["GLIDEPATH_PREFIX"] = simulated.settings.prefix
        from glidepath import Session, flyscan

        begins = []
        with Session(
            "glidepath.beamlines.simulated", folder, catalogue=False, live=False, exports=exports
        ) as session:
            session.experiment = session.experiment.changed(sample="N2", element="N", edge="K")
            devices = session.devices(["mesh", "sample", "energy"])
            for number in range(count + 2):
                begins.append(time.perf_counter())
                ends = (400.0, 402.0) if number % 2 == 0 else (402.0, 400.0)
                session.run(flyscan(devices[:2], devices[2], *ends, 1.0))
            begins.append(time.perf_counter())
        # The first one connects and compiles.
        return [later - earlier for earlier, later in pairwise(begins[2:])]


def rows(quick: bool = False) -> list[dict[str, Any]]:
    """Measure files, then scans with and without exports, in turn."""
    found = []
    for count in QUICK_ROWS if quick else ROWS:
        found += list(measure_files(count, 1 if quick else REPEATS))
    scans = QUICK_SCANS if quick else SCANS
    took: dict[bool, list[float]] = {False: [], True: []}
    for exports in (False, True) if quick else (False, True, True, False):
        took[exports] += measure_scans(scans, exports)
    for exports, seconds in took.items():
        what = f"a scan of 2 s {'with' if exports else 'without'} exports, begin to begin"
        found.append(_row(what, None, statistics.median(seconds), None, None))
    return found


def table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Show the rows."""
    result = Table(title="exports: time, size, and what a scan notices", title_justify="left")
    for label in ("what", "rows", "s", "MB", "MB of data"):
        result.add_column(label)
    for row in rows:
        result.add_row(
            row["what"],
            "" if row["rows"] is None else str(row["rows"]),
            f"{row['seconds']:.3f}",
            "" if row["MB"] is None else f"{row['MB']:.2f}",
            "" if row["data_MB"] is None else f"{row['data_MB']:.2f}",
        )
    return result
