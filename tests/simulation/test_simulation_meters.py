"""The fast electrometer and the counter over Channel Access: what they saw is what was there."""

import time

import numpy as np
import pytest
from channel_client import truth_until, wait_until

TRANSFER = 0.0005


def array(client, name):
    return np.array(client._variable(name).read(timeout=15).data)


def test_a_current_is_the_true_mean_over_its_exposure(at_rest, simulated):
    at_rest.put("QE1:AveragingTime", 0.05)
    assert at_rest.get("QE1:NumAverage_RBV") == 1000
    with at_rest.recording("QE1:Current1:MeanValue_RBV") as updates:
        wait_until(lambda: len(updates) > 12)
    at_rest.put("QE1:AveragingTime", 0.1)
    with truth_until(simulated.settings.truth, updates[-1].timestamp) as truth:
        exposures = truth.exposures("QE1")
        for update in updates[2:]:
            index = np.argmin(np.abs(exposures["stop"] + TRANSFER - update.timestamp))
            assert exposures["stop"][index] + TRANSFER == pytest.approx(update.timestamp, abs=2e-4)
            assert update.value == pytest.approx(exposures["signal"][index], rel=2e-3)


def test_counts_are_the_true_rate_times_the_length_of_a_bin(at_rest, simulated):
    at_rest.put("CNT1:ChannelAdvance", "Internal")
    at_rest.put("CNT1:Dwell", 0.02)
    at_rest.put("CNT1:EraseStart", 1, wait=False)
    at_rest.wait_for("CNT1:HardwareAcquiring", lambda state: state == 1)
    at_rest.wait_for("CNT1:CurrentChannel", lambda bins: bins > 20)
    at_rest.put("CNT1:StopAll", 1)
    clock, mesh = array(at_rest, "CNT1:mca1"), array(at_rest, "CNT1:mca2.VAL")
    # A time of today has steps of a quarter of a microsecond: some 12 counts of 50 MHz.
    resolution = 50e6 * np.spacing(time.time())
    assert np.all(np.abs(clock - 0.02 * 50e6) <= 1 + resolution)
    begun = at_rest.read("CNT1:CurrentChannel").timestamp
    with truth_until(simulated.settings.truth, begun) as truth:
        exposures = truth.exposures("CNT1")
    expected = (exposures["signal"] * (exposures["stop"] - exposures["start"]))[-len(mesh) :]
    assert np.all(np.abs(mesh - expected) < 6 * np.sqrt(expected))
