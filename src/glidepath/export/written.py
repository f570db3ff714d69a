"""What all written files share: who wrote them, and that they appear whole or not at all."""

import contextlib
import os
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .run import ExportError


def program_version() -> str:
    """Return the version of Glidepath that writes a file, as it is installed."""
    try:
        return version("glidepath")
    except PackageNotFoundError:
        return "unknown"


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


__all__ = ["program_version", "replaced"]
