"""`glidepath show`: what a run says of itself."""

import typer
from rich.console import Console

from .errors import errors_as_sentences
from .options import DataOption, RunArgument, stored_data


def show(run: RunArgument = "-1", data: DataOption = None) -> None:
    """Show a run: its reason, pre-flight, verdict, files, and what its baseline read."""
    from glidepath.lookback import StoredRun

    from .run_tables import print_run

    with errors_as_sentences():
        print_run(
            Console(highlight=False, emoji=False), StoredRun.of(stored_data(data, [run]), run)
        )
        raise typer.Exit(0)


__all__ = ["show"]
