"""Encoders: which counts belong to a position of an axis, and which position to the counts.

A trigger box sees counts only. A count stands for its middle: the counter changes half-way
between two of them, at ``count - 1/2`` upwards and at ``count + 1/2`` downwards. A trigger made by
comparing a count is therefore made half a count before its middle, whichever way the axis goes.

The plane-grating monochromator is the one whose exit beam does not move: the grating's angle is
then the angle of diffraction ``beta``, and the mirror's, ``theta``, is half of the angle between
the beams at the grating, ``(alpha - beta) / 2`` (H. Petersen, Opt. Commun. 40, 402 (1982)).
"""

from dataclasses import dataclass
from math import isfinite
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .bragg import bragg_angle, bragg_energy
from .grating import grating_angles, grating_energy

__all__ = [
    "BraggGeometry",
    "Encoder",
    "EncoderGeometry",
    "GratingGeometry",
    "LinearGeometry",
    "counted",
]

Floats = NDArray[np.float64]


def counted(reading: ArrayLike) -> NDArray[np.int64]:
    """Return the counts (int64, same shape) that a counter shows at a reading in counts."""
    return np.floor(np.asarray(reading, dtype=np.float64) + 0.5).astype(np.int64)


@dataclass(frozen=True)
class Encoder:
    """A scale that counts evenly.

    Parameters
    ----------
    counts_per_unit
        Counts for one unit of what it measures (a degree, an eV, a mm); negative if it counts
        the other way.
    offset
        Counts where the measured quantity is zero.

    Raises
    ------
    ValueError
        If the scale is zero or not finite.

    Examples
    --------
    >>> float(Encoder(1000.0, offset=5.0).reading(2.0))
    2005.0
    """

    counts_per_unit: float
    offset: float = 0.0

    def __post_init__(self) -> None:
        if not isfinite(self.counts_per_unit) or self.counts_per_unit == 0:
            raise ValueError(
                f"An encoder cannot have {self.counts_per_unit:g} counts per unit; give the "
                "number that one unit of its axis makes, negative if it counts downwards."
            )

    def reading(self, value: ArrayLike) -> Floats:
        """Return what it reads, in counts and their parts, at a value of any shape."""
        return np.asarray(value, dtype=np.float64) * self.counts_per_unit + self.offset

    def value(self, reading: ArrayLike) -> Floats:
        """Return the value that belongs to a reading in counts, any shape."""
        return (np.asarray(reading, dtype=np.float64) - self.offset) / self.counts_per_unit


class EncoderGeometry(Protocol):
    """How the encoders of one axis, the one that is compared first, go with its position."""

    def readings(self, position: ArrayLike) -> Floats:
        """Return the readings in counts, shape (k, n), at positions of shape (n,) or ()."""
        ...

    def position(self, readings: ArrayLike) -> Floats:
        """Return the positions, shape (n,), that belong to readings of shape (k, n).

        With readings of the first encoder only, shape (1, n), the others are taken to be where
        they should.
        """
        ...


@dataclass(frozen=True)
class LinearGeometry:
    """An axis with a scale of its own, as that of a motor record.

    Parameters
    ----------
    encoder
        Counts per unit of the axis.
    """

    encoder: Encoder

    def readings(self, position: ArrayLike) -> Floats:
        """Return the reading in counts, shape (1, n); see `EncoderGeometry`."""
        return self.encoder.reading(np.atleast_1d(np.asarray(position, np.float64)))[np.newaxis]

    def position(self, readings: ArrayLike) -> Floats:
        """Return the positions in units of the axis, shape (n,); see `EncoderGeometry`."""
        return self.encoder.value(np.asarray(readings, dtype=np.float64)[0])


@dataclass(frozen=True)
class BraggGeometry:
    """The photon energy in eV of a crystal whose Bragg angle has an encoder.

    Parameters
    ----------
    encoder
        Counts per degree of the glancing angle.
    d_spacing_nm
        Distance of the lattice planes, nm.
    order
        Order of the reflection.
    """

    encoder: Encoder
    d_spacing_nm: float
    order: int = 1

    def readings(self, position: ArrayLike) -> Floats:
        """Return the reading in counts, shape (1, n), at energies in eV.

        Raises
        ------
        ValueError
            If the crystal reflects no such energy.
        """
        energy = np.atleast_1d(np.asarray(position, np.float64))
        angle = bragg_angle(energy, self.d_spacing_nm, self.order)
        return self.encoder.reading(np.degrees(angle))[np.newaxis]

    def position(self, readings: ArrayLike) -> Floats:
        """Return the energies in eV, shape (n,); ValueError for an impossible angle."""
        angle = self.encoder.value(np.asarray(readings, dtype=np.float64)[0])
        return bragg_energy(np.radians(angle), self.d_spacing_nm, self.order)


@dataclass(frozen=True)
class GratingGeometry:
    """The photon energy in eV of a plane-grating monochromator.

    With the encoders of grating and mirror the energy follows from the two angles, whatever cff
    is; with that of the grating alone, from its angle and cff.

    Parameters
    ----------
    grating
        Counts per degree of ``beta``, which is negative.
    mirror
        Counts per degree of ``theta = (alpha - beta) / 2``; None without such an encoder.
    lines_per_mm, cff, order
        As for :func:`~glidepath.physics.grating_angles`.
    """

    grating: Encoder
    mirror: Encoder | None
    lines_per_mm: float
    cff: float
    order: int = 1

    def readings(self, position: ArrayLike) -> Floats:
        """Return the readings in counts, grating then mirror, at energies in eV.

        Raises
        ------
        ValueError
            If the grating selects no such energy.
        """
        energy = np.atleast_1d(np.asarray(position, np.float64))
        alpha, beta = np.degrees(grating_angles(energy, self.lines_per_mm, self.cff, self.order))
        readings = [self.grating.reading(beta)]
        if self.mirror is not None:
            readings.append(self.mirror.reading((alpha - beta) / 2))
        return np.stack(readings)

    def position(self, readings: ArrayLike) -> Floats:
        """Return the energies in eV, shape (n,).

        Raises
        ------
        ValueError
            If the angles select no energy.
        """
        readings = np.asarray(readings, dtype=np.float64)
        beta = np.radians(self.grating.value(readings[0]))
        if self.mirror is not None and len(readings) > 1:
            alpha = 2 * np.radians(self.mirror.value(readings[1])) + beta
        else:
            alpha = np.arccos(np.clip(np.cos(beta) / self.cff, -1.0, 1.0))
        return grating_energy(alpha, beta, self.lines_per_mm, self.order)
