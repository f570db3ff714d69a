"""Regions flown in one movement by a trajectory controller: the same rows as flown one by one."""

import time

import numpy as np
import pytest

from glidepath.plans import xas_flyscan
from glidepath.simulation import Truth
from glidepath.trajectory import KRegion, Region

K = KRegion(edge=395.0, k_start=1.3, k_stop=2.0, k_step=0.05, dwell=0.2)
REGIONS = [Region(398.0, 400.0, 3.0), Region(400.0, K.start, 1.0), K]
BOUND = 20.0


@pytest.fixture
def truth(simulated, beamline):
    """Return a function that returns the truth once it knows an instant; m3 sets the beam."""
    simulated.put("BEAM:axis", "m3")

    def until(when):
        deadline = time.monotonic() + BOUND
        while True:
            truth = Truth(beamline.settings.truth)
            if len(truth.time) and truth.time[-1] > when:
                return truth
            truth.close()
            assert time.monotonic() < deadline, "the truth file does not grow"
            time.sleep(0.05)

    yield until
    simulated.put("BEAM:axis", "PGM1")


def test_three_regions_in_one_movement_have_rows_at_their_true_energies(simulated, truth):
    s = simulated
    s.run_engine(xas_flyscan([s.mesh], s.mono_profile, REGIONS, period=0.1))
    run = s.run()
    table = run.primary
    assert run.stop["exit_status"] == "success"
    # One movement: from its run-up on it never turned back.
    raw = run.raw["mono_profile"]["value"]
    assert np.all(np.diff(raw[np.argmin(raw) :]) >= 0)
    half = table["sample_duration"] / 2
    with truth(table["sample_time"][-1] + 1.0) as known:
        true = known.mean_energy(table["sample_time"] - half, table["sample_time"] + half)
    for number, region in enumerate(REGIONS, start=1):
        mine = table["region_number"] == number
        rows = np.sum(mine)
        assert region.rows(0.1) - 2 <= rows <= region.rows(0.1) + 1
        np.testing.assert_allclose(table["sample_duration"][mine], region.period or 0.1, atol=1e-5)
        assert np.all(table["mono_profile_lower"][mine] >= region.start)
        assert np.all(table["mono_profile_upper"][mine] <= region.stop)
        # The position is read back ten times a second and goes straight in between.
        assert np.sqrt(np.mean((table["mono_profile"] - true)[mine] ** 2)) < 0.005
    steady = table["region_number"] == 2
    np.testing.assert_allclose(table["mono_profile"][steady], true[steady], atol=0.002)
