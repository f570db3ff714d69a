"""The undulator: the energy of a harmonic as a function of the gap, and back."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["UE48", "UndulatorLaw"]

_ENERGY_CONSTANT: Final = 9496.341387
"""2 hc gamma^2 of a 1 GeV electron, in eV mm / GeV^2."""
_DEFLECTION_PER_T_MM: Final = 0.0933729
"""e / (2 pi m c), in 1/(T mm)."""


@dataclass(frozen=True)
class UndulatorLaw:
    """A planar undulator whose peak field falls exponentially with the gap.

    The energy of harmonic n on the axis is ``n * 2 hc gamma^2 / (period (1 + K^2/2))`` with
    ``K = 0.0934 B[T] period[mm]`` and ``B = field exp(-decay gap/period)``
    (X-ray Data Booklet, section 2.1).

    Parameters
    ----------
    period_mm
        Magnetic period in mm.
    periods
        Number of periods.
    ring_energy_GeV
        Electron energy in GeV.
    field_T
        Peak field, extrapolated to gap 0, in T.
    decay
        Decay constant of the field, in units of 1/period.
    offset_eV
        Added to the energy of every harmonic, eV: what a table knows better than the law.

    Examples
    --------
    >>> gap = UE48.gap(400.0)
    >>> round(float(UE48.energy(gap)), 6)
    400.0
    """

    period_mm: float
    periods: int
    ring_energy_GeV: float  # noqa: N815 (the unit's own spelling)
    field_T: float = 2.07  # noqa: N815
    decay: float = 3.24
    offset_eV: float = 0.0  # noqa: N815

    @property
    def energy_limit(self) -> float:
        """Energy of the first harmonic at infinite gap, eV: every energy is below it."""
        return _ENERGY_CONSTANT * self.ring_energy_GeV**2 / self.period_mm + self.offset_eV

    def energy(self, gap_mm: ArrayLike, harmonic: int = 1) -> NDArray[np.float64]:
        """Energy in eV of ``harmonic`` at ``gap_mm`` (mm, any shape; same shape returned)."""
        gap = np.asarray(gap_mm, dtype=np.float64)
        field = self.field_T * np.exp(-self.decay * gap / self.period_mm)
        deflection = _DEFLECTION_PER_T_MM * field * self.period_mm
        fundamental = (self.energy_limit - self.offset_eV) / (1 + deflection**2 / 2)
        return np.asarray(harmonic * fundamental + self.offset_eV)

    def gap(self, energy_eV: ArrayLike, harmonic: int = 1) -> NDArray[np.float64]:
        """Gap in mm at which ``harmonic`` has ``energy_eV`` (any shape; same shape returned).

        Raises
        ------
        ValueError
            If no gap above 0 mm gives that energy.
        """
        energy = np.asarray(energy_eV, dtype=np.float64)
        limit = harmonic * (self.energy_limit - self.offset_eV)
        lowest, highest = float(self.energy(0.0, harmonic)), limit + self.offset_eV
        if not np.all((energy >= lowest) & (energy < highest)):
            worst = energy[(energy < lowest) | (energy >= highest) | np.isnan(energy)].flat[0]
            raise ValueError(
                f"Harmonic {harmonic} reaches {lowest:.1f} to {highest:.1f} eV, but {worst:g} eV "
                "was asked: choose another harmonic or another energy."
            )
        deflection = np.sqrt(2 * (limit / (energy - self.offset_eV) - 1))
        strongest = _DEFLECTION_PER_T_MM * self.field_T * self.period_mm
        # At the lowest energy itself, rounding could put the gap a few 1e-17 mm below 0.
        return np.maximum(np.log(strongest / deflection) * self.period_mm / self.decay, 0.0)

    def relative_width(self, harmonic: int = 1) -> float:
        """Natural width of ``harmonic``, relative to its energy: 1 / (harmonic * periods)."""
        return 1 / (harmonic * self.periods)

    def spectrum(
        self, photon_energy: ArrayLike, gap_mm: ArrayLike, harmonic: int = 1
    ) -> NDArray[np.float64]:
        """Relative intensity (0 to 1) of ``harmonic`` at a photon energy, for a gap.

        The line of a filament beam on the axis: a sinc-squared function of the detuning, with its
        first zeros at plus and minus the natural width.

        Parameters
        ----------
        photon_energy
            Photon energy in eV, any shape.
        gap_mm
            Gap in mm, a shape that broadcasts with ``photon_energy``.
        harmonic
            Number of the harmonic.
        """
        centre = self.energy(gap_mm, harmonic)
        detuning = (np.asarray(photon_energy, dtype=np.float64) - centre) / centre
        return np.asarray(np.sinc(detuning / self.relative_width(harmonic)) ** 2)


UE48: Final = UndulatorLaw(48, 62, 1.7)
"""The undulator of the simulated beamline, as its users' lookup table knows it."""
