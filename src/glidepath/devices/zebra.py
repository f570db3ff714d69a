"""The Zebra: a box that compares encoder positions, makes pulses and captures what it saw.

Process variables: the EPICS support of Diamond Light Source (``dls-controls/zebra``,
``zebra.template`` with ``zebraRegisterWrite*.template``). Positions are in units of the motor
record that the support was given for an encoder, and in counts where it was given none; times are
in the unit that ``PC_TSPRE`` says. What the box does: manual TDI-CTRL-TNO-042.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum, StrEnum

import numpy as np
from ophyd_async.core import (
    Array1D,
    DeviceMock,
    DeviceVector,
    SignalDatatypeT,
    SignalRW,
    StandardReadable,
    default_mock_class,
    set_mock_value,
)
from ophyd_async.core import StandardReadableFormat as Format

from .encoders import AxisEncoders
from .signals import signal_r, signal_rw

__all__ = [
    "BusSignal",
    "CompareDirection",
    "CompareSource",
    "Edge",
    "TimeUnit",
    "Zebra",
    "ZebraEncoder",
    "ZebraPulse",
]

ENCODERS = range(1, 5)
PULSES = range(1, 5)


class CompareSource(StrEnum):
    """What opens the gate, or makes the pulses."""

    POSITION = "Position"
    TIME = "Time"
    EXTERNAL = "External"


class CompareDirection(StrEnum):
    """Which way the position goes, in units of the encoder."""

    POSITIVE = "Positive"
    NEGATIVE = "Negative"


class TimeUnit(StrEnum):
    """Unit of times; their resolution is a ten-thousandth of it."""

    MILLISECOND = "ms"
    SECOND = "s"
    TEN_SECONDS = "10s"

    @property
    def seconds(self) -> float:
        """Its length in s."""
        return {"ms": 1e-3, "s": 1.0, "10s": 10.0}[self.value]


class Edge(IntEnum):
    """Edge of its input that a pulse block answers."""

    RISING = 0
    FALLING = 1


class BusSignal(IntEnum):
    """Signals of the box's system bus (``bus_lookup`` in ``zebraRegs.h``)."""

    DISCONNECT = 0
    PC_PULSE = 31
    """Pulse of the position compare."""
    PULSE1 = 52
    """Output of the first pulse block; those of the others follow."""


class ZebraEncoder(StandardReadable):
    """One encoder input.

    Attributes
    ----------
    resolution, offset
        ``Mn:ERES``, ``Mn:OFF``: unit of a count, and position where the counter is zero.
    preset
        ``POSn_SET``: writing a position sets the counter to it.
    captured
        ``PC_ENCn``: what was latched at each pulse since arming, float64 of shape (n,).
    """

    def __init__(self, prefix: str, number: int, name: str = "") -> None:
        with self.add_children_as_readables(Format.CONFIG_SIGNAL):
            self.resolution = signal_r(float, f"{prefix}M{number}:ERES")
            self.offset = signal_r(float, f"{prefix}M{number}:OFF")
        self.preset = signal_rw(float, f"{prefix}POS{number}_SET")
        self.captured = signal_r(Array1D[np.float64], f"{prefix}PC_ENC{number}")
        super().__init__(name)


class ZebraPulse(StandardReadable):
    """A pulse block: answers each rising edge of its input with one pulse of a given length.

    Attributes
    ----------
    input
        ``PULSEn_INP``, a :class:`BusSignal`.
    delay, width
        ``PULSEn_DLY``, ``PULSEn_WID``, in the unit; at most 6.5535 of it.
    unit
        ``PULSEn_PRE``, a :class:`TimeUnit`.
    polarity
        ``POLARITY:BC`` to ``BF``, an :class:`Edge`.
    """

    def __init__(self, prefix: str, number: int, name: str = "") -> None:
        block = f"{prefix}PULSE{number}_"
        with self.add_children_as_readables(Format.CONFIG_SIGNAL):
            self.input = _setting(int, f"{block}INP")
            self.delay = _setting(float, f"{block}DLY")
            self.width = _setting(float, f"{block}WID")
            self.unit = _setting(str, f"{block}PRE")
            # Bits of one register: those of gates and dividers come before.
            self.polarity = signal_rw(int, f"{prefix}POLARITY:B{'CDEF'[number - 1]}")
        super().__init__(name)


def _setting(datatype: type[SignalDatatypeT], pv: str) -> SignalRW[SignalDatatypeT]:
    """Return a signal that reads what the box has taken, which may be rounded."""
    return signal_rw(datatype, f"{pv}:RBV", pv)


class _ZebraMock(DeviceMock["Zebra"]):
    """Mock of a box that counts in counts."""

    async def connect(self, device: "Zebra") -> None:
        set_mock_value(device.capacity, 100_000)
        for encoder in device.encoder.values():
            set_mock_value(encoder.resolution, 1.0)


@default_mock_class(_ZebraMock)
class Zebra(StandardReadable):
    """A Zebra, and what of the beamline is connected to it.

    Parameters
    ----------
    prefix
        With what separates it from the names, for example ``"BL01-EA-ZEBRA-01:"``.
    name
        Name of the device.
    axes
        Encoders of the axes that it can follow, by the axis's name.
    outputs
        Connectors to the detectors, such as ``"OUT1_TTL"``.
    pulse
        Number of the pulse block, 1 to 4, that is left to scans: it makes pulses as long as the
        exposure, while the compare's own pulses are distances where it goes by position.

    Attributes
    ----------
    axes, pulse_number
        What was given.
    arm, disarm, armed
        ``PC_ARM``, ``PC_DISARM`` (write 1), ``PC_ARM_OUT``.
    arm_source
        ``PC_ARM_SEL``: "Soft" or "External".
    compared
        ``PC_ENC``: "Enc1" to "Enc4".
    direction
        ``PC_DIR``, a :class:`CompareDirection`.
    time_unit
        ``PC_TSPRE``, a :class:`TimeUnit`.
    gate_source, gate_start, gate_width, gates, gate_step
        ``PC_GATE_SEL``, ``_START``, ``_WID``, ``_NGATE``, ``_STEP``.
    pulse_source, pulse_start, pulse_step, pulse_width, pulse_delay, pulses
        ``PC_PULSE_SEL``, ``_START``, ``_STEP``, ``_WID``, ``_DLY``, ``_MAX``.
    chosen
        ``PC_BIT_CAP``: what is captured; bit 0 is encoder 1.
    captured, downloaded
        ``PC_NUM_CAP``, ``PC_NUM_DOWN``: captures since arming, made and handed over.
    times
        ``PC_TIME``: times of the captures since arming, in the unit, float64; has at least as
        many elements as were handed over.
    capacity
        ``PC_TIME.NELM``: captures that the support keeps of one arming.
    acquiring
        ``ARRAY_ACQ``: 1 from arming until everything is handed over; settings are locked then.
    update
        ``ARRAY_UPDATE``: writing 1 hands over at once, not only each second.
    errors
        ``SYS_STATERR``: bit n-1 if pulse block n got an edge during a pulse; bit 4 if captures
        were lost in the box.
    reset
        ``SYS_RESET``: writing 1 clears errors.
    firmware
        ``SYS_VER``: version of the firmware, such as 0x20.
    encoder
        The encoder inputs, 1 to 4.
    pulse
        The pulse block that is left to scans.
    outputs
        Signals that the connectors carry, a :class:`BusSignal` each.
    """

    def __init__(
        self,
        prefix: str,
        name: str = "",
        *,
        axes: Mapping[str, AxisEncoders] | None = None,
        outputs: Sequence[str] = ("OUT1_TTL",),
        pulse: int = 1,
    ) -> None:
        self.axes = dict(axes or {})
        self.pulse_number = pulse
        with self.add_children_as_readables(Format.CONFIG_SIGNAL):
            self.arm_source = _setting(str, f"{prefix}PC_ARM_SEL")
            self.compared = _setting(str, f"{prefix}PC_ENC")
            self.direction = _setting(str, f"{prefix}PC_DIR")
            self.time_unit = _setting(str, f"{prefix}PC_TSPRE")
            self.gate_source = _setting(str, f"{prefix}PC_GATE_SEL")
            self.gate_start = _setting(float, f"{prefix}PC_GATE_START")
            self.gate_width = _setting(float, f"{prefix}PC_GATE_WID")
            self.gates = _setting(int, f"{prefix}PC_GATE_NGATE")
            self.gate_step = _setting(float, f"{prefix}PC_GATE_STEP")
            self.pulse_source = _setting(str, f"{prefix}PC_PULSE_SEL")
            self.pulse_start = _setting(float, f"{prefix}PC_PULSE_START")
            self.pulse_step = _setting(float, f"{prefix}PC_PULSE_STEP")
            self.pulse_width = _setting(float, f"{prefix}PC_PULSE_WID")
            self.pulse_delay = _setting(float, f"{prefix}PC_PULSE_DLY")
            self.pulses = _setting(int, f"{prefix}PC_PULSE_MAX")
            self.chosen = _setting(int, f"{prefix}PC_BIT_CAP")
            self.outputs = DeviceVector(
                {n: _setting(int, prefix + output) for n, output in enumerate(outputs, start=1)}
            )
        with self.add_children_as_readables():
            self.encoder = DeviceVector({n: ZebraEncoder(prefix, n) for n in ENCODERS})
            self.pulse = ZebraPulse(prefix, pulse)
        self.arm = signal_rw(float, f"{prefix}PC_ARM")
        self.disarm = signal_rw(float, f"{prefix}PC_DISARM")
        self.armed = signal_r(int, f"{prefix}PC_ARM_OUT")
        with self.add_children_as_readables():
            self.captured = signal_r(int, f"{prefix}PC_NUM_CAP")
        self.downloaded = signal_r(int, f"{prefix}PC_NUM_DOWN")
        self.times = signal_r(Array1D[np.float64], f"{prefix}PC_TIME")
        self.capacity = signal_r(int, f"{prefix}PC_TIME.NELM")
        self.acquiring = signal_r(int, f"{prefix}ARRAY_ACQ")
        self.update = signal_rw(float, f"{prefix}ARRAY_UPDATE")
        self.errors = signal_r(int, f"{prefix}SYS_STATERR")
        self.reset = signal_rw(float, f"{prefix}SYS_RESET")
        self.firmware = signal_r(int, f"{prefix}SYS_VER")
        super().__init__(name)
