"""A PandA behind any EPICS server: nothing moves, and no detector sees a pulse.

The simulated one always; another one if ``GLIDEPATH_TEST_PANDA`` says what its names begin with
(``"BL01-EA-PANDA-01:"``). It must be on this machine, because these tests never leave the
loopback, see its folders, and be asked for alone:
``pytest tests/flyers/test_panda_of_any_server.py -k other``.
"""

import os
from types import SimpleNamespace

import pytest
from ophyd_async.core import soft_signal_rw

from glidepath.devices import EncoderInput, LinearEncoder, Panda
from glidepath.flyers import Triggers
from glidepath.flyers.triggers.sequencer import Sequencer
from glidepath.physics import Encoder
from glidepath.trajectory import Leg, Region

VARIABLE = "GLIDEPATH_TEST_PANDA"
INPUT = 1


@pytest.fixture(params=["simulated", "other"])
async def bench(request):
    """A box, and an axis that is what the first encoder counts."""
    if request.param == "simulated":
        prefix = request.getfixturevalue("beamline").prefix + "PANDA:"
    elif not (prefix := os.environ.get(VARIABLE, "")):
        pytest.skip(f"no other PandA: set {VARIABLE} to what the names of one begin with")
    axis = SimpleNamespace(name="axis", user_readback=soft_signal_rw(float, name="axis"))
    await axis.user_readback.connect()
    counts = LinearEncoder(EncoderInput(INPUT, Encoder(1.0)), axis.user_readback, tolerance=10)
    panda = Panda(prefix, "panda", axes={"axis": counts})
    await panda.connect(timeout=10)
    return panda, axis


async def settings(blocks):
    signals = (
        *(blocks.seq[1].enable, blocks.seq[1].posa, blocks.seq[1].prescale, blocks.pcap.trig),
        *(blocks.pcap.trig_edge, blocks.inenc[INPUT].val_capture, blocks.ttlout[1].val),
        *(blocks.data.hdf_directory, blocks.data.hdf_file_name, blocks.data.flush_period),
    )
    return [await signal.get_value() for signal in signals]


async def test_it_arms_captures_nothing_disarms_and_puts_its_settings_back(bench, tmp_path):
    panda, axis = bench
    blocks = panda.blocks
    before = await settings(blocks)
    source = Sequencer(panda, axis)
    source.use_folder(tmp_path)
    here = await blocks.inenc[INPUT].val.get_value()
    await axis.user_readback.set(here)
    leg = Leg((Region(here + 1000, here + 2000, 1000.0),))
    (plan,) = await source.plan(leg, Triggers(source, step=10.0, exposure=0.005))
    assert len(plan.positions) == 100
    try:
        await source.arm(plan)
        assert await blocks.seq[1].active.get_value()
        assert await blocks.pcap.active.get_value()
        _, uncertainty = await source.clock()
        assert 0 < uncertainty < 5
        assert not len((await source.captured()).times)
    finally:
        await source.disarm()
        await source.restore()
    assert not await blocks.seq[1].active.get_value()
    assert not await blocks.pcap.active.get_value()
    assert not len((await source.captured()).times)
    assert await source.complaint() is None
    assert await settings(blocks) == before
