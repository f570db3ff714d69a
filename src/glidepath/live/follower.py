"""Follows the primary table of a running scan by its documents, and reads its file."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import numpy as np
from numpy.typing import NDArray

from glidepath.storage import open_to_read, place_in_folder

RUN_FOLDER_DEPTH = 5
"""Parts of a file's path below the data directory: year, month, day, run, file."""


class PrimaryFollower:
    """A consumer of documents that knows how far the newest run is and can read its rows.

    Subscribe it to the run engine, or feed it the documents of a journal. Being called costs
    microseconds: it only notes where the rows lie and how many there are. `columns` reads them,
    from any thread.

    Parameters
    ----------
    root
        Data directory to look in first: files are no longer where the documents say when it was
        moved, and in a copy they are the copy's.
    folder
        The run's folder, if it was copied or moved by itself.
    """

    def __init__(self, root: Path | None = None, folder: Path | None = None) -> None:
        self._lock = threading.Condition()
        self._news = 0
        self._root = root
        self._folder = folder
        self.start: Mapping[str, Any] = {}
        self.stop: Mapping[str, Any] | None = None
        self.rows = 0
        self.keys: list[str] = []
        self.units: dict[str, str] = {}
        self._descriptor = ""
        self._places: dict[str, tuple[Path, str]] = {}
        self._resources: dict[str, Mapping[str, Any]] = {}

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take a document from the run engine."""
        with self._lock:
            if name == "start":
                self._tell()
                self.start, self.stop, self.rows, self.keys = document, None, 0, []
                self._descriptor, self.units = "", {}
                self._places, self._resources = {}, {}
            elif name == "descriptor" and document["name"] == "primary":
                self._descriptor = document["uid"]
                self.keys = list(document["data_keys"])
                self.units = {
                    key: str(described.get("units") or "")
                    for key, described in document["data_keys"].items()
                }
            elif name == "stream_resource":
                self._resources[document["uid"]] = document
            elif name == "stream_datum" and document["descriptor"] == self._descriptor:
                self._note(document)
            elif name == "stop":
                self.stop = document
                self._tell()

    def _tell(self) -> None:
        self._news += 1
        self._lock.notify_all()

    def wake(self) -> None:
        """Let everybody go on who waits for news."""
        with self._lock:
            self._tell()

    def wait(self, seen: int, seconds: float) -> int:
        """Wait until a run begins, grows or ends.

        Parameters
        ----------
        seen
            What this function returned before, or 0.
        seconds
            To wait at most.

        Returns
        -------
        int
            Another number if there is news since ``seen``.
        """
        with self._lock:
            self._lock.wait_for(lambda: self._news != seen, seconds)
            return self._news

    def _note(self, datum: Mapping[str, Any]) -> None:
        resource = self._resources.get(datum["stream_resource"])
        if resource is None or "dataset" not in resource["parameters"]:
            return
        path = Path(unquote(urlparse(resource["uri"]).path))
        self._places[resource["data_key"]] = (path, resource["parameters"]["dataset"])
        if datum["indices"]["stop"] > self.rows:
            self.rows = datum["indices"]["stop"]
            self._tell()

    @property
    def axis(self) -> str:
        """Name of the axis column."""
        motors = self.start.get("motors") or ["energy"]
        return str(motors[0])

    @property
    def running(self) -> bool:
        """Whether a run has begun and not ended yet."""
        return bool(self.start) and self.stop is None

    @property
    def expected(self) -> int:
        """Rows that the pre-flight promises, or 0 if the run does not say."""
        return int(self.start.get("preflight", {}).get("rows", 0))

    @property
    def file(self) -> Path | None:
        """The file that holds the axis's column, where it is now."""
        with self._lock:
            place = self._places.get(self.axis)
        return None if place is None else self._found(place[0])

    @property
    def scalars(self) -> list[str]:
        """Names of the columns that are one number a row, as far as they are announced."""
        with self._lock:
            return [key for key in self.keys if key in self._places and not _is_image(key)]

    def columns(self, names: Sequence[str], begin: int = 0) -> dict[str, NDArray[np.float64]]:
        """Read announced rows from number ``begin`` on; columns of equal length (m,).

        Columns that are not announced yet are left out.

        Raises
        ------
        OSError
            If they cannot be read now: the file is being written just now, has gone, or is damaged.
        """
        with self._lock:
            places = {name: self._places[name] for name in names if name in self._places}
            rows = self.rows
        found: dict[str, NDArray[np.float64]] = {}
        for path in {place[0] for place in places.values()}:
            own = {name: dataset for name, (where, dataset) in places.items() if where == path}
            try:
                with open_to_read(self._found(path)) as file:
                    for name, dataset in own.items():
                        found[name] = np.asarray(file[dataset][begin:rows], float)
            # What h5py raises for what is not there, and for what is there in part.
            except (KeyError, RuntimeError, ValueError, TypeError) as error:
                raise OSError(f"{path} cannot be read now ({error}).") from error
        shortest = min((len(column) for column in found.values()), default=0)
        return {name: found[name][:shortest] for name in places}

    def place_of(self, resource: Mapping[str, Any]) -> Path:
        """Return where the file of a ``stream_resource`` document is now."""
        return self._found(Path(unquote(urlparse(resource["uri"]).path)))

    def _found(self, path: Path) -> Path:
        if self._folder is not None:
            return place_in_folder(self._folder, path, self.start.get("uid", ""))
        if self._root is None or len(path.parts) <= RUN_FOLDER_DEPTH:
            return path
        moved = self._root.joinpath(*path.parts[-RUN_FOLDER_DEPTH:])
        return moved if moved.exists() else path


def _is_image(key: str) -> bool:
    return key.endswith("_image")


__all__ = ["PrimaryFollower"]
