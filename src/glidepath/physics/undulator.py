"""The undulator: the energy of a harmonic as a function of the gap, and back."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["UE46", "UE48", "UE52", "UE56", "UndulatorLaw"]

_ENERGY_CONSTANT: Final = 9496.341387
"""2 hc gamma^2 of a 1 GeV electron, in eV mm / GeV^2."""
_DEFLECTION_PER_T_MM: Final = 0.0933729
"""e / (2 pi m c), in 1/(T mm)."""


@dataclass(frozen=True)
class UndulatorLaw:
    """An undulator of the APPLE II kind, whose peak field falls exponentially with the gap.

    The energy of harmonic n on the axis is ``n * 2 hc gamma^2 / (period (1 + K^2/2))`` with
    ``K = 0.0934 B[T] period[mm]`` and ``B = field exp(-decay gap/period)``
    (X-ray Data Booklet, section 2.1). Magnet rows that are shifted against each other turn the
    vertical field, which falls as ``cos(pi shift/period)``, into a horizontal one, which rises as
    ``ratio sin(pi shift/period)``; K is the root of the sum of both squares (S. Sasaki, Nucl.
    Instrum. Methods A 347, 83 (1994)).

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
    field_ratio
        Peak horizontal field at a shift of half a period, in units of the peak vertical field
        at shift 0.
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
    field_ratio: float = 0.8
    offset_eV: float = 0.0  # noqa: N815

    @property
    def energy_limit(self) -> float:
        """Energy of the first harmonic at infinite gap, eV: every energy is below it."""
        return _ENERGY_CONSTANT * self.ring_energy_GeV**2 / self.period_mm + self.offset_eV

    @property
    def circular_shift_mm(self) -> float:
        """Shift in mm at which both fields are equal: circular polarisation."""
        return self.period_mm / np.pi * float(np.arctan(1 / self.field_ratio))

    def _strongest(self, shift_mm: ArrayLike) -> NDArray[np.float64]:
        """K at gap 0."""
        phase = np.pi * np.asarray(shift_mm, dtype=np.float64) / self.period_mm
        share = np.hypot(np.cos(phase), self.field_ratio * np.sin(phase))
        return np.asarray(_DEFLECTION_PER_T_MM * self.field_T * self.period_mm * share)

    def energy(
        self, gap_mm: ArrayLike, harmonic: int = 1, shift_mm: ArrayLike = 0.0
    ) -> NDArray[np.float64]:
        """Energy in eV of ``harmonic`` at gap and shift (mm, any shapes that broadcast)."""
        gap = np.asarray(gap_mm, dtype=np.float64)
        deflection = self._strongest(shift_mm) * np.exp(-self.decay * gap / self.period_mm)
        fundamental = (self.energy_limit - self.offset_eV) / (1 + deflection**2 / 2)
        return np.asarray(harmonic * fundamental + self.offset_eV)

    def gap(
        self, energy_eV: ArrayLike, harmonic: int = 1, shift_mm: float = 0.0
    ) -> NDArray[np.float64]:
        """Gap in mm at which ``harmonic`` has ``energy_eV`` (any shape; same shape returned).

        Raises
        ------
        ValueError
            If no gap above 0 mm gives that energy.
        """
        energy = np.asarray(energy_eV, dtype=np.float64)
        limit = harmonic * (self.energy_limit - self.offset_eV)
        lowest, highest = float(self.energy(0.0, harmonic, shift_mm)), limit + self.offset_eV
        if not np.all((energy >= lowest) & (energy < highest)):
            worst = energy[(energy < lowest) | (energy >= highest) | np.isnan(energy)].flat[0]
            raise ValueError(
                f"Harmonic {harmonic} reaches {lowest:.1f} to {highest:.1f} eV, but {worst:g} eV "
                "was asked: choose another harmonic or another energy."
            )
        deflection = np.sqrt(2 * (limit / (energy - self.offset_eV) - 1))
        # At the lowest energy itself, rounding could put the gap a few 1e-17 mm below 0.
        decays = np.log(self._strongest(shift_mm) / deflection)
        return np.maximum(decays * self.period_mm / self.decay, 0.0)

    def relative_width(self, harmonic: int = 1) -> float:
        """Natural width of ``harmonic``, relative to its energy: 1 / (harmonic * periods)."""
        return 1 / (harmonic * self.periods)

    def spectrum(
        self,
        photon_energy: ArrayLike,
        gap_mm: ArrayLike,
        harmonic: int = 1,
        shift_mm: ArrayLike = 0.0,
    ) -> NDArray[np.float64]:
        """Relative intensity (0 to 1) of ``harmonic`` at a photon energy, for gap and shift.

        The line of a filament beam on the axis: a sinc-squared function of the detuning, with its
        first zeros at plus and minus the natural width.

        Parameters
        ----------
        photon_energy
            Photon energy in eV, any shape.
        gap_mm, shift_mm
            Gap and shift in mm, shapes that broadcast with ``photon_energy``.
        harmonic
            Number of the harmonic.
        """
        centre = self.energy(gap_mm, harmonic, shift_mm)
        detuning = (np.asarray(photon_energy, dtype=np.float64) - centre) / centre
        return np.asarray(np.sinc(detuning / self.relative_width(harmonic)) ** 2)


UE46: Final = UndulatorLaw(46, 65, 1.7)
UE48: Final = UndulatorLaw(48, 62, 1.7)
"""The undulator of the simulated beamline, as its users' lookup table knows it."""
UE52: Final = UndulatorLaw(52, 57, 1.7)
UE56: Final = UndulatorLaw(56, 53, 1.7)
