"""Fits of stored runs, and their results in sentences."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from glidepath.live import Display, mean_of
from glidepath.physics.edge import EdgeFit, fit_edge
from glidepath.physics.nitrogen import N2_LINES_eV, N2Fit, fit_series
from glidepath.physics.uncertainty import with_error

from .stored_run import StoredRun

EV_PER = {"eV": 1.0, "keV": 1000.0}
"""Units of an energy axis."""


@dataclass(frozen=True)
class N2Result:
    """The N2 series of one run.

    Attributes
    ----------
    fit
        What was fitted.
    label
        What was fitted to.
    """

    fit: N2Fit
    label: str

    def lines(self) -> list[str]:
        """Return the result in lines for people."""
        fit = self.fit
        return [
            f"First line      {with_error(fit.first_line, fit.first_line_error)} eV "
            f"({1e3 * fit.shift:+.1f} meV from {N2_LINES_eV[0]:.2f} eV)",
            f"Gaussian width  "
            f"{with_error(1e3 * fit.gaussian_fwhm, 1e3 * fit.gaussian_fwhm_error)} meV (FWHM)",
            f"Resolving power {with_error(fit.resolving_power, fit.resolving_power_error)}",
            f"First valley / third peak {with_error(fit.valley_to_peak, fit.valley_to_peak_error)}",
        ]

    def to_json(self) -> dict[str, float]:
        """Return the numbers."""
        names = ("first_line", "gaussian_fwhm", "resolving_power", "valley_to_peak")
        pairs = {name: getattr(self.fit, name) for name in names}
        errors = {f"{name}_error": getattr(self.fit, f"{name}_error") for name in names}
        return {**pairs, **errors, "shift": self.fit.shift}


@dataclass(frozen=True)
class EdgeResult:
    """The absorption edge of one run.

    Attributes
    ----------
    fit
        What was fitted.
    label
        What was fitted to.
    """

    fit: EdgeFit
    label: str

    def lines(self) -> list[str]:
        """Return the result in lines for people."""
        fit = self.fit
        return [
            f"Edge            {with_error(fit.edge, fit.edge_error)} eV",
            f"Width           {with_error(fit.width, fit.width_error)} eV (FWHM)",
            f"Jump            {with_error(fit.jump, fit.jump_error)}",
        ]

    def to_json(self) -> dict[str, float]:
        """Return the numbers."""
        names = ("edge", "width", "jump")
        pairs = {name: getattr(self.fit, name) for name in names}
        return {**pairs, **{f"{name}_error": getattr(self.fit, f"{name}_error") for name in names}}


def fit_n2_of(run: StoredRun, signal: str | None = None, reference: str | None = None) -> N2Result:
    """Fit the N2 series to the good rows of a run.

    Raises
    ------
    ValueError
        If the run has no such rows, or they do not hold the series.
    """
    display, at, value = _good_rows(run, signal, reference)
    return N2Result(fit_series(at, value), display.label)


def fit_edge_of(
    run: StoredRun,
    signal: str | None = None,
    reference: str | None = None,
    at: float | None = None,
) -> EdgeResult:
    """Fit an arctangent to the mean of the passes of a run.

    Parameters
    ----------
    run, signal, reference
        What is fitted to.
    at
        Where the edge is expected, eV; None: where the signal rises most.

    Raises
    ------
    ValueError
        If the run has no rows, or too few.
    """
    display = run.display(signal, reference)
    mean = mean_of(run.passes(display))
    return EdgeResult(fit_edge(mean.position * _to_eV(display), mean.value, at), display.label)


def fit_of(run: StoredRun, kind: str, **options: Any) -> N2Result | EdgeResult:
    """Return the fit of a kind: ``"n2"`` or ``"edge"``."""
    kinds: dict[str, Any] = {"n2": fit_n2_of, "edge": fit_edge_of}
    if kind not in kinds:
        raise ValueError(f"There is no fit {kind!r}; there are {', '.join(kinds)}.")
    result: N2Result | EdgeResult = kinds[kind](run, **options)
    return result


def _good_rows(
    run: StoredRun, signal: str | None, reference: str | None
) -> tuple[Display, Any, Any]:
    display = run.display(signal, reference)
    passes = run.passes(display)
    position = np.concatenate([one.position[~one.bad] for one in passes]) * _to_eV(display)
    return display, position, np.concatenate([one.value[~one.bad] for one in passes])


def _to_eV(display: Display) -> float:  # noqa: N802
    if display.unit not in EV_PER:
        raise ValueError(
            f"Only an axis in {' or '.join(EV_PER)} has lines to fit; {display.axis} is in "
            f"{display.unit or 'no unit'}."
        )
    return EV_PER[display.unit]


__all__ = ["EdgeResult", "N2Result", "fit_edge_of", "fit_n2_of", "fit_of", "with_error"]
