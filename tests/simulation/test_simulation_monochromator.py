"""The plane grating monochromator over Channel Access: moves, sweeps, optics, faults."""

import time

import numpy as np
import pytest
from channel_client import truth_until, wait_until

from glidepath.simulation.monochromator import SweepState

READBACK = "PGM1:monoGetEnergy"


def start_sweep(client, first, last, velocity):
    """Initialise a sweep, wait until it is ready, and start it."""
    client.put("PGM1:SetSweepStart", first)
    client.put("PGM1:SetSweepEnd", last)
    client.put("PGM1:SetSweepVel", velocity)
    client.put("PGM1:MonoAktion.PROC", 20)
    client.wait_for("PGM1:GetSweepState", lambda state: state == SweepState.TO_RAMP_START)
    client.wait_for("PGM1:GetSweepState", lambda state: state == SweepState.READY)
    client.put("PGM1:MonoAktion.PROC", 21)


def samples(updates, name):
    """Timestamps and values of one variable, without the first (present) value."""
    chosen = [update for update in updates if update.name == name][1:]
    return (
        np.array([update.timestamp for update in chosen]),
        np.array([update.value for update in chosen]),
    )


def test_readback_is_the_true_energy_at_its_timestamp(at_rest, simulated):
    with at_rest.recording(READBACK) as updates:
        at_rest.put("PGM1:monoSetEnergy", 420.0)
        assert at_rest.get("PGM1:IStatus") == 1
        at_rest.wait_for("PGM1:IStatus", lambda status: status == 0)
        at_rest.wait_for(READBACK, lambda energy: energy == pytest.approx(420.0))
    when, energy = samples(updates, READBACK)
    with truth_until(simulated.settings.truth, when[-1]) as truth:
        assert energy == pytest.approx(truth.energy(when), abs=2e-5)
        assert np.ptp(energy) > 15
        assert np.diff(when) == pytest.approx(0.1, abs=1e-5)


def test_energy_out_of_range_is_not_taken(at_rest):
    at_rest.put("PGM1:monoSetEnergy", 5000.0)
    assert at_rest.get("PGM1:monoSetEnergy") == 400.0
    assert at_rest.get("PGM1:IStatus") == 0


@pytest.mark.parametrize(("first", "last"), [(399.0, 401.0), (401.0, 399.0)])
def test_sweep_is_linear_and_passes_its_states_in_order(at_rest, simulated, first, last):
    with at_rest.recording("PGM1:GetSweepState") as updates:
        start_sweep(at_rest, first, last, 2.0)
        at_rest.wait_for("PGM1:GetSweepState", lambda state: state == SweepState.FINISHED)
        wait_until(lambda: updates[-1].value == SweepState.FINISHED)
    when = {update.value: update.timestamp for update in updates[1:]}
    assert [update.value for update in updates[1:]] == [2, 4, 0x20, 0x40, 0x80, 0xFF]
    entered, passed = when[SweepState.IN_RANGE], when[SweepState.PASSED]
    assert passed - entered == pytest.approx(1.0, abs=1e-4)
    with truth_until(simulated.settings.truth, passed) as truth:
        inside = np.linspace(entered, passed, 100)
        line = first + (last - first) * (inside - entered) / (passed - entered)
        assert truth.energy(inside) == pytest.approx(line, abs=0.0025)
        assert np.std(truth.energy(inside) - line) > 2e-4
        assert at_rest.get("PGM1:IStatus") == 0


def test_state_of_the_sweep_before_stays_until_the_next_one_begins(at_rest):
    start_sweep(at_rest, 399.5, 400.5, 5.0)
    at_rest.wait_for("PGM1:GetSweepState", lambda state: state == SweepState.FINISHED)
    with at_rest.recording("PGM1:GetSweepState") as updates:
        asked = time.time()
        at_rest.put("PGM1:MonoAktion.PROC", 20)
        assert at_rest.get("PGM1:GetSweepState") == SweepState.FINISHED
        at_rest.wait_for("PGM1:GetSweepState", lambda state: state == SweepState.READY)
        wait_until(lambda: len(updates) >= 3)
    assert updates[1].timestamp - asked > 0.05


def test_sweep_velocity_above_the_limit_keeps_the_old_one(at_rest):
    at_rest.put("PGM1:SetSweepVel", 3.0)
    at_rest.put("PGM1:SetSweepVel", 11.0)
    assert at_rest.get("PGM1:SetSweepVel") == 3.0


def test_sweep_beyond_the_limits_ends_in_the_error_state(at_rest):
    start_sweep(at_rest, 399.5, 400.5, 5.0)
    at_rest.wait_for("PGM1:GetSweepState", lambda state: state == SweepState.FINISHED)
    at_rest.put("PGM1:SetSweepStart", 60.0)
    at_rest.put("PGM1:SetSweepEnd", 400.0)
    with at_rest.recording("PGM1:GetSweepState", "PGM1:IStatus") as updates:
        at_rest.put("PGM1:MonoAktion.PROC", 20)
        wait_until(lambda: len(updates) >= 3)
    assert updates[-1].value == SweepState.FINISHED
    assert at_rest.get("PGM1:IStatus") == 0


def test_run_without_a_ready_sweep_does_nothing(at_rest):
    at_rest.put("PGM1:MonoAktion.PROC", 21)
    assert at_rest.get("PGM1:IStatus") == 0


def test_stop_ends_a_sweep_smoothly(at_rest, simulated):
    start_sweep(at_rest, 398.0, 408.0, 2.0)
    at_rest.wait_for("PGM1:GetSweepState", lambda state: state == SweepState.IN_RANGE)
    at_rest.put("PGM1:MonoAktion.PROC", 0)
    stopped = time.time()
    at_rest.wait_for("PGM1:IStatus", lambda status: status == 0)
    with truth_until(simulated.settings.truth, stopped + 1.0) as truth:
        after = truth.energy(stopped + np.linspace(0.2, 1.0, 20))
        assert np.ptp(after) == 0
        speeds = np.diff(truth.energy(stopped + np.linspace(-0.2, 0.3, 501))) / 0.001
        assert np.max(np.abs(np.diff(speeds))) < 0.1


def test_angles_obey_the_grating_equation(at_rest):
    from glidepath.physics import grating_energy

    at_rest.wait_for("PGM1:mirrorDone", lambda done: done == 1)
    alpha, beta = (np.radians(at_rest.get(f"PGM1:{name}")) for name in ("Alpha", "Beta"))
    lines = at_rest.get("PGM1:lineDensity")
    assert float(grating_energy(alpha, beta, lines)) == pytest.approx(400.0, abs=1e-3)
    assert np.cos(beta) / np.cos(alpha) == pytest.approx(at_rest.get("PGM1:cff"), abs=1e-4)


def test_change_of_cff_takes_time_and_keeps_the_energy(at_rest):
    at_rest.put("PGM1:SetCff", 2.5)
    assert at_rest.get("PGM1:mirrorDone") == 0
    at_rest.wait_for("PGM1:mirrorDone", lambda done: done == 1)
    at_rest.wait_for("PGM1:cff", lambda cff: cff == pytest.approx(2.5))
    assert at_rest.get(READBACK) == pytest.approx(400.0, abs=1e-3)
    at_rest.put("PGM1:SetCff", 2.25)
    at_rest.wait_for("PGM1:mirrorDone", lambda done: done == 1)


def test_turning_the_mirror_changes_the_energy(at_rest):
    theta = at_rest.get("PGM1:Theta")
    at_rest.put("PGM1:SetTheta", theta - 0.05)
    at_rest.wait_for("PGM1:IStatus", lambda status: status == 0)
    at_rest.wait_for("PGM1:mirrorDone", lambda done: done == 1)
    at_rest.wait_for("PGM1:Theta", lambda value: value == pytest.approx(theta - 0.05, abs=1e-4))
    assert abs(at_rest.get(READBACK) - 400.0) > 1.0
    at_rest.put("PGM1:SetCff", 2.25)
    at_rest.wait_for("PGM1:mirrorDone", lambda done: done == 1)


def test_grating_exchange_sets_its_status_bit(at_rest):
    at_rest.put("PGM1:SetGratingNo", 2)
    assert at_rest.get("PGM1:gratingDone") == 0
    at_rest.wait_for("PGM1:lineDensity", lambda lines: lines == 1200.0)
    at_rest.wait_for("PGM1:gratingDone", lambda done: done == 1)
    at_rest.put("PGM1:SetGratingNo", 1)
    at_rest.wait_for("PGM1:lineDensity", lambda lines: lines == 600.0)


def test_exit_slit_moves(at_rest):
    at_rest.put("PGM1:SlitInput", 50.0)
    assert at_rest.get("PGM1:ES_STATUS") == 1
    at_rest.wait_for("PGM1:ES_STATUS", lambda status: status == 0)
    assert at_rest.get("PGM1:slitwidth") == pytest.approx(50.0)
    at_rest.put("PGM1:SlitInput", 25.0)
    at_rest.wait_for("PGM1:slitwidth", lambda width: width == 25.0)


def test_fault_sweep_is_never_ready(at_rest):
    at_rest.put("FAULT:sweep_init_never_ready", 1)
    at_rest.put("PGM1:SetSweepStart", 399.5)
    at_rest.put("PGM1:SetSweepEnd", 400.5)
    at_rest.put("PGM1:MonoAktion.PROC", 20)
    at_rest.wait_for("PGM1:GetSweepState", lambda state: state == SweepState.TO_RAMP_START)
    at_rest.wait_for("PGM1:IStatus", lambda status: status == 0)
    with at_rest.recording(READBACK) as updates:
        wait_until(lambda: len(updates) > 8)
    assert at_rest.get("PGM1:GetSweepState") == SweepState.TO_RAMP_START
    at_rest.put("FAULT:sweep_init_never_ready", 0)
    at_rest.wait_for("PGM1:GetSweepState", lambda state: state == SweepState.READY)


def test_fault_sweep_stalls_and_stop_still_works(at_rest):
    start_sweep(at_rest, 398.0, 408.0, 2.0)
    at_rest.wait_for("PGM1:GetSweepState", lambda state: state == SweepState.IN_RANGE)
    at_rest.put("FAULT:sweep_stall", 1)
    with at_rest.recording(READBACK) as updates:
        wait_until(lambda: len(updates) > 12)
    _, energy = samples(updates, READBACK)
    assert np.ptp(energy[-5:]) == 0
    assert at_rest.get("PGM1:GetSweepState") == SweepState.IN_RANGE
    assert at_rest.get("PGM1:IStatus") == 1
    at_rest.put("PGM1:MonoAktion.PROC", 0)
    at_rest.wait_for("PGM1:IStatus", lambda status: status == 0)


def test_fault_frozen_readback_posts_nothing(at_rest):
    at_rest.put("FAULT:readback_frozen", 1)
    with at_rest.recording(READBACK, "UE48:BaseIPmGap.A") as updates:
        wait_until(lambda: len(updates) > 8)
    assert sum(update.name == READBACK for update in updates) <= 2


@pytest.mark.parametrize(
    ("setpoint", "readback", "status", "done", "target"),
    [
        ("SGM1:monoSetEnergy", "SGM1:monoGetEnergy", "SGM1:IStatus", 0, 260.0),
        ("DCM1:monoSetEnergy", "DCM1:monoGetEnergy", "DCM1:GK_STATUS", 0, 2510.0),
        ("DCM_ENERGY_SP", "DCM_ENERGY_MON.M", "DCM_ERDY_STS", 1, 7010.0),
    ],
)
def test_other_monochromators_move(at_rest, setpoint, readback, status, done, target):
    at_rest.put(setpoint, target)
    assert at_rest.get(status) == 1 - done
    at_rest.wait_for(status, lambda value: value == done)
    at_rest.wait_for(readback, lambda energy: energy == pytest.approx(target))


def test_crystal_angle_selects_the_energy(at_rest):
    spacing = at_rest.get("DCM1:d_hkl")
    at_rest.put("DCM1:SetTheta", float(np.degrees(np.arcsin(1239.841984 / (2 * spacing * 2520)))))
    at_rest.wait_for("DCM1:monoGetEnergy", lambda energy: energy == pytest.approx(2520.0, abs=0.01))
