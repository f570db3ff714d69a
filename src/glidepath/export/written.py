"""Files appear whole or not at all, and a disk that refuses them says so in a sentence."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from .run import ExportError


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Give a file beside ``path`` to write; it takes its place when all has been written.

    Raises
    ------
    ExportError
        If it cannot be written; what was there before stays.
    """
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        yield new
        os.replace(new, path)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error).splitlines()[0]
        raise ExportError(
            f"{path} cannot be written ({reason}); make room or rights there, or name another file."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)


__all__ = ["replaced"]
