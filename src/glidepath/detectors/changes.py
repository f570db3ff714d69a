"""Settings that a scan changes, and that are put back afterwards."""

import asyncio
from typing import Any

from ophyd_async.core import SignalDatatypeT, SignalRW

from glidepath.devices.signals import put_back


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
        NoAnswerError
            Naming what could not be put back; it is forgotten all the same.
        """
        before, self._before = self._before, {}
        await put_back(reversed(before.items()), if_different=True)


__all__ = ["Changes"]
