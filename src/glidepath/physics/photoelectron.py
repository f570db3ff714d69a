"""The photoelectron behind an absorption edge: its wave number and its energy."""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["K_SQUARED_PER_eV", "photoelectron_energy", "wave_number"]

K_SQUARED_PER_eV: Final = 0.262468424
"""2 m_e / hbar^2 in 1/(Angstrom^2 eV), CODATA 2022: k = sqrt(this * (E - edge))."""


def wave_number(energy: ArrayLike, edge: float) -> NDArray[np.float64]:
    """Wave number in 1/Angstrom of the electron that ``energy`` (eV, any shape) sets free.

    Raises
    ------
    ValueError
        If an energy is below the ``edge`` (eV).

    Examples
    --------
    >>> round(float(wave_number(7212.0, edge=7112.0)), 4)
    5.1232
    """
    above = np.asarray(energy, dtype=np.float64) - edge
    if not np.all(above >= 0):
        raise ValueError(
            f"Below the edge at {edge:g} eV no photoelectron is set free, but "
            f"{edge + float(np.min(above)):g} eV was asked; choose energies above the edge."
        )
    return np.asarray(np.sqrt(K_SQUARED_PER_eV * above))


def photoelectron_energy(k: ArrayLike, edge: float) -> NDArray[np.float64]:
    """Photon energy in eV that sets an electron of wave number ``k`` (1/Angstrom) free.

    Examples
    --------
    >>> round(float(photoelectron_energy(12.0, edge=7112.0)), 2)
    7660.64
    """
    k = np.asarray(k, dtype=np.float64)
    return np.asarray(edge + k * k / K_SQUARED_PER_eV)
