"""A subscription of aioca that keeps raw records on libca's thread and decodes them in batches."""

import ctypes
import time
from collections.abc import Callable
from typing import Any

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

ON_EVENT = "_Subscription__on_event"
"""Name of aioca's own handler of updates, which is replaced here."""


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
    replaced, by one that copies 24 bytes and takes the time; nothing happens in the event loop
    until somebody decodes.

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
        "_early_losses",
        "_handler",
        "_index",
        "_link",
        "_loss_is_marked",
        "_lost",
        "_lost_before",
        "_records",
        "_stamps",
    )

    def __init__(self, index: int, link: Link, capacity: int) -> None:
        self._index, self._link = index, link
        self._capacity = max(capacity // link.elements, 1)
        self._records: list[bytes] = []
        self._stamps: list[float] = []
        self._lost = self._lost_before = 0
        self._early_losses = 0
        self._loss_is_marked = True
        receive = self._scalar_receiver() if link.elements == 1 else self._waveform_receiver()
        self._handler = EventHandler(receive)
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

    def _scalar_receiver(self) -> Callable[[Any], None]:
        # Closures and lists are the quickest that Python has: this runs for every update.
        records, keep, stamp = self._records, self._records.append, self._stamps.append
        capacity, whole, now = self._capacity, slice(0, RECORD.itemsize), time.time
        circuit: Circuit | None = None

        def receive(arguments: Any) -> None:
            nonlocal circuit
            try:
                here = threads.circuit
            except AttributeError:
                here = this_circuit()
            if here is not circuit:
                self._changed(circuit)
                circuit = here
            if len(records) < capacity:
                try:
                    record = arguments.raw_dbr[whole]
                except ValueError:
                    # No record: the server says that it cannot give the value.
                    record = _LOSS
                # In this order: whoever sees a record finds its stamp.
                stamp(now())
                keep(record)
            else:
                self._lost += 1

        return receive

    def _waveform_receiver(self) -> Callable[[Any], None]:
        records, keep, stamp = self._records, self._records.append, self._stamps.append
        capacity, size, now = self._capacity, RECORD["value"].itemsize, time.time
        circuit: Circuit | None = None

        def receive(arguments: Any) -> None:
            nonlocal circuit
            try:
                here = threads.circuit
            except AttributeError:
                here = this_circuit()
            if here is not circuit:
                self._changed(circuit)
                circuit = here
            if len(records) < capacity:
                try:
                    record = arguments.raw_dbr[: HEADER + size * arguments.count]
                except ValueError:
                    record = _LOSS
                stamp(now())
                keep(record)
            else:
                self._lost += 1

        return receive

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
        self._stamps.append(time.time())
        self._records.append(_LOSS)

    def decode(self) -> Batch:
        """Return what was kept and forget it."""
        count = len(self._records)
        records, stamps = self._records[:count], self._stamps[:count]
        del self._records[:count], self._stamps[:count]
        # Only a full list loses, so these were lost after the last record taken.
        total = self.lost
        lost, self._lost_before = total - self._lost_before, total
        arrivals = np.array(stamps)
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
