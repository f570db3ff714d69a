"""The private link over which the optics tell the detectors where everything is and will be."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Sequence
from typing import Any

from .motion import KEPT_SECONDS, Axis, Segment

__all__ = ["LinkReader", "LinkServer"]

_HOST = "127.0.0.1"


class LinkServer:
    """Sends every planned segment of some axes, and some states, to whoever listens.

    One JSON object a line: ``{"axis": name, "segments": [[...], ...]}`` or ``{"state": {...}}``.
    A new listener gets everything that is remembered first.
    """

    def __init__(self, axes: Sequence[Axis]) -> None:
        self._axes = list(axes)
        self._state: dict[str, Any] = {}
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        for axis in axes:
            axis.listeners.append(self._send_segments)

    async def start(self, port: int) -> None:
        """Listen on a port of the loopback interface."""
        self._server = await asyncio.start_server(self._serve, _HOST, port)

    async def close(self) -> None:
        """Stop listening and hang up."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.close()

    def set_state(self, **values: Any) -> None:
        """Change states and send them."""
        self._state.update(values)
        self._send({"state": values})

    def _send_segments(self, axis: Axis, segments: Sequence[Segment]) -> None:
        self._send({"axis": axis.name, "segments": [segment.row() for segment in segments]})

    def _send(self, message: dict[str, Any]) -> None:
        line = (json.dumps(message) + "\n").encode()
        for writer in self._writers:
            writer.write(line)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for axis in self._axes:
            message: dict[str, Any] = {
                "axis": axis.name,
                "segments": [segment.row() for segment in axis.segments],
            }
            writer.write((json.dumps(message) + "\n").encode())
        writer.write((json.dumps({"state": self._state, "complete": True}) + "\n").encode())
        self._writers.add(writer)
        try:
            await reader.read()
        except ConnectionError:
            pass
        finally:
            self._writers.discard(writer)
            writer.close()


class LinkReader:
    """Keeps copies of the axes and states that a :class:`LinkServer` sends.

    Attributes
    ----------
    axes
        The axes by name, once ``ready`` is set.
    state
        The states by name.
    ready
        Set when everything has been received for the first time.
    """

    def __init__(self, kept_seconds: float = KEPT_SECONDS) -> None:
        self.axes: dict[str, Axis] = {}
        self.state: dict[str, Any] = {}
        self.ready = asyncio.Event()
        self._kept_seconds = kept_seconds

    async def run(self, port: int, pause: float = 0.05) -> None:
        """Listen for ever; connect again when the other side has gone, after a pause in s."""
        while True:
            await self.listen(port)
            await asyncio.sleep(pause)

    async def listen(self, port: int, on_complete: Callable[[], None] | None = None) -> None:
        """Listen as long as the other side is there; it may be none at all.

        Parameters
        ----------
        port
            Port of the other side.
        on_complete
            Called when everything that is remembered has been received.
        """
        with contextlib.suppress(ConnectionError):
            reader, writer = await asyncio.open_connection(_HOST, port, limit=2**24)
            try:
                while line := await reader.readline():
                    complete = self._receive(json.loads(line))
                    if complete and on_complete is not None:
                        on_complete()
            finally:
                writer.close()

    def _receive(self, message: dict[str, Any]) -> bool:
        if name := message.get("axis"):
            segments = [Segment(*row) for row in message["segments"]]
            if name not in self.axes:
                self.axes[name] = Axis(name, segments[0].position, self._kept_seconds)
            axis = self.axes[name]
            axis.plan(segments)
        self.state.update(message.get("state", {}))
        complete = bool(message.get("complete"))
        if complete:
            self.ready.set()
        return complete
