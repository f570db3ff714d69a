"""What a PandA is told, and that its sequencer then does what was meant: without a box."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ophyd_async.core import set_mock_value

from glidepath.devices import Panda
from glidepath.devices.panda import LINES
from glidepath.flyers import Triggers
from glidepath.flyers.triggers.sequence_plan import sequence_plan
from glidepath.flyers.triggers.sequencer import Sequencer
from glidepath.physics import Encoder, GratingGeometry, LinearGeometry
from glidepath.simulation.panda_blocks import CompareRun, SequencerRun
from glidepath.trajectory import Leg, Motion, PreflightError, Region

GRATING = GratingGeometry(Encoder(360_000), Encoder(-250_000, 77.0), 600.0, 2.25)
MOTOR = LinearGeometry(Encoder(100_000))
REVERSED = LinearGeometry(Encoder(-20_000.0, offset=5e6))
BEGAN = 1_000.0


def leg(*regions):
    return Leg(tuple(Region(*region) for region in regions), tuple(range(len(regions))))


def triggers(plan, flight):
    """Let a sequencer go through a plan's table while the axis flies; return begins and ends."""
    motion = Motion.plain(flight, 0.1 * flight.velocity, 0.1)
    table = dict(plan.table)

    def reading(when):
        position = motion.position(np.asarray(when) - BEGAN)
        return plan.geometry.readings(position)[0]

    run = SequencerRun(BEGAN, table, 1, 1e-6, {"POSA": reading}, {})
    ends = BEGAN + motion.duration + 0.1
    pulses = [run.advance(min(until, ends)) for until in np.arange(BEGAN, ends + 0.25, 0.25)]
    assert run.over
    begins = np.concatenate([made.rises for made in pulses])
    lengths = np.concatenate([made.falls for made in pulses]) - begins
    assert lengths == pytest.approx(plan.exposure, abs=1e-6)
    return begins - BEGAN - 0.1, motion.position(begins - BEGAN)


@settings(max_examples=30)
@given(
    geometry=st.sampled_from([GRATING, MOTOR, REVERSED]),
    start=st.floats(300, 500),
    number=st.integers(2, 60),
    up=st.booleans(),
    step=st.floats(0.004, 0.5),
    velocity=st.floats(0.1, 10),
    more=st.floats(0.01, 0.5),
)
def test_steps_are_equal_in_the_unit_of_the_axis_to_a_count(
    geometry, start, number, up, step, velocity, more
):
    stop = start + (number + more) * step
    flight = leg((start, stop, velocity) if up else (stop, start, velocity))
    exposure = max(0.2 * step / velocity, 1e-6)
    plan = sequence_plan("box", flight, geometry, step=step, period=None, exposure=exposure)
    assert len(plan.positions) == number == len(plan.table)
    ahead = flight.direction * (plan.positions - flight.start)
    count = flight.length / np.ptp(geometry.readings([flight.start, flight.stop])[0])
    # The middle of each exposure is the middle of a step.
    middles = ahead + velocity * plan.exposure / 2
    assert np.abs(middles - step * (np.arange(number) + 0.5)).max() < 0.6 * count
    step_edges = flight.direction * (plan.step_edges - flight.start)
    assert step_edges == pytest.approx(step * np.arange(number + 1))
    assert ahead[0] >= -1e-6
    _, positions = triggers(plan, flight)
    assert positions == pytest.approx(plan.positions, abs=velocity * 2e-6)


def test_by_time_each_region_begins_at_its_start_with_its_own_period():
    flight = leg((400, 402, 1), (402, 403, 0.5, 0.25))
    plan = sequence_plan("box", flight, MOTOR, step=None, period=0.5, exposure=0.2)
    # In the middle of its period lies each exposure.
    first, second = 400.15 + 0.5 * np.arange(4), 402.0125 + 0.125 * np.arange(8)
    assert plan.positions == pytest.approx([*first, *second])
    assert plan.step_edges is None
    assert plan.shortest_period == 0.25
    assert plan.times == pytest.approx([0, 0.5, 1, 1.5, *(1.875 + np.arange(8) * 0.25)])
    # The first of a region waits for a count, the last for nobody.
    assert plan.table.repeats.tolist() == [1, 2, 1, 1, 6, 1]
    begins, _ = triggers(plan, flight)
    assert begins - begins[0] == pytest.approx(plan.times, abs=2e-5)


@pytest.mark.parametrize("asked", [{"step": 0.1, "period": None}, {"step": None, "period": 0.1}])
def test_one_more_trigger_ends_the_last_row_inside_the_leg(asked):
    flight = leg((400, 401, 1))
    whole = sequence_plan("box", flight, MOTOR, **asked, exposure=0.09)
    plan = sequence_plan("box", flight, MOTOR, **asked, exposure=0.09, end_trigger=True)
    assert (len(whole.positions), len(plan.positions)) == (10, 10)
    assert len(plan.counts) == 11
    begins, positions = triggers(plan, flight)
    assert len(begins) == 11
    # By time, all are as late as the first, which waits for a whole count.
    late = 1e-6 if asked["step"] else 1.1e-5
    assert 401 - 2e-5 < positions[-1] <= 401 + late
    shorter = leg((400, 400.99, 1))
    plan = sequence_plan("box", shorter, MOTOR, **asked, exposure=0.085, end_trigger=True)
    assert (len(plan.positions), len(plan.counts)) == (9, 10)


def test_twenty_thousand_triggers_by_time_are_three_lines():
    flight = leg((400, 420, 1))
    plan = sequence_plan("box", flight, MOTOR, step=None, period=0.001, exposure=0.0009)
    assert (len(plan.positions), len(plan.table)) == (20_000, 3)
    begins, _ = triggers(plan, flight)
    assert begins == pytest.approx(0.001 * np.arange(20_000) + 0.000_05, abs=1e-5)


@pytest.fixture
async def source():
    """A source of triggers whose box is not there: it only plans."""

    async def geometry():
        return MOTOR

    encoders = SimpleNamespace(inputs=(1,), geometry=geometry)
    # A mock has no outputs.
    panda = Panda("ANY:", "panda", axes={"motor": encoders}, outputs=())
    await panda.connect(mock=True)
    set_mock_value(panda.blocks.inenc[1].val_scale, 1e-5)
    return Sequencer(panda, SimpleNamespace(name="motor"))


async def test_what_is_connected_is_looked_at_before_anything_is_planned(source):
    asked = leg((400, 401, 5)), Triggers(source, step=0.005)
    set_mock_value(source.box.blocks.inenc[1].val_scale, 0.0)
    with pytest.raises(PreflightError, match="Encoder 1 of panda has a scale of 0; set "):
        await source.plan(*asked)
    source.box.outputs = ("TTLOUT1",)
    with pytest.raises(PreflightError, match="panda has no TTLOUT1"):
        await source.plan(*asked)


@pytest.mark.parametrize("ends", [(400, 500), (500, 400)])
async def test_twenty_thousand_steps_are_flown_in_tables_that_miss_none(source, ends):
    whole = leg((*ends, 5.0))
    plans = await source.plan(whole, Triggers(source, step=0.005, exposure=0.0009))
    parts = [plan.leg for plan in plans]
    assert parts[0].start == whole.start
    assert parts[-1].stop == whole.stop
    assert all(one.stop == two.start for one, two in pairwise(parts))
    flown = []
    for plan in plans:
        assert len(plan.table) == len(plan.positions) <= LINES
        flown.append(triggers(plan, plan.leg)[1])
    assert len(np.concatenate(flown)) == 20_000
    assert np.abs(np.diff(np.concatenate(flown))) == pytest.approx(0.005, abs=2.1e-5)
    (short,) = await source.plan(leg((400, 401, 5)), Triggers(source, step=0.005))
    assert short.leg == leg((400, 401, 5))


async def test_more_regions_by_time_than_a_table_has_lines_are_refused(source):
    regions = [(400 + 0.01 * k, 400.01 + 0.01 * k, 1.0) for k in range(LINES)]
    with pytest.raises(PreflightError, match=r"tables of 4096 lines, .* fly fewer regions"):
        await source.plan(leg(*regions), Triggers(source, period=0.005, exposure=0.001))


@pytest.mark.parametrize(
    ("asked", "exposure", "sentence"),
    [
        ({"step": 0.000_01, "period": None}, 1e-6, "too coarse; choose 0.00114 or more"),
        ({"step": 0.05, "period": None}, 0.06, r"choose an exposure below 0\.04\d+ s"),
        ({"step": None, "period": 0.01}, 0.01, r"choose an exposure below 0\.009999 s"),
        ({"step": None, "period": 1e-9}, 1e-9, "pulses of 1 us"),
        ({"step": None, "period": None}, 0.1, "either a step or a period"),
        ({"step": -0.05, "period": None}, 0.1, "step of -0.05; give one above zero"),
        ({"step": 20.0, "period": None}, 11.0, "Not one exposure"),
        ({"step": None, "period": 20.0}, 11.0, "Not one exposure"),
    ],
)
def test_what_the_box_cannot_do_is_one_sentence(asked, exposure, sentence):
    with pytest.raises(PreflightError, match=sentence) as error:
        sequence_plan("box", leg((395, 405, 1)), GRATING, exposure=exposure, **asked)
    assert str(error.value).count(". ") == 0


def test_an_axis_without_an_encoder_is_refused(source):
    with pytest.raises(PreflightError, match="cannot follow focus: it has the encoders of motor"):
        Sequencer(source.box, SimpleNamespace(name="focus"))


def test_an_output_that_no_panda_has_is_refused():
    with pytest.raises(ValueError, match="'OUT1' is no output of a PandA"):
        Panda("ANY:", "panda", outputs=("OUT1",))


def test_a_simulated_position_compare_makes_equal_steps_in_counts():
    def reading(when):
        return 1000.0 * (np.asarray(when) - BEGAN)

    run = CompareRun(BEGAN, reading, start=100, before=0, step=50, width=20, pulses=4)
    made = [run.advance(until) for until in (BEGAN + 0.12, BEGAN + 0.21, BEGAN + 1)]
    assert [len(pulses) for pulses in made] == [1, 2, 1]
    rises = np.concatenate([pulses.rises for pulses in made]) - BEGAN
    falls = np.concatenate([pulses.falls for pulses in made]) - BEGAN
    assert rises == pytest.approx([0.0995, 0.1495, 0.1995, 0.2495], abs=1e-6)
    assert falls - rises == pytest.approx(0.02, abs=1e-5)
    assert run.over
