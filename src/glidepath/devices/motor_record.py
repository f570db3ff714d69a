"""What the fields of an EPICS motor record say about a flight: each understood, or refused.

The stock ``Motor`` of ophyd-async has signals for a third of these fields. The others are read
beside it, by the prefix that its own signals have. A field that a server does not have is as if
it had its default value.

Source: motor record reference, R7-4 (https://epics-modules.github.io/motor/motorRecord.html).
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from weakref import WeakKeyDictionary

from ophyd_async.core import SignalRW
from ophyd_async.epics.core import epics_signal_rw
from ophyd_async.epics.motor import Motor as EpicsMotor

__all__ = ["MotorRecord", "backlash_of", "read_motor_record", "soft_limits"]

FIELD_TIMEOUT: Final = 2.0
"""Seconds in which a field must be found; after that the server does not have it."""

SHORTEST_RAMP: Final = 1e-3
"""Seconds of acceleration that are assumed at least: a record shows an unset one as 0."""

ALLOWANCE: Final = 10.0
"""Seconds that a move may take beyond twice of what the record's fields say."""

SLIP_STALL, PROBLEM, COMM_ERROR = 1 << 6, 1 << 9, 1 << 12
"""Bits of MSTA: the encoder lost steps, the driver has a problem, the controller is silent."""

SPMG_LABELS = ("Stop", "Pause", "Move", "Go")


OWN: Final = (
    "VELO",
    "VMAX",
    "ACCL",
    "HLM",
    "LLM",
    "DHLM",
    "DLLM",
    "MRES",
    "OFF",
    "RBV",
    "VAL",
    "DMOV",
)
"""Fields that are read through the signals of the stock device."""

BESIDE: Final = (
    "VBAS",
    "ACCU",
    "ACCS",
    "BDST",
    "BVEL",
    "BACC",
    "DLY",
    "RTRY",
    "DIR",
    "ERES",
    "HLS",
    "LLS",
    "SET",
    "IGSET",
    "SPMG",
    "DISP",
    "DISA",
    "DISV",
    "OMSL",
    "FRAC",
    "MSTA",
    "LVIO",
    "SPDB",
    "MDEL",
    "LVAL",
    "MOVN",
)
"""Fields that are read beside it."""

FIXED: Final = ("OFF", "DIR", "ERES", "MRES", "VBAS", "VMAX", "HLM", "LLM", "DHLM", "DLLM")
"""Fields that may not change between the pre-flight and the flight."""


@dataclass(frozen=True)
class MotorRecord:
    """The fields of one motor record at one time.

    Attributes
    ----------
    name
        Name of the motor.
    source
        Name of the record.
    unit
        EGU.
    values
        Values by the name of the field, as numbers; choices by their index.
    """

    name: str
    source: str
    unit: str
    values: Mapping[str, float] = field(default_factory=dict)

    def get(self, name: str, default: float = 0.0) -> float:
        """Return the value of a field, or a default where the server does not have it."""
        return self.values.get(name, default)

    def having(self, **values: float) -> "MotorRecord":
        """Return the record with other values of some fields."""
        return replace(self, values={**self.values, **values})

    @property
    def limits(self) -> tuple[float, float] | None:
        """Soft limits, None where they are off (both dial limits are zero)."""
        if self.get("DLLM") == self.get("DHLM") == 0:
            return None
        return self.get("LLM"), self.get("HLM")

    @property
    def velocity(self) -> float:
        """VELO, units per second."""
        return self.get("VELO")

    @property
    def fastest(self) -> float | None:
        """VMAX, None where there is no limit."""
        return self.get("VMAX") if self.get("VMAX") > 0 else None

    @property
    def slowest(self) -> float:
        """VBAS."""
        return max(self.get("VBAS"), 0.0)

    def ramp(self, velocity: float) -> float:
        """Return the seconds of acceleration to a velocity."""
        if self.get("ACCU") == 1 and self.get("ACCS") > 0:
            return max((velocity - self.slowest) / self.get("ACCS"), SHORTEST_RAMP)
        return max(self.get("ACCL"), SHORTEST_RAMP)

    def acceleration(self, velocity: float) -> float:
        """Return the acceleration from rest that needs as long a way as the record's ramp.

        The record's ramp begins at VBAS: its mean velocity is higher, and so its way is longer.
        """
        return velocity**2 / ((velocity + min(self.slowest, velocity)) * self.ramp(velocity))

    @property
    def backlash(self) -> float:
        """BDST, 0 where it is less than a step."""
        distance = self.get("BDST")
        return distance if abs(distance) >= abs(self.get("MRES")) else 0.0

    @property
    def held(self) -> bool:
        """Whether SPMG is Stop or Pause, so that the motor does not move."""
        return self.get("SPMG", 3) in (0, 1)

    @property
    def stands(self) -> bool:
        """Whether the motor stands: DMOV also waits while a target is held back by SPMG."""
        return bool(self.get("DMOV", 1) or (self.held and not self.get("MOVN", 1)))

    @property
    def postponed(self) -> float | None:
        """Where the motor goes by itself as soon as SPMG is Go; None if it stays."""
        target = self.get("VAL")
        pending = not self.get("DMOV", 1) or target != self.get("LVAL", target)
        elsewhere = abs(target - self.get("RBV", target)) > abs(self.get("MRES"))
        return target if self.held and pending and elsewhere else None

    @property
    def settling(self) -> float:
        """Seconds that DLY and the retries can take at the end of a move."""
        retries = max(self.get("RTRY"), 0.0) if self.get("DLY") > 0 else 0.0
        return self.get("DLY") * (1 + retries) + self._takeout

    @property
    def _takeout(self) -> float:
        """Seconds that taking out the backlash needs."""
        if not self.backlash:
            return 0.0
        slow = self.get("BVEL") if self.get("BVEL") > 0 else self.velocity
        way = abs(self.backlash)
        quick = way / self.velocity if self.velocity > 0 else 0.0
        return quick + (way / slow if slow > 0 else 0.0) + 2 * self.get("BACC")

    def bound(self, distance: float) -> float:
        """Return the seconds that a move at VELO over a distance may take."""
        moving = abs(distance) / self.velocity if self.velocity > 0 else 0.0
        return 2 * (moving + 2 * self.ramp(self.velocity) + self.settling) + ALLOWANCE

    def objections(self) -> tuple[str, ...]:
        """Return why the motor would not move as it is told, a sentence each."""
        return tuple(_refusals(self))

    def on_switch(self, low: float, high: float) -> Iterator[str]:
        """Object to a flight between two positions that leads beyond an active limit switch."""
        here = self.get("RBV")
        for switch, beyond, way in (("HLS", high > here, "up"), ("LLS", low < here, "down")):
            if self.get(switch) and beyond:
                yield (
                    f"{self.name} is on a limit switch at {here:.7g} {self.unit} "
                    f"({self.source}.{switch} is 1) and cannot fly further {way}; move it away "
                    "from the switch, or choose a range on this side of it."
                )

    def changes(self, now: "MotorRecord") -> str:
        """Return what has changed of what may not change, as a part of a sentence."""
        return " and ".join(
            f"{self.source}.{name} from {self.values[name]:g} to {now.values[name]:g}"
            for name in FIXED
            if name in self.values and name in now.values and self.values[name] != now.values[name]
        )

    def notes(self, velocity: float, period: float = 0.2) -> Iterator[str]:
        """Return what a user should know of a flight at a velocity."""
        if self.backlash:
            yield (
                f"{self.name} has a backlash of {self.backlash:g} {self.unit}: it is switched off "
                "for the flight and put back."
            )
        if self.get("MDEL") > velocity * period:
            yield (
                f"{self.name} posts its position each {self.get('MDEL'):g} {self.unit} only "
                f"({self.source}.MDEL); positions in between are interpolated."
            )


def _refusals(record: MotorRecord) -> Iterator[str]:
    name, source, get = record.name, record.source, record.get
    if get("DISP"):
        yield (
            f"{name} is disabled: {source}.DISP is 1; enable the record, which is often done with "
            "a record whose name ends in _able."
        )
    if "DISA" in record.values and get("DISA") == get("DISV", 1.0):
        yield (
            f"{name} is disabled: {source}.DISA is {get('DISA'):g}; make it differ from DISV, or "
            "see what its link SDIS points at."
        )
    if get("SET") and not get("IGSET"):
        yield (
            f"{name} is in Set mode, in which a new target changes its calibration and moves "
            f"nothing: set {source}.SET to Use."
        )
    if get("SPMG", 3) != 3:
        label = SPMG_LABELS[int(get("SPMG")) % 4]
        then = ""
        if record.postponed is not None:
            then = f", upon which it goes to {record.postponed:.7g} {record.unit} by itself"
        yield f"{name} does not move while {source}.SPMG is {label}: set it to Go{then}."
    if get("OMSL"):
        yield (
            f"{name} takes its targets from another record: {source}.OMSL is closed_loop; set it "
            "to supervisory."
        )
    if abs(get("FRAC", 1.0) - 1.0) > 1e-6:
        yield (
            f"{name} goes only a part of each way at once: {source}.FRAC is {get('FRAC'):g}; set "
            "it to 1 for scans."
        )
    if not get("VELO") > 0:
        yield f"{name} has no velocity: {source}.VELO is {get('VELO'):g}; give it one."
    state = int(get("MSTA"))
    for bit, what, advice in (
        (COMM_ERROR, "its controller does not answer", "see whether it is switched on"),
        (PROBLEM, "its driver has a problem", "clear the error at the controller"),
        (SLIP_STALL, "it has lost steps", "move it freely once, and check its position"),
    ):
        if state & bit:
            yield f"{name} cannot be flown, {what} ({source}.MSTA is 0x{state:X}): {advice}."


async def soft_limits(motor: EpicsMotor) -> tuple[float, float] | None:
    """Return the soft limits of a motor, None where they are off (both dial limits are zero)."""
    low, high, dial_low, dial_high = await asyncio.gather(
        motor.low_limit_travel.get_value(),
        motor.high_limit_travel.get_value(),
        motor.dial_low_limit_travel.get_value(),
        motor.dial_high_limit_travel.get_value(),
    )
    return None if dial_low == dial_high == 0 else (low, high)


async def read_motor_record(motor: EpicsMotor) -> MotorRecord:
    """Read all fields of a motor's record that matter for a flight, each once.

    Raises
    ------
    TimeoutError, ConnectionError
        If the server does not answer for the fields that the device itself has.
    """
    unit, *own = await asyncio.gather(
        motor.motor_egu.get_value(), *(_own(motor, name) for name in OWN)
    )
    values = dict(zip(OWN, own, strict=True))
    protocol, name = _record_of(motor)
    reader = _READERS.get(protocol)
    if reader is not None:
        missing = _missing.setdefault(motor, set())
        names = [field for field in BESIDE if field not in missing]
        found = await reader({field: f"{name}.{field}" for field in names})
        if found:
            # Without one answer it is the server that is missing, and not its fields.
            missing.update(set(names) - set(found))
        values |= found
    return MotorRecord(motor.name, name, unit, values)


async def backlash_of(motor: EpicsMotor) -> SignalRW[float]:
    """Return a signal for the backlash distance (BDST) of a motor."""
    if motor not in _backlash:
        protocol, name = _record_of(motor)
        signal = epics_signal_rw(float, f"{protocol}://{name}.BDST")
        await signal.connect()
        _backlash[motor] = signal
    return _backlash[motor]


_missing: WeakKeyDictionary[EpicsMotor, set[str]] = WeakKeyDictionary()
_backlash: WeakKeyDictionary[EpicsMotor, SignalRW[float]] = WeakKeyDictionary()


def _record_of(motor: EpicsMotor) -> tuple[str, str]:
    """Return protocol and name of a motor's record; a mock has the protocol ``mock+...``."""
    protocol, _, name = motor.user_readback.source.partition("://")
    return protocol, name.removesuffix(".RBV")


_SIGNALS: Final[Mapping[str, Callable[[EpicsMotor], Any]]] = {
    "VELO": lambda motor: motor.velocity,
    "VMAX": lambda motor: motor.max_velocity,
    "ACCL": lambda motor: motor.acceleration_time,
    "HLM": lambda motor: motor.high_limit_travel,
    "LLM": lambda motor: motor.low_limit_travel,
    "DHLM": lambda motor: motor.dial_high_limit_travel,
    "DLLM": lambda motor: motor.dial_low_limit_travel,
    "MRES": lambda motor: motor.motor_resolution,
    "OFF": lambda motor: motor.offset,
    "RBV": lambda motor: motor.user_readback,
    "VAL": lambda motor: motor.user_setpoint,
    "DMOV": lambda motor: motor.motor_done_move,
}


async def _own(motor: EpicsMotor, name: str) -> float:
    return float(await _SIGNALS[name](motor).get_value())


async def _read_ca(names: Mapping[str, str]) -> dict[str, float]:
    # aioca reads EPICS_* from the environment when it is first imported.
    import aioca

    found = await aioca.caget(list(names.values()), timeout=FIELD_TIMEOUT, throw=False)
    return {field: float(value) for field, value in zip(names, found, strict=True) if value.ok}


async def _read_pva(names: Mapping[str, str]) -> dict[str, float]:
    from p4p.client.asyncio import Context

    async def get(context: Any, name: str) -> Any:
        try:
            return await asyncio.wait_for(context.get(name), FIELD_TIMEOUT)
        except TimeoutError:
            return None

    with Context("pva") as context:
        found = await asyncio.gather(*(get(context, name) for name in names.values()))
    return {
        field: float(value) for field, value in zip(names, found, strict=True) if value is not None
    }


_READERS: Final = {"ca": _read_ca, "pva": _read_pva}
