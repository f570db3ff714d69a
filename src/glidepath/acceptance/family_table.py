"""The table of the families in the documentation; run as a module, it prints it."""

from collections.abc import Iterator
from dataclasses import dataclass
from inspect import getsource
from typing import Any

from ophyd_async.core import SignalR, walk_devices

from glidepath.acceptance.axis import axes_of
from glidepath.acceptance.suite import CONNECTS, planned_tests
from glidepath.beamlines import Beamline
from glidepath.devices import families, generic

__all__ = ["known", "table"]

SHOWN = 6
"""PVs of a device that are shown."""

OF_ALL = "everything"
"""Suite of the tests that every device gets: they stand above the table."""


@dataclass(frozen=True)
class Family:
    """One line of the table.

    Attributes
    ----------
    title
        What it is.
    device
        One made with the defaults, whose prefix is that of the simulated beamline.
    units
        Of what it reads, in the order of the alphabet; empty: it has none.
    simulated
        Module and class of the simulation that serves it.
    machine
        Name of the picture of its states in `MACHINES`; empty: it has none.
    """

    title: str
    device: Any
    units: str
    simulated: str
    machine: str = ""

    def pvs(self) -> list[str]:
        """Return the PVs of the device by name."""
        found = [
            child.source.removeprefix("ca://")
            for child in walk_devices(self.device).values()
            if isinstance(child, SignalR) and child.source.startswith("ca://")
        ]
        return list(dict.fromkeys(found))

    def made_of(self) -> list[type]:
        """Return the generic classes that it is, or is made of, in the order of the alphabet."""
        parts = [self.device, *walk_devices(self.device).values()]
        kinds = {
            base
            for part in parts
            for base in type(part).__mro__
            if base.__name__ in generic.__all__ and base not in (generic.Barrier, generic.SlitAxis)
        }
        return sorted(kinds, key=lambda kind: kind.__name__)

    def suites(self) -> dict[str, list[str]]:
        """Return the acceptance tests that it gets if all its axes have safe ranges, by suite.

        Tests that move something end with ``*``; a suite may have tests of several axes, each
        named once.
        """
        self.device.set_name("device")
        safe = dict.fromkeys(axes_of(self.device), (-1.0, 1.0))
        beamline = Beamline("families", {"device": self.device}, safe_ranges=safe)
        found: dict[str, list[str]] = {}
        for planned in planned_tests(beamline):
            if planned.test is not CONNECTS:
                tests = found.setdefault(planned.suite, [])
                name = planned.test.name + " *" * planned.test.moves
                if name not in tests:
                    tests.append(name)
        return found

    def lines(self) -> str:
        """Return the lines of its class, and those of the generic classes that it is made of."""
        own = type(self.device)
        shared = [kind for kind in self.made_of() if kind is not own]
        return " + ".join(str(len(getsource(kind).splitlines())) for kind in (own, *shared))

    def states(self) -> str:
        """Return its states and the numbers of its status, or a link to their picture."""
        picture = f"[states](#{self.machine.replace('_', '-')})" if self.machine else ""
        if not isinstance(self.device, generic.Barrier):
            return picture
        meanings = {"open": self.device.states.open, "closed": self.device.states.closed}
        numbers = [f"{name} {' '.join(map(str, sorted(n)))}" for name, n in meanings.items()]
        moving = " ".join(map(str, sorted(self.device.states.moving)))
        return f"{picture}: {', '.join(numbers)}, moving {moving}, else error"

    def line(self) -> str:
        """Return the line of the table."""
        kind, pvs = type(self.device), self.pvs()
        more = f" and {len(pvs) - SHOWN} more" if len(pvs) > SHOWN else ""
        tests = "; ".join(
            f"{suite}: {', '.join(names)}"
            for suite, names in self.suites().items()
            if suite != OF_ALL
        )
        made_of = ", ".join(f"`{kind.__name__}`" for kind in self.made_of())
        shown = " ".join(f"`{pv}`" for pv in pvs[:SHOWN])
        cells = (
            self.title,
            f"`{kind.__name__}`",
            made_of or "readable",
            f"{shown}{more}",
            self.units,
            self.states(),
            f"`{self.simulated}`",
            tests,
            self.lines(),
        )
        return f"| {' | '.join(cells)} |"


def known() -> Iterator[Family]:
    """Yield all families, as they stand in the simulated beamline."""
    yield from vacuum_families()
    yield from accelerator_families()


def vacuum_families() -> Iterator[Family]:
    """Yield what the vacuum and optics server has."""
    toggled, drive = "barriers.ToggledValve", "drives.Drive"
    yield Family("vacuum valve", families.Valve("V1:"), "", toggled, "toggle_device")
    yield Family("photon shutter", families.PhotonShutter("PSH1:"), "", toggled, "toggle_device")
    commanded = "barriers.CommandedShutter"
    shutter = families.BeamShutter("BS1:")
    yield Family("beam shutter with permits", shutter, "", commanded, "command_device")
    yield Family("first mirror", families.MirrorM1("M1:"), "mm, mrad", drive, "status_axis")
    hexapod = families.HexapodMirror("HEX1:")
    yield Family("mirror on a hexapod", hexapod, "mm, mrad", "drives.Hexapod", "pose")
    yield Family("aperture unit", families.ApertureUnit("AU1:"), "mm", drive, "status_axis")
    yield Family("slits", families.Slits("SLIT1:"), "mm", drive, "compared_axis")
    yield Family("pinholes", families.Pinholes("PIN1:"), "mm", drive, "status_axis")
    yield Family("filters", families.Filters("FIL1:"), "mm", drive, "compared_axis")
    yield Family("exit slit", families.ExitSlit("ES1:"), "um", "vacuum.ExitSlit", "status_axis")
    lock = generic.ResourceLock("LOCK1:", owner="we")
    yield Family("lock", lock, "", "vacuum.Lock", "resource_lock")
    yield Family("lock of an undulator", families.UndulatorLock("UE48:"), "", "vacuum.Vacuum")


def accelerator_families() -> Iterator[Family]:
    """Yield what the accelerator has."""
    drive, ring = "drives.Drive", "accelerator.Accelerator"
    topup = families.TopUpRing("RING:", "TOPUPCC:")
    yield Family("ring with top-up", topup, "h, mA, s", ring)
    yield Family("filling pattern", families.FillPattern("CUMZR:"), "mA", ring)
    converter = families.PowerConverter("QSPAZR:", "converter")
    yield Family("power converter", converter, "A", drive, "compared_axis")
    names = ("Q4M1D1R", "Q3M1D1R")
    multiplexer = families.Multiplexer("PMUXZR:", converter, "mux", quadrupoles=names)
    yield Family("multiplexer", multiplexer, "", "accelerator.Multiplexer", "multiplexer")
    yield Family("kicker", families.Kicker("KIK1:"), "kV", drive, "compared_axis")
    yield Family("delay", families.DelayLine("PAHB:"), "ns", ring, "compared_axis")
    yield Family("injection engine", families.InjectionEngine("TOPUPCC:"), "mA", ring)
    yield Family("tune", families.Tune("TUNEZRP:"), "kHz", ring)
    yield Family("bunch-by-bunch feedback", families.BunchFeedback("BBQR:"), "kHz", ring)
    monitors = families.BeamPositionMonitors("MDIZ2T5G:", names)
    yield Family("beam position monitors", monitors, "mm", ring)
    one = families.BeamPositionMonitor("BPMZD1Q4R:")
    yield Family("one beam position monitor", one, "mm", ring)
    size = families.BeamSizeMonitor("BSM1:Stats1:", (1.0, 1.0))
    yield Family("beam size monitor", size, "um", ring)


def table() -> str:
    """Return the table of the families in Markdown."""
    head = [
        "| family | class | generic class | PVs in the simulation | units | states | simulator "
        "| acceptance suite: its tests | lines |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *(family.line() for family in known())])


if __name__ == "__main__":
    print(table())
