"""What the axes that move along can do, and what a flight needs of them: harmonic and gap."""

from glidepath.devices.undulator import Undulator
from glidepath.physics import GapCurve
from glidepath.trajectory import Companion


def harmonic_companion(undulator: Undulator, curve: GapCurve, low: float, high: float) -> Companion:
    """Return the reach of the harmonic in use, and the energies in eV that a flight needs."""
    return Companion(
        f"{undulator.name} in harmonic {curve.harmonic}",
        "eV",
        curve.low,
        curve.high,
        advice="choose another harmonic, or start and stop inside it",
    ).needing(low, high, 0.0)


def reaches(curve: GapCurve, low: float, high: float) -> bool:
    """Return whether there is a gap for all energies of a range in eV."""
    return bool(curve.low <= low <= high <= curve.high)


__all__ = ["harmonic_companion", "reaches"]
