"""`glidepath relocate`: a data directory that was moved or archived is found where it is now."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .errors import errors_as_sentences


def relocate(
    old: Annotated[Path, typer.Argument(help="Where the data directory was.")],
    new: Annotated[Path, typer.Argument(help="Where it is now.")],
    replay: Annotated[
        bool, typer.Option("--replay/--no-replay", help="Make its catalogue anew at once.")
    ] = True,
) -> None:
    """Register the runs of a data directory that was moved from OLD to NEW."""
    from glidepath.catalog import LocalTiledServer, replay_all
    from glidepath.catalog.relocation import relocate as move
    from glidepath.catalog.server import remembered_database

    console = Console(highlight=False, emoji=False, soft_wrap=True)
    with errors_as_sentences():
        database = remembered_database(new)
        done = move(old, new)
        console.print(f"{done.runs} runs name their files below {new} now.", markup=False)
        for path in done.elsewhere:
            console.print(f"Note: {path} was not below {old} and stays there.", markup=False)
        for path in done.missing:
            console.print(f"Note: {path} is missing.", markup=False)
        if replay:
            # A database beside is not set aside with the directory: its runs are written again.
            place = None if database is None else str(database)
            with LocalTiledServer(new, database=place) as server:
                client = server.client()
                try:
                    replayed = list(replay_all(new / "journal", client, anew=place is not None))
                finally:
                    client.context.http_client.close()
            console.print(f"{len(replayed)} runs are in the new catalogue.")


__all__ = ["relocate"]
