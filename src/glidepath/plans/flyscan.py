"""The plans for scientists: fly an axis over a range, or over the regions of a spectrum."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bluesky.protocols import Movable, Readable

from glidepath.flyers import BeamGuard
from glidepath.flyers.sampling.sampler import CLOCK_BOUND
from glidepath.trajectory import Region, Trajectory

from .messages import MsgGenerator
from .requests import TriggersAsked, old_keywords, request_of
from .trajectory_scan import trajectory_scan


@old_keywords
def flyscan(
    detectors: Sequence[Readable[Any]],
    axis: Readable[Any],
    start: float,
    stop: float,
    velocity: float,
    *,
    period: float | None = None,
    passes: int = 1,
    there_and_back: bool = False,
    clock_bound: float = CLOCK_BOUND,
    beam: BeamGuard | None = None,
    refly: str | None = None,
    triggers: TriggersAsked = None,
    shutter: Movable[Any] | None = None,
    path: Sequence[Any] = (),
    md: Mapping[str, Any] | None = None,
) -> MsgGenerator:
    """Fly ``axis`` from ``start`` to ``stop`` and record what the detectors saw on the way.

    Every readback is sampled by monitors at the control system's own time. The stream
    ``primary`` has one row per ``period``: the mean energy while the row's exposure was open,
    the energy at its two ends, the mean of each detector over it. Each channel's updates are
    in a raw stream of its own.

    A pause stops the axis and puts its settings back; when the run engine resumes, the same run
    goes on with a new run-up from where the last row ended.

    Parameters
    ----------
    detectors
        Devices to sample.
    axis
        An energy axis, a plane-grating monochromator or a motor.
    start, stop
        Range in the axis's unit (eV); ``stop`` may be below ``start``. All rows lie inside.
    velocity
        Units per second (eV/s), above zero.
    period
        Length of a row in s. Detectors with an adjustable exposure are set to it, and put
        back afterwards. None: leave them, and take the longest exposure among them.
    passes
        How often. Each pass is a part of the run: its rows have its number in ``pass_number``.
    there_and_back
        Whether every second pass goes backwards.
    clock_bound
        Largest distance in s between the clocks of the servers and this machine's.
    beam
        Holds the scan while there is no beam. Its ring is sampled too; rows without beam carry
        BEAM_LOST, rows during an injection TOP_UP, with or without a guard.
    refly
        ``"bad rows"``: ranges in which rows are bad (no beam, an injection, no data, lost
        updates) or missing are flown again at the end, up to three times. The bad rows stay,
        with their bits.
    triggers
        Who triggers the detectors that can be triggered, and how often: `Triggers` with a trigger
        box that has the axis's encoder, or with one of the detectors, by its own clock. A row is
        then the exposure of one trigger, its energies are those that were latched, and what else
        is sampled is joined by time. The frames of a detector that makes several for a row share
        the exposure. A mapping of the arguments of `Triggers` does, too. None: nothing is
        triggered.
    shutter
        What is set to ``"open"`` before the axis flies and to ``"closed"`` however the scan ends:
        a valve or a shutter of `glidepath.devices`. None: nothing is opened or closed.
    path
        Valves, shutters and locks that must let the beam through: one that does not is a reason
        in the pre-flight not to begin.
    md
        Metadata for the start document.

    Raises
    ------
    PreflightError
        Before anything moves, if the scan cannot be flown.
    FlightError
        If the axis does not do what it was told. The axis then stands, its settings are as
        they were, and the run is closed with what was recorded and the reason.

    Examples
    --------
    >>> RE(flyscan([mesh, sample], energy, 370, 470, 0.1))  # doctest: +SKIP
    >>> RE(flyscan([camera], energy, 395, 405, 1.0,
    ...            triggers=Triggers(zebra, step=0.05)))  # doctest: +SKIP
    """
    region = Region(start, stop, velocity)
    return (
        yield from trajectory_scan(
            detectors,
            axis,
            Trajectory((region,), passes, there_and_back),
            period=period,
            clock_bound=clock_bound,
            beam=beam,
            refly=refly,
            triggers=triggers,
            shutter=shutter,
            path=path,
            plan_name="flyscan",
            plan_args={
                "start": region.start,
                "stop": region.stop,
                "velocity": region.velocity,
                "period": period,
                "passes": passes,
                "there_and_back": there_and_back,
                "refly": refly,
                "triggers": described_triggers(triggers),
                "shutter": getattr(shutter, "name", None),
            },
            md=md,
        )
    )


@old_keywords
def xas_flyscan(
    detectors: Sequence[Readable[Any]],
    axis: Readable[Any],
    regions: Any,
    *,
    period: float | None = None,
    passes: int = 1,
    there_and_back: bool = False,
    clock_bound: float = CLOCK_BOUND,
    beam: BeamGuard | None = None,
    refly: str | None = None,
    triggers: TriggersAsked = None,
    shutter: Movable[Any] | None = None,
    path: Sequence[Any] = (),
    md: Mapping[str, Any] | None = None,
) -> MsgGenerator:
    """Fly ``axis`` over the regions of a spectrum, each at its own velocity, in one run.

    The rows of each region carry its number in ``region_number``. Where a controller knows only
    one velocity, each region is flown with a run-up of its own; no row is lost or repeated at
    the joins: what is left out there is less than one row.

    Parameters
    ----------
    detectors, axis, period, passes, there_and_back, clock_bound, beam, refly, triggers, shutter
        See `flyscan`.
    path, md
        See `flyscan`.
    regions
        Tuples ``(start, stop, velocity)`` or ``(start, stop, velocity, period)`` in eV, eV/s and
        s, `glidepath.trajectory.Region` objects, or a `glidepath.trajectory.Trajectory`.

    Examples
    --------
    >>> RE(xas_flyscan([mesh, sample], energy,
    ...                [(370, 395, 2.0), (395, 405, 0.2), (405, 470, 1.0)]))  # doctest: +SKIP
    """
    trajectory = Trajectory.of(regions, passes=passes, there_and_back=there_and_back)
    return (
        yield from trajectory_scan(
            detectors,
            axis,
            trajectory,
            period=period,
            clock_bound=clock_bound,
            beam=beam,
            refly=refly,
            triggers=triggers,
            shutter=shutter,
            path=path,
            plan_name="xas_flyscan",
            plan_args={
                "regions": [asdict(region) for region in trajectory.regions],
                "period": period,
                "passes": trajectory.passes,
                "there_and_back": trajectory.there_and_back,
                "refly": refly,
                "triggers": described_triggers(triggers),
                "shutter": getattr(shutter, "name", None),
            },
            md=md,
        )
    )


def described_triggers(triggers: TriggersAsked) -> dict[str, Any] | None:
    """Return what was asked of a trigger box, for the start document."""
    if triggers is None:
        return None
    asked = request_of(triggers)
    box = getattr(asked.box, "name", str(asked.box))
    return {"box": box, "step": asked.step, "period": asked.period, "exposure": asked.exposure}


__all__ = ["described_triggers", "flyscan", "xas_flyscan"]
