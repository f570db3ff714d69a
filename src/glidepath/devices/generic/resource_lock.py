"""A lock in the control system: who may use a resource, and until when others must wait."""

import getpass
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from ophyd_async.core import AsyncStatus, StandardReadable
from ophyd_async.core import StandardReadableFormat as Format

from glidepath.devices.signals import ask, signal_r, signal_rw, tell, watch

from .names import pv_names

__all__ = ["LockedError", "ResourceLock"]

CONFIRMATION = 5.0
"""Seconds within which the server must say who has the lock."""

LONGEST_NAME = 39
"""Characters that a text record of EPICS holds."""


class LockedError(RuntimeError):
    """Somebody else has the lock; the text says who."""


def _me() -> str:
    return f"{getpass.getuser()} {os.getpid()} {socket.gethostname()}"[:LONGEST_NAME]


class ResourceLock(StandardReadable):
    """A resource that one client at a time may use; the server decides who.

    Staged in a plan, it is held for as long as it is staged.

    Parameters
    ----------
    prefix
        Prefix of the process variables, for example ``"LOCK01:"``.
    name
        Name of the device and of the holder in the data.
    pvs
        PV names that differ from the defaults: ``ask`` (``"{}setUser"``), ``holder``
        (``"{}getUser"``), ``free`` (``"{}free"``), ``release`` (``"{}clearName.PROC"``).
    owner
        Who we are; None: user, process and host.

    Attributes
    ----------
    holder
        Who has it; empty if nobody.
    free
        1 if nobody has it.
    """

    def __init__(
        self,
        prefix: str,
        name: str = "",
        *,
        pvs: Mapping[str, str] | None = None,
        owner: str | None = None,
    ) -> None:
        defaults = {"ask": "{}setUser", "holder": "{}getUser", "free": "{}free"}
        names = pv_names(prefix, {**defaults, "release": "{}clearName.PROC"}, pvs)
        self.owner = (_me() if owner is None else owner)[:LONGEST_NAME]
        self.request = signal_rw(str, names["ask"])
        self.clear = signal_rw(int, names["release"])
        self.free = signal_r(int, names["free"])
        with self.add_children_as_readables(Format.UNCACHED_SIGNAL):
            self.holder = signal_r(str, names["holder"])
        super().__init__(name)

    async def held_by_us(self) -> bool:
        """Return whether we have it, as its server says."""
        return not await ask(self.free) and await ask(self.holder) == self.owner

    async def acquire(self) -> None:
        """Take it.

        Raises
        ------
        LockedError
            If somebody else has it.
        """
        if await self.held_by_us():
            return
        if await ask(self.free):
            await tell(self.request, self.owner)
            async with watch(self.holder) as seen:
                # The server gives it to one of those who ask at the same time.
                await seen.until(lambda: bool(seen.value(self.holder)), CONFIRMATION)
        if not await self.held_by_us():
            raise LockedError(
                f"{self.name} is held by {await ask(self.holder) or 'nobody who says so'!s}, not "
                f"by {self.owner}; ask them, or wait until it is free."
            )

    async def release(self) -> None:
        """Give it back if it is ours; nobody else's lock is touched."""
        if await self.held_by_us():
            await tell(self.clear, 1)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Hold it for the length of a block; what was ours before stays ours."""
        ours = await self.held_by_us()
        await self.acquire()
        try:
            yield
        finally:
            if not ours:
                await self.release()

    @AsyncStatus.wrap
    async def stage(self) -> None:
        """Take it."""
        await self.acquire()
        await super().stage()

    @AsyncStatus.wrap
    async def unstage(self) -> None:
        """Give it back."""
        await self.release()
        await super().unstage()
