"""A preprocessor that gives every run what the session knows: metadata, baseline, companions."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.utils import Msg, MsgGenerator
from ophyd_async.core import Device

BASELINE = "baseline"
"""Name of the stream that is read before and after every run."""


class RunPreparation:
    """Adds metadata to every run, reads the baseline, and knows what is recorded beside.

    Parameters
    ----------
    metadata
        Returns what is added to the start document; what the plan itself says goes before it.
    """

    def __init__(self, metadata: Callable[[], Mapping[str, Any]]) -> None:
        self.baseline: Callable[[], Awaitable[list[Device]]] | None = None
        """Returns the devices of the baseline, connected as far as they can be.

        It is awaited when a run is opened: a plan without a run needs no baseline.
        """
        self.companions: Callable[[], Awaitable[Sequence[Device]]] | None = None
        """Returns what every fly scan records beside its detectors, connected as far as it can be;
        None: nothing."""
        self._metadata = metadata

    def __call__(self, plan: MsgGenerator[Any]) -> MsgGenerator[Any]:
        """Wrap a plan."""
        described = bpp.msg_mutator(plan, self._describe)
        if self.baseline is None:
            return (yield from described)
        return (yield from bpp.plan_mutator(described, _Baseline(self.baseline)))

    def _describe(self, msg: Msg) -> Msg:
        if msg.command == "null" and msg.obj is not None:
            self._answer(msg.obj)
        if msg.command != "open_run":
            return msg
        return msg._replace(kwargs={**self._metadata(), **msg.kwargs})

    def _answer(self, asked: Any) -> None:
        """Tell a scan that asks for companions how they are found."""
        from glidepath.plans.companions import CompanionsAsked

        if isinstance(asked, CompanionsAsked):
            asked.find = self.companions


class _Baseline:
    """Reads the baseline of each run of one plan."""

    def __init__(self, find: Callable[[], Awaitable[list[Device]]]) -> None:
        self._find = find
        self._devices: dict[Any, list[Device]] = {}

    def __call__(self, msg: Msg) -> tuple[Any, Any]:
        """Return what is done in place of a message, and what after it."""
        if msg.command == "open_run":
            return self._connected_first(msg), self._first_reading(msg.run)
        if msg.command == "close_run" and self._devices.get(msg.run):
            return self._read_first(msg), None
        return None, None

    def _connected_first(self, msg: Msg) -> MsgGenerator[Any]:
        async def find() -> None:
            self._devices[msg.run] = await self._find()

        yield from bps.wait_for([find])
        return (yield msg)

    def _first_reading(self, run: Any) -> MsgGenerator[Any]:
        devices = self._devices[run]
        if devices:
            yield from _of_run(run, bps.declare_stream(*devices, name=BASELINE))
            yield from _of_run(run, bps.trigger_and_read(devices, name=BASELINE))

    def _read_first(self, msg: Msg) -> MsgGenerator[Any]:
        devices = self._devices.pop(msg.run)
        yield from _of_run(msg.run, bps.trigger_and_read(devices, name=BASELINE))
        return (yield msg)


def _of_run(run: Any, plan: MsgGenerator[Any]) -> MsgGenerator[Any]:
    return plan if run is None else bpp.set_run_key_wrapper(plan, run)


__all__ = ["BASELINE", "RunPreparation"]
