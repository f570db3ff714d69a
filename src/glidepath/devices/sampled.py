"""What a device offers to the sampler: channels and where their updates come from."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from ophyd_async.core import SignalR

from glidepath.timeline.aligner import Mark
from glidepath.timeline.channel import Channel


@dataclass(frozen=True)
class SampledChannel:
    """A channel and the source of its updates.

    Parameters
    ----------
    channel
        What the values mean.
    source
        Where they come from, as ``ca://PV``.
    interval
        Of a waveform that is a time series: seconds between its elements, of which the last
        belongs to the waveform's timestamp. 0: the channel's aperture.
    settings
        Sources of the settings on which the channel's exposure depends; numbers.
    """

    channel: Channel
    source: str
    interval: float = 0.0
    settings: tuple[str, ...] = ()


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
        """Let it run, if it is staged; its ``unstage`` ends that. Comes before its channels."""
        ...


@dataclass(frozen=True)
class Derived:
    """A column of the primary table that is computed from others, row by row.

    Parameters
    ----------
    name, unit
        Of the column.
    inputs
        Names of the columns that the function takes, arrays of shape (m,).
    function
        Returns an array of shape (m,).
    bound
        Takes the inputs too; rows whose absolute value is above what it returns are marked
        `Quality.TRACKING`. None: no bound.
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
