"""Detectors that are none of ours in triggered scans: the rows are right, the images are theirs."""

import numpy as np
import pytest
from ophyd_async.epics.adcore import ADWriterFactory
from ophyd_async.epics.adsimdetector import SimDetector
from ophyd_async.epics.advimba import VimbaDetector
from test_triggered import images_of, true_exposures

from glidepath.detectors import RunPaths, triggered
from glidepath.flyers.triggers.request import Triggers
from glidepath.plans import flyscan, inspect
from glidepath.trajectory import Region, Trajectory

pytestmark = pytest.mark.slow

LATENCY = 0.001
"""Seconds from the end of an exposure of the simulated camera to the timestamp of its frame."""


@pytest.fixture
def stock(simulated):
    """Return a function that makes a connected stock detector."""

    def make(kind):
        async def connected():
            device = kind(f"{simulated.prefix}CAM1:", ADWriterFactory.hdf(RunPaths()), name="stock")
            await device.connect(timeout=10)
            return device

        return simulated.call(connected())

    return make


def test_it_follows_the_triggers_of_a_box(simulated, beamline, stock):
    s, device = simulated, stock(VimbaDetector)
    s.run_engine(
        flyscan(
            [triggered(device, latency=LATENCY)],
            s.energy,
            400.0,
            402.0,
            2.0,
            triggers=Triggers(s.zebra, step=0.05),
        )
    )
    run = s.run()
    assert run.stop["exit_status"] == "success", run.stop
    table = run.primary
    assert len(table["energy"]) in (39, 40)
    assert table["stock_frame"].tolist() == list(range(len(table["energy"])))
    images = images_of(s, "stock")
    assert images.shape == (len(table["energy"]), 96, 128)
    exposures = true_exposures(beamline, table["sample_time"][-1])
    begin = table["sample_time"] - table["sample_duration"] / 2
    nearest = np.abs(exposures["start"][:, None] - begin).argmin(axis=0)
    error = table["energy"] - exposures["mean_energy"][nearest]
    assert np.sqrt(np.mean(error**2)) < 0.001
    # The image of a row is that of its exposure.
    light = exposures["signal"][nearest]
    assert images.sum(axis=(1, 2)) == pytest.approx(light, rel=0.05)


def test_it_goes_by_its_own_clock(simulated, beamline, stock):
    s, device = simulated, stock(SimDetector)
    s.run_engine(
        flyscan([device], s.energy, 400.0, 402.0, 2.0, triggers=Triggers(device, period=0.05))
    )
    run = s.run()
    assert run.stop["exit_status"] == "success", run.stop
    table = run.primary
    assert 17 <= len(table["energy"]) <= 20
    exposures = true_exposures(beamline, table["sample_time"][-1])
    begin = table["sample_time"] - table["sample_duration"] / 2 - LATENCY
    nearest = np.abs(exposures["start"][:, None] - begin).argmin(axis=0)
    assert len(np.unique(nearest)) == len(nearest)
    # Nobody has said that its stamps are 1 ms late: that is 2 meV.
    error = table["energy"] - exposures["mean_energy"][nearest] - LATENCY * 2.0
    assert np.sqrt(np.mean(error**2)) < 0.001


def test_inspect_reports_on_it(simulated, stock):
    s, device = simulated, stock(VimbaDetector)
    trajectory = Trajectory([Region(400.0, 402.0, 2.0)])
    report = s.call(inspect([device], s.energy, trajectory, triggers=Triggers(s.zebra, step=0.05)))
    assert report.rows in (39, 40)
    assert [timing.name for timing in report.detectors] == ["stock"]


def test_the_verdict_says_that_frames_could_only_be_counted(simulated, stock):
    s, device = simulated, stock(VimbaDetector)
    s.put("CAM1:HDF1:StoreAttr", "No")
    try:
        s.run_engine(
            flyscan([device], s.energy, 400.0, 401.0, 1.0, triggers=Triggers(s.zebra, step=0.2))
        )
    finally:
        s.put("CAM1:HDF1:StoreAttr", "Yes")
    remarks = s.run().verdict["verdict"]
    assert remarks.count("they can only be counted") == 1
