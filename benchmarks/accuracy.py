"""How true the recorded energies are: sampled and polled scans against the simulation's truth.

A sampled row is compared with the true mean energy between its two ends, a polled point with
the true mean energy during the exposure of the reading that it holds. Errors are counted in the
direction of travel (positive: ahead of the truth), so that what a scan adds by flying does not
cancel between up and down. The electrometers, the readback and the poll keep step with each
other in a simulation as they do not at a beamline: the error of a poll is then the same at every
point, and may be zero by luck. So each repeat starts the exposures at another instant between
two readbacks, evenly spread, and bias and RMS are taken over all of them.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from .beamline import Recorded, Setup, call, in_own_process, simulated_setup
from .medians import median, shown
from .sequential import polling_flyscan
from .tables import compact

__all__ = ["first_line", "rows", "table"]

Floats = NDArray[np.float64]

EXPOSURE = 0.1
"""Exposure of both electrometers, and length of a sampled row (s)."""

RANGES = {0.2: (399.7, 403.2), 1.0: (398.5, 404.5), 5.0: (390.0, 412.0)}
"""Range (eV) to fly at each velocity (eV/s): the N2 series, with some rows around it."""

REPEATS = {0.2: 2, 1.0: 4, 5.0: 4}
"""Pairs of scans at each velocity (eV/s), each with the exposures at another instant."""

MODES = ("sampled", "sequential")

SERIES = (400.4, 402.6)
"""Where the N2 series is (eV); a fit needs points in it."""

LATENESS = {"arrival_delay": 0.5, "default_batching": True}
"""Options of a beamline whose updates arrive late."""


@dataclass
class Flight:
    """What one scan recorded, and what was true: arrays with one element for each row.

    Attributes
    ----------
    energy, lower, upper
        As recorded (eV); a polled point is taken as the middle of its exposure.
    signal
        Sample current over mesh current, as recorded.
    true_energy, true_signal
        Means over the same exposure.
    """

    energy: Floats
    lower: Floats
    upper: Floats
    signal: Floats
    true_energy: Floats
    true_signal: Floats


def rows(quick: bool = False) -> list[dict[str, Any]]:
    """Measure; a row for each mode, velocity, readback rate and arrival delay."""
    if quick:
        return in_own_process(measure, {}, {1.0: 3})
    return [
        row
        for options in ({"readback_Hz": 10.0}, {"readback_Hz": 100.0}, LATENESS)
        for row in in_own_process(measure, options, REPEATS)
    ]


def measure(options: Mapping[str, Any], repeats: Mapping[float, int]) -> list[dict[str, Any]]:
    """Fly one simulated beamline in both modes, at each velocity as often as asked."""
    found = []
    with simulated_setup(**options) as setup:
        for velocity, times in repeats.items():
            pairs: dict[str, list[tuple[Flight, Flight]]] = {mode: [] for mode in MODES}
            for repeat in range(times):
                call(setup.engine, lambda: _start_exposures(setup, (repeat + 0.5) / times))  # noqa: B023
                begin, end = RANGES[velocity]
                for mode in MODES:
                    up = _fly(setup, mode, begin, end, velocity)
                    down = _fly(setup, mode, end, begin, velocity)
                    pairs[mode].append((up, down))
            settings = setup.simulation.settings
            for mode in MODES:
                found.append(
                    {
                        "mode": mode,
                        "velocity_eV_per_s": velocity,
                        "exposure_s": EXPOSURE,
                        "readback_Hz": settings.readback_Hz,
                        "arrival_delay_s": settings.arrival_delay,
                        **summary(pairs[mode]),
                    }
                )
    return found


def summary(pairs: Sequence[tuple[Flight, Flight]]) -> dict[str, Any]:
    """Return the numbers of repeated pairs of an up and a down scan.

    Bias and RMS are over all rows of all repeats: the repeats differ on purpose. The shift of
    the first line between up and down is the median of its absolute values, and the largest;
    ``line_fit`` says how the line was found, or why it was not. ``signal_rms_percent`` is the
    distance of the recorded spectrum (sample over mesh) from the true one, averaged over the
    same exposures, in percent of its highest value.
    """
    flights = [flight for pair in pairs for flight in pair]
    errors = [
        1e3 * direction * (flight.energy - flight.true_energy)
        for pair in pairs
        for direction, flight in zip((1, -1), pair, strict=True)
    ]
    error = np.concatenate(errors)
    wrong = np.concatenate([flight.signal - flight.true_signal for flight in flights])
    top = max(float(np.max(flight.true_signal)) for flight in flights)
    found = [_lines(up, down) for up, down in pairs]
    shifts = [abs(1e3 * (up - down)) for (up, down), _ in found if isfinite(up - down)]
    return {
        "bias_meV": median([float(np.mean(error))]),
        "rms_meV": median([_rms(error)]),
        "up_down_shift_meV": median(shifts),
        "up_down_shift_worst_meV": median([max(shifts, default=None)]),
        "signal_rms_percent": median([100 * _rms(wrong) / top]),
        "line_fit": next((how for (up, down), how in found if isfinite(up - down)), found[0][1]),
        "points": len(error),
        "repeats": len(pairs),
    }


def _rms(values: Floats) -> float:
    return float(np.sqrt(np.mean(values**2)))


def table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Return the rows as a table."""
    result = compact(
        f"accuracy: recorded energy against the truth ({EXPOSURE:g} s, errors in meV)",
        ["mode"],
        ["eV/s", "Hz", "delay s", "bias", "RMS", "shift", "worst", "signal %"],
    )
    for row in rows:
        result.add_row(
            row["mode"],
            f"{row['velocity_eV_per_s']:g}",
            f"{row['readback_Hz']:g}",
            f"{row['arrival_delay_s']:g}",
            shown(row["bias_meV"], ".2f"),
            shown(row["rms_meV"], ".2f"),
            shown(row["up_down_shift_meV"]),
            shown(row["up_down_shift_worst_meV"]),
            shown(row["signal_rms_percent"], ".2g"),
        )
    return result


async def _start_exposures(setup: Setup, phase: float) -> None:
    """Let both electrometers begin an exposure at a share of the way between two readbacks."""
    from aioca import FORMAT_TIME, caget, caput

    prefix, period = setup.simulation.prefix, 1 / setup.simulation.settings.readback_Hz
    meters = [f"{prefix}{name}" for name in ("KEI1", "KEI2")]
    await caput([f"{meter}:cmdCancel" for meter in meters], 1, wait=True)
    await asyncio.sleep(2 * EXPOSURE)
    readback = await caget(f"{prefix}PGM1:monoGetEnergy", format=FORMAT_TIME)
    since = (time.time() - readback.timestamp) / period
    await asyncio.sleep((phase - since) % 1 * period)
    for meter in meters:
        await caput(f"{meter}:cmdStart", 1, wait=True)
        # Two meters that run freely do not keep step with each other either.
        await asyncio.sleep(0.37 * EXPOSURE)


def _fly(setup: Setup, mode: str, begin: float, end: float, velocity: float) -> Flight:
    from glidepath.plans import flyscan

    devices = setup.devices
    detectors = [devices["mesh"], devices["sample"]]
    axis = devices["energy"]
    if mode == "sampled":
        plan = flyscan(detectors, axis, begin, end, velocity, period=EXPOSURE)
        return _sampled(setup, setup.run(plan))
    plan = polling_flyscan(detectors, axis, begin, end, velocity)
    return _polled(setup, setup.run(plan), (begin, end), velocity)


def _sampled(setup: Setup, run: Recorded) -> Flight:
    names = ["energy", "energy_lower", "energy_upper", "sample_time", "sample_duration"]
    columns = run.columns([*names, "mesh", "sample"])
    half = columns["sample_duration"] / 2
    lower, upper = columns["sample_time"] - half, columns["sample_time"] + half
    with setup.truth(float(upper[-1])) as truth:
        return Flight(
            columns["energy"],
            columns["energy_lower"],
            columns["energy_upper"],
            columns["sample"] / columns["mesh"],
            truth.mean_energy(lower, upper),
            true_signal(truth, lower, upper),
        )


def _polled(setup: Setup, run: Recorded, ends: tuple[float, float], velocity: float) -> Flight:
    energy, _ = run.events("energy")
    sample, published = run.events("sample")
    mesh, _ = run.events("mesh")
    with setup.truth(float(published[-1])) as truth:
        exposures = truth.exposures("KEI2")
        which = np.argmin(np.abs(exposures["stop"] - published[:, None]), axis=1)
        lower, upper = exposures["start"][which], exposures["stop"][which]
        places = np.stack([truth.energy(lower), truth.energy(upper)])
        inside = np.all((places >= min(ends)) & (places <= max(ends)), axis=0)
        half = 0.5 * velocity * EXPOSURE
        return Flight(
            energy[inside],
            energy[inside] - half,
            energy[inside] + half,
            (sample / mesh)[inside],
            truth.mean_energy(lower, upper)[inside],
            true_signal(truth, lower, upper)[inside],
        )


def true_signal(truth: Any, lower: Floats, upper: Floats) -> Floats:
    """Return the true sample current over the true mesh current, each averaged over a window.

    The ring's current, which the truth does not know, is in both.
    """
    from glidepath.simulation.beam import Beam, mesh_current, sample_current
    from glidepath.simulation.motion import Axis
    from glidepath.simulation.ring import FULL_CURRENT

    axes = {
        "energy": SimpleNamespace(positions=truth.energy),
        "gap": SimpleNamespace(positions=lambda when: np.interp(when, truth.time, truth.gap)),
        "shift": Axis("shift", 0.0),
        "ring": Axis("ring", FULL_CURRENT),
        "slit": Axis("slit", 25.0),
    }
    state = {"energy_axis": "energy", "harmonic": 1}
    beam = Beam(SimpleNamespace(axes=axes, state=state))  # type: ignore[arg-type]
    instants = lower[:, None] + (upper - lower)[:, None] * (np.arange(100) + 0.5) / 100
    when = instants.ravel()
    energy = beam.energy(when)
    sample, mesh = (
        np.mean(np.reshape(current(beam, when, energy), instants.shape), axis=1)
        for current in (sample_current, mesh_current)
    )
    return sample / mesh


def _lines(up: Flight, down: Flight) -> tuple[list[float], str]:
    """Return the first N2 line of two scans (eV), and how it was found."""
    from glidepath.physics.nitrogen import fit_series

    try:
        return [fit_series(f.energy, f.signal).first_line for f in (up, down)], "series"
    except ValueError:
        pass  # too few rows for a fit with free line widths and heights
    try:
        return [first_line(f.lower, f.upper, f.signal) for f in (up, down)], "known spectrum"
    except ValueError as error:
        return [float("nan")] * 2, str(error)


def first_line(lower: Floats, upper: Floats, signal: Floats) -> float:
    """Find the first N2 line (eV) in few and long rows, from the spectrum's known shape.

    The known absorption, averaged over each row, is shifted until it fits best; free are the
    shift, the height and the background.

    Parameters
    ----------
    lower, upper, signal
        Energy at both ends of each row (eV), and the signal; shape (n,).

    Raises
    ------
    ValueError
        If fewer than four rows lie in the series.
    """
    from scipy.optimize import minimize_scalar

    from glidepath.physics.nitrogen import N2_LINES_eV, absorption

    middle = 0.5 * (lower + upper)
    inside = int(np.sum((middle > SERIES[0]) & (middle < SERIES[1])))
    if inside < 4:
        raise ValueError(f"{inside} points in the series")
    low, high = np.minimum(lower, upper), np.maximum(lower, upper)
    grid = np.arange(low.min() - 2, high.max() + 2, 0.002)
    height = absorption(grid)
    integral = np.append(0.0, np.cumsum(0.5 * (height[1:] + height[:-1]) * np.diff(grid)))

    def misfit(shift: float) -> float:
        mean = np.interp(high - shift, grid, integral) - np.interp(low - shift, grid, integral)
        model = np.stack([mean / (high - low), np.ones(len(low))], axis=1)
        _, residual, _, _ = np.linalg.lstsq(model, signal, rcond=None)
        return float(residual[0])

    shifts = np.arange(-1, 1, 0.02)
    best = shifts[int(np.argmin([misfit(shift) for shift in shifts]))]
    found = minimize_scalar(misfit, bounds=(best - 0.03, best + 0.03), method="bounded")
    return N2_LINES_eV[0] + float(found.x)
