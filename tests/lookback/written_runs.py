"""Writes runs as a session does, without flying: journals, and files where rows are wanted."""

import json
import uuid
from pathlib import Path

import h5py
import numpy as np


def write_run(
    root: Path,
    number: int,
    columns=None,
    *,
    uid: str | None = None,
    begun: float = 1_700_000_000.0,
    status: str | None = "success",
    baseline=(),
    **more,
) -> str:
    """Write one run; return its uid. ``baseline``: dictionaries of values, first and last."""
    uid = uid or str(uuid.UUID(int=number * 7919 + 1, version=4))
    rows = len(next(iter(columns.values()))) if columns else 0
    documents = [("start", start_document(uid, number, begun, more))]
    if baseline:
        documents += baseline_documents(uid, baseline)
    if columns:
        documents += table_documents(root, uid, number, columns)
    if status is not None:
        documents.append(
            (
                "stop",
                {
                    "uid": f"stop-{uid}",
                    "run_start": uid,
                    "time": begun + 60.0,
                    "exit_status": status,
                    "reason": more.get("reason", f"{rows} rows."),
                    "num_events": {"primary": rows},
                },
            )
        )
    folder = root / "journal"
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps({"name": name, "doc": doc}) + "\n" for name, doc in documents)
    (folder / f"{uid}.jsonl").write_text(text)
    return uid


def start_document(uid, number, begun, more):
    return {
        "uid": uid,
        "scan_id": number,
        "time": begun,
        "plan_name": "flyscan",
        "motors": ["energy"],
        "detectors": ["mesh", "sample"],
        "display": {"reference": "mesh", "silent": []},
        "preflight": {"start": 400.0, "stop": 402.0, "unit": "eV", "rows": 100},
        **{key: value for key, value in more.items() if key != "reason"},
    }


def baseline_documents(uid, readings):
    keys = {
        name: {"source": name, "dtype": "number", "shape": [], "units": "mm", "precision": 3}
        if isinstance(value, float)
        else {"source": name, "dtype": "string", "shape": []}
        for name, value in readings[0].items()
    }
    descriptor = {"uid": f"b-{uid}", "run_start": uid, "name": "baseline", "data_keys": keys}
    events = [
        ("event", {"uid": f"e{i}-{uid}", "descriptor": f"b-{uid}", "seq_num": i + 1, "data": data})
        for i, data in enumerate(readings)
    ]
    return [("descriptor", descriptor), *events]


def table_documents(root, uid, number, columns):
    path = root / "2023" / "11" / "14" / f"{number:06d}_{uid[:8]}" / "glidepath.h5"
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file[f"entry/data/{name}"] = np.asarray(values)
    rows = len(next(iter(columns.values())))
    keys = {
        name: {"source": name, "dtype": "number", "shape": [], "external": "STREAM:", "units": "eV"}
        for name in columns
    }
    documents = [
        ("descriptor", {"uid": f"d-{uid}", "run_start": uid, "name": "primary", "data_keys": keys})
    ]
    for name in columns:
        resource = {
            "uid": f"{name}-{uid}",
            "run_start": uid,
            "data_key": name,
            "uri": f"file://localhost{path}",
            "mimetype": "application/x-hdf5",
            "parameters": {"dataset": f"/entry/data/{name}"},
        }
        datum = {
            "uid": f"{name}-{uid}/0",
            "descriptor": f"d-{uid}",
            "stream_resource": f"{name}-{uid}",
            "indices": {"start": 0, "stop": rows},
            "seq_nums": {"start": 1, "stop": rows + 1},
        }
        documents += [("stream_resource", resource), ("stream_datum", datum)]
    return documents
