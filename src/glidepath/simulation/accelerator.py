"""The accelerator server: power converters, multiplexer, kicker, injection, tune, monitors."""

import time
from typing import Any

import numpy as np

from .channels import Clock, Database
from .drives import Drive
from .jobs import Job, sleep_until, ticks
from .ring_optics import QUADRUPOLES, REVOLUTION_KHZ, STEERERS, RingOptics
from .settings import Settings

__all__ = ["ACCELERATOR_FAMILIES", "Accelerator"]

ACCELERATOR_FAMILIES = {
    "power converters": ("HS4P1D4R:rdbk", "VS3P1D4R:rdbk", "QSPAZR:rdbk"),
    "multiplexer": ("PMUXZR:name",),
    "kicker": ("KIK1:rdbk", "KIK1:stat1", "KIK1:stat2"),
    "delay": ("PAHB:sDelay",),
    "top-up": ("TOPUPCC:state", "TOPUPCC:rdCur", "TOPUPCC:estCntDwnS"),
    "fill pattern": ("CUMZR:MBcurrent",),
    "tune": ("TUNEZRP:rdH", "TUNEZRP:rdV"),
    "bunch-by-bunch feedback": ("BBQR:X:SB:PEAKFREQ1", "BBQR:Y:SB:PEAKFREQ1"),
    "beam position monitors": ("MDIZ2T5G:bdata", "BPMZD1Q4R:rdX", "BPMZD1Q4R:rdY"),
    "beam size monitor": ("BSM1:Stats1:SigmaX_RBV", "BSM1:Stats1:SigmaY_RBV"),
}
"""Family -> its main process variables, for people to look at."""

OFF = "Mux OFF"
KICK_PER_AMPERE = 5e-4
"""rad/A of a steerer."""
STRENGTH_PER_AMPERE = 2e-3
"""1/m per A of the converter on a quadrupole."""
ZERO_CURRENT = 0.02
"""A; above it the relays of the multiplexer are not switched."""
SWITCH_SECONDS = 0.3
NOISE_MM = 2e-4
PERIOD = 0.2
FIRST_CURRENT, FULL_CURRENT, INJECTION, LIFETIME = 250.0, 300.0, 20.0, 36_000.0
"""mA, mA, mA/s and s."""
BLOCK, BLOCKS = 128, 8
COUNTS_PER_MM = 2**15 / 10
BUNCHES = 400
MULTIPLEXER_FAULTS = ("none", "stuck")


class Multiplexer:
    """Relays that connect one converter to one of the quadrupoles."""

    def __init__(self, database: Database, converter: Drive) -> None:
        self._converter = converter
        self.name = database.text("PMUXZR:name", OFF)
        self._fault = database.choice("FAULT:PMUXZR", "none", MULTIPLEXER_FAULTS, writable=True)
        database.integer("PMUXZR:off", 0, on_put=lambda _: self._switch(OFF))
        for name in QUADRUPOLES:
            database.integer(f"PMUXZR:{name}", 0, on_put=self._chooser(name))
        self._job = Job()

    def _chooser(self, name: str) -> Any:
        async def choose(value: int) -> None:
            # A relay changes only from off.
            if value and self.name.value == OFF:
                await self._switch(name)

        return choose

    async def _switch(self, name: str) -> None:
        if abs(self._converter.position) < ZERO_CURRENT and self._fault.value == "none":
            await self._job.start(self._later(name))

    async def _later(self, name: str) -> None:
        await sleep_until(time.time() + SWITCH_SECONDS)
        await self.name.change(name)

    async def close(self) -> None:
        """End all work."""
        await self._job.stop()


class Iron:
    """A magnet whose field follows its current with a play, as hysteresis has it.

    Attributes
    ----------
    width
        A between the branches of rising and of falling current; 0: there is no hysteresis.
    """

    def __init__(self) -> None:
        self.width, self._field = 0.0, 0.0

    def field(self, current: float) -> float:
        """Return the current that would give the present field without hysteresis, A."""
        play = self.width / 2
        self._field = min(max(self._field, current - play), current + play)
        return self._field


class Accelerator:
    """Everything that the accelerator server serves.

    Attributes
    ----------
    database
        The process variables by name.
    optics
        The ring that tune and orbit are computed from.
    """

    def __init__(self, settings: Settings) -> None:
        self.database = Database(settings.prefix, Clock(0.0))
        self.optics = RingOptics(settings.seed)
        self._generator = np.random.default_rng([settings.seed, 7])
        supply: dict[str, Any] = {"unit": "A", "velocity": 5.0, "noise": 2e-4}
        self._steerers = {
            name: self._supply(name, limits=(-1.0, 1.0), **supply)
            for name in (*STEERERS["x"], *STEERERS["y"])
        }
        self._converter = self._supply("QSPAZR", limits=(-5.0, 5.0), **supply)
        self._multiplexer = Multiplexer(self.database, self._converter)
        self._iron = Iron()
        self.database.number(
            "FAULT:QSPAZR_hysteresis", 0.0, "A", limits=(0.0, 1.0), on_put=self._on_hysteresis
        )
        self._kicker = self._supply("KIK1", unit="kV", velocity=10.0, limits=(0.0, 20.0))
        self._add_switches()
        self._add_monitors()
        self._add_ring()

    def _supply(self, name: str, **options: Any) -> Drive:
        return Drive(self.database, name, f"{name}:set", f"{name}:rdbk", **options)

    async def _on_hysteresis(self, width: float) -> None:
        self._iron.width = float(width)

    def _add_switches(self) -> None:
        database = self.database
        for name in ("QSPAZR", "KIK1"):
            for status in ("stat1", "stat2"):
                database.integer(f"{name}:{status}", 1, writable=True)
        for delay in ("sDelay", "pDelay"):
            database.number(f"PAHB:{delay}", 0.0, "ns", writable=True)
        database.integer("PAHB:switch", 1, writable=True)

    def _add_monitors(self) -> None:
        database = self.database
        self._data = database.array("MDIZ2T5G:bdata", BLOCK * BLOCKS)
        self._count = database.integer("MDIZ2T5G:count", 0)
        self._scalars = {
            plane: [
                database.number(f"BPMZ{n[4:6]}{n[:2]}R:rd{plane.upper()}", 0.0, "mm")
                for n in QUADRUPOLES
            ]
            for plane in ("x", "y")
        }
        self._tunes = {
            plane: database.number(f"TUNEZRP:rd{letter}", 0.0, "kHz")
            for plane, letter in (("x", "H"), ("y", "V"))
        }
        self._peaks = {
            plane: database.number(f"BBQR:{plane.upper()}:SB:PEAKFREQ1", 0.0, "kHz")
            for plane in ("x", "y")
        }
        self._sizes = {
            key: database.number(f"BSM1:Stats1:{key}_RBV", value, "px")
            for key, value in (
                ("SigmaX", 25.0),
                ("SigmaY", 8.0),
                ("CentroidX", 320.0),
                ("CentroidY", 240.0),
            )
        }

    def _add_ring(self) -> None:
        database = self.database
        pattern = np.where(np.arange(BUNCHES) % 400 < 320, 300.0 / 320, 0.0)
        self._pattern = database.array("CUMZR:MBcurrent", BUNCHES, "mA")
        self._first_pattern = pattern
        self._current = database.number("TOPUPCC:rdCur", FIRST_CURRENT, "mA")
        self._injection = database.choice("TOPUPCC:state", "OFF", ("OFF", "ON"), writable=True)
        self._gun = database.choice("FAULT:TOPUPCC", "none", ("none", "no beam"), writable=True)
        database.number("TOPUPCC:estCntDwnS", 60.0, "s", 1)
        database.integer("TOPUPCC:stBlankout2", 0)
        database.text("TOPUPCC:message", "ready")

    async def start(self) -> None:
        """Publish what does not change by itself."""
        await self._pattern.post(self._first_pattern)

    async def run(self) -> None:
        """Publish orbit and tunes five times a second, for ever."""
        async for tick in ticks(PERIOD):
            await self._publish(tick)

    async def _publish(self, tick: float) -> None:
        await self._fill(tick)
        await self._publish_beam(tick)

    async def _fill(self, tick: float) -> None:
        """Inject, or let the current decay."""
        injected = self._injection.value == "ON" and self._gun.value == "none"
        rate = INJECTION if injected else -self._current.value / LIFETIME
        current = min(self._current.value + rate * PERIOD, FULL_CURRENT)
        await self._current.post(current, tick)

    async def _publish_beam(self, tick: float) -> None:
        optics = self.optics
        for name, drive in self._steerers.items():
            optics.kicks[name] = KICK_PER_AMPERE * drive.position
        optics.trims = dict.fromkeys(QUADRUPOLES, 0.0)
        field = self._iron.field(self._converter.position)
        if (chosen := self._multiplexer.name.value) in optics.trims:
            optics.trims[chosen] = STRENGTH_PER_AMPERE * field
        data = np.zeros(BLOCK * BLOCKS)
        for number, plane in enumerate(("x", "y")):
            orbit = optics.orbit(plane)
            seen = orbit + self._generator.normal(0.0, NOISE_MM, orbit.size)
            data[number * BLOCK : number * BLOCK + seen.size] = seen * COUNTS_PER_MM
            for scalar, value in zip(self._scalars[plane], seen, strict=True):
                await scalar.post(float(value), tick)
            tune = optics.tune(plane) * REVOLUTION_KHZ
            await self._tunes[plane].post(tune, tick)
            await self._peaks[plane].post(tune, tick)
        await self._data.post(data, tick)
        await self._count.post(self._count.value + 1, tick)

    async def close(self) -> None:
        """End all work."""
        await self._multiplexer.close()
        for drive in (*self._steerers.values(), self._converter, self._kicker):
            await drive.close()
