"""`glidepath replay`: put runs that a catalogue did not take into it, from the journal."""

from typing import Annotated

import typer
from rich.console import Console

from .errors import FAILED, errors_as_sentences
from .fly import catalogue
from .options import DataOption, TiledOption, data_and_tiled

ON_ITS_WAY_TIMEOUT = 120.0
"""Seconds that runs have which a command has left to another process."""

ON_ITS_WAY = "Some runs are still on their way into Tiled; they are left to the process at work."


def replay(
    uid: Annotated[
        str | None, typer.Argument(help="Uid of the run. Default: all that are not in Tiled yet.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Also runs that were in a catalogue before this one.")
    ] = False,
    data: DataOption = None,
    tiled: TiledOption = None,
) -> None:
    """Put runs from the journal of a data directory into Tiled. Doing it twice does no harm.

    A run that cannot be stored is named, with status 1; all others are stored.
    """
    from glidepath.catalog import replay_all, replay_run
    from glidepath.catalog.left_behind import wait_for_all

    console = Console(highlight=False, emoji=False)
    with errors_as_sentences():
        root, address = data_and_tiled(data, tiled)
        journal = root / "journal"
        if not wait_for_all(root, ON_ITS_WAY_TIMEOUT):
            console.print(ON_ITS_WAY, soft_wrap=True)
        with catalogue(address, root) as connect:
            client = connect()
            try:
                done = (
                    [replay_run(uid, client, journal)]
                    if uid
                    else replay_all(journal, client, every=every)
                )
            finally:
                client.context.http_client.close()
        for one in done:
            console.print(str(one), soft_wrap=True, markup=False)
        if not done:
            console.print(f"Every run of {journal} is in Tiled already.", soft_wrap=True)
        if any(one.action == "refused" for one in done):
            raise typer.Exit(FAILED)


__all__ = ["replay"]
