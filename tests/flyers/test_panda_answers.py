"""What servers of PandAs answer that a good one would not: without a server."""

import time
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from ophyd_async.core import SignalR, set_mock_value, soft_signal_rw

from glidepath.devices import EncoderInput, LinearEncoder, Panda
from glidepath.flyers import TriggerError
from glidepath.flyers.triggers import panda_use, trigger_box
from glidepath.flyers.triggers.capture_file import CaptureFile
from glidepath.flyers.triggers.sequencer import Sequencer
from glidepath.physics import Encoder
from glidepath.trajectory import Leg, Region

LEG = Leg((Region(100.0, 120.0, 5.0),))


@pytest.fixture
async def source():
    readback = soft_signal_rw(float, name="readback")
    encoders = LinearEncoder(EncoderInput(1, Encoder(1.0)), readback, tolerance=1)
    panda = Panda("ANY:", "panda", axes={"axis": encoders})
    await panda.connect(mock=True)
    return Sequencer(panda, SimpleNamespace(name="axis"))


async def test_an_empty_table_that_is_served_as_none_is_an_empty_table(source, monkeypatch):
    async def none_for_columns():
        raise TypeError("'NoneType' object is not iterable")

    monkeypatch.setattr(source.wiring.sequencer.table, "get_value", none_for_columns)
    assert len(await source.wiring.table()) == 0


@pytest.mark.parametrize("stamp", [0.0, 1_750_000_000.5])
async def test_a_choice_without_a_time_stamp_was_set_now(source, monkeypatch, stamp):
    async def read(signal, cached=None):
        return {signal.name: {"value": True, "timestamp": stamp}}

    monkeypatch.setattr(SignalR, "read", read)
    before = time.time()
    armed_at = await source.recording.armed_at()
    if stamp:
        assert armed_at == stamp
    else:
        assert before <= armed_at <= time.time()


async def test_capture_settings_that_never_reached_the_box_are_a_sentence(source, tmp_path):
    path = tmp_path / "panda_001.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file["exposure_start"] = np.empty(0)
    capture = CaptureFile(path, ["exposure_start", "encoder_1"])
    sentence = r"^panda does not capture what it should: .* has no encoder_1: it has exposure_start"
    with pytest.raises(TriggerError, match=sentence):
        await source.recording.until_there(capture)
    capture.close()


def answers(monkeypatch, signal, *values):
    """Let gets of a signal be answered by these values, the last of them for good."""
    left, other = list(values), SignalR.get_value

    async def get_value(asked, cached=None):
        if asked is not signal:
            return await other(asked, cached)
        return left.pop(0) if len(left) > 1 else left[0]

    monkeypatch.setattr(SignalR, "get_value", get_value)


async def check_position(source):
    """Check a counter of an axis at 90, before a first trigger at 100."""
    await source.encoders.readback.set(90.0)
    plan = SimpleNamespace(leg=LEG, positions=[100.0], geometry=await source.encoders.geometry())
    await source._check_position(plan)


async def test_a_counter_whose_monitor_keeps_an_old_value_is_asked_for(source, monkeypatch):
    counter = source.wiring.inputs[0].val
    set_mock_value(counter, 7)
    answers(monkeypatch, counter, 90)
    await check_position(source)


async def test_a_counter_that_is_old_at_the_first_look_is_looked_at_again(source, monkeypatch):
    counter = source.wiring.inputs[0].val
    set_mock_value(counter, 7)
    answers(monkeypatch, counter, 7, 8, 90)
    await check_position(source)


async def test_a_counter_that_stays_wrong_is_refused(source, monkeypatch):
    monkeypatch.setattr(trigger_box, "NEWS", 0.5)
    set_mock_value(source.wiring.inputs[0].val, 7)
    with pytest.raises(TriggerError, match=r"^panda counts 7\.0000 where readback is 90\.0000"):
        await check_position(source)


async def test_a_box_that_is_said_to_be_busy_for_a_moment_is_idle(source, monkeypatch):
    active = source.wiring.blocks.pcap.active
    set_mock_value(active, True)
    answers(monkeypatch, active, True, False)
    assert await panda_use._busy_with(source.wiring) is None
    answers(monkeypatch, active, True)
    assert await panda_use._busy_with(source.wiring) == "capturing positions"


async def test_a_counter_from_before_the_run_up_makes_no_trigger_due(source, monkeypatch):
    counts = np.arange(100, 121)
    source._plan = SimpleNamespace(direction=1, counts=counts)
    source._touched = True

    async def stand():
        pass

    monkeypatch.setattr(source, "_stand", stand)
    # As it was at the end of the flight before, and then as it is.
    answers(monkeypatch, source.wiring.inputs[0].val, 500, 104)
    await source.disarm()
    assert source._due == 5
