"""The width of a beam around its focus, and where the focus is."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["FocusError", "FocusFit", "beam_width", "fit_focus"]

_FEWEST = 5
_SIGNIFICANT = 3.0


class FocusError(ValueError):
    """There is no focus in what was measured; the text says why in one sentence."""


@dataclass(frozen=True)
class FocusFit:
    """Result of fitting the width of a beam against the position of its focus.

    Attributes
    ----------
    position, position_error
        Where the width is smallest, and its standard error, in the unit of the positions.
    width, width_error
        The smallest width and its standard error, in the unit of the widths.
    model
        The fitted width as a function of the position (any shape).
    """

    position: float
    position_error: float
    width: float
    width_error: float
    model: Callable[[ArrayLike], NDArray[np.float64]]


def beam_width(
    position: ArrayLike, focus: float, smallest: float, divergence: float
) -> NDArray[np.float64]:
    """Width of a beam: a hyperbola of the distance from its focus.

    Parameters
    ----------
    position
        Any shape.
    focus
        Position of the focus.
    smallest
        Width at the focus.
    divergence
        By how much the width grows per unit of position far from the focus.

    Examples
    --------
    >>> beam_width([-1, 0, 1], 0.0, 3.0, 4.0)
    array([5., 3., 5.])
    """
    return np.hypot(smallest, divergence * (np.asarray(position, dtype=np.float64) - focus))


def fit_focus(position: ArrayLike, width: ArrayLike) -> FocusFit:
    """Fit `beam_width` and return where the focus is.

    Parameters
    ----------
    position, width
        Shape (n,); points whose width is not a number above zero are left out.

    Raises
    ------
    FocusError
        If there are too few points, no minimum, or one outside the positions.

    Examples
    --------
    >>> at = np.arange(-50.0, 51.0, 10.0)
    >>> round(fit_focus(at, beam_width(at, 7.0, 3.0, 0.2)).position, 6)
    7.0
    """
    # lmfit takes a second to import, which the servers of the simulation need not wait for.
    from lmfit import Model

    x, y = (np.asarray(values, dtype=np.float64) for values in (position, width))
    good = np.isfinite(x) & np.isfinite(y) & (y > 0)
    x, y = x[good], y[good]
    if len(np.unique(x)) < _FEWEST:
        raise FocusError(
            f"A focus needs the width at {_FEWEST} positions or more, but there are "
            f"{len(np.unique(x))}."
        )
    middle, half = 0.5 * (x.min() + x.max()), 0.5 * np.ptp(x)
    # The square of the width is a parabola.
    curvature, slope, constant = np.polyfit((x - middle) / half, y**2, 2)
    if not curvature > 0:
        least = x[np.argmin(y)]
        what = "it is no smaller inside than at the ends"
        if least in (x.min(), x.max()):
            what = f"it is smallest at {least:g}, so scan beyond that"
        raise FocusError(f"The width has no minimum between {x.min():g} and {x.max():g}: {what}.")
    guess = -slope / (2 * curvature)
    smallest = np.sqrt(max(constant - slope**2 / (4 * curvature), (0.1 * y.min()) ** 2))
    model = Model(beam_width)
    parameters = model.make_params(
        focus={"value": middle + half * guess},
        smallest={"value": smallest, "min": 0},
        divergence={"value": np.sqrt(curvature) / half, "min": 0},
    )
    result = model.fit(y, parameters, position=x)
    best = result.params
    focus, error = float(best["focus"].value), best["focus"].stderr
    growth = best["divergence"]
    if not result.success or error is None or growth.stderr is None or not np.isfinite(error):
        raise FocusError(f"No focus could be fitted to {len(x)} widths: {result.message}")
    if not x.min() < focus < x.max():
        side = "below" if focus < middle else "above"
        raise FocusError(
            f"The width becomes smaller towards {focus:.4g}, {side} the range from {x.min():g} to "
            f"{x.max():g}: scan there."
        )
    if growth.value < _SIGNIFICANT * growth.stderr or error > half:
        raise FocusError(
            f"The width does not change enough between {x.min():g} and {x.max():g} to say where "
            "it is smallest: scan further."
        )

    def fitted(at: ArrayLike) -> NDArray[np.float64]:
        return beam_width(at, focus, best["smallest"].value, growth.value)

    return FocusFit(
        focus,
        float(error),
        float(best["smallest"].value),
        float(best["smallest"].stderr or np.nan),
        fitted,
    )
