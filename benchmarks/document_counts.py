"""How many documents a scan makes, and what another process sees of it while it runs.

The number of documents must grow with time only, never with samples: scans of 10 s and of
100 s, and one of 10 s whose readbacks come ten times as often. During the longest one a client
in a process of its own reads the growing ``primary`` table from Tiled again and again.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from .beamline import in_own_process, simulated_setup

__all__ = ["judge", "rows", "table"]

PERIOD = 0.02
"""Length of a row (s)."""

START = 398.0
"""Begin of the range (eV)."""

LENGTH = 10.0
"""Range (eV); the velocity makes the duration."""

KINDS = ("descriptor", "event", "event_page", "stream_resource", "stream_datum")

READ_EVERY = 0.5
"""Seconds between two looks of the reader."""


def rows(quick: bool = False) -> list[dict[str, Any]]:
    """Measure; a row for each scan, the one that was read meanwhile with what was seen."""
    if quick:
        return [in_own_process(measure, 10.0, 10.0, True)]
    return [
        in_own_process(measure, 10.0, 10.0, False),
        in_own_process(measure, 10.0, 100.0, False),
        in_own_process(measure, 100.0, 10.0, True),
    ]


def measure(seconds: float, readback_Hz: float, read: bool) -> dict[str, Any]:
    """Fly for so long; count the documents; let another process read meanwhile if asked."""
    from glidepath.catalog import LocalTiledServer, Publisher
    from glidepath.plans import flyscan

    seen: dict[str, Any] = {}
    with simulated_setup(readback_Hz=readback_Hz) as setup:
        detectors = [setup.devices["mesh"], setup.devices["sample"]]
        plan = flyscan(
            detectors,
            setup.devices["energy"],
            START,
            START + LENGTH,
            LENGTH / seconds,
            period=PERIOD,
        )
        if read:
            with LocalTiledServer(setup.root) as server:
                publisher = Publisher(setup.root / "journal", server.client)
                setup.engine.subscribe(publisher)
                environment = os.environ | {"TILED_API_KEY": server.api_key}
                reader = subprocess.Popen(
                    [sys.executable, "-m", f"{__package__}.reader", server.uri, str(READ_EVERY)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env=environment | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                )
                try:
                    assert reader.stdout is not None
                    reader.stdout.readline()  # it is connected
                    run = setup.run(plan)
                    publisher.close(60.0)
                    output, _ = reader.communicate(timeout=60)
                finally:
                    reader.kill()
                    reader.wait()
            seen = judge(
                json.loads(output), (START, START + LENGTH), run.of("stop")[0]["num_events"]
            )
        else:
            run = setup.run(plan)
    counted = {kind: len(run.of(kind)) for kind in KINDS}
    counts = run.of("stop")[0]["num_events"]
    streams = len(run.of("descriptor"))
    return {
        "scan_s": seconds,
        "readback_Hz": readback_Hz,
        "streams": streams,
        "rows": counts["primary"],
        "raw_updates": sum(v for k, v in counts.items() if k not in ("primary", "verdict")),
        **{f"{kind}s": number for kind, number in counted.items()},
        "documents": len(run.documents),
        **{
            f"reader_{name}": seen.get(name)
            for name in ("reads", "rising", "repeated", "outside", "rows", "agrees", "behind_s")
        },
    }


def judge(
    seen: Mapping[str, Any], ends: tuple[float, float], num_events: Mapping[str, int]
) -> dict[str, Any]:
    """Return what a reader saw of a growing table, in numbers.

    Parameters
    ----------
    seen
        What the reader wrote: ``looks``, a list of (time of the look, rows, newest sample time);
        ``energy`` and ``sample_time``, the columns at the end; ``same``, whether each look had
        the rows of the look before.
    ends
        Range of the scan (eV).
    num_events
        Of the stop document.
    """
    energy: NDArray[np.float64] = np.array(seen["energy"], float)
    times: NDArray[np.float64] = np.array(seen["sample_time"], float)
    looks = seen["looks"]
    # Only looks at which rows were new: before and after the flight nothing comes.
    grown = [look for before, look in pairwise(looks) if look[1] > before[1]]
    behind = [when - newest for when, _, newest in grown]
    return {
        "reads": len(grown),
        "rising": bool(np.all(np.diff(energy) > 0)) and bool(seen["same"]),
        "repeated": len(times) - len(np.unique(times)),
        "outside": int(np.sum((energy < ends[0]) | (energy > ends[1]))),
        "rows": len(energy),
        "agrees": len(energy) == num_events["primary"],
        "behind_s": round(float(np.median(behind)), 3) if behind else None,
    }


def table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Return the rows as a table, a column for each."""
    rows = list(rows)
    result = Table(title="document_counts: documents of sampled scans", title_justify="left")
    result.add_column("scan (s)")
    for row in rows:
        result.add_column(f"{row['scan_s']:g}", justify="right")
    labels = {
        "readback_Hz": "readback (Hz)",
        "rows": "rows of primary",
        "raw_updates": "updates in raw streams",
        "descriptors": "descriptors",
        "events": "events",
        "stream_resources": "stream resources",
        "stream_datums": "stream datums",
        "documents": "all documents",
        "reader_reads": "reads during the scan that found new rows",
        "reader_behind_s": "age of the newest row read, median (s)",
        "reader_rising": "rows rise, and stay as they were read",
        "reader_repeated": "repeated rows",
        "reader_outside": "rows outside of the range",
        "reader_agrees": "as many rows as the stop document says",
    }
    for key, label in labels.items():
        values = [row[key] for row in rows]
        result.add_row(label, *("-" if value is None else f"{value}" for value in values))
    return result
