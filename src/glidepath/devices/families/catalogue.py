"""The table of the families in the documentation; run as a module, it prints it."""

from collections.abc import Iterator
from dataclasses import dataclass
from inspect import getsource
from typing import Any

from ophyd_async.core import SignalR, walk_devices

from glidepath.devices import families, generic

__all__ = ["table"]

SHOWN = 6
"""PVs of a device that are shown."""


@dataclass(frozen=True)
class Family:
    """One line of the table.

    Attributes
    ----------
    title
        What it is.
    device
        One made with the defaults, whose prefix is that of the simulated beamline.
    """

    title: str
    device: Any

    def pvs(self) -> list[str]:
        """Return the PVs of the device by name."""
        found = [
            child.source.removeprefix("ca://")
            for child in walk_devices(self.device).values()
            if isinstance(child, SignalR) and child.source.startswith("ca://")
        ]
        return list(dict.fromkeys(found))

    def made_of(self) -> str:
        """Return the generic classes that it is, or is made of."""
        parts = [self.device, *walk_devices(self.device).values()]
        names = {
            base.__name__
            for part in parts
            for base in type(part).__mro__
            if base.__name__ in generic.__all__ and base not in (generic.Barrier, generic.SlitAxis)
        }
        return ", ".join(f"`{name}`" for name in sorted(names)) or "readable"

    def line(self) -> str:
        """Return the line of the table."""
        kind, pvs = type(self.device), self.pvs()
        more = f" and {len(pvs) - SHOWN} more" if len(pvs) > SHOWN else ""
        lines = len(getsource(kind).splitlines())
        shown = " ".join(f"`{pv}`" for pv in pvs[:SHOWN])
        return f"| {self.title} | `{kind.__name__}` | {self.made_of()} | {shown}{more} | {lines} |"


def known() -> Iterator[Family]:
    """Yield all families, as they stand in the simulated beamline."""
    yield Family("vacuum valve", families.Valve("V1:"))
    yield Family("photon shutter", families.PhotonShutter("PSH1:"))
    yield Family("beam shutter with permits", families.BeamShutter("BS1:"))
    yield Family("first mirror", families.MirrorM1("M1:"))
    yield Family("mirror on a hexapod", families.HexapodMirror("HEX1:"))
    yield Family("aperture unit", families.ApertureUnit("AU1:"))
    yield Family("slits", families.Slits("SLIT1:"))
    yield Family("pinholes", families.Pinholes("PIN1:"))
    yield Family("filters", families.Filters("FIL1:"))
    yield Family("exit slit", families.ExitSlit("ES1:"))
    yield Family("lock", generic.ResourceLock("LOCK1:", owner="we"))
    yield Family("lock of an undulator", families.UndulatorLock("UE48:"))
    yield Family("ring with top-up", families.TopUpRing("RING:", "TOPUPCC:"))
    yield Family("filling pattern", families.FillPattern("CUMZR:"))
    converter = families.PowerConverter("QSPAZR:", "converter")
    yield Family("power converter", converter)
    names = ("Q4M1D1R", "Q3M1D1R")
    yield Family(
        "multiplexer", families.Multiplexer("PMUXZR:", converter, "mux", quadrupoles=names)
    )
    yield Family("kicker", families.Kicker("KIK1:"))
    yield Family("delay", families.DelayLine("PAHB:"))
    yield Family("injection engine", families.InjectionEngine("TOPUPCC:"))
    yield Family("tune", families.Tune("TUNEZRP:"))
    yield Family("bunch-by-bunch feedback", families.BunchFeedback("BBQR:"))
    yield Family("beam position monitors", families.BeamPositionMonitors("MDIZ2T5G:", names))
    yield Family("one beam position monitor", families.BeamPositionMonitor("BPMZD1Q4R:"))
    yield Family("beam size monitor", families.BeamSizeMonitor("BSM1:Stats1:", (1.0, 1.0)))


def table() -> str:
    """Return the table of the families in Markdown."""
    head = [
        "| family | class | generic class | PVs in the simulation | lines |",
        "|---|---|---|---|---|",
    ]
    return "\n".join([*head, *(family.line() for family in known())])


if __name__ == "__main__":
    print(table())
