"""The simulated monochromator goes back to where it was in a stored run, over Channel Access."""

import asyncio
import contextlib
import threading

import bluesky.plan_stubs as bps
import pytest
from bluesky.utils import RunEngineInterrupted

from glidepath import Session, flyscan
from glidepath.devices.signals import watch
from glidepath.plans import restore
from glidepath.plans.restore import RestoreError

pytestmark = pytest.mark.slow

BOUND = 60.0


@pytest.fixture
def session(beamline, tmp_path):
    options = {"live": False, "catalogue": False, "exports": False}
    with Session("glidepath.beamlines.simulated", tmp_path, **options) as session:
        yield session
        session.RE(back_at_400(session))


def back_at_400(session):
    # Devices are connected before the run engine's loop is busy with the plan.
    pgm, energy = session.pgm, session.energy

    def plan():
        yield from bps.mv(pgm.grating, "1", pgm.cff, 2.25, pgm.slit, 25.0)
        yield from bps.sleep(4.0)
        yield from bps.mv(energy, 400.0)

    return plan()


@pytest.fixture
def changed(session):
    """A run with all as it was, after which somebody has changed it."""
    s = session
    s.RE(bps.mv(s.energy, 400.0))
    s.RE(flyscan([s.mesh], s.energy, 400.0, 401.0, 2.0, period=0.1))
    pgm = s.pgm
    s.RE(bps.mv(pgm.grating, "2", pgm.cff, 2.6, pgm.slit, 60.0, s.focus, 100.0))
    s.RE(bps.sleep(4.0))
    s.RE(bps.mv(s.energy, 420.0))
    return s


class Puts:
    """What was written to the settings of a monochromator, in order, by its server's monitors."""

    def __init__(self, session):
        self.seen = []
        pgm = session.pgm
        self._signals = (pgm.id_on, pgm.grating, pgm.cff_setpoint, pgm.slit_setpoint, pgm.setpoint)
        self._loop = session.RE.loop
        self._stop = asyncio.Event()
        ready = threading.Event()

        async def look():
            async with watch(*self._signals) as seen:
                last = {s: seen.value(s) for s in self._signals}

                def changed():
                    for signal in self._signals:
                        if seen.value(signal) != last[signal]:
                            last[signal] = seen.value(signal)
                            self.seen.append((signal.name, last[signal]))
                    return False

                seen.latch(changed)
                ready.set()
                await self._stop.wait()

        self._future = asyncio.run_coroutine_threadsafe(look(), self._loop)
        assert ready.wait(BOUND)

    def end(self):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._future.result(BOUND)
        return self.seen


def test_everything_goes_back_in_order_and_the_undulator_follows_again(changed):
    s, lines = changed, []
    puts = Puts(s)
    s.RE(restore(s.last, [s.pgm, s.focus], say=lines.append))
    seen = puts.end()
    assert [name for name, _ in seen] == [
        "pgm-id_on",
        "pgm-grating",
        "pgm-cff_setpoint",
        "pgm-slit_setpoint",
        "pgm-setpoint",
        "pgm-id_on",
    ]
    assert (seen[0][1], seen[-1][1]) == (False, True)
    assert [line.partition(":")[0] for line in lines] == [
        "pgm-grating",
        "pgm-cff",
        "pgm-slit",
        "pgm",
        "focus",
    ]
    before = s.runs[1].before()
    for signal, tolerance in ((s.pgm.readback, 0.02), (s.pgm.cff, 1e-3), (s.pgm.slit, 0.5)):
        assert s.call(signal.get_value) == pytest.approx(before[signal.name], abs=tolerance)
    assert s.call(s.pgm.grating.get_value) == before["pgm-grating"] == "1"
    assert s.call(s.focus.user_readback.get_value) == pytest.approx(before["focus"], abs=0.5)
    way_back = s.last
    assert way_back.start["plan_name"] == "restore"
    assert way_back.start["restored"] == s.runs[1].run.uid
    assert way_back.start["moves"]["pgm-grating"] == ["2", "1"]
    assert way_back.run.status == "success"
    # Once more, there is nothing to do.
    lines.clear()
    s.RE(restore(s.runs[1], [s.pgm, s.focus], say=lines.append))
    assert lines == ["Everything is where it was."]


def test_a_limit_of_the_slit_refuses_before_anything_moves(changed):
    s, lines = changed, []
    puts = Puts(s)
    then = {**s.last.before(), "pgm-slit": 2000.0}
    with pytest.raises(RestoreError, match="pgm-slit was at 2000, but its limits are now 5 to"):
        s.RE(restore(then, [s.pgm], say=lines.append))
    assert puts.end() == []
    assert "pgm-slit: 60 -> 2000" in lines


def test_after_a_grating_that_there_is_not_the_coupling_is_on_again(changed):
    s = changed
    puts = Puts(s)
    then = {**s.last.before(), "pgm-grating": "9"}
    with pytest.raises(RestoreError, match=r"pgm-grating is not back.*not moved either: pgm-cff"):
        s.RE(restore(then, [s.pgm], say=lambda _: None))
    seen = puts.end()
    assert seen[-1] == ("pgm-id_on", True)
    assert "pgm-setpoint" not in [name for name, _ in seen]


@pytest.mark.parametrize("how", ["abort", "halt"])
def test_after_an_abort_or_a_halt_the_coupling_is_on_again(changed, how):
    s, pgm, run = changed, changed.pgm, changed.last

    def act():
        async def moving():
            async with watch(pgm.readback) as seen:
                assert await seen.until(lambda: seen.value(pgm.readback) < 419.0, BOUND)

        s.call(moving)
        with contextlib.suppress(Exception):
            getattr(s.RE, how)()

    thread = threading.Thread(target=act)
    thread.start()
    with contextlib.suppress(RunEngineInterrupted):
        s.RE(restore(run, [pgm], say=lambda _: None))
    thread.join(BOUND)

    async def coupled():
        async with watch(pgm.id_on, pgm.status) as seen:
            return await seen.until(
                lambda: bool(seen.value(pgm.id_on)) and seen.value(pgm.status) == 0, 20.0
            )

    assert s.call(coupled)
