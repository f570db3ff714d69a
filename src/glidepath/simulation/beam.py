"""The light on the detectors, computed from where everything truly is at every instant."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from glidepath.physics import UndulatorLaw, absorption

from .laws import TRUE_UNDULATOR
from .link import LinkReader
from .ring import FULL_CURRENT

__all__ = ["Beam", "Photocurrent", "mesh_current", "sample_current"]

BEAM_WIDTH = 0.2
"""Width of the beam at valves and shutters, as a share of their opening."""

_HARMONICS = (1, 3, 5)
_MESH_CURRENT = 2e-9
_MESH_DARK = 2e-12
_SAMPLE_YIELD = 0.8
_SAMPLE_DARK = 1.2e-11
_TABLE_FIRST, _TABLE_LAST, _TABLE_STEP = 380.0, 470.0, 0.002


class Beam:
    """Energy, gap and intensity of the light as functions of true time.

    Parameters
    ----------
    link
        Where the axes come from.
    law
        The undulator as it is.
    barriers
        Where the positions of valves and shutters come from, from 0 (closed) to 1 (open); it may
        have none.

    Attributes
    ----------
    drift
        How far in eV the light is above the energy that the monochromator shows.
    """

    def __init__(
        self,
        link: LinkReader,
        law: UndulatorLaw = TRUE_UNDULATOR,
        barriers: LinkReader | None = None,
    ) -> None:
        self._link = link
        self._law = law
        self._barriers = LinkReader() if barriers is None else barriers
        self.drift = 0.0

    def energy(self, time: NDArray[np.float64]) -> NDArray[np.float64]:
        """Photon energy in eV at every instant of ``time`` (POSIX s)."""
        return self._link.axes[self._link.state["energy_axis"]].positions(time) + self.drift

    def gap(self, time: NDArray[np.float64]) -> NDArray[np.float64]:
        """Undulator gap in mm."""
        return self._link.axes["gap"].positions(time)

    def shift(self, time: NDArray[np.float64]) -> NDArray[np.float64]:
        """Undulator shift in mm."""
        return self._link.axes["shift"].positions(time)

    def undulator_energy(self, time: NDArray[np.float64]) -> NDArray[np.float64]:
        """True energy in eV of the harmonic that the monochromator is set to use."""
        harmonic = self._link.state["harmonic"]
        return self._law.energy(self.gap(time), harmonic, self.shift(time))

    def intensity(
        self, time: NDArray[np.float64], energy: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Intensity relative to a tuned first harmonic at 400 eV, full current and no barrier."""
        gap, shift = self.gap(time), self.shift(time)
        harmonics = sum(
            self._law.spectrum(energy, gap, harmonic, shift) / np.sqrt(harmonic)
            for harmonic in _HARMONICS
        )
        ring = self._link.axes["ring"].positions(time) / FULL_CURRENT
        return np.asarray(harmonics * ring * np.sqrt(400.0 / energy) * self.transmission(time))

    def transmission(self, time: NDArray[np.float64]) -> NDArray[np.float64]:
        """Share of the light that gets through all valves and shutters."""
        share = np.ones(np.shape(time))
        for barrier in self._barriers.axes.values():
            # The beam is in the middle of each and narrow: an edge that moves in cuts it there.
            free = (barrier.positions(time) - 0.5) / BEAM_WIDTH + 0.5
            share = share * np.clip(free, 0.0, 1.0)
        return share

    def resolution(self, time: float) -> float:
        """Width (full, at half maximum) of the monochromator's Gaussian, eV, in whole meV."""
        slit = self._link.axes["slit"].position(time)
        return round(float(np.hypot(0.02, 0.0018 * slit)), 3)


def mesh_current(
    beam: Beam, time: NDArray[np.float64], energy: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Photocurrent of the mesh in A: what the beamline delivers."""
    return np.asarray(_MESH_DARK + _MESH_CURRENT * beam.intensity(time, energy))


def sample_current(
    beam: Beam, time: NDArray[np.float64], energy: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Ion current of the nitrogen gas cell in A: intensity times absorption."""
    grid, table = _absorption_table(beam.resolution(float(time[len(time) // 2])))
    absorbed = np.interp(energy, grid, table)
    current = _MESH_CURRENT * _SAMPLE_YIELD * beam.intensity(time, energy) * absorbed
    return np.asarray(_SAMPLE_DARK + current)


Photocurrent = Callable[[Beam, NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]
"""Current in A from the beam, at instants (POSIX s) at which it has given energies (eV)."""


@lru_cache(maxsize=8)
def _absorption_table(resolution: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    grid = np.arange(_TABLE_FIRST, _TABLE_LAST, _TABLE_STEP)
    return grid, absorption(grid, resolution)
