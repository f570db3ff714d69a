"""Valves, photon shutters and beam shutters (``hz-b/bessyii_devices``: valve, photon_shutter)."""

from collections.abc import Mapping, Sequence

from glidepath.devices.generic import CommandDevice, Permit, ToggleDevice

__all__ = ["BeamShutter", "PhotonShutter", "Valve"]

PERMITS = (
    Permit("{}permit1", 1, "the hutch is not searched"),
    Permit("{}permit2", 1, "the vacuum behind it is not good"),
)
"""What the beam shutter of the simulation needs; a site names its own."""


class Valve(ToggleDevice):
    """A vacuum valve: ``SetTa`` toggles it, ``State1`` says where it is; see `ToggleDevice`."""


class PhotonShutter(ToggleDevice):
    """A photon shutter, driven as a valve is; see `ToggleDevice`."""


class BeamShutter(CommandDevice):
    """A beam shutter of the personnel safety system: commands, permits, a fault that is reset.

    Parameters
    ----------
    prefix, name, pvs, travel
        See `CommandDevice`.
    permits
        What must be so before it may be opened.
    """

    def __init__(
        self,
        prefix: str,
        name: str = "",
        *,
        pvs: Mapping[str, str] | None = None,
        permits: Sequence[Permit] = PERMITS,
        travel: float = 10.0,
    ) -> None:
        super().__init__(prefix, name, pvs=pvs, permits=permits, resettable=True, travel=travel)
