"""A Zebra behind any EPICS server: nothing moves, and no detector sees a pulse.

The simulated one always; another one if ``GLIDEPATH_TEST_ZEBRA`` says what its names begin with
(``"BL01-EA-ZEBRA-01:"``). It must be on this machine, because these tests never leave the
loopback, and be asked for alone: ``pytest tests/flyers/test_zebra_of_any_server.py -k other``.
"""

import os
from types import SimpleNamespace

import aioca
import pytest
from ophyd_async.core import soft_signal_rw

from glidepath.devices import EncoderInput, LinearEncoder, Zebra
from glidepath.flyers import PositionCompare, Triggers
from glidepath.physics import Encoder
from glidepath.trajectory import Leg, Region

VARIABLE = "GLIDEPATH_TEST_ZEBRA"
INPUT = 1


@pytest.fixture(params=["simulated", "other"])
async def bench(request):
    """A box, and an axis that is what the first encoder counts."""
    if request.param == "simulated":
        prefix = request.getfixturevalue("beamline").prefix + "ZEBRA:"
    elif not (prefix := os.environ.get(VARIABLE, "")):
        pytest.skip(f"no other Zebra: set {VARIABLE} to what the names of one begin with")
    axis = SimpleNamespace(name="axis", user_readback=soft_signal_rw(float, name="axis"))
    await axis.user_readback.connect()
    counts = LinearEncoder(EncoderInput(INPUT, Encoder(1.0)), axis.user_readback)
    zebra = Zebra(prefix, "zebra", axes={"axis": counts})
    await zebra.connect(timeout=10)
    yield zebra, axis
    aioca.purge_channel_caches()


async def settings(zebra):
    reading = await zebra.read_configuration()
    return {name: entry["value"] for name, entry in reading.items()}


async def test_it_says_where_its_encoder_is_and_puts_its_settings_back(bench):
    zebra, axis = bench
    before = await settings(zebra)
    source = PositionCompare(zebra, axis)
    try:
        counts = await source.position()
        assert counts == round(counts)
        assert await source.position() == pytest.approx(counts, abs=10)
    finally:
        await source.restore()
    assert await settings(zebra) == before


async def test_it_arms_and_disarms_without_a_trigger(bench):
    zebra, axis = bench
    before = await settings(zebra)
    source = PositionCompare(zebra, axis)
    try:
        here = await source.position()
        await axis.user_readback.set(here)
        leg = Leg((Region(here + 1000, here + 2000, 1000.0),))
        (plan,) = await source.plan(leg, Triggers(source, step=10.0, exposure=0.005))
        assert len(plan.positions) == 100
        await source.arm(plan)
        assert await zebra.armed.get_value() == 1
        _, uncertainty = await source.clock()
        assert 0 < uncertainty < 5
        assert not len((await source.captured()).times)
    finally:
        await source.disarm()
        await source.restore()
    assert await zebra.armed.get_value() == 0
    assert not len((await source.captured()).times)
    assert await source.complaint() is None
    assert await settings(zebra) == before
