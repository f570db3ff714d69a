"""EPICS motor records: the stock device, where a zero means what EPICS says it means."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property, partial

from ophyd_async.core import FlyMotorInfo, SignalR, SignalRW
from ophyd_async.epics.motor import Motor as EpicsMotor
from ophyd_async.epics.motor import MotorFlyableMovableLogic, MotorFlyCtx

from glidepath.timeline.channel import Channel, ChannelKind

from .motor_record import MotorRecord, read_motor_record, soft_limits
from .motor_stop import stop_motor
from .positioning import STANDING_TIMEOUT, MotionError
from .sampled import SampledChannel

__all__ = ["Motor"]


@dataclass
class _MotorLogic(MotorFlyableMovableLogic):
    """The stock logic for records as they are: no limit where VMAX is 0, modes, backlash, delays.

    Parameters
    ----------
    record
        Reads the fields of the motor's record.
    halt
        Stops it.
    """

    record: Callable[[], Awaitable[MotorRecord]]
    halt: Callable[[], Awaitable[bool]]

    async def stop(self) -> None:
        """Stop the motor if it moves; a target that it was given is not made up for on Go."""
        if not await self.motor_done_move.get_value() and not await self.halt():
            raise MotionError(
                f"{self.readback.name} was told to stop and still moves after "
                f"{STANDING_TIMEOUT:g} s."
            )

    async def check_move(self, new_position: float) -> None:
        """Refuse a position outside the limits, and a motor that would not move to it."""
        await super().check_move(new_position)
        for objection in (await self.record()).objections():
            raise MotionError(objection)

    async def calculate_timeout(self, old_position: float, new_position: float) -> float:
        """Return the seconds that a move may take, by what the record says of it."""
        return (await self.record()).bound(new_position - old_position)

    async def on_prepare(self, value: FlyMotorInfo) -> MotorFlyCtx:
        """Go to the run-up; ``VMAX = 0`` is no limit (motor record reference manual)."""
        if await self.max_velocity.get_value() > 0:
            return await super().on_prepare(value)
        acceleration_time = await self.acceleration_time.get_value()
        begin = value.ramp_up_start_pos(acceleration_time)
        await self.check_move(begin)
        await self.check_move(value.ramp_down_end_pos(acceleration_time))
        # Without a maximum there is no better speed for the way to the run-up than the usual one.
        timeout = await self.calculate_timeout(await self.readback.get_value(), begin)
        await self.move(begin, lambda: timeout)
        await self.velocity.set(value.speed)
        return MotorFlyCtx(fly_info=value)


class Motor(EpicsMotor):
    """A motor record: ophyd-async's ``Motor``, which also flies where ``VMAX`` is 0.

    After a flight ``VELO`` keeps the speed of the flight: whoever flies the motor restores it.
    """

    @cached_property
    def movable_logic(self) -> MotorFlyableMovableLogic:
        """How the motor moves and flies."""
        return _MotorLogic(
            **vars(self._logic),
            record=partial(read_motor_record, self),
            halt=partial(stop_motor, self, STANDING_TIMEOUT),
        )

    @cached_property
    def flyable_logic(self) -> MotorFlyableMovableLogic:
        """How the motor flies: by the object that moves it, since a flight is made of moves."""
        return self.movable_logic

    @property
    def readback(self) -> SignalR[float]:
        """The position, under the name that every axis here has for it."""
        return self.user_readback

    @property
    def setpoint(self) -> SignalRW[float]:
        """The target of a move, under the name that every axis here has for it."""
        return self.user_setpoint

    async def limits(self) -> tuple[float, float] | None:
        """Return the soft limits, None where they are off (both dial limits are zero)."""
        return await soft_limits(self)

    async def channels(self) -> list[SampledChannel]:
        """Return the position (``RBV``) as a continuous readback in the motor's unit."""
        unit = await self.motor_egu.get_value()
        channel = Channel(self.name, ChannelKind.READBACK, unit)
        return [SampledChannel(channel, self.user_readback.source)]
