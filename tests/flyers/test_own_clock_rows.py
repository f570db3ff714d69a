"""Which exposures of a detector by its own clock are rows of a flight."""

import numpy as np
import pytest

from glidepath.detectors import TriggerMode
from glidepath.flyers import LegPlan
from glidepath.flyers.sampling.row_block import RowBlock
from glidepath.flyers.sampling.triggered_rows import TriggeredRows
from glidepath.timeline import Aligner, Channel, ChannelKind
from glidepath.trajectory import Leg, Region

# The axis waits above the range, goes down through it to the run-up, stands, flies up through
# it, turns, and comes down again.
TIMES = [0.0, 1.0, 3.0, 5.0, 19.0, 21.0]
POSITIONS = [412.0, 412.0, 398.0, 398.0, 412.0, 400.0]
ARMED, ZERO = 5.0, 1.7e9
PERIOD, EXPOSURE = 0.1, 0.05


class Watching:
    """Has frames at equal intervals, from long before the flight."""

    mode = TriggerMode.INTERNAL
    latches = (np.empty(0), np.empty(0))
    needed_from = np.inf

    def __init__(self):
        self.columns, self.images = {}, {}
        begins = ZERO + np.arange(0.0, 20.9, PERIOD)
        unknown = np.full(len(begins), np.nan)
        bits = np.zeros(len(begins), np.uint16)
        self.block = RowBlock(begins, begins + EXPOSURE, unknown, unknown, {}, bits)

    async def arm_detectors(self, plan, folder):
        """Nothing has to be done."""

    async def arm_source(self):
        """Nothing has to be done."""

    async def end_flight(self):
        """Nothing is on its way."""

    def rows(self, *, finish=False):
        block, self.block = self.block, None
        return block


def moved(aligner, begin, end):
    times = np.arange(begin, end, 0.02)
    positions = np.interp(times, TIMES, POSITIONS)
    aligner.add(0, ZERO + times, positions, ZERO + times, 0.0)


@pytest.mark.parametrize("up", [True, False])
async def test_frames_of_the_way_to_the_run_up_and_of_the_way_back_are_no_rows(up, tmp_path):
    aligner = Aligner([Channel("energy", ChannelKind.READBACK)], "energy", PERIOD)
    rows = TriggeredRows(Watching(), aligner, ["energy"])
    start, stop = (400.0, 410.0) if up else (410.0, 400.0)
    armed = ARMED if up else 0.5
    await rows.prepare(LegPlan(Leg((Region(start, stop, 1.0 if up else 7.0),)), 99), tmp_path)
    moved(aligner, 0.0, armed)
    await rows.arm()
    moved(aligner, armed, 21.0)
    await rows.end_flight()

    table = rows.final(0.0, finish=True)

    times = table["sample_time"] - ZERO
    # The axis is between 400 and 410 eV from 7 to 17 s on its way up, from 1.3 to 2.7 s down.
    first, last = (7.0, 17.0) if up else (1.0 + 2 / 7, 1.0 + 12 / 7)
    expected = np.arange(0.0, 20.9, PERIOD) + EXPOSURE / 2
    half = EXPOSURE / 2 + 1e-6
    expected = expected[(expected - half >= first) & (expected + half <= last)]
    assert times == pytest.approx(expected, abs=1e-5)
    assert len(times) > (90 if up else 10)
