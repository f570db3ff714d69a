"""The undulators that a simulated beamline can have, as their tables know them and as they are."""

from dataclasses import replace
from typing import Final

from glidepath.physics import UE46, UE48, UE52, UE56, UndulatorLaw

__all__ = ["LAWS", "TRUE_UNDULATOR", "true_law"]

LAWS: Final = {"UE46": UE46, "UE48": UE48, "UE52": UE52, "UE56": UE56}
"""As their users' lookup tables know them, by name."""

_OFFSET_eV = 0.12


def true_law(name: str) -> UndulatorLaw:
    """Return an undulator as it is: its users' table does not know the offset."""
    return replace(LAWS[name], offset_eV=_OFFSET_eV)


TRUE_UNDULATOR: Final = true_law("UE48")
"""The usual undulator of the simulated beamline as it is."""
