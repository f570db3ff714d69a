"""One run as it lies on the disk: what its documents say and its table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from glidepath.catalog.journal import read_journal
from glidepath.catalog.run_folder import documents_in, open_run_folder
from glidepath.live import Display, Pass, PrimaryFollower, display_of, passes_of
from glidepath.storage import run_folder

from .index import Run, RunIndex, run_of

if TYPE_CHECKING:
    import pandas
    import xarray
    from matplotlib.figure import Figure

    from glidepath.export import Written

    from .fits import EdgeResult, N2Result


@dataclass(frozen=True)
class Reading:
    """What one signal of the baseline read before and after a run.

    Attributes
    ----------
    before, after
        Values; equal if it was read once only.
    unit
        Its unit, or an empty text.
    tolerance
        What it may change by without having moved, in its unit.
    """

    before: Any
    after: Any
    unit: str
    tolerance: float


class StoredRun:
    """A run of a data directory, read from its journal and its files.

    Parameters
    ----------
    index
        The runs of the data directory.
    run
        Which one.
    folder
        The run's folder, if it is read from there alone, as `in_folder` does.

    Examples
    --------
    >>> run = StoredRun.of(Path("glidepath-data"), -1)  # doctest: +SKIP
    >>> run.table()[["energy", "sample"]]  # doctest: +SKIP
    """

    def __init__(self, index: RunIndex, run: Run, folder: Path | None = None) -> None:
        self.run = run
        self.journal = index.journal(run)
        self._root = index.root
        self._folder = folder

    @classmethod
    def find(cls, root: Path, which: str | int) -> "list[StoredRun]":
        """Return the runs that a user means: the one of a folder, or see `RunIndex.find`."""
        if Path(str(which)).is_dir():
            return [cls.in_folder(Path(str(which)))]
        index = RunIndex(root)
        return [cls(index, run) for run in index.find(which)]

    @classmethod
    def in_folder(cls, folder: Path) -> "StoredRun":
        """Return the run of a folder, which may have been copied or moved anywhere.

        Raises
        ------
        CatalogError
            If it is not the folder of a run.
        """
        opened = open_run_folder(folder)
        run = run_of(opened.metadata["start"], opened.metadata["stop"] or {})
        return cls(RunIndex(opened.folder), run, opened.folder)

    @classmethod
    def of(cls, root: Path, which: str | int) -> "StoredRun":
        """Return the run that a user means: the one of a folder, or see `RunIndex.find`."""
        if Path(str(which)).is_dir():
            return cls.in_folder(Path(str(which)))
        index = RunIndex(root)
        return cls(index, index.one(which))

    def __repr__(self) -> str:
        run = self.run
        number = f"Scan {run.scan_id}" if run.scan_id >= 0 else "Run"
        what = " ".join(part for part in (run.plan, run.axis, run.range) if part)
        return f"{number} ({run.uid[:8]}): {what}; {run.rows} rows, {run.status}"

    @cached_property
    def documents(self) -> list[tuple[str, dict[str, Any]]]:
        """Name and document, in the order in which they were recorded."""
        if self._folder is not None:
            return documents_in(self._folder)
        return list(read_journal(self.journal))

    @property
    def folder(self) -> Path | None:
        """Where its files are now, if they are in a folder of their own."""
        if self._folder is not None:
            return self._folder
        run = self.run
        if run.scan_id < 0:
            return None
        folder = run_folder(self._root, run.uid, run.scan_id, run.begun)
        return folder if folder.is_dir() else None

    @property
    def start(self) -> Mapping[str, Any]:
        """The start document."""
        return self.documents[0][1]

    @property
    def stop(self) -> Mapping[str, Any]:
        """The stop document; empty if the run has none."""
        name, document = self.documents[-1]
        return document if name == "stop" else {}

    @cached_property
    def _follower(self) -> PrimaryFollower:
        follower = PrimaryFollower(self._root, self._folder)
        for name, document in self.documents:
            follower(name, document)
        return follower

    @property
    def files(self) -> list[Path]:
        """The files that the run's documents point to, where they are now."""
        places = [self._follower.file] if self._follower.file else []
        others = [self._follower.place_of(d) for n, d in self.documents if n == "stream_resource"]
        return list(dict.fromkeys([*places, *others]))

    def check_files(
        self, names: Sequence[str] | None = None, error: Exception | None = None
    ) -> None:
        """Refuse a run that lacks a file which it points to.

        Parameters
        ----------
        names
            Only files of these columns count; None: all.
        error
            What has already gone wrong, to be shown as the cause.

        Raises
        ------
        ValueError
            If one is missing; the text is a sentence.
        """
        for name, document in self.documents:
            if name != "stream_resource" or (
                names is not None and document["data_key"] not in names
            ):
                continue
            file = self._follower.place_of(document)
            if not file.exists():
                raise ValueError(
                    f"The file {file} of this run is missing; bring it back first."
                ) from error

    @property
    def names(self) -> list[str]:
        """Names of the columns that are one number a row."""
        return self._follower.scalars or list(self._stepped)

    @property
    def units(self) -> Mapping[str, str]:
        """Unit of each column, or an empty text."""
        return self._follower.units

    def columns(self, names: Sequence[str] | None = None) -> dict[str, NDArray[np.float64]]:
        """Return columns of the table, shape (rows,).

        Raises
        ------
        ValueError
            If a file that holds them is missing.
        OSError
            If such a file is damaged.
        """
        wanted = self.names if names is None else list(names)
        if self._follower.scalars:
            try:
                return self._follower.columns(wanted)
            except OSError as error:
                self.check_files(wanted, error)
                raise
        return {name: self._stepped[name] for name in wanted if name in self._stepped}

    @cached_property
    def _stepped(self) -> dict[str, NDArray[np.float64]]:
        """The table of a run whose rows are events, as of a step scan."""
        keys, events = self._events("primary")
        numbers = [
            key
            for key, described in keys.items()
            if described.get("dtype") in ("number", "integer") and "external" not in described
        ]
        return {key: np.array([event[key] for event in events], float) for key in numbers}

    def table(self, names: Sequence[str] | None = None) -> "pandas.DataFrame":
        """Return the table, or some of its columns."""
        import pandas

        return pandas.DataFrame(self.columns(names))

    def to_xarray(self) -> "xarray.Dataset":
        """Return the table with the axis as coordinate and the unit of each column."""
        import xarray

        axis = self._follower.axis
        columns = self.columns()
        data = {
            name: xarray.Variable(axis, column, {"units": self.units.get(name, "")})
            for name, column in columns.items()
        }
        return xarray.Dataset(data, attrs={"uid": self.run.uid}).set_coords(axis)

    def display(self, signal: str | None = None, reference: str | None = None) -> Display:
        """Return what is shown of it; see `glidepath.live.display_of`."""
        return display_of(self.start, self.names, signal, reference)

    def passes(self, display: Display) -> list[Pass]:
        """Return the passes of the run, normalised as the display says.

        Raises
        ------
        ValueError
            If the run has no rows.
        """
        wanted = [display.axis, display.signal, display.reference, "pass_number", "quality"]
        columns = self.columns([name for name in wanted if name])
        if not len(columns.get(display.axis, ())):
            raise ValueError(f"{self!r} has no rows to show.")
        return passes_of(columns, display)

    def _events(self, stream: str) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
        """Return the data keys of a stream and the data of its events."""
        described = [d for n, d in self.documents if n == "descriptor" and d["name"] == stream]
        uids = {descriptor["uid"] for descriptor in described}
        keys = described[-1]["data_keys"] if described else {}
        data: list[Mapping[str, Any]] = []
        for name, document in self.documents:
            if name == "event" and document["descriptor"] in uids:
                data.append(document["data"])
            elif name == "event_page" and document["descriptor"] in uids:
                count = len(document["seq_num"])
                columns = document["data"]
                data += [{key: columns[key][i] for key in columns} for i in range(count)]
        return keys, data

    def baseline(self, *, configuration: bool = False) -> dict[str, Reading]:
        """Return what the baseline read before and after the run, by signal.

        Parameters
        ----------
        configuration
            Whether the settings of its devices are among it (a grating, a slit), which are read
            once, before the run.
        """
        keys, events = self._events("baseline")
        if not events:
            return {}
        settings = self._settings_of_baseline() if configuration else {}
        return settings | {
            key: Reading(
                events[0].get(key),
                events[-1].get(key),
                str(described.get("units") or ""),
                _tolerance(described),
            )
            for key, described in keys.items()
        }

    def _settings_of_baseline(self) -> dict[str, Reading]:
        """Return the configuration of the baseline's devices, by signal."""
        found: dict[str, Reading] = {}
        for name, document in self.documents:
            if name == "descriptor" and document["name"] == "baseline":
                for read in document.get("configuration", {}).values():
                    keys = read["data_keys"]
                    found |= {
                        key: Reading(
                            value,
                            value,
                            str(keys[key].get("units") or ""),
                            _tolerance(keys[key]),
                        )
                        for key, value in read["data"].items()
                    }
        return found

    def before(self) -> dict[str, Any]:
        """Return what the devices of the baseline read and were set to before the run: by name."""
        return {key: read.before for key, read in self.baseline(configuration=True).items()}

    def verdict(self) -> dict[str, Any]:
        """Return what the scan said of itself; empty if it did not get that far."""
        import json

        _, events = self._events("verdict")
        found = dict(events[-1]) if events else {}
        for key, value in found.items():
            if isinstance(value, str) and value[:1] in ("{", "["):
                found[key] = json.loads(value)
        return found

    def plot(self, path: Path | None = None, **options: Any) -> "Figure":
        """Draw the spectrum; ``options`` are those of `glidepath.lookback.spectra.spectra_of`.

        Parameters
        ----------
        path
            Picture to write (PNG, SVG, PDF); None: only return the figure.
        """
        from .figures import draw
        from .spectra import spectra_of

        return draw(spectra_of([self], **options), path)

    def export(self, path: Path | str | None = None, **options: Any) -> "Written":
        """Write it as a file for other programs, such as ``run.export("n2.xdi")``.

        Parameters
        ----------
        path
            File to write: ``.nxs``, ``.xdi``, ``.csv`` or ``.zip``; None: NeXus, in its folder.
        options
            Those of `glidepath.lookback.exporting.export_runs`.

        Raises
        ------
        ExportError
            If it cannot be done, in one sentence.
        """
        from .exporting import export_runs

        return export_runs([self], path, **options)

    def fit(self, kind: str = "n2", **options: Any) -> "N2Result | EdgeResult":
        """Fit the N2 series (``"n2"``) or an absorption edge (``"edge"``)."""
        from .fits import fit_of

        return fit_of(self, kind, **options)


def _tolerance(described: Mapping[str, Any]) -> float:
    """Return half of the last decimal that a record shows, or NaN where that is not known."""
    precision = described.get("precision")
    if isinstance(precision, int) and 0 <= precision <= 12:
        return float(0.5 * 10.0**-precision)
    return float("nan")


__all__ = ["Reading", "StoredRun"]
