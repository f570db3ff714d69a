"""Brings a beamline back to where it was in a run: the setpoints of that run's baseline.

Nothing moves before every move is known and within its limits. The order is that of the devices as
they are given; a monochromator comes with its coupling to the undulator switched off before it and
on again after it, also if a move fails.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from ophyd_async.core import Device, SignalRW

from glidepath.sentences import joined, sentence_of

from .messages import MsgGenerator, wait_for

PGM_ORDER = ("cff", "grating_translation", "slit_width", "setpoint")
"""Settings of a monochromator that are moved, in this order, before all others."""

COUPLING = "id_on"
"""Signal of a monochromator by which its undulator follows."""


class RestoreError(ValueError):
    """A beamline cannot be brought back; the text says why in one sentence."""


@dataclass(frozen=True)
class Move:
    """One setpoint that is to be brought back.

    Attributes
    ----------
    signal
        What is set.
    name
        Its name in the baseline.
    now, then
        Its value, and the one of the run.
    limits
        Between which it may be, or None where it has none.
    """

    signal: Any
    name: str
    now: Any
    then: Any
    limits: tuple[float, float] | None = None

    @property
    def allowed(self) -> bool:
        """Whether the value of the run is within the limits of today."""
        if self.limits is None or not isinstance(self.then, int | float):
            return True
        low, high = self.limits
        return low <= self.then <= high

    def __str__(self) -> str:
        return f"{self.name}: {_text(self.now)} -> {_text(self.then)}"


def restore(
    baseline: Mapping[str, Any],
    devices: Sequence[Device],
    *,
    dry_run: bool = False,
    say: Callable[[str], Any] = print,
    md: Mapping[str, Any] | None = None,
) -> MsgGenerator:
    """Move devices to where they were in a run.

    Parameters
    ----------
    baseline
        What the run's baseline read first: name -> value; of a stored run
        ``{name: reading.before for name, reading in run.baseline().items()}``.
    devices
        What is brought back, in this order. Of each, the settings that the baseline holds and
        that can be written are moved; what it lacks is said.
    dry_run
        Only say what would move.
    say
        Called with each line of the table of moves.
    md
        Metadata of the run that records the way back.

    Raises
    ------
    RestoreError
        Before anything moves, if the baseline holds nothing of a device or a limit forbids a
        move; afterwards, if a move failed. The coupling is then as it was in the run all the same.

    Examples
    --------
    >>> run = s.runs[12]  # doctest: +SKIP
    >>> then = {name: reading.before for name, reading in run.baseline().items()}  # doctest: +SKIP
    >>> RE(restore(then, [s.pgm, s.focus]))  # doctest: +SKIP
    """
    planned = yield from wait_for(partial(moves_of, dict(baseline), list(devices)))
    moves = [move for move in planned if not _same(move.now, move.then)]
    for move in moves:
        say(str(move))
    if not moves:
        say("Everything is where it was.")
    refused = [move for move in moves if not move.allowed]
    if refused:
        raise RestoreError(
            "Nothing was moved: "
            + "; ".join(
                f"{move.name} was at {_text(move.then)}, but its limits are now "
                f"{_text(move.limits[0])} to {_text(move.limits[1])}"
                for move in refused
                if move.limits is not None
            )
            + "."
        )
    if dry_run or not moves:
        return None
    metadata = {
        "plan_name": "restore",
        "plan_args": {"devices": [device.name for device in devices]},
        "moves": {move.name: [_plain(move.now), _plain(move.then)] for move in moves},
        **(md or {}),
    }
    couplings = [move for move in planned if move.signal.name.endswith(f"-{COUPLING}")]
    others = [move for move in moves if move not in couplings]
    return (yield from bpp.run_wrapper(_moved(others, couplings), md=metadata))


async def moves_of(baseline: Mapping[str, Any], devices: Sequence[Any]) -> list[Move]:
    """Return the settings of devices that a baseline holds, in the order of moving.

    Raises
    ------
    RestoreError
        If the baseline holds nothing that can be moved of one of them.
    """
    found: list[Move] = []
    for device in devices:
        signals = [s for s in _writable(device) if s.name in baseline]
        own = [await _move(signal, baseline[signal.name]) for signal in signals]
        if not own and device.name in baseline and hasattr(device, "locate"):
            own = [await _axis(device, baseline[device.name])]
        if not own:
            raise RestoreError(
                f"The baseline of this run holds no setting of {device.name}; it holds "
                f"{', '.join(sorted(baseline)) or 'nothing'}."
            )
        found += own
    return found


def _writable(device: Device) -> list[Any]:
    """Return the signals of a device that can be written, those of a monochromator in order."""
    signals: list[Any] = []
    waiting: list[Device] = [device]
    while waiting:
        inspected = waiting.pop(0)
        if isinstance(inspected, SignalRW):
            signals.append(inspected)
        waiting += [child for _, child in inspected.children()]
    ranks = {name: rank for rank, name in enumerate(PGM_ORDER)}
    return sorted(signals, key=lambda s: ranks.get(s.name.rpartition("-")[2], len(ranks)))


async def _move(signal: Any, then: Any) -> Move:
    return Move(signal, signal.name, await signal.get_value(), then, await _limits_of(signal))


async def _axis(device: Any, then: Any) -> Move:
    located = await device.locate()
    limits = await device.limits() if hasattr(device, "limits") else None
    return Move(device, device.name, located["setpoint"], then, limits)


async def _limits_of(signal: Any) -> tuple[float, float] | None:
    """Return the control limits of a signal's record; None where it has none."""
    described = (await signal.describe())[signal.name]
    control = (described.get("limits") or {}).get("control") or {}
    low, high = control.get("low"), control.get("high")
    if low is None or high is None or not high > low:
        return None
    return float(low), float(high)


def _moved(moves: Sequence[Move], couplings: Sequence[Move]) -> MsgGenerator:
    """Move one after the other, the couplings switched off meanwhile."""
    failed: list[str] = []

    def go() -> MsgGenerator:
        for move in couplings:
            yield from bps.abs_set(move.signal, type(move.now)(0), wait=True)
        for move in moves:
            yield from bps.abs_set(move.signal, move.then, wait=True)

    def couple() -> MsgGenerator:
        for move in couplings:
            try:
                yield from bps.abs_set(move.signal, move.then, wait=True)
            except Exception as error:
                failed.append(f"{move.name} is not back: {joined(sentence_of(error))}")

    yield from bpp.finalize_wrapper(go(), couple())
    if failed:
        raise RestoreError("; ".join(failed) + ".")


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) or isinstance(other, float):
        return math.isclose(float(one), float(other), rel_tol=1e-9, abs_tol=1e-12)
    return bool(one == other)


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) else str(value)


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


__all__ = ["Move", "RestoreError", "moves_of", "restore"]
