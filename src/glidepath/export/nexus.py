"""Writes the NeXus master file of a run: small, with relative links to where the data lie."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from glidepath.timeline import Quality

from .mapping import (
    QUALITY_MEANINGS,
    REQUIRED,
    Facts,
    Found,
    iso_time,
    mapping_of,
    plain_path,
)
from .run import DAMAGED, ExportError, Run, StoredColumn, Stream
from .spectrum import (
    BAD,
    TRANSMISSION,
    Roles,
    Spectrum,
    misnamed_spectra,
    roles_of,
    spectrum_of,
)
from .written import program_version, replaced

PROGRAM = "Glidepath"
SUFFIX = ".nxs"

BOOKKEEPING = frozenset(
    ("sample_time", "sample_duration", "quality", "pass_number", "region_number", "tracking_error")
)
"""Columns of a table that no detector makes."""

DETECTOR_NAMES = {
    "tey": "iey",
    "pey": "iey",
    "tfy": "ifluor",
    "pfy": "ifluor",
    "trans": "itrans",
}
"""Mode -> name of the signal's detector in the new NXxas family."""

CLASSIC_MODES = {
    "tey": "Total Electron Yield",
    "pey": "Partial Electron Yield",
    "tfy": "Fluorescence Yield",
    "pfy": "Fluorescence Yield",
    "trans": "Transmission",
}
"""Mode -> how the classic NXxas names it."""


@dataclass(frozen=True)
class Master:
    """A master file that was written.

    Attributes
    ----------
    path
        The file.
    definitions
        Application definition of each entry; an empty text where the run knows too little.
    remarks
        Sentences about what is missing.
    """

    path: Path
    definitions: tuple[str, ...]
    remarks: tuple[str, ...]


def master_name(run: Run) -> str:
    """Return the name of a run's master file: ``<scan id>_<first 8 of uid>.nxs``."""
    number = run.start.get("scan_id")
    return (
        f"{int(number):06d}_{run.uid[:8]}{SUFFIX}" if number is not None else run.uid[:8] + SUFFIX
    )


def write_nexus(
    run: Run,
    path: Path | None = None,
    *,
    roles: Sequence[Roles] = (),
    classic: bool = False,
    step: float | None = None,
    combined: Combined | None = None,
    place_of: Callable[[Path], str] | None = None,
) -> Master:
    """Write the NeXus master file of a run.

    Each spectrum of the run becomes an entry: ``NXxas_tey``, ``NXxas_trans`` and so on, or the
    classic ``NXxas``. A run that does not know element, edge or sample has an entry without a
    definition, and a remark. In the run's folder, columns are linked by relative paths; a file
    elsewhere holds copies, but for images.

    Parameters
    ----------
    run
        The run.
    path
        File to write, replaced in one step; None: in the run's folder.
    roles
        Which columns make its spectra; none: as the run says.
    classic
        Write the classic definition instead of the new family.
    step
        Bins of the common grid in the axis's unit; None: only several passes have one.
    combined
        The spectrum of several runs, of which ``run`` is the first.
    place_of
        Relative path, from the master file on, by which to link a file; None: where it is.

    Raises
    ------
    ExportError
        If the run does not allow it, or the file cannot be written.
    """
    folder = run.folder
    if path is None:
        if folder is None:
            raise ExportError(
                f"The files of {run.name} are not on this machine; name a file to write."
            )
        path = folder / master_name(run)
    path = Path(path).absolute()
    links = folder is not None and folder.is_relative_to(path.parent)
    spectra = roles_of(run, roles) if combined is None else [combined.spectrum.roles]
    links = (links or place_of is not None) and combined is None
    if place_of is None:
        place_of = partial(os.path.relpath, start=path.parent)
    with replaced(path) as new, h5py.File(new, "w", libver=("v110", "latest")) as file:
        writer = _Writer(file, run, place_of if links else None, classic, step, combined)
        definitions, remarks = writer.write(spectra)
    return Master(path, definitions, remarks)


@dataclass(frozen=True)
class Combined:
    """The spectrum of several runs.

    Parameters
    ----------
    spectrum
        Their mean, see `glidepath.export.average`.
    uids
        The runs.
    """

    spectrum: Spectrum
    uids: Sequence[str]


class _Writer:
    """Fills one master file.

    The class is long because the file has many groups: each is one short method, and all of them
    share the run, the way to link its columns, and what is known of its mapping.
    """

    def __init__(
        self,
        file: h5py.File,
        run: Run,
        place_of: Callable[[Path], str] | None,
        classic: bool,
        step: float | None,
        combined: Combined | None,
    ) -> None:
        self._file = file
        self._run = run
        self._place_of = place_of
        self._combined = combined
        self._classic = classic
        self._step = step
        self._found = Facts(run).all(mapping_of(run))
        self._troubles = run.image_troubles()
        self._first: h5py.Group | None = None

    def write(self, spectra: Sequence[Roles]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Write all; return the definitions and the remarks."""
        root = self._file.attrs
        root["NX_class"] = "NXroot"
        root["creator"] = PROGRAM
        root["creator_version"] = program_version()
        root["file_name"] = master_name(self._run)
        root["file_time"] = datetime.now(UTC).isoformat(timespec="seconds")
        root["HDF5_Version"] = h5py.version.hdf5_version
        missing = {one.mode: self._missing(one.mode) for one in spectra}
        definitions = []
        for number, one in enumerate(spectra):
            name = "entry" if len(spectra) == 1 else f"entry_{one.mode}"
            definition = self._definition(one.mode) if not missing[one.mode] else ""
            self._entry(name, one, definition)
            definitions.append(definition)
            if number == 0:
                root["default"] = name
        if not spectra:
            self._entry("entry", None, "")
            definitions.append("")
            root["default"] = "entry"
        return tuple(definitions), tuple(self._remarks(spectra, missing))

    def _definition(self, mode: str) -> str:
        return "NXxas" if self._classic else f"NXxas_{mode}"

    def _missing(self, mode: str) -> list[str]:
        known = {plain_path(one.fact.path) for one in self._found}
        needed = REQUIRED[""] | REQUIRED.get(mode, {})
        if self._classic:
            needed = {"sample": needed["sample"]}
        return [name for name, path in needed.items() if plain_path(path) not in known]

    def _remarks(self, spectra: Sequence[Roles], missing: Mapping[str, list[str]]) -> Iterable[str]:
        misnamed = misnamed_spectra(self._run)
        if misnamed:
            yield misnamed
        if not spectra:
            yield (
                "The run does not say which column is the signal and which the incident intensity, "
                "so it has no spectrum; name them with --signal and --i0."
            )
        for mode, names in missing.items():
            if names:
                yield (
                    f"The entry {mode} names no application definition, because the run does not "
                    f"know {', '.join(names)}; set them before the next scan."
                )
        missing_files = self._run.missing_files()
        for path in missing_files:
            yield f"The file {path} is missing: what it holds is not in this run any more."
        for name, trouble in self._troubles.items():
            if not any(str(path) in trouble for path in missing_files):
                yield f"The images {name} are left out. {trouble}"

    # One entry.

    def _entry(self, name: str, roles: Roles | None, definition: str) -> None:
        entry = _group(self._file, name, "NXentry")
        if definition:
            entry["definition"] = definition
        entry["program_name"] = PROGRAM
        entry["program_name"].attrs["version"] = self._glidepath_version()
        for one in self._found:
            if not one.fact.modes or (roles is not None and roles.mode in one.fact.modes):
                self._put(entry, one)
        self._users(entry)
        self._instrument(entry)
        if roles is None:
            self._all_columns(entry)
        elif self._classic:
            self._classic_spectrum(entry, roles)
        else:
            self._spectrum(entry, roles)
        if self._combined is not None:
            return
        if self._first is None:
            self._first = entry
            self._table(entry)
            self._raw(entry)
            self._baseline(entry)
            self._quality(entry)
        else:
            for shared in ("table", "raw", "baseline", "quality"):
                if shared in self._first:
                    entry[shared] = self._first[shared]

    def _glidepath_version(self) -> str:
        return str((self._run.start.get("software") or {}).get("glidepath", program_version()))

    def _put(self, entry: h5py.Group, found: Found) -> None:
        *groups, name = found.fact.path.split("/")
        place = entry
        for group in groups:
            name_of_group, _, nx_class = group.partition(":")
            place = _group(place, name_of_group, nx_class or "NXcollection")
        value = found.value
        if isinstance(value, list | tuple):
            value = np.asarray(value)
        if isinstance(value, np.ndarray) and value.dtype.kind in "US":
            value = value.astype(object)
        elif isinstance(value, np.str_):
            value = str(value)
        if name in place:
            del place[name]
        place[name] = value
        if found.unit:
            place[name].attrs["units"] = found.unit

    def _users(self, entry: h5py.Group) -> None:
        keys = {
            "name": "name",
            "role": "role",
            "affiliation": "affiliation",
            "identifier": "facility_user_id",
            "orcid": "ORCID",
        }
        for number, user in enumerate(self._run.start.get("users") or (), start=1):
            group = _group(entry, f"user_{number}", "NXuser")
            for key, field in keys.items():
                if isinstance(user, Mapping) and user.get(key):
                    group[field] = user[key]

    def _instrument(self, entry: h5py.Group) -> None:
        """Write the axes as positioners and the detectors with what they were set to."""
        instrument = _group(entry, "instrument", "NXinstrument")
        run = self._run
        if self._combined is not None:
            return
        for name in run.start.get("motors") or ():
            if name in run.table.data_keys:
                self._positioner(_group(instrument, name, "NXpositioner"), name)
        for name, stream in run.streams.items():
            if stream.configuration.get(f"{name}_kind") == "detector":
                detector = _group(instrument, name, "NXdetector")
                self._settings(detector, name)
                if name in run.table.data_keys:
                    self._link(detector, "data", run.table, name)
        for name in run.table.data_keys:
            if run.table.is_image(name) and name not in self._troubles:
                detector = _group(instrument, name, "NXdetector")
                self._link(detector, "data", run.table, name, image=True)

    def _positioner(self, group: h5py.Group, name: str) -> None:
        self._link(group, "value", self._run.table, name)
        source = str(self._run.table.data_keys[name].get("source", ""))
        group["name"] = name
        if "://" in source:
            group["controller_record"] = source.partition("://")[2]

    def _settings(self, detector: h5py.Group, name: str) -> None:
        stream = self._run.streams.get(name)
        if stream is None:
            return
        detector["local_name"] = name
        for key, field, place in (
            ("aperture", "count_time", detector),
            ("latency", "latency", _group(detector, "settings", "NXcollection")),
        ):
            value = stream.configuration.get(f"{name}_{key}")
            if value is not None:
                place[field] = float(value)
                place[field].attrs["units"] = "s"

    def _spectrum_of(self, roles: Roles) -> Spectrum:
        if self._combined is not None:
            return self._combined.spectrum
        return spectrum_of(self._run, roles, self._step)

    def _spectrum(self, entry: h5py.Group, roles: Roles) -> None:
        """Write energy and intensity as the new family has them."""
        run = self._run
        spectrum = self._spectrum_of(roles)
        entry["is_experimental"] = True
        self._axis_of(entry, spectrum)
        self._array(entry, "intensity", spectrum.intensity, _unit(run, roles))
        if spectrum.errors is not None:
            self._array(entry, "intensity_errors", spectrum.errors, _unit(run, roles))
        self._channels(entry, spectrum)
        monochromator = _group(entry["instrument"], "monochromator", "NXmonochromator")
        _refer(monochromator, "energy", entry["energy"])
        self._energy_errors(monochromator, spectrum)
        data = _group(entry, "data", "NXdata")
        data.attrs["signal"] = "intensity"
        data.attrs["axes"] = ["energy"]
        data.attrs["energy_indices"] = 0
        data["title"] = self._title(roles)
        # Validators want links here, and no label of what they lead to: the title says what it is.
        for name in ("energy", "intensity", "intensity_errors"):
            if name in entry:
                _refer(data, name, entry[name])
        entry.attrs["default"] = "data"
        self._process(entry, spectrum, entry["energy"])

    def _axis_of(self, group: h5py.Group, spectrum: Spectrum) -> None:
        # A copy: links of links, from NXdata through the entry to another file, are too much for
        # some readers, and the spectrum stays when the other file goes.
        self._array(group, "energy", spectrum.energy, self._run.table.unit(self._run.axis) or "eV")

    def _channels(self, entry: h5py.Group, spectrum: Spectrum) -> None:
        """Write I0, signal and reference as detectors, one value for each energy."""
        roles, table = spectrum.roles, self._run.table
        names = {"i0": "i0", "signal": DETECTOR_NAMES[roles.mode], "reference": "iref"}
        columns = {"i0": roles.i0, "signal": roles.signal, "reference": roles.reference}
        for role, values in spectrum.channels.items():
            column = columns[role]
            assert column is not None
            detector = _group(entry["instrument"], names[role], "NXdetector")
            self._settings(detector, column)
            if spectrum.edges is None and table.rows:
                self._link(detector, "data", table, column)
            else:
                self._array(detector, "data", values, table.unit(column))

    def _energy_errors(self, group: h5py.Group, spectrum: Spectrum) -> None:
        """Write half of what each row's exposure swept over."""
        table, axis = self._run.table, self._run.axis
        if spectrum.edges is not None:
            half = 0.5 * np.diff(spectrum.edges)
        elif f"{axis}_upper" in table.data_keys and table.rows:
            half = 0.5 * (table.read(f"{axis}_upper") - table.read(f"{axis}_lower"))
        else:
            return
        self._array(group, "energy_errors", half, table.unit(axis) or "eV")

    def _title(self, roles: Roles) -> str:
        start = self._run.start
        what = " ".join(str(start[key]) for key in ("element", "edge") if start.get(key))
        number = "" if start.get("scan_id") is None else f", scan {start['scan_id']}"
        return f"{what or start.get('title', 'Spectrum')}: {_formula(roles)}{number}"

    def _process(self, entry: h5py.Group, spectrum: Spectrum, energy: h5py.Dataset) -> None:
        """Write how the common grid was made, and each pass on it."""
        if spectrum.edges is None or spectrum.passes is None:
            return
        process = _group(entry, "rebinned", "NXprocess")
        process["program"] = PROGRAM
        process["version"] = program_version()
        process["date"] = datetime.now(UTC).isoformat(timespec="seconds")
        process["sequence_index"] = 1
        parameters = _group(process, "parameters", "NXparameters")
        unit = self._run.table.unit(self._run.axis) or "eV"
        parameters["grid"] = (
            "between the rows of the longest pass" if self._step is None else "even bins"
        )
        if self._step is not None:
            parameters["step"] = f"{self._step:g} {unit}"
        parameters["weight"] = "time that a row was open in a bin"
        parameters["left_out"] = "rows with " + ", ".join(_names_of(BAD))
        parameters["rows"] = spectrum.rows
        runs = [self._run.uid] if self._combined is None else list(self._combined.uids)
        parameters["raw_runs"] = np.array(runs, object)
        stack = _group(process, "passes", "NXdata")
        stack.attrs["signal"] = "intensity"
        stack.attrs["axes"] = ["pass_number", "energy"]
        stack.attrs["pass_number_indices"] = 0
        stack.attrs["energy_indices"] = 1
        stack["title"] = f"{self._title(spectrum.roles)}, each pass"
        stack["pass_number"] = np.arange(1, len(spectrum.passes) + 1)
        _refer(stack, "energy", energy)
        self._array(stack, "intensity", spectrum.passes, _unit(self._run, spectrum.roles))
        self._array(stack, "energy_edges", spectrum.edges, unit)

    def _classic_spectrum(self, entry: h5py.Group, roles: Roles) -> None:
        """Write what the classic NXxas asks for."""
        run = self._run
        spectrum = self._spectrum_of(roles)
        instrument = entry["instrument"]
        monochromator = _group(instrument, "monochromator", "NXmonochromator")
        self._axis_of(monochromator, spectrum)
        i0 = spectrum.channels.get("i0", np.ones(len(spectrum.energy)))
        for name, values, column in (
            ("incoming_beam", i0, roles.i0),
            ("absorbed_beam", spectrum.channels["signal"], roles.signal),
        ):
            detector = _group(instrument, name, "NXdetector")
            if column is not None:
                self._settings(detector, column)
            if spectrum.edges is None and run.table.rows and column is not None:
                self._link(detector, "data", run.table, column)
            else:
                self._array(detector, "data", values, run.table.unit(column) if column else "1")
        monitor = _group(entry, "monitor", "NXmonitor")
        monitor["mode"] = "timer"
        durations = run.table.read("sample_duration") if self._has("sample_duration") else [np.nan]
        monitor["preset"] = float(np.median(durations)) if len(durations) else 0.0
        monitor["preset"].attrs["units"] = "s"
        monitor["data"] = h5py.SoftLink(f"{instrument.name}/incoming_beam/data")
        data = _group(entry, "data", "NXdata")
        _refer(data, "energy", monochromator["energy"])
        data["absorbed_beam"] = h5py.SoftLink(f"{instrument.name}/absorbed_beam/data")
        self._array(data, "intensity", spectrum.intensity, _unit(run, roles))
        data["intensity"].attrs["long_name"] = _label(run, roles)
        data["mode"] = CLASSIC_MODES[roles.mode]
        data.attrs["signal"] = "intensity"
        data.attrs["axes"] = ["energy"]
        data.attrs["energy_indices"] = 0
        data["title"] = self._title(roles)
        entry.attrs["default"] = "data"
        self._process(entry, spectrum, monochromator["energy"])

    def _has(self, column: str) -> bool:
        return column in self._run.table.data_keys and self._run.table.rows > 0

    def _all_columns(self, entry: h5py.Group) -> None:
        """Let viewers draw the first detector of a run that names no spectrum, silent ones last."""
        table = self._run.table
        try:
            axis = self._run.axis
        except ExportError:
            return
        counts = {f"{name}_count" for name in table.data_keys}
        numbers = [
            name
            for name in table.data_keys
            if table.is_number(name) and name != axis and name not in counts
        ]
        if not numbers or not table.rows or axis not in table.data_keys:
            return
        # What is recorded in every scan is what nobody wants to see.
        silent = set((self._run.start.get("display") or {}).get("silent", ()))
        detectors = sorted(self._detectors(), key=silent.__contains__)
        signal = next((name for name in detectors if name in numbers), numbers[0])
        data = _group(entry, "data", "NXdata")
        for name in (axis, signal):
            self._link(data, name, table, name)
        data.attrs["signal"] = _plain(signal)
        data.attrs["axes"] = [_plain(axis)]
        data.attrs[f"{_plain(axis)}_indices"] = 0
        number = self._run.start.get("scan_id")
        data["title"] = signal if number is None else f"{signal}, scan {number}"
        entry.attrs["default"] = "data"

    def _detectors(self) -> Iterable[str]:
        """Return the columns that can be of detectors, the surest first."""
        run = self._run
        for name, stream in run.streams.items():
            if stream.configuration.get(f"{name}_kind") == "detector":
                yield name
        detectors = [str(name) for name in run.start.get("detectors") or ()]
        yield from detectors
        # A column is named by its device and a signal of it.
        for name in run.table.data_keys:
            if any(name.startswith((f"{device}_", f"{device}-")) for device in detectors):
                yield name
        motors = [str(name) for name in run.start.get("motors") or ()]
        for name in run.table.data_keys:
            if name not in BOOKKEEPING and not any(name.startswith(one) for one in motors):
                yield name

    # What every entry shares.

    def _table(self, entry: h5py.Group) -> None:
        """Link all columns with one value for each row."""
        table = self._run.table
        if not table.rows:
            return
        group = _group(entry, "table", "NXcollection")
        for name in table.data_keys:
            if not table.is_image(name):
                self._link(group, name, table, name)

    def _raw(self, entry: h5py.Group) -> None:
        for name in self._run.raw_streams:
            stream = self._run.streams[name]
            log = _group(_group(entry, "raw", "NXcollection"), name, "NXlog")
            self._link(log, "value", stream, f"{name}_value")
            self._link(log, "time", stream, f"{name}_timestamp")
            if isinstance(log.get("time", getlink=True), h5py.HardLink):
                log["time"].attrs["start"] = iso_time(0.0)

    def _baseline(self, entry: h5py.Group) -> None:
        stream = self._run.streams.get("baseline")
        if stream is None:
            return
        both = _group(entry, "baseline", "NXcollection")
        values = self._run.baseline()
        for name, row in (("start", 0), ("stop", -1)):
            group = _group(both, name, "NXcollection")
            for key, column in values.items():
                if len(column) > (0 if row == 0 else 1):
                    _scalar(group, key, column[row], stream.unit(key))
        settings = _group(both, "configuration", "NXcollection")
        for key, value in stream.configuration.items():
            _scalar(settings, key, value, stream.configuration_keys.get(key, {}).get("units") or "")

    def _quality(self, entry: h5py.Group) -> None:
        table = self._run.table
        if "quality" not in table.data_keys:
            return
        group = _group(entry, "quality", "NXcollection")
        self._link(group, "values", table, "quality")
        names = [bit.name or "" for bit in Quality]
        group["bit_values"] = np.array([int(bit) for bit in Quality], np.uint16)
        group["bit_names"] = np.array(names, object)
        group["bit_meanings"] = np.array([QUALITY_MEANINGS[name] for name in names], object)

    # Links and arrays.

    def _link(
        self, group: h5py.Group, name: str, stream: Stream, key: str, image: bool = False
    ) -> None:
        """Put a column into a group: a relative link where it can be, a copy elsewhere."""
        name, place, link = _plain(name), stream.place(key), self._place_of
        if link is not None and place is not None and (image or _length(place) == stream.rows):
            group[name] = h5py.ExternalLink(link(place.path), place.dataset)
            return
        if not image:
            self._array(group, name, stream.read(key), stream.unit(key))

    def _array(self, group: h5py.Group, name: str, values: Any, unit: str) -> None:
        array = np.asarray(values)
        if array.dtype.kind == "U":
            array = array.astype(object)
        packed = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
        compression = packed if array.size > 1000 else {}
        group.create_dataset(name, data=array, **compression)
        if unit:
            group[name].attrs["units"] = unit


def _plain(name: str) -> str:
    """Return a name that HDF5 does not take for a path."""
    return name.replace("/", "_")


def _group(parent: h5py.Group, name: str, nx_class: str) -> h5py.Group:
    group = parent.require_group(_plain(name))
    group.attrs["NX_class"] = nx_class
    return group


def _refer(group: h5py.Group, name: str, target: h5py.Dataset) -> None:
    """Link to a dataset of this file as NeXus does: the target says its own path."""
    target.attrs["target"] = target.name
    group[name] = h5py.SoftLink(target.name)


def _scalar(group: h5py.Group, name: str, value: Any, unit: str) -> None:
    if value is None:
        return
    array = np.asarray(value)
    group[_plain(name)] = str(value) if array.dtype.kind in "UO" else array
    if unit:
        group[_plain(name)].attrs["units"] = unit


def _length(place: StoredColumn) -> int:
    try:
        with h5py.File(place.path, "r", swmr=True, libver="latest") as file:
            return int(file[place.dataset].shape[0])
    except (*DAMAGED, KeyError):
        return -1  # who reads it says what is wrong


def _unit(run: Run, roles: Roles) -> str:
    """Return the unit of the intensity: a ratio or a logarithm has none."""
    return "1" if roles.i0 or roles.mode == TRANSMISSION else run.table.unit(roles.signal) or "1"


def _formula(roles: Roles) -> str:
    ratio = f"{roles.signal} / {roles.i0}" if roles.i0 else roles.signal
    return f"-ln({ratio})" if roles.mode == TRANSMISSION else ratio


def _label(run: Run, roles: Roles) -> str:
    unit = _unit(run, roles)
    return _formula(roles) if unit == "1" else f"{_formula(roles)} ({unit})"


def _names_of(bits: Quality) -> list[str]:
    return [bit.name or "" for bit in Quality if bit & bits]


__all__ = ["Combined", "Master", "master_name", "write_nexus"]
