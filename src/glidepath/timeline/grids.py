"""Edges of bins: of equal width, or as absorption spectra want them, in the axis's own unit."""

from math import ceil, isfinite

import numpy as np
from numpy.typing import NDArray

from glidepath.physics import photoelectron_energy, wave_number

Floats = NDArray[np.float64]

ENERGY_UNITS = {"eV": 1.0, "keV": 1e3, "meV": 1e-3}
"""Unit of energy -> its size in eV."""

DEFAULT_STEP_EV = 0.05
"""Width of a bin (eV) if nobody says otherwise."""

LOWEST_EDGE_EV = 10.0
"""No element has an absorption edge below this energy: a lower one was meant in keV."""

MOST_BINS = 10_000_000


def default_step(unit: str) -> float:
    """Return the width of a bin on an axis with this unit.

    Raises
    ------
    ValueError
        If the axis is no energy: no width is good for all such axes.
    """
    if unit not in ENERGY_UNITS:
        raise ValueError(
            f"The axis is in {unit or 'no unit'}, for which no width of a bin is usual; give the "
            "step in the unit of the axis."
        )
    return DEFAULT_STEP_EV / ENERGY_UNITS[unit]


def uniform_grid(start: float, stop: float, step: float) -> Floats:
    """Return edges of bins of equal width that cover a range.

    Parameters
    ----------
    start, stop
        Ends of the range, in any order and in the unit of the axis.
    step
        Width of a bin, in the same unit, above zero. The last bin is as wide as the others, so it
        may reach beyond the range.

    Returns
    -------
    array
        Shape (m + 1,), rising.

    Raises
    ------
    ValueError
        If a number is not finite, the range is empty, the step not above zero, or there would be
        more than ten million bins.

    Examples
    --------
    >>> uniform_grid(400.0, 401.0, 0.25)
    array([400.  , 400.25, 400.5 , 400.75, 401.  ])
    """
    _check_numbers(start=start, stop=stop)
    _check_step("step", step)
    if start == stop:
        raise ValueError(f"A grid from {start:g} to {stop:g} is empty; give two different ends.")
    low, high = min(start, stop), max(start, stop)
    _check_count((high - low) / step)
    bins = max(1, ceil((high - low) / step * (1 - 1e-12) - 1e-9))
    return np.asarray(low + step * np.arange(bins + 1), float)


def xas_grid(
    start: float,
    stop: float,
    edge: float,
    *,
    pre_step: float | None = None,
    edge_step: float | None = None,
    k_step: float = 0.05,
    edge_begin: float | None = None,
    edge_end: float | None = None,
    unit: str = "eV",
) -> Floats:
    """Return edges of bins as absorption spectra want them: coarse, fine, equidistant in k.

    Up to ``edge + edge_begin`` the bins are ``pre_step`` wide, up to ``edge + edge_end``
    ``edge_step``, and from there on ``k_step`` in the photoelectron's wave number
    ``k = sqrt(0.262468424 (E - edge))`` in 1/Angstrom with energies in eV.

    Parameters
    ----------
    start, stop
        Ends of the range, in any order. The first and the last bin end there; the other
        regions meet at bins that may be narrower.
    edge
        Energy of the absorption edge, inside the range.
    pre_step, edge_step
        Widths of bins; None: 5 eV and 0.25 eV.
    k_step
        Width of bins (1/Angstrom).
    edge_begin, edge_end
        Where the fine region begins and ends, relative to the edge; None: -30 eV and 50 eV.
    unit
        Unit of all these energies, one of `ENERGY_UNITS`, and of the result.

    Returns
    -------
    array
        Shape (m + 1,), rising, in the unit.

    Raises
    ------
    ValueError
        If the unit is none of energy, a number is not finite, a step is not above zero, or the
        edge is outside the range or so low that another unit was meant.

    Examples
    --------
    >>> xas_grid(7.012, 7.912, 7.112, unit="keV")[:3]
    array([7.012, 7.017, 7.022])
    """
    if unit not in ENERGY_UNITS:
        raise ValueError(
            f"The grid for absorption spectra needs an axis in {', '.join(ENERGY_UNITS)}, not in "
            f"{unit or 'no unit'}; use bins of equal width."
        )
    size = ENERGY_UNITS[unit]
    in_eV = {
        "start": start * size,
        "stop": stop * size,
        "edge": edge * size,
        "pre_step": 5.0 if pre_step is None else pre_step * size,
        "edge_step": 0.25 if edge_step is None else edge_step * size,
        "edge_begin": -30.0 if edge_begin is None else edge_begin * size,
        "edge_end": 50.0 if edge_end is None else edge_end * size,
    }
    return _xas_grid(**in_eV, k_step=k_step) / size


def _xas_grid(
    start: float,
    stop: float,
    edge: float,
    pre_step: float,
    edge_step: float,
    k_step: float,
    edge_begin: float,
    edge_end: float,
) -> Floats:
    """Do the work of `xas_grid`; all energies in eV."""
    _check_numbers(start=start, stop=stop, edge=edge, edge_begin=edge_begin, edge_end=edge_end)
    for name, step in (("pre_step", pre_step), ("edge_step", edge_step), ("k_step", k_step)):
        _check_step(name, step)
    low, high = min(start, stop), max(start, stop)
    if not low < edge < high:
        raise ValueError(
            f"The edge at {edge:g} eV is not inside {low:g} to {high:g} eV; "
            "choose a range around it."
        )
    if edge < LOWEST_EDGE_EV:
        raise ValueError(
            f"There is no absorption edge at {edge:g} eV; if the energies are in keV, say so with "
            "unit='keV'."
        )
    if not edge_begin < 0 < edge_end:
        raise ValueError(
            f"The fine region from {edge_begin:g} to {edge_end:g} eV does not hold the edge; "
            "edge_begin must be below zero and edge_end above."
        )
    fine_begin, fine_end = max(low, edge + edge_begin), min(high, edge + edge_end)
    k_begin, k_end = wave_number([fine_end, high], edge)
    _check_count(max(fine_begin - low, 0) / pre_step)
    _check_count((fine_end - fine_begin) / edge_step)
    _check_count((k_end - k_begin) / k_step)
    # The last bin of each region takes what is left over, up to half a step.
    before = np.arange(low, fine_begin - 0.5 * pre_step, pre_step)
    fine = np.arange(fine_begin, fine_end - 0.5 * edge_step, edge_step)
    k = np.arange(k_begin, k_end - 0.5 * k_step, k_step)
    after = photoelectron_energy(k, edge)
    joints = [low, fine_begin, fine_end, high]
    return np.unique(np.concatenate([before, fine, after[1:], joints]))


def _check_numbers(**numbers: float) -> None:
    for name, number in numbers.items():
        if not isfinite(number):
            raise ValueError(f"The grid's {name} must be a finite number, not {number!r}.")


def _check_step(name: str, step: float) -> None:
    if not (isfinite(step) and step > 0):
        raise ValueError(f"The grid's {name} must be a number above zero, not {step!r}.")


def _check_count(bins: float) -> None:
    if bins > MOST_BINS:
        raise ValueError(
            f"That makes {bins:.3g} bins, and {MOST_BINS:.0e} are possible; give a larger step."
        )


__all__ = ["ENERGY_UNITS", "default_step", "uniform_grid", "xas_grid"]
