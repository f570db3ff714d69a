"""Six axes that move as one: all targets are collected, then one command starts the move."""

from collections.abc import AsyncIterator, Mapping

from bluesky.protocols import Locatable, Location, Stoppable
from ophyd_async.core import (
    StandardReadable,
    WatchableAsyncStatus,
    WatcherUpdate,
)
from ophyd_async.core import StandardReadableFormat as Format

from glidepath.devices.positioning import MotionError, Pace, check_range, disconnected, renewed
from glidepath.devices.signals import NoAnswerError, Watch, ask, signal_r, signal_rw, tell, watch

from .names import pv_names
from .work import Work

__all__ = ["Pose"]

AXES = ("x", "y", "z", "a", "b", "c")
COLLECT, START_AT_VALUE = 0, 1
STANDING_TIMEOUT = 10.0


class PoseAxis(StandardReadable):
    """Setpoint and readback of one of the six axes."""

    def __init__(self, setpoint: str, readback: str, unit: str) -> None:
        self.setpoint = signal_rw(float, setpoint, unit=unit)
        with self.add_children_as_readables(Format.HINTED_SIGNAL):
            self.readback = signal_r(float, readback, unit=unit)
        super().__init__()

    def set_name(self, name: str, *, child_name_separator: str | None = None) -> None:
        """Name the axis; its position has the same name in the data."""
        super().set_name(name, child_name_separator=child_name_separator)
        self.readback.set_name(name)


class Pose(StandardReadable, Locatable[Mapping[str, float]], Stoppable):
    """A hexapod: three translations x, y, z and three rotations a, b, c, moved as one.

    Parameters
    ----------
    prefix
        Prefix of the process variables, for example ``"HEX1OS12L:"``.
    name
        Name of the device.
    pvs
        PV names that differ from the defaults: ``setpoint`` and ``readback``, in which ``{axis}``
        stands for the axis in capitals, ``running``, ``mode``, ``start``, ``abort``.
    units
        Units of the translations and of the rotations.
    limits
        Axis -> its range; axes that are left out are not checked.
    tolerance
        Largest distance of each axis from its target at the end of a move.
    pace
        Time bounds of a move.

    Attributes
    ----------
    limits, tolerance
        As they were given.

    Examples
    --------
    >>> RE(bps.mv(mirror, {"x": 0.5, "a": 1.2}))  # doctest: +SKIP
    """

    def __init__(
        self,
        prefix: str,
        name: str = "",
        *,
        pvs: Mapping[str, str] | None = None,
        units: tuple[str, str] = ("mm", "mrad"),
        limits: Mapping[str, tuple[float, float]] | None = None,
        tolerance: float = 0.005,
        pace: Pace | None = None,
    ) -> None:
        names = pv_names(
            prefix,
            {
                "setpoint": "{}hexapod:setPose{axis}",
                "readback": "{}hexapod:getReadPose{axis}",
                "running": "{}multiaxis:running",
                "mode": "{}hexapod:mbboRunAfterValue",
                "start": "{}hexapod:setPoseA.PROC",
                "abort": "{}pmac.AOUT",
            },
            pvs,
        )
        self.limits, self.tolerance, self._pace = dict(limits or {}), tolerance, pace or Pace()
        self._units = {axis: units[number // 3] for number, axis in enumerate(AXES)}
        self.running = signal_r(int, names["running"])
        self.mode = signal_rw(int, names["mode"])
        self.start = signal_rw(int, names["start"], wait=False)
        self.abort = signal_rw(str, names["abort"], wait=False)
        with self.add_children_as_readables():
            self.x, self.y, self.z, self.a, self.b, self.c = (
                PoseAxis(
                    names["setpoint"].replace("{axis}", axis.upper()),
                    names["readback"].replace("{axis}", axis.upper()),
                    self._units[axis],
                )
                for axis in AXES
            )
        self._work = Work()
        super().__init__(name)

    def axis(self, name: str) -> PoseAxis:
        """Return one of the axes x, y, z, a, b, c."""
        return {axis: getattr(self, axis) for axis in AXES}[name]

    async def locate(self) -> Location[Mapping[str, float]]:
        """Return the target and the position of each axis."""
        setpoint = {axis: await ask(self.axis(axis).setpoint) for axis in AXES}
        readback = {axis: await ask(self.axis(axis).readback) for axis in AXES}
        return Location(setpoint=setpoint, readback=readback)

    def check_value(self, value: Mapping[str, float]) -> None:
        """Refuse (ValueError) axes that are not there and positions outside their limits."""
        unknown = [axis for axis in value if axis not in AXES]
        if unknown or not value:
            raise ValueError(
                f"{self.name} has the axes {', '.join(AXES)}, but {sorted(value)} was asked."
            )
        for axis, position in value.items():
            limits = self.limits.get(axis)
            check_range(f"{self.name}-{axis}", position, limits, self._units[axis])

    @WatchableAsyncStatus.wrap
    async def set(self, value: Mapping[str, float]) -> AsyncIterator[WatcherUpdate[float]]:
        """Move to a pose; axes that are left out keep their targets.

        Raises
        ------
        ValueError
            See `check_value`; nothing has moved.
        MotionError
            If it did not start, did not end in time, or is not where it was sent.
        """
        self.check_value(value)
        location = await self.locate()
        target = {**location["setpoint"], **value}
        way = max(abs(target[axis] - location["readback"][axis]) for axis in AXES)
        async for _ in self._work.steps(self.name, self._move(target)):
            now = (await self.locate())["readback"]
            left = max(abs(target[axis] - now[axis]) for axis in AXES)
            yield WatcherUpdate(max(way - left, 0.0), 0.0, way, self.name, self._units["x"])

    async def _move(self, target: Mapping[str, float]) -> None:
        readbacks = [self.axis(axis).readback for axis in AXES]
        async with watch(self.running, *readbacks) as seen:
            # Values are collected, so that no axis moves before all are known.
            await self.mode.set(COLLECT)
            for axis, position in target.items():
                await self.axis(axis).setpoint.set(position)
            await self.mode.set(START_AT_VALUE)
            await self._follow(target, seen)

    async def _follow(self, target: Mapping[str, float], seen: Watch) -> None:
        def off() -> list[str]:
            return [
                axis
                for axis in AXES
                if abs(seen.value(self.axis(axis).readback) - target[axis]) > self.tolerance
            ]

        started = seen.latch(lambda: bool(seen.value(self.running)))
        near_from_the_start = not off()
        way = max(abs(seen.value(self.axis(a).readback) - target[a]) for a in AXES)
        await tell(self.start, 1)
        if near_from_the_start:
            await seen.until(started, self._pace.confirmation)
        elif not await seen.until(lambda: started() or not off(), self._pace.start):
            raise self._sentence(seen, target, off(), "did not start to move")
        bound = self._pace.allowance + way / self._pace.slowest
        if not await seen.until(lambda: not seen.value(self.running), bound):
            raise self._sentence(seen, target, off(), "was still moving when its time was over")
        if not await seen.until(lambda: not off(), self._pace.arrival):
            raise self._sentence(seen, target, off(), "stopped short of its target")
        if near_from_the_start or await seen.until(started, self._pace.arrival):
            # What is said late of the motion is waited for as well.
            if not await seen.until(lambda: not seen.value(self.running), bound):
                raise self._sentence(seen, target, off(), "was still moving after its time")
        elif not await renewed(self.running, self.start):
            raise self._sentence(seen, target, off(), "is there, but its status was silent")

    def _sentence(
        self, seen: Watch, target: Mapping[str, float], off: list[str], what: str
    ) -> MotionError:
        where = ", ".join(
            f"{axis} is at {seen.value(self.axis(axis).readback):g} {self._units[axis]} instead "
            f"of {target[axis]:g}"
            for axis in off
        )
        status = f"{self.running.source} is {seen.value(self.running)}"
        return MotionError(
            f"{self.name} {what}: {where or 'every axis is at its target'}, and "
            f"{status}{disconnected(self.running)}."
        )

    async def stop(self, success: bool = False) -> None:
        """Abort the move and wait until the hexapod stands.

        Raises
        ------
        MotionError
            If it still moves after ten seconds, or its server does not answer.
        """
        await self._work.give_up(success)
        try:
            await tell(self.abort, "&1a")
            async with watch(self.running) as seen:
                standing = await seen.until(lambda: not seen.value(self.running), STANDING_TIMEOUT)
        except (NoAnswerError, TimeoutError) as error:
            raise MotionError(
                f"{self.name} could not be stopped and may still be moving: {error}"
            ) from error
        if not standing:
            raise MotionError(
                f"{self.name} was told to stop and still moves after {STANDING_TIMEOUT:g} s."
            )
