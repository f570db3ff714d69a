"""A lock that others take holds the plans of a run engine: between flights, never in one."""

import asyncio
import threading

import aioca
import bluesky.plan_stubs as bps
import bluesky.plans as bp
import pytest
from bluesky import Msg

from glidepath.devices import Electrometer, Motor
from glidepath.devices.generic import ResourceLock
from glidepath.plans import LockSuspender, flyscan

pytestmark = pytest.mark.slow

BOUND = 60.0


class Laboratory:
    """A slide that flies, a lock that we want, and somebody else who wants it too."""

    def __init__(self, beamline, engine) -> None:
        self.engine, self.prefix = engine, beamline.prefix
        self.slide = Motor(f"{beamline.prefix}m2", "slide")
        self.sample = Electrometer(f"{beamline.prefix}KEI2:", "sample")
        self.lock = ResourceLock(f"{beamline.prefix}LOCK1:", "lock", owner="we")
        self.other = ResourceLock(f"{beamline.prefix}LOCK1:", "other", owner="somebody else")
        for device in (self.slide, self.sample, self.lock, self.other):
            self.call(lambda device=device: device.connect(timeout=BOUND))
        self.names, self.stops, self.order = {}, [], []
        engine.subscribe(lambda _, stop: self.stops.append(stop), "stop")

    def call(self, function):
        async def work():
            return await function()

        return asyncio.run_coroutine_threadsafe(work(), self.engine._loop).result(BOUND)

    async def take(self):
        """Take the lock away from whoever has it, as an operator can."""
        await aioca.caput(f"{self.prefix}LOCK1:clearName.PROC", 1, wait=True, timeout=20)
        await self.other.acquire()
        self.order.append("taken")

    async def give_back(self):
        await self.other.release()
        self.order.append("given back")

    def noting(self, plan, at=()):
        """Carry out a plan, note its flights and steps, and do something at some of them."""
        counts = {}
        answer = None
        while True:
            try:
                message = plan.send(answer)
            except StopIteration as end:
                return end.value
            answer = yield message
            if message.command in ("kickoff", "complete", "create", "close_run"):
                name = getattr(message.obj, "name", "") or message.command
                number = counts[message.command, name] = counts.get((message.command, name), 0) + 1
                self.order.append(f"{message.command} {name} {number}")
                for when, action in at:
                    if when == self.order[-1]:
                        yield Msg("wait_for", None, [action])


@pytest.fixture
def lab(with_vacuum, RE, tmp_path, monkeypatch):
    monkeypatch.setenv("GLIDEPATH_DATA", str(tmp_path))
    laboratory = Laboratory(with_vacuum, RE)
    yield laboratory
    for lock in (laboratory.lock, laboratory.other):
        laboratory.call(lock.release)


def later(lab, seconds, action):
    """Do something in a while, from outside, as somebody at another desk would."""
    timer = threading.Timer(seconds, lambda: lab.call(action))
    timer.start()
    return timer


def two_flights(lab):
    return flyscan(
        [lab.sample], lab.slide, 0.0, 4.0, 2.0, period=0.1, passes=2, there_and_back=True
    )


def test_the_lock_is_ours_in_the_plan_and_free_after_it(lab):
    seen = []

    async def look():
        seen.append(await lab.lock.held_by_us())

    suspender = LockSuspender(lab.lock)
    lab.engine.install_suspender(suspender)
    lab.engine(bp.count([lab.sample], 1, per_shot=lambda _: bps.wait_for([look])))
    assert seen == [True]
    assert lab.call(lab.lock.free.get_value) == 1
    lab.engine.remove_suspender(suspender)
    lab.engine(bp.count([lab.sample], 1, per_shot=lambda _: bps.wait_for([look])))
    assert seen == [True, False]


def test_a_lock_that_was_ours_before_stays_ours(lab):
    lab.engine.install_suspender(LockSuspender(lab.lock))
    lab.call(lab.lock.acquire)
    lab.engine(bp.count([lab.sample], 1))
    assert lab.call(lab.lock.held_by_us)


def test_a_run_begins_when_somebody_else_has_given_the_lock_back(lab, capsys):
    lab.engine.install_suspender(LockSuspender(lab.lock))
    lab.call(lab.take)
    timer = later(lab, 1.0, lab.give_back)
    lab.engine(lab.noting(bp.count([lab.sample], 1)))
    timer.join()
    assert lab.order.index("given back") < lab.order.index("create create 1")
    said = capsys.readouterr().err
    assert said.count("lock is held by somebody else, not by we") == 1
    assert "waits between its flights" in said


def test_a_lock_lost_in_a_flight_lets_it_go_on_and_holds_the_next(lab, capsys):
    lab.engine.install_suspender(LockSuspender(lab.lock))
    timers = []

    async def lose():
        await lab.take()
        # The flight takes 2 s.
        timers.append(later(lab, 5.0, lab.give_back))

    flown = lab.engine(kept(lab, two_flights(lab), lose))
    (timer,) = timers
    timer.join()
    order = [entry for entry in lab.order if "slide" in entry or "iven" in entry or "aken" in entry]
    first = next(entry for entry in order if entry.startswith("kickoff slide"))
    assert order.index(first) < order.index("taken")
    kickoffs = [entry for entry in order if entry.startswith("kickoff slide")]
    completes = [entry for entry in order if entry.startswith("complete slide")]
    assert len(kickoffs) == len(completes) == 2
    assert order.index("taken") < order.index("given back") < order.index(kickoffs[1])
    (stop,) = lab.stops
    assert flown.exit_status == stop["exit_status"] == "success"
    # 4 mm at 2 mm/s in rows of 0.1 s, there and back: both flights are whole.
    assert stop["num_events"]["primary"] >= 36
    assert stop["reason"].endswith("lock was lost once during a flight, which went on to its end.")
    said = capsys.readouterr().err
    assert said.count("lock was lost during a flight: the flight goes on to its end") == 1
    assert said.count("lock is held by somebody else, not by we") == 1
    assert lab.call(lab.lock.free.get_value) == 1


def kept(lab, plan, lose):
    """Carry out a fly scan; let the lock be lost when its first flight is under way."""
    return lab.noting(plan, at=[("kickoff slide_flight 1", lose), ("kickoff slide 1", lose)])


def test_a_scan_in_steps_waits_between_its_steps(lab):
    lab.engine.install_suspender(LockSuspender(lab.lock))
    timers = []

    async def lose():
        await lab.take()
        timers.append(later(lab, 1.5, lab.give_back))

    plan = bp.scan([lab.sample], lab.slide, 0.0, 0.3, 3)
    lab.engine(lab.noting(plan, at=[("create create 1", lose)]))
    (timer,) = timers
    timer.join()
    order = lab.order
    assert order.index("create create 1") < order.index("taken")
    assert order.index("given back") < order.index("create create 2")
    assert lab.stops[-1]["num_events"]["primary"] == 3


def test_a_plan_that_waits_for_a_lock_can_be_ended(lab):
    lab.engine.install_suspender(LockSuspender(lab.lock))
    lab.call(lab.take)
    timer = threading.Timer(1.0, lab.engine.abort)
    timer.start()
    with pytest.raises(Exception, match="abort"):
        lab.engine(bp.count([lab.sample], 1))
    timer.join()
    assert lab.engine.state == "idle"
    assert lab.call(lab.other.held_by_us)
    lab.call(lab.give_back)
