"""Which encoder of which axis is on which input of a trigger box: a fact of the beamline."""

from dataclasses import dataclass
from typing import Protocol

from ophyd_async.core import SignalR

from glidepath.physics import (
    BraggGeometry,
    Encoder,
    EncoderGeometry,
    GratingGeometry,
    LinearGeometry,
)

from .monochromator import DCM, PGM

__all__ = ["AxisEncoders", "BraggEncoder", "EncoderInput", "GratingEncoders", "LinearEncoder"]

TOLERANCE = 0.1
"""Largest difference (units of the axis) between readback and encoders while the axis stands."""


@dataclass(frozen=True)
class EncoderInput:
    """An encoder and where it is connected.

    Parameters
    ----------
    number
        Number of the input, from 1 on.
    encoder
        Its scale: counts for one degree (of an angle) or one unit (of a motor).
    """

    number: int
    encoder: Encoder


class AxisEncoders(Protocol):
    """The encoders of one axis on a trigger box."""

    @property
    def inputs(self) -> tuple[int, ...]:
        """Numbers of the inputs, that of the encoder to compare first."""
        ...

    @property
    def readback(self) -> SignalR[float]:
        """The signal of the axis's position in the control system."""
        ...

    @property
    def tolerance(self) -> float:
        """Largest difference between that and the encoders while the axis stands, in its unit."""
        ...

    async def geometry(self) -> EncoderGeometry:
        """Return how the counts go with the position, as the axis is set up now."""
        ...


@dataclass(frozen=True)
class GratingEncoders:
    """Grating and mirror of a plane-grating monochromator.

    Parameters
    ----------
    monochromator
        The monochromator, which tells line density, order and cff.
    grating
        Counts for one degree of ``beta``, which is negative.
    mirror
        Counts for one degree of ``(alpha - beta) / 2``. With it, energies follow from both
        angles as they were, whatever cff is; without it (None), cff is taken as read back.
    tolerance
        Largest difference (eV) between readback and encoders while the axis stands.
    """

    monochromator: PGM
    grating: EncoderInput
    mirror: EncoderInput | None = None
    tolerance: float = TOLERANCE

    @property
    def inputs(self) -> tuple[int, ...]:
        """Numbers of the inputs, the grating's first."""
        mirror = () if self.mirror is None else (self.mirror.number,)
        return (self.grating.number, *mirror)

    @property
    def readback(self) -> SignalR[float]:
        """Energy in eV as the monochromator reads it back."""
        return self.monochromator.readback

    async def geometry(self) -> GratingGeometry:
        """Return the grating equation with the present line density, order and cff."""
        mono = self.monochromator
        return GratingGeometry(
            self.grating.encoder,
            None if self.mirror is None else self.mirror.encoder,
            await mono.line_density.get_value(),
            await mono.cff.get_value(),
            await mono.order.get_value(),
        )


@dataclass(frozen=True)
class BraggEncoder:
    """Bragg angle of a crystal monochromator.

    Parameters
    ----------
    monochromator
        The monochromator, which tells the lattice spacing.
    angle
        Counts for one degree of the glancing angle.
    tolerance
        Largest difference (eV) between readback and encoders while the axis stands.
    """

    monochromator: DCM
    angle: EncoderInput
    tolerance: float = TOLERANCE

    @property
    def inputs(self) -> tuple[int, ...]:
        """Number of the input."""
        return (self.angle.number,)

    @property
    def readback(self) -> SignalR[float]:
        """Energy in eV as the monochromator reads it back."""
        return self.monochromator.readback

    async def geometry(self) -> BraggGeometry:
        """Return Bragg's law with the lattice spacing of the crystal in use."""
        spacing = await self.monochromator.lattice_spacing.get_value()
        return BraggGeometry(self.angle.encoder, spacing)


@dataclass(frozen=True)
class LinearEncoder:
    """An axis with a scale of its own, such as a motor record.

    Parameters
    ----------
    scale
        Counts for one unit of the axis.
    readback
        Position of the axis as the control system shows it.
    tolerance
        Largest difference between readback and encoder while the axis stands, in its unit.
    """

    scale: EncoderInput
    readback: SignalR[float]
    tolerance: float = TOLERANCE

    @property
    def inputs(self) -> tuple[int, ...]:
        """Number of the input."""
        return (self.scale.number,)

    async def geometry(self) -> LinearGeometry:
        """Return the scale."""
        return LinearGeometry(self.scale.encoder)
