"""Whose capture it is: a file beside the images that stays locked as long as its owner lives."""

import fcntl
import os
from pathlib import Path


def claim_path(folder: Path, name: str) -> Path:
    """Return where the claim on a file with images is."""
    return folder / f".{name}.capturing"


class Claim:
    """Says that a capture is this process's own; the operating system ends it with the process.

    Parameters
    ----------
    path
        See `claim_path`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            # A file system without locks: nobody can tell then that the owner has died.
            os.close(self._handle)
            self._handle = None
            path.unlink(missing_ok=True)

    def release(self) -> None:
        """Give it up. May come twice."""
        handle, self._handle = self._handle, None
        if handle is not None:
            self._path.unlink(missing_ok=True)
            os.close(handle)


def is_abandoned(path: Path) -> bool:
    """Return whether a claim is there whose owner has died without giving it up."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


__all__ = ["Claim", "claim_path", "is_abandoned"]
