"""What monitors deliver, and what their two implementations have in common."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from glidepath.devices.sampled import SampledChannel

Floats = NDArray[np.float64]

CONNECT_TIMEOUT = 5.0
"""Seconds in which every channel must have sent its first value."""

CAPACITY = 2**18
"""Values per channel that are kept until they are drained; about 25 MB."""

EPICS_EPOCH = 631152000
"""POSIX seconds of 1990-01-01, where the time of EPICS begins."""

INVALID = 3
"""Severity of a value that must not be used (EPICS: INVALID_ALARM)."""

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
        Of the process variable.
    host
        Address of the server.
    elements
        1 for a scalar, else the largest number of elements of the waveform.
    interval
        Seconds between the elements of a waveform; its last one has the waveform's timestamp.
    """

    name: str
    host: str
    elements: int
    interval: float

    @property
    def count(self) -> int:
        """Elements to ask for; 0: as many as there are."""
        return 1 if self.elements == 1 else 0


async def connect(channels: Sequence[SampledChannel], timeout: float) -> list[Link]:
    """Connect to all channels and look at what they are; see `Monitors.open`."""
    # aioca reads EPICS_* from the environment when it is first imported.
    from aioca import cainfo

    names = [pv_name(sampled.source) for sampled in channels]
    infos = await cainfo(names, timeout=timeout, throw=False)
    silent = [sampled for sampled, info in zip(channels, infos, strict=True) if not info.ok]
    if silent:
        raise no_answer(silent, timeout)
    links = []
    for sampled, name, info in zip(channels, names, infos, strict=True):
        channel = sampled.channel
        if info.datatype == STRING:
            raise ValueError(
                f"{channel.name} ({name}) holds text, which cannot be sampled: "
                "choose a process variable that holds numbers or a choice."
            )
        interval = sampled.interval or channel.aperture
        if info.count > 1 and not interval > 0:
            raise ValueError(
                f"{channel.name} ({name}) is a waveform of up to {info.count} elements, but nobody "
                "said how far they are apart: give its SampledChannel an interval in seconds."
            )
        links.append(Link(name, info.host, info.count, interval))
    return links


async def first_values(
    channels: Sequence[SampledChannel], arrived: Sequence[asyncio.Event], timeout: float
) -> None:
    """Wait until every channel has sent a value; see `Monitors.open`."""
    waiting = asyncio.gather(*(event.wait() for event in arrived))
    try:
        await asyncio.wait_for(waiting, timeout)
    except TimeoutError:
        silent = [c for c, event in zip(channels, arrived, strict=True) if not event.is_set()]
        raise no_answer(silent, timeout) from None


def no_answer(silent: Sequence[SampledChannel], timeout: float) -> ConnectionError:
    """Return the error that names the channels that are silent."""
    names = ", ".join(f"{c.channel.name} ({pv_name(c.source)})" for c in silent)
    return ConnectionError(
        f"No value came from {names} within {timeout:g} s; "
        "check that its server runs and can be reached."
    )


def times_of_elements(timestamp: float, count: int, interval: float) -> Floats:
    """Return the timestamps of a waveform's elements, shape (count,): the last has its own.

    Examples
    --------
    >>> times_of_elements(100.0, 3, 0.5).tolist()
    [99.0, 99.5, 100.0]
    """
    return timestamp - interval * np.arange(count - 1, -1, -1.0)


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
            f"{source} cannot be sampled: only Channel Access sources (ca://NAME) can be."
        )
    return name


__all__ = [
    "CAPACITY",
    "CONNECT_TIMEOUT",
    "EPICS_EPOCH",
    "INVALID",
    "Batch",
    "Link",
    "Monitors",
    "connect",
    "first_values",
    "no_answer",
    "pv_name",
    "times_of_elements",
]
