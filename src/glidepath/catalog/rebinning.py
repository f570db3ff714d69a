"""Runs on another grid of energies: from the raw streams, never from the rows of the table."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glidepath.catalog.errors import CatalogError
from glidepath.catalog.runs import read_primary, read_raw
from glidepath.timeline import (
    HARMLESS,
    Channel,
    ChannelKind,
    DelayEstimate,
    Pass,
    Quality,
    bits_per_bin,
    estimate_delay,
    good_rows,
    rebin_energy,
)

Floats = NDArray[np.float64]

NOT_CHANNELS = ("primary", "baseline", "verdict", "decisions")
"""Streams of a run that hold no updates of a channel."""


@dataclass(frozen=True)
class Rebinned:
    """A run on a grid of m bins of energy.

    Attributes
    ----------
    axis
        Name of the axis.
    columns
        Arrays of shape (m,): ``<axis>_lower``, ``<axis>_upper`` (the bin), for each detector
        ``<detector>``, ``<detector>_count``, ``<detector>_error``, ``<detector>_time``,
        ``<detector>_<axis>``: mean, effective number of exposures, standard error of the mean,
        time that exposures were open in the bin (s; NaN for a detector that does not say how
        long an exposure is), and the mean energy meanwhile; and
        ``quality`` (uint16): the bits of the rows that went into the bin, or, where none did, of
        those that were left out.
    units
        Unit of each column that has one.
    rows, rows_used
        How many rows the run has, and how many of them were good enough.
    """

    axis: str
    columns: dict[str, NDArray]
    units: dict[str, str] = field(default_factory=dict)
    rows: int = 0
    rows_used: int = 0


def read_channel(run: Any, name: str) -> Channel:
    """Return the definition of a channel as it was when the run was made.

    Raises
    ------
    CatalogError
        If the run has no raw stream of this name.
    """
    if name not in list(run):
        raise CatalogError(
            f"Run {run.metadata['start']['uid']} has no raw stream {name!r}; "
            f"its streams are {', '.join(run)}."
        )
    configuration = run[name].metadata.get("configuration", {}).get(name, {}).get("data")
    if not configuration:
        raise CatalogError(
            f"The stream {name!r} of run {run.metadata['start']['uid']} does not say what its "
            "values mean: it is no raw stream of a glidepath scan."
        )
    return Channel(
        name,
        ChannelKind(configuration[f"{name}_kind"]),
        latency=configuration[f"{name}_latency"],
        aperture=configuration[f"{name}_aperture"],
    )


def axis_unit(run: Any) -> str:
    """Return the unit of the axis that a run has flown; empty if the run does not say."""
    return _units(run).get(_axis(run), "")


def rebin_run(
    run: Any,
    edges: Floats,
    detectors: Sequence[str] | None = None,
    *,
    accept: Quality = HARMLESS,
) -> Rebinned:
    """Bring the detectors of a run onto bins of energy.

    Only what was exposed while a good row was open counts: no run-up, no way back, no pause, no
    row without beam. So the time in the bins is that of the rows.

    Parameters
    ----------
    run
        A run of a catalogue.
    edges
        Shape (m + 1,), rising, in the unit of the axis; see `uniform_grid` and `xas_grid`.
    detectors
        Names of channels that integrate. None: all of the run's.
    accept
        Bits that the rows may have; `EVERYTHING` takes all rows.

    Raises
    ------
    CatalogError
        If the run has no such channel or no rows, or the channel does not integrate.
    """
    axis = _axis(run)
    axis_channel = read_channel(run, axis)
    chosen = _detectors(run, detectors)
    rows = _read_rows(run, axis)
    good = good_rows(rows["quality"], accept)
    half = 0.5 * rows["sample_duration"]
    windows = rows["sample_time"] - half, rows["sample_time"] + half
    times, energies = read_raw(run, axis)
    columns: dict[str, NDArray] = {f"{axis}_lower": edges[:-1], f"{axis}_upper": edges[1:]}
    for channel in chosen:
        bins = rebin_energy(
            times,
            energies,
            channel,
            *read_raw(run, channel.name),
            edges,
            axis_latency=axis_channel.latency,
            windows=(windows[0][good], windows[1][good]),
        )
        columns[channel.name] = bins.mean
        columns[f"{channel.name}_count"] = bins.count
        columns[f"{channel.name}_error"] = bins.standard_error
        columns[f"{channel.name}_time"] = bins.exposure_time
        columns[f"{channel.name}_{axis}"] = bins.energy
    filled = np.any([columns[f"{channel.name}_count"] > 0 for channel in chosen], axis=0)
    ends = rows[f"{axis}_lower"], rows[f"{axis}_upper"]
    used, left_out = (
        bits_per_bin(rows["quality"][which], ends[0][which], ends[1][which], edges)
        for which in (good, ~good)
    )
    columns["quality"] = np.where(filled, used, left_out)
    units = _units_of_columns(axis, chosen, _units(run))
    return Rebinned(axis, columns, units, len(good), int(np.count_nonzero(good)))


def _axis(run: Any) -> str:
    motors = run.metadata["start"].get("motors")
    if not motors:
        raise CatalogError(f"Run {run.metadata['start']['uid']} does not say which axis it flew.")
    return str(motors[0])


def _detectors(run: Any, names: Sequence[str] | None) -> list[Channel]:
    if names is not None:
        return [read_channel(run, name) for name in names]
    channels = [read_channel(run, name) for name in run if name not in NOT_CHANNELS]
    found = [channel for channel in channels if channel.kind is ChannelKind.DETECTOR]
    if not found:
        raise CatalogError(f"Run {run.metadata['start']['uid']} has no detector to rebin.")
    return found


def _read_rows(run: Any, axis: str) -> dict[str, NDArray]:
    """Read what tells when the rows were open, where, and how good they are."""
    names = [f"{axis}_lower", f"{axis}_upper", "sample_time", "sample_duration", "quality"]
    known = _data_keys(run)
    rows = read_primary(run, [axis, *(name for name in names if name in known)])
    if not len(rows["sample_time"]):
        raise CatalogError(f"Run {run.metadata['start']['uid']} has no rows to rebin.")
    for name in names[:2]:
        rows.setdefault(name, rows[axis])
    rows.setdefault("quality", np.zeros(len(rows[axis]), np.uint16))
    return rows


def _data_keys(run: Any) -> dict[str, Any]:
    return dict(run["primary"].metadata.get("data_keys", {})) if "primary" in list(run) else {}


def _units(run: Any) -> dict[str, str]:
    return {name: key.get("units") or "" for name, key in _data_keys(run).items()}


def _units_of_columns(
    axis: str, channels: Sequence[Channel], units: dict[str, str]
) -> dict[str, str]:
    found = {f"{axis}_lower": axis, f"{axis}_upper": axis}
    for channel in channels:
        found |= {channel.name: channel.name, f"{channel.name}_error": channel.name}
        found[f"{channel.name}_{axis}"] = axis
    result = {column: units.get(source, "") for column, source in found.items()}
    result |= {f"{channel.name}_time": "s" for channel in channels}
    return {column: unit for column, unit in result.items() if unit}


MOST_SPREAD = 0.05
"""Relative difference of the velocities of regions within which a flight has one velocity."""


def estimate_run_delay(
    up: Any, down: Any, signal: str, reference: str | None = None, *, accept: Quality = HARMLESS
) -> DelayEstimate:
    """Return how late a detector is, from a scan up and a scan down over the same spectrum.

    Only good rows count. Which way each was flown, and how fast, the rows themselves tell: a run
    of passes there and back can be given twice.

    Parameters
    ----------
    up, down
        Two runs of a catalogue over a common range, in opposite directions.
    signal
        Column of the detector.
    reference
        Column that the signal is divided by, such as the mesh; None: nothing.
    accept
        Bits that the rows may have.

    Returns
    -------
    DelayEstimate
        Its ``delay`` (s) is to be added to the ``latency`` of the detector's device.

    Raises
    ------
    CatalogError
        If all rows were flown in the same direction, none is good, or the velocity changes.
    ValueError
        If the spectra have too little in common, see `estimate_delay`.
    """
    flown = [_flown_rows(up, signal, reference, accept)]
    if down.metadata["start"]["uid"] != up.metadata["start"]["uid"]:
        flown.append(_flown_rows(down, signal, reference, accept))
    energy, values, velocity, region = (np.concatenate(c) for c in zip(*flown, strict=True))
    if not len(energy):
        raise CatalogError("The runs have no good rows; see the bits of their column 'quality'.")
    if np.all(velocity > 0) or np.all(velocity < 0):
        raise CatalogError(
            "Both runs fly in the same direction, which tells nothing of the delay; "
            "name one that flies up and one that flies down."
        )
    passes = []
    for which in (velocity > 0, velocity < 0):
        # Medians: from row to row an encoder's noise is in the velocity.
        speed = np.median(np.abs(velocity[which]))
        parts = [which & (region == number) for number in np.unique(region[which])]
        speeds = [np.median(np.abs(velocity[part])) for part in parts]
        if max(speeds) - min(speeds) > MOST_SPREAD * speed:
            raise CatalogError(
                "The velocity changes from region to region, so the runs tell no single delay; "
                "name runs of one velocity."
            )
        passes.append(Pass(energy[which], values[which], float(speed)))
    return estimate_delay(*passes)


def _flown_rows(
    run: Any, signal: str, reference: str | None, accept: Quality
) -> tuple[Floats, Floats, Floats, NDArray]:
    """Return energy, signal, velocity (with its sign) and region of the good rows of a run."""
    axis = _axis(run)
    wanted = [axis, signal, "sample_time", *([reference] if reference else [])]
    parts = [n for n in ("quality", "pass_number", "region_number") if n in _data_keys(run)]
    rows = read_primary(run, [*wanted, *parts])
    energy, values = rows[axis], rows[signal].astype(float)
    if reference:
        with np.errstate(divide="ignore", invalid="ignore"):
            values = values / rows[reference]
    velocity = np.full(len(energy), np.nan)
    if len(energy) > 1:
        step = np.diff(energy) / np.diff(rows["sample_time"])
        # From one flight to the next there is a way back in between.
        for name in parts[1:]:
            step[np.diff(rows[name].astype(int)) != 0] = np.nan
        velocity[:-1] = step
        velocity[1:] = np.where(np.isfinite(velocity[1:]), velocity[1:], step)
    good = np.isfinite(velocity) & (velocity != 0)
    if "quality" in rows:
        good &= good_rows(rows["quality"], accept)
    region = rows.get("region_number", np.zeros(len(energy), int))
    return energy[good], values[good], velocity[good], region[good]


def write_rebinned(client: Any, run: Any, rebinned: Rebinned, name: str) -> str:
    """Put a rebinned run into the catalogue; return its path there.

    It becomes a table in the container ``rebinned/<uid of the run>``, beside the runs: what is
    derived can be made again, a run cannot.

    Raises
    ------
    CatalogError
        If there is a table of this name already, or the name cannot be one.
    """
    import pandas

    check_table_name(name)

    uid = run.metadata["start"]["uid"]
    parent = client
    for key in ("rebinned", uid):
        parent = parent[key] if key in parent else parent.create_container(key)
    if name in parent:
        raise CatalogError(
            f"Run {uid} has a table {name!r} already; choose another name or another grid."
        )
    parent.write_table(
        pandas.DataFrame(rebinned.columns),
        key=name,
        metadata={
            "run": uid,
            "scan_id": run.metadata["start"].get("scan_id"),
            "axis": rebinned.axis,
            "units": rebinned.units,
        },
    )
    return f"rebinned/{uid}/{name}"


def check_table_name(name: str) -> None:
    """Raise if a table cannot have this name.

    Raises
    ------
    CatalogError
        It is empty, or has characters with a meaning in addresses.
    """
    if not re.fullmatch(r"\w[\w .+-]{0,99}", name):
        raise CatalogError(
            f"{name!r} cannot be the name of a table; use letters, digits, blanks and any of "
            "_ . + - in it, beginning with a letter or a digit."
        )


__all__ = [
    "Rebinned",
    "axis_unit",
    "check_table_name",
    "estimate_run_delay",
    "read_channel",
    "rebin_run",
    "write_rebinned",
]
