"""The peer: a scan that polls, as the classic fly scan at BESSY II does.

The plan ``flyscan`` of the BESSY II plan library (``bessyII``, ``plans/flying.py``) starts the
monochromator's sweep, then triggers and reads the detectors, reads the energy and sleeps, until
the sweep is over. This plan does the same, in the same order, with our devices; it starts the
sweep by the same back end as the sampled scan, so that only the reading differs.
"""

from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.utils import Msg

from glidepath.flyers import flight_for
from glidepath.trajectory import Leg, Region

__all__ = ["DELAY", "polling_flyscan"]

DELAY = 0.2
"""Seconds to sleep after each point: the least that the classic plan allows."""


def polling_flyscan(
    detectors: Sequence[Any],
    axis: Any,
    start: float,
    stop: float,
    velocity: float,
    *,
    delay: float = DELAY,
    md: Mapping[str, Any] | None = None,
) -> Generator[Msg, Any, Any]:
    """Fly an axis and record one event per turn of a loop, until the axis has arrived.

    Parameters
    ----------
    detectors
        Devices to trigger together and to read one after the other.
    axis
        Flies, and is read last.
    start, stop, velocity
        Range (eV) and speed (eV/s).
    delay
        Seconds to sleep after each event.
    md
        Metadata for the start document.
    """
    flight = flight_for(axis)
    leg = Leg((Region(start, stop, velocity),))

    def point() -> Generator[Msg, Any, Any]:
        for detector in detectors:
            if hasattr(detector, "trigger"):
                yield from bps.trigger(detector, group="reading")
        yield from bps.wait(group="reading")
        yield from bps.create(name="primary")
        for device in [*detectors, axis]:
            yield from bps.read(device)
        yield from bps.save()

    def body() -> Generator[Msg, Any, Any]:
        uid = yield from bps.open_run({"plan_name": "polling_flyscan", **(md or {})})
        yield from bps.prepare(flight, leg, wait=True)
        yield from bps.kickoff(flight, wait=True)
        flown = yield from bps.complete(flight, group="flight", wait=False)
        while not flown.done:
            yield from point()
            yield from bps.sleep(delay)
        yield from bps.wait(group="flight")
        yield from bps.close_run()
        return uid

    def guarded() -> Generator[Msg, Any, Any]:
        return (
            yield from bpp.contingency_wrapper(
                body(),
                except_plan=lambda _: _await(flight.halt),
                final_plan=lambda: _await(flight.restore),
            )
        )

    return (yield from bpp.stage_wrapper(guarded(), [*detectors, axis]))


def _await(function: Callable[[], Awaitable[Any]]) -> Generator[Msg, Any, Any]:
    yield from bps.wait_for([function])
