"""Find the axis of a quadrupole with the beam: its strength is varied while a steerer bumps."""

from collections.abc import Mapping, Sequence
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import numpy as np

from glidepath.devices.families import BeamPositionMonitors, Multiplexer, PowerConverter
from glidepath.physics.alignment import fit_quadrupole_centre

from .messages import MsgGenerator

__all__ = ["beam_based_alignment"]


def beam_based_alignment(
    multiplexer: Multiplexer,
    quadrupole: str,
    converter: PowerConverter,
    steerer: PowerConverter,
    monitors: BeamPositionMonitors,
    bumps: Sequence[float],
    *,
    step: float = 1.0,
    plane: str = "x",
    md: Mapping[str, Any] | None = None,
) -> MsgGenerator:
    """Find where the beam must pass a quadrupole so that its strength does not move the orbit.

    For each setting of the steerer the converter goes to ``+step`` and ``-step``, and the orbit
    is read at both. However the plan ends, the steerer is put back, the converter is at zero, and
    the multiplexer is off.

    Parameters
    ----------
    multiplexer, quadrupole, converter
        Which quadrupole is varied, and by what.
    steerer
        Moves the beam in the quadrupole.
    monitors
        Monitors of the orbit; one of them has the name of the quadrupole.
    bumps
        Currents of the steerer in A, relative to where it is.
    step
        Current of the converter, A.
    plane
        ``"x"`` or ``"y"``.
    md
        Metadata for the start document.

    Returns
    -------
    CentreFit
        Position of the axis at the monitor, in mm.

    Raises
    ------
    ValueError
        If there is no such monitor or plane; nothing has moved.
    AlignmentError
        If the orbits do not tell.
    """
    if plane not in ("x", "y") or quadrupole not in monitors.monitors:
        raise ValueError(
            f"There is no orbit {plane!r} at {quadrupole!r}; choose plane 'x' or 'y' and one of "
            f"{', '.join(monitors.monitors)}."
        )
    before = yield from bps.rd(steerer)
    orbit = getattr(monitors, plane)
    number = monitors.monitors.index(quadrupole)
    metadata = {
        "plan_name": "beam_based_alignment",
        "quadrupole": quadrupole,
        "plane": plane,
        "step": step,
        "motors": [steerer.name, converter.name],
        "detectors": [monitors.name],
        **(md or {}),
    }

    positions: list[float] = []
    changes: list[Any] = []

    def orbit_at(current: float) -> MsgGenerator:
        yield from bps.mv(converter, current)
        reading = yield from bps.trigger_and_read([monitors, steerer, converter])
        return np.asarray(reading[orbit.name]["value"])

    @bpp.stage_decorator([monitors])
    @bpp.run_decorator(md=metadata)
    def measure() -> MsgGenerator:
        yield from bps.mv(multiplexer, quadrupole)
        for bump in bumps:
            yield from bps.mv(steerer, before + bump)
            high = yield from orbit_at(step)
            low = yield from orbit_at(-step)
            positions.append((high[number] + low[number]) / 2)
            changes.append(high - low)

    def put_back() -> MsgGenerator:
        yield from bps.mv(steerer, before)
        yield from bps.mv(multiplexer, multiplexer.off)

    yield from bpp.finalize_wrapper(measure(), put_back)
    return fit_quadrupole_centre(positions, changes)
