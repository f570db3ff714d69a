"""How a user's mistake reaches the user: one sentence and exit status 2, never a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from glidepath.sentences import ScanError, errors

BAD_INPUT = 2
"""Exit status: what was asked cannot be done; nothing was moved."""

FAILED = 1
"""Exit status: the scan or the service began and did not end well."""


@contextmanager
def spoken() -> Iterator[None]:
    """Turn the exceptions that users cause into a sentence and an exit status."""
    try:
        yield
    except ScanError as error:
        errors.print(f"glidepath: {error}", style="red", soft_wrap=True, markup=False)
        raise typer.Exit(FAILED) from None
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        raise typer.Exit(0) from None
    except (ValueError, ConnectionError) as error:
        errors.print(f"glidepath: {error}", style="red", soft_wrap=True, markup=False)
        raise typer.Exit(BAD_INPUT) from None


__all__ = ["BAD_INPUT", "FAILED", "ScanError", "errors", "spoken"]
