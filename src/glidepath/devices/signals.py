"""The one place where our devices meet ophyd-async's signals: units, types and waiting.

Three needs of a beamline that the stock signals leave open are met here:

- a record without engineering units still has a unit in the descriptor;
- the type of a record (``longout``, ``ao``, ``mbbo``) differs between beamlines; the device says
  which type it wants and Channel Access converts;
- waiting for a condition on several signals must see *every* update, have a bound, and not miss
  a status that was on for a single update.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from bluesky.protocols import Reading
from event_model import DataKey
from ophyd_async.core import (
    DEFAULT_TIMEOUT,
    SignalDatatypeT,
    SignalMetadata,
    SignalR,
    SignalRW,
    SignalW,
)
from ophyd_async.epics.core import CaSignalBackend, EpicsOptions

__all__ = [
    "GONE_TIMEOUT",
    "NoAnswerError",
    "Watch",
    "ask",
    "ask_reading",
    "comes_true",
    "holds_twice",
    "lost",
    "patience_with",
    "put_back",
    "read_limits",
    "signal_r",
    "signal_rw",
    "silent",
    "tell",
    "watch",
]

_Answer = TypeVar("_Answer")

HANGING_TIMEOUT = 4.0
"""Seconds in which a server must take the order to stop, or a setting that is put back."""

LOST_TIMEOUT = 12.0
"""Seconds for these orders where the connection is lost: the server may be coming back.

libca waits for up to 10 s before it looks for a lost server again (``disconnectGovernorPeriod``
in EPICS base).
"""

SECOND_LOOK = 0.3
"""Seconds after which what monitors say is compared with what the server says when asked."""

GONE_TIMEOUT = 2.0
"""Seconds for these orders to a server that did not answer a moment ago."""

SILENCE = 1.5
"""Seconds without an answer after which a server is said not to answer."""

# DBR codes of the Channel Access protocol (db_access.h), by the Python type that we ask for.
_DBR_OF_TYPE: dict[type, int] = {str: 0, int: 5, bool: 5, float: 6}
_DBR_OF_TEXT = (0, 3)
"""Strings and enumerations, which take a label."""


@dataclass
class _RequestedType:
    """Converter that leaves the conversion to the Channel Access server."""

    datatype: type
    read_dbr: int
    numeric: bool
    write_dbr: int | None = None
    metadata: SignalMetadata = field(default_factory=lambda: SignalMetadata())

    def value(self, value: Any) -> Any:
        return self.datatype(value)

    def write_value(self, value: Any) -> Any:
        # A label that is a number, such as a harmonic, for a record that holds a number.
        return float(value) if self.numeric else value


class _CaBackend(CaSignalBackend[SignalDatatypeT]):
    """Channel Access backend with a default unit that takes any scalar record."""

    def __init__(
        self,
        datatype: type[SignalDatatypeT],
        read_pv: str,
        write_pv: str,
        unit: str,
        wait: bool,
    ) -> None:
        self._unit = unit
        super().__init__(datatype, read_pv, write_pv, EpicsOptions(wait=wait))

    async def connect(self, timeout: float) -> None:
        try:
            await super().connect(timeout)
        except TypeError:
            # Only scalars can be converted; an array stays the mistake that it is.
            values = self.initial_values.values()
            if self.datatype not in _DBR_OF_TYPE or any(v.element_count != 1 for v in values):
                raise
            numeric = self.initial_values[self.write_pv].datatype not in _DBR_OF_TEXT
            self.converter = _RequestedType(  # type: ignore[assignment]
                self.datatype, _DBR_OF_TYPE[self.datatype], numeric
            )

    async def get_datakey(self, source: str) -> DataKey:
        datakey = await super().get_datakey(source)
        if self._unit and not datakey.get("units"):
            datakey["units"] = self._unit
        return datakey


def _name_of(pv: str) -> str:
    return pv.removeprefix("ca://")


def signal_r(datatype: type[SignalDatatypeT], pv: str, unit: str = "") -> SignalR[SignalDatatypeT]:
    """Return a signal that reads one PV.

    Parameters
    ----------
    datatype
        ``float``, ``int``, ``bool`` or ``str``; the server converts what its record holds. A
        ``str`` of an enumeration is its label.
    pv
        Name of the PV.
    unit
        Unit for the descriptor where the record has none.
    """
    name = _name_of(pv)
    return SignalR(_CaBackend(datatype, name, name, unit, wait=True))


def signal_rw(
    datatype: type[SignalDatatypeT],
    read_pv: str,
    write_pv: str | None = None,
    unit: str = "",
    wait: bool = True,
) -> SignalRW[SignalDatatypeT]:
    """Return a signal that reads one PV and writes the same or another one.

    Parameters
    ----------
    datatype, unit
        As for :func:`signal_r`.
    read_pv, write_pv
        Names of the PVs; without ``write_pv`` the first is written too.
    wait
        Whether a put ends when the record has finished processing. False for a PV that starts a
        motion: its processing may last as long as the motion, which is awaited otherwise.
    """
    read_name = _name_of(read_pv)
    write_name = _name_of(write_pv) if write_pv else read_name
    return SignalRW(_CaBackend(datatype, read_name, write_name, unit, wait))


async def read_limits(signal: SignalR[float]) -> tuple[float, float] | None:
    """Return the control limits (drive limits) of a signal, or None where it has none."""
    datakey = (await signal.describe())[signal.name]
    control = datakey.get("limits", {}).get("control")
    if control is None or control["low"] is None or control["high"] is None:
        return None
    return control["low"], control["high"]


class NoAnswerError(ConnectionError):
    """A server did not take what it was told, or did not say what it was asked."""


def lost(*signals: SignalW[Any] | SignalR[Any]) -> tuple[str, ...]:
    """Return the sources of those signals whose connection is lost at the moment."""
    if not any(signal.source.startswith("ca://") for signal in signals):
        return ()
    # aioca reads EPICS_* from the environment when it is first imported.
    from aioca import get_channel_infos

    gone = {channel.name for channel in get_channel_infos() if not channel.connected}
    return tuple(signal.source for signal in signals if _name_of(signal.source) in gone)


def patience_with(signal: SignalW[Any] | SignalR[Any]) -> float:
    """Return the seconds that the server of a signal may take to answer."""
    return LOST_TIMEOUT if lost(signal) else HANGING_TIMEOUT


async def tell(
    signal: SignalW[SignalDatatypeT], value: SignalDatatypeT, within: float | None = None
) -> None:
    """Set a signal.

    Raises
    ------
    NoAnswerError
        If its server did not take the value within that time in s (None: `patience_with` it). A
        server that hangs may take it later.
    """
    task = asyncio.current_task()
    cancelled = task.cancelling() if task else 0
    try:
        await signal.set(value, timeout=patience_with(signal) if within is None else within)
    except TimeoutError as error:
        raise NoAnswerError(f"{signal.source} does not answer") from error
    if task and task.cancelling() > cancelled:
        # Python 3.11 loses a cancellation that comes together with the answer.
        raise asyncio.CancelledError


async def ask(signal: SignalR[SignalDatatypeT], within: float | None = None) -> SignalDatatypeT:
    """Return the value of a signal, from its server.

    Raises
    ------
    NoAnswerError
        If its server did not say it within that time in s (None: `patience_with` it).
    """
    return await _answer(signal, signal.get_value(cached=False), within)


async def ask_reading(
    signal: SignalR[SignalDatatypeT], within: float | None = None
) -> Reading[SignalDatatypeT]:
    """Return the value of a signal with the time at which its record was processed last.

    A record that is processed again and has the same value tells its monitors nothing: only who
    asks gets to know that the value is a new one.

    Raises
    ------
    NoAnswerError
        As for `ask`.
    """
    readings = await _answer(signal, signal.read(cached=False), within)
    return readings[signal.name]


async def _answer(
    signal: SignalR[Any], question: Coroutine[Any, Any, _Answer], within: float | None
) -> _Answer:
    asking = asyncio.ensure_future(question)
    try:
        await asyncio.wait({asking}, timeout=patience_with(signal) if within is None else within)
        if not asking.done():
            raise NoAnswerError(f"{signal.source} does not answer")
        return asking.result()
    except TimeoutError as error:
        raise NoAnswerError(f"{signal.source} does not answer") from error
    finally:
        asking.cancel()


async def put_back(
    settings: Iterable[tuple[SignalRW[Any], Any]], within: float | None = None
) -> None:
    """Set signals to what they were, in order, and all of them, whatever happens to some.

    For values that somebody else has changed; what is changed here goes through `Settings`.

    Parameters
    ----------
    settings
        Signals and their values.
    within
        Seconds for each; None: `patience_with` it.

    Raises
    ------
    NoAnswerError
        Naming those whose servers did not take it in time; after a first one, no other is waited
        for longer than `GONE_TIMEOUT`.
    """
    settings = list(settings)
    lost: list[tuple[SignalRW[Any], Any]] = []
    while settings and not lost:
        signal, value = settings.pop(0)
        try:
            await tell(signal, value, within)
        except Exception:
            lost.append((signal, value))
    # One that does not answer is followed by others of the same server: all at once.
    patience = GONE_TIMEOUT if within is None else min(within, GONE_TIMEOUT)
    results = await asyncio.gather(
        *(tell(signal, value, patience) for signal, value in settings),
        return_exceptions=True,
    )
    lost += [
        setting
        for setting, result in zip(settings, results, strict=True)
        if isinstance(result, Exception)
    ]
    if lost:
        names = ", ".join(f"{signal.source} to {value}" for signal, value in lost)
        raise NoAnswerError(f"could not be put back: {names}; set it by hand")


async def silent(*signals: SignalR[Any]) -> str:
    """Return who does not answer within 1.5 s, as a part of a sentence; empty if all do."""
    answers = await asyncio.gather(
        *(ask(signal, SILENCE) for signal in signals), return_exceptions=True
    )
    names = [
        signal.source
        for signal, answer in zip(signals, answers, strict=True)
        if isinstance(answer, NoAnswerError)
    ]
    return f"{' and '.join(names)} {'does' if len(names) == 1 else 'do'} not answer" * bool(names)


class Watch:
    """The newest values of some signals, and a way to wait for a condition on them.

    Made by :func:`watch`. Conditions are tested in the callback of every single update, so that
    a state which lasts for one update only is not missed, however busy the event loop is.
    """

    def __init__(self) -> None:
        self._readings: dict[SignalR[Any], Reading[Any]] = {}
        self._latches: list[tuple[Callable[[], bool], asyncio.Event]] = []
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    def _update(self, signal: SignalR[Any], reading: Reading[Any]) -> None:
        self._readings[signal] = reading
        for condition, fired in self._latches:
            if condition():
                fired.set()
        for condition, future in self._waiting:
            if not future.done() and condition():
                future.set_result(None)

    def has(self, *signals: SignalR[Any]) -> bool:
        """Return whether every one of these signals has been heard of."""
        return all(signal in self._readings for signal in signals)

    def value(self, signal: SignalR[SignalDatatypeT]) -> SignalDatatypeT:
        """Return the newest value of a signal that has been heard of."""
        return self._readings[signal]["value"]

    def timestamp(self, signal: SignalR[Any]) -> float:
        """Return the control system's time (POSIX s) of the newest value."""
        return self._readings[signal]["timestamp"]

    def latch(self, condition: Callable[[], bool]) -> Callable[[], bool]:
        """Return a function that tells whether the condition has held at any update since now.

        For what may happen and be over before there is time to wait for it.
        """
        fired = asyncio.Event()
        self._latches.append((condition, fired))
        return fired.is_set

    async def until(self, condition: Callable[[], bool], within: float | None) -> bool:
        """Wait until the condition holds; return False if it did not within that time in s."""
        if condition():
            return True
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (condition, future)
        self._waiting.append(entry)
        try:
            # Not asyncio.wait_for: before Python 3.12 it can lose a cancellation.
            await asyncio.wait({future}, timeout=within)
            return future.done()
        finally:
            self._waiting.remove(entry)
            future.cancel()


@asynccontextmanager
async def watch(*signals: SignalR[Any], within: float = DEFAULT_TIMEOUT) -> AsyncIterator[Watch]:
    """Subscribe to signals for the length of a block, and wait for their first values.

    What is known of a signal whose connection is lost, from an earlier subscription, is no first
    value: it is waited for until it is connected again.

    Raises
    ------
    TimeoutError
        If a signal did not deliver a value within that time in seconds.
    """
    seen = Watch()

    def listener(signal: SignalR[Any]) -> Callable[[dict[str, Reading[Any]]], None]:
        def update(reading: dict[str, Reading[Any]]) -> None:
            seen._update(signal, reading[signal.name])

        return update

    listeners = {signal: listener(signal) for signal in signals}
    try:
        for signal, function in listeners.items():
            signal.subscribe_reading(function)
        if not await seen.until(lambda: seen.has(*signals) and not lost(*signals), within):
            missing = [signal.source for signal in signals if not seen.has(signal)]
            silent = ", ".join(missing or lost(*signals))
            raise TimeoutError(f"No value came from {silent} within {within:g} s.")
        yield seen
    finally:
        for signal, function in listeners.items():
            signal.clear_sub(function)


async def comes_true(
    condition: Callable[[Callable[[SignalR[Any]], Any]], bool],
    *signals: SignalR[Any],
    within: float,
) -> tuple[bool, dict[SignalR[Any], Any]]:
    """Return whether a condition on signals comes true within a time, and their values then.

    No single look decides. A server may hold an old value for a moment, which a get then gets, and
    it may correct it without telling its monitors: so both are believed, for as long as there is
    time. (PandABlocks-ioc does both.)

    Parameters
    ----------
    condition
        Takes a function that returns the value of a signal.
    signals
        What the condition asks for.
    within
        Seconds.

    Raises
    ------
    NoAnswerError, TimeoutError
        If a server does not answer.
    """
    now = asyncio.get_running_loop().time
    deadline = now() + within
    async with watch(*signals) as seen:
        while True:
            left = deadline - now()
            if await seen.until(lambda: condition(seen.value), min(SECOND_LOOK, max(left, 0.0))):
                return True, {signal: seen.value(signal) for signal in signals}
            found = dict(
                zip(signals, await asyncio.gather(*(ask(s) for s in signals)), strict=True)
            )
            if condition(found.__getitem__) or left <= 0:
                return condition(found.__getitem__), found


async def holds_twice(look: Callable[[], Awaitable[bool]]) -> bool:
    """Return whether something is so at each of two looks, a moment apart.

    For what ends a scan: one look alone may get a value that the server has kept for too long.

    Parameters
    ----------
    look
        Asks the server.
    """
    if not await look():
        return False
    await asyncio.sleep(SECOND_LOOK)
    return await look()
