"""Triggered scans beside sampled and polled ones: energies against the truth, light, and faults.

The same range is flown at 10 eV/s with a trigger each 0.05 eV (200 Hz) for a camera, a fast
electrometer and a counter, sampled by two electrometers that integrate for 0.1 s, and polled.
Then faults are made, and the rows are compared with what the camera truly saw. At last many
triggers at up to 1 kHz for an electrometer and a counter: in one go, and more than the box holds.
A Zebra makes the triggers; where PV Access (p4p) is installed, a PandA does once more.
"""

import json
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np
from rich.console import Group
from rich.table import Table

from glidepath.timeline import Quality

from .accuracy import EXPOSURE, _fly, first_line, summary
from .beamline import Recorded, Setup, call, in_own_process, simulated_setup
from .medians import median, shown

__all__ = ["rows", "table"]

RANGE = (395.0, 405.0)
VELOCITY = 10.0
STEP = 0.05

SLOW_RANGE = (399.0, 403.0)
SLOW_VELOCITY = 2.0

FAULTS: Mapping[str, Mapping[str, Any]] = {
    "none": {},
    "one trigger not seen": {"CAM1_miss": "30"},
    "five triggers not seen": {"CAM1_miss": "30,31,32,33,34"},
    "scattered triggers not seen": {"CAM1_miss": "11,37,52"},
    "frame dropped on the way": {"CAM1_drop": "30"},
    "late frame": {"CAM1_late": "30", "CAM1_lateness": 0.02},
    "pulse not made": {"zebra_lost_pulse": 30},
    "pulse too many": {"zebra_extra_pulse": 30},
    "too slow for the rate": {"CAM1_slow": 0.005},
}

Long = Mapping[tuple[str, str], tuple[int, float, int]]

LONG: Long = {
    ("5 000 triggers", "zebra"): (5_000, 1000.0, 100_000),
    ("20 000 rows", "zebra"): (20_000, 500.0, 8_000),
    ("20 000 rows", "panda"): (20_000, 500.0, 4_096),
}
"""Rows that are asked for, triggers per second, triggers that the box holds of one arming."""

QUICK_LONG: Long = {("600 rows", "zebra"): (600, 1000.0, 250)}

LONG_START, LONG_STEP = 400.0, 0.005
"""eV, of these."""

BETWEEN_PARTS = 0.5
"""Seconds from row to row with which another part begins: the axis has gone back meanwhile."""

CAPTURES = 100_000
"""Captures that the box keeps otherwise."""

BOUND = 0.005
"""Seconds by which the begin of a row and of its true exposure may differ."""


def rows(quick: bool = False) -> list[dict[str, Any]]:
    """Measure; a row for each mode, and one for each fault."""
    faults = dict(list(FAULTS.items())[: 2 if quick else None])
    return in_own_process(measure, 1 if quick else 3, faults, QUICK_LONG if quick else LONG)


def measure(
    repeats: int,
    faults: Mapping[str, Mapping[str, Any]],
    long: Long,
) -> list[dict[str, Any]]:
    """Fly one simulated beamline in all modes, with all faults, and for long."""
    boxes = ["zebra", "panda"] if find_spec("p4p") else ["zebra"]
    with simulated_setup(panda="panda" in boxes) as setup:
        return [
            *(_triggered(setup, repeats, box) for box in boxes),
            *(_beside(setup, mode, repeats) for mode in ("sampled", "sequential")),
            *(_fault(setup, name, fault) for name, fault in faults.items()),
            *(_long(setup, *scan, *asked) for scan, asked in long.items() if scan[1] in boxes),
        ]


def _plan(
    setup: Setup,
    names: Iterable[str],
    begin: float,
    end: float,
    velocity: float,
    box: str = "zebra",
) -> Any:
    from glidepath import Triggers
    from glidepath.plans import flyscan

    devices = setup.devices
    return flyscan(
        [devices[name] for name in names],
        devices["energy"],
        begin,
        end,
        velocity,
        triggers=Triggers(devices[box], step=STEP),
    )


COLUMNS = ("energy", "energy_lower", "energy_upper", "sample_time", "sample_duration", "quality")


def _triggered(setup: Setup, repeats: int, box: str) -> dict[str, Any]:
    errors, shifts, light, counts = [], [], [], []
    for _ in range(repeats):
        lines = []
        for direction, (begin, end) in ((1, RANGE), (-1, RANGE[::-1])):
            detectors = ("camera", "quad", "counter")
            run = setup.run(_plan(setup, detectors, begin, end, VELOCITY, box))
            columns = run.columns([*COLUMNS, "quad_mesh", "quad_sample"])
            half = columns["sample_duration"] / 2
            lower, upper = columns["sample_time"] - half, columns["sample_time"] + half
            with setup.truth(float(upper[-1])) as truth:
                true = truth.exposures("CAM1")
                nearest = np.abs(true["start"][:, None] - lower).argmin(axis=0)
                errors.append(1e3 * direction * (columns["energy"] - true["mean_energy"][nearest]))
            period = np.median(np.diff(columns["sample_time"]))
            light.append(float(np.median(columns["sample_duration"]) / period))
            signal = columns["quad_sample"] / columns["quad_mesh"]
            known = np.isfinite(signal)
            ends = columns["energy_lower"][known], columns["energy_upper"][known]
            lines.append(first_line(*ends, signal[known]))
            account = json.loads(_verdict(run)["triggered"])
            numbers = {(a["triggers"], a["frames"], a["matched"]) for a in account.values()}
            counts.append((len(columns["energy"]), *numbers))
        shifts.append(abs(1e3 * (lines[0] - lines[1])))
    error = np.concatenate(errors)
    whole = [all(set(n) == {rows} for n in numbers) for rows, *numbers in counts]
    return {
        "mode": f"triggered, {box}",
        "velocity_eV_per_s": VELOCITY,
        "exposure_s": float(np.median(light)) * STEP / VELOCITY,
        "readback_Hz": setup.simulation.settings.readback_Hz,
        "bias_meV": median([float(np.mean(error))]),
        "rms_meV": median([float(np.sqrt(np.mean(error**2)))]),
        "up_down_shift_meV": median(shifts),
        "light_percent": 100 * float(np.median(light)),
        "rows": int(np.median([rows for rows, *_ in counts])),
        "rows_equal_triggers_equal_frames": f"{sum(whole)} of {len(whole)} scans",
    }


def _beside(setup: Setup, mode: str, repeats: int) -> dict[str, Any]:
    pairs = [
        (
            _fly(setup, mode, *RANGE, VELOCITY),
            _fly(setup, mode, *RANGE[::-1], VELOCITY),
        )
        for _ in range(repeats)
    ]
    found = summary(pairs)
    rows = len(pairs[0][0].energy)
    return {
        "mode": mode,
        "velocity_eV_per_s": VELOCITY,
        "exposure_s": EXPOSURE,
        "readback_Hz": setup.simulation.settings.readback_Hz,
        **{name: found[name] for name in ("bias_meV", "rms_meV", "up_down_shift_meV")},
        "light_percent": 100 * rows * EXPOSURE * VELOCITY / (RANGE[1] - RANGE[0]),
        "rows": rows,
    }


def _fault(setup: Setup, name: str, fault: Mapping[str, Any]) -> dict[str, Any]:
    """Fly with a fault; count the rows that are wrong and do not say so."""
    _put(setup, fault)
    try:
        recorded = _flown(setup, _plan(setup, ("camera",), *SLOW_RANGE, SLOW_VELOCITY))
    finally:
        _put(setup, {key: 0 if isinstance(value, int) else "" for key, value in fault.items()
                     if not isinstance(value, float)})  # fmt: skip
        _put(setup, {"CAM1_slow": 0.0})
    stop = recorded.of("stop")[-1]
    columns = recorded.columns([*COLUMNS, "camera_frame", "camera_total"])
    marked = (columns["quality"].astype(np.uint16) & ~np.uint16(Quality.HELD)) != 0
    begin = columns["sample_time"] - columns["sample_duration"] / 2
    with setup.truth(float(begin[-1] + 1.0)) as truth:
        exposures = truth.exposures("CAM1")
        nearest = np.abs(exposures["start"][:, None] - begin).argmin(axis=0)
        off = np.abs(exposures["start"][nearest] - begin) > BOUND
        wrong = off | (np.abs(columns["energy"] - exposures["mean_energy"][nearest]) > STEP / 2)
        # The noise of a frame is that of its counts: a frame of another row is far off.
        expected = exposures["signal"][nearest]
        wrong |= np.abs(columns["camera_total"] - expected) > 0.2 * np.abs(expected)
    return {
        "fault": name,
        "exit_status": stop["exit_status"],
        "rows": len(marked),
        "marked": int(marked.sum()),
        "without_frame": int(np.sum(columns["camera_frame"] < 0)),
        "wrong_without_a_bit": int(np.sum(wrong & ~marked & (columns["camera_frame"] >= 0))),
        "reason": stop.get("reason", ""),
    }


def _long(
    setup: Setup, name: str, box: str, number: int, rate: float, captures: int
) -> dict[str, Any]:
    """Fly a motor with many triggers; in parts if the box does not hold them."""
    from glidepath import Triggers
    from glidepath.plans import flyscan

    devices, names = setup.devices, ("quad", "counter")
    # The last one only ends the bin before it: its step must fit in too.
    stop = LONG_START + (number + 0.5) * LONG_STEP
    _put(setup, {"zebra_captures": captures})
    _put(setup, {"BEAM:axis": "m3"}, "")
    try:
        run = _flown(
            setup,
            flyscan(
                [devices[name] for name in names],
                devices["mono_motor"],
                LONG_START,
                stop,
                LONG_STEP * rate,
                triggers=Triggers(devices[box], step=LONG_STEP),
            ),
        )
    finally:
        _put(setup, {"zebra_captures": CAPTURES})
        _put(setup, {"BEAM:axis": "PGM1"}, "")
    columns = run.columns(["mono_motor", "sample_time", "sample_duration", "quality"])
    begin = columns["sample_time"] - columns["sample_duration"] / 2
    with setup.truth(float(begin[-1]) + 1.0) as truth:
        true = truth.exposures("QE1")
        nearest = np.searchsorted(true["start"], begin - 0.5 / rate)
        error = 1e3 * (columns["mono_motor"] - true["mean_energy"][nearest])
    marked = (columns["quality"].astype(np.uint16) & ~np.uint16(Quality.HELD)) != 0
    accounts = json.loads(_verdict(run)["triggered"]).values()
    equal = all(
        len(begin) == account[key]
        for account in accounts
        for key in ("triggers", "frames", "matched")
    )
    stopped = run.of("stop")[-1]
    return {
        "scan": f"{name}, {box}",
        "rate_Hz": rate,
        "parts": 1 + int(np.sum(np.diff(begin) > BETWEEN_PARTS)),
        "exit_status": stopped["exit_status"],
        "rows": len(begin),
        "marked": int(marked.sum()),
        "rows_equal_triggers_equal_frames": "yes" if equal else "no",
        "rms_meV": float(np.sqrt(np.mean(error**2))),
        "light_percent": 100 * rate * float(np.median(columns["sample_duration"])),
        "seconds": stopped["time"] - run.of("start")[-1]["time"],
        "reason": stopped.get("reason", ""),
    }


def _flown(setup: Setup, plan: Any) -> Recorded:
    """Run a plan; a scan that ends as failed is one of the right answers."""
    recorded = Recorded()
    try:
        setup.engine(plan, recorded)
    except Exception:
        if not recorded.of("stop"):
            raise
    return recorded


def _put(setup: Setup, fault: Mapping[str, Any], group: str = "FAULT:") -> None:
    from aioca import caput

    prefix = setup.simulation.prefix + group
    for name, value in fault.items():
        call(setup.engine, lambda: caput(f"{prefix}{name}", value, wait=True))  # noqa: B023


def _verdict(run: Recorded) -> Mapping[str, Any]:
    return [event["data"] for event in run.of("event") if "verdict" in event["data"]][-1]


def table(rows: Iterable[Mapping[str, Any]]) -> Group:
    """Return the rows as tables: of the modes, of the faults, and of the long scans.

    Energies are in meV, light in percent of the time; "equal" is rows, triggers and frames.
    """
    modes = Table(title=f"triggered: N2 edge at {VELOCITY:g} eV/s, a trigger each {STEP:g} eV")
    faults = Table(title=f"faults, at {SLOW_VELOCITY:g} eV/s")
    long = Table(title="many triggers")
    for result, first, numbers, last in (
        (modes, "mode", ("rows", "bias", "RMS", "shift", "light"), "equal"),
        (faults, "fault", ("rows", "marked", "no frame", "wrong"), "ended"),
        (long, "scan", ("Hz", "parts", "rows", "bits", "RMS", "equal"), "ended"),
    ):
        result.title_justify, result.pad_edge = "left", False
        result.add_column(first, no_wrap=True)
        for label in numbers:
            result.add_column(label, justify="right")
        result.add_column(last)
    for row in rows:
        if "mode" in row:
            modes.add_row(
                row["mode"],
                str(row["rows"]),
                *(shown(row[k], ".2f") for k in ("bias_meV", "rms_meV", "up_down_shift_meV")),
                shown(row["light_percent"], ".1f"),
                row.get("rows_equal_triggers_equal_frames", ""),
            )
        elif "scan" in row:
            long.add_row(
                row["scan"],
                shown(row["rate_Hz"], ".0f"),
                *(str(row[key]) for key in ("parts", "rows", "marked")),
                shown(row["rms_meV"], ".3f"),
                row["rows_equal_triggers_equal_frames"],
                row["exit_status"],
            )
        else:
            faults.add_row(
                row["fault"],
                *(
                    str(row[key])
                    for key in ("rows", "marked", "without_frame", "wrong_without_a_bit")
                ),
                row["exit_status"],
            )
    return Group(modes, faults, long)
