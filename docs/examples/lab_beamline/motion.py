"""A motion back end: flies the monochromator by its velocity and its setpoint."""

from glidepath.devices import watch
from glidepath.extend import (
    BackEnd,
    Envelope,
    FlightError,
    Leg,
    Motion,
    MotionFollower,
    MotionPlan,
    Settings,
    back_end_for,
)

from .monochromator import LabMonochromator

ACCELERATION = 2.0
"""Of the monochromator at the beginning and at the end of each move, eV/s²."""


class VelocityAndSetpoint(BackEnd[MotionPlan]):
    """Sets the velocity at the run-up, and then the setpoint behind the stop."""

    def __init__(self, mono: LabMonochromator) -> None:
        self.mono = mono
        self._settings = Settings(mono.name)

    async def plan(self, leg: Leg) -> MotionPlan:
        low, high = await self.mono.limits()
        motion = Motion.along(leg, ACCELERATION, settle=0.3, overrun=0.3)
        return MotionPlan(leg, Envelope.of_motion(leg, motion, "eV", low=low, high=high))

    async def moving(self) -> str:
        return "" if await self.mono.stands.get_value() else self.mono.name

    async def prepare(self, plan: MotionPlan) -> None:
        # The leg before may have been a slow one.
        await self.restore()
        await self.mono.set(plan.motion.start)
        await self._settings.set(self.mono.velocity, plan.leg.velocity)

    async def start(self, plan: MotionPlan) -> None:
        mono = self.mono
        async with watch(mono.stands) as seen:
            started = seen.latch(lambda: not seen.value(mono.stands))
            await mono.setpoint.set(plan.motion.stop)
            if not await seen.until(started, 5.0):
                raise FlightError(f"{mono.name} did not start to move within 5 s.")

    async def follow(self, plan: MotionPlan) -> None:
        mono = self.mono
        async with watch(mono.readback, mono.stands) as seen:
            await MotionFollower(mono.name, mono.readback, plan).follow(
                seen,
                finished=lambda: seen.value(mono.stands),
                where=lambda: f"it is at {seen.value(mono.readback):g} eV",
            )

    async def halt(self) -> None:
        await self.mono.stop()

    async def restore(self) -> None:
        await self._settings.restore()


@back_end_for.register
def _(mono: LabMonochromator) -> VelocityAndSetpoint:
    return VelocityAndSetpoint(mono)
