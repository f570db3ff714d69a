"""Lookup tables of an undulator: gap and shift against energy, per harmonic and polarisation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .calibration import Calibration
from .undulator import UndulatorLaw

__all__ = ["HORIZONTAL", "GapCurve", "GapTable"]

HORIZONTAL: Final = "horizontal"
"""Name of the polarisation at shift 0."""

_BISECTIONS = 52
"""Halvings after which an interval is as narrow as float64 can tell."""


@dataclass(frozen=True, eq=False)
class GapCurve:
    """Gap against energy of one harmonic in one polarisation, monotonic between its points.

    Between the points the gap is a monotone piecewise cubic of the energy (F. N. Fritsch and
    R. E. Carlson, SIAM J. Numer. Anal. 17, 238 (1980)); the energy is its exact inverse.

    Parameters
    ----------
    energies, gaps
        Points of the curve: eV and mm, float64 of shape (n,), n at least 2, both rising.
    shifts
        Shift of the magnet rows at each point, mm, shape (n,).
    periods
        Number of magnetic periods.
    harmonic, polarisation
        What the curve is for.

    Raises
    ------
    ValueError
        If the points are no such curve; the text says which point is wrong.

    Examples
    --------
    >>> curve = GapCurve([400.0, 410.0, 420.0], [34.0, 34.6, 35.3], [0, 0, 0], periods=62)
    >>> float(curve.gap(410.0)), float(curve.energy(34.6))
    (34.6, 410.0)
    """

    energies: NDArray[np.float64]
    gaps: NDArray[np.float64]
    shifts: NDArray[np.float64]
    periods: int
    harmonic: int = 1
    polarisation: str = HORIZONTAL

    def __post_init__(self) -> None:
        for name in ("energies", "gaps", "shifts"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        if not self.energies.shape == self.gaps.shape == self.shifts.shape or len(self.gaps) < 2:
            raise ValueError(f"{self} needs at least two points of energy, gap and shift.")
        for values, unit in ((self.energies, "eV"), (self.gaps, "mm"), (self.shifts, "mm")):
            if not np.all(np.isfinite(values)):
                raise ValueError(f"{self} has a point that is no finite number of {unit}.")
        wrong = np.flatnonzero((np.diff(self.energies) <= 0) | (np.diff(self.gaps) <= 0))
        if len(wrong):
            k = wrong[0]
            raise ValueError(
                f"{self} is not monotonic: {self.energies[k]:g} eV at {self.gaps[k]:g} mm is "
                f"followed by {self.energies[k + 1]:g} eV at {self.gaps[k + 1]:g} mm; energy and "
                "gap must rise together."
            )

    def __str__(self) -> str:
        return f"The gap curve of harmonic {self.harmonic}, {self.polarisation},"

    @cached_property
    def _cubic(self) -> Any:
        # Imported here: who only needs the rest of the physics starts half a second sooner.
        from scipy.interpolate import PchipInterpolator

        return PchipInterpolator(self.energies, self.gaps, extrapolate=False)

    @property
    def low(self) -> float:
        """Lowest energy, eV."""
        return float(self.energies[0])

    @property
    def high(self) -> float:
        """Highest energy, eV."""
        return float(self.energies[-1])

    def gap(self, energy: ArrayLike) -> NDArray[np.float64]:
        """Gap in mm for an energy in eV (any shape; same shape returned).

        Raises
        ------
        ValueError
            If an energy is outside the curve: see `extended`.
        """
        return np.asarray(self._cubic(self._checked(energy)))

    def shift(self, energy: ArrayLike) -> NDArray[np.float64]:
        """Shift in mm for an energy in eV (any shape); ValueError as for `gap`."""
        return np.asarray(np.interp(self._checked(energy), self.energies, self.shifts))

    def _checked(self, energy: ArrayLike) -> NDArray[np.float64]:
        asked = np.asarray(energy, dtype=np.float64)
        outside = ~((asked >= self.low) & (asked <= self.high))
        if np.any(outside):
            raise ValueError(
                f"{self} knows {self.low:.1f} to {self.high:.1f} eV, but "
                f"{asked[outside].flat[0]:g} eV was asked: choose another energy or harmonic."
            )
        return asked

    def energy(self, gap: ArrayLike) -> NDArray[np.float64]:
        """Energy in eV of the harmonic at a gap in mm (any shape); NaN outside the curve."""
        asked = np.asarray(gap, dtype=np.float64)
        inside = (asked >= self.gaps[0]) & (asked <= self.gaps[-1])
        known = np.where(inside, asked, self.gaps[0])
        interval = np.clip(
            np.searchsorted(self.gaps, known, side="right") - 1, 0, len(self.gaps) - 2
        )
        cubic = self._cubic.c[:, interval]
        low = np.zeros_like(known)
        high = np.diff(self.energies)[interval]
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            value = ((cubic[0] * middle + cubic[1]) * middle + cubic[2]) * middle + cubic[3]
            low, high = np.where(value < known, middle, low), np.where(value < known, high, middle)
        # Rounding must not put an end beyond itself.
        found = np.minimum(self.energies[interval] + high, self.energies[interval + 1])
        return np.where(inside, found, np.nan)

    def width(self, energy: ArrayLike) -> NDArray[np.float64]:
        """Natural width in eV of the harmonic at an energy in eV: energy / (harmonic periods)."""
        return np.asarray(energy, dtype=np.float64) / (self.harmonic * self.periods)

    def calibrated(self, calibration: Calibration) -> "GapCurve":
        """Return the curve with its energies corrected."""
        return self._with(calibration.true_energy(self.energies), self.gaps, self.shifts)

    def between(self, lowest: float, highest: float) -> "GapCurve":
        """Return the part that lies between two gaps in mm, for a drive with limits.

        Raises
        ------
        ValueError
            If nothing of the curve lies between them.
        """
        low, high = max(lowest, float(self.gaps[0])), min(highest, float(self.gaps[-1]))
        if low >= high:
            raise ValueError(
                f"{self} knows gaps from {self.gaps[0]:g} to {self.gaps[-1]:g} mm, but the drive "
                f"reaches {lowest:g} to {highest:g} mm; bring a table for these gaps."
            )
        inner = (self.gaps > low) & (self.gaps < high)
        ends = self.energy(np.array([low, high]))
        energies = np.concatenate([ends[:1], self.energies[inner], ends[1:]])
        gaps = np.concatenate([[low], self.gaps[inner], [high]])
        return self._with(energies, gaps, np.interp(energies, self.energies, self.shifts))

    def extended(self, by: float) -> "GapCurve":
        """Return the curve extrapolated by so many eV at both ends, in straight lines."""
        points = []
        for ends in ((0, 1), (-1, -2)):
            end, inner = (np.array([self.energies[k], self.gaps[k]]) for k in ends)
            points.append(end + by * (end - inner) / abs(end[0] - inner[0]))
        below, above = points
        return self._with(
            np.concatenate([below[:1], self.energies, above[:1]]),
            np.concatenate([below[1:], self.gaps, above[1:]]),
            np.concatenate([self.shifts[:1], self.shifts, self.shifts[-1:]]),
        )

    def _with(
        self,
        energies: NDArray[np.float64],
        gaps: NDArray[np.float64],
        shifts: NDArray[np.float64],
    ) -> "GapCurve":
        return GapCurve(energies, gaps, shifts, self.periods, self.harmonic, self.polarisation)


@dataclass(frozen=True, eq=False)
class GapTable:
    """The gap curves of an undulator, and where they come from.

    Parameters
    ----------
    curves
        One for each harmonic and polarisation.
    provenance
        Whatever is known of their origin, as text: who, when, how.

    Raises
    ------
    ValueError
        If there is no curve, two are for the same, or the numbers of periods differ.

    Examples
    --------
    >>> from glidepath.physics import UE48
    >>> table = GapTable.from_law(UE48, range(14, 101))
    >>> round(float(table.energy(table.gap(400.0))), 6)
    400.0
    >>> table.choose(900.0)
    3
    """

    curves: Sequence[GapCurve]
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.curves or len({curve.periods for curve in self.curves}) > 1:
            raise ValueError("A gap table needs curves, all of one undulator.")
        if len(self._by_use) < len(self.curves):
            raise ValueError("A gap table can have one curve only for a harmonic and polarisation.")

    @classmethod
    def from_law(
        cls,
        law: UndulatorLaw,
        gaps: ArrayLike,
        harmonics: Sequence[int] = (1, 3, 5),
        provenance: Mapping[str, str] | None = None,
    ) -> "GapTable":
        """Compute a table from a law.

        Parameters
        ----------
        law
            The undulator.
        gaps
            Gaps in mm at which points are wanted, rising, shape (n,).
        harmonics
            Which; a helical field has none but the first on the axis.
        provenance
            Where the table comes from.
        """
        at = np.asarray(gaps, dtype=np.float64)
        polarisations = {
            HORIZONTAL: (0.0, harmonics),
            "circular": (law.circular_shift_mm, (1,)),
            "vertical": (law.period_mm / 2, harmonics),
        }
        return cls(
            [
                GapCurve(
                    law.energy(at, harmonic, shift),
                    at,
                    np.full_like(at, shift),
                    law.periods,
                    harmonic,
                    polarisation,
                )
                for polarisation, (shift, numbers) in polarisations.items()
                for harmonic in numbers
            ],
            provenance or {},
        )

    @cached_property
    def _by_use(self) -> dict[tuple[int, str], GapCurve]:
        return {(curve.harmonic, curve.polarisation): curve for curve in self.curves}

    @property
    def polarisations(self) -> tuple[str, ...]:
        """Names of the polarisations."""
        return tuple(dict.fromkeys(curve.polarisation for curve in self.curves))

    def harmonics(self, polarisation: str = HORIZONTAL) -> tuple[int, ...]:
        """Harmonics that the table knows in a polarisation, rising."""
        return tuple(sorted(n for n, name in self._by_use if name == polarisation))

    def curve(self, harmonic: int = 1, polarisation: str = HORIZONTAL) -> GapCurve:
        """Return the curve of a harmonic in a polarisation.

        Raises
        ------
        ValueError
            If there is none; the text says which there are.
        """
        if polarisation not in self.polarisations:
            raise ValueError(
                f"The gap table has no polarisation {polarisation!r}; it has "
                f"{', '.join(self.polarisations)}."
            )
        if (harmonic, polarisation) not in self._by_use:
            known = ", ".join(map(str, self.harmonics(polarisation)))
            raise ValueError(
                f"The gap table has no harmonic {harmonic} in {polarisation} polarisation; "
                f"it has {known}."
            )
        return self._by_use[harmonic, polarisation]

    def choose(
        self,
        low: float,
        high: float | None = None,
        polarisation: str = HORIZONTAL,
        preferred: Sequence[int] | None = None,
    ) -> int:
        """Return the harmonic that reaches an energy, or all from ``low`` to ``high`` (eV).

        Parameters
        ----------
        low, high
            One energy, or a range.
        polarisation
            The polarisation.
        preferred
            Harmonics in the order in which they are tried; None: the lowest one first, which is
            the brightest.

        Raises
        ------
        ValueError
            If none does; the text says which range each one has.
        """
        high = low if high is None else high
        # A name that is not there is refused by `curve`.
        tried = self.harmonics(polarisation) or (1,) if preferred is None else preferred
        curves = [self.curve(harmonic, polarisation) for harmonic in tried]
        for curve in curves:
            if curve.low <= low and high <= curve.high:
                return curve.harmonic
        asked = f"{low:g} eV" if high == low else f"{low:g} to {high:g} eV"
        ranges = ", ".join(f"{c.harmonic} ({c.low:.1f} to {c.high:.1f} eV)" for c in curves)
        raise ValueError(f"No harmonic reaches {asked} in {polarisation} polarisation: {ranges}.")

    def energy(
        self, gap: ArrayLike, harmonic: int = 1, polarisation: str = HORIZONTAL
    ) -> NDArray[np.float64]:
        """Energy in eV at a gap in mm: see `GapCurve.energy`."""
        return self.curve(harmonic, polarisation).energy(gap)

    def gap(
        self, energy: ArrayLike, harmonic: int = 1, polarisation: str = HORIZONTAL
    ) -> NDArray[np.float64]:
        """Gap in mm for an energy in eV: see `GapCurve.gap`."""
        return self.curve(harmonic, polarisation).gap(energy)
