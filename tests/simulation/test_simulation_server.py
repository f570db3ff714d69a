"""What a server process of the simulation does beside serving process variables."""

import asyncio
import socket
from contextlib import closing
from types import SimpleNamespace

from glidepath.simulation.server import _counting


class Handler:
    """A server that notes whether answers leave its clients' connections at once."""

    def __init__(self):
        self.at_once = asyncio.get_running_loop().create_future()

    async def tcp_handler(self, client, address):
        connection = client.writer.get_extra_info("socket")
        self.at_once.set_result(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))


async def test_an_answer_does_not_wait_until_the_one_before_is_acknowledged():
    handler = _counting(Handler)()
    done = asyncio.Event()

    async def accept(reader, writer):
        # Not set by asyncio, because of how caproto makes its sockets.
        connection = writer.get_extra_info("socket")
        assert not connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        await handler.tcp_handler(SimpleNamespace(writer=writer), "client")
        writer.close()
        done.set()

    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as listening:
        listening.bind(("127.0.0.1", 0))
        server = await asyncio.start_server(accept, sock=listening)
        _, writer = await asyncio.open_connection(*listening.getsockname())
        assert await asyncio.wait_for(handler.at_once, 30.0)
        await asyncio.wait_for(done.wait(), 30.0)
        writer.close()
        server.close()
        await server.wait_closed()
