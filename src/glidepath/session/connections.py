"""Gives the devices of a beamline by name, each connected when it is used for the first time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from difflib import get_close_matches
from typing import Any

from ophyd_async.core import Device

from glidepath.beamlines import Beamline
from glidepath.sentences import is_silence, sentence_of

CONNECT_TIMEOUT = 5.0
"""Seconds in which a beamline's servers must answer."""

ALIKE = 0.7
"""How alike (0 to 1) a name must be to one that is asked for, so that it may have been meant."""


class Connections:
    """Which devices of a beamline are connected, and the way to connect more.

    Parameters
    ----------
    beamline
        The beamline with its devices, not connected.
    call
        Runs a coroutine function in the run engine's loop and returns its result.
    """

    def __init__(
        self, beamline: Beamline, call: Callable[[Callable[[], Awaitable[Any]]], Any]
    ) -> None:
        self._beamline = beamline
        self._call = call
        self._connected: set[str] = set()

    def get(self, names: Iterable[str]) -> list[Device]:
        """Return devices by name, connected.

        Raises
        ------
        ValueError
            If there is no such device.
        ConnectionError
            If its server does not answer. The other devices can be used all the same.
        """
        names = list(names)
        for name in names:
            self.check(name)
        # In a plan nothing can be waited for, and nothing need be, of what is connected.
        if not self._connected.issuperset(self._with_parts(names)):
            self._call(lambda: self.connect(names))
        return [self._beamline.devices[name] for name in names]

    def check(self, name: str) -> None:
        """Raise ValueError, in a sentence, if there is no device of this name."""
        known = self._beamline.devices
        if name in known:
            return
        if name in self._beamline.unavailable:
            raise ValueError(self._beamline.unavailable[name])
        close = get_close_matches(name, known, n=1, cutoff=ALIKE)
        meant = f" (did you mean {close[0]}?)" if close else ""
        raise ValueError(
            f"There is no device {name!r} at {self._beamline.name}{meant}; "
            f"there are {', '.join(sorted(known))}."
        )

    async def connect(self, names: Iterable[str]) -> None:
        """Connect devices and what they are made of; in the run engine's loop.

        Raises
        ------
        ConnectionError
            If a server does not answer, in a sentence that names the devices.
        """
        failed = await self.try_to_connect(names)
        silent = [name for name, error in failed.items() if is_silence(error)]
        for name, error in failed.items():
            if name not in silent:
                raise error
        if silent:
            raise ConnectionError(
                f"No server answers for {', '.join(silent)} of {self._beamline.name}; check that "
                "its IOCs run and that EPICS_CA_ADDR_LIST names their addresses."
            )

    async def try_to_connect(self, names: Iterable[str]) -> dict[str, BaseException]:
        """Connect what can be connected; return what cannot, by name."""
        wanted = [name for name in self._with_parts(names) if name not in self._connected]
        devices = [self._beamline.devices[name] for name in wanted]
        results = await asyncio.gather(
            *(device.connect(timeout=CONNECT_TIMEOUT) for device in devices),
            return_exceptions=True,
        )
        failed = {
            name: result
            for name, result in zip(wanted, results, strict=True)
            if isinstance(result, BaseException)
        }
        self._connected.update(name for name in wanted if name not in failed)
        return failed

    def complaints(self, failed: dict[str, BaseException]) -> list[str]:
        """Return one sentence for each device that cannot be used."""
        return [f"{name} cannot be used: {sentence_of(error)}" for name, error in failed.items()]

    def _with_parts(self, names: Iterable[str]) -> list[str]:
        """Add the devices that others are made of: an axis refers to its monochromator."""
        by_identity = {id(device): name for name, device in self._beamline.devices.items()}
        found = list(dict.fromkeys(names))
        for name in list(found):
            for part in getattr(self._beamline.devices[name], "parts", list)():
                if id(part) in by_identity and by_identity[id(part)] not in found:
                    found.append(by_identity[id(part)])
        return found


__all__ = ["CONNECT_TIMEOUT", "Connections"]
