"""What every view of a spectrum shows: its passes, what is bad in them, and their sum.

Pure numpy. The terminal, the notebook, matplotlib and the pictures draw the same from here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glidepath.timeline import good_rows

Floats = NDArray[np.float64]

BOOKKEEPING = (
    *("sample_time", "sample_duration", "region_number", "pass_number", "quality"),
    *("tracking_error", "clock_offset"),
)
"""Columns of a table that are no signals."""


@dataclass(frozen=True)
class Display:
    """Which columns a view shows.

    Attributes
    ----------
    axis, signal
        Names of columns; the signal is empty if there is none.
    reference
        Column that the signal is divided by, or an empty text.
    unit
        Unit of the axis.
    """

    axis: str
    signal: str
    reference: str
    unit: str

    @property
    def label(self) -> str:
        """What is drawn, for a caption."""
        return f"{self.signal} / {self.reference}" if self.reference else self.signal


def display_of(
    start: Mapping[str, Any],
    columns: Sequence[str],
    signal: str | None = None,
    reference: str | None = None,
) -> Display:
    """Choose what to show of a run.

    Parameters
    ----------
    start
        The run's start document. Its ``display``, written by a session, names the reference and
        the silent detectors.
    columns
        Columns of the table.
    signal, reference
        What the user wants; None: the last detector that is neither silent nor the reference, and
        the beamline's reference. An empty reference: no normalisation.

    Raises
    ------
    ValueError
        If there is no such column.
    """
    wishes = start.get("display") or {}
    axis = (start.get("motors") or ["energy"])[0]
    silent = set(wishes.get("silent", ()))
    if reference is None:
        reference = str(wishes.get("reference") or "")
        reference = reference if reference in columns else ""
    detectors = start.get("detectors", ())
    # Where there is nothing else, what is silent is better than an empty picture.
    loud = [detector for detector in detectors if detector not in silent] or detectors
    shown = [column for detector in loud for column in columns if _belongs(column, detector)]
    if signal is None:
        signal = next((column for column in reversed(shown) if column != reference), reference)
    if signal == reference:
        reference = ""
    for column in (signal, reference):
        if column and column not in columns:
            raise ValueError(
                f"The run has no column {column!r}; it has "
                f"{', '.join(c for c in columns if c not in BOOKKEEPING)}."
            )
    return Display(axis, signal, reference, str(start.get("preflight", {}).get("unit", "")))


def _belongs(column: str, detector: str) -> bool:
    own = column == detector or column.startswith(f"{detector}_")
    return own and not column.endswith(("_count", "_image", "_lower", "_upper"))


@dataclass(frozen=True)
class Pass:
    """One flight over the range.

    Attributes
    ----------
    number
        Number of the pass, from 1.
    position, value
        Positions and values of its rows, shape (n,), in the order of time.
    bad
        Which rows carry a bit of ``quality`` that spoils them, shape (n,), bool.
    """

    number: int
    position: Floats
    value: Floats
    bad: NDArray[np.bool_]

    @property
    def upwards(self) -> bool:
        """Whether it was flown towards larger positions."""
        return len(self.position) < 2 or bool(self.position[-1] >= self.position[0])


def passes_of(columns: Mapping[str, NDArray[Any]], display: Display) -> list[Pass]:
    """Split a table into its passes, normalised as the display says.

    Parameters
    ----------
    columns
        Columns of equal length (n,): the axis, the signal, the reference, and where the run has
        them ``pass_number`` and ``quality``.
    display
        What is shown.
    """
    position = np.asarray(columns[display.axis], float)
    value = np.asarray(columns[display.signal], float)
    if display.reference:
        with np.errstate(divide="ignore", invalid="ignore"):
            value = value / np.asarray(columns[display.reference], float)
    numbers = np.asarray(columns.get("pass_number", np.ones(len(position))), float)
    quality = np.nan_to_num(np.asarray(columns.get("quality", np.zeros(len(position))), float))
    bad = ~good_rows(quality)
    return [
        Pass(int(number), position[rows], value[rows], bad[rows])
        for number in np.unique(numbers[np.isfinite(numbers)])
        for rows in [numbers == number]
    ]


@dataclass(frozen=True)
class Mean:
    """Several passes in one curve.

    Attributes
    ----------
    position, value, error
        Shape (m,), rising; the error is the standard error of the mean, NaN where one row only
        was measured.
    rows
        Rows that went into each point, shape (m,).
    """

    position: Floats
    value: Floats
    error: Floats
    rows: NDArray[np.int64]


def mean_of(passes: Sequence[Pass], width: float | None = None) -> Mean:
    """Average the good rows of passes in bins of equal width.

    Parameters
    ----------
    passes
        At least one.
    width
        Width of a bin in the unit of the axis; None: the distance of two rows of the coarsest pass.
    """
    position = np.concatenate([one.position for one in passes])
    value = np.concatenate([one.value for one in passes])
    good = ~np.concatenate([one.bad for one in passes])
    good &= np.isfinite(position) & np.isfinite(value)
    position, value = position[good], value[good]
    if not len(position):
        nothing = np.array([], float)
        return Mean(nothing, nothing, nothing, np.array([], np.int64))
    width = _row_width(passes) if width is None else width
    low = float(position.min())
    bins = np.floor((position - low) / width + 1e-9).astype(np.int64) if width > 0 else None
    if bins is None:
        bins = np.zeros(len(position), np.int64)
    rows = np.bincount(bins)
    filled = rows > 0
    count = rows[filled]
    mean = np.bincount(bins, value)[filled] / count
    at = np.bincount(bins, position)[filled] / count
    squares = np.bincount(bins, (value - _spread(mean, filled)[bins]) ** 2)[filled]
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.where(count > 1, np.sqrt(squares / (count - 1) / count), np.nan)
    return Mean(at, mean, error, count)


def _spread(mean: Floats, filled: NDArray[np.bool_]) -> Floats:
    """Put values of filled bins back to the places of all bins."""
    whole = np.zeros(len(filled))
    whole[filled] = mean
    return whole


def _row_width(passes: Sequence[Pass]) -> float:
    widths = []
    for one in passes:
        steps = np.abs(np.diff(one.position[np.isfinite(one.position)]))
        steps = steps[steps > 0]
        if len(steps):
            widths.append(float(np.median(steps)))
    return max(widths, default=0.0)


def derivative_of(mean: Mean) -> Mean:
    """Return the slope of a curve at its points; errors follow from those of the neighbours."""
    if len(mean.position) < 3:
        nothing = np.full(len(mean.position), np.nan)
        return Mean(mean.position, nothing, nothing, mean.rows)
    value = np.gradient(mean.value, mean.position)
    error = np.full(len(value), np.nan)
    distance = mean.position[2:] - mean.position[:-2]
    error[1:-1] = np.hypot(mean.error[2:], mean.error[:-2]) / distance
    return Mean(mean.position, value, error, mean.rows)


__all__ = [
    "BOOKKEEPING",
    "Display",
    "Mean",
    "Pass",
    "derivative_of",
    "display_of",
    "mean_of",
    "passes_of",
]
