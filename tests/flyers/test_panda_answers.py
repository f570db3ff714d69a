"""What servers of PandAs answer that a good one would not: without a server."""

import time
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from ophyd_async.core import SignalR, soft_signal_rw

from glidepath.devices import EncoderInput, LinearEncoder, Panda
from glidepath.flyers import TriggerError
from glidepath.flyers.triggers.capture_file import CaptureFile
from glidepath.flyers.triggers.sequencer import Sequencer
from glidepath.physics import Encoder


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
