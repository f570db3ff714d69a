"""Gap tables as files: a CSV with its origin in the header, every mistake in it one sentence.

The file begins with lines ``# key: value``. Needed are ``undulator`` (its name), ``periods``
(number of magnetic periods), and the origin: ``who`` made the table, ``when`` and ``how``. Then
comes a line with the names of the columns ``harmonic, polarisation, energy_eV, gap_mm`` and,
where the magnet rows can be shifted, ``shift_mm``; then the points, in any order. ``energy_keV``
may stand for ``energy_eV``.

Files may be as spreadsheets save them: with a byte-order mark, in UTF-16, with semicolons or tabs
between the fields and then also with decimal commas, with quotes, and padded with empty fields.
"""

import codecs
import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from glidepath.physics import GapCurve, GapTable

__all__ = ["GapTableError", "read_gap_table", "write_gap_table"]

KEYS = ("undulator", "periods", "who", "when", "how")
"""What the header must say."""

COLUMNS = ("harmonic", "polarisation", "energy_eV", "gap_mm")
KEV = "energy_keV"
SHIFT = "shift_mm"

SEPARATORS = ",;\t"
"""What may stand between fields; with the last two, numbers may have a decimal comma."""

LOWEST_ENERGY = 2.0
"""Energies in eV below which no harmonic of an undulator is used: a table in keV looks so."""


class GapTableError(ValueError):
    """A file is no gap table; the text says where and why in one sentence."""


def read_gap_table(path: str | Path) -> GapTable:
    """Read a gap table.

    Parameters
    ----------
    path
        The file: see `glidepath.devices.gap_table` for its format.

    Raises
    ------
    GapTableError
        If it cannot be read or is not complete, has a value that is no number, or a curve that
        is not monotonic.
    """
    path = Path(path)
    try:
        lines = _text(path.read_bytes()).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise GapTableError(f"The gap table {path} cannot be read: {reason}.") from error
    provenance = _provenance(path, lines)
    periods = _periods(path, provenance)
    points = defaultdict(list)
    for number, row in _rows(path, lines):
        point = [
            _number(path, number, row, name)
            for name in (_energy_of(row), "gap_mm", *((SHIFT,) if SHIFT in row else ()))
        ]
        if KEV in row:
            point[0] *= 1e3
        harmonic = _number(path, number, row, "harmonic")
        if not row["polarisation"]:
            raise GapTableError(f"Line {number} of the gap table {path} names no polarisation.")
        if harmonic < 1 or harmonic != int(harmonic):
            raise GapTableError(
                f"Line {number} of the gap table {path} has the harmonic {harmonic:g}; "
                "harmonics are 1, 2, 3 and so on."
            )
        points[int(harmonic), row["polarisation"]].append((*point, 0.0)[:3])
    if not points:
        raise GapTableError(f"The gap table {path} has no points below its header.")
    highest = max(energy for found in points.values() for energy, *_ in found)
    if highest < LOWEST_ENERGY:
        raise GapTableError(
            f"The gap table {path} ends at {highest:g} eV, which looks like keV; name its column "
            f"{KEV} if it is."
        )
    curves = []
    for (harmonic, polarisation), found in points.items():
        energies, gaps, shifts = np.array(sorted(found)).T
        try:
            curves.append(GapCurve(energies, gaps, shifts, periods, harmonic, polarisation))
        except ValueError as error:
            text = str(error)
            raise GapTableError(f"In the gap table {path}: {text[0].lower()}{text[1:]}") from error
    return GapTable(curves, provenance)


def write_gap_table(path: str | Path, table: GapTable) -> None:
    """Write a gap table, with whatever its provenance says and the digits that a gap needs.

    Raises
    ------
    GapTableError
        If the provenance does not say what the file must say.
    """
    path = Path(path)
    provenance = {**table.provenance, "periods": str(table.curves[0].periods)}
    lines = [f"# {key}: {' '.join(value.split())}" for key, value in provenance.items()]
    _provenance(path, lines)
    lines.append(",".join((*COLUMNS, SHIFT)))
    for curve in table.curves:
        use = f"{curve.harmonic},{curve.polarisation}"
        for energy, gap, shift in zip(curve.energies, curve.gaps, curve.shifts, strict=True):
            lines.append(f"{use},{energy:.5f},{gap:.5f},{shift:.4f}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _text(content: bytes) -> str:
    """Return the text of a file in UTF-8 or UTF-16; UnicodeDecodeError if it is neither."""
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if wide else "utf-8-sig")


def _is_comment(line: str) -> bool:
    return line.lstrip(' "').startswith("#")


def _provenance(path: Path, lines: Sequence[str]) -> dict[str, str]:
    found = {}
    for line in lines:
        if _is_comment(line) and ":" in line:
            key, _, value = line.lstrip(' "#').partition(":")
            # Spreadsheets pad all lines to the same number of fields.
            found[key.strip()] = value.rstrip(f' "{SEPARATORS}').strip()
    missing = [key for key in KEYS if not found.get(key)]
    if missing:
        raise GapTableError(
            f"The gap table {path} does not say {' and '.join(missing)}; add a line "
            f"'# {missing[0]}: ...' at its beginning."
        )
    return found


def _periods(path: Path, provenance: Mapping[str, str]) -> int:
    text = provenance["periods"]
    if not text.isdecimal() or int(text) < 1:
        raise GapTableError(
            f"The gap table {path} has {text!r} periods; give the number of magnetic periods."
        )
    return int(text)


def _rows(path: Path, lines: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Return line numbers and fields by name; decimal commas are points."""
    kept = [(n, line) for n, line in enumerate(lines, start=1) if not _is_comment(line)]
    heading = next((line for _, line in kept if line.strip(f" {SEPARATORS}")), "")
    separator = max(SEPARATORS, key=heading.count)
    found = []
    for number, line in kept:
        fields = [field.strip() for field in next(csv.reader([line], delimiter=separator), [])]
        if any(fields):
            found.append((number, fields))
    if not found:
        raise GapTableError(f"The gap table {path} has no line with the names of its columns.")
    (_, names), *rows = found
    while names and not names[-1]:
        names.pop()
    _check_columns(path, names)
    for number, fields in rows:
        while len(fields) > len(names) and not fields[-1]:
            fields.pop()
        if len(fields) != len(names):
            raise GapTableError(
                f"Line {number} of the gap table {path} has {len(fields)} fields instead of "
                f"{len(names)}."
            )
        if separator != ",":
            fields[:] = [field.replace(",", ".") for field in fields]
    return [(number, dict(zip(names, fields, strict=True))) for number, fields in rows]


def _check_columns(path: Path, names: list[str]) -> None:
    known = ["energy_eV" if name == KEV else name for name in names]
    unknown = [name for name in known if name not in (*COLUMNS, SHIFT)]
    missing = [name for name in COLUMNS if name not in known]
    if unknown or missing or len(set(known)) < len(known):
        raise GapTableError(
            f"The gap table {path} has the columns {', '.join(names)}; it needs "
            f"{', '.join(COLUMNS)} and may have {SHIFT}."
        )


def _energy_of(row: Mapping[str, str]) -> str:
    return KEV if KEV in row else "energy_eV"


def _number(path: Path, line: int, row: Mapping[str, str], name: str) -> float:
    try:
        # Python takes 1_410 for a number, and nobody else does.
        value = float(row[name]) if "_" not in row[name] else float("nan")
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise GapTableError(
            f"Line {line} of the gap table {path} has {row[name]!r} as {name}; "
            "give a finite number."
        )
    return value
