"""Anything that goes to a number, under one face: a motor, a blade, an axis of a hexapod."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import isfinite
from time import monotonic, time
from typing import Any

from ophyd_async.core import Device, SignalR, StandardMovable, walk_devices
from ophyd_async.epics.motor import Motor as EpicsMotor

from glidepath.devices import EnergyAxis
from glidepath.devices.generic import Pose, SlitAxis, Tolerance
from glidepath.devices.motor_record import read_motor_record, soft_limits
from glidepath.devices.positioning import ControllerMove
from glidepath.devices.signals import ask

__all__ = ["Axis", "Trace", "axes_of"]

AXES_OF_A_POSE = ("x", "y", "z", "a", "b", "c")


async def _none() -> tuple[str, ...]:
    return ()


@dataclass(frozen=True)
class Axis:
    """One axis of a connected device.

    Attributes
    ----------
    name
        Its name in the data.
    readback
        Its position.
    go
        Sets a target; what it returns is awaited until the axis is there.
    stop
        Makes it stand.
    check
        Refuses a target (an exception) without moving anything.
    limits
        Returns the range that the control system allows, None where it says none.
    tolerance
        What the device takes for arrived, absolute or relative; None: it does not say.
    status
        Says whether the axis moves; None: nothing does.
    moving
        Whether a value of the status means that it moves.
    objections
        Returns why it would not go where it is sent, a sentence each, without moving anything.
    """

    name: str
    readback: SignalR[float]
    go: Callable[[float], Any]
    stop: Callable[[], Awaitable[Any]]
    check: Callable[[float], Awaitable[Any]]
    limits: Callable[[], Awaitable[tuple[float, float] | None]]
    tolerance: Tolerance | None = None
    status: SignalR[Any] | None = None
    moving: Callable[[Any], bool] = bool
    objections: Callable[[], Awaitable[tuple[str, ...]]] = _none

    async def position(self) -> float:
        """Return where it is, from its server."""
        return float(await ask(self.readback))

    async def unit(self) -> str:
        """Return the unit of its readback, or an empty text."""
        described = await self.readback.describe()
        return str(described[self.readback.name].get("units") or "")

    async def precise_to(self, wanted: float | None = None, at: float = 0.0) -> float:
        """Return how near to a target it must come: what was wanted, or as the device says.

        Parameters
        ----------
        wanted
            In the unit of the axis; None: as the device says.
        at
            Position, for a device whose tolerance is a share of it.
        """
        if wanted is not None:
            return wanted
        said = self.tolerance
        if said is not None and said.absolute > 0:
            return max(said.absolute, said.relative * abs(at))
        described = await self.readback.describe()
        precision = described[self.readback.name].get("precision")
        return 10.0 ** -int(precision) if isinstance(precision, int) else 1e-3


def axes_of(device: Any) -> dict[str, Callable[[], Awaitable[Axis]]]:
    """Return the axes of a device by name; each is made when the device is connected.

    Parameters
    ----------
    device
        Need not be connected.
    """
    found: dict[str, Callable[[], Awaitable[Axis]]] = {}
    if not isinstance(device, Device):
        return found
    for part in (device, *walk_devices(device).values()):
        if isinstance(part, StandardMovable) and part.movable_logic.readback.datatype is float:
            found[part.name] = partial(_of_movable, part)
        elif isinstance(part, Pose):
            for axis in AXES_OF_A_POSE:
                name = part.axis(axis).name
                found[name] = partial(_of_pose, part, axis)
    return found


async def _of_movable(part: StandardMovable[float]) -> Axis:
    logic = part.movable_logic
    status: SignalR[Any] | None = None
    moving: Callable[[Any], bool] = bool
    objections = _none

    async def limits() -> tuple[float, float] | None:
        own = getattr(part, "limits", None)
        if callable(own):
            found = await own()
            return found if found is not None and all(map(isfinite, found)) else None
        return await soft_limits(part) if isinstance(part, EpicsMotor) else None

    if isinstance(part, EpicsMotor):
        status, moving = part.motor_done_move, _is_zero

        async def objections() -> tuple[str, ...]:
            return (await read_motor_record(part)).objections()

    elif isinstance(logic, ControllerMove):
        done = logic.is_done
        status = logic.status

        def moving(value: Any) -> bool:
            return not done(value)

    return Axis(
        part.name,
        logic.readback,
        part.set,
        lambda: part.stop(success=True),
        part.check_value,
        limits,
        await _tolerance_of(part),
        status,
        moving,
        objections,
    )


async def _tolerance_of(part: Any) -> Tolerance | None:
    """Return what a movable takes for arrived; None where it does not say."""
    if isinstance(part, EpicsMotor):
        step = await part.motor_resolution.get_value()
        return Tolerance(max(await part.deadband.get_value(), 2 * abs(step)))
    if isinstance(part, EnergyAxis):
        return await _tolerance_of(part.monochromator())
    if isinstance(part, SlitAxis):
        both = [await _tolerance_of(blade) for blade in part.blades]
        known = [one for one in both if one is not None]
        return Tolerance(sum(one.absolute for one in known)) if known else None
    said = getattr(getattr(part, "movable_logic", None), "tolerance", None)
    return said if isinstance(said, Tolerance) or said is None else Tolerance(said)


def _is_zero(value: Any) -> bool:
    return not value


async def _of_pose(pose: Pose, axis: str) -> Axis:
    part = pose.axis(axis)

    async def check(target: float) -> None:
        pose.check_value({axis: target})

    async def limits() -> tuple[float, float] | None:
        return pose.limits.get(axis)

    return Axis(
        part.name,
        part.readback,
        lambda target: pose.set({axis: target}),
        lambda: pose.stop(success=True),
        check,
        limits,
        Tolerance(pose.tolerance),
        pose.running,
    )


class Trace:
    """Every update of some signals while it is entered, with the time at which it came.

    Parameters
    ----------
    signals
        Name -> signal.

    Attributes
    ----------
    updates
        Name -> list of (arrival by the monotonic clock, value), s.
    offset
        Smallest arrival minus time stamp of the updates after the first, s; infinite without any:
        by how much the clock of the server is behind, the way of the updates included.
    """

    def __init__(self, signals: Mapping[str, SignalR[Any]]) -> None:
        self._signals = dict(signals)
        self._listeners: dict[str, Callable[[Any], None]] = {}
        self.updates: dict[str, list[tuple[float, Any]]] = {name: [] for name in signals}
        self.offset = float("inf")

    async def __aenter__(self) -> "Trace":
        for name, signal in self._signals.items():
            self._listeners[name] = self._listener(name, signal)
            signal.subscribe_reading(self._listeners[name])
        # The first value of each, which may be old, comes before anything is done.
        for _ in range(100):
            if all(self.updates.values()):
                break
            await asyncio.sleep(0.02)
        return self

    def _listener(self, name: str, signal: SignalR[Any]) -> Callable[[Any], None]:
        def update(reading: Any) -> None:
            found = reading[signal.name]
            if self.updates[name]:
                self.offset = min(self.offset, time() - found["timestamp"])
            self.updates[name].append((monotonic(), found["value"]))

        return update

    async def __aexit__(self, *_: object) -> None:
        for name, signal in self._signals.items():
            signal.clear_sub(self._listeners[name])

    def first(self, name: str, condition: Callable[[Any], bool], since: float) -> float | None:
        """Return when (s, monotonic) a condition held first after a time; None if it did not."""
        times = (at for at, value in self.updates[name] if at >= since and condition(value))
        return next(times, None)
