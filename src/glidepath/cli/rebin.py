"""`glidepath rebin`: a run on another grid of energies, from its raw updates."""

import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .errors import spoken
from .fly import TiledOption, catalogue
from .serve import DataOption


class Grid(StrEnum):
    """How the bins are spaced."""

    UNIFORM = "uniform"
    XAS = "xas"


def rebin(
    run: Annotated[
        str, typer.Argument(help="Uid (or its beginning), scan number, or -1 for the newest run.")
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
    data: DataOption = Path("glidepath-data"),
    tiled: TiledOption = None,
) -> None:
    """Bring the detectors of a run onto bins of energy: mean, count, standard error, time.

    Only what was measured in good rows counts. The column quality has the bits of each bin.
    """
    from glidepath.catalog import axis_unit, load_run, rebin_run, write_rebinned
    from glidepath.catalog.rebinning import check_table_name
    from glidepath.storage import check_data_directory
    from glidepath.timeline import EVERYTHING, HARMLESS, default_step, uniform_grid, xas_grid

    said = Console(stderr=True, highlight=False, emoji=False)
    with spoken():
        root = check_data_directory(data)
        if grid is Grid.XAS and edge is None:
            raise ValueError("The grid xas needs the absorption edge; give it with --edge.")
        if name is not None:
            check_table_name(name)
        if output is not None and output.exists():
            raise ValueError(f"{output} exists already; choose another name for the CSV file.")
        with catalogue(tiled, root) as connect:
            client = connect()
            try:
                found = load_run(client, run)
                asked = found.metadata["start"].get("preflight", {})
                low = start if start is not None else asked.get("start")
                high = stop if stop is not None else asked.get("stop")
                if low is None or high is None:
                    raise ValueError(
                        "This run does not say its range; give it with --start and --stop."
                    )
                low, high = min(low, high), max(low, high)
                unit = axis_unit(found)
                width = default_step(unit) if step is None else step
                edges = (
                    uniform_grid(low, high, width)
                    if edge is None or grid is Grid.UNIFORM
                    else xas_grid(low, high, edge, edge_step=width, unit=unit)
                )
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
            finally:
                client.context.http_client.close()
        if output is not None:
            said.print(f"{len(edges) - 1} bins in {output}", soft_wrap=True)


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
