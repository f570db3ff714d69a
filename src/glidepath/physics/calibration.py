"""Where an undulator's harmonic truly is against what its table says: offset and slope."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, nan

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Calibration", "HarmonicFit", "fit_harmonic"]


@dataclass(frozen=True)
class Calibration:
    """``true energy = offset + slope * table energy``, with standard errors.

    Parameters
    ----------
    offset, offset_error
        eV.
    slope, slope_error
        Slope and its error, without unit.

    Examples
    --------
    >>> found = Calibration.two_point((400.0, 400.12), (500.0, 500.12))
    >>> round(found.offset, 6), round(found.slope, 6)
    (0.12, 1.0)
    """

    offset: float = 0.0
    slope: float = 1.0
    offset_error: float = nan
    slope_error: float = nan

    def __post_init__(self) -> None:
        if not (np.isfinite(self.offset) and 0 < self.slope < np.inf):
            raise ValueError(
                f"An undulator cannot have an offset of {self.offset!r} eV and a slope of "
                f"{self.slope!r}; give finite numbers, and a slope above zero."
            )

    def true_energy(self, table_energy: ArrayLike) -> NDArray[np.float64]:
        """Return true energies in eV for energies of the table (eV, any shape)."""
        return self.offset + self.slope * np.asarray(table_energy, dtype=np.float64)

    @classmethod
    def two_point(
        cls, one: tuple[float, float], other: tuple[float, float], error: float = nan
    ) -> "Calibration":
        """Return the calibration through two points.

        Parameters
        ----------
        one, other
            Energy of the table and measured energy, eV.
        error
            Standard error of each measured energy, eV.

        Raises
        ------
        ValueError
            If both points have the same energy.
        """
        (x1, y1), (x2, y2) = one, other
        if x1 == x2:
            raise ValueError(
                f"Both points of the calibration are at {x1:g} eV; measure at two energies."
            )
        slope = (y2 - y1) / (x2 - x1)
        return cls(
            y1 - slope * x1,
            slope,
            error * hypot(x1, x2) / abs(x2 - x1),
            error * np.sqrt(2) / abs(x2 - x1),
        )

    @classmethod
    def fitted(
        cls,
        table_energies: Sequence[float],
        measured: Sequence[float],
        errors: Sequence[float] | None = None,
    ) -> "Calibration":
        """Return the straight line that fits best.

        Parameters
        ----------
        table_energies, measured
            Energies of the table and measured ones, eV, shape (n,), n at least 3.
        errors
            Standard errors of the measured energies, eV, shape (n,); None: equal ones, and their
            size from the scatter.

        Raises
        ------
        ValueError
            If there are fewer than three points, or all are at one energy.
        """
        from lmfit.models import LinearModel

        at, found = np.asarray(table_energies, float), np.asarray(measured, float)
        if at.shape != found.shape or at.ndim != 1 or len(np.unique(at)) < 3:
            raise ValueError(
                "A fitted calibration needs at least three energies of the table, and a measured "
                "energy for each; for two, use two_point."
            )
        weights = None if errors is None else 1 / np.asarray(errors, float)
        # Measured from the middle, where offset and slope do not depend on each other.
        middle = float(np.mean(at))
        result = LinearModel().fit(
            found - at,
            x=at - middle,
            slope=0.0,
            intercept=0.0,
            weights=weights,
            scale_covar=errors is None,
        )
        slope = 1.0 + result.params["slope"].value
        slope_error = _error(result.params["slope"].stderr)
        centre_error = _error(result.params["intercept"].stderr)
        correlation = result.params["slope"].correl or {}
        covariance = correlation.get("intercept", 0.0) * slope_error * centre_error
        variance = centre_error**2 + (middle * slope_error) ** 2 - 2 * middle * covariance
        offset = result.params["intercept"].value + middle * (1.0 - slope)
        return cls(float(offset), float(slope), float(np.sqrt(variance)), slope_error)


@dataclass(frozen=True)
class HarmonicFit:
    """Where a harmonic is: energy and standard error, eV."""

    energy: float
    error: float


def fit_harmonic(energy: ArrayLike, intensity: ArrayLike, relative_width: float) -> HarmonicFit:
    """Find the energy of a harmonic in a scan of the monochromator over it at a fixed gap.

    The line is the sinc-squared one of a filament beam, on a constant background; its width is
    free, because the beam's divergence and the aperture widen it.

    Parameters
    ----------
    energy, intensity
        Energies in eV and what a mesh or a diode saw there, shape (n,).
    relative_width
        The natural width 1 / (harmonic periods): where the fit begins.

    Raises
    ------
    ValueError
        If there are fewer than eight points, or the highest one is at an end.
    """
    from lmfit import Parameters, minimize

    at, seen = np.asarray(energy, dtype=np.float64), np.asarray(intensity, dtype=np.float64)
    known = np.isfinite(at) & np.isfinite(seen)
    order = np.argsort(at[known])
    at, seen = at[known][order], seen[known][order]
    top = int(np.argmax(seen)) if len(seen) else 0
    if len(at) < 8 or top in (0, len(at) - 1):
        raise ValueError(
            "No harmonic was found: scan the monochromator over at least eight points around it, "
            "with the gap fixed."
        )
    height = float(np.ptp(seen)) or 1.0
    low = float(np.min(seen))

    def residual(parameters: Parameters) -> NDArray[np.float64]:
        value = parameters.valuesdict()
        line = np.sinc((at / value["energy"] - 1) / value["width"]) ** 2
        return np.asarray(value["background"] + value["height"] * line - (seen - low) / height)

    start = Parameters()
    start.add("energy", float(at[top]), min=float(at[0]), max=float(at[-1]))
    start.add("width", relative_width, min=relative_width / 4, max=relative_width * 4)
    start.add("height", 1.0, min=0.0)
    start.add("background", 0.0)
    found = minimize(residual, start).params["energy"]
    return HarmonicFit(float(found.value), _error(found.stderr))


def _error(stderr: float | None) -> float:
    return nan if stderr is None else float(stderr)
