"""The accelerator's families against the simulated ring, and beam-based alignment on it."""

import asyncio

import aioca
import numpy as np
import pytest

from glidepath.devices.families import (
    BeamPositionMonitor,
    BeamPositionMonitors,
    BeamSizeMonitor,
    BendingMagnet,
    BunchFeedback,
    DelayLine,
    FillPattern,
    Hysteresis,
    InjectionEngine,
    Kicker,
    Multiplexer,
    PowerConverter,
    TopUpRing,
    Tune,
)
from glidepath.devices.generic import Tolerance
from glidepath.devices.positioning import MotionError
from glidepath.devices.signals import watch
from glidepath.physics.alignment import AlignmentError, fit_quadrupole_centre
from glidepath.plans import standardise
from glidepath.plans.beam_based_alignment import beam_based_alignment
from glidepath.simulation.accelerator import STRENGTH_PER_AMPERE
from glidepath.simulation.ring_optics import QUADRUPOLES, REVOLUTION_KHZ, RingOptics

pytestmark = pytest.mark.slow

BOUND = 60.0
SEED = 1
QUADRUPOLE = "Q4M1D4R"


@pytest.fixture(scope="session")
def with_accelerator(with_vacuum):
    with_vacuum.start_also("accelerator")
    return with_vacuum


@pytest.fixture
def ring(with_accelerator, RE):
    """Devices of the ring, connected in the run engine's loop, and a way to await there."""

    def do(work):
        return asyncio.run_coroutine_threadsafe(work, RE._loop).result(BOUND)

    prefix = with_accelerator.prefix
    converter = PowerConverter(f"{prefix}QSPAZR:", "converter")
    multiplexer = Multiplexer(f"{prefix}PMUXZR:", converter, "multiplexer", quadrupoles=QUADRUPOLES)
    steerer = PowerConverter(f"{prefix}HS4P1D3R:", "steerer")
    monitors = BeamPositionMonitors(f"{prefix}MDIZ2T5G:", QUADRUPOLES, "monitors")
    tune = Tune(f"{prefix}TUNEZRP:", "tune")
    for device in (converter, multiplexer, steerer, monitors, tune):
        do(device.connect(timeout=BOUND))
    yield prefix, do, converter, multiplexer, steerer, monitors, tune
    do(set_to(multiplexer, "Mux OFF"))


async def set_to(device, value):
    await device.set(value)


async def read_of(device):
    await device.connect(timeout=BOUND)
    return await device.read()


def test_the_tune_follows_the_quadrupole_as_in_the_model(ring):
    _, do, converter, multiplexer, _, monitors, tune = ring
    model = RingOptics(SEED)
    do(set_to(multiplexer, QUADRUPOLE))
    before = model.tune("x")
    for current in (2.0, -2.0):
        do(set_to(converter, current))
        do(triggered(monitors))
        model.trims[QUADRUPOLE] = STRENGTH_PER_AMPERE * current
        seen = do(tune.read())["tune-horizontal"]["value"]
        expected = model.tune("x") * REVOLUTION_KHZ
        assert abs(expected - before * REVOLUTION_KHZ) > 2.0
        assert seen == pytest.approx(expected, abs=0.02)


async def triggered(device):
    await device.trigger()


def test_beam_based_alignment_finds_the_axis_of_a_quadrupole(ring, RE):
    _, do, converter, multiplexer, steerer, monitors, _ = ring
    truth = 1e3 * RingOptics(SEED).centres["x"][QUADRUPOLE]
    plan = beam_based_alignment(
        multiplexer, QUADRUPOLE, converter, steerer, monitors, np.linspace(-0.6, 0.6, 5), step=2.0
    )
    found = RE(plan).plan_result
    assert found.centre == pytest.approx(truth, abs=0.02)
    assert found.error < 0.02
    assert do(multiplexer.locate())["readback"] == "Mux OFF"
    assert do(converter.readback.get_value()) == pytest.approx(0.0, abs=0.02)
    assert do(steerer.readback.get_value()) == pytest.approx(0.0, abs=0.01)


def test_relays_switch_without_current_only(ring):
    _, do, converter, multiplexer, *_ = ring
    do(set_to(multiplexer, QUADRUPOLE))
    do(set_to(converter, 2.0))
    do(set_to(multiplexer, "Q3M1D4R"))
    assert do(multiplexer.locate())["readback"] == "Q3M1D4R"
    assert do(converter.readback.get_value()) == pytest.approx(0.0, abs=0.02)
    with pytest.raises(ValueError, match="cannot connect 'Q9'"):
        do(set_to(multiplexer, "Q9"))


def test_relays_that_stick_are_named(ring):
    prefix, do, converter, _, *_ = ring
    multiplexer = Multiplexer(
        f"{prefix}PMUXZR:", converter, "mux", quadrupoles=(QUADRUPOLE,), timeout=1.0
    )
    do(multiplexer.connect(timeout=BOUND))
    do(put(f"{prefix}FAULT:PMUXZR", "stuck"))
    try:
        with pytest.raises(MotionError, match=r"mux did not switch to .* within 1 s"):
            do(set_to(multiplexer, QUADRUPOLE))
    finally:
        do(put(f"{prefix}FAULT:PMUXZR", "none"))


async def put(name, value):
    await aioca.caput(name, value, wait=True, timeout=20)


def test_a_supply_that_is_off_cannot_be_staged(ring):
    prefix, do, *_ = ring
    kicker = Kicker(f"{prefix}KIK1:", "kicker")
    delay = DelayLine(f"{prefix}PAHB:", "delay")
    for device in (kicker, delay):
        do(device.connect(timeout=BOUND))
    do(set_to(kicker, 2.0))
    do(set_to(delay, 12.0))
    do(put(f"{prefix}KIK1:stat2", 0))
    try:
        with pytest.raises(MotionError, match=r"kicker cannot be used, for .*stat2 is off"):
            do(staged(kicker))
        do(put(f"{prefix}PAHB:switch", 0))
        with pytest.raises(MotionError, match=r"delay cannot be used, for .*switch is off"):
            do(staged(delay))
    finally:
        do(put(f"{prefix}PAHB:switch", 1))
        do(put(f"{prefix}KIK1:stat2", 1))
    do(kicker.stop())
    assert do(kicker.setpoint.get_value()) == 0.0


async def staged(device):
    await device.stage()


def test_a_converter_that_trips_is_named(ring):
    prefix, do, *_ = ring
    steerer = PowerConverter(
        f"{prefix}VS3P1D4R:", "steerer", tolerance=Tolerance(0.01, timeout=1.5)
    )
    do(steerer.connect(timeout=BOUND))
    do(put(f"{prefix}FAULT:VS3P1D4R", "tripped"))
    try:
        with pytest.raises(MotionError, match=r"steerer was set to 0.5 A .*is 0 A"):
            do(set_to(steerer, 0.5))
        with pytest.raises(ValueError, match="range is -1 to 1 A"):
            do(set_to(steerer, 3.0))
    finally:
        do(put(f"{prefix}FAULT:VS3P1D4R", "none"))


def test_monitors_agree_as_array_and_as_numbers(ring):
    prefix, do, *_, monitors, _ = ring
    do(triggered(monitors))
    single = do(read_of(BeamPositionMonitor(f"{prefix}BPMZD4Q4R:", "single")))
    orbit = do(monitors.read())["monitors-x"]["value"]
    truth = RingOptics(SEED).orbit("x")
    number = QUADRUPOLES.index(QUADRUPOLE)
    assert single["single-x"]["value"] == pytest.approx(truth[number], abs=0.002)
    np.testing.assert_allclose(orbit, truth, atol=0.002)


def test_what_a_ring_says_of_its_beam(ring):
    prefix, do, *_ = ring
    size = do(read_of(BeamSizeMonitor(f"{prefix}BSM1:Stats1:", (2.0, 3.0), "size")))
    assert size["size-sigma_x"]["value"] == 50.0
    assert size["size-sigma_y"]["value"] == 24.0
    pattern = do(read_of(FillPattern(f"{prefix}CUMZR:", "pattern")))["pattern-current"]["value"]
    assert pattern.sum() == pytest.approx(300.0)
    assert (pattern > 0).sum() == 320
    feedback = do(read_of(BunchFeedback(f"{prefix}BBQR:", "feedback")))
    expected = RingOptics(SEED).tune("y") * REVOLUTION_KHZ
    assert feedback["feedback-y"]["value"] == pytest.approx(expected, abs=0.02)
    magnet = BendingMagnet("D11", 1.3, 1.7)
    assert magnet.critical_energy == pytest.approx(2498.5, rel=1e-3)
    assert magnet.radius == pytest.approx(4.362, rel=1e-3)


def test_an_orbit_that_does_not_answer_is_said():
    generator = np.random.default_rng(1)
    with pytest.raises(AlignmentError, match="does not answer"):
        fit_quadrupole_centre([-1, -0.5, 0, 0.5, 1], generator.normal(size=(5, 32)))
    with pytest.raises(AlignmentError, match="3 different positions"):
        fit_quadrupole_centre([1, 1], np.ones((2, 32)))


def test_the_engine_injects_up_to_a_current_and_is_off_again(ring):
    prefix, do, *_ = ring
    engine = InjectionEngine(f"{prefix}TOPUPCC:", "engine", timeout=30.0)
    do(engine.connect(timeout=BOUND))
    wanted = do(engine.current.get_value()) + 6.0
    do(set_to(engine, wanted))
    assert do(engine.current.get_value()) >= wanted - 0.1
    assert do(engine.state.get_value()) == "OFF"
    with pytest.raises(ValueError, match="range is 0 to 300 mA"):
        do(set_to(engine, 400.0))


def test_an_engine_without_beam_is_named_and_switched_off(ring):
    prefix, do, *_ = ring
    engine = InjectionEngine(f"{prefix}TOPUPCC:", "engine", timeout=1.0)
    do(engine.connect(timeout=BOUND))
    do(put(f"{prefix}FAULT:TOPUPCC", "no beam"))
    try:
        with pytest.raises(MotionError, match="engine did not reach 299 mA within 1 s"):
            do(set_to(engine, 299.0))
        assert do(engine.state.get_value()) == "OFF"
    finally:
        do(put(f"{prefix}FAULT:TOPUPCC", "none"))


def test_the_ring_says_what_its_top_up_does(ring):
    prefix, do, *_ = ring
    device = TopUpRing(f"{prefix}RING:", f"{prefix}TOPUPCC:", "ring")
    reading = do(read_of(device))
    assert reading["ring-injection"]["value"] == "OFF"
    assert reading["ring-message"]["value"] == "ready"
    assert reading["ring-current"]["value"] > 200


WIDTH = 0.4
"""A between the branches of the simulated hysteresis."""


@pytest.fixture
def iron(ring):
    """A converter that keeps its magnet on one branch, a plain one, and what the tune says."""
    prefix, do, plain, multiplexer, _, monitors, tune = ring
    kept = PowerConverter(
        f"{prefix}QSPAZR:",
        "kept",
        tolerance=Tolerance(absolute=0.01, settle=0.5, timeout=20.0),
        hysteresis=Hysteresis(overshoot=0.8, top=4.0, bottom=-4.0, cycles=1),
    )
    do(kept.connect(timeout=BOUND))
    do(set_to(multiplexer, QUADRUPOLE))
    do(put(f"{prefix}FAULT:QSPAZR_hysteresis", WIDTH))

    def tune_at(device, current):
        do(set_to(device, current))
        do(triggered(monitors))
        return do(tune.horizontal.get_value())

    yield do, kept, plain, tune_at
    do(put(f"{prefix}FAULT:QSPAZR_hysteresis", 0.0))


def test_a_target_has_one_field_if_it_is_reached_from_one_side(iron):
    do, kept, plain, tune_at = iron
    do(standardised(kept))
    assert do(kept.cycle.get_value()) == "bottom"
    rising = tune_at(plain, 1.0)
    tune_at(plain, 2.0)
    falling = tune_at(plain, 1.0)
    # The width of the hysteresis, in units of what one ampere does.
    per_ampere = abs(tune_at(plain, 4.0) - tune_at(plain, 3.0))
    assert abs(falling - rising) > 0.5 * WIDTH * per_ampere
    do(standardised(kept))
    assert tune_at(kept, 1.0) == pytest.approx(rising, abs=1e-6 * abs(rising))
    tune_at(kept, 2.0)
    assert tune_at(kept, 1.0) == pytest.approx(rising, abs=1e-3 * abs(falling - rising))


async def standardised(device):
    await device.standardise()


def test_a_plan_cycles_magnets(iron, RE):
    do, kept, plain, _ = iron
    RE(standardise(kept))
    assert do(kept.cycle.get_value()) == "bottom"
    assert do(kept.setpoint.get_value()) == -4.0
    with pytest.raises(ValueError, match="converter has no cycle"):
        RE(standardise(plain))


def test_a_cycle_that_is_given_up_has_failed_and_stands(iron):
    do, kept, *_ = iron
    do(set_to(kept, 0.0))

    async def given_up():
        async with watch(kept.cycle, kept.readback) as seen:

            def ramps():
                return seen.value(kept.cycle) == "ramp up" and seen.value(kept.readback) > 0.5

            task = asyncio.ensure_future(kept.standardise())
            assert await seen.until(ramps, BOUND)
            task.cancel()
            await asyncio.wait({task})
            assert task.cancelled()

    do(given_up())
    assert do(kept.cycle.get_value()) == "failed"
    assert do(kept.setpoint.get_value()) < 4.0


def test_a_cycle_and_a_side_that_cannot_be_are_refused_before_anything_moves(iron):
    do, kept, plain, _ = iron
    before = do(kept.setpoint.get_value())
    with pytest.raises(ValueError, match="converter has no cycle; give it one"):
        do(standardised(plain))
    kept.hysteresis = Hysteresis(overshoot=0.8, top=9.0, bottom=-4.0)
    with pytest.raises(ValueError, match="kept cannot go to 9 A: its range is -5 to 5 A"):
        do(standardised(kept))
    with pytest.raises(ValueError, match=r"kept cannot be brought to -4.5 A from below: .*-5.3 A"):
        do(set_to(kept, -4.5))
    assert do(kept.setpoint.get_value()) == before
    assert do(kept.cycle.get_value()) == "unknown"


def test_a_cycle_whose_supply_is_stuck_has_failed(ring):
    prefix, do, *_ = ring
    kept = PowerConverter(
        f"{prefix}QSPAZR:",
        "kept",
        tolerance=Tolerance(absolute=0.01, timeout=1.0),
        hysteresis=Hysteresis(overshoot=0.5, top=4.0, bottom=-4.0),
    )
    do(kept.connect(timeout=BOUND))
    do(put(f"{prefix}FAULT:QSPAZR", "stuck"))
    try:
        with pytest.raises(MotionError, match="kept was set to 4 A and is not there in time"):
            do(standardised(kept))
    finally:
        do(put(f"{prefix}FAULT:QSPAZR", "none"))
    assert do(kept.cycle.get_value()) == "failed"


@pytest.mark.parametrize(
    ("options", "ends"),
    [
        ({"overshoot": 0.5, "cycles": 2}, ["top", "bottom", "top", "bottom"]),
        ({"overshoot": -0.5, "cycles": 1}, ["bottom", "top"]),
    ],
)
def test_a_cycle_ends_where_targets_are_reached_from(options, ends):
    assert Hysteresis(top=1.0, bottom=-1.0, **options).ends() == ends


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"overshoot": 0.0, "top": 1.0, "bottom": -1.0}, "comes from no side"),
        ({"overshoot": 1.0, "top": -1.0, "bottom": 1.0}, "give a bottom below the top"),
        ({"overshoot": 1.0, "top": 1.0, "bottom": 0.0, "cycles": 0}, "one cycle or more"),
    ],
)
def test_a_hysteresis_that_is_none_is_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        Hysteresis(**options)
