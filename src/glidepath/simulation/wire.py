"""The way between Channel Access clients and one server, which can be cut, held or made slow."""

import asyncio
import contextlib
import struct
import threading
import time
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any

from .ports import free_ports
from .repeater import start_repeater

__all__ = ["Wire"]

_HOST = "127.0.0.1"
_HEADER = struct.Struct(">HHHHII")
_SEARCH = 6
_CHUNK = 65536
_ATTEMPTS = 10


class Wire:
    """Passes everything on between its own port and a server's, in a thread of its own.

    A context manager. Clients that have its port in ``EPICS_CA_ADDR_LIST`` find the server, and
    connect to it, through the wire: it puts its own port into the answers to searches (Channel
    Access protocol specification, CA_PROTO_SEARCH: the TCP port is in the field of the data type).

    Parameters
    ----------
    server_port
        Channel Access port of the server on the loopback interface.
    repeater_port
        Be the repeater on this port, too, so that no server that dies takes it along; None: no.

    Attributes
    ----------
    port
        Port of the wire, for clients; it is fixed once the wire is entered.
    delay
        Seconds by which everything comes later, in each direction; may be changed at any time.
    """

    def __init__(self, server_port: int, repeater_port: int | None = None) -> None:
        self._server_port = server_port
        self._repeater_port = repeater_port
        self._repeater: asyncio.BaseTransport | None = None
        (self.port,) = free_ports(1)
        self._server: asyncio.Server | None = None
        self.delay = 0.0
        self._is_cut = False
        self._held: asyncio.Event | None = None
        self._relays: set[_Relay] = set()
        self._searches: dict[Any, asyncio.DatagramTransport] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wire", daemon=True)

    def __enter__(self) -> "Wire":
        self._thread.start()
        self._call(self._start())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """Break all connections and refuse new ones, as a router that has lost its route."""
        self._call(self._cut())

    def hold(self) -> None:
        """Pass nothing on, as a cable that was pulled: connections stay, data wait."""
        self._call(self._hold())

    def mend(self) -> None:
        """Pass everything on again, first what waited."""
        self._call(self._mend())

    def _call(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10.0)

    async def _start(self) -> None:
        loop = asyncio.get_running_loop()
        if self._repeater_port is not None:
            self._repeater = await start_repeater(self._repeater_port)
        for left in reversed(range(_ATTEMPTS)):
            try:
                self._server = await asyncio.start_server(self._connect, _HOST, self.port)
                self._listener, _ = await loop.create_datagram_endpoint(
                    lambda: _Datagrams(self._search), local_addr=(_HOST, self.port)
                )
                return
            except OSError:
                # Somebody took the port since it was found free.
                if self._server is not None:
                    self._server.close()
                if not left:
                    raise
                (self.port,) = free_ports(1)

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self._listener.close()
        if self._repeater is not None:
            self._repeater.close()
        for transport in self._searches.values():
            transport.close()
        await self._break()

    async def _break(self) -> None:
        relays = list(self._relays)
        for relay in relays:
            relay.end()
        await asyncio.gather(*(relay.ended.wait() for relay in relays))

    async def _cut(self) -> None:
        self._is_cut = True
        await self._break()

    async def _hold(self) -> None:
        self._held = self._held or asyncio.Event()

    async def _mend(self) -> None:
        self._is_cut = False
        held, self._held = self._held, None
        if held is not None:
            held.set()

    async def passable(self, since: float) -> None:
        """Wait until what came at ``since`` (monotonic, s) may be passed on."""
        while (held := self._held) is not None:
            await held.wait()
        await asyncio.sleep(max(since + self.delay - time.monotonic(), 0.0))

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            writer.transport.abort()
            return
        try:
            there = await asyncio.open_connection(_HOST, self._server_port)
        except ConnectionError:
            writer.transport.abort()
            return
        relay = _Relay(self, (reader, writer), there)
        self._relays.add(relay)
        try:
            await relay.run()
        finally:
            self._relays.discard(relay)

    async def _search(self, data: bytes, client: Any) -> None:
        """Pass a search on to the server."""
        if self._is_cut:
            return
        await self.passable(time.monotonic())
        if client not in self._searches:

            async def answer(answered: bytes, _: Any) -> None:
                await self._answer(answered, client)

            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: _Datagrams(answer), remote_addr=(_HOST, self._server_port)
            )
            self._searches[client] = transport
        self._searches[client].sendto(data)

    async def _answer(self, data: bytes, client: Any) -> None:
        """Pass the answer to a search on to the client, with this wire's port in it."""
        if self._is_cut:
            return
        await self.passable(time.monotonic())
        self._listener.sendto(_with_port(data, self.port), client)


def _with_port(data: bytes, port: int) -> bytes:
    """Return a datagram of the server with another port in its answers to searches."""
    changed = bytearray(data)
    at = 0
    while at + _HEADER.size <= len(changed):
        command, size, *_ = _HEADER.unpack_from(changed, at)
        if command == _SEARCH:
            struct.pack_into(">H", changed, at + 4, port)
        at += _HEADER.size + size
    return bytes(changed)


class _Relay:
    """One connection: two directions, which end together."""

    def __init__(self, wire: Wire, client: tuple[Any, Any], server: tuple[Any, Any]) -> None:
        self._wire = wire
        self._client, self._server = client, server
        self._tasks: list[asyncio.Task[None]] = []
        self.ended = asyncio.Event()

    async def run(self) -> None:
        """Pass bytes on until one side has ended, then end the other."""
        here, there = self._client, self._server
        self._tasks = [
            asyncio.create_task(work)
            for reader, writer in ((here[0], there[1]), (there[0], here[1]))
            for work in self._direction(reader, writer)
        ]
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        self.end()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for _, writer in (here, there):
            writer.transport.abort()
        self.ended.set()

    def end(self) -> None:
        """End both directions at once."""
        for task in self._tasks:
            task.cancel()

    def _direction(self, reader: Any, writer: Any) -> tuple[Any, Any]:
        # Two tasks: what is on its way does not keep what follows from setting out.
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def receive() -> None:
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(_CHUNK):
                    under_way.put_nowait((time.monotonic(), data))

        async def send() -> None:
            with contextlib.suppress(ConnectionError):
                while True:
                    since, data = await under_way.get()
                    await self._wire.passable(since)
                    writer.write(data)
                    await writer.drain()

        return receive(), send()


class _Datagrams(asyncio.DatagramProtocol):
    """Hands datagrams to a coroutine function, one task for each."""

    def __init__(self, pass_on: Callable[[bytes, Any], Coroutine[Any, Any, None]]) -> None:
        self._pass_on = pass_on
        self._tasks: set[asyncio.Task[None]] = set()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Pass one on (called by asyncio)."""
        task = asyncio.get_running_loop().create_task(self._pass_on(data, addr))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def error_received(self, exc: Exception) -> None:
        """Nobody is there just now (called by asyncio)."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop what is still on its way (called by asyncio)."""
        for task in self._tasks:
            task.cancel()
