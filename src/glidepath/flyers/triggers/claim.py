"""Whose a trigger box is: one process at a time may use it for scans of one data directory."""

import fcntl
from pathlib import Path
from typing import IO


class Claim:
    """A lock that ends with its process, also when that is killed.

    Parameters
    ----------
    folder
        Where the lock's file is; processes that share it see each other.
    name
        Name of what is claimed.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f".{name}.claim"
        self._file: IO[bytes] | None = None

    def take(self) -> bool:
        """Claim it; return False if another process holds it, or the folder takes no locks."""
        if self._file is not None:
            return True
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = self.path.open("ab")
        except OSError:
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return False
        self._file = file
        return True

    def release(self) -> None:
        """Give it back; harmless if it was not held."""
        if self._file is not None:
            file, self._file = self._file, None
            # The file stays: who removed it could take it from under another that waits for it.
            file.close()


__all__ = ["Claim"]
