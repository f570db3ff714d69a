"""A monochromator: one energy with a setpoint, a readback, a velocity and a flag at rest."""

from functools import cached_property, partial

from ophyd_async.core import StandardMovable, StandardReadable
from ophyd_async.core import StandardReadableFormat as Format

from glidepath.devices import signal_r, signal_rw
from glidepath.extend import ControllerMove, tell


class LabMonochromator(StandardReadable, StandardMovable[float]):
    """The energy in eV between two limits."""

    def __init__(self, prefix: str, limits: tuple[float, float], name: str = "") -> None:
        with self.add_children_as_readables(Format.HINTED_SIGNAL):
            self.readback = signal_r(float, f"{prefix}.RBV", unit="eV")
        with self.add_children_as_readables(Format.CONFIG_SIGNAL):
            self.velocity = signal_rw(float, f"{prefix}.VELO", unit="eV/s")
        # The processing of the record lasts as long as the move: the end is seen in its flag.
        self.setpoint = signal_rw(float, f"{prefix}.VAL", unit="eV", wait=False)
        self.stands = signal_r(bool, f"{prefix}.DMOV")
        self.halt = signal_rw(int, f"{prefix}.STOP")
        self._limits = limits
        super().__init__(name)

    async def limits(self) -> tuple[float, float]:
        """Return the lowest and the highest energy in eV."""
        return self._limits

    @cached_property
    def movable_logic(self) -> ControllerMove:
        """How it moves to an energy, and how it is stopped."""
        return ControllerMove(
            self.setpoint,
            self.readback,
            status=self.stands,
            is_done=bool,
            halt=partial(tell, self.halt, 1),
            limits=self.limits,
            unit="eV",
            tolerance=0.01,
            velocity=self.velocity,
        )
