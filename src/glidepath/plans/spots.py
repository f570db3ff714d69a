"""Where on a sample each pass of a scan is flown, and what light each place has had."""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from inspect import isawaitable
from math import isfinite
from typing import Any

from glidepath.devices.positioning import check_range
from glidepath.sentences import as_connection_error, sentence_of

from .light_path import LightPath
from .messages import done


@dataclass
class Spots:
    """The places of a sample, one for each pass: gone to with the shutter closed.

    Parameters
    ----------
    sample
        Motor that moves the sample.
    positions
        One for each pass, in the motor's unit.
    light
        What is open while the axis flies.

    Attributes
    ----------
    unit
        Of the positions; known when it was looked for objections.
    """

    sample: Any
    positions: Sequence[float]
    light: LightPath
    unit: str = field(default="", init=False)
    _moving: bool = field(default=False, init=False)

    async def objections(self) -> list[str]:
        """Return why the sample cannot go there; nothing moves."""
        found = []
        with as_connection_error("The scan cannot begin: "):
            described = await self.sample.describe()
            self.unit = str(described.get(self.sample.name, {}).get("units") or "")
            for position in self.positions:
                try:
                    await self._check(position)
                except ConnectionError:
                    raise
                except Exception as error:
                    found.append(sentence_of(error))
        return list(dict.fromkeys(found))

    async def _check(self, position: float) -> None:
        if not isfinite(position):
            raise ValueError(f"{self.sample.name} cannot go to {position!r}; give finite numbers.")
        if callable(limits := getattr(self.sample, "limits", None)):
            check_range(self.sample.name, position, await limits(), self.unit)
        elif callable(check := getattr(self.sample, "check_value", None)):
            await check(position)

    async def go(self, number: int) -> None:
        """Go to the place of a pass (from 1 on) and wait for it.

        The run engine knows nothing of this move: a pause, which would stop it half-way as if it
        had succeeded, lets it go to its end.

        Raises
        ------
        Exception
            What the move failed of.
        """
        self._moving = True
        status = self.sample.set(self.positions[number - 1])
        await done(status)
        self._moving = False
        if (error := status.exception()) is not None:
            raise error

    async def stand(self) -> None:
        """Stop the sample if it was left on its way."""
        if self._moving:
            self._moving = False
            stopped: Awaitable[Any] | None = self.sample.stop(success=True)
            if isawaitable(stopped):
                await stopped


__all__ = ["Spots"]
