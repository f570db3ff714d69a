"""Scans that a PandA triggers, over PV Access: one row a trigger, measured from end to end."""

import asyncio
import contextlib
import json
import threading
import time

import numpy as np
import pytest
from bluesky.utils import RunEngineInterrupted
from test_triggered import BOUND, check_rows, fault

from glidepath import Triggers
from glidepath.beamlines.simulated import make_devices
from glidepath.devices import Panda
from glidepath.plans import flyscan
from glidepath.simulation import Truth
from glidepath.timeline import Quality
from glidepath.trajectory import PreflightError


@pytest.fixture
def with_panda(simulated):
    """The simulated beamline and its PandA."""
    panda = Panda(f"{simulated.prefix}PANDA:", "panda", axes=simulated.zebra.axes)
    simulated.call(panda.connect(timeout=10))
    simulated.devices["panda"] = panda
    return simulated


def standing(s):
    """Whether nothing of the box is armed."""
    blocks = s.panda.blocks
    signals = (blocks.seq[1].active, blocks.pcap.active, blocks.data.capture)
    return not any(s.get(signal) for signal in signals)


def truth_until(beamline, when):
    """Read the truth once it is known up to a time."""
    deadline = time.monotonic() + BOUND
    while True:
        truth = Truth(beamline.settings.truth)
        if truth.time[-1] >= when:
            return truth
        truth.close()
        assert time.monotonic() < deadline, "the truth file does not grow"
        time.sleep(0.1)


def pausing_after(s, rows, plan):
    """Run a plan until it pauses, which is when it has announced so many rows."""
    paused = threading.Event()

    def look(name, document):
        if name == "stream_datum" and document["indices"]["stop"] >= rows and not paused.is_set():
            primary = [d["uid"] for d in s.named("descriptor") if d["name"] == "primary"]
            if document["descriptor"] in primary:
                paused.set()
                threading.Thread(target=s.run_engine.request_pause).start()

    token = s.run_engine.subscribe(look)
    with contextlib.suppress(RunEngineInterrupted):
        s.run_engine(plan)
    s.run_engine.unsubscribe(token)
    assert s.run_engine.state == "paused"


def test_rows_are_what_was_measured_of_each_trigger_whatever_happens_in_between(
    with_panda, beamline
):
    """One scan with a pulse that is not made in each flight, and a pause between two flights."""
    s = with_panda
    plan = flyscan([s.camera], s.energy, 403.0, 400.0, 1.0, triggers=Triggers(s.panda, step=0.05))
    with fault(s, panda_lost_pulse=3):
        pausing_after(s, 10, plan)
        assert not s.get(s.panda.blocks.seq[1].active)
        s.run_engine.resume()
    run = s.run()
    table = run.primary
    assert run.stop["exit_status"] == "success", run.stop
    assert run.start["preflight"]["rows"] == 60
    rows = len(table["energy"])
    assert rows == 60 - 2
    assert table["camera_frame"].tolist() == list(range(rows))
    (account,) = json.loads(run.verdict["triggered"]).values()
    assert account["triggers"] == account["matched"] == rows
    # What is before a pulse that was not made stays where it is, and the row after it says so.
    marked = check_rows(s, beamline, run)
    lost = table["quality"] & np.uint16(Quality.LOST_TRIGGER) != 0
    assert np.array_equal(marked, lost)
    steps = -np.diff(table["energy_upper"])
    assert lost.sum() == 2
    assert steps[np.flatnonzero(lost) - 1] == pytest.approx(0.1, abs=0.002)
    # Equal in energy, to a count of each encoder, which is 0.6 meV here. The rest is flown on the
    # same grid.
    places = (403.0 - (table["energy_lower"] + table["energy_upper"]) / 2) / 0.05
    numbers = np.floor(places)
    assert len(set(numbers)) == rows
    # The axis slows down where it is paused, and the last exposure covers less.
    in_the_middle = np.abs(places - numbers - 0.5) < 0.04
    assert np.sum(~in_the_middle) <= 2
    assert np.all(table["energy_upper"][1:] <= table["energy_lower"][:-1] + 0.001), "a row twice"
    with truth_until(beamline, table["sample_time"][-1] + 1) as truth:
        sent = {name: values[-rows:] for name, values in truth.exposures("PANDA").items()}
        begin, end = truth.energy(sent["start"]), truth.energy(sent["stop"])
        mean = truth.mean_energy(sent["start"], sent["stop"])
    for column, true in (("energy", mean), ("energy_upper", begin), ("energy_lower", end)):
        error = table[column] - true
        print(f"{column}: RMS {1e3 * np.sqrt(np.mean(error**2)):.3f} meV")
        assert np.sqrt(np.mean(error**2)) < 0.001
    middle, duration = (sent["start"] + sent["stop"]) / 2, sent["stop"] - sent["start"]
    # The pause may cut the pulse that is being sent; the camera exposes as long as it was told.
    whole = np.abs(table["sample_duration"] - duration) < 1e-6
    assert np.sum(~whole) <= 1
    assert np.all(duration[~whole] < table["sample_duration"][~whole])
    assert (table["sample_time"] - middle)[whole] == pytest.approx(0, abs=0.001)
    assert standing(s)
    assert s.get(s.panda.blocks.pcap.trig) == "ZERO"


def test_a_step_without_a_row_is_flown_again_where_it_was_planned(with_panda):
    s = with_panda
    asked = Triggers(s.panda, step=0.05)
    with fault(s, panda_lost_pulse=12):
        s.run_engine(
            flyscan([s.camera], s.energy, 400.0, 402.0, 1.0, triggers=asked, refly="bad rows")
        )
    table = s.run().primary
    places = ((table["energy_lower"] + table["energy_upper"]) / 2 - 400.0) / 0.05
    # The row behind a pulse that was not made is marked, and flown again with it at the end. So
    # there is one good row of each step, in its middle, and no other was flown twice.
    good = table["quality"] & np.uint16(Quality.LOST_TRIGGER) == 0
    assert np.array_equal(np.sort(np.floor(places[good])), np.arange(40))
    assert np.floor(places[-2:]).tolist() == [11, 12]
    assert places - np.floor(places) == pytest.approx(0.5, abs=0.04)


def test_without_pv_access_a_panda_is_refused_with_the_name_of_the_extra(simulated, monkeypatch):
    s = simulated
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    panda = make_devices(s.prefix, panda=True)["panda"]
    sentence = r"^panda is a PandA, .* p4p is not installed; install glidepath\[panda\]\.$"
    with pytest.raises(ConnectionError, match=sentence):
        s.call(asyncio.wait_for(panda.connect(), 10))
    with pytest.raises(PreflightError, match=sentence):
        s.run_engine(
            flyscan([s.camera], s.energy, 400.0, 402.0, 1.0, triggers=Triggers(panda, step=0.05))
        )
