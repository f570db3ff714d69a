"""Where the axis of a quadrupole is, from how the orbit answers when its strength is changed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["AlignmentError", "CentreFit", "fit_quadrupole_centre"]

FEWEST = 3
"""Positions that a straight line and its error need."""


class AlignmentError(ValueError):
    """The orbits do not tell where the centre is; the text says why in one sentence."""


@dataclass(frozen=True)
class CentreFit:
    """The axis of a quadrupole.

    Attributes
    ----------
    centre
        Position at which the strength has no effect on the orbit, in the unit of the positions.
    error
        Its standard deviation.
    """

    centre: float
    error: float


def fit_quadrupole_centre(position: ArrayLike, change: ArrayLike) -> CentreFit:
    """Return where the orbit stays when the quadrupole is changed.

    A quadrupole that the beam passes off its axis kicks it in proportion to the distance; the
    change of the orbit has the same shape around the ring for every distance, and its amplitude
    is a straight line that is zero at the centre (G. Portmann et al., PAC 1995).

    Parameters
    ----------
    position
        Positions of the beam in the quadrupole, shape (n,).
    change
        Difference of the orbits at the two strengths at each monitor, shape (n, monitors).

    Raises
    ------
    AlignmentError
        If there are too few positions, or the orbit does not answer.
    """
    at, orbits = np.asarray(position, float), np.asarray(change, float)
    if at.size < FEWEST or np.ptp(at) == 0:
        raise AlignmentError(f"{FEWEST} different positions are needed, but {at.size} were given.")
    # The shape is the strongest common pattern; its sign cancels in the zero of the line.
    shape = np.linalg.svd(orbits, full_matrices=False)[2][0]
    amplitude = orbits @ shape
    design = np.column_stack([at - at.mean(), np.ones_like(at)])
    (slope, level), *_ = np.linalg.lstsq(design, amplitude, rcond=None)
    noise = amplitude - design @ (slope, level)
    scatter = np.sqrt(noise @ noise / (at.size - 2))
    slope_error = scatter / np.sqrt(((at - at.mean()) ** 2).sum())
    if abs(slope) <= 3 * slope_error:
        raise AlignmentError(
            "The orbit does not answer to the quadrupole: use a larger step of its converter, or "
            "a wider range of the steerer."
        )
    away = level / slope
    error = np.hypot(scatter / np.sqrt(at.size), away * slope_error) / abs(slope)
    return CentreFit(float(at.mean() - away), float(error))
