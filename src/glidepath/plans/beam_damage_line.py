"""For samples that the beam spoils: each spot sees light only while a spectrum is flown on it."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from math import isfinite, nan
from typing import Any

import bluesky.preprocessors as bpp
import numpy as np
from bluesky.protocols import Movable, Readable
from numpy.typing import NDArray

from glidepath.devices.sampled import channels_for
from glidepath.devices.sampled import sampled as as_sampled
from glidepath.flyers import BeamGuard
from glidepath.flyers.sampling.sampler import CLOCK_BOUND
from glidepath.sentences import as_connection_error
from glidepath.storage import read_columns
from glidepath.trajectory import PreflightError, Region, Trajectory

from .findings import FileOfRun, Finding, Found, Item, with_findings
from .flyscan import described_triggers
from .light_path import LightPath, Opening
from .messages import MsgGenerator, wait_for
from .names import listed
from .requests import TriggersAsked
from .spots import Spots
from .trajectory_scan import trajectory_scan

STREAM = "dose"
"""Stream with one event for each spot that was exposed."""


def beam_damage_line(
    detectors: Sequence[Readable[Any]],
    axis: Readable[Any],
    sample: Movable[Any],
    spots: Sequence[float],
    start: float,
    stop: float,
    velocity: float,
    *,
    shutter: Movable[Any],
    opening_time: float | None = None,
    monitor: Readable[Any] | str | None = None,
    period: float | None = None,
    there_and_back: bool = False,
    clock_bound: float = CLOCK_BOUND,
    beam: BeamGuard | None = None,
    triggers: TriggersAsked = None,
    path: Sequence[Any] = (),
    md: Mapping[str, Any] | None = None,
) -> MsgGenerator:
    """Fly one spectrum on each of several spots of a sample, which see no other light.

    The shutter is closed first of all. At each spot the axis goes to its run-up, the shutter opens,
    the range is flown, and the shutter closes as soon as the axis has left the range; only then the
    sample moves on. However the scan ends - to its end, aborted, stopped, halted, by a fault - the
    shutter is closed; it is closed during a pause and while there is no beam, too, after which the
    rest of the spectrum is flown on the same spot.

    It is one run. The rows of a spot have its number, from 1 on, in ``pass_number``, and the
    sample's position in a column of its own. The stream ``dose`` has one event for each spot that
    was exposed: ``spot``, ``position``, ``openings`` (more than one after a pause), ``open_time``
    (s, from when the shutter said that it was open until it was told to close),
    ``open_time_bound`` (s, from when it was told to open until it said that it was closed), and
    with a monitor its mean and the ``dose``: mean times open time, and ``dose_bound``. The true
    ones lie between.

    Parameters
    ----------
    detectors, axis, start, stop, velocity, period
        See `flyscan`; the whole range is flown at each spot.
    sample
        Motor that moves the sample; it is recorded, too.
    spots
        Its positions, in its unit; each is flown on once.
    shutter
        Valve or shutter, which can be set to ``"open"`` and ``"closed"``. One that closes by itself
        ends the scan as failed: rows in the dark would not be seen.
    opening_time
        How long it takes to open, in s. The shutter is then opened during the run-up, so that it
        is open when the axis enters the range; if it was not, the scan ends as failed. None, or
        longer than the run-up: it is open before the axis starts, and the spot sees the run-up.
    monitor
        What measures the flux: one of the detectors, or the name of a column. None: the stream
        ``dose`` has the times only.
    there_and_back
        Whether every second spot is flown backwards, which saves the way back.
    clock_bound, beam, triggers, path, md
        See `flyscan`.

    Returns
    -------
    str
        Uid of the run.

    Raises
    ------
    PreflightError
        Before anything moves, if the scan cannot be flown, the sample cannot go to a spot, or
        there is no such monitor.
    FlightError
        If the flight fails, or the shutter was not open all the time.

    Examples
    --------
    >>> RE(beam_damage_line([mesh, sample], energy, slide, [0, 0.5, 1.0], 399, 404, 1.0,
    ...                     shutter=valve, monitor=mesh))  # doctest: +SKIP
    """
    positions = _positions(spots)
    if shutter is None:
        raise PreflightError("A beam damage line needs a shutter; give it one, as shutter=valve.")
    if opening_time is not None and not (isfinite(opening_time) and opening_time >= 0):
        raise PreflightError(
            f"A shutter cannot take {opening_time!r} s to open; give a number from 0 on."
        )
    region = Region(start, stop, velocity)
    moved: Any = sample
    places = Spots(moved, positions, LightPath(shutter, opening_time, each_flight=True))
    sampled = listed(detectors)
    flux = yield from wait_for(partial(_monitor, monitor, list(sampled)))
    if moved.name not in [device.name for device in sampled]:
        # First: rows follow the exposures of the last one. It stands while there are rows.
        sampled.insert(0, as_sampled(moved, kind="state"))
    file = FileOfRun()
    plan = trajectory_scan(
        sampled,
        axis,
        Trajectory((region,), len(positions), there_and_back),
        period=period,
        clock_bound=clock_bound,
        beam=beam,
        triggers=triggers,
        shutter=shutter,
        path=path,
        spots=places,
        plan_name="beam_damage_line",
        plan_args={
            "sample": moved.name,
            "spots": list(positions),
            "start": region.start,
            "stop": region.stop,
            "velocity": region.velocity,
            "period": period,
            "there_and_back": there_and_back,
            "shutter": getattr(shutter, "name", None),
            "opening_time": opening_time,
            "monitor": flux[0] if flux else None,
            "triggers": described_triggers(triggers),
        },
        md={"motors": [axis.name, moved.name], **(md or {})},
    )
    found = partial(_doses, places, file, flux)
    return (yield from bpp.subs_wrapper(with_findings(plan, found, only_of_success=False), file))


def _positions(spots: Sequence[float]) -> tuple[float, ...]:
    """Return the positions of the spots.

    Raises
    ------
    PreflightError
        If there are none, or they are no numbers.
    """
    try:
        positions = tuple(float(position) for position in spots)
    except (TypeError, ValueError):
        positions = ()
    if not positions:
        raise PreflightError(
            f"{spots!r} are no spots; give the positions of the sample as numbers, such as "
            "[0, 0.5, 1.0]."
        )
    return positions


async def _monitor(monitor: Any, detectors: Sequence[Any]) -> tuple[str, str] | None:
    """Return column and unit of what measures the flux.

    Raises
    ------
    PreflightError
        If the scan has no such column.
    """
    if monitor is None:
        return None
    with as_connection_error("The scan cannot begin: "):
        channels = {
            c.channel.name: c.channel.unit for d in detectors for c in await channels_for(d)
        }
        name = monitor
        if not isinstance(monitor, str):
            name = next(iter(await channels_for(monitor))).channel.name
    if name not in channels:
        raise PreflightError(
            f"The scan has no column {name!r} to tell the dose by; it has "
            f"{', '.join(channels) or 'none'}."
        )
    return name, channels[name]


def _doses(places: Spots, file: FileOfRun, flux: tuple[str, str] | None) -> Found:
    """Return one event for each spot that was exposed."""
    openings = places.light.openings
    numbers = sorted({opening.pass_number for opening in openings})
    means = _means(file, flux[0], numbers) if flux else {}
    events = []
    times = []
    for number in numbers:
        of_spot = [opening for opening in openings if opening.pass_number == number]
        surely, at_most = _open_times(of_spot)
        times.append(at_most)
        items: dict[str, Item] = {
            "spot": (number, ""),
            "position": (float(places.positions[number - 1]), places.unit),
            "openings": (len(of_spot), ""),
            "told_open": (of_spot[0].told_open, "s"),
            "closed": (of_spot[-1].closed, "s"),
            "open_time": (surely, "s"),
            "open_time_bound": (at_most, "s"),
        }
        items.update(_dose_items(flux, means.get(number, nan), surely, at_most))
        events.append(Finding(STREAM, items))
    return Found(events, _sentence(len(places.positions), times))


def _open_times(openings: Sequence[Opening]) -> tuple[float, float]:
    """Return how long (s) light surely got through, and how long it may have at most."""
    surely = [one.told_closed - one.open for one in openings if isfinite(one.open)]
    return float(sum(surely)), float(sum(one.closed - one.told_open for one in openings))


def _dose_items(
    flux: tuple[str, str] | None, mean: float, surely: float, at_most: float
) -> Iterator[tuple[str, Item]]:
    if flux is not None:
        name, unit = flux
        product = f"{unit} s" if unit else "s"
        yield f"{name}_mean", (mean, unit)
        yield "dose", (mean * surely, product)
        yield "dose_bound", (mean * at_most, product)


def _means(file: FileOfRun, name: str, numbers: Sequence[int]) -> dict[int, float]:
    """Return the mean of a column over the rows of each spot; NaN where none is known."""
    if file.path is None:
        return {}
    read = read_columns(file.path, "/entry/data", [name, "pass_number"])
    values: NDArray[np.float64] = np.asarray(read[name], float)
    known = np.isfinite(values)
    return {
        number: float(values[rows].mean())
        for number in numbers
        if np.any(rows := known & (read["pass_number"] == number))
    }


def _sentence(planned: int, times: Sequence[float]) -> str:
    if not times:
        return "no spot was exposed"
    known = [time for time in times if isfinite(time)]
    spots = f"{len(times)} of {planned} spots exposed"
    if len(known) < len(times):
        return f"{spots}, and it is not known whether the shutter has closed: look at it"
    return f"{spots}, for {max(known):.2f} s each at most"


__all__ = ["beam_damage_line"]
