"""A picture of what a scan will do: energy, gap and predicted mismatch against time."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from glidepath.trajectory import Companion, Motion, Preflight, Stage, curve

Floats = NDArray[np.float64]

POINTS = 100
"""Points of each piece of a curve."""


def save_preflight(path: Path, report: Preflight) -> None:
    """Write the curves of a pre-flight report as a PNG.

    The axis is drawn through the whole scan, thick where rows are recorded; below it each
    companion whose law is known, and the predicted mismatch of the undulator with its bound.

    Parameters
    ----------
    path
        File to write.
    report
        The report, with its stages.
    """
    companions = _drawn(report)
    mismatch = any(stage.envelope.mismatch_at is not None for stage in report.stages)
    panels = 1 + len(companions) + mismatch
    figure = Figure(figsize=(9, 1.4 + 2.2 * panels), layout="constrained")
    figure.suptitle(
        f"{report.axis} {report.start:g} to {report.stop:g} {report.unit}: {report.rows} rows, "
        f"{report.total_duration:.1f} s{'' if report.passed else ', cannot be flown as asked'}",
        fontsize=11,
    )
    axes = figure.subplots(
        panels, 1, sharex=True, squeeze=False, height_ratios=[1.6] + [1.0] * (panels - 1)
    )[:, 0]
    time, position = curve(report.stages)
    top = axes[0]
    top.plot(time, position, color="0.6", lw=0.8, label="way, run-up, run-down")
    for number, stage in enumerate(report.stages):
        for passage in stage.flight.passages:
            at = np.linspace(passage.begin, passage.end, POINTS)
            color = f"C{(passage.number - 1) % 10}"
            label = f"region {passage.number}" if len(report.regions) > 1 else "rows"
            shown = top.get_legend_handles_labels()[1]
            top.plot(
                stage.take_off + at,
                stage.flight.position(at),
                color=color,
                lw=2.2,
                label=None if label in shown else label,
            )
        if number:
            for panel in axes:
                panel.axvline(stage.begin, color="0.85", lw=0.6)
    top.set_ylabel(f"{report.axis} ({report.unit})")
    top.legend(loc="best", fontsize=8)
    for panel, companion in zip(axes[1:], companions, strict=False):
        panel.plot(*_companion_curve(report, companion), color="C2", lw=1.0)
        panel.set_ylabel(f"{companion.name} ({companion.unit})")
    if mismatch:
        _draw_mismatch(axes[-1], report)
    axes[-1].set_xlabel("time from the begin of the scan (s)")
    axes[-1].set_xlim(0, report.total_duration)
    figure.savefig(path, dpi=130)


def _drawn(report: Preflight) -> list[Companion]:
    """Return the companions whose law is known, once each."""
    found: dict[str, Companion] = {}
    for stage in report.stages:
        for companion in stage.envelope.companions:
            if companion.law is not None:
                found.setdefault(companion.name, companion)
    return list(found.values())


def _companion_curve(report: Preflight, companion: Companion) -> tuple[Floats, Floats]:
    """Return time in s and position of a companion through the whole scan."""
    law = companion.law
    assert law is not None
    times, positions = [], []
    for stage in report.stages:
        if stage.way is not None:
            one, other = law(np.array([stage.way.start, stage.way.stop]))
            own = stage.way.of(law)
            lasts = stage.way.duration
            if companion.max_velocity:
                # It goes at its own pace where it is slower than the axis.
                way = Motion.between(one, other, companion.max_velocity, companion.max_acceleration)
                if way.duration > lasts:
                    own, lasts = way.position, way.duration
            at = np.linspace(0.0, lasts, POINTS)
            times.append(stage.begin + at)
            positions.append(own(at))
        for at, position, _, _ in stage.flight.samples(POINTS):
            times.append(stage.take_off + at)
            positions.append(law(position))
    return np.concatenate(times), np.concatenate(positions)


def _draw_mismatch(panel: Axes, report: Preflight) -> None:
    for number, stage in enumerate(report.stages):
        if stage.envelope.mismatch_at is None:
            continue
        time, off = _mismatch(stage)
        panel.plot(time, off, color="C3", lw=1.0, label="undulator" if number == 0 else None)
    if report.mismatch_bound is not None:
        panel.axhline(
            report.mismatch_bound, color="0.4", lw=0.8, ls=":", label="rows beyond are marked"
        )
    panel.set_ylim(bottom=0)
    panel.set_ylabel(f"predicted\nmismatch ({report.unit})")
    panel.legend(loc="best", fontsize=8)


def _mismatch(stage: Stage) -> tuple[Floats, Floats]:
    """Return time in s and absolute predicted mismatch during a flight."""
    predict = stage.envelope.mismatch_at
    assert predict is not None
    times, off = [], []
    for t, position, velocity, _ in stage.flight.samples(POINTS):
        times.append(stage.take_off + t)
        off.append(np.abs(predict(position, velocity)))
    return np.concatenate(times), np.concatenate(off)


__all__ = ["save_preflight"]
