"""An HDF5 file that somebody else writes, and that is read meanwhile."""

import threading
from pathlib import Path

import h5py

from .hdf5 import open_to_read

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_WITH_FLAGS = 2
"""Version of the superblock from which on byte 11 says who has opened the file."""
_WRITING, _SWMR = 0x01, 0x04


def can_be_opened(path: Path) -> bool:
    """Return whether its writer is done with a file, or lets others read it meanwhile (SWMR).

    This is read as plain bytes: opening it with HDF5 locks the file for a moment, and a writer
    that is about to create it would fail. Source: HDF5 file format specification, version 3.0,
    section II.A, "superblock".
    """
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:
        return False
    if len(head) < 12 or not head.startswith(_SIGNATURE):
        return False
    version, flags = head[8], head[11]
    return version < _WITH_FLAGS or not flags & _WRITING or bool(flags & _SWMR)


class FollowedFile:
    """One file, opened when that disturbs nobody.

    Parameters
    ----------
    path
        The file; it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0
        """How many rows were read."""
        self._file: h5py.File | None = None
        # A thread may still be reading when nobody waits for it any more.
        self._lock = threading.Lock()

    def _open(self) -> h5py.File | None:
        """Return the file, or None while it cannot be read."""
        if self._file is None and can_be_opened(self.path):
            try:
                self._file = open_to_read(self.path)
            except OSError:
                # Its writer is about to open it again.
                return None
        return self._file

    def close(self) -> None:
        """Close the file; reading opens it again where it was."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            file.close()


__all__ = ["FollowedFile", "can_be_opened"]
