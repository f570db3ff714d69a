"""Counts who uses a local Tiled server, so that it stays as long as somebody does, and no longer.

Each user holds one connection over this machine's loopback. Whatever ends a user, a kill too,
closes it; no file system with locks and no list of process ids is needed for that. A user presents
the server's key first: the connection is no way around it.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable

FIRST_USER_TIMEOUT = 120.0
"""Seconds in which the first user must come; else whoever started the server has been killed."""

_WELCOME, _BYE, _LAST, _OTHERS = b"welcome ", b"bye\n", b"last\n", b"others\n"
_LONGEST_LINE = 200


class LeaseError(ConnectionError):
    """The server does not take another user: it is ending, or has ended."""


class Lease:
    """One user's connection.

    Parameters
    ----------
    port
        Where the server counts its users.
    key
        The server's key.

    Raises
    ------
    LeaseError
        Nobody listens there.
    """

    def __init__(self, port: int, key: str) -> None:
        try:
            self._socket = socket.create_connection(("127.0.0.1", port), timeout=5.0)
            self._socket.sendall(key.encode() + b"\n")
        except OSError as error:
            raise LeaseError(f"No server counts its users at port {port}.") from error
        self._process_id: int | None = None

    def confirm(self, timeout: float) -> int:
        """Wait until the server has counted this user; return the server's process id.

        Parameters
        ----------
        timeout
            Seconds to wait at most.

        Raises
        ------
        LeaseError
            It does not, or it is another server.
        """
        if self._process_id is None:
            answer = self._answer(timeout)
            if not answer.startswith(_WELCOME):
                self.drop()
                raise LeaseError("The server does not take another user.")
            self._process_id = int(answer.removeprefix(_WELCOME))
        return self._process_id

    @property
    def alive(self) -> bool:
        """Whether the server's process is still there."""
        try:
            self._socket.settimeout(0)
            return self._socket.recv(1, socket.MSG_PEEK) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def give_back(self, timeout: float) -> bool | None:
        """Stop using the server.

        Parameters
        ----------
        timeout
            Seconds to wait for its answer.

        Returns
        -------
        bool or None
            True: this was the last user, and the server ends; False: others use it; None: it does
            not answer.
        """
        try:
            self.confirm(timeout)
            self._socket.sendall(_BYE)
            answer = self._answer(timeout)
        except OSError:
            answer = b""
        self.drop()
        return {_LAST: True, _OTHERS: False}.get(answer)

    def drop(self) -> None:
        """Close the connection; the server notices."""
        self._socket.close()

    def _answer(self, timeout: float) -> bytes:
        deadline = time.monotonic() + timeout
        line = b""
        while not line.endswith(b"\n") and len(line) < _LONGEST_LINE:
            try:
                self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
                part = self._socket.recv(1)
            except OSError:
                return b""
            if not part:
                return b""
            line += part
        return line


class LeaseKeeper:
    """The server's side: a thread that counts users and ends the server after the last one.

    Parameters
    ----------
    listener
        Where users connect.
    key
        What they have to present.
    end
        Called once, in the thread, when nobody uses the server any more.
    """

    def __init__(self, listener: socket.socket, key: str, end: Callable[[], None]) -> None:
        self._listener = listener
        self._key = key.encode() + b"\n"
        self._end = end
        self._selector = selectors.DefaultSelector()
        self._received: dict[socket.socket, bytes] = {}
        self._users: set[socket.socket] = set()

    def start(self) -> None:
        """Begin to count."""
        threading.Thread(target=self._work, daemon=True, name="users of the server").start()

    def _work(self) -> None:
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        first_user_until: float | None = time.monotonic() + FIRST_USER_TIMEOUT
        while True:
            for key, _ in self._selector.select(1.0):
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._listen_to(key.fileobj)  # type: ignore[arg-type]
            if self._users:
                first_user_until = None
            elif first_user_until is None or time.monotonic() > first_user_until:
                break
        # Who comes now is refused, and starts a server of its own when this one is gone.
        self._listener.close()
        self._end()
        for connection in self._received:
            connection.close()
        self._selector.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            connection.setblocking(False)
            self._received[connection] = b""
            self._selector.register(connection, selectors.EVENT_READ)

    def _listen_to(self, connection: socket.socket) -> None:
        try:
            received = connection.recv(_LONGEST_LINE)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        self._received[connection] += received
        text = self._received[connection]
        if connection not in self._users and text.startswith(self._key):
            text = self._received[connection] = text[len(self._key) :]
            self._users.add(connection)
            self._say(connection, _WELCOME + b"%d\n" % os.getpid())
        if connection in self._users and text == _BYE:
            self._users.discard(connection)
            self._say(connection, _OTHERS if self._users else _LAST)
            if not self._users:
                return  # the connection ends with the process: that is how the user sees its end
            received = b""
        if not received or len(text) >= _LONGEST_LINE:
            self._users.discard(connection)
            self._selector.unregister(connection)
            del self._received[connection]
            connection.close()

    def _say(self, connection: socket.socket, word: bytes) -> None:
        with contextlib.suppress(OSError):
            connection.sendall(word)


__all__ = ["Lease", "LeaseError", "LeaseKeeper"]
