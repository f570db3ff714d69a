"""Faults that people make: fields, exposures and captures changed by hand while a scan uses them.

None of them breaks anything: everything answers, and goes on. A scan must notice all the same, or
not be harmed, and whatever it leaves must be as somebody wanted it to be.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from .laboratory import EVERY_MODE, SAMPLED, TRIGGERED, Axis, Fault, Laboratory

Strike = Callable[[Laboratory, Axis], None]

MOTORS: Final = ("constant velocity", "trajectory controller")
SWEEPS: Final = ("controller sweep", "sweep and separate gap")

RAISED: Final = 6.0
"""Base velocity (eV/s) above that of every scan."""

ANY_END: Final = ("success", "fail", "abort")


def _taken(fault: Fault) -> Fault:
    """Let a fault strike in flight only: before, it changes what the scan finds and goes by.

    An axis that is sent through the range by hand before is not flown through it.
    """
    return replace(fault, in_flight=True)


def _field(what: str, name: str, value: float) -> Fault:
    """Return a fault: a field of the motor record is changed, and back when the scan is over."""
    return _of_motors(what, lambda lab, axis: lab.set(f"m3.{name}", value))


def _of_motors(what: str, strike: Strike) -> Fault:
    return Fault(what, strike, ANY_END, modes=EVERY_MODE, only=MOTORS)


def _of_sweeps(what: str, strike: Strike, only: tuple[str, ...] = SWEEPS) -> Fault:
    return Fault(what, strike, ANY_END, modes=EVERY_MODE, only=only)


def _triggered(what: str, strike: Strike, at: float | None = 401.0) -> Fault:
    return Fault(what, strike, ANY_END, modes=TRIGGERED, at=at)


def _sampled(what: str, strike: Strike) -> Fault:
    return Fault(what, strike, ANY_END, modes=SAMPLED)


def _box_left_set(lab: Laboratory, axis: Axis) -> None:
    """Leave fields of the trigger box as somebody else may have needed them."""
    for field, value in (
        ("PULSE1_DLY", 2.0),
        ("POLARITY:BC", 1),
        ("PC_PULSE_DLY", 1.0),
        ("PC_GATE_NGATE", 3),
        ("PC_BIT_CAP", 1023),
        ("OUT1_TTL", 31),
    ):
        lab.set(f"ZEBRA:{field}", value)


def _base_velocity_raised(lab: Laboratory, axis: Axis) -> None:
    """Raise the base velocity, and the velocity with it, which stays so as on a real record."""
    lab.change("m3.VELO", RAISED)
    lab.set("m3.VBAS", RAISED)


BY_HAND: Final = (
    # The motor record.
    _field("motor paused", "SPMG", 1),
    _field("motor switched to Stop", "SPMG", 0),
    _field("motor put into Set mode", "SET", 1),
    _field("motor disabled", "DISP", 1),
    _field("backlash given to the motor", "BDST", 0.5),
    _of_motors("base velocity raised above the velocity", _base_velocity_raised),
    _field("delay given to the motor", "DLY", 1.5),
    _of_motors("motor stopped by hand", lambda lab, axis: lab.send("m3.STOP", 1)),
    _taken(
        _of_motors("motor sent elsewhere by hand", lambda lab, axis: lab.send("m3.VAL", 402.5)),
    ),
    _taken(_of_motors("velocity changed by hand", lambda lab, axis: lab.change("m3.VELO", 1.0))),
    # The monochromator.
    _of_sweeps("sweep ended by hand", lambda lab, axis: lab.send("PGM1:MonoAktion.PROC", 0)),
    _taken(
        _of_sweeps(
            "sent elsewhere by hand", lambda lab, axis: lab.send("PGM1:monoSetEnergy", 402.5)
        )
    ),
    _taken(
        _of_sweeps(
            "velocity of the sweep changed", lambda lab, axis: lab.change("PGM1:SetSweepVel", 1.0)
        )
    ),
    _taken(
        _of_sweeps(
            "undulator let go by hand",
            lambda lab, axis: lab.change("PGM1:SetIdOn", 0),
            only=SWEEPS[:1],
        )
    ),
    # Detectors that are sampled.
    _taken(
        _sampled("averaging changed by hand", lambda lab, axis: lab.set("KEI1:setFiltAverCnt", 10))
    ),
    _sampled("beam lost", lambda lab, axis: lab.set("FAULT:beam_loss", 1)),
    # A clock that was set before is only apart from the others: see `clock_bound`. Steps of less
    # than 0.1 s are not noticed (docs/decisions/0006).
    _taken(
        _sampled(
            "clock of the detectors steps by 0.5 s",
            lambda lab, axis: lab.set("FAULT:detectors_clock_step", 0.5),
        )
    ),
    _taken(
        _sampled(
            "clock of the optics steps by 0.3 s",
            lambda lab, axis: lab.set("FAULT:optics_clock_step", 0.3),
        )
    ),
    # What is triggered, and what triggers.
    _taken(
        _triggered(
            "exposure of the camera changed by hand",
            lambda lab, axis: lab.change("CAM1:cam1:AcquireTime", 0.03),
        )
    ),
    _triggered("capture ended by hand", lambda lab, axis: lab.send("CAM1:HDF1:Capture", 0)),
    _triggered("camera stopped by hand", lambda lab, axis: lab.send("CAM1:cam1:Acquire", 0)),
    _triggered(
        "statistics switched off", lambda lab, axis: lab.set("CAM1:Stats1:EnableCallbacks", 0)
    ),
    _triggered(
        "frames of the file throttled", lambda lab, axis: lab.set("CAM1:HDF1:MinCallbackTime", 0.5)
    ),
    _triggered("images made smaller", lambda lab, axis: lab.set("CAM1:cam1:SizeX", 32)),
    _triggered("trigger box disarmed by hand", lambda lab, axis: lab.send("ZEBRA:PC_DISARM", 1)),
    _triggered("fields of the trigger box left set", _box_left_set, at=None),
)
"""Of each of them a scan may end in any way, if it says why and nothing is wrong."""

__all__ = ["BY_HAND"]
