"""Process variables of the simulated servers: caproto channels with a clock and a put handler."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
from caproto import (
    AccessRights,
    AlarmSeverity,
    AlarmStatus,
    ChannelChar,
    ChannelDouble,
    ChannelEnum,
    ChannelInteger,
    ChannelString,
    SkipWrite,
    SubscriptionType,
)

__all__ = ["Choice", "Clock", "Database", "Integer", "LongText", "Number", "Text"]

_FLAGS = SubscriptionType.DBE_VALUE | SubscriptionType.DBE_LOG


class Clock:
    """The clock of one server: true time plus an offset, in POSIX seconds."""

    def __init__(self, offset: float = 0.0) -> None:
        self.offset = offset

    def now(self) -> float:
        """What this server believes the time to be."""
        return time.time() + self.offset


class _Channel:
    """What all channels here have in common: see :class:`Database`."""

    clock: Clock
    writable = False
    accept: Callable[[Any], Any] | None = None
    on_put: Callable[[Any], Awaitable[None]] | None = None

    def check_access(self, hostname: str, username: str) -> AccessRights:
        return AccessRights.READ | AccessRights.WRITE if self.writable else AccessRights.READ

    _taken = False

    @property
    def observed(self) -> bool:
        """Whether a client monitors it."""
        return any(
            specifications
            for filters in self._queues.values()  # type: ignore[attr-defined]
            for types in filters.values()
            for specifications in types.values()
        )

    def within_limits(self, data: Any) -> bool:
        """Whether the drive limits allow a client's value."""
        return True

    async def verify_value(self, data: Any) -> Any:
        # Before caproto's own check of the limits, which would answer with an error; a record
        # keeps its old value.
        accepted = data if self.accept is None else self.accept(data)
        if accepted is None or not self.within_limits(accepted):
            raise SkipWrite
        self._taken = True
        return await super().verify_value(accepted)  # type: ignore[misc]

    async def write(self, value: Any, **metadata: Any) -> Any:
        metadata.setdefault("timestamp", self.clock.now())
        return await super().write(value, **metadata)  # type: ignore[misc]

    async def auth_write(self, *args: Any, **kwargs: Any) -> Any:
        self._taken = False
        status = await super().auth_write(*args, **kwargs)  # type: ignore[misc]
        if self._taken and self.on_put is not None:
            value = self.value  # type: ignore[attr-defined]
            await self.on_put(value.item() if hasattr(value, "item") else value)
        return status

    async def post(self, value: Any, true_time: float | None = None, **metadata: Any) -> None:
        """Publish a value from the inside, time-stamped for ``true_time`` (POSIX s; None: now)."""
        if true_time is not None:
            metadata["timestamp"] = true_time + self.clock.offset
        await self.write(value, flags=_FLAGS, verify_value=False, update_fields=False, **metadata)

    async def change(self, value: Any, true_time: float | None = None) -> None:
        """Publish a value if it differs from the present one."""
        if value != self.value:  # type: ignore[attr-defined]
            await self.post(value, true_time)


class Number(_Channel, ChannelDouble):
    """A float64 process variable."""

    def within_limits(self, data: Any) -> bool:
        """Whether the drive limits allow a client's value; equal limits mean none."""
        low, high = self.lower_ctrl_limit, self.upper_ctrl_limit
        return bool(low == high or low <= data <= high)

    async def post_invalid(self, value: float, true_time: float) -> None:
        """Publish a value with a major alarm."""
        await self.post(
            value, true_time, status=AlarmStatus.HIHI, severity=AlarmSeverity.MAJOR_ALARM
        )

    async def post_valid(self, value: float, true_time: float) -> None:
        """Publish a value and clear the alarm."""
        if self.alarm.severity == AlarmSeverity.NO_ALARM:
            await self.post(value, true_time)
        else:
            await self.post(
                value, true_time, status=AlarmStatus.NO_ALARM, severity=AlarmSeverity.NO_ALARM
            )


class Integer(_Channel, ChannelInteger):
    """A 32-bit integer process variable."""


class Choice(_Channel, ChannelEnum):
    """A process variable with named choices; its Python value is the name."""


class Text(_Channel, ChannelString):
    """A process variable with up to 39 characters of text."""


class LongText(_Channel, ChannelChar):
    """A waveform of characters: text of any length that fits."""

    async def verify_value(self, data: Any) -> Any:
        """Take a client's text without the zero that ends a string in C."""
        return await super().verify_value(str(data).split("\0", 1)[0])

    async def write_from_dbr(self, data: Any, *arguments: Any, **keywords: Any) -> Any:
        """Take an empty text too, which the library's conversion fails on."""
        if np.asarray(data).tobytes().strip(b"\0"):
            return await super().write_from_dbr(data, *arguments, **keywords)
        return await self.write("", flags=_FLAGS)


class Database(dict[str, Any]):
    """The process variables of one server, by full name.

    Parameters
    ----------
    prefix
        What every name begins with.
    clock
        The server's clock.

    Notes
    -----
    The adding methods have in common: ``accept`` gets a client's value and returns the value to
    store, or None to keep the old one; ``on_put`` is awaited after the value has been published,
    and a put with completion ends with it. A value outside the drive ``limits`` is not taken
    either. A variable with none of these is read-only unless ``writable``.
    """

    def __init__(self, prefix: str, clock: Clock) -> None:
        super().__init__()
        self.prefix = prefix
        self.clock = clock

    def _add(
        self,
        name: str,
        channel: Any,
        writable: bool = False,
        accept: Callable[[Any], Any] | None = None,
        on_put: Callable[[Any], Awaitable[None]] | None = None,
    ) -> Any:
        channel.clock = self.clock
        channel.accept, channel.on_put = accept, on_put
        channel.writable = writable or accept is not None or on_put is not None
        self[self.prefix + name] = channel
        return channel

    def number(
        self,
        name: str,
        value: float,
        unit: str = "",
        precision: int = 4,
        limits: tuple[float, float] = (0.0, 0.0),
        **handlers: Any,
    ) -> Number:
        """Add a float64 variable; ``limits`` are its drive limits, equal ones mean none."""
        channel = Number(
            value=float(value),
            units=unit,
            precision=precision,
            lower_ctrl_limit=limits[0],
            upper_ctrl_limit=limits[1],
            timestamp=self.clock.now(),
        )
        handlers.setdefault("writable", limits[0] != limits[1])
        return self._add(name, channel, **handlers)

    def integer(self, name: str, value: int, **handlers: Any) -> Integer:
        """Add a 32-bit integer variable."""
        return self._add(name, Integer(value=value, timestamp=self.clock.now()), **handlers)

    def choice(self, name: str, value: str, choices: tuple[str, ...], **handlers: Any) -> Choice:
        """Add a variable with named choices."""
        channel = Choice(value=value, enum_strings=choices, timestamp=self.clock.now())
        return self._add(name, channel, **handlers)

    def text(self, name: str, value: str, **handlers: Any) -> Text:
        """Add a text variable."""
        channel = Text(value=value, timestamp=self.clock.now(), string_encoding="latin-1")
        return self._add(name, channel, **handlers)

    def long_text(self, name: str, value: str, size: int = 256, **handlers: Any) -> LongText:
        """Add a text variable of up to ``size`` characters, a waveform of them."""
        channel = LongText(value=value, max_length=size, timestamp=self.clock.now())
        return self._add(name, channel, **handlers)

    def array(self, name: str, size: int, unit: str = "", **handlers: Any) -> Number:
        """Add a waveform of up to ``size`` float64 values, empty at first."""
        channel = Number(value=[], max_length=size, units=unit, timestamp=self.clock.now())
        return self._add(name, channel, **handlers)

    def integers(self, name: str, size: int, **handlers: Any) -> Integer:
        """Add a waveform of up to ``size`` 32-bit integers, empty at first."""
        channel = Integer(value=[], max_length=size, timestamp=self.clock.now())
        return self._add(name, channel, **handlers)
