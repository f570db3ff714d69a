"""A run engine with a beamline's devices and a catalogue, for the commands."""

import asyncio
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from bluesky import RunEngine
from bluesky.preprocessors import SupplementalData
from bluesky.utils import RunEngineInterrupted
from ophyd_async.core import Device, NotConnectedError

from glidepath.beamlines import Beamline, load_beamline
from glidepath.catalog import Publisher
from glidepath.live import PrimaryFollower
from glidepath.sentences import ScanError, as_connection_error, errors
from glidepath.storage import ScanNumbers, use_data_root

CONNECT_TIMEOUT = 5.0
"""Seconds in which a beamline's servers must answer."""


LOOP_TIMEOUT = 5.0
"""Seconds in which the run engine's loop must have ended."""

LOGGERS = ("glidepath", "bluesky", "ophyd_async", "aioca", "tiled")
"""What writes to the log file of a data directory instead of to the terminal."""


class AbortOnInterrupt:
    """While the run engine works, Ctrl-C ends the scan: axis stopped, run closed."""

    def __init__(self, run_engine: RunEngine) -> None:
        self._run_engine = run_engine
        self._previous: Any = None

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._handle)

    def __exit__(self, *_: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        # Not in the handler itself: the run engine's locks may be held by this very thread.
        if self._run_engine.state == "running":
            threading.Thread(target=self._run_engine.abort, args=("Ctrl-C",), daemon=True).start()


class Session:
    """Everything a command needs to fly: run engine, devices, catalogue.

    Parameters
    ----------
    beamline
        Module of the beamline.
    data
        Data directory.

    Raises
    ------
    ValueError
        If the beamline or the data directory cannot be used, in one sentence.
    """

    def __init__(self, beamline: str, data: Path) -> None:
        self.beamline: Beamline = load_beamline(beamline)
        self.root = use_data_root(data)
        self._log = _log_to(self.root / "glidepath.log")
        numbers = ScanNumbers(self.root)
        self._loop = asyncio.new_event_loop()
        self.run_engine = RunEngine(
            {},
            loop=self._loop,
            context_managers=[AbortOnInterrupt],
            call_returns_result=True,
            scan_id_source=lambda _: numbers.next(),
        )
        self.follower = PrimaryFollower()
        self.run_engine.subscribe(self.follower)
        self.publisher = Publisher(self.root / "journal")
        self._subscription = self.run_engine.subscribe(self.publisher)
        self._has_catalogue = self._said_to_replay = False
        self._connected: set[str] = set()

    def __enter__(self) -> "Session":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drain the documents and end the run engine's loop."""
        self.drain()
        # Before the servers go: a lost connection is loud, a closed one is silent.
        self.call(_close_channels)
        self._loop.call_soon_threadsafe(self._loop.stop)
        deadline = time.monotonic() + LOOP_TIMEOUT
        while self._loop.is_running() and time.monotonic() < deadline:
            time.sleep(0.005)
        if not self._loop.is_running():
            self._loop.close()
        for name in LOGGERS:
            logging.getLogger(name).removeHandler(self._log)
        self._log.close()

    def publish_to(self, connect: Callable[[], Any]) -> None:
        """Feed the documents of the runs to come to the catalogue that ``connect`` opens."""
        self.run_engine.unsubscribe(self._subscription)
        self.publisher.close()
        self.publisher = Publisher(self.root / "journal", connect)
        self._subscription = self.run_engine.subscribe(self.publisher)
        self._has_catalogue = True

    def drain(self, timeout: float = 30.0) -> None:
        """Wait (s) until the catalogue has what it can take, and say what it has not."""
        status = self.publisher.close(timeout)
        if self._has_catalogue and status.to_replay and not self._said_to_replay:
            self._said_to_replay = True
            why = status.error or f"it was not done within {timeout:g} s"
            errors.print(
                f"glidepath: the catalogue did not take the run ({why}); its "
                f"documents are in {self.publisher.journal}; put them into it with "
                f"'glidepath replay --data {self.root}'.",
                style="yellow",
                markup=False,
            )

    def devices(self, names: Iterable[str]) -> list[Device]:
        """Return devices by name, connected.

        Raises
        ------
        ValueError
            If there is no such device.
        ConnectionError
            If its server does not answer.
        """
        names = list(names)
        known = self.beamline.devices
        for name in names:
            if name in self.beamline.unavailable and name not in known:
                raise ValueError(self.beamline.unavailable[name])
            if name not in known:
                raise ValueError(
                    f"There is no device {name!r} at {self.beamline.name}; "
                    f"there are {', '.join(sorted(known))}."
                )
        wanted = {name: known[name] for name in self._with_parts(names)}
        missing = [d for name, d in wanted.items() if name not in self._connected]
        self.call(lambda: _connect(missing, self.beamline.name))
        self._connected.update(wanted)
        return [known[name] for name in names]

    def _with_parts(self, names: Iterable[str]) -> list[str]:
        """Add the devices that others are made of: an axis refers to its monochromator."""
        by_identity = {id(device): name for name, device in self.beamline.devices.items()}
        found = list(names)
        for name in names:
            for part in getattr(self.beamline.devices[name], "parts", list)():
                if id(part) in by_identity and by_identity[id(part)] not in found:
                    found.append(by_identity[id(part)])
        return found

    def call(self, function: Callable[[], Any]) -> Any:
        """Run a coroutine function in the run engine's loop and return its result."""
        future = asyncio.run_coroutine_threadsafe(function(), self._loop)
        # Not result(): an exception of aioca is false, and a future takes it for none.
        error = future.exception()
        if error is not None:
            with as_connection_error():
                raise error
        return future.result()

    def use_baseline(self) -> None:
        """Read the beamline's baseline devices before and after every run."""
        self.run_engine.preprocessors.append(
            SupplementalData(baseline=self.devices(self.beamline.baseline))
        )

    def run(self, plan: Any) -> Mapping[str, Any]:
        """Run a plan of one run; return its stop document.

        Raises
        ------
        ScanError
            If the run was not a success, with its reason.
        ValueError
            If the plan refused to begin.
        """
        before = self.follower.start
        try:
            self.run_engine(plan)
        except RunEngineInterrupted:
            pass
        except Exception:
            # The reason is in the stop document, if this plan got as far as opening a run.
            if self.follower.start is before or self.follower.stop is None:
                raise
        stop = {} if self.follower.start is before else self.follower.stop or {}
        if stop.get("exit_status") != "success":
            raise ScanError(f"The scan did not end well: {stop.get('reason', 'no run was made')}.")
        return stop


class _LogFile(logging.FileHandler):
    """A log that a full disk does not make loud: the scan itself says what is wrong."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        """Do without the line."""


def _log_to(path: Path) -> logging.Handler:
    """Let libraries log to a file: the terminal is for sentences."""
    handler = _LogFile(path, delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in LOGGERS:
        logging.getLogger(name).addHandler(handler)
    return handler


async def _close_channels() -> None:
    from aioca import purge_channel_caches

    from glidepath.flyers import close_idle_channels

    close_idle_channels()
    purge_channel_caches()


async def _connect(devices: Iterable[Device], beamline: str) -> None:
    devices = list(devices)
    results = await asyncio.gather(
        *(device.connect(timeout=CONNECT_TIMEOUT) for device in devices), return_exceptions=True
    )
    silent = []
    for device, result in zip(devices, results, strict=True):
        if isinstance(result, NotConnectedError | TimeoutError):
            silent.append(device.name)
        elif isinstance(result, BaseException):
            raise result
    if silent:
        raise ConnectionError(
            f"No server answers for {', '.join(silent)} of {beamline}; check that its IOCs run and "
            "that EPICS_CA_ADDR_LIST names their addresses."
        )


__all__ = ["AbortOnInterrupt", "ScanError", "Session"]
