"""Settings that a scan changes: saved, set, confirmed by reading back, and put back afterwards.

Every part of a scan that changes something at a server does it through a `Settings`, so that
four rules hold everywhere:

- what is set has been read back before anything relies on it;
- only what was set here is put back, and all of it, even if one server does not answer;
- nothing waits without a bound;
- where a monitor and a ``get`` disagree, the ``get`` is right: a server may change a value
  without posting it.
"""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from math import isclose, isnan
from typing import Any, Final

import numpy as np
from ophyd_async.core import SignalDatatypeT, SignalR, SignalRW

from glidepath.sentences import joined, sentence_of

from .signals import GONE_TIMEOUT, NoAnswerError, ask, tell, watch

CONFIRMATION: Final = 5.0
"""Seconds within which a setting must read back."""

MONITOR_PATIENCE: Final = 0.5
"""Seconds for which a monitor is believed before the server itself is asked."""

RELATIVE, ABSOLUTE = 1e-9, 1e-9
"""How far a number that is read back may be from the one that was set."""


class SettingError(RuntimeError):
    """A setting was refused, or reads back as something else; the text is one sentence."""


@dataclass
class _Saved:
    """What a signal held before, and what is known of the change."""

    value: Any
    touched: bool = False
    confirmed: bool = False


class Settings:
    """Saves what signals hold, sets them, confirms that, and puts them back.

    Can be used again after `restore`. All methods may be cancelled at any time: what may have
    been set by then is put back by `restore`.

    Parameters
    ----------
    owner
        Name of what the settings belong to, for messages.
    within
        Seconds within which a setting must read back.

    Examples
    --------
    ::

        settings = Settings("zebra")
        await settings.set(zebra.pc.gate_start, 4.0)
        ...
        await settings.restore()
    """

    def __init__(self, owner: str, within: float = CONFIRMATION) -> None:
        self.owner = owner
        self.within = within
        self._saved: dict[SignalRW[Any], _Saved] = {}

    @property
    def changed(self) -> bool:
        """Whether there is anything to put back."""
        return any(saved.touched for saved in self._saved.values())

    def before(self, signal: SignalRW[SignalDatatypeT]) -> SignalDatatypeT:
        """Return what a signal held when it was saved; KeyError if it was not."""
        value: SignalDatatypeT = self._saved[signal].value
        return value

    async def save(self, *signals: SignalRW[Any]) -> None:
        """Remember what signals hold, of those that are not remembered yet.

        Raises
        ------
        NoAnswerError
            If a server does not answer.
        """
        new = [signal for signal in signals if signal not in self._saved]
        values = await asyncio.gather(*(ask(signal) for signal in new))
        for signal, value in zip(new, values, strict=True):
            self._saved.setdefault(signal, _Saved(value))

    def amend(self, signal: SignalRW[SignalDatatypeT], value: SignalDatatypeT) -> None:
        """Put a saved signal back to another value: one that it would not take again.

        Raises
        ------
        KeyError
            If it was not saved.
        """
        self._saved[signal].value = value

    async def lend(self, *signals: SignalRW[Any]) -> None:
        """Remember signals that something else is going to set: `restore` puts them back too."""
        await self.save(*signals)
        for signal in signals:
            self._touch(signal)

    async def set(
        self,
        signal: SignalRW[SignalDatatypeT],
        value: SignalDatatypeT,
        *,
        always: bool = False,
        within: float | None = None,
    ) -> None:
        """Set a signal and wait until it reads back; see `set_all`."""
        await self.set_all([(signal, value)], always=always, within=within)

    async def set_all(
        self,
        settings: Iterable[tuple[SignalRW[Any], Any]],
        *,
        always: bool = False,
        within: float | None = None,
    ) -> None:
        """Set signals one after the other, and wait until all of them read back.

        Parameters
        ----------
        settings
            Signals and their values.
        always
            Write also what holds its value already.
        within
            Seconds to wait; None: as it was said when this was made.

        Raises
        ------
        SettingError
            If a server refuses a value, or a signal reads back as something else.
        NoAnswerError
            If a server does not answer.
        """
        wanted = dict(settings)
        await self.save(*wanted)
        for signal, value in wanted.items():
            if always or not same(await ask(signal), value):
                await self._put(signal, value)
        written = {s: v for s, v in wanted.items() if self._saved[s].touched}
        await confirm_all(self.owner, written, self.within if within is None else within)
        for signal in written:
            self._saved[signal].confirmed = True

    async def request(
        self, signal: SignalRW[float], value: float, within: float = MONITOR_PATIENCE
    ) -> float:
        """Set a number that the device may round or limit, and return what it has made of it.

        Parameters
        ----------
        signal, value
            What is asked for.
        within
            Seconds for the device to show the very value; after that, what it says is returned.

        Raises
        ------
        SettingError, NoAnswerError
            As `set_all`, but not for another value.
        """
        await self.save(signal)
        await self._put(signal, value)
        found = await ask(signal)
        if not same(found, value):
            async with watch(signal) as seen:
                await seen.until(lambda: same(seen.value(signal), value), within)
            found = await ask(signal)
        self._saved[signal].confirmed = same(found, value)
        return found

    async def restore(self, within: float | None = None) -> None:
        """Put back what was set, the last first; what cannot be put back does not stop the rest.

        Parameters
        ----------
        within
            Seconds for each server to take its values; None: as long as it makes sense to wait
            for it. After one has failed, the others are all told at once.

        Raises
        ------
        NoAnswerError
            Naming what could not be put back, or reads back as something else. It is forgotten
            all the same.
        """
        saved, self._saved = self._saved, {}
        left = [(signal, old) for signal, old in reversed(saved.items()) if old.touched]
        lost: dict[SignalRW[Any], Any] = {}
        put: dict[SignalRW[Any], Any] = {}
        while left and not lost:
            signal, old = left.pop(0)
            await _put_back(signal, old, within, put, lost)
        patience = GONE_TIMEOUT if within is None else min(within, GONE_TIMEOUT)
        await asyncio.gather(*(_put_back(*each, patience, put, lost) for each in left))
        different = await _different(put, patience if lost else self.within)
        lost |= {signal: value for signal, value in put.items() if signal in different}
        if lost:
            names = ", ".join(f"{signal.source} to {value}" for signal, value in lost.items())
            raise NoAnswerError(f"could not be put back: {names}; set it by hand")

    def _touch(self, signal: SignalRW[Any]) -> None:
        saved = self._saved[signal]
        saved.touched, saved.confirmed = True, False

    async def _put(self, signal: SignalRW[Any], value: Any) -> None:
        # Before it is written: a put that is cancelled may have arrived.
        self._touch(signal)
        try:
            await tell(signal, value)
        except NoAnswerError:
            raise
        except Exception as error:
            raise SettingError(
                f"{self.owner} refuses {value!r} for {signal.source}: "
                f"{joined(sentence_of(error))}; look at its record, it may be disabled."
            ) from error


async def _put_back(
    signal: SignalRW[Any],
    old: _Saved,
    within: float | None,
    put: dict[SignalRW[Any], Any],
    lost: dict[SignalRW[Any], Any],
) -> None:
    """Put one value back, and note whether that went well."""
    try:
        if old.confirmed and same(await ask(signal, within), old.value):
            # Somebody has put it back already; writing may do more than it says.
            return
        await tell(signal, old.value, within)
        put[signal] = old.value
    except Exception:
        lost[signal] = old.value
        if old.confirmed:
            # It may have been the question that was not answered: a server that hangs takes the
            # value as soon as it goes on.
            await asyncio.gather(tell(signal, old.value, 0.1), return_exceptions=True)


async def confirm(
    owner: str, signal: SignalR[SignalDatatypeT], value: SignalDatatypeT, within: float
) -> None:
    """Wait until a signal reads as it should; see `confirm_all`."""
    await confirm_all(owner, {signal: value}, within)


async def confirm_all(owner: str, wanted: dict[Any, Any], within: float = CONFIRMATION) -> None:
    """Wait until signals read as they should.

    Parameters
    ----------
    owner
        Name of what they belong to, for messages.
    wanted
        Values by signal.
    within
        Seconds to wait.

    Raises
    ------
    SettingError
        If one of them reads as something else after that time.
    """
    different = await _different(wanted, within)
    for signal, shown in different.items():
        raise SettingError(
            f"{owner} did not take {wanted[signal]!r} for {signal.source} within {within:g} s: "
            f"it is {shown!r}; choose a value that it takes, or look who else sets it."
        )


async def _different(wanted: dict[Any, Any], within: float) -> dict[Any, Any]:
    """Return what does not read as it should after a time in s, and what it reads instead."""
    if not wanted:
        return {}
    deadline = time.monotonic() + within
    different = dict(wanted)
    try:
        async with watch(*wanted, within=within) as seen:

            def unlike() -> list[Any]:
                return [s for s in different if not same(seen.value(s), wanted[s])]

            while different:
                left = deadline - time.monotonic()
                await seen.until(lambda: not unlike(), min(MONITOR_PATIENCE, max(left, 0.0)))
                suspects = unlike()
                found = await asyncio.gather(*(ask(signal) for signal in suspects))
                different = {
                    signal: value
                    for signal, value in zip(suspects, found, strict=True)
                    if not same(value, wanted[signal])
                }
                if left <= 0:
                    break
    except (NoAnswerError, TimeoutError) as error:
        silent = joined(sentence_of(error))
        return dict.fromkeys(different, silent)
    return different


def same(shown: Any, wanted: Any) -> bool:
    """Return whether a value that is read back is the one that was set.

    Numbers may differ by their last digits, and NaN is NaN; arrays are compared element by
    element, tables and texts as they are.
    """
    if isinstance(wanted, str | bool) or isinstance(shown, str):
        return bool(shown == wanted)
    if isinstance(wanted, int | float | np.number):
        if isnan(wanted):
            return bool(isnan(shown))
        return isclose(shown, wanted, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    if isinstance(wanted, np.ndarray):
        if np.shape(shown) != wanted.shape:
            return False
        if wanted.dtype.kind in "fc":
            return bool(np.allclose(shown, wanted, RELATIVE, ABSOLUTE, equal_nan=True))
        return bool(np.array_equal(shown, wanted))
    try:
        return bool(shown == wanted)
    except ValueError:
        # Tables hold arrays, and those have no truth value.
        return bool(np.all([same(a[1], b[1]) for a, b in zip(shown, wanted, strict=True)]))


__all__ = ["CONFIRMATION", "SettingError", "Settings", "confirm", "confirm_all", "same"]
