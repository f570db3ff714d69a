"""Brings a beamline back to where it was in a run: the setpoints of that run's baseline.

Nothing moves before every move is known and within its limits. The order is that of the devices as
they are given, and of each device what it says itself (`glidepath.devices.restoring`); a
monochromator comes with its coupling to the undulator switched off before it and on again after
it, also if a move fails.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.utils import FailedPause, RunEngineControlException
from ophyd_async.core import Device, SignalRW

from glidepath.devices.restoring import RestoredSetting, Restoring, WithRestoring
from glidepath.devices.sampled import offers
from glidepath.sentences import as_connection_error, joined, sentence_of

from .messages import MsgGenerator, attempt, reason_of, running_loop, wait_for


class RestoreError(ValueError):
    """A beamline cannot be brought back; the text says why in one sentence."""


class WithBaseline(Protocol):
    """A stored run that knows what its baseline was before it began."""

    def before(self) -> Mapping[str, Any]:
        """Return what the devices of the baseline read and were set to: name -> value."""
        ...


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
    tolerance
        What it may differ by without having to be moved.
    arrived
        Awaited with the value after it was set; None: there is nothing to wait for.
    objection
        Why it cannot be moved there, beside its limits; empty if it can.
    """

    signal: Any
    name: str
    now: Any
    then: Any
    limits: tuple[float, float] | None = None
    tolerance: float = 0.0
    arrived: Callable[[Any], Awaitable[None]] | None = None
    objection: str = ""

    @property
    def needed(self) -> bool:
        """Whether it is not there already."""
        return not _same(self.now, self.then, self.tolerance)

    @property
    def allowed(self) -> bool:
        """Whether the value of the run is within the limits of today."""
        if self.objection:
            return False
        if self.limits is None or not isinstance(self.then, int | float):
            return True
        low, high = self.limits
        return low <= self.then <= high

    def refusal(self) -> str:
        """Return why it is not allowed, as a part of a sentence."""
        if self.objection or self.limits is None:
            return joined(self.objection)
        return (
            f"{self.name} was at {_text(self.then)}, but its limits are now "
            f"{_text(self.limits[0])} to {_text(self.limits[1])}"
        )

    def __str__(self) -> str:
        return f"{self.name}: {_text(self.now)} -> {_text(self.then)}"


@dataclass(frozen=True)
class DeviceMoves:
    """What is brought back of one device.

    Attributes
    ----------
    moves
        Settings and axes, in the order in which they are moved.
    coupling
        The switch that is off meanwhile; None: there is none.
    """

    moves: Sequence[Move] = field(default_factory=tuple)
    coupling: Move | None = None

    @property
    def needed(self) -> list[Move]:
        """Moves that are to be made, the coupling last."""
        switch = [] if self.coupling is None else [self.coupling]
        return [move for move in (*self.moves, *switch) if move.needed]


def restore(
    run: WithBaseline | Mapping[str, Any],
    devices: Sequence[Device],
    *,
    dry_run: bool = False,
    say: Callable[[str], Any] = print,
    md: Mapping[str, Any] | None = None,
) -> MsgGenerator:
    """Move devices to where they were before a run began.

    A table of the moves is shown first, and nothing is moved unless all of them are within their
    limits. Of each device its settings come first, then its position. What a device is made of is
    its own to say: a plane-grating monochromator has its coupling to the undulator switched off,
    then harmonic, order, grating, cff, slit and sweep are set and waited for, then the energy is
    moved, then the coupling is as it was in the run. Of a motor, velocity and position are brought
    back, its calibration (``OFF``) is not.

    Parameters
    ----------
    run
        A stored run, such as ``s.runs[12]``, or what was read before it: name -> value.
    devices
        What is brought back, in this order. They must belong to the baseline of the run.
    dry_run
        Only say what would move.
    say
        Called with each line of the table of moves.
    md
        Metadata of the run that records the way back.

    Returns
    -------
    str
        Uid of the run that records the way back; None if nothing was moved.

    Raises
    ------
    RestoreError
        Before anything moves, if the baseline holds nothing of a device or a limit forbids a
        move; afterwards, if a move failed: then it says what is not back. The coupling is as it
        was in the run all the same.

    Examples
    --------
    >>> RE(restore(s.runs[12], [s.pgm, s.focus], dry_run=True))  # doctest: +SKIP
    >>> RE(restore(s.runs[12], [s.pgm, s.focus]))  # doctest: +SKIP
    """
    then = dict(run) if isinstance(run, Mapping) else dict(run.before())
    planned = yield from wait_for(partial(moves_of, then, list(devices)))
    planned = planned or []
    moves = [move for of_device in planned for move in of_device.needed]
    for move in moves:
        say(str(move))
    if not moves:
        say("Everything is where it was.")
    refused = [move.refusal() for move in moves if not move.allowed]
    if refused:
        raise RestoreError(f"Nothing was moved: {'; '.join(refused)}.")
    if dry_run or not moves:
        return None
    metadata = {
        "plan_name": "restore",
        "plan_args": {"devices": [device.name for device in devices]},
        "moves": {move.name: [_plain(move.now), _plain(move.then)] for move in moves},
        **(md or {}),
    }
    if not isinstance(run, Mapping):
        metadata["restored"] = str(getattr(getattr(run, "run", None), "uid", ""))
    return (yield from bpp.run_wrapper(_moved(planned), md=metadata))


async def moves_of(baseline: Mapping[str, Any], devices: Sequence[Any]) -> list[DeviceMoves]:
    """Return what is to be moved of some devices, each in the order of moving. Nothing moves.

    Raises
    ------
    RestoreError
        If the baseline holds nothing that can be moved of one of them.
    ConnectionError
        In a sentence, if a server does not answer.
    """
    found = []
    with as_connection_error("Nothing was moved: "):
        for device in devices:
            moves = await _of_device(baseline, device)
            if not moves.moves:
                raise RestoreError(
                    f"The baseline of this run holds no setting of {device.name}; it holds "
                    f"{_devices_in(baseline) or 'nothing'}."
                )
            found.append(moves)
    return found


def _devices_in(baseline: Mapping[str, Any]) -> str:
    return ", ".join(dict.fromkeys(name.partition("-")[0] for name in sorted(baseline)))


async def _of_device(baseline: Mapping[str, Any], device: Any) -> DeviceMoves:
    said = device.restoring() if offers(device, WithRestoring) else _found_out(device)
    settings = [
        await _setting(setting, baseline[setting.signal.name])
        for setting in said.settings
        if setting.signal.name in baseline
    ]
    axes = []
    if said.axes_if is None or baseline.get(said.axes_if[0].name) == said.axes_if[1]:
        # Settings that are changed may change the limits: then those of the run hold.
        ends = said.limits if any(move.needed for move in settings) else None
        limits = None if ends is None else tuple(map(baseline.get, ends))
        axes = [
            await _axis(axis, baseline[axis.name], limits)
            for axis in said.axes
            if axis.name in baseline
        ]
    coupling = said.coupling
    switch = None
    if coupling is not None and coupling.name in baseline:
        switch = await _setting(RestoredSetting(coupling), baseline[coupling.name])
    return DeviceMoves([*settings, *axes], switch)


def _found_out(device: Any) -> Restoring:
    """Return what is brought back of a device that does not say so: settings, then itself."""
    signals: list[SignalRW[Any]] = []
    waiting: list[Any] = [device]
    while waiting:
        inspected = waiting.pop(0)
        if isinstance(inspected, SignalRW):
            signals.append(inspected)
        waiting += [child for _, child in inspected.children()]
    movable = hasattr(device, "locate") and hasattr(device, "set")
    # What calibrates a motor is not where it was.
    kept = [s for s in signals if not s.name.endswith("-offset")] if movable else signals
    return Restoring(tuple(map(RestoredSetting, kept)), (device,) if movable else ())


async def _setting(setting: RestoredSetting, then: Any) -> Move:
    signal = setting.signal
    return Move(
        signal,
        signal.name,
        await signal.get_value(),
        then,
        await _limits_of(setting.target or signal),
        setting.tolerance,
        setting.arrived,
    )


async def _axis(device: Any, then: Any, limits: Any) -> Move:
    located = await device.locate()
    objection = ""
    if limits is None or None in limits:
        limits = await device.limits() if hasattr(device, "limits") else None
        if limits is None and callable(check := getattr(device, "check_value", None)):
            try:
                await check(then)
            except ConnectionError:
                raise
            except Exception as error:
                objection = sentence_of(error)
    tolerance = getattr(getattr(device, "movable_logic", None), "tolerance", 0.0) or 0.0
    return Move(
        device, device.name, located["readback"], then, limits, tolerance, objection=objection
    )


async def _limits_of(signal: Any) -> tuple[float, float] | None:
    """Return the control limits of a signal's record; None where it has none."""
    described = (await signal.describe())[signal.name]
    control = (described.get("limits") or {}).get("control") or {}
    low, high = control.get("low"), control.get("high")
    if low is None or high is None or not high > low:
        return None
    return float(low), float(high)


def _moved(planned: Sequence[DeviceMoves]) -> MsgGenerator:
    """Move one after the other, the couplings of what is moved switched off meanwhile."""
    touched = [of_device for of_device in planned if of_device.needed]
    moves = [move for of_device in touched for move in of_device.moves if move.needed]
    couplings = [of_device.coupling for of_device in touched if of_device.coupling is not None]
    left = [move.name for move in moves]

    def go() -> MsgGenerator:
        for move in couplings:
            yield from bps.abs_set(move.signal, type(move.now)(0), wait=True)
        for move in moves:
            try:
                yield from _bring(move)
            except (RunEngineControlException, FailedPause):
                raise
            except Exception as error:
                raise RestoreError(_failure(move, error, left)) from error
            left.remove(move.name)

    failed: list[str] = []

    def couple() -> MsgGenerator:
        for move in couplings:
            why: list[str] = []
            yield from attempt(bps.abs_set(move.signal, move.then, wait=True), why)
            failed.extend(f"{move.name} is not back: {joined(reason)}" for reason in why)

    loop = running_loop()
    try:
        yield from bpp.finalize_wrapper(go(), couple)
    except GeneratorExit:
        # RE.halt: no message is carried out any more.
        if loop is not None and not loop.is_closed():
            asyncio.run_coroutine_threadsafe(_couple(couplings), loop)
        raise
    except RestoreError as error:
        if failed:
            raise RestoreError(f"{joined(str(error))}; {'; '.join(failed)}.") from error
        raise
    if failed:
        raise RestoreError(f"{'; '.join(failed)}.")


def _bring(move: Move) -> MsgGenerator:
    """Make one move and wait until it is made."""
    yield from bps.abs_set(move.signal, move.then, wait=True)
    if move.arrived is not None:
        yield from wait_for(partial(move.arrived, move.then))


def _failure(move: Move, error: Exception, left: Sequence[str]) -> str:
    others = [name for name in left if name != move.name]
    rest = f"; not moved either: {', '.join(others)}" if others else ""
    return f"{move.name} is not back: {joined(reason_of(error))}{rest}."


async def _couple(couplings: Sequence[Move]) -> None:
    for move in couplings:
        await move.signal.set(move.then)


def _same(one: Any, other: Any, tolerance: float = 0.0) -> bool:
    numbers = (int, float)
    if isinstance(one, numbers) and isinstance(other, numbers):
        # Readbacks that show what was set have its last digits rounded.
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=max(tolerance, 1e-12))
    return bool(one == other)


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) else str(value)


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


__all__ = ["DeviceMoves", "Move", "RestoreError", "moves_of", "restore"]
