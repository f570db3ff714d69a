"""The samples of a simulated PandA, and the HDF5 file that its server writes them to.

Layout and behaviour of the file: ``pandablocks/hdf.py`` of PandABlocks-client; of the process
variables: ``panda/blocks/data.py`` of fastcs-PandABlocks.
"""

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from .channels import Database
from .pv_access import Block

__all__ = ["DataWriter"]

Floats = NDArray[np.float64]

_CHUNK = 1024
_MODES = ("FIRST_N", "LAST_N", "FOREVER")


class DataWriter:
    """The data block: takes samples from an arming on, and writes them each flush period.

    Faults, under ``FAULT:``: ``panda_no_file``, it makes no file; ``panda_file_stuck``, what it
    has to write does not reach the file.

    Parameters
    ----------
    block
        Where its process variables are added.
    database
        Where those of the faults are added.
    """

    def __init__(self, block: Block, database: Database) -> None:
        self._directory = block.scalar("hdf_directory", "", on_put=self._look_for_directory)
        self._name = block.scalar("hdf_file_name", "", on_put=lambda _: self._show_path())
        self._full_path = block.scalar("hdf_full_file_path", "")
        self._levels = block.scalar("create_directory", 0, writable=True)
        self._exists = block.scalar("directory_exists", False)
        self._number = block.scalar("num_capture", 0, writable=True)
        self._captured = block.scalar("num_captured", 0)
        self._received = block.scalar("num_received", 0)
        self._flush_period = block.scalar("flush_period", 1.0, writable=True)
        self._mode = block.choice("capture_mode", "FIRST_N", _MODES, writable=True)
        self._capture = block.scalar("capture", False, on_put=self._capture_changed)
        self._status = block.scalar("status", "OK")
        self._datasets = block.table(
            "datasets", [("name", "s"), ("dtype", "s")], {"name": [], "dtype": []}
        )
        self._no_file = database.integer("FAULT:panda_no_file", 0, writable=True)
        self._stuck = database.integer("FAULT:panda_file_stuck", 0, writable=True)
        self._file: h5py.File | None = None
        self._columns: list[h5py.Dataset] = []
        self._waiting: list[Floats] = []
        self._samples: list[Floats] = []
        """Of the running capture, from its beginning on: who connects late gets them too."""
        self._running: tuple[list[str], float] | None = None
        self._flushed = 0.0

    def show_datasets(self, names: Sequence[str]) -> None:
        """Publish what will be in a file."""
        self._datasets.post({"name": list(names), "dtype": ["float64"] * len(names)})

    def _look_for_directory(self, text: str) -> None:
        path, levels = Path(text), -int(self._levels.value)
        if levels > 0 and path.parents[min(levels, len(path.parents)) - 1].is_dir():
            path.mkdir(parents=True, exist_ok=True)
        self._exists.post(bool(text) and path.is_dir() and os.access(path, os.W_OK))
        self._show_path()

    def _show_path(self) -> None:
        self._full_path.post(f"{self._directory.value}/{self._name.value}")

    def _capture_changed(self, on: bool) -> None:
        if on:
            self._captured.post(0)
            self._received.post(0)
            self._status.post("Starting capture")
            self._join()
        else:
            self._write_waiting()
            self._close()
            self._status.post("Capturing disabled")

    def begin(self, datasets: Sequence[str], start: float) -> None:
        """Take samples from now on: position capture was armed, and began at a time (POSIX s)."""
        self._running = list(datasets), start
        self._samples.clear()
        self._join()

    def _join(self) -> None:
        """Make the file of a running capture; it begins with what has been captured already."""
        if self._running is None or not self._capture.value or self._file is not None:
            return
        if self._no_file.value:
            return
        datasets, start = self._running
        try:
            self._file = h5py.File(Path(str(self._full_path.value)), "w", libver="latest")
        except OSError:
            self._status.post("Capture disabled, unexpected exception.")
            self._capture.post(False)
            return
        # In the order of the samples, which is not that of the file's index.
        self._columns = [
            self._file.create_dataset(
                name, shape=(0,), maxshape=(None,), chunks=(_CHUNK,), dtype="f8"
            )
            for name in datasets
        ]
        self._file.swmr_mode = True
        # Written too late for readers: they see them when the file is closed.
        began = datetime.fromtimestamp(int(start), UTC).strftime("%Y-%m-%dT%H:%M:%S")
        stamp = f"{began}.{int(start % 1 * 1e9):09d}Z"
        self._file.attrs.update(arm_time=stamp, start_time=stamp, hw_time_offset_ns=0)
        self._waiting = list(self._samples)
        self._received.post(sum(rows.shape[1] for rows in self._samples))

    def add(self, samples: Mapping[str, Floats]) -> None:
        """Take samples: dataset -> shape (n,)."""
        rows = np.stack(list(samples.values()))
        self._samples.append(rows)
        if self._file is not None:
            self._waiting.append(rows)
            self._received.post(int(self._received.value) + rows.shape[1])

    def end(self, now: float) -> None:
        """Write what has come: position capture was disarmed."""
        self.flush(now, end=True)
        self._running = None
        self._samples.clear()

    def flush(self, now: float, *, end: bool = False) -> None:
        """Write what has come, if a flush period has passed, or at the end of a capture."""
        if self._waiting and (end or now - self._flushed >= float(self._flush_period.value)):
            self._flushed = now
            self._write_waiting()
        if end and self._file is not None:
            self._status.post("Finished capture, waiting for next ReadyData")

    def _write_waiting(self) -> None:
        if not self._waiting or self._file is None or self._stuck.value:
            return
        rows = np.concatenate(self._waiting, axis=1)
        self._waiting.clear()
        limit = int(self._number.value) if self._mode.value == "FIRST_N" else 0
        written = int(self._captured.value)
        if limit:
            rows = rows[:, : limit - written]
        for dataset, values in zip(self._columns, rows, strict=True):
            dataset.resize((written + len(values),))
            dataset[written:] = values
            dataset.flush()
        self._captured.post(written + rows.shape[1])
        if limit and written + rows.shape[1] >= limit:
            self._close()
            self._capture.post(False)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        self._waiting.clear()

    def close(self) -> None:
        """Close the file."""
        self._close()
