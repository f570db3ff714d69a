"""Slits, pinholes, aperture units, filters, exit slits (``hz-b/bessyii_devices``)."""

from collections.abc import Mapping

from ophyd_async.core import DeviceVector, StandardReadable
from ophyd_async.core import StandardReadableFormat as Format

from glidepath.devices.generic import BladeSlits, ComparedAxis, StatusAxis, Tolerance, pv_names
from glidepath.devices.signals import signal_r

__all__ = ["ApertureUnit", "ExitSlit", "Filters", "Pinholes", "Slits"]

BLADES = {"top": "1", "bottom": "2", "left": "3", "right": "4"}
"""Blade of an aperture unit -> number of its axis (AU13; left is at the wall)."""

BLADE = Tolerance(0.005, settle=0.1, timeout=60.0)
"""When a blade without a status has arrived, in mm and s."""


class ApertureUnit(BladeSlits):
    """An aperture unit with a drive for each blade, whose controller says when it stands.

    Parameters
    ----------
    prefix
        Prefix of the process variables, for example ``"WAUY02U012L:"``.
    name
        Name of the device.
    pvs
        PV names that differ from the defaults, in which ``{blade}`` stands for the number of the
        axis: ``setpoint`` (``"{}AbsM{blade}"``), ``readback`` (``"{}rdPosM{blade}"``), ``status``
        (``"{}RunM{blade}"``), ``stop``.
    signs
        Blade -> -1 where its axis counts the other way.
    """

    def __init__(
        self,
        prefix: str,
        name: str = "",
        *,
        pvs: Mapping[str, str] | None = None,
        signs: Mapping[str, int] | None = None,
    ) -> None:
        defaults = {
            "setpoint": "{}AbsM{blade}",
            "readback": "{}rdPosM{blade}",
            "status": "{}RunM{blade}",
        }
        templates = {**defaults, **(pvs or {})}

        def blade(number: str) -> StatusAxis:
            names = {key: text.replace("{blade}", number) for key, text in templates.items()}
            return StatusAxis(prefix, pvs=names, unit="mm", tolerance=0.001)

        top, bottom, left, right = map(blade, BLADES.values())
        super().__init__(top, bottom, left, right, name, signs=signs)


class Slits(BladeSlits):
    """Four blades without a status: done when the readbacks are there.

    Parameters
    ----------
    prefix
        Prefix of the process variables, for example ``"AUYU15L:"``.
    name
        Name of the device.
    pvs
        PV names that differ from the defaults, in which ``{blade}`` stands for Top, Bottom, Left
        or Right: ``setpoint`` (``"{}{blade}.VAL"``), ``readback`` (``"{}{blade}.RBV"``).
    signs
        Blade -> -1 where its axis counts the other way.
    tolerance
        When a blade has arrived.
    """

    def __init__(
        self,
        prefix: str,
        name: str = "",
        *,
        pvs: Mapping[str, str] | None = None,
        signs: Mapping[str, int] | None = None,
        tolerance: Tolerance = BLADE,
    ) -> None:
        templates = {"setpoint": "{}{blade}.VAL", "readback": "{}{blade}.RBV", **(pvs or {})}

        def blade(which: str) -> ComparedAxis:
            names = {key: text.replace("{blade}", which) for key, text in templates.items()}
            return ComparedAxis(prefix, pvs=names, unit="mm", tolerance=tolerance)

        top, bottom, left, right = map(blade, ("Top", "Bottom", "Left", "Right"))
        super().__init__(top, bottom, left, right, name, signs=signs)


class Pinholes(StandardReadable):
    """Pinholes on axes that are numbered from 2 to 5 (AU2), each with a status.

    Parameters
    ----------
    prefix
        Prefix of the process variables, for example ``"u171pgm1:"``.
    name
        Name of the device.
    numbers
        Numbers of the axes.
    pvs
        PV names that differ from the defaults, in which ``{number}`` stands for the number.

    Attributes
    ----------
    axes
        Number -> movable axis (`StatusAxis`), mm.
    """

    def __init__(
        self,
        prefix: str,
        name: str = "",
        *,
        numbers: tuple[int, ...] = (2, 3, 4, 5),
        pvs: Mapping[str, str] | None = None,
    ) -> None:
        defaults = {
            "setpoint": "{}PH_{number}_SET",
            "readback": "{}PH_{number}_GET",
            "status": "{}PH_{number}_STATUS",
        }
        templates = {**defaults, **(pvs or {})}

        def axis(number: int) -> StatusAxis:
            names = {key: t.replace("{number}", str(number)) for key, t in templates.items()}
            return StatusAxis(prefix, pvs=names, unit="mm")

        with self.add_children_as_readables():
            self.axes = DeviceVector({number: axis(number) for number in numbers})
        super().__init__(name)


class Filters(StandardReadable):
    """Filters on axes without a status (the diamond filters of a crystal monochromator).

    Parameters
    ----------
    prefix
        Prefix of the process variables, for example ``"u171dcm1:"``.
    name
        Name of the device.
    numbers
        Numbers of the axes.
    pvs
        PV names that differ from the defaults, in which ``{number}`` stands for the number.

    Attributes
    ----------
    axes
        Number -> movable axis (`ComparedAxis`), mm.
    """

    def __init__(
        self,
        prefix: str,
        name: str = "",
        *,
        numbers: tuple[int, ...] = (1, 2),
        pvs: Mapping[str, str] | None = None,
    ) -> None:
        defaults = {"setpoint": "{}PH_{number}_SET", "readback": "{}PH_{number}_GET"}
        templates = {**defaults, **(pvs or {})}

        def axis(number: int) -> ComparedAxis:
            names = {key: t.replace("{number}", str(number)) for key, t in templates.items()}
            tolerance = Tolerance(0.005, timeout=60.0)
            return ComparedAxis(prefix, pvs=names, unit="mm", tolerance=tolerance)

        with self.add_children_as_readables():
            self.axes = DeviceVector({number: axis(number) for number in numbers})
        super().__init__(name)


class ExitSlit(StatusAxis):
    """An exit slit: its width in um, and the resolving power that follows from it.

    Parameters
    ----------
    prefix
        Prefix of the process variables, for example ``"ue481pgm1:"``.
    name
        Name of the device and of its width in the data.
    number
        Number of the slit at this monochromator.
    pvs
        PV names that differ from the defaults: ``setpoint``, ``readback``, ``status``, ``stop``,
        ``power`` (the resolving power).
    limits
        Range of widths in um; None: the drive limits of the record.

    Attributes
    ----------
    resolving_power
        Resolving power as the control system computes it.
    """

    def __init__(
        self,
        prefix: str,
        name: str = "",
        *,
        number: int = 1,
        pvs: Mapping[str, str] | None = None,
        limits: tuple[float, float] | None = None,
    ) -> None:
        slit = f"{{}}ES_{number}_"
        defaults = {
            "setpoint": f"{slit}Input",
            "readback": f"{slit}SW",
            "status": f"{slit}STATUS",
            "power": f"{slit}ResPow",
            "stop": "",
        }
        names = pv_names(prefix, defaults, pvs)
        with self.add_children_as_readables(Format.UNCACHED_SIGNAL):
            self.resolving_power = signal_r(float, names.pop("power"))
        super().__init__(prefix, name, pvs=names, unit="um", tolerance=0.5, limits=limits)
