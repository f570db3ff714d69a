"""What a device offers to the sampler: channels and where their updates come from.

A device has channels of its own (`Sampled`), or its class is registered (`register_channels`), or
it follows a protocol of Bluesky, ophyd-async or classic ophyd, which `any_device` understands.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, singledispatch
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from ophyd_async.core import SignalR

from glidepath.timeline.channel import Channel, ChannelKind
from glidepath.timeline.tracks import Mark

from .extensions import load_extensions
from .feeds import Feed

EXTENSIONS = "glidepath.channels"
"""Group of the entry points of packages that register classes with `register_channels`."""


@dataclass(frozen=True)
class SampledChannel:
    """A channel and the source of its updates.

    Parameters
    ----------
    channel
        What the values mean.
    source
        Where they come from, as ``ca://PV`` or ``pva://PV``, or a name that is only shown if there
        is a ``feed``.
    interval
        Seconds between the elements of a waveform that is a time series; its last element belongs
        to the waveform's timestamp. 0: the channel's aperture.
    settings
        Sources of the settings on which the channel's exposure depends; their values are numbers.
    feed
        Brings the updates of a source that no client finds by its name.
    """

    channel: Channel
    source: str
    interval: float = 0.0
    settings: tuple[str, ...] = ()
    feed: Feed | None = field(default=None, compare=False)


def offers(device: Any, protocol: type[Any]) -> bool:
    """Tell whether a device has all that a protocol names itself: isinstance, but quick.

    A scan asks several times for each device, and up to Python 3.11 isinstance takes 20 us for
    each answer.
    """
    return all(hasattr(device, name) for name in _named_by(protocol))  # type: ignore[arg-type]


@cache
def _named_by(protocol: Any) -> tuple[str, ...]:
    return tuple(name for name in vars(protocol) if not name.startswith("_"))


@runtime_checkable
class Sampled(Protocol):
    """A device whose readings can be sampled during a scan."""

    @property
    def name(self) -> str:
        """Name of the device."""
        ...

    async def channels(self) -> list[SampledChannel]:
        """Return the channels as they are set up now (an aperture can be a setting)."""
        ...


@runtime_checkable
class BeginsSampling(Protocol):
    """A sampled device that does not send updates by itself: it must be let run for a scan."""

    async def begin_sampling(self) -> None:
        """Let it run, if it is staged; ``unstage`` ends that. This is called before `channels`."""
        ...


@dataclass(frozen=True)
class Derived:
    """A column of the primary table that is computed from others, row by row.

    Parameters
    ----------
    name, unit
        Name and unit of the column.
    inputs
        Names of the columns that the function takes, as arrays of shape (m,).
    function
        Computes the column, an array of shape (m,).
    bound
        Function of the same inputs; rows in which the column's absolute value is above what it
        returns are marked `Quality.TRACKING`. None: there is no bound.
    """

    name: str
    unit: str
    inputs: tuple[str, ...]
    function: Callable[..., NDArray[np.float64]]
    bound: Callable[..., NDArray[np.float64]] | None = None


@runtime_checkable
class WithDerived(Protocol):
    """A sampled device that adds derived columns (an undulator's energy, a tracking error)."""

    def derived(self) -> list[Derived]:
        """Return the columns, in the order in which they are to be computed."""
        ...


@runtime_checkable
class WithMarks(Protocol):
    """A sampled device that knows when rows are not as they should be (a ring without beam)."""

    def marks(self) -> list[Mark]:
        """Return what is to be marked in ``quality``."""
        ...


@runtime_checkable
class WithExposure(Protocol):
    """A detector whose exposure can be set before a scan."""

    @property
    def name(self) -> str:
        """Name of the device."""
        ...

    @property
    def integration_time(self) -> SignalR[float]:
        """The exposure of one reading as it is set now, in seconds."""
        ...

    def check_integration_time(self, seconds: float) -> None:
        """Refuse (ValueError, one sentence) an exposure in seconds that cannot be set."""
        ...

    async def set_integration_time(self, seconds: float) -> None:
        """Set the exposure in seconds; ValueError with the possible range if it cannot be."""
        ...


@singledispatch
async def _channels_of(device: Any) -> list[SampledChannel]:
    raise NotImplementedError  # any_device registers what is done for an object of any class.


register_channels = _channels_of.register
"""Registers an async function (device) -> list of `SampledChannel` for a class of devices."""


async def channels_for(device: Any) -> list[SampledChannel]:
    """Return the channels of any device, as it is set up now.

    Its own ``channels()`` if it has them; else what is registered for its class; else what its
    protocol tells: the position of a motor is continuous, other readings are means of which the
    exposure is not known, choices and configuration are states. `sampled` says otherwise.

    Parameters
    ----------
    device
        A connected device or signal of ophyd-async, of classic ophyd, or one that follows
        Bluesky's ``Readable``.

    Raises
    ------
    ValueError
        If it has nothing that can be sampled, or a reading that is text or an array.
    """
    if offers(device, Sampled):
        return list(await device.channels())
    _load()
    return await _channels_of(device)


def can_be_sampled(device: Any) -> bool:
    """Return whether `channels_for` knows this kind of device; it need not be connected."""
    from .any_device import has_protocol

    if offers(device, Sampled) or has_protocol(device):
        return True
    _load()
    return _channels_of.dispatch(type(device)) is not _channels_of.dispatch(object)


def _load() -> None:
    """Register the classes of ophyd-async and those of other packages."""
    # Imported here and not above, because it imports this module itself.
    from . import any_device  # noqa: F401

    load_extensions(EXTENSIONS)


class SampledAs:
    """A device of which a user has said what its readings mean; `sampled` makes it.

    All other attributes are those of the device.
    """

    def __init__(
        self,
        device: Any,
        kind: ChannelKind | None,
        aperture: float,
        latency: float,
        interval: float,
    ) -> None:
        self.device = device
        self._kind, self._aperture = kind, aperture
        self._latency, self._interval = latency, interval

    def __getattr__(self, name: str) -> Any:
        # This is called for names that are not found here. Copying and pickling ask for some
        # before there is a device.
        if name == "device":
            raise AttributeError(name)
        return getattr(self.device, name)

    def __repr__(self) -> str:
        return f"sampled({self.device!r})"

    async def channels(self) -> list[SampledChannel]:
        """Return the device's channels with what the user has said of them."""
        found = await channels_for(self.device)
        measured = [c for c in found if c.channel.kind is not ChannelKind.STATE]
        # What is a state stays one beside a measured value: it is a setting.
        meant = measured or found
        return [self._said(c) if c in meant else c for c in found]

    def _said(self, sampled_channel: SampledChannel) -> SampledChannel:
        channel = sampled_channel.channel
        kind = self._kind or (ChannelKind.DETECTOR if self._aperture else channel.kind)
        return replace(
            sampled_channel,
            channel=replace(channel, kind=kind, aperture=self._aperture, latency=self._latency),
            interval=self._interval or sampled_channel.interval,
        )


def sampled(
    device: Any,
    *,
    kind: str | None = None,
    aperture: float = 0.0,
    latency: float = 0.0,
    interval: float = 0.0,
) -> Any:
    """Say what the readings of a device mean, where its protocol cannot.

    Parameters
    ----------
    device
        Any device that `channels_for` knows.
    kind
        ``"readback"`` (continuous: interpolated), ``"detector"`` (an integral over an exposure)
        or ``"state"`` (holds until the next update). None: a detector if there is an aperture,
        else as found.
    aperture
        Length of an exposure in seconds; 0: not known.
    latency
        Seconds between the end of what was measured and the time stamp.
    interval
        Seconds between the elements of a waveform that is a time series.

    Returns
    -------
    SampledAs
        The device, to be given to a plan in its place.

    Raises
    ------
    ValueError
        If there is no such kind, or the kind has no aperture.

    Examples
    --------
    ``RE(flyscan([sampled(diode, aperture=0.02)], energy, 370, 470, 0.5))``
    """
    kinds = [str(known) for known in ChannelKind]
    if kind is not None and kind not in kinds:
        raise ValueError(f"{kind!r} is no kind of reading; choose one of {', '.join(kinds)}.")
    meant = None if kind is None else ChannelKind(kind)
    # A channel refuses what does not fit together, with a sentence.
    Channel(
        getattr(device, "name", "") or "reading",
        meant or ChannelKind.DETECTOR,
        latency=latency,
        aperture=aperture,
    )
    return SampledAs(device, meant, aperture, latency, interval)
