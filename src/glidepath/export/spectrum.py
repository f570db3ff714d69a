"""The absorption spectrum of a run: what was divided by what, row by row and on a common grid."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glidepath.timeline import Quality

from .run import ExportError, Run

Floats = NDArray[np.float64]

BAD = (
    Quality.NO_DATA
    | Quality.OVERFLOW
    | Quality.BEAM_LOST
    | Quality.LOST_TRIGGER
    | Quality.AMBIGUOUS
    | Quality.CLOCK
)
"""Rows with one of these bits are in the table, but not in a spectrum."""

TRANSMISSION = "trans"

MODES = ("tey", "pey", "tfy", "pfy", TRANSMISSION)
"""How a spectrum can have been measured, as `glidepath.logbook.MODES` names them."""

SAME_ENERGY = 1e-9
"""Rows nearer to each other than this (in units of the axis) are at one energy."""


@dataclass(frozen=True)
class Roles:
    """Which columns make a spectrum.

    Parameters
    ----------
    mode
        One of `MODES`.
    signal
        What the sample gives: yield, or transmitted intensity.
    i0
        What falls onto it; None: the signal is not divided by anything.
    reference
        What a reference sample behind it lets through.
    """

    mode: str
    signal: str
    i0: str | None = None
    reference: str | None = None


@dataclass(frozen=True)
class Spectrum:
    """A spectrum of n energies; arrays of shape (n,) unless they say otherwise.

    Attributes
    ----------
    roles
        Which columns made it.
    energy, intensity
        Unit of the axis; signal divided by I0, or ``-ln(I / I0)`` in transmission.
    errors
        Standard error of the intensity; None for the rows of one pass: each is one exposure.
    channels
        ``"i0"``, ``"signal"``, ``"reference"`` where known, as the detectors gave them.
    passes
        Shape (passes, n): each pass alone on the grid; None for the rows of one pass.
    edges
        Shape (n + 1,): the grid; None for the rows of one pass.
    rows
        Rows that went into it.
    """

    roles: Roles
    energy: Floats
    intensity: Floats
    errors: Floats | None
    channels: Mapping[str, Floats]
    passes: Floats | None
    edges: Floats | None
    rows: int


def roles_of(run: Run, given: Iterable[Roles] = ()) -> list[Roles]:
    """Return the spectra that a run holds, the one that its experiment asks for first.

    Parameters
    ----------
    run
        The run; its start document names the columns under ``spectra``, as its beamline module
        does: mode -> one or several of ``{"signal": ..., "i0": ..., "reference": ...}``, of
        which the first counts whose columns the run has.
    given
        What a user named instead.

    Raises
    ------
    ExportError
        If a column that was named is not there.
    """
    columns = run.table.data_keys
    chosen = list(given)
    for roles in chosen:
        for column in (roles.signal, roles.i0, roles.reference):
            if column is not None and columns and column not in columns:
                raise ExportError(
                    f"{run.name.capitalize()} has no column {column!r}; it has "
                    f"{', '.join(columns)}."
                )
    if not chosen:
        known, _ = _spectra_named(run)
        found = [_first_with_columns(mode, named, columns) for mode, named in known.items()]
        chosen = [one for one in found if one is not None]
    asked = run.start.get("mode")
    return sorted(chosen, key=lambda roles: roles.mode != asked)


def misnamed_spectra(run: Run) -> str:
    """Return in one sentence what of the run's ``spectra`` is none, or an empty text."""
    _, wrong = _spectra_named(run)
    if not wrong:
        return ""
    return (
        f"The run's 'spectra' hold {', '.join(wrong)}, which is left out; a line is one of the "
        f"modes {', '.join(MODES)} and the names of its columns: signal, i0, reference."
    )


def _spectra_named(run: Run) -> tuple[dict[str, list[Mapping[str, Any]]], list[str]]:
    """Return the run's spectra by mode, and what of them is none: anybody can write documents."""
    spectra = run.start.get("spectra") or {}
    if not isinstance(spectra, Mapping):
        return {}, [repr(spectra)]
    known: dict[str, list[Mapping[str, Any]]] = {}
    wrong = []
    for mode, candidates in spectra.items():
        several = [candidates] if isinstance(candidates, Mapping) else candidates
        if mode in MODES and isinstance(several, list | tuple) and all(map(_is_named, several)):
            known[mode] = list(several)
        else:
            wrong.append(repr(mode))
    return known, wrong


def _is_named(candidate: Any) -> bool:
    """Tell whether this names the columns of a spectrum."""
    if not isinstance(candidate, Mapping) or not isinstance(candidate.get("signal"), str):
        return False
    others = (candidate.get("i0"), candidate.get("reference"))
    return all(other is None or isinstance(other, str) for other in others)


def _first_with_columns(
    mode: str, candidates: Iterable[Mapping[str, Any]], columns: Mapping[str, Any]
) -> Roles | None:
    for candidate in candidates:
        roles = Roles(mode, candidate["signal"], candidate.get("i0"), candidate.get("reference"))
        needed = [c for c in (roles.signal, roles.i0) if c is not None]
        if not columns or all(column in columns for column in needed):
            has_reference = roles.reference in columns
            return roles if has_reference else Roles(mode, roles.signal, roles.i0)
    return None


def spectrum_of(run: Run, roles: Roles, step: float | None = None) -> Spectrum:
    """Make the spectrum of a run.

    A run that passes each energy once keeps its rows as they are. Several passes, or a ``step``,
    bring the rows onto a common grid: each counts in a bin by the time that it was open there.

    Parameters
    ----------
    run, roles
        What to take from where.
    step
        Width of a bin in the axis's unit; None: as fine as the rows of the longest pass.
    """
    rows = _rows(run, roles)
    if step is None and _is_one_way(rows.energy):
        return Spectrum(
            roles, rows.energy, rows.intensity, None, rows.channels, None, None, len(rows.energy)
        )
    return _on_grid([rows], roles, step)


def average(runs: Sequence[Run], roles: Sequence[Roles], step: float | None = None) -> Spectrum:
    """Make one spectrum of several runs: their mean with errors, and each pass alone.

    Parameters
    ----------
    runs, roles
        The runs, and for each which columns make its spectrum; all of one mode.
    step
        Width of a bin in the axis's unit; None: as fine as the rows of the longest pass.

    Raises
    ------
    ExportError
        If the runs are not of one mode.
    """
    if len({one.mode for one in roles}) != 1:
        raise ExportError("Runs of different modes have no common spectrum; choose one mode.")
    return _on_grid([_rows(run, one) for run, one in zip(runs, roles, strict=True)], roles[0], step)


@dataclass(frozen=True)
class _Rows:
    """What a spectrum needs of the rows of a run, shape (n,) each."""

    energy: Floats
    lower: Floats
    upper: Floats
    duration: Floats
    pass_number: NDArray[np.int64]
    channels: Mapping[str, Floats]
    intensity: Floats


def _rows(run: Run, roles: Roles) -> _Rows:
    table, axis = run.table, run.axis

    def column(name: str, fallback: Floats | None = None) -> Floats:
        if name in table.data_keys or fallback is None:
            return np.asarray(table.read(name), float)
        return fallback

    if not table.rows:
        nothing = np.empty(0)
        named = {"signal": roles.signal, "i0": roles.i0, "reference": roles.reference}
        channels = {role: nothing for role, name in named.items() if name is not None}
        whole = np.empty(0, np.int64)
        return _Rows(nothing, nothing, nothing, nothing, whole, channels, nothing)
    energy = column(axis)
    channels = {"signal": column(roles.signal)}
    for role, name in (("i0", roles.i0), ("reference", roles.reference)):
        if name is not None:
            channels[role] = column(name)
    intensity = _intensity(roles, channels)
    if "quality" in table.data_keys:
        bad = (np.asarray(table.read("quality")).astype(np.uint16) & np.uint16(BAD)) != 0
        intensity = np.where(bad, np.nan, intensity)
    ones = np.ones(len(energy))
    return _Rows(
        energy,
        column(f"{axis}_lower", energy),
        column(f"{axis}_upper", energy),
        column("sample_duration", ones),
        column("pass_number", ones).astype(np.int64),
        channels,
        intensity,
    )


def _intensity(roles: Roles, channels: Mapping[str, Floats]) -> Floats:
    signal = channels["signal"]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = signal / channels["i0"] if "i0" in channels else signal
        if roles.mode == TRANSMISSION:
            ratio = -np.log(ratio)
    return np.where(np.isfinite(ratio), ratio, np.nan)


def _is_one_way(energy: Floats) -> bool:
    steps = np.diff(energy[np.isfinite(energy)])
    return bool(np.all(steps > 0) or np.all(steps < 0))


def _on_grid(parts: Sequence[_Rows], roles: Roles, step: float | None) -> Spectrum:
    passes = [
        (rows, np.flatnonzero(rows.pass_number == number))
        for rows in parts
        for number in np.unique(rows.pass_number)
    ]
    edges = _grid([(rows.energy[at], rows.lower[at], rows.upper[at]) for rows, at in passes], step)
    every = np.concatenate([rows.intensity for rows in parts])
    bins, row, weight = _overlaps(
        np.concatenate([rows.lower for rows in parts]),
        np.concatenate([rows.upper for rows in parts]),
        np.concatenate([rows.duration for rows in parts]),
        edges,
    )
    intensity, errors = _means(bins, row, weight, every, len(edges) - 1)
    # A channel that not all runs have is known for none.
    common = set.intersection(*(set(rows.channels) for rows in parts))
    channels = {
        role: _means(
            bins, row, weight, np.concatenate([p.channels[role] for p in parts]), len(edges) - 1
        )[0]
        for role in parts[0].channels
        if role in common
    }
    stack = []
    for rows, at in passes:
        of_pass = _overlaps(rows.lower[at], rows.upper[at], rows.duration[at], edges)
        stack.append(_means(*of_pass, rows.intensity[at], len(edges) - 1)[0])
    center = 0.5 * (edges[1:] + edges[:-1])
    return Spectrum(roles, center, intensity, errors, channels, np.array(stack), edges, len(every))


def _grid(passes: Sequence[tuple[Floats, Floats, Floats]], step: float | None) -> Floats:
    """Return the edges of a common grid: even, or between the rows of the longest pass."""
    ends = [end[np.isfinite(end)] for _, lower, upper in passes for end in (lower, upper)]
    known = np.concatenate(ends) if ends else np.empty(0)
    if not len(known):
        return np.array([0.0])
    low, high = float(known.min()), float(known.max())
    if step is not None:
        if not step > 0:
            raise ExportError(f"The step must be a number above zero, not {step:g}.")
        bins = max(1, int(np.ceil((high - low) / step - 1e-9)))
        return np.asarray(low + step * np.arange(bins + 1), np.float64)
    longest = max((energy[np.isfinite(energy)] for energy, *_ in passes), key=len)
    places = np.unique(longest)
    places = places[np.concatenate([[True], np.diff(places) > SAME_ENERGY])]
    between = 0.5 * (places[1:] + places[:-1])
    ends_of_grid = [[min(low, places[0])], between, [max(high, places[-1])]]
    return np.unique(np.concatenate(ends_of_grid))


def _overlaps(
    lower: Floats, upper: Floats, duration: Floats, edges: Floats
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Return bin, row and weight (s) for each pair of a row and a bin that it was open in."""
    bins = len(edges) - 1
    known = np.isfinite(lower) & np.isfinite(upper)
    first = np.clip(np.searchsorted(edges, lower, side="right") - 1, 0, max(bins - 1, 0))
    last = np.clip(np.searchsorted(edges, upper, side="left") - 1, first, max(bins - 1, 0))
    count = np.where(known & (bins > 0), last - first + 1, 0)
    row = np.repeat(np.arange(len(lower)), count)
    # Counts 0, 1, 2, ... within each row.
    place = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    bin_ = first[row] + place
    span = (upper - lower)[row]
    covered = np.minimum(upper[row], edges[bin_ + 1]) - np.maximum(lower[row], edges[bin_])
    share = np.divide(covered, span, out=np.ones(len(row)), where=span > 0)
    weight = np.clip(share, 0.0, 1.0) * duration[row]
    return bin_, row, weight


def _means(
    bins: NDArray[np.int64], row: NDArray[np.int64], weight: Floats, values: Floats, size: int
) -> tuple[Floats, Floats]:
    """Return weighted mean and its standard error per bin; NaN where there is nothing to say.

    The formulas are those of `glidepath.timeline.rebin_energy`.
    """
    y = values[row]
    good = np.isfinite(y) & (weight > 0)
    b, w, y = bins[good], weight[good], y[good]
    total = np.bincount(b, w, size)
    squares = np.bincount(b, w * w, size)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.bincount(b, w * y, size) / total
        scatter = np.bincount(b, w * (y - mean[b]) ** 2, size)
        free = total - squares / total
        enough = (np.bincount(b, minlength=size) > 1) & (free > 1e-12 * total)
        errors = np.where(enough, np.sqrt(scatter * squares / free) / total, np.nan)
    return mean, errors


__all__ = [
    "BAD",
    "MODES",
    "TRANSMISSION",
    "Roles",
    "Spectrum",
    "average",
    "misnamed_spectra",
    "roles_of",
    "spectrum_of",
]
