"""`glidepath runs`: the runs of a data directory, one line each."""

import json
from typing import Annotated

import typer

from .errors import errors_as_sentences
from .options import DataOption, stored_data


def runs(
    limit: Annotated[int, typer.Option("-n", "--limit", help="How many at most; 0: all.")] = 20,
    sample: Annotated[str | None, typer.Option(help="Part of the sample's name.")] = None,
    since: Annotated[
        str | None, typer.Option(help="today, yesterday, 3h, 2d, or a date such as 2026-11-28.")
    ] = None,
    edge: Annotated[str | None, typer.Option(help='Element, edge or both, such as "N K".')] = None,
    user: Annotated[
        str | None, typer.Option(help="Part of the name or the account of one who took part.")
    ] = None,
    proposal: Annotated[
        str | None, typer.Option(help="Part of the number or the title of the proposal.")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only those that did not succeed.")] = (
        False
    ),
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
    data: DataOption = None,
) -> None:
    """List runs, the newest first."""
    from glidepath.lookback import RunIndex
    from glidepath.lookback.index import time_of

    with errors_as_sentences():
        found = RunIndex(stored_data(data)).runs(
            limit=limit or None,
            sample=sample,
            since=None if since is None else time_of(since),
            edge=edge,
            user=user,
            proposal=proposal,
            failed=failed,
        )
        if as_json:
            typer.echo(json.dumps([run.to_json() for run in found], indent=2))
        else:
            from .run_tables import list_console, runs_table

            console = list_console()
            console.print(runs_table(found, console.width) if found else "There is no such run.")


__all__ = ["runs"]
