"""A small Channel Access client of its own for a simulated beamline, and how to wait for things.

The client is caproto's, so that these tests work in one process with others that have given
libca the addresses of another beamline.
"""

import contextlib
import os
import queue
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

from caproto.threading.client import Context, SharedBroadcaster

from glidepath.simulation import SimulatedBeamline, Truth

BOUND = 15.0
"""How long tests wait for what must happen, s."""


class Client:
    """Reads, writes and records process variables of one simulated beamline."""

    def __init__(self, beamline: SimulatedBeamline) -> None:
        self._prefix = beamline.prefix
        self._environment = beamline.environment
        with mock.patch.dict(os.environ, beamline.environment):
            self._context = Context(SharedBroadcaster(), timeout=BOUND)
        self._variables: dict[str, Any] = {}

    def _variable(self, name: str) -> Any:
        if name not in self._variables:
            # caproto reads the addresses from the environment at every search.
            with mock.patch.dict(os.environ, self._environment):
                (variable,) = self._context.get_pvs(self._prefix + name)
                variable.wait_for_connection(timeout=BOUND)
            self._variables[name] = variable
        return self._variables[name]

    def read(self, name: str) -> SimpleNamespace:
        """Value, timestamp (POSIX s) and alarm severity."""
        answer = self._variable(name).read(data_type="time", timeout=BOUND)
        return SimpleNamespace(
            value=_python(answer.data[0]),
            timestamp=answer.metadata.timestamp,
            severity=answer.metadata.severity,
        )

    def get(self, name: str) -> Any:
        return self.read(name).value

    def array(self, name: str) -> list[float]:
        """All values of a waveform."""
        return list(self._variable(name).read(timeout=BOUND).data)

    def text(self, name: str) -> str:
        """Name of the present choice."""
        return self._choices(name)[self.get(name)]

    def message(self, name: str) -> str:
        """Text of a waveform of characters."""
        data = self._variable(name).read(timeout=BOUND).data
        return bytes(bytearray(int(character) for character in data)).decode().rstrip("\0")

    def _choices(self, name: str) -> list[str]:
        answer = self._variable(name).read(data_type="control", timeout=BOUND)
        return [choice.decode() for choice in answer.metadata.enum_strings]

    def put(self, name: str, value: Any, wait: bool = True) -> None:
        if isinstance(value, str):
            value = self._choices(name).index(value)
        data = value if isinstance(value, list) else (value,)
        self._variable(name).write(data, wait=wait, timeout=BOUND)

    @contextlib.contextmanager
    def recording(self, *names: str) -> Iterator[list[SimpleNamespace]]:
        """Record updates in a list: name, value, timestamp, arrival, severity."""
        updates: list[SimpleNamespace] = []
        subscriptions = []
        for name in names:

            def callback(_: Any, answer: Any, name: str = name) -> None:
                updates.append(
                    SimpleNamespace(
                        name=name,
                        value=_python(answer.data[0]),
                        timestamp=answer.metadata.timestamp,
                        arrival=time.time(),
                        severity=answer.metadata.severity,
                    )
                )

            subscription = self._variable(name).subscribe(data_type="time")
            # caproto keeps weak references to callbacks, and shares equal subscriptions.
            subscriptions.append((subscription, subscription.add_callback(callback), callback))
        try:
            wait_until(lambda: {update.name for update in updates} == set(names))
            yield updates
        finally:
            for subscription, token, _ in subscriptions:
                subscription.remove_callback(token)

    def wait_for(self, name: str, condition: Callable[[Any], bool], bound: float = BOUND) -> Any:
        """Wait for an update that fulfils a condition; the present value counts."""
        values: queue.Queue[Any] = queue.Queue()

        def callback(_: Any, answer: Any) -> None:
            values.put(_python(answer.data[0]))

        subscription = self._variable(name).subscribe(data_type="time")
        token = subscription.add_callback(callback)
        deadline = time.monotonic() + bound
        try:
            while True:
                value = values.get(timeout=max(deadline - time.monotonic(), 0.001))
                if condition(value):
                    return value
        except queue.Empty:
            raise AssertionError(f"{name} did not become what was expected") from None
        finally:
            subscription.remove_callback(token)

    def close(self) -> None:
        self._context.disconnect()


def _python(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def wait_until(condition: Callable[[], bool], bound: float = BOUND) -> None:
    """Wait until a condition holds, and fail if it does not within the bound."""
    deadline = time.monotonic() + bound
    while not condition():
        assert time.monotonic() < deadline, "the condition was not fulfilled in time"
        time.sleep(0.01)


def truth_until(path: Any, when: float) -> Truth:
    """Read a truth file once it knows an instant."""
    deadline = time.monotonic() + BOUND
    while True:
        truth = Truth(path)
        if len(truth.time) and truth.time[-1] >= when:
            return truth
        truth.close()
        assert time.monotonic() < deadline, "the truth file does not grow"
        time.sleep(0.1)


@contextlib.contextmanager
def connected(beamline: SimulatedBeamline) -> Iterator[Client]:
    """Make a client of a running beamline."""
    client = Client(beamline)
    try:
        yield client
    finally:
        client.close()
