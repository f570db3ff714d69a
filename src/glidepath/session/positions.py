"""Where the axes of a beamline are: what ``%wa`` shows."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any

from ophyd_async.epics.motor import Motor as EpicsMotor

from glidepath.devices.motor_record import read_motor_record
from glidepath.sentences import joined, sentence_of

INTERVAL = 0.3
"""Seconds between the two readings that tell whether an axis moves."""

STANDING = 0.01
"""Units per second below which an axis stands: noise of the readback makes less."""


@dataclass(frozen=True)
class Position:
    """Where one axis is.

    Attributes
    ----------
    name
        Name of the axis.
    readback, setpoint
        Positions in its unit; NaN where they are not known.
    unit
        Unit of both.
    limits
        Lowest and highest position, or None where there are none.
    moving
        Whether the readback changes.
    undulator
        How the undulator goes along, or an empty text.
    trouble
        Why it cannot be read, or an empty text.
    objection
        Why it would not move, or an empty text.
    """

    name: str
    readback: float = nan
    setpoint: float = nan
    unit: str = ""
    limits: tuple[float, float] | None = None
    moving: bool = False
    undulator: str = ""
    trouble: str = ""
    objection: str = ""


async def positions_of(axes: Mapping[str, Any]) -> list[Position]:
    """Return where axes are, in their order; nothing moves.

    Parameters
    ----------
    axes
        Name -> connected device.
    """
    return list(await asyncio.gather(*(_position(name, axis) for name, axis in axes.items())))


async def _position(name: str, axis: Any) -> Position:
    try:
        first = await axis.locate()
        await asyncio.sleep(INTERVAL)
        located = await axis.locate()
        described = await axis.describe()
        limits = await axis.limits() if hasattr(axis, "limits") else await _travel(axis)
        objection = await _objection(getattr(axis, "monochromator", axis))
    except Exception as error:
        return Position(name, trouble=joined(sentence_of(error)))
    readback, setpoint = float(located["readback"]), float(located["setpoint"])
    coupling = getattr(axis, "coupling", None)
    return Position(
        name,
        readback,
        setpoint,
        str(described.get(axis.name, {}).get("units") or ""),
        limits if limits is not None and all(map(isfinite, limits)) else None,
        abs(readback - float(first["readback"])) > STANDING * INTERVAL,
        "" if coupling is None else str(getattr(coupling, "value", coupling)),
        objection=objection,
    )


async def _objection(axis: Any) -> str:
    """Return what the record of a motor says that keeps it from moving."""
    if not isinstance(axis, EpicsMotor):
        return ""
    return next(iter((await read_motor_record(axis)).objections()), "")


async def _travel(axis: Any) -> tuple[float, float] | None:
    """Return the limits of a stock motor."""
    signals = [getattr(axis, f"{end}_limit_travel", None) for end in ("low", "high")]
    if any(signal is None for signal in signals):
        return None
    low, high = await asyncio.gather(*(signal.get_value() for signal in signals if signal))
    # A motor record without limits has both at zero.
    return (float(low), float(high)) if high > low else None


__all__ = ["Position", "positions_of"]
