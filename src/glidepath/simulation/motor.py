"""Simulated motor records (EPICS motor record reference, R7-4): moves, limits and modes.

Beside trapezoidal moves there is what makes real motors difficult: Set mode, SPMG, base velocity,
backlash with its own velocity, settling time and retries, disabled records, limit switches. What
SPMG and STOP do to a target is as in ``do_work`` and ``maybeRetry`` of ``motorRecord.cc``.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum, auto
from typing import Any

from .channels import Database, Number
from .jobs import LEAD_SECONDS, Job, sleep_until
from .motion import Axis, Segment, plan_move, plan_stop

__all__ = ["MotorRecord"]

_READBACK_SECONDS = 0.1
_STALL_SECONDS = 0.15

_STOP, _PAUSE, _MOVE, _GO = "Stop", "Pause", "Move", "Go"


class _State(Enum):
    """What the record is at (its field MIP)."""

    RESTS = auto()
    MOVES = auto()
    STOPS = auto()
    """It comes to rest, and its target will be where it stands."""
    PAUSES = auto()
    """It comes to rest, and keeps its target."""
    RETRIES = auto()
    """It stands before its target, and goes on as soon as SPMG lets it."""


class DisabledRecordError(Exception):
    """A put to a record whose DISP is 1."""


class MotorRecord:
    """One motor record.

    The class is long because the fields of a motor record act on one another, as those of the real
    one do: half of it is the list of the fields.

    Parameters
    ----------
    database
        Where the process variables are added.
    name
        Name of the record.
    axis
        Its position, in ``unit``.
    unit, description
        Fields EGU and DESC.
    limits
        Low and high soft limit.
    velocity, top_velocity
        Fields VELO and VMAX (0: no limit), in ``unit``/s.
    acceleration_time
        Field ACCL: time to reach VELO, s.
    resolution
        Field MRES, in ``unit``.
    precision
        Field PREC: digits after the point.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        axis: Axis,
        unit: str,
        description: str,
        limits: tuple[float, float],
        velocity: float,
        top_velocity: float,
        acceleration_time: float,
        resolution: float,
        precision: int = 3,
    ) -> None:
        self.axis = axis
        self._job = Job()
        self._done = asyncio.Event()
        self._done.set()
        self._state = _State.RESTS
        self._remembered = False
        self._external = False
        self._resolution = resolution
        position = axis.position(0.0)

        def number(field: str, value: float, unit: str = unit, **handlers: Any) -> Number:
            return database.number(f"{name}.{field}", value, unit, precision, **handlers)

        self._offset = number("OFF", 0.0, on_put=self._new_offset)
        self._shown_offset = 0.0
        self._outside = False
        self._setpoint = number("VAL", position, accept=self._accept, on_put=self._move)
        database[database.prefix + name] = self._setpoint
        self._last = number("LVAL", position)
        self._readback = number("RBV", position)
        self._dial = number("DRBV", position)
        self._dial_setpoint = number("DVAL", position, accept=self._taken, on_put=self._on_dial)
        self._low = number("LLM", limits[0], writable=True)
        self._high = number("HLM", limits[1], writable=True)
        number("DLLM", limits[0], writable=True)
        number("DHLM", limits[1], writable=True)
        self._velocity = number(
            "VELO", velocity, f"{unit}/s", accept=lambda value: self._velocity_for(value)
        )
        self._top_velocity = number("VMAX", top_velocity, f"{unit}/s")
        self._base_velocity = number(
            "VBAS",
            0.0,
            f"{unit}/s",
            accept=lambda value: self._enabled() and max(value, 0.0),
            on_put=self._new_base_velocity,
        )
        self._acceleration_time = number(
            "ACCL",
            acceleration_time,
            "s",
            accept=lambda value: self._enabled() and value if value > 0 else None,
        )
        self._backlash = number("BDST", 0.0, accept=self._taken)
        self._backlash_velocity = number(
            "BVEL", velocity, f"{unit}/s", accept=lambda value: self._velocity_for(value)
        )
        self._backlash_time = number("BACC", acceleration_time, "s", accept=self._taken)
        self._delay = number("DLY", 0.0, "s", accept=self._taken)
        number("FRAC", 1.0, accept=self._taken)
        number("ACCS", velocity / acceleration_time, f"{unit}/s^2", accept=self._taken)
        number("SPDB", 0.0, accept=self._taken)
        number("MDEL", 0.0, accept=self._taken)
        self._jog_velocity = number(
            "JVEL", velocity, f"{unit}/s", accept=lambda value: self._velocity_for(value)
        )
        number("MRES", resolution)
        number("ERES", resolution)
        number("UREV", 200 * resolution)
        self._retry_deadband = number("RDBD", 2 * resolution)
        database.integer(f"{name}.SREV", 200)
        database.integer(f"{name}.PREC", precision)
        self._at_rest = database.integer(f"{name}.DMOV", 1)
        self._moves = database.integer(f"{name}.MOVN", 0)
        self._stop_command = database.integer(f"{name}.STOP", 0, on_put=self._stop)
        self._switches = {
            sign: database.integer(f"{name}.{switch}", 0, writable=True)
            for sign, switch in ((1, "HLS"), (-1, "LLS"))
        }
        self._direction = database.integer(f"{name}.TDIR", 1)
        for field in ("HOMF", "HOMR"):
            database.integer(f"{name}.{field}", 0, on_put=self._homing(f"{name}.{field}", database))
        self._torque = database.choice(
            f"{name}.CNEN", "Enable", ("Disable", "Enable"), writable=True
        )
        self._violation = database.integer(f"{name}.LVIO", 0)
        self._disabled = database.integer(f"{name}.DISP", 0, writable=True)
        # The device status: done, and no trouble.
        for field, value in (("MSTA", 2), ("DISA", 0), ("DISV", 1), ("IGSET", 0)):
            database.integer(f"{name}.{field}", value, writable=True)
        self._retries = database.integer(f"{name}.RTRY", 10, writable=True)
        for field, text in (
            ("EGU", unit),
            ("DESC", description),
            ("OUT", f"@sim({name})"),
            ("RTYP", "motor"),
        ):
            database.text(f"{name}.{field}", text)
        self._frozen = database.integer(f"FAULT:{name}_frozen", 0, writable=True)
        database.integer(f"FAULT:{name}_stall", 0, on_put=self._stall)
        database.choice(f"{name}.FOFF", "Variable", ("Variable", "Frozen"), writable=True)
        self._mode = database.choice(f"{name}.SET", "Use", ("Use", "Set"), writable=True)
        self._go = database.choice(
            f"{name}.SPMG", _GO, (_STOP, _PAUSE, _MOVE, _GO), on_put=self._switch
        )
        for field, choices in (
            ("OMSL", ("supervisory", "closed_loop")),
            ("DIR", ("Pos", "Neg")),
            ("ACCU", ("Use ACCL", "Use ACCS")),
            ("UEIP", ("No", "Yes")),
            ("URIP", ("No", "Yes")),
            ("NTM", ("NO", "YES")),
        ):
            database.choice(f"{name}.{field}", choices[0], choices, writable=True)
        self._let_all_fields_be_disabled(database, name)

    def _let_all_fields_be_disabled(self, database: Database, name: str) -> None:
        """Let DISP refuse a put to any field but itself: STOP and SPMG are no exceptions."""
        for field, channel in database.items():
            mine = field.startswith(f"{database.prefix}{name}.") and channel is not self._disabled
            if mine and channel.writable and channel.accept is None:
                channel.accept = self._taken

    def _enabled(self) -> bool:
        """Return True, or refuse a put to a disabled record."""
        if self._disabled.value:
            raise DisabledRecordError("put disabled (DISP is 1)")
        return True

    def _taken(self, value: Any) -> Any:
        self._enabled()
        return value

    def _velocity_for(self, value: float) -> float | None:
        """Velocity that the record takes for a requested one: from VBAS to VMAX; None refuses."""
        self._enabled()
        value = max(value, float(self._base_velocity.value))
        if value <= 0:
            return None
        return min(value, self.top_velocity) if self.top_velocity > 0 else value

    async def _new_base_velocity(self, base: float) -> None:
        """Raise what is below the base velocity: VMAX, VELO, BVEL and JVEL."""
        if 0 < self.top_velocity < base:
            await self._top_velocity.post(base)
        for velocity in (self._velocity, self._backlash_velocity, self._jog_velocity):
            await velocity.change(max(float(velocity.value), base))

    @property
    def _held(self) -> bool:
        """Whether SPMG keeps it from moving."""
        return self._go.value in (_STOP, _PAUSE)

    def _accept(self, target: float) -> float:
        self._enabled()
        self._outside = False
        if self._mode.value == "Set" or self._held:
            return target
        self._outside = self._violates(target)
        # A target that violates a limit is taken back.
        return float(self._setpoint.value) if self._outside else target

    def _violates(self, target: float) -> bool:
        """Whether the way to a target leads beyond a soft limit."""
        low, high = float(self._low.value), float(self._high.value)
        beyond = target
        if self._backlash_way(target) < 0:
            beyond = target - float(self._backlash.value)
        inside = low == high == 0 or (low <= target <= high and low <= beyond <= high)
        return not inside

    def _backlash_way(self, target: float) -> int:
        """1 for a move in the direction of the backlash, -1 against it, 0 without one."""
        distance = float(self._backlash.value)
        if abs(distance) < self._resolution:
            return 0
        way = target - self._shown_offset - self.axis.position(time.time())
        return 1 if (way > 0) == (distance > 0) else -1

    @property
    def limits(self) -> tuple[float, float]:
        """Soft limits."""
        return float(self._low.value), float(self._high.value)

    @property
    def top_velocity(self) -> float:
        """Highest speed, 0 without a limit."""
        return float(self._top_velocity.value)

    async def _move(self, target: float) -> None:
        """Take a new target: move to it, remember it, or make it the position."""
        # DMOV is 0 for a moment at least, whatever becomes of the target.
        await self._begin()
        if self._outside:
            await self._refuse()
        elif self._mode.value == "Set":
            position = self.axis.position(time.time())
            await self._offset.post(target - position)
            await self._new_offset(target - position)
            await self._setpoint.change(target)
            await self._last.change(target)
            await self._rest_unless_moving()
        elif self._held:
            self._remembered = True
        else:
            await self.go(target)
        await self.standing()

    async def _begin(self) -> None:
        self._done.clear()
        await self._at_rest.change(0)

    async def _refuse(self) -> None:
        """Go on with what the record was at: the target is beyond a soft limit."""
        await self._violation.change(1)
        await self._setpoint.change(float(self._last.value))
        await self._rest_unless_moving()

    async def _rest_unless_moving(self) -> None:
        if self._state in (_State.RESTS, _State.RETRIES):
            await self._rest(time.time())

    async def _rest(self, when: float) -> None:
        """Have done: DMOV is 1."""
        own_move = self._state is _State.MOVES and not self._external
        self._state, self._remembered, self._external = _State.RESTS, False, False
        await self._at_rest.change(1, when)
        self._done.set()
        if own_move and self._go.value == _MOVE:
            await self._go.post(_PAUSE)

    async def _on_dial(self, target: float) -> None:
        """Move to a position without the offset."""
        shown = self._accept(target + self._shown_offset)
        await self._setpoint.post(shown)
        await self._move(shown)

    def _homing(self, name: str, database: Database) -> Callable[[int], Awaitable[None]]:
        """Return what a command to look for the home switch does: it is where the dial is 0."""

        async def home(value: int) -> None:
            if value:
                low, high = (limit - self._shown_offset for limit in self.limits)
                await self._on_dial(min(max(0.0, low), high))
            await database[database.prefix + name].post(0)

        return home

    async def _new_offset(self, offset: float) -> None:
        """Show positions, target and limits with another offset: nothing moves."""
        change, self._shown_offset = offset - self._shown_offset, offset
        for shown in (self._low, self._high, self._setpoint, self._last):
            await shown.post(float(shown.value) + change)
        await self._post_position(time.time())

    async def _switch(self, choice: str) -> None:
        """Obey SPMG: Stop and Pause stop, Move and Go make up for what was postponed."""
        if choice in (_STOP, _PAUSE):
            if self._state is _State.MOVES:
                # A motion that the record did not command has no target to go on to.
                keeps = choice == _PAUSE and not self._external
                await self._brake(_State.PAUSES if keeps else _State.STOPS)
            elif choice == _STOP and self._state is _State.RETRIES:
                await self._rest(time.time())
        elif self._remembered or self._state in (_State.RETRIES, _State.PAUSES):
            target = float(self._setpoint.value)
            if self._violates(target):
                await self._refuse()
            else:
                await self.go(target)

    async def go(self, target: float) -> None:
        """Begin a move at the record's own velocity, backlash included."""
        await self._violation.change(0)
        await self._last.change(target)
        self._remembered = False
        target -= self._shown_offset
        start = time.time() + LEAD_SECONDS
        here = self.axis.position(start)
        blocked = self._switches[1 if target > here else -1].value
        if blocked or self._torque.value == "Disable":
            await self._rest_unless_moving()
            return
        await self._direction.change(int(target > here))
        await self._dial_setpoint.change(target)
        velocity = float(self._velocity.value)
        slow = float(self._backlash_velocity.value)
        away = float(self._backlash.value)
        way = self._backlash_way(target + self._shown_offset)
        if way == 0 or (way > 0 and slow == velocity):
            stops = [(target, velocity)]
        elif way > 0 and abs(target - here) <= abs(away):
            stops = [(target, slow)]
        else:
            stops = [(target - away, velocity), (target, slow)]
        seconds = float(self._acceleration_time.value)
        segments = _planned(self.axis, start, stops, self._resolution, seconds)
        await self.follow(segments, external=False)

    async def follow(self, segments: Sequence[Segment], *, external: bool = True) -> None:
        """Begin a motion that is planned elsewhere, as a controller's."""
        self.axis.plan(segments)
        self._state, self._external = _State.MOVES, external
        await self._begin()
        await self._moves.change(1)
        await self._job.start(self._follow(segments[0].start))

    async def standing(self) -> None:
        """Wait until the motor stands, and has nothing to do."""
        await self._done.wait()

    async def take_position(self) -> None:
        """Show the position as the set point, as after a motion that the record did not command."""
        position = self._measured(time.time())
        await self._setpoint.post(position)
        await self._last.change(position)

    async def halt(self) -> None:
        """Slow down to rest."""
        await self._stop(1)

    async def _stop(self, _: int) -> None:
        if self._state is _State.RETRIES:
            await self._rest(time.time())
        elif self._state is _State.MOVES or (
            self._state is _State.RESTS and self.axis.rests_from() > time.time()
        ):
            await self._brake(_State.STOPS)
        await self._stop_command.post(0)

    async def _brake(self, state: _State) -> None:
        """Slow down to rest, with or without the target afterwards."""
        await self._job.stop()
        now = time.time()
        self._state = state
        if self.axis.rests_from() > now:
            seconds = float(self._acceleration_time.value)
            self.axis.plan(plan_stop(self.axis, now, seconds))
        await self._job.start(self._follow(now))

    async def _stall(self, stalled: int) -> None:
        """Stop the axis as if it had failed: nothing is told to anybody."""
        now = time.time()
        if stalled and self.axis.rests_from() > now:
            await self._job.stop()
            self.axis.plan(plan_stop(self.axis, now, _STALL_SECONDS))

    def _measured(self, when: float) -> float:
        return self._counted(when) + self._shown_offset

    def _counted(self, when: float) -> float:
        return round(self.axis.position(when) / self._resolution) * self._resolution

    async def _post_position(self, when: float) -> None:
        if self._frozen.value:
            return
        value = self._counted(when)
        await self._readback.post(value + self._shown_offset, when)
        await self._dial.post(value, when)

    async def _follow(self, start: float) -> None:
        """Publish the position until the planned motion ends, then that it has ended."""
        end = self.axis.rests_from()
        tick = start + _READBACK_SECONDS
        while tick < end:
            await sleep_until(tick)
            await self._post_position(tick)
            tick += _READBACK_SECONDS
        await sleep_until(end)
        await self._post_position(end)
        await self._moves.change(0, end)
        if self._state is _State.STOPS:
            self._remembered = False
            await self.take_position()
        end += float(self._delay.value)
        await sleep_until(end)
        await self._end(end)

    async def _end(self, end: float) -> None:
        """Have done with a motion, or keep the target that it was paused on the way to."""
        if self._state is _State.PAUSES:
            way = abs(float(self._last.value) - self._measured(end))
            if way >= float(self._retry_deadband.value) and self._retries.value:
                self._state = _State.RETRIES
                return
        if self._remembered:
            self._state = _State.RESTS
            return
        await self._rest(end)

    async def close(self) -> None:
        """End all work."""
        await self._job.stop()
        self._done.set()


def _planned(
    axis: Axis,
    start: float,
    stops: Sequence[tuple[float, float]],
    resolution: float,
    seconds: float,
) -> list[Segment]:
    """Plan moves one after the other, each with its own velocity, reached in so many seconds."""
    segments: list[Segment] = []
    for target, velocity in stops:
        segments[-1:] = plan_move(
            axis,
            segments[-1].start if segments else start,
            round(target / resolution) * resolution,
            velocity,
            velocity / seconds,
        )
        axis = Axis("", segments[-1].position)
    return segments
