"""What the numbers of a status mean: open, closed, moving, or a fault; as data."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from glidepath.devices.signals import Watch

__all__ = [
    "CLOSED",
    "ERROR",
    "FOUR_BITS",
    "MOVING",
    "OPEN",
    "TWO_SWITCHES",
    "StateTable",
    "check_target",
    "settled_error",
]

OPEN: Final = "open"
CLOSED: Final = "closed"
MOVING: Final = "moving"
ERROR: Final = "error"

ERROR_PATIENCE: Final = 1.0
"""Seconds for which a fault must be shown to be believed: switches chatter."""


@dataclass(frozen=True)
class StateTable:
    """Which values of a status mean what; every other value is a fault.

    Attributes
    ----------
    open, closed, moving
        Values of the status.
    """

    open: frozenset[int]
    closed: frozenset[int]
    moving: frozenset[int] = frozenset()

    def meaning(self, value: int) -> str:
        """Return ``"open"``, ``"closed"``, ``"moving"`` or ``"error"``."""
        for meaning, values in ((OPEN, self.open), (CLOSED, self.closed), (MOVING, self.moving)):
            if value in values:
                return meaning
        return ERROR


FOUR_BITS = StateTable(
    open=frozenset({2, 10, 14}), closed=frozenset({1, 5}), moving=frozenset({0, 4, 6, 12, 13})
)
"""Fault, moving, open switch and closed switch as bits 8, 4, 2 and 1 (BESSY II, ``State1``)."""

TWO_SWITCHES = StateTable(open=frozenset({2}), closed=frozenset({1}), moving=frozenset({0}))
"""Open switch and closed switch as bits 2 and 1; both at once is a fault (``State``)."""


def check_target(name: str, target: str) -> None:
    """Refuse (ValueError) what is neither ``"open"`` nor ``"closed"``."""
    if target not in (OPEN, CLOSED):
        raise ValueError(f"{name} can be set to {OPEN!r} or {CLOSED!r}, not to {target!r}.")


async def settled_error(seen: Watch, meaning: Callable[[], str]) -> bool:
    """Return whether a fault that is shown now is still shown after a moment."""
    return not await seen.until(lambda: meaning() != ERROR, ERROR_PATIENCE)
