"""An axis that anybody's plan flies: what it asks of the floor above, with a flight of paper."""

import asyncio
from types import SimpleNamespace

import pytest
from ophyd_async.core import FlyMotorInfo, set_mock_value

from glidepath.devices import PGM, EnergyAxis, MotionError, extensions, flying
from glidepath.trajectory import Envelope, Leg, PreflightError, Region


class PaperFlight:
    """Notes what it is asked to do; each step lasts until it is let go, or halted."""

    def __init__(self, low=0.0):
        self.calls = []
        self.gates = {}
        self.failure = None
        self.low = low

    async def plan(self, leg):
        envelope = Envelope(self.low, 1000.0, 10.0, "eV", run_up=1.0, run_up_time=1.0)
        return SimpleNamespace(leg=leg, envelope=envelope)

    async def _step(self, name, *arguments):
        self.calls.append((name, *arguments))
        gate = self.gates.get(name)
        if gate is not None:
            await gate.wait()
        if self.failure is not None:
            raise self.failure

    def prepare(self, plan):
        return self._step("prepare", plan.leg.start, plan.leg.stop)

    def kickoff(self):
        return self._step("kickoff")

    def complete(self):
        return self._step("complete")

    async def halt(self):
        self.calls.append(("halt",))
        for gate in self.gates.values():
            gate.set()

    async def restore(self):
        self.calls.append(("restore",))

    def hold(self, step):
        """Let a step last until a halt, or until the gate that is returned is opened."""
        self.gates[step] = asyncio.Event()
        return self.gates[step]

    @property
    def names(self):
        return [name for name, *_ in self.calls]


@pytest.fixture
def flight(monkeypatch):
    made = PaperFlight()
    monkeypatch.setattr(flying, "flight_of", lambda axis: made)
    return made


@pytest.fixture
async def axis():
    pgm = PGM("ANY:", name="pgm")
    axis = EnergyAxis(pgm)
    await pgm.connect(mock=True)
    await axis.connect(mock=True)
    return axis


async def under_way(axis, eventually, flight):
    """Fly into the range; return the status of its end."""
    flight.hold("complete")
    await axis.prepare((400, 410, 1.0))
    await axis.kickoff()
    status = axis.complete()
    await eventually(lambda: "complete" in flight.names)
    set_mock_value(axis.monochromator().readback, 404.0)
    return status


@pytest.mark.parametrize(
    "what",
    [
        Leg((Region(400, 410, 2.0),)),
        Region(400, 410, 2.0),
        (400, 410, 2.0),
        FlyMotorInfo(start_position=400, end_position=410, time_for_move=5.0),
    ],
)
async def test_what_is_to_be_flown_can_be_given_in_several_ways(axis, flight, what):
    await axis.prepare(what)
    await axis.kickoff()
    await axis.complete()
    assert flight.calls == [
        ("prepare", 400.0, 410.0),
        ("kickoff",),
        ("complete",),
        ("restore",),
    ]


async def test_what_is_no_flight_is_refused(axis, flight):
    with pytest.raises(PreflightError, match=r"'up' cannot be flown here; give one region"):
        await axis.prepare("up")
    assert flight.calls == []


async def test_a_range_out_of_reach_is_refused_before_anything_moves(axis, flight):
    flight.low = 405.0
    with pytest.raises(PreflightError, match="energy cannot fly to 400 eV"):
        await axis.prepare((400, 410, 1.0))
    assert flight.calls == []


def test_without_anything_that_flies_it_the_axis_says_what_to_import():
    with pytest.raises(PreflightError, match=r"fly stage is loaded; import glidepath\.flyers"):
        flying.flight_of(SimpleNamespace(name="stage"))


def test_a_back_end_of_another_package_is_found_by_its_entry_point(monkeypatch):
    class Stage(SimpleNamespace):
        pass

    made = PaperFlight()

    class Entry:
        name = "stages"

        def load(self):
            flying.flight_of.register(Stage, lambda axis: made)

    monkeypatch.setattr(extensions, "entry_points", lambda group: [Entry()])
    extensions.load_extensions.cache_clear()
    assert flying.flight_of(Stage(name="stage")) is made
    extensions.load_extensions.cache_clear()


async def test_a_flight_that_fails_ends_with_its_reason_and_is_put_back(axis, flight):
    await axis.prepare((400, 410, 1.0))
    await axis.kickoff()
    flight.failure = RuntimeError("stalled")
    with pytest.raises(RuntimeError, match="stalled"):
        await axis.complete()
    assert flight.names == ["prepare", "kickoff", "complete", "halt", "restore"]


async def test_stop_ends_a_flight_and_puts_it_back(axis, flight, eventually):
    status = await under_way(axis, eventually, flight)
    await axis.stop()
    with pytest.raises(MotionError, match=r"^energy was stopped in flight\.$"):
        await status
    assert flight.names[-2:] == ["halt", "restore"]
    await axis.stop()
    assert flight.names.count("halt") == 1


async def test_unstaging_ends_a_flight(axis, flight, eventually):
    await axis.stage()
    status = await under_way(axis, eventually, flight)
    await axis.unstage()
    # Quietly: an error would hide why the plan has ended.
    await status
    assert flight.names[-2:] == ["halt", "restore"]


async def test_a_pause_in_flight_flies_the_rest_with_a_new_run_up(axis, flight, eventually):
    status = await under_way(axis, eventually, flight)
    await axis.pause()
    assert flight.names[-2:] == ["halt", "restore"]
    for _ in range(10):
        await asyncio.sleep(0)
    assert not status.done
    flight.gates.clear()
    await axis.resume()
    await status
    assert flight.calls[-4:] == [
        ("prepare", 404.0, 410.0),
        ("kickoff",),
        ("complete",),
        ("restore",),
    ]


async def test_the_run_engines_stop_before_a_pause_does_not_end_the_flight(
    axis, flight, eventually
):
    status = await under_way(axis, eventually, flight)
    await axis.stop(success=True)
    await axis.pause()
    flight.gates.clear()
    await axis.resume()
    await status
    assert ("prepare", 404.0, 410.0) in flight.calls


async def test_a_plan_that_was_rewound_joins_the_flight_that_goes_on(axis, flight, eventually):
    status = await under_way(axis, eventually, flight)
    await axis.pause()
    flight.gates.clear()
    gate = flight.hold("complete")
    await axis.resume()
    await axis.prepare((400, 410, 1.0))
    await axis.kickoff()
    again = axis.complete()
    await eventually(lambda: flight.names.count("complete") == 2)
    assert not status.done
    assert not again.done
    gate.set()
    await status
    await again
    assert flight.names.count("prepare") == 2
    # The same leg once more is a flight of its own.
    flight.gates.clear()
    await axis.prepare((400, 410, 1.0))
    await axis.kickoff()
    await axis.complete()
    assert flight.calls[-4] == ("prepare", 400.0, 410.0)


async def test_a_pause_behind_the_range_has_nothing_left_to_fly(axis, flight, eventually):
    status = await under_way(axis, eventually, flight)
    set_mock_value(axis.monochromator().readback, 410.5)
    await axis.pause()
    await axis.resume()
    await status
    assert flight.names.count("prepare") == 1
    assert flight.names[-1] == "restore"


@pytest.mark.parametrize("step", ["prepare", "kickoff"])
async def test_a_pause_before_the_range_begins_again(axis, flight, eventually, step):
    flight.hold(step)
    if step == "prepare":
        status = axis.prepare((400, 410, 1.0))
    else:
        await axis.prepare((400, 410, 1.0))
        status = axis.kickoff()
    await eventually(lambda: step in flight.names)
    await axis.pause()
    flight.gates.clear()
    await axis.resume()
    await status
    if step == "prepare":
        await axis.kickoff()
    await axis.complete()
    assert flight.calls.count(("prepare", 400.0, 410.0)) == 2
    assert flight.names[-3:] == ["kickoff", "complete", "restore"]


async def test_a_stop_during_a_pause_ends_the_flight(axis, flight, eventually):
    status = await under_way(axis, eventually, flight)
    await axis.pause()
    await axis.stop()
    with pytest.raises(MotionError):
        await status
    assert flight.names[-1] == "restore"
    assert flight.names.count("prepare") == 1


async def test_preparing_anew_takes_over_from_a_flight_under_way(axis, flight, eventually):
    first = await under_way(axis, eventually, flight)
    await axis.prepare((420, 430, 1.0))
    await first
    await axis.kickoff()
    await axis.complete()
    assert ("prepare", 420.0, 430.0) in flight.calls
    assert flight.names.count("restore") == 2


async def test_verbs_in_the_wrong_order_are_errors(axis, flight):
    with pytest.raises(RuntimeError, match=r"^energy was not prepared; prepare it before"):
        await axis.kickoff()
    with pytest.raises(RuntimeError, match=r"^energy was not started; there is no end"):
        await axis.complete()


async def test_pause_resume_and_stop_of_an_axis_that_does_not_fly_are_harmless(axis, flight):
    await axis.pause()
    await axis.resume()
    await axis.stage()
    await axis.unstage()
    assert flight.calls == []
