"""What Ctrl-C does while the run engine works: end the scan, or pause it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol

from bluesky import RunEngine


class Interrupts(Protocol):
    """A context manager that is entered while the run engine works."""

    def __init__(self, run_engine: RunEngine) -> None: ...

    def __enter__(self) -> object: ...

    def __exit__(self, *_: object) -> None: ...


PATIENCE = 10
"""So often Ctrl-C passes unheard while a scan is put away: then the user means it."""


@contextmanager
def late_interrupts_ignored() -> Iterator[None]:
    """Let Ctrl-C pass unheard while a scan that has ended is put away, which is bounded.

    The run engine has a handler of its own while it works. Without this one a key that was pressed
    once too often would end the process before the run is in the catalogue and its reason is said.
    """
    pressed = 0

    def count(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed += 1
        if pressed > PATIENCE:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, count)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


class _OnInterrupt:
    """Handles SIGINT while it is entered in the main thread."""

    def __init__(self, run_engine: RunEngine) -> None:
        self._run_engine = run_engine
        self._previous: Any = None
        self._pressed = 0

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._handle)

    def __exit__(self, *_: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._pressed += 1
        # Not in the handler itself: the run engine's locks may be held by this very thread.
        threading.Thread(target=self._act, args=(self._pressed,), daemon=True).start()

    def _act(self, pressed: int) -> None:
        raise NotImplementedError


class AbortOnInterrupt(_OnInterrupt):
    """While the run engine works, Ctrl-C ends the scan: axis stopped, run closed."""

    def _act(self, pressed: int) -> None:
        if self._run_engine.state == "running":
            self._run_engine.abort("Ctrl-C")


class PauseOnInterrupt(_OnInterrupt):
    """While the run engine works, Ctrl-C pauses; the second one ends the scan."""

    def _act(self, pressed: int) -> None:
        if self._run_engine.state != "running":
            return
        if pressed == 1:
            self._run_engine.request_pause(defer=False)
        else:
            self._run_engine.abort("Ctrl-C")


__all__ = ["AbortOnInterrupt", "Interrupts", "PauseOnInterrupt", "late_interrupts_ignored"]
