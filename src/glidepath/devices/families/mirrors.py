"""Mirrors: the first one with five axes, and those on hexapods (``hz-b/bessyii_devices``)."""

from collections.abc import Mapping

from ophyd_async.core import StandardReadable

from glidepath.devices.generic import Pose, StatusAxis
from glidepath.devices.positioning import together

__all__ = ["HexapodMirror", "MirrorM1"]

TRANSLATIONS, ROTATIONS = ("Tx", "Ty"), ("Rx", "Ry", "Rz")


class MirrorM1(StandardReadable):
    """The first mirror: translations Tx, Ty in mm and rotations Rx, Ry, Rz in mrad.

    Parameters
    ----------
    prefix
        Prefix of the process variables, for example ``"U17_M1:"``.
    name
        Name of the device.
    pvs
        PV names that differ from the defaults, in which ``{axis}`` stands for the axis:
        ``setpoint`` (``"{}{axis}Abs"``), ``readback`` (``"{}rd{axis}"``), ``status``
        (``"{}ExecSens"``: 0 when the mirror stands; one for all axes), ``stop``.
    tolerance
        Largest distance of an axis from its target at the end of a move.

    Attributes
    ----------
    tx, ty, rx, ry, rz
        Movable axes (`StatusAxis`).
    """

    def __init__(
        self,
        prefix: str,
        name: str = "",
        *,
        pvs: Mapping[str, str] | None = None,
        tolerance: float = 0.01,
    ) -> None:
        defaults = {"setpoint": "{}{axis}Abs", "readback": "{}rd{axis}", "status": "{}ExecSens"}
        templates = {**defaults, **(pvs or {})}

        def axis(which: str) -> StatusAxis:
            names = {key: name.replace("{axis}", which) for key, name in templates.items()}
            unit = "mm" if which in TRANSLATIONS else "mrad"
            return StatusAxis(prefix, pvs=names, unit=unit, tolerance=tolerance)

        with self.add_children_as_readables():
            self.tx, self.ty, self.rx, self.ry, self.rz = map(axis, TRANSLATIONS + ROTATIONS)
        super().__init__(name)

    async def stop(self, success: bool = False) -> None:
        """Stop all axes."""
        axes = (self.tx, self.ty, self.rx, self.ry, self.rz)
        await together(*(axis.stop(success=success) for axis in axes))


class HexapodMirror(Pose):
    """A mirror on a hexapod (``HEX1OS12L:`` and its brothers); see `Pose`."""
