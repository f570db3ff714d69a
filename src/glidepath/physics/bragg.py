"""The crystal: which Bragg angle selects an energy, and which energy the angle selects."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .constants import HC_EV_NM

__all__ = ["bragg_angle", "bragg_energy"]


def bragg_angle(energy: ArrayLike, d_spacing_nm: float, order: int = 1) -> NDArray[np.float64]:
    """Glancing angle in radians at which a crystal reflects ``energy`` (eV, any shape).

    Bragg's law, ``order * wavelength = 2 d sin(theta)``, without refraction.

    Raises
    ------
    ValueError
        If the energy is too low for the crystal.
    """
    energy = np.asarray(energy, dtype=np.float64)
    lowest = order * HC_EV_NM / (2 * d_spacing_nm)
    if not np.all(energy >= lowest):
        raise ValueError(
            f"A crystal with d = {d_spacing_nm:g} nm reflects energies above {lowest:g} eV in "
            f"order {order}, but {np.min(energy):g} eV was asked."
        )
    return np.asarray(np.arcsin(lowest / energy))


def bragg_energy(angle: ArrayLike, d_spacing_nm: float, order: int = 1) -> NDArray[np.float64]:
    """Photon energy in eV that a crystal reflects at a glancing ``angle`` (radians, any shape).

    Raises
    ------
    ValueError
        If an angle is outside 0 (excluded) to pi/2.
    """
    angle = np.asarray(angle, dtype=np.float64)
    if not np.all((angle > 0) & (angle <= np.pi / 2)):
        raise ValueError(
            "A Bragg angle must be above 0 and at most pi/2 radians "
            f"({np.min(angle):g} to {np.max(angle):g} was asked)."
        )
    return np.asarray(order * HC_EV_NM / (2 * d_spacing_nm * np.sin(angle)))
