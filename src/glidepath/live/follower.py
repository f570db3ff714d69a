"""Follows the primary table of a running scan by its documents, and reads its file."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import h5py
import numpy as np
from numpy.typing import NDArray


class PrimaryFollower:
    """A consumer of documents that knows how far the newest run is and can read its rows.

    Subscribe it to the run engine. Being called costs microseconds: it only notes where the
    rows lie and how many there are. `columns` reads them, from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.start: Mapping[str, Any] = {}
        self.stop: Mapping[str, Any] | None = None
        self.rows = 0
        self.keys: list[str] = []
        self._descriptor = ""
        self._places: dict[str, tuple[Path, str]] = {}
        self._resources: dict[str, Mapping[str, Any]] = {}

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take a document from the run engine."""
        with self._lock:
            if name == "start":
                self.start, self.stop, self.rows, self.keys = document, None, 0, []
                self._descriptor = ""
                self._places, self._resources = {}, {}
            elif name == "descriptor" and document["name"] == "primary":
                self._descriptor = document["uid"]
                self.keys = list(document["data_keys"])
            elif name == "stream_resource":
                self._resources[document["uid"]] = document
            elif name == "stream_datum" and document["descriptor"] == self._descriptor:
                resource = self._resources.get(document["stream_resource"])
                if resource is not None:
                    path = Path(unquote(urlparse(resource["uri"]).path))
                    self._places[resource["data_key"]] = (path, resource["parameters"]["dataset"])
                    self.rows = max(self.rows, document["indices"]["stop"])
            elif name == "stop":
                self.stop = document

    @property
    def axis(self) -> str:
        """Name of the axis column."""
        motors = self.start.get("motors") or ["energy"]
        return motors[0]

    def columns(self, names: Sequence[str], begin: int = 0) -> dict[str, NDArray[np.float64]]:
        """Read announced rows from number ``begin`` on; columns of equal length (m,).

        Columns that are not announced yet are left out.
        """
        with self._lock:
            places = {name: self._places[name] for name in names if name in self._places}
            rows = self.rows
        found: dict[str, NDArray[np.float64]] = {}
        for path in {place[0] for place in places.values()}:
            with h5py.File(path, "r", libver="latest", swmr=True) as file:
                for name, (where, dataset) in places.items():
                    if where == path:
                        found[name] = np.asarray(file[dataset][begin:rows], float)
        shortest = min((len(column) for column in found.values()), default=0)
        return {name: column[:shortest] for name, column in found.items()}


__all__ = ["PrimaryFollower"]
