"""What a box that compares positions is told, and what it is not asked for: without a box."""

from collections import Counter
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from ophyd_async.core import SignalR, set_mock_value

from glidepath.beamlines.simulated import make_devices
from glidepath.flyers import PositionCompare, Triggers
from glidepath.flyers.triggers.compare_plan import compare_plan
from glidepath.flyers.triggers.zebra_settings import compare_settings
from glidepath.physics import Encoder, GratingGeometry, LinearGeometry
from glidepath.trajectory import KRegion, Leg, PreflightError, Region

GRATING = GratingGeometry(Encoder(360_000), Encoder(-250_000, 77.0), 600.0, 2.25)
MOTOR = LinearGeometry(Encoder(100_000))
REVERSED = LinearGeometry(Encoder(-20_000.0, offset=5e6))


def leg(*regions):
    return Leg(tuple(Region(*region) for region in regions), tuple(range(len(regions))))


def compared(plan):
    """Return the positions at which the compared counter changes, from its registers alone."""
    counts = plan.first + plan.direction * plan.step * np.arange(len(plan.positions))
    return plan.geometry.position((counts - 0.5 * plan.direction)[np.newaxis])


@given(
    geometry=st.sampled_from([GRATING, MOTOR, REVERSED]),
    start=st.floats(300, 500),
    length=st.floats(1, 50),
    up=st.booleans(),
    step=st.floats(0.002, 0.5),
    velocity=st.floats(0.1, 10),
    light=st.floats(0.1, 0.9),
)
# A count of the grating is 11 % wider at the start of this leg than on average.
@example(
    geometry=GRATING,
    start=300.0,
    length=46.99261350342888,
    up=False,
    step=0.5,
    velocity=1.0,
    light=0.5,
)
def test_steps_are_whole_counts_next_to_what_was_asked(
    geometry, start, length, up, step, velocity, light
):
    flight = leg((start, start + length, velocity) if up else (start + length, start, velocity))
    assume(step < length)
    plan = compare_plan(
        "box", flight, geometry, step=step, period=None, exposure=light * 0.8 * step / velocity
    )
    assert plan.positions == pytest.approx(compared(plan), abs=1e-6)
    steps = flight.direction * np.diff(plan.positions)
    count = flight.length / np.ptp(geometry.readings([flight.start, flight.stop])[0])
    if len(steps):
        assert np.all(steps > 0)
        assert abs(steps.mean() - step) < 0.6 * count + 0.12 * step
        # The interval is what the exposure was checked against.
        assert plan.shortest_period == pytest.approx(steps.min() / velocity)
    # All exposures lie inside, and no more would.
    ahead = flight.direction * (plan.positions - flight.start)
    assert ahead[0] >= -1e-6
    # The first one begins at the first edge of a count: in counts, which are not equally wide.
    start_reading = plan.direction * geometry.readings([flight.start])[0][0]
    assert -1e-5 <= plan.direction * plan.first - 0.5 - start_reading < 1 + 1e-5
    behind = flight.length - ahead - velocity * plan.exposure
    assert behind[-1] > -1e-6
    if len(steps):
        assert behind[-1] < steps.max() + count
    assert plan.width >= (len(plan.positions) - 1) * plan.step


def test_both_directions_compare_the_other_edge_of_a_count():
    up = compare_plan("box", leg((400, 401, 1)), MOTOR, step=0.1, period=None, exposure=0.01)
    down = compare_plan("box", leg((401, 400, 1)), MOTOR, step=0.1, period=None, exposure=0.01)
    assert (up.direction, down.direction) == (1, -1)
    assert (up.first, down.first) == (40_000_001, 40_099_999)
    assert up.positions[0] == pytest.approx(400.000005, abs=1e-9)
    assert down.positions[0] == pytest.approx(400.999995, abs=1e-9)


def test_by_time_the_gate_lasts_to_the_stop_and_the_number_is_bounded():
    flight = leg((400, 402, 1), (402, 403, 0.5))
    plan = compare_plan("box", flight, MOTOR, step=None, period=0.5, exposure=0.4)
    assert plan.positions == pytest.approx([400, 400.5, 401, 401.5, 402, 402.25, 402.5, 402.75])
    assert (plan.step, plan.period, plan.shortest_period) == (None, 0.5, 0.5)
    assert plan.width == pytest.approx(300_000, abs=1)


def test_the_shortest_interval_is_that_of_the_fastest_region():
    flight = leg((400, 402, 1), (402, 403, 0.5))
    plan = compare_plan("box", flight, MOTOR, step=0.1, period=None, exposure=0.05)
    assert plan.shortest_period == pytest.approx(0.1, rel=1e-3)


def test_a_region_in_k_has_a_speed_of_its_own_everywhere():
    geometry = LinearGeometry(Encoder(1000.0))
    flight = Leg((KRegion(7112.0, 3.0, 12.0, 0.05, 0.5),))
    plan = compare_plan("box", flight, geometry, step=1.0, period=None, exposure=0.05)
    fastest = flight.velocity
    assert plan.shortest_period == pytest.approx(1.0 / fastest, rel=2e-3)


@pytest.mark.parametrize(
    ("asked", "exposure", "sentence"),
    [
        ({"step": 0.000_01, "period": None}, 1e-6, "too coarse; choose 0.00114 or more"),
        ({"step": 0.05, "period": None}, 0.06, r"choose an exposure below 0\.04\d+ s"),
        ({"step": None, "period": 0.01}, 0.01, r"choose an exposure below 0\.009998 s"),
        ({"step": None, "period": 1e-9}, 1e-9, "periods of up to 200 s|pulses of 0.1 us"),
        ({"step": None, "period": 300.0}, 1.0, "periods of up to 200 s"),
        ({"step": None, "period": None}, 0.1, "either a step or a period"),
        ({"step": 0.05, "period": 0.1}, 0.1, "either a step or a period"),
        ({"step": -0.05, "period": None}, 0.1, "step of -0.05; give one above zero"),
        ({"step": 5.0, "period": None}, 100.0, "pulses of 0.1 us to 65.5 s"),
        ({"step": 20.0, "period": None}, 11.0, "Not one exposure"),
    ],
)
def test_what_the_box_cannot_do_is_one_sentence(asked, exposure, sentence):
    with pytest.raises(PreflightError, match=sentence) as error:
        compare_plan("box", leg((395, 405, 1)), GRATING, exposure=exposure, **asked)
    assert str(error.value).count(". ") == 0


def test_an_energy_that_no_angle_selects_is_one_sentence():
    geometry = GratingGeometry(Encoder(1e5), None, 1200.0, 2.25)
    with pytest.raises(PreflightError, match=r"box cannot follow this scan: .* cannot select"):
        compare_plan("box", leg((0.5, 1, 1)), geometry, step=0.1, period=None, exposure=0.01)


def test_a_counter_that_would_run_over_is_refused():
    with pytest.raises(PreflightError, match="counts to 2147483648"):
        compare_plan(
            "box",
            leg((400, 401, 1)),
            LinearGeometry(Encoder(1e7)),
            step=0.1,
            period=None,
            exposure=0.01,
        )


# -- with a box that is not there -------------------------------------------------------------


@pytest.fixture
async def box():
    devices = make_devices("ANY:")
    for name in ("pgm", "mono_motor", "zebra"):
        await devices[name].connect(mock=True)
    pgm = devices["pgm"]
    set_mock_value(pgm.line_density, 600.0)
    set_mock_value(pgm.cff, 2.25)
    set_mock_value(pgm.order, 1)
    set_mock_value(devices["zebra"].firmware, 0x20)
    return devices["zebra"], pgm, devices["mono_motor"]


def source(box, axis=1):
    return PositionCompare(box[0], box[axis])


async def planned(compare, whole, *, end_trigger=False, **asked):
    return await compare.plan(whole, Triggers(compare, **asked), end_trigger=end_trigger)


async def test_an_axis_without_an_encoder_is_refused(box):
    zebra, _, _ = box
    stranger = type("Axis", (), {"name": "focus"})()
    with pytest.raises(PreflightError, match="cannot follow focus: it has the encoders of pgm"):
        PositionCompare(zebra, stranger)


async def test_an_input_that_no_box_has_is_refused_by_name(box):
    wired = SimpleNamespace(inputs=(5,))
    zebra = SimpleNamespace(name="zebra", axes={"pgm": wired}, encoder=box[0].encoder)
    with pytest.raises(PreflightError, match="zebra has no encoder input 5: it has 1, 2, 3, 4;"):
        PositionCompare(zebra, box[1])


@pytest.mark.parametrize(
    ("version", "sentence"),
    [
        (0x1F, r"^zebra has the firmware 0x1F, and scans need 0x20 or later, .* update the box"),
        (0, r"^The server of zebra does not know its firmware \(.*SYS_VER is 0\)"),
    ],
)
async def test_a_box_that_is_too_old_is_refused(box, version, sentence):
    set_mock_value(box[0].firmware, version)
    with pytest.raises(PreflightError, match=sentence):
        await planned(source(box), leg((395, 405, 1)), step=0.05, exposure=0.04)


async def test_an_encoder_without_a_resolution_is_refused(box):
    set_mock_value(box[0].encoder[2].resolution, 0.0)
    with pytest.raises(PreflightError, match="Encoder 2 of zebra has a resolution of 0"):
        await planned(source(box), leg((395, 405, 1)), step=0.05, exposure=0.04)


async def test_a_buffer_without_room_is_refused(box):
    set_mock_value(box[0].capacity, 0)
    with pytest.raises(PreflightError, match="no room for a single trigger; make the arrays"):
        await planned(source(box), leg((395, 405, 1)), step=0.05, exposure=0.04)


async def test_the_memory_of_the_box_counts_too(box):
    set_mock_value(box[0].capacity, 10_000_000)
    set_mock_value(box[0].encoder[3].resolution, 1e-5)
    plans = await planned(source(box, 2), leg((300, 700, 0.1)), step=0.001, exposure=0.005)
    # A time and an encoder of each trigger.
    assert [len(plan.positions) for plan in plans] == [250_000, 150_000]


@pytest.mark.parametrize("capacity", [7, 50, 199])
@pytest.mark.parametrize("ends", [(395, 405), (405, 395), (380, 470)])
@pytest.mark.parametrize("axis", [1, 2])
async def test_parts_fit_and_miss_none_and_repeat_none(box, capacity, ends, axis):
    capacity *= 20 if ends == (380, 470) else 1
    set_mock_value(box[0].capacity, capacity)
    set_mock_value(box[0].encoder[3].resolution, 1e-5)
    whole = leg((*ends, 1))
    plans = await planned(source(box, axis), whole, step=0.05, exposure=0.03)
    parts = [plan.leg for plan in plans]
    assert parts[0].start == whole.start
    assert parts[-1].stop == whole.stop
    assert all(one.stop == two.start for one, two in pairwise(parts))
    positions = [plan.positions for plan in plans]
    assert max(len(part) for part in positions) <= capacity
    # In energy, equal counts are a quarter wider at 470 eV than at 380.
    steps = np.abs(np.diff(np.concatenate(positions)))
    assert np.abs(steps - 0.05).max() < 0.25 * 0.05


@pytest.mark.parametrize("asked", [{"step": 0.05}, {"period": 0.05}])
async def test_a_trigger_that_ends_the_last_row_is_inside_and_each_part_has_one(box, asked):
    set_mock_value(box[0].capacity, 61)
    compare, whole = source(box), leg((395, 405, 1))
    plans = await planned(compare, whole, end_trigger=True, exposure=0.03, **asked)
    parts = [plan.leg for plan in plans]
    assert [len(plan.positions) for plan in plans[:-1]] == [60] * (len(plans) - 1)
    for plan, part, following in zip(plans, parts, [*parts[1:], None], strict=True):
        numbers = [(s.name, value) for s, value in compare_settings(compare.box, plan, (1.0, 0.0))]
        assert ("zebra-pulses", len(plan.positions) + 1) in numbers
        end_trigger = 2 * plan.positions[-1] - plan.positions[-2]
        assert end_trigger <= part.stop + 2e-4
        if following is not None:
            # Where the first row of the next part begins.
            assert end_trigger == pytest.approx(following.start, abs=2e-4)
    positions = np.concatenate([plan.positions for plan in plans])
    assert np.diff(positions) == pytest.approx(0.05, abs=0.005)
    assert 405 - positions[-1] < 0.105


async def test_parts_by_time_have_equal_numbers(box):
    set_mock_value(box[0].capacity, 40)
    plans = await planned(source(box), leg((395, 405, 1)), period=0.1, exposure=0.09)
    assert [plan.leg.stop for plan in plans] == pytest.approx([399, 403, 405])


async def test_what_fits_is_one_part(box):
    whole = leg((395, 400, 1), (400, 405, 0.5))
    (plan,) = await planned(source(box), whole, step=0.05, exposure=0.03)
    assert plan.leg == whole


async def test_the_exposure_is_the_longest_that_leaves_the_detectors_their_dead_time(box):
    (plan,) = await compare_with_dead_time(box, 0.02)
    assert 0.9 * (plan.shortest_period - 0.02) < plan.exposure < plan.shortest_period - 0.02
    with pytest.raises(PreflightError, match=r"the detectors need 60 ms between two exposures"):
        await compare_with_dead_time(box, 0.06)


async def compare_with_dead_time(box, seconds):
    compare = source(box)
    return await compare.plan(leg((395, 405, 1)), Triggers(compare, step=0.05), dead_time=seconds)


async def test_a_plan_reads_each_process_variable_once(box, monkeypatch):
    reads = Counter()
    whole_read = SignalR.get_value

    async def counted(signal, *args, **options):
        reads[signal.name] += 1
        return await whole_read(signal, *args, **options)

    monkeypatch.setattr(SignalR, "get_value", counted)
    set_mock_value(box[0].capacity, 50)
    plans = await planned(source(box), leg((395, 405, 1)), step=0.05)
    assert len(plans) > 1
    assert set(reads.values()) == {1}


async def test_without_arming_there_is_nothing_to_end_or_to_put_back(box):
    compare = source(box)
    await compare.disarm()
    await compare.restore()
    assert len((await compare.captured()).times) == 0
