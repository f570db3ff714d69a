"""`glidepath rebin`: a run on another grid of energies, from its raw updates."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from .errors import errors_as_sentences
from .fly import catalogue
from .options import DataOption, TiledOption, data_and_tiled
from .replay import ON_ITS_WAY_TIMEOUT

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Grid(StrEnum):
    """How the bins are spaced."""

    UNIFORM = "uniform"
    XAS = "xas"


def rebin(
    run: Annotated[
        str,
        typer.Argument(
            help="Uid (or its beginning), scan number, -1 for the newest run, or a run's folder."
        ),
    ] = "-1",
    step: Annotated[
        float | None,
        typer.Option(
            help="Width of a bin, in the axis's unit; near the edge for xas. "
            "Default: 0.05 eV, or as much in keV."
        ),
    ] = None,
    grid: Annotated[Grid, typer.Option(help="Equal widths, or as for absorption spectra.")] = (
        Grid.UNIFORM
    ),
    edge: Annotated[
        float | None, typer.Option(help="Absorption edge, in the axis's unit, for the grid xas.")
    ] = None,
    start: Annotated[
        float | None, typer.Option(help="Begin, in the axis's unit. Default: the run's.")
    ] = None,
    stop: Annotated[
        float | None, typer.Option(help="End, in the axis's unit. Default: the run's.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="CSV file to write. Default: standard output.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Also put the table into Tiled, under this name.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Take rows with quality bits, too, such as lost beam.")
    ] = False,
    data: DataOption = None,
    tiled: TiledOption = None,
) -> None:
    """Bring the detectors of a run onto bins of energy: mean, count, standard error, time.

    Only what was measured in good rows counts. The column quality has the bits of each bin.
    """
    from glidepath.catalog import rebin_run, write_rebinned
    from glidepath.catalog.rebinning import check_table_name
    from glidepath.timeline import EVERYTHING, HARMLESS

    said = Console(stderr=True, highlight=False, emoji=False)
    with errors_as_sentences():
        if grid is Grid.XAS and edge is None:
            raise ValueError("The grid xas needs the absorption edge; give it with --edge.")
        if name is not None:
            check_table_name(name)
        if output is not None and output.exists():
            raise ValueError(f"{output} exists already; choose another name for the CSV file.")
        if name is not None and Path(run).is_dir():
            raise ValueError(
                "A table goes into Tiled beside its run, which a folder is not; leave out --name, "
                "or name the run by its number."
            )
        with _found(run, tiled, data) as (client, found):
            edges = _edges(found, grid, step, edge, start, stop)
            result = rebin_run(found, edges, accept=EVERYTHING if every else HARMLESS)
            _write(result.columns, output, result.units)
            left_out = result.rows - result.rows_used
            if left_out:
                said.print(
                    f"{left_out} of {result.rows} rows have quality bits and are left out; "
                    "--all takes them, too.",
                    soft_wrap=True,
                )
            if name is not None:
                place = write_rebinned(client, found, result, name)
                said.print(f"In Tiled: {place}", soft_wrap=True)
        if output is not None:
            said.print(f"{len(edges) - 1} bins in {output}", soft_wrap=True)


@contextmanager
def _found(run: str, tiled: str | None, data: Path | None) -> Iterator[tuple[Any, Any]]:
    """Give the catalogue and the run in it; None and the run if the run is a folder."""
    from glidepath.catalog import load_run
    from glidepath.catalog.left_behind import wait_for_all

    if Path(run).is_dir():
        yield None, load_run(Path(run))
        return
    root, address = data_and_tiled(data, tiled)
    # What was flown a moment ago may still be on its way.
    wait_for_all(root, ON_ITS_WAY_TIMEOUT)
    with catalogue(address, root) as connect:
        client = connect()
        try:
            found = load_run(client, run)
            try:
                yield client, found
            except Exception as error:
                _check_files(root, found, error)
                raise
        finally:
            client.context.http_client.close()


def _check_files(root: Path, run: Any, error: Exception) -> None:
    """Refuse a run of the data directory that lacks a file, which a server calls an error 500.

    Raises
    ------
    ValueError
        If a file is missing.
    """
    from glidepath.lookback import RunNotFoundError, StoredRun

    try:
        stored = StoredRun.of(root, run.metadata["start"]["uid"])
    except RunNotFoundError:
        # The catalogue is that of another data directory.
        return
    stored.check_files(error=error)


def _edges(
    run: Any,
    grid: Grid,
    step: float | None,
    edge: float | None,
    start: float | None,
    stop: float | None,
) -> "NDArray[np.float64]":
    """Return the edges of the bins, shape (m + 1,), in the unit of the run's axis."""
    from glidepath.catalog import axis_unit
    from glidepath.timeline import default_step, uniform_grid, xas_grid

    asked = run.metadata["start"].get("preflight", {})
    low = start if start is not None else asked.get("start")
    high = stop if stop is not None else asked.get("stop")
    if low is None or high is None:
        raise ValueError("This run does not say its range; give it with --start and --stop.")
    low, high = min(low, high), max(low, high)
    unit = axis_unit(run)
    width = default_step(unit) if step is None else step
    if edge is None or grid is Grid.UNIFORM:
        return uniform_grid(low, high, width)
    return xas_grid(low, high, edge, edge_step=width, unit=unit)


def _write(columns: dict, output: Path | None, units: Mapping[str, str] | None = None) -> None:
    """Write a CSV that other programs read: a unit in the header, ``nan`` where nothing is."""
    import pandas

    table = pandas.DataFrame(columns)
    table.columns = [
        f"{name}[{units[name]}]" if units and name in units else name for name in table
    ]
    where = sys.stdout if output is None else output
    # Programs that split at blanks and commas would shift what is behind an empty field.
    table.to_csv(where, index=False, float_format="%.10g", na_rep="nan")


__all__ = ["rebin"]
