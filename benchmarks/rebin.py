"""How long rebinning takes: 20 channels of 1e6 updates, next to numpy's own one-liners.

All cases run in turn, several times, in one process; the medians are comparable with each
other, not with those of another machine.
"""

import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from glidepath.timeline import (
    Channel,
    ChannelKind,
    rebin_energy,
    rebin_windows,
    uniform_grid,
)

from .tables import compact

__all__ = ["main", "rows", "table"]

UPDATES = 1_000_000
QUICK_UPDATES = 50_000
CHANNELS = 20
ROWS = 2000
REPEATS = 3
EPOCH = 1.7e9


class Streams:
    """One axis at 1 kHz and ``channels`` further ones, each on a clock of its own."""

    def __init__(self, updates: int, channels: int) -> None:
        rng = np.random.default_rng(1)
        self.t = EPOCH + 1e-3 * np.arange(updates)
        seconds = 1e-3 * updates
        self.energy = 370 + 100 * np.arange(updates) / updates
        self.energy += 5e-4 * rng.normal(size=updates)
        self.times = [self.t + 1e-3 * rng.uniform(0.05, 0.95) for _ in range(channels)]
        self.values = [rng.normal(5, 1, updates) for _ in range(channels)]
        self.axis = Channel("energy", ChannelKind.READBACK, "eV")
        self.readbacks = [Channel(f"readback{k}", ChannelKind.READBACK) for k in range(channels)]
        self.detectors = [
            Channel(f"detector{k}", ChannelKind.DETECTOR, aperture=1e-3) for k in range(channels)
        ]
        self.window_edges = EPOCH + np.linspace(0.01, 0.99, ROWS + 1) * seconds
        self.energy_edges = uniform_grid(370, 470, 0.05)


def rows_of_readbacks(s: Streams) -> None:
    """Time-weighted means of interpolated readbacks."""
    _windows(s, s.readbacks)


def rows_of_detectors(s: Streams) -> None:
    """Overlap-weighted means of exposures, with counts."""
    _windows(s, s.detectors)


def _windows(s: Streams, channels: list[Channel]) -> None:
    streams = {s.axis: (s.t, s.energy)}
    streams.update(zip(channels, zip(s.times, s.values, strict=True), strict=True))
    rebin_windows(streams, "energy", s.window_edges[:-1], s.window_edges[1:])


def energies_of_detectors(s: Streams) -> None:
    """Exposures spread over bins of energy, with standard errors."""
    for channel, times, values in zip(s.detectors, s.times, s.values, strict=True):
        rebin_energy(s.t, s.energy, channel, times, values, s.energy_edges)


def peer_interp(s: Streams) -> None:
    """np.interp of every channel onto the axis's timebase (point values, no means)."""
    for times, values in zip(s.times, s.values, strict=True):
        np.interp(s.t, times, values)


def peer_bincount(s: Streams) -> None:
    """np.bincount by energy, as if all channels had the axis's timebase (plain means)."""
    bins = np.searchsorted(s.energy_edges, s.energy, "right")
    count = np.bincount(bins, minlength=len(s.energy_edges) + 1)
    for values in s.values:
        np.bincount(bins, values, len(s.energy_edges) + 1) / np.maximum(count, 1)


def peer_interp_bincount(s: Streams) -> None:
    """np.interp of the energy at each update's timestamp, then np.bincount (plain means)."""
    for times, values in zip(s.times, s.values, strict=True):
        bins = np.searchsorted(s.energy_edges, np.interp(times, s.t, s.energy), "right")
        count = np.bincount(bins, minlength=len(s.energy_edges) + 1)
        np.bincount(bins, values, len(s.energy_edges) + 1) / np.maximum(count, 1)


CASES: dict[str, Callable[[Streams], None]] = {
    "rebin_windows, readbacks": rows_of_readbacks,
    "rebin_windows, detectors": rows_of_detectors,
    "rebin_energy, detectors": energies_of_detectors,
    "np.interp": peer_interp,
    "np.bincount, common timebase": peer_bincount,
    "np.interp + np.bincount": peer_interp_bincount,
}


def rows(quick: bool = False) -> list[dict[str, Any]]:
    """Return one row per case: median and extremes of the repeats (s), and ns per update."""
    updates = QUICK_UPDATES if quick else UPDATES
    streams = Streams(updates, CHANNELS)
    times: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(REPEATS):
        for name, case in CASES.items():
            begin = time.perf_counter()
            case(streams)
            times[name].append(time.perf_counter() - begin)
    return [
        {
            "case": name,
            "what": str(CASES[name].__doc__),
            "updates": updates,
            "channels": CHANNELS,
            "repeats": REPEATS,
            "median_s": float(np.median(seconds)),
            "fastest_s": min(seconds),
            "slowest_s": max(seconds),
            "ns_per_update": float(np.median(seconds)) / (updates * CHANNELS) * 1e9,
        }
        for name, seconds in times.items()
    ]


def table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Return the rows as a table."""
    labels = ["updates", "channels", "median s", "fastest s", "slowest s", "ns /update"]
    result = compact("rebin: tables from raw streams", ["case"], labels)
    for row in rows:
        seconds = (f"{row[f'{which}_s']:.3f}" for which in ("median", "fastest", "slowest"))
        numbers = str(row["updates"]), str(row["channels"])
        result.add_row(row["case"], *numbers, *seconds, f"{row['ns_per_update']:.1f}")
    return result


def main(json_file: str | Path | None = None) -> None:
    """Print the table; write the rows to ``json_file`` too, if one is named."""
    measured = rows()
    Console().print(table(measured))
    if json_file is not None:
        Path(json_file).write_text(json.dumps(measured, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:2])
