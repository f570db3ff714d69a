"""A subscription of aioca that keeps raw records on libca's thread and decodes them in batches."""

import ctypes
import time
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from aioca import DBE_ALARM, DBE_VALUE, FORMAT_TIME, Subscription
from epicscorelibs.ca import cadef
from numpy.typing import NDArray

from .monitors import EPICS_EPOCH, INVALID, Batch, Floats, Link, times_of_elements
from .receive_threads import Circuit, this_circuit, threads

RECORD = np.dtype(
    [
        ("status", np.int16),
        ("severity", np.int16),
        ("seconds", np.uint32),
        ("nanoseconds", np.uint32),
        ("padding", np.int32),
        ("value", np.float64),
    ]
)
"""struct dbr_time_double of EPICS base (db_access.h), in the machine's byte order."""

HEADER = RECORD.fields["value"][1] if RECORD.fields else 0
"""Bytes before the value, or before the elements of a waveform."""

_NEVER = 2**32 - 1
_LOSS = np.array([(0, INVALID, _NEVER, _NEVER, 0, np.nan)], RECORD).tobytes()

WATCHED = 64
"""Updates of a scalar after each drain whose arrival is noted, and whose connection is looked at.

The sampler drains every 0.1 s: up to 640 updates a second these are all. What comes beyond costs
half as much. Its arrival is given as the time of the drain, which it was not later than.
"""

ON_EVENT = "_Subscription__on_event"
"""Name of aioca's own handler of updates, which is replaced here."""


Kept = bytes | tuple[bytes, float]
"""An update; the first ones after a drain, and losses, with their arrival."""


class EventArguments(ctypes.Structure):
    """struct event_handler_args (cadef.h), with the record as bytes that can be sliced."""

    _fields_ = (
        ("usr", ctypes.c_void_p),
        ("chid", ctypes.c_void_p),
        ("type", ctypes.c_long),
        ("count", ctypes.c_long),
        ("raw_dbr", ctypes.POINTER(ctypes.c_char)),
        ("status", ctypes.c_int),
    )


EventHandler = ctypes.CFUNCTYPE(None, EventArguments)


class FastSubscription(Subscription):
    """Keeps each update as the bytes that libca received.

    aioca connects, subscribes, shares channels and closes. Only its handler of updates is
    replaced, by one that copies 24 bytes; nothing happens in the event loop until somebody
    decodes.

    Parameters
    ----------
    index
        Number of the channel, for its batches.
    link
        What is subscribed to.
    capacity
        Values to keep at most; further ones are counted and thrown away.
    """

    __slots__ = (
        "_capacity",
        "_circuit",
        "_early_losses",
        "_handler",
        "_index",
        "_link",
        "_loss_is_marked",
        "_lost",
        "_lost_before",
        "_records",
    )

    def __init__(self, index: int, link: Link, capacity: int) -> None:
        self._index, self._link = index, link
        self._capacity = max(capacity // link.elements, 1)
        self._records: list[Kept] = []
        self._lost = self._lost_before = 0
        self._early_losses = 0
        self._loss_is_marked = True
        self._circuit: Circuit | None = None
        self._handler = EventHandler(self._receiver())
        super().__init__(
            link.name,
            _not_called,
            events=DBE_VALUE | DBE_ALARM,
            datatype=float,
            format=FORMAT_TIME,
            count=link.count,
            all_updates=True,
            notify_disconnect=True,
            connect_timeout=None,
        )

    @property
    def _Subscription__on_event(self) -> Any:  # noqa: N802
        return ctypes.cast(self._handler, cadef.event_handler)

    @property
    def lost(self) -> int:
        """Values thrown away so far."""
        return self._lost * self._link.elements

    @property
    def has_updates(self) -> bool:
        """Whether something waits to be decoded."""
        return bool(self._records)

    def _receiver(self) -> Callable[[Any], None]:
        # Closures and lists are the quickest that Python has: this runs for every update.
        records, keep = self._records, self._records.append
        keep_carefully, capacity = self._keep_carefully, self._capacity
        scalar, whole = self._link.elements == 1, slice(0, RECORD.itemsize)
        watched = min(WATCHED, capacity) if scalar else capacity

        def receive(arguments: Any) -> None:
            count = len(records)
            if count < watched:
                keep_carefully(arguments)
            elif count < capacity:
                try:
                    keep(arguments.raw_dbr[whole])
                except ValueError:
                    self._mark_loss()
            else:
                self._lost += 1

        return receive

    def _keep_carefully(self, arguments: Any) -> None:
        """Keep an update with its arrival; notice that the connection is another one."""
        try:
            circuit = threads.circuit
        except AttributeError:
            circuit = this_circuit()
        if circuit is not self._circuit:
            self._changed(self._circuit)
            self._circuit = circuit
        try:
            end = HEADER + RECORD["value"].itemsize * arguments.count
            self._records.append((arguments.raw_dbr[:end], time.time()))
        except ValueError:
            # No record: the server says that it cannot give the value.
            self._mark_loss()

    def _changed(self, before: Circuit | None) -> None:
        """Mark a loss of the connection before the first update after it; on libca's thread.

        The event loop hears of a loss too, but may be busy until new updates have come.
        """
        if before is not None and not self._loss_is_marked:
            self._early_losses += 1
            self._mark_loss()
        self._loss_is_marked = False

    def _on_connect(self, connected: bool) -> None:
        """Called by aioca in the event loop when the connection is lost or comes back."""
        if connected:
            return
        if self._early_losses:
            self._early_losses -= 1
        else:
            self._mark_loss()
            self._loss_is_marked = True

    def _mark_loss(self) -> None:
        self._records.append((_LOSS, time.time()))

    def decode(self) -> Batch:
        """Return what was kept and forget it."""
        now = time.time()
        count = len(self._records)
        kept = self._records[:count]
        del self._records[:count]
        # Only a full list loses, so these were lost after the last record taken.
        total = self.lost
        lost, self._lost_before = total - self._lost_before, total
        records, arrivals = _arrivals(kept, now)
        if self._link.elements > 1:
            return Batch(self._index, *_waveforms(records, arrivals, self._link.interval), lost)
        table = np.frombuffer(b"".join(records), RECORD)
        return Batch(
            self._index,
            _timestamps(table),
            table["value"].copy(),
            arrivals,
            table["severity"].astype(np.uint8),
            lost,
        )


def _arrivals(kept: list[Kept], now: float) -> tuple[list[bytes], Floats]:
    """Return the records, and when each arrived; ``now`` for those of which it was not noted."""
    # Only the first updates have their arrival, and losses, which are rare.
    noted = len(kept) if tuple in map(type, kept[2 * WATCHED :]) else 2 * WATCHED
    pairs = [k if isinstance(k, tuple) else (k, now) for k in kept[:noted]]
    arrivals = np.full(len(kept), now)
    arrivals[: len(pairs)] = [arrival for _, arrival in pairs]
    rest = cast("list[bytes]", kept[noted:])
    return [record for record, _ in pairs] + rest, arrivals


def _timestamps(table: NDArray[np.void]) -> Floats:
    """Return POSIX s, NaN for losses; shape (n,)."""
    seconds, nanoseconds = table["seconds"], table["nanoseconds"]
    timestamps: Floats = (seconds + float(EPICS_EPOCH)) + nanoseconds * 1e-9
    lost = nanoseconds == _NEVER
    if lost.any():
        timestamps[lost] = np.nan
    return timestamps


def _waveforms(
    records: list[bytes], arrivals: Floats, interval: float
) -> tuple[Floats, Floats, Floats, NDArray[np.uint8]]:
    """Return timestamps, values, arrivals and severities of all elements, each of shape (n,)."""
    parts = [np.frombuffer(record, np.float64, offset=HEADER) for record in records]
    header = [record[:HEADER] + bytes(RECORD.itemsize - HEADER) for record in records]
    heads = np.frombuffer(b"".join(header), RECORD)
    counts = [len(part) for part in parts]
    times = [
        times_of_elements(timestamp, count, interval)
        for timestamp, count in zip(_timestamps(heads), counts, strict=True)
    ]
    return (
        np.concatenate(times),
        np.concatenate(parts),
        np.repeat(arrivals, counts),
        np.repeat(heads["severity"].astype(np.uint8), counts),
    )


def _not_called(value: Any) -> None:
    """Do nothing: no update goes through aioca's callback."""


__all__ = ["HEADER", "ON_EVENT", "RECORD", "EventArguments", "FastSubscription"]
