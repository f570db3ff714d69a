"""A real IOC that posts several hundred thousand updates a second, as the benchmarks' load.

``LoadServer`` starts it in a process of its own. Its records ``LOAD:0``, ``LOAD:1``, ... hold
counters that step by one with each update, so that every loss is seen and located; the elements
of the waveforms ``LOAD:WAVE:0``, ... go on counting from one waveform to the next.
"""

import asyncio
import contextlib
import ctypes
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from glidepath.simulation.ports import free_ports
from glidepath.simulation.repeater import start_repeater

from .measure import Process, compiled, python_module

PREFIX = "LOAD:"
WAVE_PREFIX = "LOAD:WAVE:"

ARRAY_BYTES = 20_000_000
"""libca asks the server to hold back when it lags by ten buffers. Many buffers are allowed where
large arrays are, and with them fewer updates are lost. All contenders have the same setting."""


class LoadServer:
    """An IOC whose records are posted by a compiled loop.

    A context manager: the IOC answers when the block is entered, and has ended when it is left.

    Parameters
    ----------
    channels
        Number of scalar records, and of waveforms.
    elements
        Length of the waveforms.

    Attributes
    ----------
    environment
        The ``EPICS_`` variables that a client needs.
    """

    def __init__(self, channels: int = 50, elements: int = 1000) -> None:
        port, repeater = free_ports(2)
        self._channels, self._elements = channels, elements
        self.environment = {
            "EPICS_CA_ADDR_LIST": f"127.0.0.1:{port}",
            "EPICS_CA_AUTO_ADDR_LIST": "NO",
            "EPICS_CA_REPEATER_PORT": str(repeater),
            "EPICS_CA_MAX_ARRAY_BYTES": str(ARRAY_BYTES),
        }
        self._server_environment = {
            "EPICS_CAS_SERVER_PORT": str(port),
            "EPICS_CAS_INTF_ADDR_LIST": "127.0.0.1",
            "EPICS_CAS_AUTO_BEACON_ADDR_LIST": "NO",
            "EPICS_CAS_BEACON_ADDR_LIST": "127.0.0.1",
            "EPICS_CAS_BEACON_PORT": str(repeater),
            "EPICS_CA_REPEATER_PORT": str(repeater),
            "EPICS_CA_MAX_ARRAY_BYTES": str(ARRAY_BYTES),
        }
        self._process: Process | None = None

    def __enter__(self) -> "LoadServer":
        library = compiled(Path(__file__).with_suffix(".c"), shared=True)
        self._process = Process(
            python_module("load_server", str(library), str(self._channels), str(self._elements)),
            self._server_environment,
        )
        try:
            self._process.answer()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.__exit__()

    @property
    def pid(self) -> int:
        """Process id of the IOC."""
        assert self._process is not None
        return self._process.pid

    def publish(self, channels: int, rate: float = 0.0, *, waveforms: bool = False) -> None:
        """Begin to post updates of the first ``channels`` records in turn.

        Parameters
        ----------
        channels
            Number of records.
        rate
            Updates per second of all together; 0 posts as fast as the machine can.
        waveforms
            Post the waveforms instead of the scalars.
        """
        assert self._process is not None
        self._process.ask(f"{'waveforms' if waveforms else 'scalars'} {channels} {rate}")

    def stop(self) -> tuple[int, float]:
        """End posting; return how many updates were posted, and in how many seconds."""
        assert self._process is not None
        posted, seconds = self._process.ask("stop").split()
        return int(posted), float(seconds)


class _Publisher:
    """The compiled loop in a thread of the IOC's process."""

    def __init__(self, library: str) -> None:
        self._library = ctypes.CDLL(library)
        self._library.load_find.restype = ctypes.c_void_p
        self._library.load_find.argtypes = [ctypes.c_char_p]
        self._library.load_publish.restype = ctypes.c_long
        self._library.load_publish.argtypes = [
            *(ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_double),
            ctypes.POINTER(ctypes.c_int),
        ]
        self._stop = ctypes.c_int()
        self._posted, self._seconds = 0, 0.0
        self._thread: threading.Thread | None = None

    def publish(self, names: Sequence[str], waveforms: bool, rate: float) -> None:
        records = (ctypes.c_void_p * len(names))(
            *(self._library.load_find(name.encode()) for name in names)
        )
        if not all(records):
            raise ValueError(f"The load server has no {len(names)} records such as {names[-1]}.")
        self._stop.value = 0

        def run() -> None:
            begin = time.monotonic()
            self._posted = self._library.load_publish(
                records, len(names), waveforms, rate, ctypes.byref(self._stop)
            )
            self._seconds = time.monotonic() - begin

        self._thread = threading.Thread(target=run)
        self._thread.start()

    def stop(self) -> tuple[int, float]:
        self._stop.value = 1
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        return self._posted, self._seconds


def _database(channels: int, elements: int) -> str:
    lines = []
    for k in range(channels):
        lines.append(f'record(ai, "{PREFIX}{k}") {{}}')
        lines.append(
            f'record(waveform, "{WAVE_PREFIX}{k}")'
            f' {{ field(FTVL, "DOUBLE") field(NELM, "{elements}") }}'
        )
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep what the IOC's C code prints while it starts from the answers' pipe."""
    sys.stdout.flush()
    kept = os.dup(1), os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        for number, copy in enumerate(kept, start=1):
            os.dup2(copy, number)
            os.close(copy)


def serve(library: str, channels: int, elements: int) -> None:
    """Run the IOC and obey the lines on the input until it is closed."""
    from epicscorelibs import ioc

    with tempfile.NamedTemporaryFile("w", suffix=".db") as database, _silence():
        database.write(_database(channels, elements))
        database.flush()
        ioc.start_ioc(database.name)
        ctypes.CDLL(None).fflush(None)
    publisher = _Publisher(library)
    print("ready", flush=True)
    for line in sys.stdin:
        command, *arguments = line.split()
        if command == "stop":
            print(*publisher.stop(), flush=True)
        else:
            prefix = WAVE_PREFIX if command == "waveforms" else PREFIX
            names = [f"{prefix}{k}" for k in range(int(arguments[0]))]
            publisher.publish(names, command == "waveforms", float(arguments[1]))
            print("publishing", flush=True)
    publisher.stop()


def _keep_repeater(port: int) -> None:
    """Hold the repeater's port, so that clients start no program that outlives them."""

    async def run() -> None:
        await start_repeater(port)
        await asyncio.Event().wait()

    threading.Thread(target=asyncio.run, args=(run(),), daemon=True).start()


if __name__ == "__main__":
    _keep_repeater(int(os.environ["EPICS_CA_REPEATER_PORT"]))
    serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    # The IOC's threads do not end by themselves.
    os._exit(0)
