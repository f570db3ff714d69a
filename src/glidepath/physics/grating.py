"""The plane grating: which angles select an energy, and which energy the angles select."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .constants import HC_EV_NM

__all__ = ["HC_EV_NM", "grating_angles", "grating_energy"]

_NM_PER_MM = 1e6


def grating_angles(
    energy: ArrayLike, lines_per_mm: float, cff: ArrayLike, order: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Angles of incidence and diffraction of a plane grating at fixed focus.

    Solves ``order * lines * wavelength = sin(alpha) + sin(beta)`` together with
    ``cff = cos(beta) / cos(alpha)`` (H. Petersen, Opt. Commun. 40, 402 (1982)). Both angles are
    measured from the grating's normal; ``beta`` is negative.

    Parameters
    ----------
    energy
        Photon energy in eV, any shape.
    lines_per_mm
        Line density of the grating in 1/mm.
    cff
        Fixed-focus constant, above 1 for positive orders and below 1 for negative orders.
    order
        Diffraction order.

    Returns
    -------
    alpha, beta
        Angles in radians, float64, with the broadcast shape of ``energy`` and ``cff``.

    Raises
    ------
    ValueError
        If there are no such angles.
    """
    energy = np.asarray(energy, dtype=np.float64)
    cff = np.asarray(cff, dtype=np.float64)
    if not np.all(energy > 0):
        raise ValueError(f"A photon energy must be above 0 eV, but {np.min(energy)} eV was asked.")
    if np.any(cff <= 0) or np.any(cff == 1):
        raise ValueError("cff must be above 0 and not 1, where the angles are undefined.")
    path = order * lines_per_mm * (HC_EV_NM / energy) / _NM_PER_MM
    difference = cff**2 - 1
    root = np.sign(difference) * np.hypot(cff * path, difference)
    sine_alpha = (root - path) / difference
    sine_beta = path - sine_alpha
    if np.any(np.abs(sine_alpha) > 1) or np.any(np.abs(sine_beta) > 1):
        raise ValueError(
            f"{lines_per_mm:g} lines/mm in order {order} with cff {np.max(cff):g} cannot select "
            f"{np.min(energy):g} eV; ask for a higher energy or fewer lines."
        )
    return np.arcsin(sine_alpha), np.arcsin(sine_beta)


def grating_energy(
    alpha: ArrayLike, beta: ArrayLike, lines_per_mm: float, order: int = 1
) -> NDArray[np.float64]:
    """Photon energy in eV that a grating selects at the angles ``alpha`` and ``beta`` (radians).

    Both angles are measured from the grating's normal, ``beta`` is negative; the shape of the
    result is their broadcast shape.

    Raises
    ------
    ValueError
        If the angles are those of the zero order, which selects no energy.
    """
    path = np.sin(np.asarray(alpha, dtype=np.float64)) + np.sin(np.asarray(beta, dtype=np.float64))
    wavelength = path * _NM_PER_MM / (order * lines_per_mm)
    if not np.all(wavelength > 0):
        raise ValueError(
            f"These angles select no energy in order {order}: the wavelength is not positive."
        )
    return np.asarray(HC_EV_NM / wavelength)
