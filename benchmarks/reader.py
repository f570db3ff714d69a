"""A client in a process of its own that reads a growing scan from Tiled (for document_counts).

Run as ``python -m benchmarks.reader URI SECONDS``, with the key in ``TILED_API_KEY``. Prints a
line when it is connected; reads the newest run's table every so many seconds until its stop
document is there; prints what it saw as JSON.
"""

import json
import os
import sys
import time
from typing import Any

import numpy as np

__all__ = ["follow"]

COLUMNS = ["energy", "sample_time"]


def follow(client: Any, every: float) -> dict[str, Any]:
    """Read the one run of a catalogue until it is complete; see `document_counts.judge`."""
    from glidepath.catalog import CatalogError, load_run, read_primary

    looks: list[tuple[float, int, float]] = []
    same = True
    columns = {name: np.empty(0) for name in COLUMNS}
    while True:
        time.sleep(every)
        try:
            run = load_run(client, -1)
            stopped = run.metadata.get("stop") is not None
            newest = read_primary(run, COLUMNS)
        except CatalogError:
            continue  # not there yet
        known = len(columns["energy"])
        same &= len(newest["energy"]) >= known and all(
            np.array_equal(newest[name][:known], columns[name]) for name in COLUMNS
        )
        columns = newest
        if len(newest["energy"]):
            looks.append((time.time(), len(newest["energy"]), float(newest["sample_time"][-1])))
        if stopped:
            return {
                "looks": looks,
                "same": bool(same),
                **{name: column.tolist() for name, column in columns.items()},
            }


def main() -> None:
    """Follow the run of the server that the command line names."""
    from glidepath.catalog import open_catalog

    uri, every = sys.argv[1], float(sys.argv[2])
    client = open_catalog(uri, os.environ["TILED_API_KEY"])
    print("connected", flush=True)
    json.dump(follow(client, every), sys.stdout)


if __name__ == "__main__":
    main()
