"""All families pass their tests when nothing is wrong; each kind of fault is found by a test."""

import os

import pytest
from ophyd_async.epics.motor import Motor as EpicsMotor

from glidepath.acceptance import Failed, Needs, Result
from glidepath.acceptance.suites.axes import moves
from glidepath.acceptance.trial import Trial
from glidepath.faults.acceptance_matrix import CASES, Matrix

pytestmark = pytest.mark.slow

FAMILIES = (
    "valve beam_shutter m1 hexapod aperture slits pinholes filters exit_slit lock undulator_lock "
    "steerer mux kicker delay engine top_up pattern tune feedback bpms bpm beam_size mesh ring"
).split()

TRIED = (
    *("valve: FAULT:V1 = late status", "valve: FAULT:V1 = switch fault"),
    *("valve: FAULT:V1 = goes back", "beam_shutter: FAULT:BS1 = stuck"),
    "beam_shutter: BS1:permit1 = 0",
    *("pinholes: FAULT:PIN1:PH_2 = late status", "pinholes: FAULT:PIN1:PH_2 = no status"),
    *("exit_slit: FAULT:ES1 = stops short", "slits: FAULT:SLIT1:Top = stuck"),
    *("hexapod: FAULT:HEX1 = stops short", "mux: FAULT:PMUXZR = stuck"),
    *("kicker: KIK1:stat1 = 0", "m1: FAULT:vacuum_clock_step = 5.0"),
    *("focus: FAULT:m1_stall = 1", "mesh: FAULT:KEI1_silent = 1"),
    "energy: FAULT:gap_lag = 3.0",
)
"""A part of the matrix: each kind of fault at one device."""


@pytest.fixture(scope="module")
def matrix(beamline, tmp_path_factory):
    for server in ("vacuum", "accelerator"):
        beamline.start_also(server)
    with Matrix(tmp_path_factory.mktemp("data"), beamline.prefix) as matrix:
        for device in (*FAMILIES, "energy", "focus"):
            matrix.bring_to_the_middle(device)
        yield matrix


@pytest.mark.parametrize("device", FAMILIES)
def test_a_family_without_a_fault_passes(matrix, device):
    outcomes = matrix.outcomes(device)
    assert [one for one in outcomes if one.result is Result.FAIL] == []
    assert any(one.result is Result.PASS for one in outcomes)


def test_every_family_of_the_simulation_is_tested(matrix):
    assert set(matrix.session.beamline.devices) - set(FAMILIES) == {
        *("energy", "energy_separate", "mono_motor", "pgm", "ue48", "focus", "sample"),
        *("photon_shutter", "converter"),
    }


@pytest.mark.parametrize("case", [case for case in CASES if str(case) in TRIED], ids=str)
def test_a_fault_is_found_by_the_test_that_is_for_it(matrix, case):
    found = matrix.find(case)
    assert found.after == ""
    assert found.title == case.expected, found.outcome


def test_a_motor_that_refuses_to_move_has_not_shown_that_it_stops(matrix):
    matrix.put("m1.SET", "Set")
    try:
        (stops,) = matrix.outcomes("focus", ["stops"])
    finally:
        matrix.put("m1.SET", "Use")
    assert stops.result is Result.FAIL
    assert "is in Set mode" in stops.sentence
    (stops,) = matrix.outcomes("focus", ["stops"])
    assert stops.result is Result.PASS


@pytest.mark.parametrize(
    ("field", "value", "well", "sentence"),
    [("SET", "Set", "Use", "is in Set mode"), ("SPMG", "Pause", "Go", "SPMG is Pause")],
)
def test_a_stock_motor_gets_no_target_in_a_mode_in_which_it_would_not_move(
    matrix, tmp_path, field, value, well, sentence
):
    # ophyd-async's own Motor sends it in every mode: the calibration changes, or it moves later.
    session = matrix.session
    stock = EpicsMotor(f"{os.environ['GLIDEPATH_PREFIX']}m1", name="stock")
    session.call(stock.connect)
    signals = (stock.user_setpoint, stock.offset, stock.user_readback)

    def shown():
        return [session.call(signal.get_value) for signal in signals]

    needs = Needs(safe=(-500.0, 500.0))
    trial = Trial(session, stock, "stock", "stock", needs, matrix.runner.asked, tmp_path)
    before = shown()
    matrix.put(f"m1.{field}", value)
    try:
        with pytest.raises(Failed, match=sentence):
            session.call(lambda: moves(trial))
        assert shown() == before
    finally:
        matrix.put(f"m1.{field}", well)
    assert shown() == before
    assert session.call(lambda: moves(trial))


def test_all_that_is_tried_is_in_the_matrix():
    assert set(TRIED) <= {str(case) for case in CASES}


def test_the_energy_flies_keeps_its_undulator_and_resolves_nitrogen(matrix):
    outcomes = {one.test: one for one in matrix.outcomes("energy")}
    assert [one for one in outcomes.values() if one.result is Result.FAIL] == []
    flown, lines = outcomes["flies"].figures, outcomes["resolves"].figures
    assert flown["velocity at 1.5 eV/s"].value == pytest.approx(1.5, rel=0.05)
    assert lines["resolving power"].value > 4000
    assert abs(lines["up minus down"].value) < 10.0
