"""The electrometers over Channel Access: exposures, settings, light, faults."""

import time

import numpy as np
import pytest
from channel_client import truth_until, wait_until

from glidepath.physics import absorption

OVER_RANGE = 9.9e37


def timestamps(updates, name):
    return np.array([update.timestamp for update in updates if update.name == name][1:])


@pytest.mark.parametrize("cycles", [1.0, 5.0])
def test_exposures_follow_each_other_without_a_gap(at_rest, simulated, cycles):
    names = ("KEI1:rdCur", "KEI2:rdCur")
    for name in ("KEI1", "KEI2"):
        at_rest.put(f"{name}:setIntegrTime", cycles)
        assert at_rest.get(f"{name}:rbkIntegrTime") == cycles
    with at_rest.recording(*names) as updates:
        wait_until(lambda: len(updates) > 60)
    for name in names:
        # The exposure that was open when the time was changed keeps its length.
        when = timestamps(updates, name)[2:]
        assert np.diff(when) == pytest.approx(cycles / 50, abs=1e-5)
    with truth_until(simulated.settings.truth, updates[-1].timestamp) as truth:
        exposures = truth.exposures("KEI1")
        ends = timestamps(updates, "KEI1:rdCur")
        distances = np.abs(exposures["stop"] - ends[:, np.newaxis]).min(axis=1)
        assert np.mean(distances < 1e-4) > 0.98
        assert np.all(exposures["start"][1:] >= exposures["stop"][:-1] - 1e-9)


def test_reading_is_the_true_mean_current_within_its_noise(at_rest, simulated):
    with at_rest.recording("KEI1:rdCur") as updates:
        wait_until(lambda: len(updates) > 12)
    with truth_until(simulated.settings.truth, updates[-1].timestamp) as truth:
        exposures = truth.exposures("KEI1")
        for update in updates[1:]:
            index = np.argmin(np.abs(exposures["stop"] - update.timestamp))
            assert update.value == pytest.approx(exposures["signal"][index], rel=2e-3)


def test_gas_cell_absorbs_at_the_nitrogen_line(at_rest):
    def absorbed():
        wait_until(lambda: at_rest.get("UE48:BaseStatISLbl") == 0)
        now = time.time()
        currents = []
        for name in ("KEI1:rdCur", "KEI2:rdCur"):
            wait_until(lambda name=name: at_rest.read(name).timestamp > now + 0.2)
            currents.append(at_rest.get(name))
        return currents[1] / currents[0]

    ratios = []
    for energy in (400.88, 400.0):
        at_rest.put("PGM1:monoSetEnergy", energy)
        at_rest.wait_for("PGM1:IStatus", lambda status: status == 0)
        at_rest.wait_for("UE48:BasePmEnergy", lambda at, e=energy: at == pytest.approx(e, abs=0.05))
        ratios.append(absorbed())
    # 0.8 is the yield of the cell; a tenth of the light is background and other lines.
    assert ratios[0] == pytest.approx(0.8 * float(absorption(400.88, 0.049)), rel=0.1)
    assert ratios[1] < 0.1 * ratios[0]


def test_mean_energy_of_an_exposure_is_that_of_the_trajectory(at_rest, simulated):
    begun = time.time()
    at_rest.put("PGM1:monoSetEnergy", 415.0)
    at_rest.wait_for("PGM1:IStatus", lambda status: status == 0)
    with truth_until(simulated.settings.truth, time.time() + 0.3) as truth:
        exposures = truth.exposures("KEI2")
        inside = (exposures["start"] > begun) & (exposures["stop"] < truth.time[-1])
        expected = truth.mean_energy(exposures["start"][inside], exposures["stop"][inside])
        assert np.ptp(expected) > 10
        assert exposures["mean_energy"][inside] == pytest.approx(expected, abs=1e-3)


def test_over_range_reads_as_such_with_an_alarm(at_rest):
    at_rest.put("KEI1:setRangeCur", 1e-10)
    at_rest.wait_for("KEI1:rdCur", lambda current: current == OVER_RANGE)
    assert at_rest.read("KEI1:rdCur").severity == 2
    at_rest.put("KEI1:setRangeCur", 2e-8)
    at_rest.wait_for("KEI1:rdCur", lambda current: current < 1)
    assert at_rest.read("KEI1:rdCur").severity == 0


def test_moving_average_smears_a_change(at_rest):
    at_rest.put("KEI1:setIntegrTime", 1.0)
    at_rest.put("KEI1:setFiltAverCnt", 20)
    at_rest.put("BEAM:axis", "m3")
    with at_rest.recording("KEI1:rdCur") as updates:
        at_rest.put("FAULT:beam_loss", 1)
        lost = time.time()
        wait_until(lambda: updates[-1].timestamp > lost + 0.6)
    at_rest.put("FAULT:beam_loss", 0)
    at_rest.put("KEI1:setFiltAverCnt", 1)
    at_rest.put("BEAM:axis", "PGM1")
    values = np.array([u.value for u in updates if lost < u.timestamp < lost + 0.38])
    assert np.sum((values > 0.05 * updates[0].value) & (values < 0.95 * updates[0].value)) > 10
    assert updates[-1].value < 0.01 * updates[0].value


def test_cancel_ends_the_readings_and_a_single_one_can_be_asked_for(at_rest):
    at_rest.put("KEI2:cmdCancel", 1)
    with at_rest.recording("KEI1:rdCur", "KEI2:rdCur") as updates:
        wait_until(lambda: sum(update.name == "KEI1:rdCur" for update in updates) > 6)
        silent = sum(update.name == "KEI2:rdCur" for update in updates)
        assert silent <= 2
        at_rest.put("KEI2:rdCur.PROC", 1)
        wait_until(lambda: sum(update.name == "KEI2:rdCur" for update in updates) == silent + 1)
        at_rest.put("KEI2:cmdStart", 1)
        wait_until(lambda: sum(update.name == "KEI2:rdCur" for update in updates) > silent + 4)


def test_fault_silent_electrometer_posts_nothing_but_exposes(at_rest):
    at_rest.put("FAULT:KEI2_silent", 1)
    with at_rest.recording("KEI1:rdCur", "KEI2:rdCur") as updates:
        wait_until(lambda: sum(update.name == "KEI1:rdCur" for update in updates) > 8)
    at_rest.put("FAULT:KEI2_silent", 0)
    assert sum(update.name == "KEI2:rdCur" for update in updates) <= 2


def test_detuned_undulator_costs_light(at_rest):
    tuned = at_rest.get("KEI1:rdCur")
    at_rest.put("UE48:BaseCmdLswitch", "panel")
    at_rest.put("UE48:BaseParGapsel.B", 34.4)
    at_rest.put("UE48:BaseCmdCalc.PROC", 1)
    at_rest.wait_for("KEI1:rdCur", lambda current: current < 0.6 * tuned)
