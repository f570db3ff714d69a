"""Locks between processes that share a data directory, also where its file system has none."""

import errno
import fcntl
import hashlib
import os
import tempfile
import time
from pathlib import Path

WITHOUT_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
"""What a file system answers that does not know locks, as some network mounts do."""

_POLL_PERIOD = 0.02


class FileLock:
    """A lock on a file, held until it is released or the process has ended, however that came.

    On a file system without locks a file in this machine's temporary folder stands in for it:
    there, too, the processes of one user on one machine exclude each other.

    Parameters
    ----------
    path
        The file; it is made if it is not there.
    known_as
        Name under which others ask for it, if it is not there yet under that name.
    """

    def __init__(self, path: Path, *, known_as: Path | None = None) -> None:
        self.path = path
        self._known_as = known_as or path
        self._descriptor: int | None = None
        self.stands_in = False
        """Whether another file stands in for it, because its own file system has no locks."""

    @property
    def descriptor(self) -> int:
        """Descriptor that holds the lock; a child process that inherits it holds the lock too."""
        if self._descriptor is None:
            raise ValueError(f"The lock on {self.path} is not held.")
        return self._descriptor

    def acquire(self, *, shared: bool = False, timeout: float = 0.0) -> None:
        """Take the lock.

        Parameters
        ----------
        shared
            Others may hold it at the same time, if they share it too.
        timeout
            Seconds to wait for others; 0 tries once.

        Raises
        ------
        BlockingIOError
            Somebody else holds it.
        OSError
            The file cannot be opened.
        """
        how = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
        deadline = time.monotonic() + timeout
        descriptor = _open(self.path, shared)
        try:
            while True:
                try:
                    fcntl.flock(descriptor, how)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise
                    time.sleep(_POLL_PERIOD)
                except OSError as error:
                    stand_in = _stand_in(self._known_as)
                    if error.errno not in WITHOUT_LOCKS or os.path.sameopenfile(
                        descriptor, stand_in
                    ):
                        os.close(stand_in)
                        raise
                    os.close(descriptor)
                    descriptor, self.stands_in = stand_in, True
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock up. Releasing it twice is harmless."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __enter__(self) -> "FileLock":
        if self._descriptor is None:
            self.acquire()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()


def _open(path: Path, shared: bool) -> int:
    # Looking at somebody else's file must not make one.
    flags = os.O_RDONLY if shared else os.O_RDWR | os.O_CREAT
    return os.open(path, flags, 0o644)


def _stand_in(path: Path) -> int:
    """Open the file of this machine that stands in for a path on a file system without locks."""
    folder = Path(tempfile.gettempdir()) / f"glidepath-locks-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    name = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()
    return os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o600)


__all__ = ["WITHOUT_LOCKS", "FileLock"]
