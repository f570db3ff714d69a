"""Brings all that a flight moves to a stand, and remembers whether a server was gone then."""

import asyncio
from collections.abc import Awaitable

from glidepath.devices.signals import GONE_TIMEOUT, NoAnswerError

from .back_end import FlightError


class Standing:
    """Stops the axes of one flight.

    Parameters
    ----------
    name
        Name of the axis, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._gone = False

    def begin(self) -> None:
        """Forget what happened before: a new flight begins."""
        self._gone = False

    @property
    def patience(self) -> float | None:
        """Seconds to wait for settings to be put back: few where a server has just been gone."""
        return GONE_TIMEOUT if self._gone else None

    async def stop(self, *stops: Awaitable[None]) -> None:
        """Await all of these stops, and raise what the first one failed of.

        Raises
        ------
        FlightError
            If a server did not take the order.
        """
        results = await asyncio.gather(*stops, return_exceptions=True)
        for error in results:
            if isinstance(error, NoAnswerError | TimeoutError):
                self._gone = True
                raise FlightError(
                    f"{self._name} could not be stopped and may still be moving: {error}"
                ) from error
            if isinstance(error, BaseException):
                self._gone = isinstance(error.__cause__, NoAnswerError | TimeoutError)
                raise error


__all__ = ["Standing"]
