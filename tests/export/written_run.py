"""Runs as the sampler leaves them: a growing file, images of a camera, and documents."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from event_model import compose_run

from glidepath.export import Run
from glidepath.storage import AlignedImages, Column, GrowingFile, Table
from glidepath.storage.aligned_images import DATASET

BEGIN = 1_700_000_000.0
PERIOD = 0.1
EXPERIMENT = {
    "facility": "BESSY II",
    "beamline": "UE48",
    "element": "N",
    "edge": "K",
    "mode": "tey",
    "sample": {"name": "N2 gas cell", "sample_id": "S-7", "chemical_formula": "N2"},
    "users": [{"name": "A. Müller", "orcid": "0000-0002-1825-0097", "affiliation": "HZB"}],
    "proposal": {"proposal_id": "242-12345", "title": "Nitrogen"},
    "spectra": {"tey": {"signal": "sample", "i0": "mesh"}},
}
BASELINE = {
    "ring-current": ("mA", 299.5, 299.1),
    "ring-lifetime": ("h", 10.0, 10.0),
    "ue48-gap": ("mm", 34.1, 35.4),
    "ue48-shift": ("mm", 0.0, 0.0),
    "pgm": ("eV", 400.0, 410.0),
}
CONFIGURATION = {
    "ue48": {"ue48-harmonic": 1, "ue48-polarisation": "horizontal"},
    "pgm": {"pgm-cff": 2.25, "pgm-line_density": 600.0, "pgm-order": 1, "pgm-slit": 25.0},
}
UNITS = {"energy": "eV", "energy_lower": "eV", "energy_upper": "eV", "mesh": "A", "sample": "A"}
WHOLE = {"pass_number", "region_number", "quality"}


def absorption(energy: np.ndarray) -> np.ndarray:
    """Return the ratio of sample to mesh that the runs have."""
    return 0.1 + np.exp(-(((energy - 405.0) / 0.5) ** 2))


def table_of(rows: int, passes: int = 1, noise: float = 0.0, seed: int = 1) -> dict[str, Any]:
    """Return the columns of a scan from 400 to 410 eV, up and down in turn."""
    width = 10.0 / rows if rows else 1.0
    up = 400.0 + width * (np.arange(rows) + 0.5)
    energy = np.concatenate([up if n % 2 == 0 else up[::-1] for n in range(passes)])
    number = np.arange(len(energy))
    mesh = 1e-9 * (2.0 + 0.1 * np.sin(number))
    scatter = np.random.default_rng(seed).normal(0, noise, len(energy))
    return {
        "energy": energy,
        "energy_lower": energy - width / 2,
        "energy_upper": energy + width / 2,
        "sample_time": BEGIN + PERIOD * (number + 0.5),
        "sample_duration": np.full(len(energy), PERIOD),
        "mesh": mesh,
        "sample": mesh * (absorption(energy) + scatter),
        "region_number": np.ones(len(energy)),
        "pass_number": number // max(rows, 1) + 1,
        "quality": np.zeros(len(energy)),
    }


def write_run(
    folder: Path,
    columns: dict[str, Any],
    *,
    raw: bool = True,
    images: bool = False,
    start: dict[str, Any] | None = None,
    exit_status: str | None = "success",
    announced: int | None = None,
) -> list[tuple[str, dict[str, Any]]]:
    """Write a run's files into its folder; return its documents, and keep them in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "glidepath.h5"
    table = [
        Column(name, "<u2" if name in WHOLE else "<f8", UNITS.get(name, "")) for name in columns
    ]
    tables = [Table("/entry/data", table, "NXdata", {"signal": "sample", "axes": ["energy"]})]
    logs = ["energy", "mesh", "sample"] if raw else []
    log = [Column("value"), Column("time", unit="s")]
    tables += [Table(f"/entry/instrument/{name}", log, "NXlog") for name in logs]
    file = GrowingFile(path, tables, {"title": "flyscan energy"})
    file.append(0, {name: np.asarray(values) for name, values in columns.items()})
    for number, name in enumerate(logs, start=1):
        values = {"value": columns[name], "time": columns["sample_time"]}
        file.append(number, values)
    file.close()
    rows = len(columns["energy"]) if announced is None else announced
    documents: list[tuple[str, dict[str, Any]]] = []
    metadata = EXPERIMENT | {"scan_id": 7, "plan_name": "flyscan", "motors": ["energy"]}
    run = compose_run(metadata=metadata | (start or {}), time=BEGIN)
    documents.append(("start", dict(run.start_doc)))
    _baseline(run, documents)
    keys = {name: f"/entry/data/{name}" for name in columns}
    resources = [(path, keys)]
    if images:
        resources.append((_images(folder, len(columns["energy"])), {"camera_image": DATASET}))
    _stream(run, documents, "primary", resources, rows)
    for name in logs:
        kind = "readback" if name == "energy" else "detector"
        group = f"/entry/instrument/{name}"
        places = {f"{name}_value": f"{group}/value", f"{name}_timestamp": f"{group}/time"}
        _stream(run, documents, name, [(path, places)], rows, kind)
    if exit_status is not None:
        reason = "" if exit_status == "success" else "Ctrl-C"
        documents.append(("stop", run.compose_stop(exit_status=exit_status, reason=reason)))
    text = "".join(json.dumps({"name": n, "doc": d}, default=float) + "\n" for n, d in documents)
    (folder / "documents.jsonl").write_text(text)
    return documents


def _baseline(run: Any, documents: list) -> None:
    def described(value: Any, unit: str = "") -> dict[str, Any]:
        kind = "string" if isinstance(value, str) else "number"
        return {"source": "test", "dtype": kind, "shape": [], "units": unit}

    descriptor = run.compose_descriptor(
        name="baseline",
        data_keys={key: described(first, unit) for key, (unit, first, _) in BASELINE.items()},
        object_keys={},
        configuration={
            device: {
                "data": data,
                "timestamps": dict.fromkeys(data, BEGIN),
                "data_keys": {key: described(value) for key, value in data.items()},
            }
            for device, data in CONFIGURATION.items()
        },
    )
    documents.append(("descriptor", descriptor.descriptor_doc))
    for row in (1, 2):
        data = {key: entry[row] for key, entry in BASELINE.items()}
        event = descriptor.compose_event(data=data, timestamps=dict.fromkeys(data, BEGIN))
        documents.append(("event", event))


def _stream(
    run: Any, documents: list, name: str, resources: list, rows: int, kind: str | None = None
) -> None:
    keys = {
        key: {
            "source": f"ca://TEST:{key}",
            "dtype": "array" if key == "camera_image" else "number",
            "dtype_numpy": "<u2" if key in WHOLE | {"camera_image"} else "<f8",
            "shape": [4, 3] if key == "camera_image" else [],
            "units": UNITS.get(key.removesuffix("_value"), ""),
            "external": "STREAM:",
        }
        for _, places in resources
        for key in places
    }
    configuration = {}
    if kind is not None:
        data = {f"{name}_kind": kind, f"{name}_latency": 0.01, f"{name}_aperture": PERIOD}
        described = {"source": "test", "dtype": "number", "shape": []}
        configuration[name] = {
            "data": data,
            "timestamps": dict.fromkeys(data, BEGIN),
            "data_keys": {key: dict(described) for key in data},
        }
        configuration[name]["data_keys"][f"{name}_kind"]["dtype"] = "string"
    descriptor = run.compose_descriptor(
        name=name, data_keys=keys, object_keys={}, configuration=configuration
    )
    documents.append(("descriptor", descriptor.descriptor_doc))
    for path, places in resources if rows else ():
        for key, dataset in places.items():
            resource, compose = run.compose_stream_resource(
                mimetype="application/x-hdf5",
                uri=f"file://localhost{path}",
                data_key=key,
                parameters={"dataset": dataset, "chunk_shape": [1000]},
            )
            documents.append(("stream_resource", resource))
            datum = compose(
                {"start": 0, "stop": rows},
                {"start": 1, "stop": rows + 1},
                descriptor=descriptor.descriptor_doc,
            )
            documents.append(("stream_datum", datum))


def _images(folder: Path, rows: int) -> Path:
    """Write a camera's file, and the file that shows its frames row by row."""
    pixels = folder / "camera.h5"
    with h5py.File(pixels, "w") as file:
        file["/entry/data/data"] = np.arange(1, rows * 12 + 1, dtype=np.uint16).reshape(rows, 4, 3)
    aligned = AlignedImages(folder / "images.h5", (4, 3), np.dtype(np.uint16))
    aligned.add(pixels, "/entry/data/data", np.arange(rows))
    aligned.write()
    return aligned.path


def run_of(folder: Path, *arguments: Any, **keywords: Any) -> Run:
    """Return a run that has just been written."""
    return Run(write_run(folder, *arguments, **keywords), home=folder)
