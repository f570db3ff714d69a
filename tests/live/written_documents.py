"""Documents of a fly scan whose file is written beforehand, for tests of what follows them."""

import sys
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "lookback"))

from written_runs import start_document, table_documents

UID = "12345678-0000-4000-8000-000000000001"


def documents_of(root, columns, *, steps=1, **more):
    """Return (name, document) of a run whose rows are announced in so many steps."""
    rows = len(next(iter(columns.values())))
    start = start_document(UID, 1, 1_700_000_000.0, {**more, "preflight": report(columns, rows)})
    table = table_documents(root, UID, 1, columns)
    datums = [document for name, document in table if name == "stream_datum"]
    documents = [("start", start), *[pair for pair in table if pair[0] != "stream_datum"]]
    edges = [rows * step // steps for step in range(steps + 1)]
    for begin, end in pairwise(edges):
        for datum in datums:
            part = {**datum, "indices": {"start": begin, "stop": end}}
            documents.append(("stream_datum", part))
    stop = {
        "uid": "stop",
        "run_start": UID,
        "time": 1_700_000_060.0,
        "exit_status": "success",
        "reason": "",
        "num_events": {"primary": rows},
    }
    return [*documents, ("stop", stop)]


def report(columns, rows):
    energy = columns["energy"]
    return {"start": float(min(energy)), "stop": float(max(energy)), "unit": "eV", "rows": rows}
