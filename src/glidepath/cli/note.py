"""`glidepath note`: what a user has to say about a run, for the logbook."""

from typing import Annotated

import typer
from rich.console import Console

from .errors import errors_as_sentences
from .options import DataOption, data_directory


def note(
    run: Annotated[
        str, typer.Argument(help="Uid (or its beginning), scan number, or -1 for the newest run.")
    ],
    text: Annotated[str, typer.Argument(help="What you want to say.")],
    author: Annotated[str, typer.Option(help="Who says it.")] = "",
    data: DataOption = None,
) -> None:
    """Write a note about RUN into the logbook and the e-logs of the data directory."""
    from glidepath.catalog.journal_index import find_run_journal
    from glidepath.configuration import load_configuration
    from glidepath.export import read_documents
    from glidepath.logbook import Message, Outbox, RunRecord, destinations_of, send_now
    from glidepath.storage import run_folder

    console = Console(highlight=False, emoji=False, soft_wrap=True)
    with errors_as_sentences():
        if not text.strip():
            raise ValueError("A note needs a text.")
        root = data_directory(data)
        documents = read_documents(find_run_journal(root / "journal", run))
        if not documents or documents[-1][0] != "stop":
            raise ValueError("This run has not ended; write the note when it has.")
        start, stop = documents[0][1], documents[-1][1]
        folder = None
        if start.get("scan_id") is not None:
            folder = run_folder(root, start["uid"], start["scan_id"], start["time"])
        message = Message("note", text.strip(), RunRecord.of(start, stop, folder), author)
        destinations = destinations_of(root, load_configuration(data=data).logbook)
        box = Outbox(root)
        for destination in destinations:
            box.put(destination.name, message)
        send_now(box, destinations, lambda sentence: console.print(sentence, markup=False))


__all__ = ["note"]
