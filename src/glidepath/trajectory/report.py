"""The pre-flight report: what a scan will do, for people and for the start document."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import log10
from typing import Any

from .schedule import Stage

CLOCK_BOUND = 1.0
"""Largest distance (s) between a server's clock and this machine's, unless another is given."""


class PreflightError(ValueError):
    """A scan that must not begin; the text says what was asked, what is possible, what to do."""


@dataclass(frozen=True)
class Space:
    """Room for the data of a scan.

    Parameters
    ----------
    needed
        Bytes that the scan will write, estimated.
    free
        Bytes that are free.
    place
        Where: the data directory.

    Examples
    --------
    >>> Space(12_000_000, 95_000_000_000, "/data").text
    '12 MB of 95 GB free in /data'
    """

    needed: int
    free: int
    place: str

    @property
    def text(self) -> str:
        """What is found here, in words for people."""
        return f"{in_bytes(self.needed)} of {in_bytes(self.free)} free in {self.place}"


@dataclass(frozen=True)
class Timing:
    """How fast a detector can follow.

    Parameters
    ----------
    name
        Name of the detector.
    exposure
        Length of one reading, s.
    dead_time
        Seconds that it needs between two triggered exposures; None for one that runs freely.

    Examples
    --------
    >>> Timing("camera", exposure=0.1, dead_time=0.02).shortest
    0.12
    """

    name: str
    exposure: float
    dead_time: float | None = None

    @property
    def shortest(self) -> float:
        """Shortest period that it keeps, s."""
        return round(self.exposure + (self.dead_time or 0.0), 9)

    @property
    def text(self) -> str:
        """What is found here, in words for people."""
        if self.dead_time is None:
            return f"reads for {self.exposure:g} s, again and again"
        return f"reads for {self.exposure:g} s, dead time {self.dead_time:g} s"


@dataclass(frozen=True)
class AxisReport:
    """One axis: what it can do and what the scan needs of it; None where no limit is known.

    Examples
    --------
    >>> AxisReport("gap", "mm", 15.0, 200.0, 1.0, None, 30.1, 34.2, 0.2, 0.1).text
    '30.1 to 34.2 mm of 15 to 200 mm; 0.2 of 1 mm/s; 0.1 mm/s²'
    """

    name: str
    unit: str
    low: float | None
    high: float | None
    max_velocity: float | None
    max_acceleration: float | None
    needed_low: float | None
    needed_high: float | None
    needed_velocity: float
    needed_acceleration: float

    @property
    def text(self) -> str:
        """What is found here, in words for people."""
        unit = self.unit
        parts = []
        if self.needed_low is not None and self.needed_high is not None:
            parts.append(f"{self.needed_low:.6g} to {self.needed_high:.6g} {unit}")
            if self.low is not None or self.high is not None:
                parts[0] += f" of {between(self.low, self.high, unit)}"
        for needed, most, per in (
            (self.needed_velocity, self.max_velocity, f"{unit}/s"),
            (self.needed_acceleration, self.max_acceleration, f"{unit}/s²"),
        ):
            if needed > 0:
                parts.append(f"{needed:.3g}{'' if most is None else f' of {most:.3g}'} {per}")
        return "; ".join(parts)


@dataclass(frozen=True)
class RegionReport:
    """One region as it will be flown, in one pass.

    Attributes
    ----------
    number
        Number of the region, from 1 on.
    start, stop
        Its ends (units of the axis).
    slowest, fastest
        Its own speed (units per second): it changes within a region in k.
    period, rows
        Length of its rows (s), and how many to expect.
    duration
        Seconds.
    slower
        Length at its ends where joins make it slower than asked (units).
    what
        The region in words, for people.

    Examples
    --------
    >>> from glidepath.trajectory import Envelope, Trajectory, preflight
    >>> envelope = Envelope(200.0, 1000.0, 5.0, "eV", run_up=0.5, run_up_time=1.0)
    >>> asked = Trajectory.of([(370, 395, 2.0), (395, 405, 0.2)])
    >>> preflight("energy", asked, 0.1, envelope).regions[1].what
    '395 to 405 eV at 0.2 eV/s'
    """

    number: int
    start: float
    stop: float
    slowest: float
    fastest: float
    period: float
    rows: int
    duration: float
    slower: float
    what: str


@dataclass(frozen=True)
class Preflight:
    """The report: what was asked, what will happen, and every objection.

    Attributes
    ----------
    axis, unit
        The axis and the unit of its positions.
    start, stop
        Begin of the first region and end of the last one.
    low, high
        Ends of the whole range.
    velocity
        Largest speed asked for (units per second).
    period
        Length of a row (s) in regions without one of their own.
    rows
        Rows to expect, give or take one at each end of a region.
    duration
        Seconds between start and stop of all regions and passes.
    total_duration
        Seconds with run-up and run-down, and with the ways between as far as their velocity is
        known.
    run_up
        Longest distance before a start (units).
    predicted_mismatch
        Largest predicted distance between undulator and axis (eV), None without undulator.
    smear
        Largest range that one row integrates over (units).
    objections
        One sentence for each reason not to fly.
    notes
        One sentence for each thing that is worth knowing.
    passes, there_and_back, flights
        How often, in which direction, and in how many movements.
    regions
        The regions of one pass.
    axes
        The axis, and every other one that moves with it.
    mismatch_bound
        Distance beyond which rows are marked (eV); None without a bound.
    space, clocks, clock_bound, detectors
        What was checked besides, as it was given.
    stages
        When what happens; not in the document.

    Examples
    --------
    >>> from glidepath.trajectory import Envelope, Region, preflight
    >>> envelope = Envelope(200.0, 1000.0, 5.0, "eV", run_up=0.5, run_up_time=1.0)
    >>> report = preflight("energy", Region(370, 470, 2.5), 0.1, envelope)
    >>> report.passed, report.rows, report.total_duration
    (True, 400, 42.0)
    >>> preflight("energy", Region(370, 1470, 2.5), 0.1, envelope).objections[0][:47]
    'energy cannot fly to 1470 eV: its range is 200 '
    """

    axis: str
    start: float
    stop: float
    velocity: float
    unit: str
    period: float
    rows: int
    duration: float
    total_duration: float
    run_up: float
    predicted_mismatch: float | None
    smear: float
    objections: tuple[str, ...] = field(default=())
    notes: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    passes: int = 1
    there_and_back: bool = False
    flights: int = 1
    regions: tuple[RegionReport, ...] = ()
    axes: tuple[AxisReport, ...] = ()
    mismatch_bound: float | None = None
    space: Space | None = None
    clocks: Mapping[str, float] = field(default_factory=dict)
    clock_bound: float = CLOCK_BOUND
    detectors: tuple[Timing, ...] = ()
    stages: tuple[Stage, ...] = field(default=(), repr=False, compare=False)

    @property
    def passed(self) -> bool:
        """True when nothing speaks against the flight."""
        return not self.objections

    def check(self) -> None:
        """Raise `PreflightError` with the first objection, if there is one."""
        if self.objections:
            raise PreflightError(self.objections[0])

    def to_document(self) -> dict[str, Any]:
        """Return the report for the start document: plain numbers, texts, lists and mappings."""
        document = {
            name: value
            for name, value in vars(self).items()
            if name not in ("stages", "space", "regions", "axes", "detectors")
        }
        document["clocks"] = dict(self.clocks)
        document["space"] = None if self.space is None else asdict(self.space)
        for name in ("regions", "axes", "detectors"):
            document[name] = [asdict(item) for item in getattr(self, name)]
        for name in ("objections", "notes"):
            document[name] = list(document[name])
        return document

    def lines(self) -> list[tuple[str, str]]:
        """Return the report as pairs of label and text, for people."""
        unit = self.unit
        lines = [("Range", f"{self.axis} {self.start:g} to {self.stop:g} {unit}{self._parts()}")]
        if len(self.regions) > 1:
            lines += [
                (
                    f"Region {region.number}",
                    f"{region.what}: {region.rows} rows of {region.period:g} s, "
                    f"{region.duration:.1f} s",
                )
                for region in self.regions
            ]
        slowest = min((region.slowest for region in self.regions), default=self.velocity)
        if slowest < self.velocity:
            lines.append(("Velocity", f"{slowest:.3g} to {self.velocity:.3g} {unit}/s"))
        else:
            lines.append(("Velocity", f"{self.velocity:g} {unit}/s"))
        lines += [
            ("Duration", self._duration()),
            (
                "Rows",
                f"{self.rows}{self._periods()}, each over {self._up_to()}{self.smear:.3g} {unit}",
            ),
            ("Run-up", f"{self.run_up:.3g} {unit}"),
        ]
        lines += [(report.name, report.text) for report in self.axes]
        if self.predicted_mismatch is not None:
            bound = ""
            if self.mismatch_bound is not None:
                bound = f", rows are marked beyond {self.mismatch_bound:.3g} {unit}"
            lines.append(
                ("Undulator mismatch", f"up to {self.predicted_mismatch:.3g} {unit}{bound}")
            )
        if self.space is not None:
            lines.append(("Disk", self.space.text))
        if self.clocks:
            worst = max(self.clocks, key=lambda name: abs(self.clocks[name]))
            lines.append(
                (
                    "Clocks",
                    f"up to {abs(self.clocks[worst]):.2g} s off ({worst}), "
                    f"{self.clock_bound:g} s allowed",
                )
            )
        lines += [(timing.name, timing.text) for timing in self.detectors]
        lines += [("Note", note) for note in self.notes]
        lines += [("Objection", objection) for objection in self.objections]
        return lines

    def _parts(self) -> str:
        parts = ""
        if len(self.regions) > 1:
            parts += f" in {len(self.regions)} regions"
        if self.passes > 1:
            parts += f", {self.passes} passes" + (" there and back" if self.there_and_back else "")
        return parts

    def _duration(self) -> str:
        known = any(stage.way is not None for stage in self.stages)
        if self.flights == 1:
            rest = "the way to it, run-up and run-down" if known else "run-up and run-down"
        else:
            rest = f"the run-ups and run-downs of {self.flights} flights" + (
                " and the ways between" if known else ""
            )
        return f"{self.duration:.1f} s, {self.total_duration:.1f} s with {rest}"

    def _periods(self) -> str:
        periods = sorted({region.period for region in self.regions} or {self.period})
        if len(periods) == 1:
            return f" of {periods[0]:g} s"
        return f" of {periods[0]:g} to {periods[-1]:g} s"

    def _up_to(self) -> str:
        return "up to " if len({r.fastest * r.period for r in self.regions}) > 1 else ""


def between(low: float | None, high: float | None, unit: str) -> str:
    """Return a range in words."""
    if low is None:
        return f"below {high:g} {unit}"
    if high is None:
        return f"above {low:g} {unit}"
    return f"{low:g} to {high:g} {unit}"


def in_bytes(number: float) -> str:
    """Return a number of bytes in words."""
    power = min(max(int(log10(max(number, 1.0)) // 3), 0), 4)
    return f"{number / 1000**power:.3g} {('', 'k', 'M', 'G', 'T')[power]}B"


__all__ = [
    "CLOCK_BOUND",
    "AxisReport",
    "Preflight",
    "PreflightError",
    "RegionReport",
    "Space",
    "Timing",
    "between",
    "in_bytes",
]
