"""`glidepath serve`: look at the runs of a data directory."""

import signal
import threading
from typing import Annotated

import typer
from rich.console import Console

from .errors import errors_as_sentences
from .options import DataOption, data_directory


def wait_for_interrupt() -> None:
    """Return when the user presses Ctrl-C, or when the process is asked to end."""
    asked = threading.Event()
    previous = {
        number: signal.signal(number, lambda *_: asked.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        asked.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


DatabaseOption = Annotated[
    str | None,
    typer.Option(
        help="PostgreSQL database for the catalogue, postgresql://user@host/name; it is made if "
        "there is none. The password comes from PGPASSWORD or ~/.pgpass. Default: of the "
        "configuration, else a file of the data directory."
    ),
]


def serve(
    data: DataOption = None,
    database: DatabaseOption = None,
) -> None:
    """Serve the runs of a data directory to browsers and to Python, until Ctrl-C."""
    from glidepath.catalog import LocalTiledServer
    from glidepath.catalog.server import page_url
    from glidepath.configuration import load_configuration

    console = Console(highlight=False, emoji=False)
    with errors_as_sentences():
        root = data_directory(data)
        place = load_configuration(database=database).database
        with LocalTiledServer(root, database=place) as server:
            console.print(f"Runs of {root}: {server.web_url}", soft_wrap=True)
            console.print(f"To download them:  {page_url(server)}", soft_wrap=True)
            if server.database is not None:
                console.print(f"The catalogue is in {server.database}.", soft_wrap=True)
            console.print("Ctrl-C ends this server.")
            wait_for_interrupt()


__all__ = ["serve", "wait_for_interrupt"]
