"""The camera drivers by name: the only place that knows ophyd-async's families of cameras.

A camera of another family needs one `Driver`: the class that mirrors its records, what sets its
triggers, and which signal says that it is ready.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any, Final, cast

from ophyd_async.core import DetectorTriggerLogic, SignalR
from ophyd_async.epics.adandor import Andor2DriverIO, Andor2TriggerLogic
from ophyd_async.epics.adaravis import AravisDriverIO, AravisTriggerLogic
from ophyd_async.epics.adcore import ADBaseIO, AreaDetector
from ophyd_async.epics.adkinetix import KinetixDriverIO, KinetixTriggerLogic
from ophyd_async.epics.admerlin import MerlinDriverIO, MerlinTriggerLogic
from ophyd_async.epics.adpilatus import PilatusDriverIO, PilatusTriggerLogic
from ophyd_async.epics.adsimdetector import SimDetectorTriggerLogic
from ophyd_async.epics.advimba import VimbaDriverIO, VimbaTriggerLogic


@dataclass(frozen=True)
class Driver:
    """What is special about a family of cameras.

    Parameters
    ----------
    io
        Class that mirrors the driver's template.
    trigger_logic
        Called with the driver and the dead time that was given to the camera (s, or None).
    armed
        Called with the driver; the signal that says that it is ready. None: ``Acquire_RBV``.
    knows_dead_time
        Whether ophyd-async knows its dead time: as a constant, or by the camera's model.
    """

    io: type[ADBaseIO]
    trigger_logic: Callable[[Any, float | None], DetectorTriggerLogic]
    armed: Callable[[Any], SignalR[bool]] | None = None
    knows_dead_time: bool = False


DRIVERS: Final = MappingProxyType(
    {
        "sim": Driver(ADBaseIO, lambda io, _: SimDetectorTriggerLogic(io)),
        # By model of the camera: Manta and Mako of Allied Vision.
        "vimba": Driver(VimbaDriverIO, VimbaTriggerLogic, knows_dead_time=True),
        "aravis": Driver(AravisDriverIO, AravisTriggerLogic, knows_dead_time=True),
        # A constant of ophyd-async each: 1 ms, 2 ms, 0.1 s.
        "kinetix": Driver(
            KinetixDriverIO, lambda io, _: KinetixTriggerLogic(io), knows_dead_time=True
        ),
        "merlin": Driver(
            MerlinDriverIO, lambda io, _: MerlinTriggerLogic(io), knows_dead_time=True
        ),
        "andor": Driver(Andor2DriverIO, lambda io, _: Andor2TriggerLogic(io), knows_dead_time=True),
        # ophyd-async would silently take that of a PILATUS3.
        "pilatus": Driver(
            PilatusDriverIO,
            lambda io, dead_time: PilatusTriggerLogic(io, cast(Any, dead_time)),
            armed=lambda io: io.armed,
        ),
    }
)
"""The drivers that have a name."""


def find_driver(driver: str | Driver) -> Driver:
    """Return a driver by its name, or by where it is: ``"package.module:NAME"``.

    Raises
    ------
    ValueError
        If there is none.
    """
    if isinstance(driver, Driver):
        return driver
    if driver in DRIVERS:
        return DRIVERS[driver]
    module, _, name = driver.partition(":")
    try:
        found = getattr(import_module(module), name) if name else None
    except (ImportError, AttributeError) as error:
        raise ValueError(f"The camera driver {driver!r} cannot be imported: {error}.") from error
    if not isinstance(found, Driver):
        raise ValueError(
            f"There is no camera driver {driver!r}; there are {', '.join(DRIVERS)}, and any "
            "glidepath.detectors.Driver as 'package.module:NAME'."
        )
    return found


async def dead_time_of(camera: AreaDetector[ADBaseIO], family: Driver) -> float:
    """Return the seconds that ophyd-async knows a camera to need between two exposures.

    Raises
    ------
    ValueError
        If it does not know.
    """
    why = "its driver does not say it"
    if family.knows_dead_time:
        try:
            _, known = await camera.get_trigger_deadtime()
            if known is not None:
                return float(known)
        except ValueError:
            why = f"its model {await camera.driver.model.get_value()!r} is not in the table"
    raise ValueError(
        f"The dead time of {camera.name} is not known, for {why}: measure it or take it from "
        "the manual, and give the camera dead_time=... in seconds."
    )


__all__ = ["DRIVERS", "Driver", "dead_time_of", "find_driver"]
