"""Reads what a PandA has captured from the HDF5 file that its server is still writing."""

from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glidepath.storage.followed_file import FollowedFile

Floats = NDArray[np.float64]


class CaptureFile(FollowedFile):
    """Follows datasets of one file of the PandA's server (``pandablocks.hdf``, SWMR).

    Parameters
    ----------
    path
        The file; it need not be there yet.
    datasets
        Names of datasets of one dimension to read.
    """

    def __init__(self, path: Path, datasets: list[str]) -> None:
        super().__init__(path)
        self._datasets = datasets

    def is_there(self) -> bool:
        """Return whether it can be read.

        Raises
        ------
        KeyError
            If it can, but does not have all the datasets; the text says what it has.
        """
        with self._lock:
            file = self._open()
            if file is None:
                return False
            missing = [name for name in self._datasets if name not in file]
            if missing:
                raise KeyError(f"{self.path} has no {', '.join(missing)}: it has {', '.join(file)}")
            return True

    def start(self) -> float | None:
        """Return when its times begin, on the clock of the box (POSIX s), if the file says so."""
        with self._lock:
            file = self._open()
            text = None if file is None else file.attrs.get("start_time")
            if file is None or not isinstance(text, str):
                return None
            offset = float(file.attrs.get("hw_time_offset_ns", 0) or 0) * 1e-9
        try:
            # The fraction has nine digits, of which datetime knows six.
            whole, _, fraction = text.removesuffix("Z").partition(".")
            seconds = datetime.fromisoformat(f"{whole}+00:00").timestamp()
            return seconds + float(f"0.{fraction or 0}") + offset
        except ValueError:
            return None

    def read(self) -> Floats:
        """Return the rows that were not returned before: shape (number of datasets, n)."""
        with self._lock:
            file = self._open()
            if file is None:
                return np.empty((len(self._datasets), 0))
            try:
                datasets = [file[name] for name in self._datasets]
                for dataset in datasets:
                    dataset.refresh()
                # They are written one after the other.
                end = min(len(dataset) for dataset in datasets)
                rows = np.stack([dataset[self.rows : end] for dataset in datasets])
            except (OSError, RuntimeError):
                # A part of what belongs together is written: next time.
                self._close()
                return np.empty((len(self._datasets), 0))
            self.rows = end
            return rows


__all__ = ["CaptureFile"]
