"""Runs on another grid of energies: from the raw streams, never from the rows of the table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glidepath.catalog.errors import CatalogError
from glidepath.catalog.runs import read_primary, read_raw
from glidepath.timeline import (
    Channel,
    ChannelKind,
    DelayEstimate,
    Pass,
    estimate_delay,
    rebin_energy,
)

Floats = NDArray[np.float64]

TOLERANCE = 1e-3
"""Seconds by which an exposure may reach beyond the first or last row: timestamps jitter."""


@dataclass(frozen=True)
class Rebinned:
    """A run on a grid of m bins of energy.

    Attributes
    ----------
    columns
        Arrays of shape (m,): ``<axis>_lower``, ``<axis>_upper`` (the bin), and for each detector
        ``<detector>``, ``<detector>_count``, ``<detector>_error``, ``<detector>_time``,
        ``<detector>_<axis>``: mean, effective number of exposures, standard error of the mean,
        time that exposures were open in the bin (s), and the mean energy meanwhile.
    """

    axis: str
    columns: dict[str, Floats]


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


def rebin_run(run: Any, edges: Floats, detectors: Sequence[str] | None = None) -> Rebinned:
    """Bring the detectors of a run onto bins of energy.

    Parameters
    ----------
    run
        A run of a catalogue.
    edges
        Shape (m + 1,), rising (eV); see `uniform_grid` and `xas_grid`.
    detectors
        Names of channels that integrate. None: all of the run's.

    Raises
    ------
    CatalogError
        If the run has no such channel, or it does not integrate.
    """
    axis = run.metadata["start"]["motors"][0]
    axis_channel = read_channel(run, axis)
    times, energies = read_raw(run, axis)
    if detectors is None:
        streams = [name for name in run if name not in ("primary", "baseline", "verdict")]
        channels = [read_channel(run, name) for name in streams]
        chosen = [channel for channel in channels if channel.kind is ChannelKind.DETECTOR]
    else:
        chosen = [read_channel(run, name) for name in detectors]
    if not chosen:
        raise CatalogError(f"Run {run.metadata['start']['uid']} has no detector to rebin.")
    # The flight only: before and after it the raw streams hold other things.
    rows = read_primary(run, ["sample_time", "sample_duration"])
    if not len(rows["sample_time"]):
        raise CatalogError(f"Run {run.metadata['start']['uid']} has no rows to rebin.")
    half = 0.5 * rows["sample_duration"]
    begin = rows["sample_time"][0] - half[0] - TOLERANCE
    end = rows["sample_time"][-1] + half[-1] + TOLERANCE
    columns: dict[str, Floats] = {f"{axis}_lower": edges[:-1], f"{axis}_upper": edges[1:]}
    for channel in chosen:
        stamps, values = read_raw(run, channel.name)
        closed = stamps - channel.latency
        inside = (closed - channel.aperture >= begin) & (closed <= end)
        bins = rebin_energy(
            times,
            energies,
            channel,
            stamps[inside],
            values[inside],
            edges,
            axis_latency=axis_channel.latency,
        )
        columns[channel.name] = bins.mean
        columns[f"{channel.name}_count"] = bins.count
        columns[f"{channel.name}_error"] = bins.standard_error
        columns[f"{channel.name}_time"] = bins.exposure_time
        columns[f"{channel.name}_{axis}"] = bins.energy
    return Rebinned(axis, columns)


def estimate_run_delay(
    up: Any, down: Any, signal: str, reference: str | None = None
) -> DelayEstimate:
    """Return how late a detector is, from a scan up and a scan down over the same spectrum.

    Parameters
    ----------
    up, down
        Two runs of a catalogue over a common range, in opposite directions.
    signal
        Column of the detector.
    reference
        Column that the signal is divided by, such as the mesh; None: nothing.

    Returns
    -------
    DelayEstimate
        Its ``delay`` (s) is to be added to the ``latency`` of the detector's device.

    Raises
    ------
    CatalogError
        If both runs fly in the same direction.
    """
    directions = []
    passes = []
    for run in (up, down):
        start = run.metadata["start"]
        axis = start["motors"][0]
        arguments = start["plan_args"]
        directions.append(arguments["stop"] > arguments["start"])
        columns = read_primary(run, [axis, signal] + ([reference] if reference else []))
        values = columns[signal]
        if reference:
            with np.errstate(divide="ignore", invalid="ignore"):
                values = values / columns[reference]
        passes.append(Pass(columns[axis], values, arguments["velocity"]))
    if directions[0] == directions[1]:
        raise CatalogError(
            "Both runs fly in the same direction, which tells nothing of the delay; "
            "name one that flies up and one that flies down."
        )
    if not directions[0]:
        passes.reverse()
    return estimate_delay(*passes)


def write_rebinned(client: Any, run: Any, rebinned: Rebinned, name: str) -> str:
    """Put a rebinned run into the catalogue; return its path there.

    It becomes a table in the container ``rebinned/<uid of the run>``, beside the runs: what is
    derived can be made again, a run cannot.

    Raises
    ------
    CatalogError
        If there is a table of this name already.
    """
    import pandas

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
        metadata={"run": uid, "scan_id": run.metadata["start"]["scan_id"], "axis": rebinned.axis},
    )
    return f"rebinned/{uid}/{name}"


__all__ = ["Rebinned", "estimate_run_delay", "read_channel", "rebin_run", "write_rebinned"]
