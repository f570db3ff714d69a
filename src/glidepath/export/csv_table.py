"""Writes the rows of a run, or the spectrum of several, as CSV that any program reads."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .run import ExportError, Run
from .spectrum import Spectrum
from .written import replaced

AT_ONCE = 65536
"""Rows that are turned into text together."""


def table_columns(run: Run) -> dict[str, Any]:
    """Return the columns of a run's table with one value in each row, named with their unit."""
    table = run.table
    named = {}
    for key in table.data_keys:
        if not (table.data_keys[key].get("shape") or ()) and table.rows:
            unit = table.unit(key)
            named[_with_unit(key, unit)] = table.read(key)
    return named


def _with_unit(name: str, unit: str) -> str:
    """Return ``energy_eV``: names with blanks or brackets are cut by programs such as Larch."""
    plain = "".join(
        letter for letter in unit.replace("/", "_per_") if letter.isalnum() or letter == "_"
    )
    return f"{name}_{plain}" if plain else name


def spectrum_columns(run: Run, spectrum: Spectrum) -> dict[str, Any]:
    """Return a spectrum as columns: energy, intensity, its error, each pass."""
    unit = run.table.unit(run.axis) or "eV"
    columns: dict[str, Any] = {
        _with_unit("energy", unit): spectrum.energy,
        "intensity": spectrum.intensity,
    }
    if spectrum.errors is not None:
        columns["intensity_error"] = spectrum.errors
    for number, one in enumerate(() if spectrum.passes is None else spectrum.passes, start=1):
        columns[f"pass_{number}"] = one
    return columns


def csv_text(columns: Mapping[str, Any]) -> str:
    """Return columns of equal length as CSV: one line of names, no field empty.

    What is not known is ``nan``. Numbers have as many digits as it takes to read the same back.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    arrays = [np.asarray(values) for values in columns.values()]
    length = min((len(array) for array in arrays), default=0)
    for begin in range(0, length, AT_ONCE):
        part = slice(begin, min(begin + AT_ONCE, length))
        # The shortest text that is read back as the same number.
        writer.writerows(zip(*(array[part].tolist() for array in arrays), strict=True))
    return text.getvalue()


def write_csv(columns: Mapping[str, Any], path: Path) -> Path:
    """Write `csv_text` to a file, replaced in one step.

    Raises
    ------
    ExportError
        If there are no columns, or the file cannot be written.
    """
    if not columns:
        raise ExportError("The run has no rows, so there is no table to write.")
    with replaced(path) as new:
        new.write_text(csv_text(columns), "utf-8")
    return path


def csv_name(run: Run, spectra: Sequence[Spectrum] = ()) -> str:
    """Return the name of a run's CSV file."""
    number = run.start.get("scan_id")
    before = "" if number is None else f"{int(number):06d}_"
    return f"{before}{run.uid[:8]}{'_spectrum' if spectra else ''}.csv"


__all__ = ["csv_name", "csv_text", "spectrum_columns", "table_columns", "write_csv"]
