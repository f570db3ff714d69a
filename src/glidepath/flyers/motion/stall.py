"""Whether an axis that should move does so: the one place that tells a stall from silence."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from ophyd_async.core import SignalR

from glidepath.devices.signals import silent

SLOW = 0.2
"""Share of what it should have travelled below which an axis makes no progress."""

AT_ONCE = 0.2
"""Seconds in which a server answers whose connection was not lost."""

UPDATE_TIMEOUT = 1.0
"""Seconds in which the first update comes over a connection that is back."""

LOOK = 0.02
"""Seconds between two looks for it."""


async def why_stalled(
    travelled: Callable[[], float], due: float, *signals: SignalR[Any], otherwise: str
) -> str:
    """Return why an axis makes no progress, as a part of a sentence; empty if it does.

    Parameters
    ----------
    travelled
        Tells how far it has moved, as its newest update says, in its unit.
    due
        How far it should have moved meanwhile.
    signals
        Its readback and its status, which are asked whether they answer at all.
    otherwise
        What is said if they do.
    """

    def stands() -> bool:
        return travelled() < SLOW * due

    if not stands():
        return ""
    asked = time.monotonic()
    cause = await silent(*signals)
    if not cause and time.monotonic() - asked > AT_ONCE:
        # Where a connection comes back, the answer is there before the first update.
        for _ in range(round(UPDATE_TIMEOUT / LOOK)):
            if not stands():
                break
            await asyncio.sleep(LOOK)
    if not cause and not stands():
        # It was the connection: now it is back, and the axis goes on.
        return ""
    return cause or otherwise


__all__ = ["why_stalled"]
