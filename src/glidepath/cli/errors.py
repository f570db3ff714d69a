"""How a user's mistake reaches the user: one sentence and an exit status, never a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from glidepath.sentences import ScanError, errors, sentence_of

BAD_INPUT = 2
"""Exit status: what was asked cannot be done; nothing was moved."""

FAILED = 1
"""Exit status: the scan or the service began and did not end well."""


@contextmanager
def errors_as_sentences() -> Iterator[None]:
    """Turn every exception into a sentence and an exit status.

    The traceback of an error goes to the log of the data directory, where there is a session.
    """
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        raise typer.Exit(0) from None
    except Exception as error:
        errors.print(f"glidepath: {sentence_of(error)}", style="red", soft_wrap=True, markup=False)
        refused = isinstance(error, ValueError | ConnectionError)
        raise typer.Exit(BAD_INPUT if refused else FAILED) from None


__all__ = ["BAD_INPUT", "FAILED", "ScanError", "errors", "errors_as_sentences"]
