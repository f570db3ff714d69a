"""Makes curves of runs that are to be seen together: mean, difference, ratio, up and down."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from glidepath.live import Mean, Pass, derivative_of, mean_of

from .stored_run import StoredRun


class Mode(StrEnum):
    """What is made of several curves."""

    OVERLAY = "overlay"
    PASSES = "passes"
    AVERAGE = "average"
    DIFFERENCE = "difference"
    RATIO = "ratio"
    UP_DOWN = "up-down"


@dataclass(frozen=True)
class Spectrum:
    """One curve and what it is.

    Attributes
    ----------
    label
        What it is, for a legend.
    curve
        Positions, values, standard errors.
    axis_label, value_label
        Labels for the axes of a picture.
    bad
        Positions and values of rows with bits that spoil them, shape (2, n).
    """

    label: str
    curve: Mean
    axis_label: str
    value_label: str
    bad: NDArray[np.float64]


def spectra_of(
    runs: Sequence[StoredRun],
    *,
    mode: str = Mode.OVERLAY,
    signal: str | None = None,
    reference: str | None = None,
    derivative: bool = False,
    width: float | None = None,
) -> list[Spectrum]:
    """Return the curves of some runs.

    Parameters
    ----------
    runs
        At least one; two or more for a difference or a ratio, which are to the first one.
    mode
        ``overlay``: the mean of each run; ``passes``: each pass by itself; ``average``: the mean
        of all passes of all runs; ``difference`` and ``ratio``: to the first run; ``up-down``: the
        passes of each direction.
    signal, reference
        Columns; None: what the beamline says; an empty reference: no normalisation.
    derivative
        Whether the slopes are shown.
    width
        Width of the bins in the unit of the axis; None: of one row.

    Raises
    ------
    ValueError
        If the mode is unknown or needs what the runs have not.
    """
    if mode not in list(Mode):
        raise ValueError(f"There is no way {mode!r} to draw runs; there are {', '.join(Mode)}.")
    if mode in (Mode.DIFFERENCE, Mode.RATIO) and len(runs) < 2:
        raise ValueError(f"A {mode} needs two runs or more; name them.")
    found = _curves(runs, Mode(mode), signal, reference, width)
    if derivative:
        found = [
            replace(
                one,
                curve=derivative_of(one.curve),
                value_label=f"d({one.value_label}) / d({one.axis_label})",
                bad=np.empty((2, 0)),
            )
            for one in found
        ]
    return found


def _curves(
    runs: Sequence[StoredRun],
    mode: Mode,
    signal: str | None,
    reference: str | None,
    width: float | None,
) -> list[Spectrum]:
    flown = [(run, run.display(signal, reference)) for run in runs]
    passes = [run.passes(display) for run, display in flown]
    display = flown[0][1]
    axis = f"{display.axis} ({display.unit})" if display.unit else display.axis
    labels = [f"scan {run.run.scan_id}" for run in runs]

    def spectrum(label: str, group: Sequence[Pass], value: str = display.label) -> Spectrum:
        return Spectrum(label, mean_of(group, width), axis, value, _bad(group))

    if mode is Mode.AVERAGE:
        return [spectrum(f"mean of {', '.join(labels)}", [p for one in passes for p in one])]
    if mode is Mode.PASSES:
        return [
            spectrum(f"{label}, pass {p.number} ({_direction(p)})", [p])
            for label, one in zip(labels, passes, strict=True)
            for p in one
        ]
    if mode is Mode.UP_DOWN:
        return [
            spectrum(f"{label}, {direction}", group)
            for label, one in zip(labels, passes, strict=True)
            for direction in ("up", "down")
            if (group := [p for p in one if _direction(p) == direction])
        ]
    each = [spectrum(label, one) for label, one in zip(labels, passes, strict=True)]
    if mode is Mode.OVERLAY:
        return each
    return [_against(each[0], one, mode) for one in each[1:]]


def _direction(one: Pass) -> str:
    return "up" if one.upwards else "down"


def _bad(passes: Sequence[Pass]) -> NDArray[np.float64]:
    position = np.concatenate([one.position[one.bad] for one in passes])
    value = np.concatenate([one.value[one.bad] for one in passes])
    return np.stack([position, value])


def _against(first: Spectrum, other: Spectrum, mode: Mode) -> Spectrum:
    """Return the difference or the ratio of one curve to the first one, at its positions."""
    at = other.curve.position
    value = np.interp(at, first.curve.position, first.curve.value, left=np.nan, right=np.nan)
    error = np.interp(at, first.curve.position, first.curve.error, left=np.nan, right=np.nan)
    if mode is Mode.DIFFERENCE:
        result, spread = other.curve.value - value, np.hypot(other.curve.error, error)
        label, unit = f"{other.label} - {first.label}", first.value_label
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            result = other.curve.value / value
            spread = np.abs(result) * np.hypot(other.curve.error / other.curve.value, error / value)
        label, unit = f"{other.label} / {first.label}", f"ratio of {first.value_label}"
    curve = Mean(at, result, spread, other.curve.rows)
    return Spectrum(label, curve, first.axis_label, unit, np.empty((2, 0)))


__all__ = ["Mode", "Spectrum", "spectra_of"]
