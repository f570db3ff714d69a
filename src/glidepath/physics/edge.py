"""An absorption edge and its fit: a step that the core hole's lifetime makes an arctangent.

F. K. Richtmyer, S. W. Barnes and E. Ramberg, Phys. Rev. 46, 843 (1934).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FEWEST_POINTS = 8
"""Points that five parameters need."""


@dataclass(frozen=True)
class EdgeFit:
    """Result of fitting an arctangent to an absorption edge.

    Attributes
    ----------
    edge, edge_error
        Energy of the middle of the step and its standard error, eV.
    width, width_error
        Full width of the Lorentzian behind the arctangent and its standard error, eV.
    jump, jump_error
        Height of the step and its standard error, in units of the signal.
    model
        The fitted curve as a function of the energy in eV (any shape).
    """

    edge: float
    edge_error: float
    width: float
    width_error: float
    jump: float
    jump_error: float
    model: Callable[[ArrayLike], NDArray[np.float64]]


def fit_edge(
    energy: ArrayLike,
    signal: ArrayLike,
    expected: float | None = None,
    error: ArrayLike | None = None,
) -> EdgeFit:
    """Fit ``background + slope (E - E0) + jump (1/2 + arctan(2 (E - E0) / width) / pi)``.

    Parameters
    ----------
    energy, signal
        Shape (n,); values that are not finite are left out.
    expected
        Where the edge is expected, eV; None: where the signal rises most.
    error
        Standard errors of the signal, shape (n,); None: all points count the same. The errors of
        the result follow from the scatter around the curve in any case.

    Raises
    ------
    ValueError
        If there are too few points.
    """
    # lmfit takes a second to import, which those who fit nothing need not wait for.
    from lmfit import Parameters, minimize

    at, measured = np.asarray(energy, float), np.asarray(signal, float)
    weight = np.ones(len(at)) if error is None else 1.0 / np.asarray(error, float)
    known = np.isfinite(at) & np.isfinite(measured) & np.isfinite(weight)
    order = np.argsort(at[known], kind="stable")
    at, measured, weight = (column[known][order] for column in (at, measured, weight))
    if len(at) < FEWEST_POINTS or not np.ptp(at) > 0:
        raise ValueError(
            f"A fit of an edge needs {FEWEST_POINTS} points or more at different energies, but "
            f"there are {len(at)}."
        )
    low, span = float(np.min(measured)), float(np.ptp(measured)) or 1.0
    relative = (measured - low) / span
    begin = _steepest(at, relative) if expected is None else expected
    weight = weight / np.mean(weight)

    def curve(values: dict[str, float], where: NDArray[np.float64]) -> NDArray[np.float64]:
        off = where - values["edge"]
        step = 0.5 + np.arctan(2 * off / values["width"]) / np.pi
        return np.asarray(values["background"] + values["slope"] * off + values["jump"] * step)

    start = Parameters()
    start.add("edge", begin, min=float(at[0]), max=float(at[-1]))
    start.add("width", float(np.ptp(at)) / 20, min=1e-6 * float(np.ptp(at)))
    start.add("background", float(relative[0]))
    start.add("slope", 0.0)
    start.add("jump", float(relative[-1] - relative[0]) or 0.5)
    result = minimize(
        lambda parameters: (curve(parameters.valuesdict(), at) - relative) * weight, start
    )
    values = result.params.valuesdict()

    def error_of(name: str) -> float:
        stderr = result.params[name].stderr
        return float("nan") if stderr is None else float(stderr)

    return EdgeFit(
        edge=values["edge"],
        edge_error=error_of("edge"),
        width=values["width"],
        width_error=error_of("width"),
        jump=span * values["jump"],
        jump_error=span * error_of("jump"),
        model=lambda where: low + span * curve(values, np.asarray(where, float)),
    )


def _steepest(at: NDArray[np.float64], signal: NDArray[np.float64]) -> float:
    """Return where a smoothed signal changes most."""
    grid = np.linspace(at[0], at[-1], 200)
    smooth = np.convolve(np.interp(grid, at, signal), np.ones(9) / 9, mode="same")
    slope = np.abs(np.gradient(smooth))
    # The smoothing spoils the ends.
    slope[:9] = slope[-9:] = 0
    return float(grid[int(np.argmax(slope))])


__all__ = ["EdgeFit", "fit_edge"]
