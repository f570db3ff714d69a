"""`glidepath live`: watch what another process measures."""

from typing import Annotated

import typer
from rich.console import Console

from .errors import errors_as_sentences
from .options import DataOption, ReferenceOption, SignalOption, stored_data

POLL_PERIOD = 0.1
"""Seconds between two looks whether the run has ended."""


def live(
    signal: SignalOption = None,
    reference: ReferenceOption = None,
    once: Annotated[
        bool, typer.Option("--once", help="End when the run that is watched has ended.")
    ] = False,
    data: DataOption = None,
) -> None:
    """Show the scan that runs in a data directory, whoever runs it, until Ctrl-C."""
    import time

    from glidepath.live import JournalFollower, LiveView

    console = Console(highlight=False, emoji=False)
    with errors_as_sentences():
        try:
            with JournalFollower(stored_data(data)) as journal:
                follower = journal.follower
                while True:
                    with LiveView(follower, console, signal, reference):
                        while not follower.running:
                            time.sleep(POLL_PERIOD)
                        while follower.running:
                            time.sleep(POLL_PERIOD)
                    _print_end(console, follower)
                    if once:
                        return
        except KeyboardInterrupt:
            return


def _print_end(console: Console, follower: object) -> None:
    from .report import print_end

    print_end(console, follower.start, follower.stop or {})  # type: ignore[attr-defined]


__all__ = ["live"]
