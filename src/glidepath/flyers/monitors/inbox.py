"""Inboxes that libca fills with updates without the interpreter: inbox.c, through ctypes."""

import ctypes
import functools
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .updates import INVALID, LOST, Floats

LIBRARY = "glidepath.flyers.monitors._inbox"
"""The compiled inbox.c. It stands where Python's extension modules do, but is not one of them."""

HEAD = np.dtype(
    [
        ("arrival", np.float64),
        ("seconds", np.uint32),
        ("nanoseconds", np.uint32),
        ("count", np.uint32),
        ("severity", np.uint32),
    ]
)
"""struct head of inbox.c, in the machine's byte order."""


class FastPathUnavailable(RuntimeError):  # noqa: N818
    """What the fast path relies on is not so here; the text says what."""


class _Taken(ctypes.Structure):
    _fields_ = (
        ("heads", ctypes.c_void_p),
        ("values", ctypes.c_void_p),
        ("heads_used", ctypes.c_size_t),
        ("values_used", ctypes.c_size_t),
        ("lost", ctypes.c_size_t),
    )


class Inbox:
    """Where libca's threads leave the updates of one channel until somebody takes them.

    Parameters
    ----------
    library
        The compiled inbox.c, from `load`.

    Attributes
    ----------
    address
        The user argument for libca's handlers.
    """

    def __init__(self, library: Any) -> None:
        self._library = library
        self.address: int = library.inbox_create()
        if not self.address:
            raise MemoryError("There is no memory for another channel.")

    def open(self, capacity: int) -> None:
        """Keep what arrives, at most ``capacity`` values until they are taken."""
        self._library.inbox_open(self.address, capacity)

    def close(self) -> None:
        """Forget everything, and keep nothing more."""
        self._library.inbox_close(self.address)

    def destroy(self) -> None:
        """Give the memory back. libca must not know the inbox any more."""
        self._library.inbox_destroy(self.address)
        self.address = 0

    @property
    def lost(self) -> int:
        """Values thrown away since it was opened."""
        lost: int = self._library.inbox_lost(self.address)
        return lost

    def take(self) -> tuple[NDArray[np.void], Floats, int]:
        """Return what was kept since the last call.

        Returns
        -------
        tuple
            Heads of shape (n,), of dtype `HEAD`; the values of all updates one after the other,
            ``count`` for each head; the number of values that were thrown away after those.
        """
        taken = _Taken()
        self._library.inbox_take(self.address, ctypes.byref(taken))
        heads = ctypes.string_at(taken.heads, taken.heads_used * HEAD.itemsize)
        # One copy, into the array itself: the page is the inbox's again at the next call.
        values = np.empty(taken.values_used)
        ctypes.memmove(values.ctypes.data, taken.values, values.nbytes)
        return np.frombuffer(heads, HEAD), values, taken.lost


@functools.cache
def load() -> Any:
    """Return the library, checked.

    Raises
    ------
    FastPathUnavailable
        If it was not built, or the check fails.
    """
    spec = find_spec(LIBRARY)
    if spec is None or spec.origin is None:
        raise FastPathUnavailable(
            "it was not built when Glidepath was installed, for want of a C compiler"
        )
    try:
        found = ctypes.CDLL(spec.origin)
    except OSError as error:
        raise FastPathUnavailable(f"it cannot be loaded: {error}") from None
    _check_layout(found)
    _declare(found)
    _check_known_update(found)
    return found


def _declare(found: Any) -> None:
    from epicscorelibs.ca import cadef

    address = ctypes.c_void_p
    found.inbox_create.restype = address
    found.inbox_lost.restype = ctypes.c_size_t
    for name in ("close", "destroy", "lost"):
        getattr(found, f"inbox_{name}").argtypes = [address]
    found.inbox_open.argtypes = [address, ctypes.c_size_t]
    found.inbox_take.argtypes = [address, ctypes.POINTER(_Taken)]
    found.inbox_update.argtypes = [cadef.event_handler_args]
    found.inbox_connection.argtypes = [cadef.ca_connection_handler_args]
    puser = ctypes.cast(cadef.libca.ca_puser, address)
    address.in_dll(found, "inbox_of_channel").value = puser.value


def _check_layout(found: Any) -> None:
    """Compare the structures that inbox.c supposes with those of the Python packages."""
    from epicscorelibs.ca import cadef, dbr

    update, connection = cadef.event_handler_args, cadef.ca_connection_handler_args
    record = dbr.dbr_time_double
    theirs = [
        *(getattr(update, name).offset for name, _ in update._fields_),
        ctypes.sizeof(update),
        *(getattr(connection, name).offset for name, _ in connection._fields_),
        ctypes.sizeof(connection),
        *(getattr(record, name).offset for name, _ in record._fields_),
    ]
    length = len(theirs)
    ours = list((ctypes.c_size_t * length).in_dll(found, "inbox_layout"))
    if ours != theirs:
        raise FastPathUnavailable(f"libca's structures are laid out as {theirs}, not {ours}")


def _check_known_update(found: Any) -> None:
    """Send an update and a loss through the handlers, and look at what comes out.

    Not one of a real record: what a reading shows of a record that was processed without a
    change is newer than its last update.
    """
    from epicscorelibs.ca import cadef, dbr

    record = dbr.dbr_time_double(3, 2, dbr.ca_timestamp(1_000_000_001, 999_999_999), 0, (0.1,))
    arguments = cadef.event_handler_args(
        type=dbr.DBR_TIME_DOUBLE,
        count=1,
        raw_dbr=ctypes.addressof(record),
        status=cadef.ECA_NORMAL,
    )
    inbox = Inbox(found)
    user = cadef.event_handler_args.usr.offset
    ctypes.c_void_p.from_buffer(arguments, user).value = inbox.address
    inbox.open(2)
    found.inbox_update(arguments)
    arguments.status = cadef.ECA_DISCONN
    found.inbox_update(arguments)
    heads, values, lost = inbox.take()
    inbox.destroy()
    expected = [(1_000_000_001, 999_999_999, 1, 2), (LOST, LOST, 1, INVALID)]
    got = heads[["seconds", "nanoseconds", "count", "severity"]].tolist()
    if got != expected or not np.array_equal(values, [0.1, np.nan], equal_nan=True) or lost:
        raise FastPathUnavailable(
            f"a known update came out as {got} with the values {values}, not as {expected}"
        )


__all__ = ["HEAD", "FastPathUnavailable", "Inbox", "load"]
