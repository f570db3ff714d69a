"""`glidepath fit`: the N2 series or an absorption edge of a run, with errors."""

import json
from typing import Annotated

import typer
from rich.console import Console

from .errors import errors_as_sentences
from .options import DataOption, ReferenceOption, RunArgument, SignalOption, stored_data


def fit(
    run: RunArgument = "-1",
    edge: Annotated[
        bool, typer.Option("--edge", help="An absorption edge instead of the N2 series.")
    ] = False,
    at: Annotated[
        float | None, typer.Option(help="Where the edge is expected (eV), with --edge.")
    ] = None,
    signal: SignalOption = None,
    reference: ReferenceOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
    data: DataOption = None,
) -> None:
    """Fit the N2 series or an absorption edge to a run, with errors.

    Of the N2 series: first line and its shift, Gaussian width, resolving power, first valley over
    third peak. Of an edge: an arctangent.
    """
    from glidepath.lookback import StoredRun, fit_edge_of, fit_n2_of

    console = Console(highlight=False, emoji=False)
    with errors_as_sentences():
        stored = StoredRun.of(stored_data(data, [run]), run)
        result = (
            fit_edge_of(stored, signal, reference, at)
            if edge
            else fit_n2_of(stored, signal, reference)
        )
        if as_json:
            typer.echo(json.dumps(result.to_json(), indent=2))
            return
        console.print(f"{stored!r}: {result.label}", soft_wrap=True, markup=False)
        for line in result.lines():
            console.print(f"  {line}", soft_wrap=True, markup=False)


__all__ = ["fit"]
