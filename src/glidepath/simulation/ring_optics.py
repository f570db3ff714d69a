"""A small linear model of a storage ring: closed orbit and tunes from quadrupoles and steerers.

Sixteen cells of a focusing and a defocusing thin quadrupole, 240 m round; horizontal and vertical
motion are not coupled. Each quadrupole sits a little off the axis of its beam position monitor,
which is what beam-based alignment finds. Matrices as in any textbook on accelerator optics (for
example H. Wiedemann, Particle Accelerator Physics).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["QUADRUPOLES", "REVOLUTION_KHZ", "STEERERS", "RingOptics"]

CELLS: Final = 16
CELL_LENGTH: Final = 15.0
REVOLUTION_KHZ: Final = 299_792.458 / (CELLS * CELL_LENGTH)
"""Turns per millisecond."""

FOCUSING, DEFOCUSING = 0.2, -0.196
"""Integrated strengths, 1/m: about 0.27 of an oscillation in a cell."""

SECTIONS: Final = tuple(f"{kind}{number}" for number in range(1, 9) for kind in ("D", "T"))
QUADRUPOLES: Final = tuple(
    f"{family}M1{section}R" for section in SECTIONS for family in ("Q4", "Q3")
)
"""Names around the ring, with a beam position monitor at each."""

STEERERS: Final = {
    "x": tuple(f"HS4P1{s}R" for s in SECTIONS),
    "y": tuple(f"VS3P1{s}R" for s in SECTIONS),
}
"""Names of the steerers of each plane, one in each cell."""

Matrix = NDArray[np.float64]


def drift(length: float) -> Matrix:
    """Return the matrix of (position, angle, 1) through a field-free length (m)."""
    return np.array([[1.0, length, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


def quadrupole(strength: float, centre: float) -> Matrix:
    """Return that of a thin quadrupole (1/m) whose axis is at ``centre`` (m)."""
    return np.array([[1.0, 0.0, 0.0], [-strength, 1.0, strength * centre], [0.0, 0.0, 1.0]])


def steerer(kick: float) -> Matrix:
    """Return that of a thin dipole that kicks by an angle (rad)."""
    return np.array([[1.0, 0.0, 0.0], [0.0, 1.0, kick], [0.0, 0.0, 1.0]])


class RingOptics:
    """The ring with its settings.

    Parameters
    ----------
    seed
        Seed of the offsets of the quadrupoles, which have a standard deviation of 0.1 mm.

    Attributes
    ----------
    trims
        Quadrupole -> what is added to its strength, 1/m.
    kicks
        Steerer -> its kick, rad.
    centres
        Plane -> quadrupole -> offset of its axis from the monitor's zero, m.
    """

    def __init__(self, seed: int = 1) -> None:
        generator = np.random.default_rng(seed)
        self.trims = dict.fromkeys(QUADRUPOLES, 0.0)
        self.kicks = dict.fromkeys((*STEERERS["x"], *STEERERS["y"]), 0.0)
        self.centres = {
            plane: dict(
                zip(QUADRUPOLES, generator.normal(0.0, 1e-4, len(QUADRUPOLES)), strict=True)
            )
            for plane in ("x", "y")
        }

    def _elements(self, plane: str) -> list[tuple[Matrix, Matrix]]:
        """Return, monitor by monitor, its quadrupole and what follows until the next monitor."""
        sign = 1.0 if plane == "x" else -1.0
        found = []
        for number, name in enumerate(QUADRUPOLES):
            design = DEFOCUSING if number % 2 else FOCUSING
            strength = sign * (design + self.trims[name])
            lens = quadrupole(strength, self.centres[plane][name])
            way = drift(CELL_LENGTH / 2)
            # The horizontal steerer is behind the focusing lens, the vertical behind the other.
            if number % 2 == (plane == "y"):
                kick = self.kicks[STEERERS[plane][number // 2]]
                way = drift(CELL_LENGTH / 4) @ steerer(kick) @ drift(CELL_LENGTH / 4)
            found.append((lens, way))
        return found

    def turn(self, plane: str) -> Matrix:
        """Return the matrix of one turn, from the first monitor on."""
        total = np.eye(3)
        for lens, way in self._elements(plane):
            total = way @ lens @ total
        return total

    def tune(self, plane: str) -> float:
        """Return the fractional part of the number of oscillations in a turn.

        Raises
        ------
        ValueError
            If no beam is stable with these settings.
        """
        once = self.turn(plane)
        cosine = (once[0, 0] + once[1, 1]) / 2
        if abs(cosine) >= 1:
            raise ValueError(f"No beam is stable in {plane}: half the trace is {cosine:g}.")
        fraction = float(np.arccos(cosine) / (2 * np.pi))
        return fraction if once[0, 1] > 0 else 1 - fraction

    def orbit(self, plane: str) -> NDArray[np.float64]:
        """Return the closed orbit at the monitors in mm, shape (number of quadrupoles,)."""
        once = self.turn(plane)
        at = np.append(np.linalg.solve(np.eye(2) - once[:2, :2], once[:2, 2]), 1.0)
        found = []
        for lens, way in self._elements(plane):
            found.append(at[0])
            at = way @ lens @ at
        return 1e3 * np.array(found)
