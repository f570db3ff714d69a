"""Makes the page `docs/benchmarks.md` and its pictures from the results of `glidepath bench`.

Run ``python -m benchmarks.report results.json``.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from . import throughput

DOCS = Path(__file__).resolve().parents[1] / "docs"
FOLDER = "benchmarks"

Rows = Sequence[Mapping[str, Any]]

TEXTS = {
    "throughput": "Updates per second that each client takes, and the processor time it needs. The "
    "server posts as fast as it can ('flood'), or so many updates a second; each element of a "
    "waveform is one. `libca` is a C program: the limit. `sequential` reads one channel after the "
    "other, as the classic fly scan does. `glidepath-sampler` is the whole sampler with its file "
    "and its documents.",
    "storage": "The whole sampler with its file and its documents (`sampler`), and the file alone "
    "(`file`). The lag is that of a reader in another process.",
    "accuracy": "Recorded energy against the simulator's truth, in the direction of travel, "
    "and the shift of the first N2 line between a scan up and a scan down. `sequential` is a plan "
    "that polls as the classic BESSY one does (`benchmarks/sequential.py`). Bias and RMS are over "
    "all points of all repeats, each with another phase between exposures and motion; the shift is "
    "the median of its absolute values.",
    "tracking": "Distance of the true harmonic to the true energy while monochromator and "
    "undulator fly as separate axes, the gap in straight pieces, against what the pre-flight "
    "predicted. One piece is the linear gap. The offset of the undulator's table was measured "
    "before, by scans over the harmonic at two gaps. `default`: as few pieces as keep the bound. "
    "The last column is the recorded `tracking_error` against the truth.",
    "triggered": "A range flown with hardware triggers (camera, fast electrometer, counter) from a "
    "Zebra and from a PandA, sampled, and polled; then triggered scans with faults: how many rows "
    "carry a bit, and how many are wrong without one; then 5 000 triggers at 1 kHz, and 20 000 "
    "rows, which the box does not hold at once, for the electrometer and the counter.",
    "overhead": "Fixed time of a sampled scan without motion, per phase (ms): what a scan costs "
    "beyond its flight. `staged`: every channel is a device of ophyd-async that has a monitor of "
    "its own while it is staged.",
    "document_counts": "Documents of a short and a long scan, and what a reader in another process "
    "saw through Tiled while the scan ran.",
    "documents": "What the run engine pays per document with Tiled subscribed, and how much the "
    "writing process grows.",
    "readback": "A run of 1e7 rows with twelve columns, read with h5py and through Tiled, and one "
    "detector of it rebinned from the raw streams (read through Tiled too).",
    "views": "How old a row is when a view shows it for the first time: from the end of its "
    "exposure to the end of the drawing (terminal, matplotlib), to the message to the browser "
    "(widget), to the bytes of another process's terminal (`glidepath live`), or to the values "
    "that Tiled's own streaming has pushed and a client has fetched. Beside it what the view and "
    "the scan's process cost, and what the scan is worth with it and without.",
    "cold_start": "From Enter to the axis moving, and from the axis standing to the prompt; the "
    "run is in Tiled some seconds later, brought by the process that the command leaves behind.",
    "lookback": "From a command to its end, in a data directory of so many runs; the first list of "
    "all makes the index.",
    "catalogue": "Runs found among ten thousand, each with a stream of four columns, and the "
    "newest 20 of what was found fetched: through Tiled with its catalogue in a file (SQLite) and "
    "in PostgreSQL on the same machine, with Tiled's own indexes and with those that a local "
    "server adds; and by `glidepath runs`, which reads its journals.",
    "exports": "Each format of a run with three detectors and all raw updates, and the whole "
    "process that a session starts when a run stops. NeXus links the data; CSV holds the table; a "
    "crate holds everything. Then scans of 2 s that follow each other at once.",
    "rebin": "Rebinning 1e6 updates of each of 20 channels.",
}


def page(results: Mapping[str, Any]) -> str:
    """Return the page as Markdown, and write its pictures beside it."""
    environment = results["environment"]
    grouped: dict[str, list[Mapping[str, Any]]] = {}
    for row in results["results"]:
        grouped.setdefault(row["benchmark"], []).append(row)
    versions = ", ".join(f"{name} {v}" for name, v in environment["versions"].items() if v)
    parts = [
        "# Benchmarks",
        "What Glidepath costs and how exact it is, beside its peers measured in the same run. "
        "Ratios within one table hold; absolute figures are those of one small machine: "
        f"{environment['cpu_count']} cores shared by servers and clients, "
        f"Python {environment['python']}, {environment['date'][:10]}.",
        "To measure yours: `glidepath bench --json results.json` in a checkout, and "
        "`python -m benchmarks.report results.json` for this page.",
    ]
    for name, text in TEXTS.items():
        if name in grouped:
            parts += [f"## {name.replace('_', ' ').capitalize()}", text]
            drawing = DRAWINGS.get(name)
            if drawing is not None:
                drawing(grouped[name], DOCS / FOLDER / f"{name}.png")
                parts.append(f"![{name}]({FOLDER}/{name}.png)")
            parts.append(table(grouped[name]))
        if name == "throughput" and name in grouped:
            parts += ["Ratios of the same run:", table(throughput.ratios(grouped[name]))]
    parts.append(f"Versions: {versions}.")
    return "\n\n".join(parts) + "\n"


def table(rows: Rows) -> str:
    """Return rows as a Markdown table with all keys that occur."""
    keys = list(dict.fromkeys(key for row in rows for key in row if key != "benchmark"))
    keys = [key for key in keys if not all(isinstance(row.get(key), dict | list) for row in rows)]
    lines = ["| " + " | ".join(keys) + " |", "|" + "---|" * len(keys)]
    lines += ["| " + " | ".join(_text(row.get(key)) for key in keys) + " |" for row in rows]
    return "\n".join(lines)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"
    return str(value).replace("|", "/")


def draw_throughput(rows: Rows, path: Path) -> None:
    """Bars of updates per second at flood, one group for each number of channels."""
    flood = [row for row in rows if "flood" in str(row.get("posted", "flood"))]
    paths = list(dict.fromkeys(row["path"] for row in flood))
    channels = sorted({row["channels"] for row in flood})
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(channels)
    for group, number in enumerate(channels):
        values = [
            next(
                (r["updates_per_s"] for r in flood if (r["path"], r["channels"]) == (p, number)), 0
            )
            for p in paths
        ]
        places = np.arange(len(paths)) + (group - (len(channels) - 1) / 2) * width
        axes.bar(places, values, width, label=f"{number} channels")
    axes.set(yscale="log", ylabel="updates per second")
    axes.set_xticks(range(len(paths)), paths, rotation=20, ha="right")
    axes.legend()
    figure.savefig(path, dpi=110)


def draw_accuracy(rows: Rows, path: Path) -> None:
    """RMS energy error against velocity."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    settings = dict.fromkeys(
        (row["mode"], row["readback_Hz"], row.get("arrival_delay_s", 0.0)) for row in rows
    )
    for mode, rate, delay in settings:
        chosen = sorted(
            (r["velocity_eV_per_s"], r["rms_meV"])
            for r in rows
            if (r["mode"], r["readback_Hz"], r.get("arrival_delay_s", 0.0)) == (mode, rate, delay)
            and r["rms_meV"] is not None
        )
        late = f", {delay:g} s late" if delay else ""
        axes.plot(
            *zip(*chosen, strict=True),
            "o-" if mode == "sampled" else "s--",
            label=f"{mode}, {rate:g} Hz{late}",
        )
    axes.set(xscale="log", yscale="log", xlabel="velocity (eV/s)", ylabel="RMS energy error (meV)")
    velocities = sorted({row["velocity_eV_per_s"] for row in rows})
    axes.set_xticks(velocities, [f"{velocity:g}" for velocity in velocities])
    axes.minorticks_off()
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def draw_tracking(rows: Rows, path: Path) -> None:
    """Mismatch over the range of one undulator; largest mismatch against pieces, of all."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    over, largest = figure.subplots(1, 2)
    first = rows[0]["undulator"]
    for row in rows:
        if row["undulator"] == first:
            label = f"{row['segments']}{' (default)' if row['default'] else ''}"
            energy, off = np.array(row["mismatch_curve"]).T
            over.plot(energy, off, label=label, lw=2 if row["default"] else 1)
    over.set(
        xlabel="energy (eV)",
        ylabel="harmonic - energy (eV)",
        title=f"{first}, by pieces of the gap",
    )
    over.legend(fontsize=8)
    for undulator in dict.fromkeys(row["undulator"] for row in rows):
        own = [row for row in rows if row["undulator"] == undulator]
        points = sorted((row["segments"], row["measured_percent_of_width"]) for row in own)
        (line,) = largest.plot(*zip(*points, strict=True), "o-", label=undulator)
        for row in own:
            if row["default"]:
                place = (row["segments"], row["measured_percent_of_width"])
                largest.plot(*place, "s", ms=10, mfc="none", color=line.get_color())
    largest.axhline(rows[0]["bound_percent"], color="0.4", ls=":", label="bound")
    largest.set(
        xscale="log",
        yscale="log",
        xlabel="pieces of the gap (square: default)",
        ylabel="largest mismatch (% of 1/(nN))",
    )
    pieces = sorted({row["segments"] for row in rows})
    largest.set_xticks(pieces, [str(number) for number in pieces])
    largest.minorticks_off()
    largest.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def draw_overhead(rows: Rows, path: Path) -> None:
    """Stacked bars: time per phase, for each number of channels."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    labels = [f"{row['channels']}{' staged' * row['staged']}" for row in rows]
    bottom = np.zeros(len(rows))
    phases = [
        key
        for key in rows[0]
        if key.endswith("_ms") and not key.startswith(("total", "cpu")) and key != "cpu_ms"
    ]
    for phase in phases:
        values = np.array([row[phase] or 0.0 for row in rows])
        axes.bar(labels, values, bottom=bottom, label=phase.removesuffix("_ms"))
        bottom += values
    axes.set(xlabel="channels", ylabel="time (ms)")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)


DRAWINGS = {
    "throughput": draw_throughput,
    "accuracy": draw_accuracy,
    "tracking": draw_tracking,
    "overhead": draw_overhead,
}


def main(results: Path) -> None:
    """Write the page and its pictures."""
    (DOCS / FOLDER).mkdir(exist_ok=True)
    (DOCS / "benchmarks.md").write_text(page(json.loads(results.read_text())))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
