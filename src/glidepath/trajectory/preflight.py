"""What a scan will do, and why it may not begin: known before anything moves."""

from dataclasses import asdict, dataclass, field
from math import ceil, floor, log10
from typing import Any

from .envelope import Envelope
from .region import Region


class PreflightError(ValueError):
    """A scan that must not begin; the text says what was asked, what is possible, what to do."""


@dataclass(frozen=True)
class Preflight:
    """The report: what was asked, what will happen, and every objection.

    Attributes
    ----------
    axis, start, stop, velocity, unit
        What was asked.
    period
        Length of a row (s).
    rows
        Rows to expect, give or take one at each end.
    duration
        Seconds between start and stop.
    total_duration
        With run-up and run-down, without the way to the run-up.
    run_up
        Distance before start (units).
    predicted_mismatch
        Largest predicted distance between undulator and axis (eV), None without undulator.
    smear
        Range that one row integrates over (units).
    objections
        One sentence for each reason not to fly.
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

    @property
    def passed(self) -> bool:
        """True when nothing speaks against the flight."""
        return not self.objections

    def check(self) -> None:
        """Raise `PreflightError` with the first objection, if there is one."""
        if self.objections:
            raise PreflightError(self.objections[0])

    def to_document(self) -> dict[str, Any]:
        """Return the report for the start document."""
        document = asdict(self)
        document["objections"] = list(self.objections)
        return document

    def lines(self) -> list[tuple[str, str]]:
        """Return the report as pairs of label and text, for people."""
        unit = self.unit
        lines = [
            ("Range", f"{self.axis} {self.start:g} to {self.stop:g} {unit}"),
            ("Velocity", f"{self.velocity:g} {unit}/s"),
            (
                "Duration",
                f"{self.duration:.1f} s, {self.total_duration:.1f} s with run-up and run-down",
            ),
            ("Rows", f"{self.rows} of {self.period:g} s, each over {self.smear:.3g} {unit}"),
            ("Run-up", f"{self.run_up:.3g} {unit}"),
        ]
        if self.predicted_mismatch is not None:
            lines.append(("Undulator mismatch", f"up to {self.predicted_mismatch:.3g} {unit}"))
        lines += [("Objection", objection) for objection in self.objections]
        return lines


def preflight(axis: str, region: Region, period: float, envelope: Envelope) -> Preflight:
    """Compare what is asked with what the axis can do.

    Parameters
    ----------
    axis
        Name of the axis, for messages.
    region
        What is asked.
    period
        Length of a row in s.
    envelope
        What the axis can do at this velocity.
    """
    if not period > 0:
        raise PreflightError(f"A row cannot last {period:g} s; choose a period above zero.")
    unit = envelope.unit
    objections = []
    low, high, fastest = envelope.low, envelope.high, envelope.max_velocity
    beyond = []
    for asked, sign, what in ((region.start, -1, "run-up"), (region.stop, 1, "run-down")):
        flown = asked + sign * region.direction * envelope.run_up
        if not _inside(asked, low, high):
            objections.append(
                f"{axis} cannot fly to {asked:g} {unit}: its range is {_range(low, high, unit)}; "
                "choose start and stop inside it."
            )
        elif not _inside(flown, low, high):
            beyond.append(
                f"{axis} needs {envelope.run_up:.3g} {unit} of {what} beyond {asked:g} {unit}, "
                f"but its range is {_range(low, high, unit)}; keep that distance to its end."
            )
    if fastest is not None and region.velocity > fastest:
        objections.append(
            f"{axis} cannot fly at {region.velocity:g} {unit}/s: its highest velocity is "
            f"{fastest:g} {unit}/s; choose a lower one."
        )
    elif region.velocity < envelope.min_velocity:
        objections.append(
            f"{axis} cannot fly at {region.velocity:g} {unit}/s: its lowest velocity is "
            f"{envelope.min_velocity:g} {unit}/s; choose a higher one."
        )
    else:
        # The run-up that a velocity needs is of interest only if the axis can do the velocity.
        objections += beyond
    if region.rows(period) < 1:
        slowest = region.length / period
        objections.append(
            f"Not one row of {period:g} s fits between {region.start:g} and {region.stop:g} {unit} "
            f"at {region.velocity:g} {unit}/s; fly at {_floor(slowest):g} {unit}/s or slower, "
            "or choose a shorter period."
        )
    return Preflight(
        axis=axis,
        start=region.start,
        stop=region.stop,
        velocity=region.velocity,
        unit=unit,
        period=period,
        rows=region.rows(period),
        duration=region.duration,
        total_duration=region.duration + 2 * envelope.run_up_time,
        run_up=envelope.run_up,
        predicted_mismatch=envelope.mismatch,
        smear=region.velocity * period,
        objections=tuple(objections),
    )


def _inside(position: float, low: float | None, high: float | None) -> bool:
    return (low is None or position >= low) and (high is None or position <= high)


def _range(low: float | None, high: float | None, unit: str) -> str:
    if low is None:
        return f"below {high:g} {unit}"
    if high is None:
        return f"above {low:g} {unit}"
    return f"{low:g} to {high:g} {unit}"


def _floor(value: float) -> float:
    """Return the value rounded down to two digits, so that the advice holds."""
    scale = 10.0 ** (ceil(log10(value)) - 2)
    return floor(value / scale * (1 + 1e-10)) * scale


__all__ = ["Preflight", "PreflightError", "preflight"]
