"""The undulator over Channel Access: following, panel control, linear sweeps."""

import numpy as np
import pytest
from channel_client import connected, truth_until, wait_until

from glidepath.physics import UE48
from glidepath.simulation import SimulatedBeamline
from glidepath.simulation.laws import LAWS, TRUE_UNDULATOR
from glidepath.simulation.monochromator import SweepState


def sweep(client, first, last, velocity, method):
    """Do a whole sweep and return the instants at which it passed its ends."""
    client.put("PGM1:SetSweepGapMeth", method)
    client.put("PGM1:SetSweepStart", first)
    client.put("PGM1:SetSweepEnd", last)
    client.put("PGM1:SetSweepVel", velocity)
    client.put("PGM1:MonoAktion.PROC", 20)
    client.wait_for("PGM1:GetSweepState", lambda state: state == SweepState.TO_RAMP_START)
    client.wait_for("PGM1:GetSweepState", lambda state: state == SweepState.READY)
    with client.recording("PGM1:GetSweepState") as updates:
        client.put("PGM1:MonoAktion.PROC", 21)
        client.wait_for("PGM1:GetSweepState", lambda state: state == SweepState.FINISHED)
    when = {update.value: update.timestamp for update in updates}
    return when[SweepState.IN_RANGE], when[SweepState.PASSED]


def test_gap_follows_the_monochromator_and_settles(at_rest):
    at_rest.put("PGM1:monoSetEnergy", 410.0)
    at_rest.wait_for("UE48:BaseStatISLbl", lambda label: label == 1)
    at_rest.wait_for("UE48:BasePmEnergy", lambda energy: energy == pytest.approx(410.0, abs=0.01))
    at_rest.wait_for("UE48:BaseStatISLbl", lambda label: label == 0)
    assert at_rest.get("UE48:BaseIPmGap.A") == pytest.approx(float(UE48.gap(410.0)), abs=1e-3)


def test_gap_lags_a_sweep_by_a_tenth_of_a_second(at_rest, simulated):
    velocity = 2.0
    entered, passed = sweep(at_rest, 398.0, 403.0, velocity, "quadr.")
    with truth_until(simulated.settings.truth, passed) as truth:
        inside = np.linspace(entered + 1.0, passed, 200)
        table = truth.energy(inside) - (
            np.interp(inside, truth.time, truth.undulator_energy) - 0.12
        )
        assert np.mean(table) / velocity == pytest.approx(0.11, abs=0.04)


def test_linear_method_moves_the_gap_evenly_between_the_ends(at_rest, simulated):
    entered, passed = sweep(at_rest, 396.0, 406.0, 5.0, "linear")
    with truth_until(simulated.settings.truth, passed) as truth:
        first, last = UE48.gap(396.0), UE48.gap(406.0)
        inside = np.linspace(entered, passed, 100)
        line = first + (last - first) * (inside - entered) / (passed - entered)
        assert np.interp(inside, truth.time, truth.gap) == pytest.approx(line, abs=1e-5)
    at_rest.wait_for(
        "UE48:BasePmEnergy", lambda energy: abs(energy - at_rest_energy(at_rest)) < 0.1
    )


def at_rest_energy(client):
    return client.get("PGM1:monoGetEnergy")


def test_gap_stays_when_the_monochromator_lets_go(at_rest):
    gap = at_rest.get("UE48:BaseIPmGap.A")
    at_rest.put("PGM1:SetIdOn", 0)
    at_rest.put("PGM1:monoSetEnergy", 410.0)
    at_rest.wait_for("PGM1:IStatus", lambda status: status == 0)
    assert at_rest.get("UE48:BaseIPmGap.A") == pytest.approx(gap, abs=1e-3)


def test_panel_moves_the_gap_and_the_status_tells(at_rest):
    at_rest.wait_for("UE48:BaseStatISLbl", lambda label: label == 0)
    at_rest.put("UE48:BaseCmdCalc.PROC", 1)
    assert at_rest.text("UE48:BaseStatISLbl") == "STOP"
    at_rest.put("UE48:BaseCmdLswitch", "panel")
    at_rest.put("UE48:BaseParGapsel.B", 35.0)
    at_rest.put("UE48:BaseCmdMcmd", "START")
    at_rest.put("UE48:BaseCmdCalc.PROC", 1)
    assert at_rest.text("UE48:BaseStatISLbl") == "MOVE"
    at_rest.wait_for("UE48:BaseStatISLbl", lambda label: label == 0)
    at_rest.wait_for("UE48:BaseIPmGap.A", lambda gap: gap == pytest.approx(35.0, abs=5e-4))


def moved(client, name, seconds):
    """Return times (s) and values of a readback while that much of its time passes."""
    with client.recording(name) as updates:
        begin = updates[0].timestamp
        wait_until(lambda: updates[-1].timestamp > begin + seconds)
    return np.array([(u.timestamp, u.value) for u in updates]).T


def test_a_gap_in_motion_takes_a_new_velocity_and_a_new_target_without_a_stop(at_rest, simulated):
    at_rest.put("UE48:BaseCmdLswitch", "panel")
    at_rest.put("UE48:BaseParGapsel.B", 60.0)
    at_rest.put("UE48:DiagPhyVelSet", 0.5)
    try:
        at_rest.put("UE48:BaseCmdCalc.PROC", 1)
        at_rest.wait_for("UE48:BaseIPmGap.A", lambda gap: gap > 34.6)
        begin = at_rest.read("UE48:BaseIPmGap.A").timestamp
        at_rest.put("UE48:DiagPhyVelSet", 0.2)
        at_rest.put("UE48:BaseParGapsel.B", 35.2)
        # Setting them moves nothing; the command does.
        at_rest.put("UE48:BaseCmdCalc.PROC", 1)
        at_rest.wait_for("UE48:BaseStatISLbl", lambda label: label == 0)
        end = at_rest.read("UE48:BaseIPmGap.A")
        at_rest.wait_for("UE48:BaseIPmGap.A", lambda gap: gap == pytest.approx(35.2, abs=5e-4))
    finally:
        at_rest.put("UE48:DiagPhyVelSet", 1.0)
    with truth_until(simulated.settings.truth, end.timestamp - 0.3) as truth:
        inside = (truth.time > begin) & (truth.time < end.timestamp - 0.5)
        velocity = np.gradient(truth.gap[inside], truth.time[inside])
        # Within the acceleration of 4 mm/s^2 it goes over from one velocity to the other.
        assert np.max(velocity) == pytest.approx(0.5, abs=0.01)
        assert np.median(velocity[-100:]) == pytest.approx(0.2, abs=0.01)
        assert np.min(velocity) > 0.19


def test_commands_of_the_panel_come_late_on_demand(at_rest):
    at_rest.put("UE48:BaseCmdLswitch", "panel")
    at_rest.put("FAULT:gap_lag", 1.0)
    try:
        at_rest.put("UE48:BaseParGapsel.B", 36.0)
        before = at_rest.read("UE48:BaseIPmGap.A")
        at_rest.put("UE48:BaseCmdCalc.PROC", 1)
        times, gaps = moved(at_rest, "UE48:BaseIPmGap.A", 1.5)
    finally:
        at_rest.put("FAULT:gap_lag", 0.05)
    began = times[np.flatnonzero(gaps > before.value + 0.005)[0]]
    assert began - before.timestamp > 0.9
    at_rest.wait_for("UE48:BaseStatISLbl", lambda label: label == 0)


def test_a_gap_that_has_stalled_obeys_only_the_user_stop(at_rest):
    at_rest.put("UE48:BaseCmdLswitch", "panel")
    at_rest.put("UE48:BaseParGapsel.B", 60.0)
    at_rest.put("UE48:BaseCmdCalc.PROC", 1)
    at_rest.wait_for("UE48:BaseIPmGap.A", lambda gap: gap > 34.6)
    at_rest.put("FAULT:gap_stall", 1)
    try:
        at_rest.wait_for("UE48:BaseIPmGap.A", lambda gap: gap > 34.6)
        at_rest.put("UE48:BaseCmdCalc.PROC", 1)
        _, gaps = moved(at_rest, "UE48:BaseIPmGap.A", 0.6)
        assert np.ptp(gaps[3:]) < 1e-3
        assert at_rest.text("UE48:BaseStatISLbl") == "MOVE"
        at_rest.put("UE48:BaseCmnUsrStop", 1)
        at_rest.wait_for("UE48:BaseStatISLbl", lambda label: label == 0)
    finally:
        at_rest.put("FAULT:gap_stall", 0)
        at_rest.put("UE48:BaseCmnUsrStop", 0)


def test_user_stop_stops_the_gap(at_rest):
    at_rest.put("UE48:BaseCmdLswitch", "panel")
    at_rest.put("UE48:BaseParGapsel.B", 60.0)
    at_rest.put("UE48:BaseCmdCalc.PROC", 1)
    at_rest.wait_for("UE48:BaseIPmGap.A", lambda gap: gap > 34.3)
    at_rest.put("UE48:BaseCmnUsrStop", 1)
    at_rest.wait_for("UE48:BaseStatISLbl", lambda label: label == 0)
    assert at_rest.get("UE48:BaseIPmGap.A") < 40.0
    at_rest.put("UE48:BaseCmnUsrStop", 0)


def test_shift_moves_by_itself(at_rest):
    at_rest.put("UE48:SBaseParGapsel.B", 0.5)
    at_rest.put("UE48:SBaseCmdCalc.PROC", 1)
    assert at_rest.text("UE48:SBaseStatISLbl") == "MOVE"
    at_rest.wait_for("UE48:SBaseStatISLbl", lambda label: label == 0)
    at_rest.wait_for("UE48:SBaseIPmGap.E", lambda shift: shift == pytest.approx(0.5))
    at_rest.put("UE48:SBaseParGapsel.B", 0.0)
    at_rest.put("UE48:SBaseCmdCalc.PROC", 1)
    at_rest.wait_for("UE48:SBaseIPmGap.E", lambda shift: shift == pytest.approx(0.0))


def test_the_shift_changes_the_energy_of_the_harmonic(at_rest, simulated):
    at_rest.put("UE48:SBaseParGapsel.B", 2.0)
    at_rest.put("UE48:SBaseCmdCalc.PROC", 1)
    at_rest.wait_for("UE48:SBaseIPmGap.E", lambda shift: shift == pytest.approx(2.0))
    try:
        at_rest.wait_for("UE48:SBaseStatISLbl", lambda label: label == 0)
        now = at_rest.read("UE48:BaseIPmGap.A").timestamp
        with truth_until(simulated.settings.truth, now) as truth:
            assert truth.undulator_energy[-1] == pytest.approx(
                float(TRUE_UNDULATOR.energy(truth.gap[-1], 1, 2.0)), abs=1e-3
            )
    finally:
        at_rest.put("UE48:SBaseParGapsel.B", 0.0)
        at_rest.put("UE48:SBaseCmdCalc.PROC", 1)
        at_rest.wait_for("UE48:SBaseIPmGap.E", lambda shift: shift == pytest.approx(0.0))


def test_the_beamline_can_have_another_undulator():
    with SimulatedBeamline("U:", undulator="UE56") as beamline, connected(beamline) as client:
        gap = client.get("UE56:BaseIPmGap.A")
        assert gap == pytest.approx(float(LAWS["UE56"].gap(400.0)), abs=1e-3)


def test_an_undulator_that_there_is_not_is_refused_in_one_sentence():
    with pytest.raises(ValueError, match="no undulator 'UE1' to simulate; choose one of UE46, UE4"):
        SimulatedBeamline(undulator="UE1")


def test_true_harmonic_has_an_offset_that_the_table_does_not_know(at_rest, simulated):
    at_rest.wait_for("UE48:BasePmEnergy", lambda energy: abs(energy - 400.0) < 0.01)
    now = at_rest.read("UE48:BaseIPmGap.A").timestamp
    with truth_until(simulated.settings.truth, now) as truth:
        assert truth.undulator_energy[-1] == pytest.approx(
            float(TRUE_UNDULATOR.energy(truth.gap[-1])), abs=1e-9
        )
        assert truth.undulator_energy[-1] - 400.0 == pytest.approx(0.12, abs=0.01)


def test_third_harmonic_closes_the_gap(at_rest):
    tuned = at_rest.get("UE48:BaseIPmGap.A")
    at_rest.put("PGM1:Harmonic", 3)
    assert at_rest.get("PGM1:GetIdHarmonic") == 3
    at_rest.wait_for("UE48:BaseIPmGap.A", lambda gap: gap < tuned - 1.0)
    at_rest.put("PGM1:Harmonic", 1)
    at_rest.wait_for("UE48:BaseIPmGap.A", lambda gap: gap == pytest.approx(tuned, abs=0.01))
