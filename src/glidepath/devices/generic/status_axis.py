"""Axes with a setpoint, a readback and a status that says when a move is done."""

from collections.abc import Mapping
from functools import cached_property

from ophyd_async.core import (
    DeviceMock,
    MovableLogic,
    StandardMovable,
    StandardReadable,
    callback_on_mock_put,
    default_mock_class,
    set_mock_value,
)
from ophyd_async.core import StandardReadableFormat as Format

from glidepath.devices.positioning import ControllerMove, InstantMove, Pace
from glidepath.devices.signals import ask, read_limits, signal_r, signal_rw, tell

from .names import pv_names

__all__ = ["StatusAxis"]


class _Standing(DeviceMock["StatusAxis"]):
    """Mock of an axis that stands, and arrives at once."""

    async def connect(self, device: "StatusAxis") -> None:
        await InstantMove().connect(device)
        set_mock_value(device.status, device.done_value)
        callback_on_mock_put(device.setpoint, lambda value: self._arrived(device, value))

    def _arrived(self, device: "StatusAxis", position: float) -> None:
        set_mock_value(device.status, device.done_value + 1)
        set_mock_value(device.readback, position)
        set_mock_value(device.status, device.done_value)


@default_mock_class(_Standing)
class StatusAxis(StandardReadable, StandardMovable[float]):
    """An axis whose controller says by a status that a move is done.

    A status that says nothing of a move is no answer: the move has failed, even if the readback
    is at the target.

    Parameters
    ----------
    prefix
        What ``{}`` stands for in PV names.
    name
        Name of the axis and of its position in the data.
    pvs
        PV names: ``setpoint``, ``readback``, ``status``, and ``stop`` where the axis has a
        command that stops it (1 is written). Without it the axis is sent to where it is.
    unit
        Unit of the positions, where the records have none.
    done_value
        Value of the status when the axis stands.
    tolerance
        Largest distance between position and target at the end of a move.
    limits
        Range of positions; None: the drive limits of the setpoint's record.
    pace
        Time bounds of a move.
    """

    def __init__(
        self,
        prefix: str,
        name: str = "",
        *,
        pvs: Mapping[str, str] | None = None,
        unit: str = "",
        done_value: int = 0,
        tolerance: float = 0.01,
        limits: tuple[float, float] | None = None,
        pace: Pace | None = None,
    ) -> None:
        defaults = {"setpoint": "{}set", "readback": "{}get", "status": "{}status", "stop": ""}
        names = pv_names(prefix, defaults, pvs)
        self.done_value = done_value
        self._unit, self._tolerance, self._limits = unit, tolerance, limits
        self._pace = pace or Pace()
        self.setpoint = signal_rw(float, names["setpoint"], unit=unit, wait=False)
        self.status = signal_r(int, names["status"])
        self.stop_command = signal_rw(int, names["stop"], wait=False) if names["stop"] else None
        with self.add_children_as_readables(Format.HINTED_SIGNAL):
            self.readback = signal_r(float, names["readback"], unit=unit)
        super().__init__(name)

    @cached_property
    def movable_logic(self) -> MovableLogic[float]:
        """How the axis moves."""
        return ControllerMove(
            setpoint=self.setpoint,
            readback=self.readback,
            status=self.status,
            is_done=lambda value: value == self.done_value,
            halt=self._halt,
            limits=self.limits,
            unit=self._unit,
            tolerance=self._tolerance,
            pace=self._pace,
            heard=True,
        )

    async def limits(self) -> tuple[float, float] | None:
        """Return the range of positions, None where it is not known."""
        return self._limits or await read_limits(self.setpoint)

    async def _halt(self) -> None:
        if self.stop_command is not None:
            await tell(self.stop_command, 1)
        else:
            await tell(self.setpoint, await ask(self.readback))
