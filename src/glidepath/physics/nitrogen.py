"""The N2 1s absorption: the spectrum that a soft X-ray beamline is commissioned with, and its fit.

Energies and relative heights of the pi* vibrational series after C. T. Chen, Y. Ma and F. Sette,
Phys. Rev. A 40, 6737 (1989), and M. Kato et al., J. Electron Spectrosc. 160, 39 (2007).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "N2_RELATIVE_HEIGHTS",
    "N2Fit",
    "N2_LINES_eV",
    "N2_NATURAL_WIDTH_eV",
    "absorption",
    "fit_series",
]

N2_LINES_eV: Final = (400.88, 401.11, 401.34, 401.56, 401.78, 402.00, 402.21)
"""Energies of the lines v' = 0, 1, ... of the 1s -> pi* series, eV."""
N2_RELATIVE_HEIGHTS: Final = (1.0, 0.94, 0.60, 0.29, 0.12, 0.04, 0.015)
"""Heights of these lines, relative to the first."""
N2_NATURAL_WIDTH_eV: Final = 0.115
"""Full width at half maximum of the Lorentzian that the core hole's lifetime gives, eV."""

_SIGMA_PER_FWHM = 1 / (2 * np.sqrt(2 * np.log(2)))

# (energy eV, height relative to the first pi* line, natural width eV)
_RYDBERG_LINES = ((406.1, 0.060, 0.14), (407.1, 0.045, 0.16))
_EDGE_eV, _EDGE_HEIGHT, _EDGE_WIDTH_eV = 409.9, 0.055, 0.4
_RESONANCE_eV, _RESONANCE_HEIGHT, _RESONANCE_FWHM_eV = 419.0, 0.075, 8.0


def _line(
    energy: NDArray[np.float64], centre: float, lorentzian_fwhm: float, gaussian_fwhm: float
) -> NDArray[np.float64]:
    """Voigt line of the area of a Lorentzian of height 1: folding with a Gaussian lowers it."""
    # Imported here: a scan needs the lines, not their shape, and begins a quarter second sooner.
    from scipy.special import wofz

    half = lorentzian_fwhm / 2
    sigma = max(gaussian_fwhm, 1e-6) * _SIGMA_PER_FWHM
    voigt = wofz((energy - centre + 1j * half) / (sigma * np.sqrt(2))).real
    return np.asarray(voigt * half * np.sqrt(np.pi / 2) / sigma)


def absorption(energy: ArrayLike, resolution_fwhm_eV: float = 0.05) -> NDArray[np.float64]:
    """Absorption of N2 gas near its 1s edge, relative to the first pi* line at full resolution.

    The pi* vibrational series, two Rydberg lines, the edge at 409.9 eV and the shape resonance
    near 419 eV. The lines are folded with a Gaussian resolution; the edge and the shape
    resonance, which are much wider, are not.

    Parameters
    ----------
    energy
        Photon energy in eV, any shape; float64 of the same shape is returned.
    resolution_fwhm_eV
        Full width at half maximum of the monochromator's Gaussian, eV.
    """
    energy = np.asarray(energy, dtype=np.float64)
    result = np.zeros_like(energy)
    for centre, height in zip(N2_LINES_eV, N2_RELATIVE_HEIGHTS, strict=True):
        result += height * _line(energy, centre, N2_NATURAL_WIDTH_eV, resolution_fwhm_eV)
    for centre, height, width in _RYDBERG_LINES:
        result += height * _line(energy, centre, width, resolution_fwhm_eV)
    edge = 0.5 + np.arctan((energy - _EDGE_eV) / (_EDGE_WIDTH_eV / 2)) / np.pi
    sigma = _RESONANCE_FWHM_eV * _SIGMA_PER_FWHM
    resonance = np.exp(-0.5 * ((energy - _RESONANCE_eV) / sigma) ** 2)
    return np.asarray(result + edge * (_EDGE_HEIGHT + _RESONANCE_HEIGHT * resonance))


@dataclass(frozen=True)
class N2Fit:
    """Result of fitting the pi* series of a measured N2 spectrum.

    Attributes
    ----------
    first_line, first_line_error
        Energy of the first line and its standard error, eV.
    gaussian_fwhm, gaussian_fwhm_error
        Full width at half maximum of the monochromator's Gaussian and its standard error, eV.
    valley_to_peak, valley_to_peak_error
        Height of the first valley over that of the third peak, above the background, and its
        standard error: a measure of the resolution that needs no line shape (C. T. Chen and
        F. Sette, Rev. Sci. Instrum. 60, 1616 (1989)).
    lorentzian_fwhm
        Natural width, eV; the fit keeps it at its known value.
    line_energies
        Energies of all fitted lines, eV.
    heights
        Heights of the lines before the Gaussian folding, in units of the signal.
    model
        The fitted curve as a function of the energy in eV (any shape).
    """

    first_line: float
    first_line_error: float
    gaussian_fwhm: float
    gaussian_fwhm_error: float
    valley_to_peak: float
    valley_to_peak_error: float
    lorentzian_fwhm: float
    line_energies: NDArray[np.float64]
    heights: NDArray[np.float64]
    model: Callable[[ArrayLike], NDArray[np.float64]]

    @property
    def resolving_power(self) -> float:
        """Energy of the first line divided by the Gaussian width."""
        return self.first_line / self.gaussian_fwhm

    @property
    def resolving_power_error(self) -> float:
        """Standard error of the resolving power: the width's, the line's is far below it."""
        return self.resolving_power * self.gaussian_fwhm_error / self.gaussian_fwhm

    @property
    def shift(self) -> float:
        """Distance of the first line from 400.88 eV, where it belongs, eV."""
        return self.first_line - N2_LINES_eV[0]


def fit_series(energy: ArrayLike, signal: ArrayLike, first_line: float | None = None) -> N2Fit:
    """Fit the pi* series of N2 to a measured spectrum.

    The distances between the lines and their natural width are known and kept; free are the
    energy of the series, the monochromator's Gaussian width, the heights and a linear background.

    Parameters
    ----------
    energy
        Photon energy in eV, shape (n,), in any order; values that are not finite are left out.
    signal
        Measured signal, shape (n,).
    first_line
        Where the first line is expected, eV; None looks for the series.

    Raises
    ------
    ValueError
        If the spectrum does not hold the series.
    """
    # lmfit takes a second to import, which the servers of the simulation need not wait for.
    from lmfit import Parameters, minimize

    at, measured = np.asarray(energy, dtype=np.float64), np.asarray(signal, dtype=np.float64)
    known = np.isfinite(at) & np.isfinite(measured)
    order = np.argsort(at[known])
    at, measured = at[known][order], measured[known][order]
    distances = np.asarray(N2_LINES_eV) - N2_LINES_eV[0]
    if first_line is None:
        first_line = _find_series(at, measured, distances)
    inside = (at > first_line - 0.8) & (at < first_line + distances[-1] + 0.6)
    at, measured = at[inside], measured[inside]
    if len(at) < 20:
        raise ValueError(
            f"A fit of the N2 series needs at least 20 points between {first_line - 0.8:.2f} and "
            f"{first_line + distances[-1] + 0.6:.2f} eV, but there are {len(at)}."
        )
    low, span = float(np.min(measured)), float(np.ptp(measured)) or 1.0
    relative = (measured - low) / span
    origin = float(at[0])

    def curve(parameters: Parameters, where: NDArray[np.float64]) -> NDArray[np.float64]:
        value = parameters.valuesdict()
        total = value["background"] + value["slope"] * (where - origin)
        for number, distance in enumerate(distances):
            total = total + value[f"height_{number}"] * _line(
                where, value["first_line"] + distance, N2_NATURAL_WIDTH_eV, value["gaussian_fwhm"]
            )
        return np.asarray(total)

    start = Parameters()
    start.add("first_line", first_line, min=first_line - 0.4, max=first_line + 0.4)
    start.add("gaussian_fwhm", 0.06, min=0.003, max=0.5)
    start.add("background", 0.0)
    start.add("slope", 0.0)
    for number, height in enumerate(N2_RELATIVE_HEIGHTS):
        start.add(f"height_{number}", height, min=0.0)
    result = minimize(lambda parameters: curve(parameters, at) - relative, start)
    fitted = result.params
    ratio, ratio_error = _valley_to_peak(fitted, distances)
    return N2Fit(
        first_line=float(fitted["first_line"].value),
        first_line_error=_error_of(fitted["first_line"]),
        gaussian_fwhm=float(fitted["gaussian_fwhm"].value),
        gaussian_fwhm_error=_error_of(fitted["gaussian_fwhm"]),
        valley_to_peak=ratio,
        valley_to_peak_error=ratio_error,
        lorentzian_fwhm=N2_NATURAL_WIDTH_eV,
        line_energies=float(fitted["first_line"].value) + distances,
        heights=span * np.array([fitted[f"height_{i}"].value for i in range(len(distances))]),
        model=lambda where: low + span * curve(fitted, np.asarray(where, dtype=np.float64)),
    )


def _error_of(parameter: Any) -> float:
    """Return the standard error of a fitted parameter; NaN if the fit could not tell it."""
    return float("nan") if parameter.stderr is None else float(parameter.stderr)


def _valley_to_peak(fitted: Any, distances: NDArray[np.float64]) -> tuple[float, float]:
    """Return first valley over third peak of the fitted lines, and its standard error.

    The error follows from those of the width and of the heights, as if these were independent:
    each moves the ratio by its own derivative.
    """
    names = ["gaussian_fwhm", *(f"height_{number}" for number in range(len(distances)))]
    at = np.arange(-0.1, distances[2] + 0.15, 0.001)

    def ratio(values: dict[str, float]) -> float:
        width = values["gaussian_fwhm"]
        lines = [_line(at, distance, N2_NATURAL_WIDTH_eV, width) for distance in distances]
        total = np.sum([values[f"height_{i}"] * line for i, line in enumerate(lines)], axis=0)
        valley = total[(at > distances[0]) & (at < distances[1])].min()
        peak = total[(at > (distances[1] + distances[2]) / 2)].max()
        return float(valley / peak)

    best = {name: float(fitted[name].value) for name in names}
    centre = ratio(best)
    squares = 0.0
    for name in names:
        error = _error_of(fitted[name])
        if np.isfinite(error) and error > 0:
            step = min(error, 0.1 * abs(best[name]) or error)
            moved = ratio({**best, name: best[name] + step})
            squares += ((moved - centre) / step * error) ** 2
        elif name == names[0]:
            return centre, float("nan")
    return centre, float(np.sqrt(squares))


def _find_series(
    energy: NDArray[np.float64], signal: NDArray[np.float64], distances: NDArray[np.float64]
) -> float:
    """Energy at which the series' pattern correlates best with the signal, eV."""
    pattern_energy = np.arange(-0.4, distances[-1] + 0.2, 0.01)
    if len(energy) < 20 or np.ptp(energy) < np.ptp(pattern_energy) + 0.05:
        raise ValueError(
            f"No N2 series can be found in {len(energy)} points over "
            f"{np.ptp(energy) if len(energy) else 0:.2f} eV; measure 399 to 404 eV in steps of at "
            "most 0.05 eV."
        )
    pattern = np.zeros_like(pattern_energy)
    for distance, height in zip(distances, N2_RELATIVE_HEIGHTS, strict=True):
        pattern += height * _line(pattern_energy, float(distance), N2_NATURAL_WIDTH_eV, 0.06)
    grid = np.arange(energy[0], energy[-1], 0.01)
    measured = np.interp(grid, energy, signal)
    overlap = np.correlate(measured - np.mean(measured), pattern - np.mean(pattern), "valid")
    return float(grid[int(np.argmax(overlap))] + 0.4)
