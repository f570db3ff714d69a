"""What monitors deliver, and what their two implementations have in common."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from glidepath.devices.sampled import SampledChannel

Floats = NDArray[np.float64]

CONNECT_TIMEOUT = 5.0
"""Seconds in which every channel must have sent its first value."""

POLL_PERIOD = 0.001
"""Seconds between two looks for what connects and answers; it does not wake the event loop."""

CAPACITY = 2**18
"""Values per channel that are kept until they are drained; about 17 MB on the fast path."""

EPICS_EPOCH = 631152000
"""POSIX seconds of 1990-01-01, where the time of EPICS begins."""

INVALID = 3
"""Severity of a value that must not be used (EPICS: INVALID_ALARM)."""

LOST = 2**32 - 1
"""Nanoseconds of what is no update, but the mark of a lost connection."""

STRING = 0
"""Channel Access type of strings (DBF_STRING)."""


@dataclass(frozen=True)
class Batch:
    """Updates of one channel, in the order in which they arrived.

    Attributes
    ----------
    index
        Number of the channel.
    timestamps, values
        Shape (n,): the server's timestamp (POSIX s, as exact as float64 allows: 0.2 us) and the
        value; the number of an enum. Of a waveform every element counts. A NaN timestamp marks
        the loss of the connection at ``arrivals``.
    arrivals
        Shape (n,): the local clock at arrival (POSIX s), or a little later where updates come
        thick and fast; never before the arrival.
    severities
        Shape (n,), uint8: severity of the alarm (0 none, 1 minor, 2 major, 3 invalid).
    lost
        Values thrown away between the last of this batch and the first of the next one, because
        nobody drained the channel in time.
    """

    index: int
    timestamps: Floats
    values: Floats
    arrivals: Floats
    severities: NDArray[np.uint8]
    lost: int = 0


class Monitors(Protocol):
    """Receives every update of a set of channels.

    Implementations take the channels, and the number of values per channel that they may keep
    between two calls of `drain`. They are opened, drained and closed in one event loop.
    """

    @property
    def lost(self) -> tuple[int, ...]:
        """Values thrown away so far because nobody drained in time, one number per channel.

        What a server drops because its client or the network is too slow cannot be known here:
        Channel Access does not say it.
        """
        ...

    async def open(self, timeout: float = CONNECT_TIMEOUT) -> None:
        """Subscribe, and return when every channel has sent a first value.

        Raises
        ------
        ConnectionError
            Naming the channels that did not answer.
        ValueError
            If a channel cannot be sampled: it holds text, or is a waveform of which nobody said
            how far its elements are apart.
        """
        ...

    def drain(self) -> list[Batch]:
        """Return what arrived since the last call."""
        ...

    def close(self) -> None:
        """End all subscriptions. Closing twice is harmless."""
        ...


@dataclass(frozen=True)
class Link:
    """A connected channel, as its server describes it.

    Attributes
    ----------
    name
        Name of the process variable.
    elements
        1 for a scalar, else the largest number of elements of the waveform.
    interval
        Seconds between the elements of a waveform; its last one has the waveform's timestamp.
    """

    name: str
    elements: int
    interval: float

    @property
    def count(self) -> int:
        """Elements to ask for; 0: as many as there are."""
        return 1 if self.elements == 1 else 0

    def capacity(self, values: int) -> int:
        """Return how many of ``values`` may be kept: at least one whole waveform."""
        return max(values, self.elements)


def link(sampled: SampledChannel, datatype: int, elements: int) -> Link:
    """Return what is needed to subscribe to a channel of this Channel Access type and length.

    Raises
    ------
    ValueError
        If it cannot be sampled; see `Monitors.open`.
    """
    channel, name = sampled.channel, pv_name(sampled.source)
    if datatype == STRING:
        raise ValueError(
            f"{channel.name} ({name}) holds text, which cannot be sampled: "
            "choose a process variable that holds numbers or a choice."
        )
    interval = sampled.interval or channel.aperture
    if elements > 1 and not interval > 0:
        raise ValueError(
            f"{channel.name} ({name}) is a waveform of up to {elements} elements, but nobody "
            "said how far they are apart: give it with sampled(..., interval=...), in seconds."
        )
    return Link(name, elements, interval)


def batch_of(
    index: int,
    link: Link,
    stamps: tuple[NDArray, NDArray],
    values: Floats,
    arrivals: Floats,
    severities: NDArray[np.uint8],
    counts: NDArray[np.integer],
    lost: int,
) -> Batch:
    """Return updates as a batch, in which each element of a waveform counts.

    Parameters
    ----------
    index, link
        The channel.
    stamps
        Seconds (POSIX) and nanoseconds (`LOST`: not an update) of each update, shape (n,).
    values
        Shape (sum of counts,).
    arrivals, severities, counts
        Shape (n,): arrival, severity and number of values of each update.
    lost
        See `Batch`.
    """
    seconds, nanoseconds = stamps
    times: Floats = seconds + nanoseconds * 1e-9
    times[nanoseconds == LOST] = np.nan
    if link.elements > 1:
        times = _times_of_elements(times, counts, link.interval)
        arrivals, severities = (_each(column, counts) for column in (arrivals, severities))
    return Batch(index, times, values, arrivals, severities, lost)


def _times_of_elements(times: Floats, counts: NDArray[np.integer], interval: float) -> Floats:
    """Return the time of each element of waveforms, of which the last one has the timestamp.

    Waveforms of one length, as all but the marks of losses are, take fewer passes over the memory.
    """
    if length := _one_length(counts):
        behind = interval * np.arange(length - 1.0, -1.0, -1.0)
        return (times[:, None] - behind).ravel()
    counted = np.repeat(np.cumsum(counts), counts) - np.arange(1.0, int(np.sum(counts)) + 1)
    found: Floats = np.repeat(times, counts) - interval * counted
    return found


def _each(column: NDArray, counts: NDArray[np.integer]) -> NDArray:
    """Return a column of waveforms for each of their elements."""
    if length := _one_length(counts):
        return np.broadcast_to(column[:, None], (len(column), length)).ravel()
    return np.repeat(column, counts)


def _one_length(counts: NDArray[np.integer]) -> int:
    """Return the number of elements of waveforms that have all the same, else 0."""
    length = int(counts[0]) if len(counts) else 0
    return length if length and bool((counts == length).all()) else 0


async def until_none(
    silent: Callable[[], Sequence[SampledChannel]], deadline: float, timeout: float
) -> None:
    """Wait until no channel is silent any more.

    Parameters
    ----------
    silent
        Returns those that are.
    deadline
        When to give up, on the monotonic clock.
    timeout
        Seconds from the beginning to the deadline, for the error's text.

    Raises
    ------
    ConnectionError
        Naming the channels that are still silent.
    """
    while silence := silent():
        if time.monotonic() > deadline:
            raise no_answer(silence, timeout)
        await asyncio.sleep(POLL_PERIOD)


def no_answer(silent: Sequence[SampledChannel], timeout: float) -> ConnectionError:
    """Return the error that names the channels that are silent."""
    names = ", ".join(f"{c.channel.name} ({shown(c.source)})" for c in silent)
    return ConnectionError(
        f"No value came from {names} within {timeout:g} s; "
        "check that its server runs and can be reached."
    )


def shown(source: str) -> str:
    """Return a source as a user knows it: its name, without the protocol."""
    return source.partition("://")[2] or source


def pv_name(source: str) -> str:
    """Return the Channel Access name in a source such as ``ca://SIM:PGM1:monoGetEnergy``.

    Raises
    ------
    ValueError
        If the source is of another protocol.
    """
    protocol, found, name = source.partition("://")
    if not found:
        return source
    if protocol != "ca":
        raise ValueError(
            f"{source} cannot be sampled by its name: only Channel Access (ca://NAME) and "
            "PV Access (pva://NAME) can be; another source needs a feed."
        )
    return name


__all__ = [
    "CAPACITY",
    "CONNECT_TIMEOUT",
    "EPICS_EPOCH",
    "INVALID",
    "LOST",
    "Batch",
    "Link",
    "Monitors",
    "batch_of",
    "link",
    "no_answer",
    "pv_name",
    "shown",
    "until_none",
]
