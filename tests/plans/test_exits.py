"""Every way out of a scan, with every back end: the axis stands, the settings are as they were."""

import asyncio
import contextlib
import os
import signal
import threading
import time

import bluesky.preprocessors as bpp
import numpy as np
import pytest
from bluesky.utils import RunEngineInterrupted

from glidepath.devices.signals import watch
from glidepath.plans import flyscan

BACK_ENDS = ["energy", "mono_motor", "mono_profile", "energy_separate"]

EXITS = {
    "success": "success",
    "error in the plan": "fail",
    "error of a device": "fail",
    "abort": "abort",
    "stop": "abort",
    "halt": "abort",
    "pause and abort": "abort",
    "Ctrl-C once": "abort",
    "Ctrl-C twice": "abort",
}

BOUND = 20.0


def settings_of(s):
    """Return what a scan may change and must put back."""
    return {
        "sweep start": s.pgm.sweep.start,
        "sweep end": s.pgm.sweep.end,
        "sweep velocity": s.pgm.sweep.velocity,
        "gap method": s.pgm.sweep.gap_method,
        "undulator on": s.pgm.id_on,
        "control of the gap": s.ue48.control_mode,
        "gap velocity": s.ue48.gap.velocity,
        "gap drive": s.ue48.gap.drive,
        "profile mode": s.mono_profile.profile.time_mode,
        "motor velocity": s.mono_motor.velocity,
        "motor acceleration": s.mono_motor.acceleration_time,
        "integration time": s.mesh.nplc,
        "filter": s.mesh.filter_count,
        "deadband": s.mesh.deadband,
    }


class BrokenPlanError(RuntimeError):
    pass


def broken_off(plan, now: threading.Event):
    """Raise in the plan itself, once ``now`` is set."""

    def break_it(message):
        if now.is_set():
            now.clear()

            def raising():
                raise BrokenPlanError("the user's plan is broken")
                yield

            return raising(), None
        return None, None

    return bpp.plan_mutator(plan, break_it)


def act(engine, how: str, reached: threading.Event, times: list[float]):
    reached.wait(BOUND)
    times.append(time.time())
    with contextlib.suppress(Exception):
        if how in ("abort", "stop", "halt"):
            getattr(engine, how)()
        elif how == "pause and abort":
            engine.request_pause()
        elif how.startswith("Ctrl-C"):
            os.kill(os.getpid(), signal.SIGINT)
            if how.endswith("twice"):
                # Any quicker, and the run engine takes the two for one.
                time.sleep(0.2)
                os.kill(os.getpid(), signal.SIGINT)


async def standing(s, signals, before):
    """Return when all stands and is as before: the time at which the last axis came to rest."""
    gap = s.ue48.gap.status
    async with watch(s.pgm.status, s.mono_motor.motor_done_move, gap, *signals.values()) as seen:

        def calm():
            return (
                seen.value(s.pgm.status) == 0
                and bool(seen.value(s.mono_motor.motor_done_move))
                and seen.value(gap) == "STOP"
                and {name: seen.value(signal) for name, signal in signals.items()} == before
            )

        assert await seen.until(calm, BOUND), {
            name: (seen.value(signal), before[name]) for name, signal in signals.items()
        }
        return max(
            seen.timestamp(signal) for signal in (s.pgm.status, s.mono_motor.motor_done_move, gap)
        )


@pytest.mark.parametrize("axis", BACK_ENDS)
@pytest.mark.parametrize("how", EXITS)
def test_every_exit_is_clean(simulated, monkeypatch, axis, how):
    from glidepath.flyers.sampling import sampler

    s = simulated
    engine = s.run_engine
    signals = settings_of(s)
    before = {name: s.get(signal) for name, signal in signals.items()}
    reached, now, times = threading.Event(), threading.Event(), []
    primary = []

    def look(name, document):
        if name == "descriptor" and document["name"] == "primary":
            primary.append(document["uid"])
        # Rows have been announced: the scan is in mid flight.
        if name == "stream_datum" and document["descriptor"] in primary and not reached.is_set():
            reached.set()
            if how == "error in the plan":
                times.append(time.time())
                now.set()

    async def fail(self, *others):
        if reached.is_set():
            times.append(time.time())
            raise OSError("No space left on device")
        await flushed(self, *others)

    flushed = sampler.Sampler.flushed
    if how == "error of a device":
        monkeypatch.setattr(sampler.Sampler, "flushed", fail)
    token = engine.subscribe(look)
    actor = threading.Thread(target=act, args=(engine, how, reached, times))
    if "error" not in how and how != "success":
        actor.start()
    stop = 401.0 if how == "success" else 440.0
    plan = flyscan([s.mesh], getattr(s, axis), 400.0, stop, 2.0, period=0.04)
    with contextlib.suppress(RunEngineInterrupted, BrokenPlanError, OSError, Exception):
        engine(broken_off(plan, now))
    if actor.ident:
        actor.join(BOUND)
    if engine.state == "paused":
        engine.abort()
    engine.unsubscribe(token)
    rested = s.call(standing(s, signals, before))
    assert s.stop["exit_status"] == EXITS[how]
    if how != "halt":
        assert s.stop["reason"]
        assert "\n" not in s.stop["reason"]
        # All that is in the file has been announced.
        run = s.run()
        assert len(run.primary["quality"]) == run.stop["num_events"]["primary"] > 0
        assert np.all(np.diff(run.primary["sample_time"]) > 0)
    if times:
        print(f"{how}, {axis}: {rested - times[0]:.2f} s to standing")
    assert s.call(_left_behind()) == []


async def _left_behind():
    """Wait for what the clean-up still does; return the names of tasks that stay."""
    ours = [t for t in asyncio.all_tasks() if "glidepath" in t.get_name()]
    ours += [t for t in asyncio.all_tasks() if "_each" in repr(t.get_coro())]
    if ours:
        await asyncio.wait(ours, timeout=BOUND)
    return [task.get_name() for task in ours if not task.done()]
