"""How well a gap that is driven in straight pieces keeps to the energy, against the prediction.

The undulator is calibrated first, as staff do it: the monochromator scans over the harmonic at a
fixed gap, at two energies, and a line is fitted to what the mesh saw. Then the range is flown with
several numbers of knots. The mismatch is the distance of the simulation's true harmonic to its true
energy, at every millisecond of the range. The linear gap, one straight piece, is what
frameworks fly that move both axes in the same time.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from .beamline import Setup, call, in_own_process, simulated_setup
from .tables import compact

__all__ = ["rows", "table"]

Floats = NDArray[np.float64]

RANGES = {
    "UE48": (370.0, 470.0, 5.0),
    "UE52": (370.0, 470.0, 4.0),
    "UE56": (370.0, 470.0, 1.7),
    "UE46": (520.0, 580.0, 1.5),
}
"""Range (eV) and velocity (eV/s) for each undulator; its gap can follow none much faster."""

SEGMENTS = (1, 2, 4, 8, None)
"""Straight pieces of the gap; None: as few as keep the bound."""

EXPOSURE = 0.1
"""Length of a row (s)."""

CALIBRATION_EXPOSURE = 0.04
CALIBRATION_VELOCITY = 4.0
CALIBRATION_SHARE = 0.6
"""Part of the harmonic's width, to both sides, that is scanned to find it."""

CURVE_POINTS = 200
"""Points of the mismatch over the range that are kept for the picture."""


def rows(quick: bool = False) -> list[dict[str, Any]]:
    """Measure; a row for each undulator and number of straight pieces."""
    if quick:
        return in_own_process(measure, "UE48", (380.0, 430.0, 5.0), (1, None))
    return [
        row
        for undulator, flight in RANGES.items()
        for row in in_own_process(measure, undulator, flight, SEGMENTS)
    ]


def measure(
    undulator: str, flight: tuple[float, float, float], segments: Sequence[int | None]
) -> list[dict[str, Any]]:
    """Calibrate an undulator and fly it with each number of pieces, up and down in turn."""
    start, stop, velocity = flight
    found = []
    with simulated_setup(undulator=undulator) as setup:
        calibration = calibrate(setup, undulator, start, stop)
        for turn, number in enumerate(segments):
            ends = (start, stop) if turn % 2 == 0 else (stop, start)
            found.append(
                {
                    "undulator": undulator,
                    "range_eV": f"{start:g}-{stop:g}",
                    "velocity_eV_per_s": velocity,
                    **fly(setup, undulator, *ends, velocity, number),
                    "offset_found_eV": calibration.offset
                    + (calibration.slope - 1) * 0.5 * (start + stop),
                }
            )
    return found


def calibrate(setup: Setup, undulator: str, start: float, stop: float) -> Any:
    """Find the harmonic at two energies of the range; use and return the calibration."""
    from bluesky.plan_stubs import mv

    from glidepath.physics import Calibration, fit_harmonic
    from glidepath.plans import flyscan

    devices = setup.devices
    source, pgm = devices[undulator.lower()], devices["pgm"]
    points = []
    for energy in (start + 0.1 * (stop - start), stop - 0.1 * (stop - start)):
        setup.run(mv(devices["energy_separate"], energy))
        half = CALIBRATION_SHARE * float(source.curve.width(energy))
        plan = flyscan(
            [devices["mesh"]],
            pgm,
            energy - half,
            energy + half,
            CALIBRATION_VELOCITY,
            period=CALIBRATION_EXPOSURE,
        )
        columns = setup.run(plan).columns(["pgm", "mesh"])
        width = source.table.curves[0].width(1.0)
        found = fit_harmonic(columns["pgm"], columns["mesh"], float(width))
        # Behind the scan the gap has come to rest, whatever it was at the end of its move.
        points.append((call(setup.engine, source.energy.get_value), found.energy))
    calibration = Calibration.two_point(*points)
    source.calibrate(calibration)
    return calibration


def fly(
    setup: Setup, undulator: str, start: float, stop: float, velocity: float, number: int | None
) -> dict[str, Any]:
    """Fly the range once and compare with the truth."""
    from glidepath.plans import flyscan

    devices = setup.devices
    axis, curve = devices["energy_separate"], devices[undulator.lower()].curve
    axis.gap_segments = number
    plan = flyscan([devices["mesh"]], axis, start, stop, velocity, period=EXPOSURE)
    run = setup.run(plan)
    columns = run.columns(["sample_time", "sample_duration", "tracking_error"])
    half = columns["sample_duration"] / 2
    begin, end = columns["sample_time"] - half, columns["sample_time"] + half
    report = run.of("start")[0]["preflight"]
    with setup.truth(float(end[-1])) as truth:
        inside = (truth.time >= begin[0]) & (truth.time <= end[-1])
        energy = truth.trajectory_energy[inside]
        off = truth.undulator_energy[inside] - energy
        meant = mean_over(truth.time, truth.undulator_energy - truth.trajectory_energy, begin, end)
    share = np.abs(off) / curve.width(energy)
    wrong = columns["tracking_error"] - meant
    places = np.linspace(0, len(energy) - 1, CURVE_POINTS).astype(int)
    return {
        "direction": "up" if stop > start else "down",
        "segments": segments_flown(axis, curve, start, stop, velocity),
        "default": number is None,
        "predicted_eV": report["predicted_mismatch"],
        "measured_eV": float(np.max(np.abs(off))),
        "measured_percent_of_width": 100 * float(np.max(share)),
        "bound_percent": 100 * axis.tracking_bound,
        "kept": bool(np.max(share) <= axis.tracking_bound),
        "rms_eV": float(np.sqrt(np.mean(off**2))),
        "recorded_worst_eV": float(np.max(np.abs(columns["tracking_error"]))),
        "recorded_against_truth_rms_meV": 1e3 * float(np.sqrt(np.mean(wrong**2))),
        "mismatch_curve": [[round(float(v[k]), 4) for v in (energy, off)] for k in places],
    }


def segments_flown(axis: Any, curve: Any, start: float, stop: float, velocity: float) -> int:
    """Return in how many straight pieces the range is flown."""
    from glidepath.flyers.motion.coupled import TIMING
    from glidepath.trajectory import gap_path

    path = gap_path(
        curve,
        start,
        stop,
        run_up=0.1,
        run_down=0.1,
        bound=axis.tracking_bound,
        allowance=TIMING * velocity,
        segments=axis.gap_segments,
    )
    return path.segments


def mean_over(time: Floats, value: Floats, begin: Floats, end: Floats) -> Floats:
    """Return the means of a function of time over windows, arrays of shape (m,)."""
    instants = begin[:, None] + (end - begin)[:, None] * (np.arange(50) + 0.5) / 50
    return np.mean(np.interp(instants, time, value), axis=1)


def table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Return the rows as a table."""
    labels = ["eV", "eV/s", "pieces", "predicted eV", "measured eV", "% of width", "kept"]
    title = "tracking: distance of the true harmonic to the true energy"
    result = compact(title, ["undulator"], [*labels, "error RMS meV"])
    for row in rows:
        pieces = f"{row['segments']}{' (default)' if row['default'] else ''}"
        result.add_row(
            row["undulator"],
            row["range_eV"],
            f"{row['velocity_eV_per_s']:g}",
            pieces if row["default"] or row["segments"] > 1 else "1 (linear)",
            f"{row['predicted_eV']:.3f}",
            f"{row['measured_eV']:.3f}",
            f"{row['measured_percent_of_width']:.1f}",
            "yes" if row["kept"] else "no",
            f"{row['recorded_against_truth_rms_meV']:.1f}",
        )
    return result
