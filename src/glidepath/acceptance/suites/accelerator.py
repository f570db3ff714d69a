"""What belongs to the ring: supplies that are on, relays, injection, monitors that go on."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from itertools import pairwise
from time import monotonic
from typing import Any

from glidepath.acceptance.outcomes import Failed, LeftOut
from glidepath.acceptance.suite import Suite, Test, register_suite
from glidepath.acceptance.trial import Trial
from glidepath.beamlines import Beamline
from glidepath.devices import Electrometer, Ring
from glidepath.devices.families import (
    BeamPositionMonitor,
    BeamPositionMonitors,
    BunchFeedback,
    DelayLine,
    InjectionEngine,
    Kicker,
    Multiplexer,
    Tune,
)
from glidepath.devices.positioning import MotionError
from glidepath.devices.signals import ask
from glidepath.sentences import joined

LIVE = (BeamPositionMonitor, BeamPositionMonitors, BunchFeedback, Electrometer, Ring, Tune)
"""What measures all the time."""

LISTENING = 4.0
"""Seconds within which what measures all the time must have sent new values."""

ENOUGH = 4
"""Values after which it is known that it does; the first was there before."""


async def is_on(trial: Trial) -> str:
    """What must be on for it to be used is on."""
    try:
        await trial.device.stage()
        await trial.device.unstage()
    except MotionError as error:
        raise Failed(str(error)) from error
    return "switched on"


async def updates(trial: Trial) -> str:
    """It sends new values by itself, each later than the one before."""
    stamps: list[float] = []
    enough = asyncio.Event()

    def listen(reading: dict[str, Any]) -> None:
        stamps.append(max(float(one["timestamp"]) for one in reading.values()))
        if len(stamps) >= ENOUGH:
            enough.set()

    signal, within = _measured(trial.device), LISTENING
    if isinstance(trial.device, Electrometer):
        within += ENOUGH * await trial.device.integration_time.get_value()
    signal.subscribe_reading(listen)
    try:
        with suppress(TimeoutError):
            await asyncio.wait_for(enough.wait(), within)
    finally:
        signal.clear_sub(listen)
    # The first is what was there already.
    if len(stamps) < ENOUGH:
        raise Failed(
            f"{signal.source} sent {max(len(stamps) - 1, 0)} new values within {within:.3g} s; it "
            "should measure all the time."
        )
    if any(later <= sooner for sooner, later in pairwise(stamps[1:])):
        raise Failed(f"{signal.source} sends values that are older than those before.")
    rate = (len(stamps) - 2) / (stamps[-1] - stamps[1])
    trial.figure("rate", rate, "Hz")
    return f"{rate:.3g} new values each second"


def _measured(device: Any) -> Any:
    """Return the signal by which it can be seen that a device measures."""
    if isinstance(device, BeamPositionMonitors):
        return device.count
    for name in ("current", "horizontal", "x"):
        if hasattr(device, name):
            return getattr(device, name)
    raise LeftOut("What it measures all the time is not known.")


async def is_triggered(trial: Trial) -> str:
    """A trigger brings positions that were measured after it, in time."""
    begun = monotonic()
    try:
        await trial.device.trigger()
    except MotionError as error:
        raise Failed(str(error)) from error
    taken = monotonic() - begun
    trial.figure("time of a trigger", taken, "s")
    return f"new positions {taken:.2g} s after a trigger"


async def switches(trial: Trial) -> str:
    """It connects a quadrupole, and what was connected before again."""
    mux = trial.device
    before = await ask(mux.chosen)
    other = next(name for name in (*mux.quadrupoles, mux.off) if name != before)
    try:
        begun = monotonic()
        await mux.set(other)
        taken = monotonic() - begun
        trial.figure("time to switch", taken, "s")
        return f"{before} to {other} in {taken:.2g} s, and back"
    except MotionError as error:
        raise Failed(str(error)) from error
    finally:
        if await ask(mux.chosen) != before and before in (*mux.quadrupoles, mux.off):
            await mux.set(before)


async def injects(trial: Trial) -> str:
    """The current rises when it injects, and injection is off afterwards.

    The current that was injected stays: nothing can put that back.
    """
    engine = trial.device
    safe = trial.needs.safe
    if safe is None:
        raise LeftOut(
            f"No safe range is declared for it: say SAFE_RANGES = {{{trial.part!r}: (low, high)}} "
            "in the beamline module, in mA."
        )
    before = await ask(engine.current)
    target = before + 0.25 * (safe[1] - safe[0])
    if not safe[0] <= before < target <= safe[1]:
        raise LeftOut(
            f"The ring has {before:.4g} mA, which leaves no room for an injection in its safe "
            f"range, {safe[0]:g} to {safe[1]:g} mA."
        )
    begun = monotonic()
    problem = ""
    try:
        await engine.set(target)
    except MotionError as error:
        problem = joined(str(error))
    taken = monotonic() - begun
    if await ask(engine.state) != "OFF":
        await engine.stop()
        raise Failed(f"{problem or 'The current was reached'}, and injection was still on.")
    if problem:
        raise Failed(f"{problem}.")
    trial.keep({"injected": (target - before, "mA"), "rate": ((target - before) / taken, "mA/s")})
    return f"{target - before:.3g} mA in {taken:.2g} s; off afterwards"


def _of(*kinds: type) -> Any:
    def parts(beamline: Beamline, name: str) -> Iterable[str]:
        return [name] if isinstance(beamline.devices[name], kinds) else []

    return parts


register_suite(Suite("with a switch", _of(Kicker, DelayLine), (Test("is on", is_on),)))
register_suite(Suite("measures all the time", _of(*LIVE), (Test("updates", updates),)))
register_suite(Suite("monitors", _of(BeamPositionMonitors), (Test("is triggered", is_triggered),)))
register_suite(Suite("multiplexer", _of(Multiplexer), (Test("switches", switches, moves=True),)))
register_suite(
    Suite("injection engine", _of(InjectionEngine), (Test("injects", injects, moves=True),))
)
