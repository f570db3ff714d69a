"""The vacuum and optics server: valves, shutters, mirrors, slits, apertures, filters, a lock."""

import asyncio
from typing import Any

from .barriers import OPEN, CommandedShutter, ToggledValve
from .channels import Clock, Database
from .drives import Drive, Hexapod, Status
from .link import LinkServer
from .settings import Settings

__all__ = ["VACUUM_FAMILIES", "Vacuum"]

VACUUM_FAMILIES = {
    "valves": ("V1:State1", "V2:State1"),
    "photon shutter": ("PSH1:State1",),
    "beam shutter": ("BS1:State", "BS1:permit1", "BS1:permit2"),
    "mirror M1": ("M1:rdTx", "M1:rdRx", "M1:ExecSens"),
    "mirror on a hexapod": ("HEX1:hexapod:getReadPoseX", "HEX1:multiaxis:running"),
    "aperture unit": ("AU1:rdPosM1", "AU1:rdPosM2", "AU1:rdPosM3", "AU1:rdPosM4"),
    "slits": ("SLIT1:Top.RBV", "SLIT1:Bottom.RBV", "SLIT1:Left.RBV", "SLIT1:Right.RBV"),
    "pinholes": ("PIN1:PH_2_GET", "PIN1:PH_3_GET"),
    "filters": ("FIL1:PH_1_GET", "FIL1:PH_2_GET"),
    "exit slit": ("ES1:ES_1_SW", "ES1:ES_1_ResPow"),
    "lock": ("LOCK1:free", "LOCK1:getUser"),
}
"""Family -> its main process variables, for people to look at."""

RESOLVING_POWER_UM = 400_000.0
"""Resolving power times width of the exit slit in um."""


class Lock:
    """A lock that the first who asks gets, until it is cleared."""

    def __init__(self, database: Database, name: str) -> None:
        self._holder = database.text(f"{name}getUser", "")
        self._free = database.integer(f"{name}free", 1)
        database.text(f"{name}setUser", "", on_put=self._ask)
        database.integer(f"{name}clearName.PROC", 0, on_put=self._clear)

    async def _ask(self, user: str) -> None:
        if self._free.value and user:
            await self._free.change(0)
            await self._holder.change(user)

    async def _clear(self, _: int) -> None:
        await self._holder.change("")
        await self._free.change(1)


class ExitSlit:
    """An exit slit that knows the resolving power that follows from its width."""

    def __init__(self, database: Database, name: str) -> None:
        self.drive = Drive(
            database,
            name.rstrip(":"),
            f"{name}ES_1_Input",
            f"{name}ES_1_SW",
            f"{name}ES_1_STATUS",
            unit="um",
            position=40.0,
            limits=(5.0, 2000.0),
            velocity=200.0,
        )
        self._power = database.number(f"{name}ES_1_ResPow", RESOLVING_POWER_UM / 40.0)
        database[database.prefix + f"{name}ES_1_Input"].on_put = self._go

    async def _go(self, width: float) -> None:
        await self.drive.go(width)
        await self._power.post(RESOLVING_POWER_UM / width)


class Vacuum:
    """Everything that the vacuum server serves.

    Attributes
    ----------
    database
        The process variables by name.
    """

    def __init__(self, settings: Settings) -> None:
        self.database = Database(settings.prefix, Clock(0.0))
        database = self.database
        # All of them are in the way of the light, and open at the beginning.
        barriers: list[ToggledValve | CommandedShutter] = [
            ToggledValve(database, "V1:", place=OPEN),
            ToggledValve(database, "V2:", place=OPEN),
            CommandedShutter(database, "BS1:", place=OPEN),
            ToggledValve(database, "PSH1:", place=OPEN),
        ]
        self._link_port = settings.vacuum_link_port
        self._link = LinkServer([barrier.axis for barrier in barriers])
        self._devices: list[Any] = [*barriers]
        self._devices += [Hexapod(database, "HEX1:"), ExitSlit(database, "ES1:").drive]
        self._devices += self._mirror() + self._apertures()
        Lock(database, "LOCK1:")
        database.integer(f"{settings.undulator}:BaseCmdHmLock", 0, writable=True)
        for name in ("P1:", "P2:"):
            database.number(f"{name}rdPress", 2e-9, "mbar", 11)

    def _mirror(self) -> list[Drive]:
        """Return the five axes of a mirror, which share one status."""
        status = Status(self.database, "M1:ExecSens")
        return [
            Drive(
                self.database,
                f"M1:{axis}",
                f"M1:{axis}Abs",
                f"M1:rd{axis}",
                status,
                unit="mm" if axis[0] == "T" else "mrad",
            )
            for axis in ("Tx", "Ty", "Rx", "Ry", "Rz")
        ]

    def _apertures(self) -> list[Drive]:
        database = self.database
        units = [
            Drive(
                database,
                f"AU1:M{number}",
                f"AU1:AbsM{number}",
                f"AU1:rdPosM{number}",
                f"AU1:RunM{number}",
                position=position,
            )
            for number, position in enumerate((2.0, -2.0, -3.0, 3.0), 1)
        ]
        blades = {"Top": 1.0, "Bottom": -1.0, "Left": -1.0, "Right": 1.0}
        units += [
            Drive(
                database,
                f"SLIT1:{blade}",
                f"SLIT1:{blade}.VAL",
                f"SLIT1:{blade}.RBV",
                position=position,
                noise=0.0005,
            )
            for blade, position in blades.items()
        ]
        for name, numbers, status in (("PIN1", (2, 3, 4, 5), True), ("FIL1", (1, 2), False)):
            units += [
                Drive(
                    database,
                    f"{name}:PH_{number}",
                    f"{name}:PH_{number}_SET",
                    f"{name}:PH_{number}_GET",
                    f"{name}:PH_{number}_STATUS" if status else None,
                )
                for number in numbers
            ]
        return units

    async def start(self) -> None:
        """Open the link by which the detectors know whether there is light."""
        if self._link_port:
            await self._link.start(self._link_port)

    async def run(self) -> None:
        """Work for ever: everything happens on a command."""
        await asyncio.Event().wait()

    async def close(self) -> None:
        """End all work."""
        await self._link.close()
        for device in self._devices:
            await device.close()
