"""`glidepath show`: what a run says of itself."""

import typer

from .errors import errors_as_sentences
from .options import DataOption, RunArgument, stored_data


def show(run: RunArgument = "-1", data: DataOption = None) -> None:
    """Show a run: its reason, pre-flight, verdict, files, and what its baseline read."""
    from glidepath.lookback import StoredRun

    from .run_tables import list_console, print_run

    with errors_as_sentences():
        print_run(list_console(), StoredRun.of(stored_data(data, [run]), run))
        raise typer.Exit(0)


__all__ = ["show"]
