"""`glidepath outbox`: what waits to be sent to e-logs and catalogues, and sending it now."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .errors import FAILED, errors_as_sentences
from .options import DataOption, data_directory


def outbox(
    retry: Annotated[bool, typer.Option("--retry", help="Try now to send all that waits.")] = False,
    refused: Annotated[
        bool, typer.Option("--refused", help="With --retry: also what was refused before.")
    ] = False,
    data: DataOption = None,
) -> None:
    """Show what waits to be sent, and what was refused; with --retry send it."""
    from glidepath.configuration import load_configuration
    from glidepath.logbook import Outbox, destinations_of, send_now

    console = Console(highlight=False, emoji=False, soft_wrap=True)
    with errors_as_sentences():
        root = data_directory(data)
        box = Outbox(root)
        if retry:
            destinations = destinations_of(root, load_configuration(data=data).logbook)
            if refused:
                for destination in destinations:
                    box.retry_refused(destination.name)
            send_now(box, destinations, lambda sentence: console.print(sentence, markup=False))
        if _show(console, root) and retry:
            raise typer.Exit(FAILED)


def _show(console: Console, root: Path) -> int:
    """Print what is left; return how many messages wait or were refused."""
    from glidepath.logbook import Outbox

    box, left = Outbox(root), 0
    for destination in box.destinations():
        for entry in box.waiting(destination):
            begun = " (its sending was interrupted)" if entry.interrupted else ""
            console.print(f"{destination}: waits{begun}: {entry.message.lines()[0]}", markup=False)
            left += 1
        for message, reason in box.refused(destination):
            console.print(f"{destination}: refused: {message.lines()[0]}", markup=False)
            console.print(f"  {reason}", markup=False)
            left += 1
    if not left:
        console.print("Nothing waits to be sent.")
    return left


__all__ = ["outbox"]
