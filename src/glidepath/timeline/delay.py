"""The delay between detector and axis, from an up and a down scan over the same spectrum."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

MAX_DELAY = 1.0
"""Largest delay in seconds that is looked for."""

SMOOTHING = 1.0
"""Width (sigma) of the smoothing of both spectra, in steps of the coarser one."""

FINE_STEPS = 4
"""Points per smoothing width on which spectra are compared."""

LEAST_CORRELATION = 0.5
"""Spectra that agree less than this at their best have no structure in common."""


class Pass(NamedTuple):
    """A spectrum that was measured in flight.

    Attributes
    ----------
    energy, signal
        Shape (n,): energies in eV, in any order, and the signal. NaN are left out.
    velocity
        Speed in eV/s, above zero in both directions.
    """

    energy: ArrayLike
    signal: ArrayLike
    velocity: float


@dataclass(frozen=True)
class DelayEstimate:
    """Result of `estimate_delay`.

    Attributes
    ----------
    delay
        Seconds by which the detector is later than the axis says. Add it to the detector's
        latency.
    uncertainty
        Its standard error in seconds, from the noise of the spectra.
    shift
        Energy of a feature in the up scan minus its energy in the down scan (eV).
    correlation
        Correlation of both spectra after the shift, at most 1.
    """

    delay: float
    uncertainty: float
    shift: float
    correlation: float


def estimate_delay(up: Pass, down: Pass, *, max_delay: float = MAX_DELAY) -> DelayEstimate:
    """Return the residual delay between axis and detector from scans in both directions.

    A detector that is late by ``delay`` sees a line too high in energy on the way up and too
    low on the way down: both spectra are apart by ``delay`` times the sum of both speeds. The
    delay is the one with which one spectrum, times a factor plus an offset (the beam decays),
    fits the other best by least squares over the common range.

    Both spectra are first smoothed by the same Gaussian, one step wide (sigma): it moves
    no line, and the noise can no longer pull the result to whole steps. The standard error
    follows from the noise in the difference of the spectra and its correlation, taken as the
    same everywhere or as it is where the slopes are (Newey and West, Econometrica 55, 703
    (1987)), whichever is larger: few points on a line fit their own noise.

    Parameters
    ----------
    up, down
        The spectra.
    max_delay
        Largest delay in seconds, of either sign, that is looked for.

    Raises
    ------
    ValueError
        If the spectra have no common range, no structure in common, or no speed.

    Examples
    --------
    >>> energy = np.linspace(399, 403, 400)
    >>> line = lambda e: 1 / (1 + ((e - 401) / 0.06) ** 2)
    >>> up = Pass(energy, line(energy - 0.1 * 0.2), 0.1)
    >>> down = Pass(energy, line(energy + 0.1 * 0.2), 0.1)
    >>> print(f"{estimate_delay(up, down).delay:.3f} s")
    0.200 s
    """
    speeds = float(up.velocity), float(down.velocity)
    if not all(0 < speed < np.inf for speed in speeds):
        raise ValueError(
            f"Speeds of {speeds[0]:g} and {speeds[1]:g} eV/s give no delay; "
            "both must be above zero, whatever the direction."
        )
    if not 0 < max_delay < np.inf:
        raise ValueError(f"Delays up to {max_delay!r} s cannot be looked for; give seconds.")
    first, second = _clean("up", up), _clean("down", down)
    low, high = max(first[0][0], second[0][0]), min(first[0][-1], second[0][-1])
    sigma = SMOOTHING * max(float(np.median(np.diff(energy))) for energy, _ in (first, second))
    if high - low < 20 * sigma:
        raise ValueError(
            f"The up scan covers {first[0][0]:g} to {first[0][-1]:g} eV and the down scan "
            f"{second[0][0]:g} to {second[0][-1]:g} eV: too little in common to compare them."
        )
    step = sigma / FINE_STEPS
    grid = np.arange(low, high, step)
    smooth = [_smooth(np.interp(grid, *spectrum), FINE_STEPS) for spectrum in (first, second)]
    total = sum(speeds)
    # The ends of the smoothed spectra lean on what is beyond them.
    rim = 4 * sigma
    farthest = min(max_delay, ((high - low) / 4 - rim) / max(speeds))

    def compare(delay: float, margin: float) -> "_Fit":
        inner = grid[(grid >= low + margin) & (grid <= high - margin)]
        return _fit(
            _cubic(grid, smooth[0], inner + delay * speeds[0]),
            _cubic(grid, smooth[1], inner - delay * speeds[1]),
        )

    margin = rim + farthest * max(speeds)
    steps = int(np.ceil(2 * farthest * total / (sigma / 2))) + 1
    coarse = np.linspace(-farthest, farthest, steps)
    best = float(max(coarse, key=lambda delay: compare(delay, margin).correlation))
    # The first margin is wide because nothing is known; now only the shift found is left out.
    margin = rim + min(abs(best) + sigma / total, farthest) * max(speeds)
    spacing = coarse[1] - coarse[0]
    bounds = max(best - spacing, -farthest), min(best + spacing, farthest)
    delay = _minimum(lambda delay: compare(delay, margin).mean_square, *bounds)
    fit = compare(delay, margin)
    if not fit.correlation >= LEAST_CORRELATION:
        raise ValueError(
            "The up and the down scan have no structure in common; scan over a line or an edge "
            "that is well above the noise, or look for longer delays."
        )
    # Sensitivity of the difference to the delay, by a small change of it.
    change = 0.25 * step / total
    more, less = compare(delay + change, margin), compare(delay - change, margin)
    slope = (fit.factor * (more.second - less.second) - (more.first - less.first)) / (2 * change)
    return DelayEstimate(
        delay=delay,
        uncertainty=_standard_error(fit, slope, 8 * FINE_STEPS),
        shift=delay * total,
        correlation=fit.correlation,
    )


class _Fit(NamedTuple):
    """``first`` as ``factor * second + offset``; all arrays of shape (n,)."""

    first: Floats
    second: Floats
    factor: float
    residual: Floats
    mean_square: float
    correlation: float


def _fit(first: Floats, second: Floats) -> _Fit:
    x, y = second - second.mean(), first - first.mean()
    xx, yy, xy = float(x @ x), float(y @ y), float(x @ y)
    if not (xx > 0 and yy > 0):
        return _Fit(first, second, 0.0, y, yy / len(y), 0.0)
    factor = xy / xx
    residual = y - factor * x
    # Relative to both spectra: a factor of zero must not look like a good fit.
    correlation = xy / np.sqrt(xx * yy)
    return _Fit(first, second, factor, residual, 1 - correlation, float(correlation))


def _standard_error(fit: _Fit, slope: Floats, lags: int) -> float:
    """Return the standard error of the delay with correlated noise."""
    x = fit.second - fit.second.mean()
    sensitivity = slope - slope.mean()
    sensitivity = sensitivity - (x @ sensitivity) / (x @ x) * x
    information = float(sensitivity @ sensitivity)
    score = sensitivity * fit.residual
    n = len(score)
    even, uneven = 0.0, 0.0
    for lag in range(min(lags, n // 4)):
        taper = 1.0 if lag == 0 else 2 * (1 - lag / lags)
        noise = float(fit.residual[lag:] @ fit.residual[: n - lag]) / (n - lag)
        even += taper * noise * float(sensitivity[lag:] @ sensitivity[: n - lag])
        uneven += taper * float(score[lag:] @ score[: n - lag])
    return float(np.sqrt(max(even, uneven, 0.0)) / information)


def _clean(name: str, spectrum: Pass) -> tuple[Floats, Floats]:
    energy, signal = np.asarray(spectrum.energy, float), np.asarray(spectrum.signal, float)
    if energy.ndim != 1 or energy.shape != signal.shape:
        raise ValueError(
            f"The {name} scan needs one signal per energy, "
            f"not shapes {signal.shape} and {energy.shape}."
        )
    known = np.isfinite(energy) & np.isfinite(signal)
    energy, where = np.unique(energy[known], return_inverse=True)
    if len(energy) < 20:
        raise ValueError(f"The {name} scan has only {len(energy)} points; at least 20 are needed.")
    return energy, np.bincount(where, signal[known]) / np.bincount(where)


def _smooth(signal: Floats, sigma: float) -> Floats:
    """Return the signal folded with a Gaussian whose ``sigma`` is in points."""
    reach = int(np.ceil(4 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    padded = np.pad(signal, reach, mode="edge")
    return np.convolve(padded, kernel / kernel.sum(), mode="valid")


def _cubic(grid: Floats, signal: Floats, at: Floats) -> Floats:
    """Interpolate on an even grid by Catmull and Rom's cubic."""
    position = (at - grid[0]) / (grid[1] - grid[0])
    k = np.clip(np.floor(position).astype(int), 1, len(grid) - 3)
    u = position - k
    p0, p1, p2, p3 = signal[k - 1], signal[k], signal[k + 1], signal[k + 2]
    return p1 + 0.5 * u * (
        p2 - p0 + u * (2 * p0 - 5 * p1 + 4 * p2 - p3 + u * (3 * (p1 - p2) + p3 - p0))
    )


def _minimum(function: Callable[[float], float], low: float, high: float) -> float:
    """Return where a function with one minimum has it, by the golden section."""
    ratio = (5**0.5 - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(60):
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = function(right)
    return 0.5 * (low + high)


__all__ = ["DelayEstimate", "Pass", "estimate_delay"]
