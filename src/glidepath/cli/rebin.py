"""`glidepath rebin`: a run on another grid of energies, from its raw updates."""

import sys
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
    step: Annotated[float, typer.Option(help="Width of a bin (eV); near the edge for xas.")] = 0.05,
    grid: Annotated[Grid, typer.Option(help="Equal widths, or as for absorption spectra.")] = (
        Grid.UNIFORM
    ),
    edge: Annotated[
        float | None, typer.Option(help="Absorption edge (eV), for the grid xas.")
    ] = None,
    start: Annotated[float | None, typer.Option(help="Begin (eV). Default: the run's.")] = None,
    stop: Annotated[float | None, typer.Option(help="End (eV). Default: the run's.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="CSV file to write. Default: standard output.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Also put the table into Tiled, under this name.")
    ] = None,
    data: DataOption = Path("glidepath-data"),
    tiled: TiledOption = None,
) -> None:
    """Bring the detectors of a run onto bins of energy: mean, count, standard error, time."""
    from glidepath.catalog import load_run, rebin_run, write_rebinned
    from glidepath.storage import check_data_directory
    from glidepath.timeline import uniform_grid, xas_grid

    said = Console(stderr=True, highlight=False, emoji=False)
    with spoken():
        root = check_data_directory(data)
        if grid is Grid.XAS and edge is None:
            raise ValueError("The grid xas needs the absorption edge; give it with --edge (eV).")
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
                        "This run does not say its range; give it with --start and --stop (eV)."
                    )
                low, high = min(low, high), max(low, high)
                edges = (
                    uniform_grid(low, high, step)
                    if edge is None or grid is Grid.UNIFORM
                    else xas_grid(low, high, edge, edge_step=step)
                )
                result = rebin_run(found, edges)
                _write(result.columns, output)
                if name is not None:
                    place = write_rebinned(client, found, result, name)
                    said.print(f"In Tiled: {place}", soft_wrap=True)
            finally:
                client.context.http_client.close()
        if output is not None:
            said.print(f"{len(edges) - 1} bins in {output}", soft_wrap=True)


def _write(columns: dict, output: Path | None) -> None:
    import pandas

    table = pandas.DataFrame(columns)
    table.to_csv(sys.stdout if output is None else output, index=False, float_format="%.9g")


__all__ = ["rebin"]
