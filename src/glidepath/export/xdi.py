"""Writes a spectrum as XDI, the text format that XAS programs such as Athena and Larch share."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from .mapping import NOT_SAID, Facts, iso_time, mapping_of, plain_path
from .run import ExportError, Run
from .spectrum import Spectrum
from .written import program_version, replaced

COLUMNS = {
    "trans": ("mutrans", "itrans"),
    "tfy": ("mufluor", "ifluor"),
    "pfy": ("mufluor", "ifluor"),
    "tey": ("mu", "iey"),
    "pey": ("mu", "iey"),
}
"""Mode -> names of the columns of absorption and of the signal."""

MERGED_EDGES = {"L2,3": "L3", "M2,3": "M3", "M4,5": "M5", "N2,3": "N3", "N4,5": "N5", "O4,5": "O5"}
"""Edges that XDI knows only one by one -> the one to name."""

_FIELDS = {
    "Facility.name": "instrument/source/name",
    "Facility.xray_source": "instrument/insertion_device/type",
    "Facility.current": "instrument/source/current",
    "Facility.energy": "instrument/source/energy",
    "Beamline.name": "instrument/settings/beamline",
    "Mono.name": "instrument/monochromator/grating/name",
    "Mono.d_spacing": "instrument/monochromator/crystal/d_spacing",
    "Sample.name": "sample/name",
    "Sample.id": "sample/settings/sample_id",
    "Sample.stoichiometry": "sample/chemical_formula",
    "Sample.temperature": "sample/temperature",
    "Scan.start_time": "start_time",
    "Scan.end_time": "end_time",
}
"""Field of XDI -> where the same is in a NeXus entry."""


def xdi_text(runs: Sequence[Run], spectrum: Spectrum) -> str:
    """Return the XDI file of a spectrum.

    Rows without a value are left out, as the format knows no NaN.

    Parameters
    ----------
    runs
        The run that it was made from, or several.
    spectrum
        From `spectrum_of` or `average`.

    Raises
    ------
    ExportError
        If the run does not know the element and the edge, or there is no row with a value.
    """
    run = runs[0]
    columns = _columns(run, spectrum)
    good = np.all([np.isfinite(values) for values in columns.values()], axis=0)
    if not good.any():
        raise ExportError(
            f"{run.name.capitalize()} has no row with a value for a spectrum, and XDI cannot be "
            "empty; export it as NeXus or CSV."
        )
    order = np.argsort(spectrum.energy[good], kind="stable")
    table = np.stack([values[good][order] for values in columns.values()], axis=1)
    lines = list(_header(runs, spectrum, list(columns)))
    lines += ["  ".join(f"{value:.10g}" for value in row) for row in table]
    return "\n".join(lines) + "\n"


def write_xdi(runs: Sequence[Run], spectrum: Spectrum, path: Path) -> Path:
    """Write `xdi_text` to a file, replaced in one step.

    Raises
    ------
    ExportError
        As `xdi_text`, or if the file cannot be written.
    """
    with replaced(path) as new:
        new.write_text(xdi_text(runs, spectrum), "utf-8")
    return path


def _columns(run: Run, spectrum: Spectrum) -> dict[str, Any]:
    absorption, signal = COLUMNS[spectrum.roles.mode]
    names = {"i0": "i0", "signal": signal, "reference": "irefer"}
    columns = {"energy": spectrum.energy, absorption: spectrum.intensity}
    columns |= {names[role]: values for role, values in spectrum.channels.items()}
    if spectrum.errors is not None and np.isfinite(spectrum.errors).all():
        columns[f"{absorption}_error"] = spectrum.errors
    return columns


def _header(runs: Sequence[Run], spectrum: Spectrum, columns: Sequence[str]) -> Iterator[str]:
    run = runs[0]
    element, edge = run.start.get("element"), run.start.get("edge")
    if not element or not edge:
        raise ExportError(
            f"XDI needs the element and the edge, which {run.name} does not know; set them before "
            "the scan, or give them with --element and --edge."
        )
    yield f"# XDI/1.0 Glidepath/{program_version()}"
    unit = run.table.unit(run.axis) or "eV"
    units = {"energy": unit, "i0": run.table.unit(spectrum.roles.i0 or "")}
    units[COLUMNS[spectrum.roles.mode][1]] = run.table.unit(spectrum.roles.signal)
    for number, name in enumerate(columns, start=1):
        yield f"# Column.{number}: {name} {units.get(name, '')}".rstrip()
    yield f"# Element.symbol: {element}"
    yield f"# Element.edge: {MERGED_EDGES.get(edge, edge)}"
    found = {plain_path(f.fact.path): f for f in Facts(run).all(mapping_of(run))}
    for field, place in _FIELDS.items():
        if place in found and found[place].value != NOT_SAID:
            text = _field(field, found[place].value)
            yield f"# {field}: {f'{text} {found[place].unit}'.strip()}"
    if not any(field.startswith("Mono.") and place in found for field, place in _FIELDS.items()):
        # Something must be said of it; what is fixed is that the energies are the controller's.
        yield f"# Mono.name: {NOT_SAID}"
    yield f"# Detector.{COLUMNS[spectrum.roles.mode][1]}: {_one_line(spectrum.roles.signal)}"
    if spectrum.roles.i0:
        yield f"# Detector.i0: {_one_line(spectrum.roles.i0)}"
    users = [u.get("name", "") for u in run.start.get("users") or () if isinstance(u, Mapping)]
    if users:
        yield f"# Sample.experimenters: {_one_line(', '.join(users))}"
    yield f"# Glidepath.mode: {spectrum.roles.mode}"
    for number, one in enumerate(runs, start=1):
        yield f"# Glidepath.run_{number}: {one.uid}"
        yield f"# Glidepath.begin_{number}: {iso_time(one.start['time'])}"
    yield "# ///"
    yield f"# {_one_line(run.start.get('title') or run.name)}"
    yield f"# {_one_line(run.verdict())}"
    if edge in MERGED_EDGES:
        yield f"# The edge is {edge}; XDI knows only single ones."
    yield "# " + 60 * "-"
    yield "# " + "  ".join(columns)


def _field(name: str, value: Any) -> str:
    if name.startswith("Scan."):
        # XDI's own reader takes whole seconds, and the time zone as letters.
        return datetime.fromisoformat(value).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = _one_line(value)
    # A name that looks like a number would be read as one.
    if isinstance(value, str) and text.replace(".", "", 1).isdigit():
        return f"grating {text}" if name == "Mono.name" else f'"{text}"'
    return text


def _one_line(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return f"{value:.10g}"
    return " ".join(str(value).split())


def xdi_name(run: Run, spectrum: Spectrum) -> str:
    """Return the name of a run's XDI file."""
    number = run.start.get("scan_id")
    before = "" if number is None else f"{int(number):06d}_"
    return f"{before}{run.uid[:8]}_{spectrum.roles.mode}.xdi"


__all__ = ["write_xdi", "xdi_name", "xdi_text"]
