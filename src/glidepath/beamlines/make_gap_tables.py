"""Makes the gap tables of the simulated beamline.

To make them again: ``python -m glidepath.beamlines.make_gap_tables``. At a beamline such a table is
measured. Here it is computed from the undulator's law, which the simulated undulator obeys but for
a small offset that its users have to find.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from glidepath.devices import write_gap_table
from glidepath.physics import UE46, UE48, UE52, UE56, GapTable, UndulatorLaw

__all__ = ["UNDULATORS", "gap_table_file", "make_gap_tables"]

UNDULATORS: Final[Mapping[str, UndulatorLaw]] = {
    "UE46": UE46,
    "UE48": UE48,
    "UE52": UE52,
    "UE56": UE56,
}
"""Laws of the undulators that the simulated beamline can have."""

GAPS = np.arange(14.0, 101.0)
"""Points of the tables, mm: between them the energy is right to 3 meV."""


def gap_table_file(undulator: str, folder: Path | None = None) -> Path:
    """Return the file of an undulator's gap table; without a folder, the one that is installed."""
    return (folder or Path(__file__).parent) / f"{undulator.lower()}_gap_table.csv"


def make_gap_tables(folder: Path | None = None) -> None:
    """Write the gap tables of all undulators of the simulated beamline."""
    for name, law in UNDULATORS.items():
        provenance = {
            "undulator": name,
            "who": "glidepath.beamlines.make_gap_tables",
            "when": "2026-01-01",
            "how": f"computed from glidepath.physics.{name}, with a field ratio of "
            f"{law.field_ratio:g}; to make it again: python -m glidepath.beamlines.make_gap_tables",
        }
        write_gap_table(
            gap_table_file(name, folder), GapTable.from_law(law, GAPS, provenance=provenance)
        )


if __name__ == "__main__":
    make_gap_tables()
