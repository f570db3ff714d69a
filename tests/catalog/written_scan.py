"""Scans written as the sampler writes them: a growing file, and the documents of its run."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import h5py
import numpy as np
from event_model import compose_run

COLUMNS = ("energy", "mesh", "quality")
DTYPES = {"quality": "<u2"}


def wait_for(condition: Callable[[], Any], timeout: float = 20.0) -> Any:
    """Return the condition's value as soon as it is true."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return value


def close(client: Any) -> None:
    client.context.http_client.close()


class GrowingFile:
    """The HDF5 file of one scan: the layout of the contract, written with SWMR."""

    def __init__(self, path: Path, chunk: int = 16384) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.rows = 0
        self._file = h5py.File(path, "w", libver="latest")
        self._columns = {}
        for name in [f"data/{c}" for c in COLUMNS] + [
            "instrument/mesh/time",
            "instrument/mesh/value",
        ]:
            self._columns[name] = self._file.create_dataset(
                f"/entry/{name}",
                shape=(0,),
                maxshape=(None,),
                chunks=(chunk,),
                dtype=DTYPES.get(name.split("/")[-1], "<f8"),
            )
            self._columns[name].attrs["units"] = "eV"
        self._file.swmr_mode = True

    def grow(self, rows: int) -> None:
        values = np.arange(self.rows, self.rows + rows)
        for dataset in self._columns.values():
            dataset.resize((self.rows + rows,))
            dataset[self.rows :] = values
            dataset.flush()
        self.rows += rows

    def close(self) -> None:
        self._file.close()


def data_key(dtype: str = "number", **more: str) -> dict[str, Any]:
    """Return what a descriptor says of a scalar."""
    return {"source": "test", "shape": [], "dtype": dtype, **more}


class Scan:
    """Documents of one scan, as the run engine emits them."""

    def __init__(self, emit: Callable[[str, dict], Any], path: Path, **metadata: Any) -> None:
        self.emit = emit
        self._run = compose_run(metadata={"plan_name": "flyscan", "scan_id": 1} | metadata)
        self.uid = self._run.start_doc["uid"]
        emit("start", self._run.start_doc)
        self.event("baseline", {"ring_current": 299.5})
        self._announced = 0
        self._datums = []
        streams = {
            "primary": {c: f"/entry/data/{c}" for c in COLUMNS},
            "mesh": {
                "mesh_timestamp": "/entry/instrument/mesh/time",
                "mesh_value": "/entry/instrument/mesh/value",
            },
        }
        for stream, keys in streams.items():
            descriptor = self._run.compose_descriptor(
                name=stream,
                data_keys={
                    key: data_key(
                        dtype_numpy=DTYPES.get(key, "<f8"), external="STREAM:", units="eV"
                    )
                    for key in keys
                },
            )
            emit("descriptor", descriptor.descriptor_doc)
            for key, dataset in keys.items():
                resource, compose_datum = self._run.compose_stream_resource(
                    mimetype="application/x-hdf5",
                    uri=f"file://localhost{quote(str(path))}",
                    data_key=key,
                    parameters={"dataset": dataset, "chunk_shape": [1_000_000], "swmr": True},
                )
                emit("stream_resource", resource)
                self._datums.append((compose_datum, descriptor.descriptor_doc))

    def event(self, stream: str, data: dict[str, Any]) -> None:
        descriptor = self._run.compose_descriptor(
            name=stream,
            data_keys={
                key: data_key("string" if isinstance(value, str) else "number")
                for key, value in data.items()
            },
        )
        self.emit("descriptor", descriptor.descriptor_doc)
        timestamps = dict.fromkeys(data, time.time())
        self.emit("event", descriptor.compose_event(data=data, timestamps=timestamps))

    def announce(self, rows: int) -> None:
        """Emit the StreamDatums up to this number of rows."""
        indices = {"start": self._announced, "stop": rows}
        seq_nums = {"start": self._announced + 1, "stop": rows + 1}
        for compose, descriptor in self._datums:
            datum = compose(dict(indices), dict(seq_nums), descriptor=descriptor)
            self.emit("stream_datum", datum)
        self._announced = rows

    def stop(self, exit_status: str = "success", reason: str = "") -> None:
        self.emit("stop", self._run.compose_stop(exit_status=exit_status, reason=reason))
