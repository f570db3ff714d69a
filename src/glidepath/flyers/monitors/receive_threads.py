"""Makes Python keep up with Channel Access: its receive threads, and their turn to run."""

import ctypes
import gc
import sys
import threading
from collections.abc import Iterable
from typing import Any

from epicscorelibs.ca import cadef

SWITCH_INTERVAL = 1e-3
"""Seconds after which a busy Python thread makes way for one that received an update.

The usual 5 ms let a computation hold up every single update that long; measured, that loses
updates at 10 000/s. With less than 1 ms the threads spend their time on taking turns.
"""

COLLECT_AFTER = 50_000
"""Objects made, and not freed, after which Python looks for cycles among them.

Updates that wait to be decoded are such objects, without cycles. With the usual 700 that search
took half of the time of all at 100 000 updates/s.
"""

_pinned = threading.local()


def pin() -> None:
    """Keep the thread state of the receive thread that calls alive.

    For each call from a thread that Python did not start, ctypes makes a thread state and throws
    it away, which costs about 7 us from Python 3.11 on and 0.7 us before. Taking it once more,
    and never giving it back, keeps it for all further calls. It is leaked when the thread ends;
    a server's restart costs some kilobytes.
    """
    if not hasattr(_pinned, "done"):
        ctypes.pythonapi.PyGILState_Ensure()
        _pinned.done = True


class PinnedThreads:
    """Keeps the thread states of receive threads alive for callbacks that are not ours.

    It has a channel of its own on every circuit. The channel's connection handler runs on the
    circuit's receive thread, and again on the new one when the server comes back.

    Parameters
    ----------
    names
        One process variable per server. The calling thread must be attached to libca's context,
        as it is after any call of aioca.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._channels: list[ctypes.c_void_p] = []
        for name in names:
            channel = ctypes.c_void_p()
            cadef.ca_create_channel(
                name, _connected, ctypes.py_object(None), 0, ctypes.byref(channel)
            )
            self._channels.append(channel)
        cadef.ca_flush_io()

    def close(self) -> None:
        """Close the channels. Closing twice is harmless."""
        while self._channels:
            cadef.ca_clear_channel(self._channels.pop())
        cadef.ca_flush_io()


@cadef.connection_handler
def _connected(arguments: Any) -> None:
    if arguments.op == cadef.CA_OP_CONN_UP:
        pin()


class BriskInterpreter:
    """Sets `SWITCH_INTERVAL` and `COLLECT_AFTER`, as long as somebody needs them."""

    _users = 0
    _usual_interval = 0.0
    _usual_thresholds = (0, 0, 0)

    def __init__(self) -> None:
        self._active = True
        cls = type(self)
        if not cls._users:
            cls._usual_interval = sys.getswitchinterval()
            cls._usual_thresholds = gc.get_threshold()
            sys.setswitchinterval(min(cls._usual_interval, SWITCH_INTERVAL))
            young, *older = cls._usual_thresholds
            # 0: somebody has switched it off.
            gc.set_threshold(max(young, COLLECT_AFTER) if young else 0, *older)
        cls._users += 1

    def close(self) -> None:
        """Put the usual settings back if nobody else needs these. Closing twice is harmless."""
        if self._active:
            self._active = False
            cls = type(self)
            cls._users -= 1
            if not cls._users:
                sys.setswitchinterval(cls._usual_interval)
                gc.set_threshold(*cls._usual_thresholds)


__all__ = ["COLLECT_AFTER", "SWITCH_INTERVAL", "BriskInterpreter", "PinnedThreads"]
