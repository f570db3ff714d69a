"""A Channel Access repeater that lives and dies with the simulated beamline.

A client library that finds nobody on its repeater port starts a process of its own, ``caRepeater``,
which outlives it. A server that holds that port, confirms registrations and passes beacons on
(Channel Access protocol specification, section "Repeater") keeps the machine clean.
"""

import asyncio
import struct
from typing import cast

__all__ = ["Repeater", "start_repeater"]

_HEADER = struct.Struct(">HHHHII")
_BEACON, _CONFIRM, _REGISTER = 13, 17, 24
_LOOPBACK = 0x7F000001


class Repeater(asyncio.DatagramProtocol):
    """Confirms registrations and forwards beacons to the registered clients."""

    def __init__(self) -> None:
        self._clients: set[tuple[str, int]] = set()
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport (called by asyncio)."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer one datagram (called by asyncio)."""
        assert self._transport is not None
        command = _HEADER.unpack_from(data)[0] if len(data) >= _HEADER.size else None
        if command is None or command == _REGISTER:
            self._clients.add(addr)
            confirmation = _HEADER.pack(_CONFIRM, 0, 0, 0, 0, _LOOPBACK)
            self._transport.sendto(confirmation, addr)
        elif command == _BEACON:
            for client in self._clients:
                self._transport.sendto(data, client)

    def error_received(self, exc: Exception) -> None:
        """Forget all clients: one has gone, those that live register again (called by asyncio)."""


async def start_repeater(port: int) -> asyncio.BaseTransport:
    """Start a repeater on a port of the loopback interface; close the transport to end it."""
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        Repeater, local_addr=("127.0.0.1", port)
    )
    return transport
