"""Settings that a scan changes, and that are put back afterwards."""

import asyncio
from typing import Any

from ophyd_async.core import SignalDatatypeT, SignalRW


class Changes:
    """Remembers what signals held before they were changed."""

    def __init__(self) -> None:
        self._before: dict[SignalRW[Any], Any] = {}

    @property
    def noted(self) -> bool:
        """Whether there is anything to put back."""
        return bool(self._before)

    async def note(self, *signals: SignalRW[Any]) -> None:
        """Remember what signals hold, of those that are not remembered yet."""
        new = [signal for signal in signals if signal not in self._before]
        values = await asyncio.gather(*(signal.get_value() for signal in new))
        self._before.update(zip(new, values, strict=True))

    async def change(self, signal: SignalRW[SignalDatatypeT], value: SignalDatatypeT) -> None:
        """Set a signal, unless it holds the value already, and remember what it held."""
        await self.note(signal)
        if await signal.get_value() != value:
            await signal.set(value)

    async def restore(self) -> None:
        """Put everything back; what cannot be put back does not stop the rest.

        Raises
        ------
        RuntimeError
            Naming what could not be put back; it is forgotten all the same.
        """
        failures: list[str] = []
        while self._before:
            signal, value = self._before.popitem()
            try:
                if await signal.get_value() != value:
                    await signal.set(value)
            except Exception as error:
                failures.append(f"{signal.name} to {value!r} ({error or type(error).__name__})")
        if failures:
            raise RuntimeError(f"These settings could not be put back: {'; '.join(failures)}.")


__all__ = ["Changes"]
