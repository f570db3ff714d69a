"""The optics server: monochromators, undulator, motors, ring."""

import asyncio
import contextlib

from .channels import Clock, Database
from .laws import LAWS
from .link import LinkServer
from .monochromator import (
    CrystalMonochromator,
    GratingMonochromator,
    SimpleMonochromator,
    SphericalMonochromator,
)
from .motion import Axis
from .motor import MotorRecord
from .profile_move import ProfileMove
from .repeater import start_repeater
from .ring import FULL_CURRENT, StorageRing
from .settings import Settings
from .undulator import Undulator

__all__ = ["Optics"]

_ENERGY_AXES = ("PGM1", "m3", "SGM1", "DCM1")


class Optics:
    """Everything that the optics server serves.

    Attributes
    ----------
    database
        The process variables by name.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.link: LinkServer
        self.database = Database(settings.prefix, Clock(settings.optics_clock_offset))
        database, seed = self.database, settings.seed
        energies = {name: Axis(name, settings.start_energy_eV) for name in _ENERGY_AXES}
        energies["DCM1"] = Axis("DCM1", 2500.0)
        energies["SGM1"] = Axis("SGM1", 250.0)
        noise = settings.encoder_noise_eV
        self._grating = GratingMonochromator(
            database,
            "PGM1:",
            energies["PGM1"],
            seed,
            settings.readback_Hz,
            noise,
            settings.ripple_eV,
        )
        law = LAWS[settings.undulator]
        self._undulator = Undulator(database, f"{settings.undulator}:", energies["PGM1"], law, seed)
        self._grating.undulator = self._undulator
        self._others = (
            SphericalMonochromator(database, "SGM1:", energies["SGM1"], seed, noise),
            CrystalMonochromator(database, "DCM1:", energies["DCM1"], seed, noise),
            SimpleMonochromator(
                database,
                ("DCM_ENERGY_SP", "DCM_ENERGY_MON.M", "DCM_ERDY_STS"),
                Axis("DCM_KMC3", 7000.0),
                (1700.0, 15000.0),
                seed,
                noise,
                done_value=1,
            ),
        )
        focus, slide = Axis("m1", 0.0), Axis("m2", 0.0)
        height = Axis("m4", 0.0)
        self._motors = (
            MotorRecord(
                database, "m1", focus, "um", "focus", (-5000, 5000), 1000, 2000, 0.2, 0.1, 2
            ),
            MotorRecord(database, "m2", slide, "mm", "sample slide", (-50, 50), 5, 0, 0.2, 1e-4, 4),
            MotorRecord(
                database,
                "m3",
                energies["m3"],
                "eV",
                "photon energy",
                (100, 1000),
                5,
                10,
                0.5,
                1e-5,
                5,
            ),
            MotorRecord(
                database, "m4", height, "mm", "sample height", (-25, 25), 2, 5, 0.2, 1e-4, 4
            ),
        )
        # One controller drives the energy motor and the slide.
        self._profile = ProfileMove(database, "PM1:", {2: self._motors[1], 3: self._motors[2]})
        ring = Axis("ring", FULL_CURRENT)
        self._ring = StorageRing(database, ring)
        database.choice("BEAM:axis", "PGM1", _ENERGY_AXES, on_put=self._choose)
        self.link = LinkServer(
            [
                *energies.values(),
                self._undulator.gap,
                self._undulator.shift,
                ring,
                self._grating.slit,
                focus,
                self._grating.cff,
            ]
        )
        self.link.set_state(energy_axis="PGM1", harmonic=1, **self._grating.diffraction())
        self._grating.on_diffraction = lambda: self.link.set_state(**self._grating.diffraction())
        self._undulator.on_harmonic = lambda harmonic: self.link.set_state(harmonic=harmonic)
        self._transport: asyncio.BaseTransport | None = None

    async def start(self) -> None:
        """Open the link and the repeater."""
        await self.link.start(self._settings.link_port)
        # Somebody who outlives this server may be the repeater already.
        with contextlib.suppress(OSError):
            self._transport = await start_repeater(self._settings.repeater_port)

    async def run(self) -> None:
        """Work for ever."""
        async with asyncio.TaskGroup() as group:
            for work in (
                self._grating.run(),
                self._grating.publish(),
                self._undulator.run(),
                self._undulator.publish(),
                self._ring.run(),
                self._ring.publish(),
                *(other.run() for other in self._others),
            ):
                group.create_task(work)

    async def close(self) -> None:
        """End all work."""
        for device in (
            self._profile,
            self._grating,
            self._undulator,
            *self._others,
            *self._motors,
        ):
            await device.close()
        await self.link.close()
        if self._transport is not None:
            self._transport.close()

    async def _choose(self, axis: str) -> None:
        self.link.set_state(energy_axis=axis)
