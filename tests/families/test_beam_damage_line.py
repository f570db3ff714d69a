"""Each spot sees light only while it is flown on, and the shutter closes whatever happens."""

import asyncio
import contextlib
import threading
import time
from types import SimpleNamespace

import aioca
import numpy as np
import pytest
from bluesky.utils import RunEngineInterrupted

from glidepath.devices import Electrometer, Motor
from glidepath.devices.families import Valve
from glidepath.devices.signals import watch
from glidepath.flyers import FlightError
from glidepath.plans import beam_damage_line, flyscan
from glidepath.plans.light_path import LightPath
from glidepath.storage import read_columns, use_data_root
from glidepath.trajectory import PreflightError

pytestmark = pytest.mark.slow

BOUND = 60.0
SPOTS = [0.0, 1.0]
OPEN, CLOSED = 14, 5


class Lab:
    """A motor that flies, one that moves the sample, a meter, a shutter, and what is seen."""

    def __init__(self, engine, prefix):
        self.RE, self.prefix = engine, prefix
        self.axis = Motor(f"{prefix}m3", "axis")
        self.slide = Motor(f"{prefix}m2", "slide")
        self.mesh = Electrometer(f"{prefix}KEI1:", "mesh")
        self.shutter = Valve(f"{prefix}PSH1:", "shutter", travel=5.0)
        self.documents = []
        self.seen = []
        engine.subscribe(lambda *pair: self.documents.append(pair))
        for device in (self.axis, self.slide, self.mesh, self.shutter):
            self.call(device.connect(timeout=BOUND))

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.RE._loop).result(BOUND)

    def put(self, name, value):
        async def work():
            await aioca.caput(f"{self.prefix}{name}", value, wait=True, timeout=20)

        self.call(work())

    def named(self, name):
        return [document for kind, document in self.documents if kind == name]

    @property
    def stop(self):
        return self.named("stop")[-1]

    def doses(self):
        streams = {d["uid"]: d["name"] for d in self.named("descriptor")}
        return [e["data"] for e in self.named("event") if streams[e["descriptor"]] == "dose"]

    def rows(self):
        (path, *_) = [d["uri"] for d in self.named("stream_resource")]
        names = ["axis", "slide", "mesh", "pass_number", "quality", "sample_time"]
        return read_columns(path.removeprefix("file://localhost"), "/entry/data", names)

    def settings(self):
        """What a flight changes and puts back."""
        signals = (self.axis.velocity, self.slide.velocity, self.mesh.nplc, self.mesh.deadband)
        return [self.call(signal.get_value()) for signal in signals]

    def state(self):
        return self.call(self.shutter.state())

    def line(self, spots=SPOTS, velocity=2.0, **options):
        options = {"shutter": self.shutter, "period": 0.1, **options}
        return beam_damage_line(
            [self.mesh], self.axis, self.slide, spots, 400.0, 403.0, velocity, **options
        )

    def standing(self):
        for motor in (self.axis, self.slide):
            assert self.call(motor.motor_done_move.get_value())


@pytest.fixture
def lab(with_vacuum, RE, tmp_path):
    use_data_root(tmp_path)
    lab = Lab(RE, with_vacuum.prefix)
    lab.call(_close(lab.shutter))
    lab.put("m3.VAL", 399.0)
    lab.put("m2.VAL", -1.0)
    yield lab
    lab.put("FAULT:PSH1", "none")
    lab.call(_close(lab.shutter))


async def _close(shutter):
    await shutter.set("closed")


@pytest.fixture
def witness(lab):
    """Records where slide and axis were each time the shutter was not closed, by the servers."""

    witness = SimpleNamespace(exposed=[])
    entered = threading.Event()
    left = threading.Event()

    async def look():
        signals = (lab.shutter.status, lab.slide.user_readback, lab.axis.user_readback)
        async with watch(*signals) as seen:
            entered.set()
            while not left.is_set():
                if seen.value(lab.shutter.status) != CLOSED:
                    witness.exposed.append(tuple(seen.value(signal) for signal in signals[1:]))
                await asyncio.sleep(0.01)

    future = asyncio.run_coroutine_threadsafe(look(), lab.RE._loop)
    assert entered.wait(BOUND)
    yield witness
    left.set()
    future.result(BOUND)


def test_each_spot_is_exposed_only_while_it_is_flown(lab, witness):
    lab.RE(lab.line(monitor=lab.mesh))
    assert lab.stop["exit_status"] == "success", lab.stop["reason"]
    assert lab.stop["reason"].startswith("2 of 2 spots exposed, for ")
    assert lab.state() == "closed"
    slide = np.array([where for where, _ in witness.exposed])
    assert np.all(np.abs(slide[:, None] - SPOTS).min(axis=1) < 1e-3), "light while it moved"
    rows = lab.rows()
    for number, position in enumerate(SPOTS, start=1):
        of_spot = rows["pass_number"] == number
        assert of_spot.sum() == pytest.approx(15, abs=1)
        np.testing.assert_allclose(rows["slide"][of_spot], position, atol=1e-3)
    doses = lab.doses()
    assert [(d["spot"], d["position"], d["openings"]) for d in doses] == [
        (1, 0.0, 1),
        (2, 1.0, 1),
    ]
    for dose in doses:
        # The range takes 1.5 s, the run-up and what it takes to see its end not two more.
        assert 1.5 < dose["open_time"] < dose["open_time_bound"]
        of_spot = rows["pass_number"] == dose["spot"]
        assert dose["mesh_mean"] == pytest.approx(rows["mesh"][of_spot].mean())
        assert dose["dose"] == pytest.approx(dose["mesh_mean"] * dose["open_time"])
        times = rows["sample_time"][of_spot]
        assert dose["told_open"] < times.min() < times.max() < dose["closed"]
    keys = next(d for d in lab.named("descriptor") if d["name"] == "dose")["data_keys"]
    assert keys["dose"]["units"] == "A s"
    assert keys["position"]["units"] == "mm"
    start = lab.named("start")[-1]
    assert start["motors"] == ["axis", "slide"]
    assert start["plan_args"]["spots"] == SPOTS


def test_the_shutter_opens_during_the_run_up_where_it_is_quick_enough(lab, witness):
    lab.put("m3.ACCL", 2.0)
    try:
        lab.RE(lab.line(opening_time=1.2, there_and_back=True))
    finally:
        lab.put("m3.ACCL", 0.5)
    assert lab.stop["exit_status"] == "success", lab.stop["reason"]
    # The run-up takes 2.3 s from 397.4 eV, on the way back from 405.6 eV: of its begin no spot
    # has seen anything.
    axis = np.array([where for _, where in witness.exposed])
    assert 397.6 < axis.min() < 400.0
    assert 403.0 < axis.max() < 405.4
    assert len(lab.doses()) == 2


def test_a_shutter_that_is_late_ends_the_scan(lab):
    lab.put("m3.ACCL", 2.0)
    try:
        with pytest.raises(FlightError, match="so that the first rows are dark; give an opening_"):
            lab.RE(lab.line(opening_time=0.1))
    finally:
        lab.put("m3.ACCL", 0.5)
    assert lab.stop["exit_status"] == "fail"
    assert lab.state() == "closed"
    lab.standing()


def test_a_shutter_that_closes_by_itself_ends_the_scan(lab):
    closing = When(lab, lambda: lab.put("PSH1:SetTa", 1))
    with pytest.raises(FlightError, match="shutter did not stay open, so that rows may be without"):
        lab.RE(lab.line(velocity=0.75))
    assert closing.done()
    assert lab.stop["exit_status"] == "fail"
    assert lab.state() == "closed"
    lab.standing()


class When:
    """Does something once, in a thread of its own, when rows of a pass have been announced."""

    def __init__(self, lab, action, number=1):
        self._action, self._number, self._lab = action, number, lab
        self._thread = None
        self._primary = None
        self._token = lab.RE.subscribe(self._look)

    def _look(self, name, document):
        if name == "descriptor" and document["name"] == "primary":
            self._primary = document["uid"]
        # 15 rows a pass.
        enough = 15 * (self._number - 1) + 3
        if name != "stream_datum" or document["descriptor"] != self._primary:
            return
        if self._thread is None and document["indices"]["stop"] >= enough:
            self._thread = threading.Thread(target=self._act)
            self._thread.start()

    def _act(self):
        with contextlib.suppress(Exception):
            self._action()

    def done(self):
        self._lab.RE.unsubscribe(self._token)
        if self._thread is not None:
            self._thread.join(BOUND)
        return self._thread is not None


def closed_within(lab, seconds=10.0):
    """Wait until the shutter is closed, which a halt leaves to the loop."""
    deadline = time.monotonic() + seconds
    while lab.state() != "closed":
        assert time.monotonic() < deadline, "the shutter is not closed"
        time.sleep(0.05)


@pytest.mark.parametrize("plan", ["line", "flyscan"])
@pytest.mark.parametrize("how", ["abort", "stop", "halt"])
def test_it_is_closed_and_all_stands_after(lab, how, plan):
    before = lab.settings()
    acting = When(lab, getattr(lab.RE, how))
    with contextlib.suppress(RunEngineInterrupted):
        lab.RE(planned(lab, plan))
    assert acting.done()
    closed_within(lab)
    if how != "halt":
        assert lab.stop["exit_status"] == "abort"
    assert lab.RE.state == "idle"
    standing_soon(lab)
    becomes(lab.settings, before)
    if plan == "line" and how != "halt":
        # Of the one spot that was exposed, it is known for how long.
        (dose,) = lab.doses()
        assert 0 < dose["open_time"] < dose["open_time_bound"]
        assert "1 of 2 spots exposed" in lab.stop["reason"]


def becomes(found, wanted, seconds=20.0):
    """Wait until something is as it was."""
    deadline = time.monotonic() + seconds
    while (now := found()) != wanted:
        assert time.monotonic() < deadline, (now, wanted)
        time.sleep(0.05)


def planned(lab, plan):
    if plan == "line":
        return lab.line(velocity=0.75)
    options = {"period": 0.1, "shutter": lab.shutter}
    return flyscan([lab.mesh], lab.axis, 400.0, 403.0, 0.75, **options)


def standing_soon(lab, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not all(lab.call(m.motor_done_move.get_value()) for m in (lab.axis, lab.slide)):
        assert time.monotonic() < deadline, "an axis moves"
        time.sleep(0.05)


@pytest.mark.parametrize("plan", ["line", "flyscan"])
@pytest.mark.parametrize("deferred", [False, True])
def test_it_is_closed_in_a_pause_and_the_rest_is_flown_in_light(lab, plan, deferred):
    acting = When(lab, lambda: lab.RE.request_pause(defer=deferred))
    with contextlib.suppress(RunEngineInterrupted):
        lab.RE(planned(lab, plan))
    assert acting.done()
    assert lab.RE.state == "paused"
    assert lab.state() == "closed"
    lab.RE.resume()
    assert lab.stop["exit_status"] == "success", lab.stop["reason"]
    assert lab.state() == "closed"
    if plan == "line":
        assert [dose["openings"] for dose in lab.doses()] == [2, 1]
        first = lab.rows()["pass_number"] == 1
        np.testing.assert_allclose(lab.rows()["slide"][first], SPOTS[0], atol=1e-3)


def test_a_pause_that_is_aborted_leaves_it_closed(lab):
    acting = When(lab, lab.RE.request_pause)
    with contextlib.suppress(RunEngineInterrupted):
        lab.RE(lab.line())
    assert acting.done()
    lab.RE.abort()
    assert lab.state() == "closed"
    assert lab.stop["exit_status"] == "abort"
    standing_soon(lab)


@pytest.mark.parametrize("plan", ["line", "flyscan"])
def test_it_is_closed_after_a_fault_of_the_axis(lab, plan):
    acting = When(lab, lambda: lab.put("m3.STOP", 1))
    with pytest.raises(Exception, match="ended its flight early"):
        lab.RE(planned(lab, plan))
    assert acting.done()
    assert lab.stop["exit_status"] == "fail"
    assert lab.state() == "closed"


class EnoughError(RuntimeError):
    pass


MESSAGES = ("prepare", "kickoff", "complete")
"""Each is sent for the sampler and for the axis; the first one opens the file."""


@pytest.mark.parametrize(
    ("plan", "number"), [("flyscan", n) for n in (2, 3, 4, 5, 6)] + [("line", n) for n in (4, 9)]
)
def test_it_is_closed_after_an_exception_in_the_plan(lab, plan, number):
    with pytest.raises(EnoughError):
        lab.RE(broken(planned(lab, plan), number))
    assert lab.stop["exit_status"] == "fail"
    assert "had enough" in lab.stop["reason"]
    assert lab.state() == "closed"
    standing_soon(lab)


def broken(plan, number):
    """Carry out a plan, and throw into it in place of the so many-th message of a flight."""
    answer, count = None, 0
    while True:
        try:
            message = plan.send(answer)
            if message.command in MESSAGES:
                if count == number:
                    message = plan.throw(EnoughError("The test has had enough of it."))
                count += 1
        except StopIteration:
            return
        answer = yield message


def while_the_sample_moves(lab, action):
    """Do something, in a thread of its own, when the sample is on its way to the second spot."""

    async def wait():
        async with watch(lab.slide.user_readback) as seen:
            assert await seen.until(lambda: 2.0 < seen.value(lab.slide.user_readback) < 15, BOUND)

    def act():
        lab.call(wait())
        action()

    thread = threading.Thread(target=act)
    thread.start()
    return thread


def test_an_abort_while_the_sample_moves_stops_it_in_the_dark(lab):
    thread = while_the_sample_moves(lab, lab.RE.abort)
    with contextlib.suppress(RunEngineInterrupted):
        lab.RE(lab.line([0.0, 20.0]))
    thread.join(BOUND)
    assert lab.state() == "closed"
    assert lab.stop["exit_status"] == "abort"
    standing_soon(lab)
    assert 2.0 < lab.call(lab.slide.user_readback.get_value()) < 19.0


def test_a_pause_while_the_sample_moves_lets_it_arrive(lab):
    thread = while_the_sample_moves(lab, lab.RE.request_pause)
    with contextlib.suppress(RunEngineInterrupted):
        lab.RE(lab.line([0.0, 20.0]))
    thread.join(BOUND)
    assert lab.RE.state == "paused"
    assert lab.state() == "closed"
    lab.RE.resume()
    assert lab.stop["exit_status"] == "success", lab.stop["reason"]
    second = lab.rows()["pass_number"] == 2
    np.testing.assert_allclose(lab.rows()["slide"][second], 20.0, atol=1e-3)


@pytest.mark.parametrize(
    ("spots", "options", "text"),
    [
        ([0.0, 60.0], {}, "slide cannot go to 60 mm: its range is -50 to 50 mm"),
        ([0.0, float("nan")], {}, "slide cannot go to nan"),
        ([], {}, "are no spots"),
        ("here", {}, "'here' are no spots"),
        (SPOTS, {"shutter": None}, "needs a shutter"),
        (SPOTS, {"opening_time": -1.0}, "cannot take -1.0 s to open"),
        (SPOTS, {"monitor": "gas"}, "no column 'gas' to tell the dose by; it has mesh"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_moves(lab, spots, options, text):
    pulses = lab.call(lab.shutter.toggle.get_value())
    with pytest.raises(PreflightError, match=text):
        lab.RE(lab.line(spots, **options))
    assert lab.named("start") == []
    assert lab.call(lab.slide.user_readback.get_value()) == pytest.approx(-1.0, abs=1e-3)
    assert lab.call(lab.axis.user_readback.get_value()) == pytest.approx(399.0, abs=1e-2)
    assert lab.call(lab.shutter.toggle.get_value()) == pulses


def test_a_shutter_that_is_open_at_first_is_closed_before_anything_moves(lab, witness):
    lab.call(_open(lab.shutter))
    lab.RE(lab.line())
    slide = np.array([where for where, _ in witness.exposed])
    at_first = np.abs(slide + 1.0) < 1e-3
    at_spots = np.abs(slide[:, None] - SPOTS).min(axis=1) < 1e-3
    assert np.any(at_first)
    assert np.all(at_first | at_spots)
    assert lab.stop["exit_status"] == "success"


async def _open(shutter):
    await shutter.set("open")


def test_without_a_shutter_nothing_is_opened():
    light = LightPath()
    asyncio.run(light.close())
    assert not light.is_open
    assert light.openings == []
