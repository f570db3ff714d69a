"""What each field of an EPICS motor record does to a flight: the table of the documentation.

Source: motor record reference, R7-4 (https://epics-modules.github.io/motor/motorRecord.html).
"""

from dataclasses import dataclass
from typing import Final

__all__ = ["FIELDS", "MotorField"]

USED, REFUSED, NOTED, HARMLESS = "used", "refused", "noted", "no effect"


@dataclass(frozen=True)
class MotorField:
    """One or more fields, and what they do to a flight.

    Parameters
    ----------
    names
        Names of the fields.
    treatment
        Whether it is used, refused, noted in the pre-flight report, or has no effect.
    effect
        What it does, for the documentation.
    """

    names: tuple[str, ...]
    treatment: str
    effect: str


def _fields(names: str, treatment: str, effect: str) -> MotorField:
    return MotorField(tuple(names.split()), treatment, effect)


FIELDS: Final = (
    _fields("VELO", USED, "It is set for the flight, read back, compared, and put back."),
    _fields("VMAX", USED, "It is the highest velocity; 0 means that there is no limit."),
    _fields(
        "VBAS",
        USED,
        "It is the lowest velocity: the record raises a VELO below it. The motor starts and ends "
        "its ramps at this velocity, which makes the run-up longer.",
    ),
    _fields("ACCL", USED, "The seconds of acceleration, whatever VELO is, make the run-up."),
    _fields(
        "ACCU ACCS",
        USED,
        "If ACCU says that ACCS counts, the acceleration is fixed and the seconds follow from the "
        "velocity of the flight.",
    ),
    _fields(
        "BDST BVEL BACC",
        USED,
        "Backlash would end a flight BDST before its end and go on at BVEL, or come back at BVEL. "
        "BDST is set to 0 for the flight and put back; the run-up takes the play out.",
    ),
    _fields(
        "DLY RTRY RDBD RMOD",
        USED,
        "They delay the end of a move: the bounds of all moves are computed with them. A motor "
        "that stands behind the stop and is not done yet is no failure.",
    ),
    _fields(
        "HLM LLM DHLM DLLM",
        USED,
        "They limit the flight, with its run-up and run-down. If both dial limits are 0, there is "
        "none.",
    ),
    _fields("EGU", USED, "It is the unit of all numbers."),
    _fields("MRES", USED, "Backlash below one step does not count."),
    _fields(
        "OFF DIR ERES",
        USED,
        "Positions are user positions. If one of them changes between the pre-flight and the "
        "flight, the flight is refused.",
    ),
    _fields("DMOV", USED, "It says that the motor is done. A motor that moves is not flown."),
    _fields(
        "HLS LLS",
        REFUSED,
        "A motor on a limit switch is not flown beyond its place in that direction.",
    ),
    _fields(
        "SET IGSET FOFF",
        REFUSED,
        "In Set mode a new target changes the calibration, and nothing moves. IGSET = 1 makes the "
        "record ignore SET.",
    ),
    _fields(
        "SPMG",
        REFUSED,
        "With Stop, Pause or Move the motor would not move, or move later by itself.",
    ),
    _fields(
        "VAL LVAL MOVN",
        USED,
        "While SPMG is Stop or Pause, a target is remembered: VAL differs from LVAL, or DMOV is 0 "
        "though nothing moves (MOVN is 0), and on Go the motor goes there. That is said with SPMG; "
        "a scan that ends like this leaves no target of its own behind.",
    ),
    _fields("DISP", REFUSED, "The record takes no puts; often a record ..._able switches it."),
    _fields("DISA DISV", REFUSED, "A record that is not processed takes targets and stands."),
    _fields("OMSL", REFUSED, "In closed loop the target comes from the link DOL."),
    _fields("FRAC", REFUSED, "Other than 1, each move goes a part of its way only, and stops."),
    _fields(
        "MSTA",
        REFUSED,
        "It shows a driver with a problem, a controller that does not answer, or lost steps.",
    ),
    _fields(
        "LVIO",
        USED,
        "It tells why a motor does not start: its target is beyond a soft limit. The state of an "
        "earlier move does not matter, a new target clears it.",
    ),
    _fields(
        "SPDB",
        REFUSED,
        "A flight that is shorter than this set point dead band would not begin.",
    ),
    _fields(
        "MDEL",
        NOTED,
        "The readback is posted each time it has changed by MDEL: rows in between are "
        "interpolated.",
    ),
    _fields("UEIP URIP", HARMLESS, "They choose what RBV is; RBV is what is recorded."),
    _fields("SREV UREV", HARMLESS, "They give MRES."),
    _fields("NTM NTMF", HARMLESS, "They matter for a target that changes in flight."),
    _fields("JVEL JAR HVEL TWV", HARMLESS, "They are velocities and steps of moves by hand."),
    _fields(
        "JOGF JOGR HOMF HOMR TWF TWR",
        HARMLESS,
        "They move the motor; before a flight it is not done then, in flight it ends early.",
    ),
    _fields("ATHM", HARMLESS, "It says that the motor is at its home switch."),
    _fields("STUP", HARMLESS, "It asks the controller for its state."),
    _fields("SYNC", HARMLESS, "It makes the target the position, at rest."),
    _fields("LOCK", HARMLESS, "It says whether the target of a soft motor follows the motor."),
    _fields("CNEN", HARMLESS, "Motors that are off are switched on by a move, or do not start."),
    _fields(
        "PREM POST", HARMLESS, "They are commands before and after a move, and make it longer."
    ),
)
"""What each field does to a flight; `docs/motor-records.md` has the same table."""
