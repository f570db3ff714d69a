"""Entry point of one server process: ``python -m glidepath.simulation.server optics SETTINGS``.

SETTINGS is the JSON of :class:`~glidepath.simulation.settings.Settings`. The process prints one
line, ``ready``, when it answers, and ends on SIGTERM, SIGINT, and when its standard input is
closed or its parent has died, so that nothing is left running.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from .audience import audience
from .jobs import ticks
from .settings import Settings

__all__ = ["main"]

_HOST = "127.0.0.1"
_LATENCY = {
    "CAPROTO_SERVER_HIGH_LOAD_TIMEOUT_SEC": "0.0005",
    "CAPROTO_SERVER_MAX_LATENCY_SEC": "0.005",
}
_LONGEST_FREEZE = 60.0


class _Role(Protocol):
    database: Any

    async def start(self) -> None: ...

    async def run(self) -> None: ...

    async def close(self) -> None: ...


class _DelayedQueue(asyncio.Queue[Any]):
    """A queue whose items can be taken only some time after they were put."""

    def __init__(self, delay: float) -> None:
        super().__init__()
        self._delay = delay

    async def put(self, item: Any) -> None:
        await super().put((time.monotonic() + self._delay, item))

    async def get(self) -> Any:
        due, item = await super().get()
        await asyncio.sleep(max(due - time.monotonic(), 0.0))
        return item


def _counting(context_class: type) -> type:
    """Return a server that tells the audience of its clients, and answers them at once."""

    class Counting(context_class):
        async def tcp_handler(self, client: Any, address: Any) -> None:
            # As EPICS' own server does it. Otherwise a second answer waits for the client's
            # acknowledgement of the first, which comes up to 40 ms later.
            connection = client.writer.get_extra_info("socket")
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await audience.arrive()
            try:
                await super().tcp_handler(client, address)
            finally:
                audience.leave()

    return Counting


class _Process:
    """What all server processes have in common."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self._parent = os.getppid()
        self._loop = asyncio.get_running_loop()
        # Python-level handlers also run while the server is frozen.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.end())
        self._loop.add_reader(sys.stdin.fileno(), self._on_input)
        self._ending = False

    def end(self) -> None:
        """Ask the process to end."""
        self._ending = True
        self._loop.call_soon_threadsafe(self.ended.set)

    def _on_input(self) -> None:
        if not os.read(sys.stdin.fileno(), 1024):
            self._loop.remove_reader(sys.stdin.fileno())
            self.end()

    async def watch_parent(self) -> None:
        """End when the parent has died."""
        async for _ in ticks(1.0):
            if os.getppid() != self._parent:
                self.end()

    async def freeze(self, seconds: float) -> None:
        """Stop answering, as a server that hangs."""
        # The put itself is still answered, or the client would wait for it.
        await asyncio.sleep(0)
        self._loop.call_later(0.02, self._block, min(seconds, _LONGEST_FREEZE))

    def _block(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._ending and os.getppid() == self._parent:
            time.sleep(0.05)


async def _serve(name: str, settings: Settings) -> None:
    # Imported here because caproto reads its tuning from the environment when it is imported.
    from caproto.asyncio.server import Context

    process = _Process()
    role = _role(name, settings)
    role.database.number(
        f"FAULT:{name}_frozen", 0.0, "s", on_put=lambda seconds: process.freeze(float(seconds))
    )
    clock = role.database.clock
    role.database.number(f"FAULT:{name}_clock_step", 0.0, "s", on_put=_stepper(clock, clock.offset))
    context = _counting(Context)(role.database, [_HOST])
    if settings.arrival_delay > 0:
        context.subscription_queue = _DelayedQueue(settings.arrival_delay)
    tasks: list[asyncio.Task[None]] = []
    try:
        await role.start()
        tasks = [
            asyncio.create_task(context.run()),
            asyncio.create_task(role.run()),
            asyncio.create_task(process.watch_parent()),
        ]
        await _wait_until_it_listens(context)
        # The optics are seen by the detectors, a PandA by PV Access, and the truth by the one who
        # reads it later.
        alone = name == "detectors" and not settings.truth and not settings.panda_port
        if alone or name == "accelerator":
            await audience.count()
        print("ready", flush=True)
        waiter = asyncio.create_task(process.ended.wait())
        await asyncio.wait([*tasks, waiter], return_when=asyncio.FIRST_COMPLETED)
        waiter.cancel()
        for task in tasks:
            if task.done():
                task.result()
    finally:
        await role.close()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=1.0)


def _stepper(clock: Any, offset: float) -> Callable[[float], Awaitable[None]]:
    """Return what sets a clock that far (s) from where it was at the beginning."""

    async def step(seconds: float) -> None:
        clock.offset = offset + float(seconds)

    return step


def _role(name: str, settings: Settings) -> _Role:
    """Return what the server of that name serves."""
    # Each is imported where it is served: a process needs one of them only.
    if name == "optics":
        from .optics import Optics

        return Optics(settings)
    if name == "detectors":
        from .detectors import Detectors

        return Detectors(settings)
    if name == "vacuum":
        from .vacuum import Vacuum

        return Vacuum(settings)
    from .accelerator import Accelerator

    return Accelerator(settings)


async def _wait_until_it_listens(context: Any) -> None:
    while True:
        await asyncio.sleep(0.01)
        if context.port is None or not context.udp_socks:
            continue
        try:
            _, writer = await asyncio.open_connection(_HOST, context.port)
        except ConnectionError:
            continue
        writer.close()
        return


def main() -> int:
    """Run one server process and return its exit status."""
    name, text = sys.argv[1:]
    settings = Settings.from_json(text)
    port = settings.port(name)
    os.environ.update(
        EPICS_CA_SERVER_PORT=str(port),
        EPICS_CA_REPEATER_PORT=str(settings.repeater_port),
        EPICS_CAS_BEACON_PORT=str(settings.repeater_port),
        EPICS_CAS_BEACON_ADDR_LIST=_HOST,
        EPICS_CAS_AUTO_BEACON_ADDR_LIST="NO",
        EPICS_CAS_INTF_ADDR_LIST=_HOST,
    )
    if not settings.default_batching:
        os.environ.update(_LATENCY)
    logging.getLogger("caproto").setLevel(logging.ERROR)
    asyncio.run(_serve(name, settings))
    # What is left are connections of clients, which the operating system closes.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    raise SystemExit(main())
