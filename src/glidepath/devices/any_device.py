"""Channels of devices that know nothing of Glidepath, by the protocols that they follow."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ophyd_async.core import Device, SignalR, StandardDetector, StandardMovable, walk_devices

from glidepath.sentences import is_silence, joined, sentence_of
from glidepath.timeline.channel import Channel, ChannelKind

from .classic import classic_channels, is_classic
from .feeds import PolledFeed, SubscribedFeed, feed_by_source, read_of
from .sampled import SampledChannel, register_channels

__all__ = ["has_protocol"]

NUMBERS = ("number", "integer")
"""Data types of descriptors that are numbers."""

CHANNEL_ACCESS = "ca://"

WHAT_TO_DO = (
    "let it follow triggers (triggers=Triggers(...)) if it can, give signals of it that update by "
    "themselves, or leave it out."
)
"""What is said of a device that has readings only after somebody has prepared or triggered it."""


def has_protocol(device: Any) -> bool:
    """Return whether a device follows a protocol that is known here."""
    return (
        isinstance(device, (SignalR, StandardMovable))
        or is_classic(device)
        or (callable(getattr(device, "read", None)) and callable(getattr(device, "describe", None)))
    )


@register_channels
async def _(device: object) -> list[SampledChannel]:
    if is_classic(device):
        return await classic_channels(device)
    if not has_protocol(device):
        raise ValueError(
            f"{getattr(device, 'name', None) or device!r} cannot be sampled: it is neither a "
            "signal nor a device that can be read; give its signals, or add channels() to its "
            "class."
        )
    return await _channels_of_readable(device)


@register_channels
async def _(signal: SignalR) -> list[SampledChannel]:
    described = await _asked(signal)
    return [_channel(_Reading.of(signal.name, described[signal.name]), signal)]


@register_channels
async def _(motor: StandardMovable) -> list[SampledChannel]:
    readback = motor.movable_logic.readback
    described = await _asked(readback)
    reading = _Reading.of(motor.name or readback.name, described[readback.name])
    return [_channel(reading, readback, continuous=True)]


@register_channels
async def _(detector: StandardDetector) -> list[SampledChannel]:
    # Not even what it reads is known of it before it is prepared.
    raise ValueError(
        f"{detector.name} cannot be sampled: it has readings only after it was prepared and "
        f"triggered, which a sampled scan does not do; {WHAT_TO_DO}"
    )


async def _asked(device: Any, method: str = "describe") -> Mapping[str, Any]:
    """Return what a signal or a device answers to a method of Bluesky's protocols.

    Raises
    ------
    ValueError
        If it is not connected, or cannot answer as it is now.
    """
    try:
        return await read_of(device, method)
    except NotImplementedError:
        # What ophyd-async says of a signal that nobody has connected.
        source = f" ({device.source})" if isinstance(device, SignalR) else ""
        raise ValueError(
            f"{device.name}{source} is not connected; connect it before the scan, for "
            "example with RE(ensure_connected(...)) of ophyd_async.plan_stubs."
        ) from None
    except Exception as error:
        if isinstance(error, OSError) or is_silence(error):
            # A server, or a wire, that does not answer has a sentence of its own.
            raise
        raise _without_readings(device, error) from error


def _without_readings(device: Any, error: Exception) -> ValueError:
    return ValueError(
        f"{device.name} cannot be sampled: it has no readings as it is now "
        f"({joined(sentence_of(error))}); if it has them only after it was prepared or triggered, "
        f"{WHAT_TO_DO}"
    )


@dataclass(frozen=True)
class _Reading:
    """What a descriptor says of one reading."""

    name: str
    source: str
    unit: str
    numeric: bool
    choices: tuple[str, ...]
    kind: str

    @classmethod
    def of(cls, name: str, key: Mapping[str, Any]) -> "_Reading":
        choices = tuple(key.get("choices") or key.get("enum_strs") or ())
        dtype = key["dtype"]
        return cls(
            name,
            str(key.get("source", "")),
            str(key.get("units") or ""),
            dtype in NUMBERS and not choices,
            choices,
            "text" if dtype == "string" else dtype,
        )

    @property
    def usable(self) -> bool:
        return self.numeric or bool(self.choices) or self.kind == "boolean"

    def refusal(self) -> ValueError:
        what = f"an {self.kind}" if self.kind == "array" else self.kind
        return ValueError(
            f"{self.name} ({self.source}) holds {what}, which cannot be sampled: choose signals "
            "that hold a number or a choice, such as another signal of the device."
        )


def _channel(
    reading: _Reading, origin: Any, *, continuous: bool = False, setting: bool = False
) -> SampledChannel:
    """Return the channel of one reading.

    Parameters
    ----------
    reading
        What is known of it.
    origin
        The signal that has it, or the device that is read for it.
    continuous, setting
        Whether it is the position of a motor, or a part of the configuration.

    Raises
    ------
    ValueError
        If it is text or an array.
    """
    if not reading.usable:
        raise reading.refusal()
    if continuous:
        kind = ChannelKind.READBACK
    elif setting or not reading.numeric:
        kind = ChannelKind.STATE
    else:
        kind = ChannelKind.DETECTOR
    channel = Channel(reading.name, kind, reading.unit)
    if reading.source.startswith(CHANNEL_ACCESS) or feed_by_source(reading.source) is not None:
        return SampledChannel(channel, reading.source)
    key = getattr(origin, "name", reading.name) if isinstance(origin, SignalR) else reading.name
    feed = SubscribedFeed if hasattr(origin, "subscribe_reading") else PolledFeed
    return SampledChannel(channel, reading.source, feed=feed(origin, key, reading.choices))


async def _channels_of_readable(device: Any) -> list[SampledChannel]:
    """Return the readings and the configuration of a device of Bluesky's protocol.

    A reading that cannot be sampled is refused; a part of the configuration is left out, for it
    is text more often than not.
    """
    signals, positions = _signals_of(device)
    readings = _readings(await _asked(device))
    settings: list[_Reading] = []
    if callable(getattr(device, "describe_configuration", None)):
        settings = _readings(await _asked(device, "describe_configuration"))
    moves = callable(getattr(device, "set", None))
    found = [
        _channel(
            reading,
            signals.get(reading.name, device),
            continuous=reading.numeric and (reading.name in positions or moves),
        )
        for reading in readings
    ]
    found += [
        _channel(setting, signals[setting.name], setting=True)
        for setting in settings
        if setting.usable and setting.name in signals
    ]
    if not found:
        raise ValueError(
            f"{device.name} cannot be sampled: it has no readings; give its signals instead."
        )
    if any(isinstance(channel.feed, PolledFeed) for channel in found):
        # It is going to be read again and again.
        await _asked(device, "read")
    return found


def _readings(described: Mapping[str, Any]) -> list[_Reading]:
    return [_Reading.of(name, key) for name, key in described.items()]


def _signals_of(device: Any) -> tuple[dict[str, SignalR], set[str]]:
    """Return the signals of an ophyd-async device by name, and which are positions of motors."""
    if not isinstance(device, Device):
        return {}, set()
    children: Iterable[Device] = walk_devices(device).values()
    signals = {child.name: child for child in children if isinstance(child, SignalR)}
    motors = [child for child in children if isinstance(child, StandardMovable)]
    return signals, {motor.movable_logic.readback.name for motor in motors}
