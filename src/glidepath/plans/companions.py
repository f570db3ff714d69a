"""What is recorded beside the detectors that a scan names: a session's silent detectors.

A plan asks for them by a message. A session, which sees every message of its run engine, notes in
it how they are found; where there is no session nobody does, and there are none.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from bluesky.utils import Msg

from .messages import MsgGenerator, wait_for
from .names import listed


class CompanionsAsked:
    """The question of one scan; `find` is what a session answers.

    Attributes
    ----------
    find
        Returns the devices, connected; None: there is no session.
    """

    def __init__(self) -> None:
        self.find: Callable[[], Awaitable[Sequence[Any]]] | None = None

    async def found(self) -> Sequence[Any]:
        """Return what a session records beside."""
        return [] if self.find is None else await self.find()


def with_companions(detectors: Sequence[Any], axis: Any) -> MsgGenerator:
    """Return the detectors of a scan with those that a session records beside them."""
    detectors = listed(detectors)
    asked = CompanionsAsked()
    # A message that does nothing, of which each preprocessor takes note.
    yield Msg("null", asked)
    if asked.find is None:
        return detectors
    found = yield from wait_for(asked.found)
    return beside(found or [], detectors, axis)


def beside(companions: Sequence[Any], detectors: Sequence[Any], axis: Any) -> list[Any]:
    """Return detectors with those companions that are none of them, nor the axis.

    The companions come first: rows follow the exposures of the last detector.
    """
    taken = {getattr(device, "name", None) for device in [*detectors, axis]}
    return [*(device for device in companions if device.name not in taken), *detectors]


__all__ = ["CompanionsAsked", "beside", "with_companions"]
