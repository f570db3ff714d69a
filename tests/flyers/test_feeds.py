"""Channels of other protocols beside those of Channel Access, in one set of monitors."""

import asyncio
import math
import time

import numpy as np
import pytest
from ophyd_async.core import soft_signal_rw
from pv_access_server import PvAccessServer

from glidepath.devices import channels_for, sampled
from glidepath.devices.sampled import SampledChannel
from glidepath.flyers.monitors.feeds import FeedMonitors
from glidepath.flyers.monitors.ingestion import choose_monitors
from glidepath.flyers.sampling.clocks import clock_offsets
from glidepath.simulation.ports import free_ports
from glidepath.timeline import Channel, ChannelKind

BOUND = 30.0


@pytest.fixture
def server(monkeypatch):
    from glidepath.devices import feeds

    (port,) = free_ports(1)
    with PvAccessServer(port) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        # A client of its own: it reads its environment once.
        feeds._pv_access.cache_clear()
        yield server
        feeds._pv_access().close()
        feeds._pv_access.cache_clear()


class Heard:
    """What monitors have delivered, by channel."""

    def __init__(self, monitors, channels):
        self.monitors = monitors
        self.times = [[] for _ in range(channels)]
        self.values = [[] for _ in range(channels)]
        self.severities = [[] for _ in range(channels)]

    def take(self):
        for batch in self.monitors.drain():
            self.times[batch.index] += batch.timestamps.tolist()
            self.values[batch.index] += batch.values.tolist()
            self.severities[batch.index] += batch.severities.tolist()

    async def until(self, condition):
        deadline = time.monotonic() + BOUND
        while True:
            self.take()
            if condition():
                return
            assert time.monotonic() < deadline, (self.times, self.values)
            await asyncio.sleep(0.01)


def of(name, source, kind=ChannelKind.READBACK, **more):
    return SampledChannel(Channel(name, kind), source, **more)


async def test_updates_of_pv_access_come_with_the_servers_own_time(server):
    channels = [of("double", "pva://P:double"), of("enum", "pva://P:enum", ChannelKind.STATE)]
    monitors = choose_monitors(channels)
    await monitors.open(BOUND)
    heard = Heard(monitors, 2)
    try:
        server.put("P:double", 1.5, 1_700_000_001.25, severity=2)
        server.put("P:double", 2.5, 1_700_000_002.5, severity=3)
        server.put("P:enum", 2)
        await heard.until(lambda: len(heard.values[0]) == 3 and len(heard.values[1]) == 2)
    finally:
        monitors.close()
    assert heard.values[0] == [0.0, 1.5, 2.5]
    assert heard.times[0] == [1_700_000_000.0, 1_700_000_001.25, 1_700_000_002.5]
    assert heard.severities[0] == [0, 2, 3]
    assert heard.values[1] == [1.0, 2.0]
    assert monitors.lost == (0, 0)


async def test_a_lost_server_of_pv_access_leaves_a_mark_not_its_last_value(server):
    monitors = choose_monitors([of("double", "pva://P:double")])
    await monitors.open(BOUND)
    heard = Heard(monitors, 1)
    try:
        server.kill()
        await heard.until(lambda: len(heard.values[0]) == 2)
    finally:
        monitors.close()
    assert heard.values[0][0] == 0.0
    assert math.isnan(heard.values[0][1])
    assert math.isnan(heard.times[0][1])


async def test_an_array_of_pv_access_is_a_time_series_where_its_interval_is_said(server):
    monitors = choose_monitors([of("wave", "pva://P:wave", interval=0.5)])
    await monitors.open(BOUND)
    heard = Heard(monitors, 1)
    await heard.until(lambda: len(heard.values[0]) == 3)
    monitors.close()
    assert heard.values[0] == [1.0, 2.0, 3.0]
    assert heard.times[0] == [1_699_999_999.0, 1_699_999_999.5, 1_700_000_000.0]
    silent = choose_monitors([of("wave", "pva://P:wave")])
    await silent.open(BOUND)
    with pytest.raises(ValueError, match=r"^wave .* nobody said how far they are apart"):
        silent.drain()
    silent.close()


async def test_a_variable_of_pv_access_that_nobody_serves_is_named(server):
    monitors = choose_monitors([of("nothing", "pva://P:nothing")])
    with pytest.raises(ConnectionError, match=r"No value came from nothing \(P:nothing\)"):
        await monitors.open(0.2)


async def test_a_signal_of_pv_access_is_described_and_sampled(server):
    from ophyd_async.epics.core import epics_signal_r

    # ophyd-async's own client has read its environment long ago: only what it says is needed.
    signal = epics_signal_r(float, "pva://P:double", name="pressure")
    await signal.connect(mock=True)
    (mocked,) = await channels_for(signal)
    assert mocked.source == "mock+pva://P:double"
    assert mocked.channel == Channel("pressure", ChannelKind.DETECTOR)


async def test_all_protocols_are_served_in_one_set_in_the_order_of_the_channels(server, beamline):
    import aioca

    prefix = beamline.settings.prefix
    knob = soft_signal_rw(float, 1.0, name="knob")
    await knob.connect()
    (soft,) = await channels_for(sampled(knob, kind="readback"))
    channels = [
        soft,
        of("ring", f"ca://{prefix}KEI1:rdCur"),
        of("double", "pva://P:double"),
        of("gap", f"ca://{prefix}m2.RBV"),
    ]
    monitors = choose_monitors(channels)
    await monitors.open(BOUND)
    heard = Heard(monitors, 4)
    try:
        await knob.set(2.0)
        server.put("P:double", 7.5, 1_700_000_003.0)
        await heard.until(
            lambda: all(heard.values) and len(heard.values[0]) == 2 and len(heard.values[2]) == 2
        )
    finally:
        monitors.close()
        aioca.purge_channel_caches()
    assert monitors.path in ("fast", "portable")
    assert heard.values[0] == [1.0, 2.0]
    assert heard.values[2] == [0.0, 7.5]
    assert heard.values[1][0] > 0
    assert np.isfinite(heard.values[3]).all()
    await knob.set(3.0)
    assert monitors.drain() == []


async def test_what_nobody_drains_is_counted_behind_what_was_kept():
    knob = soft_signal_rw(float, 0.0, name="knob")
    await knob.connect()
    (channel,) = await channels_for(knob)
    monitors = FeedMonitors([channel], capacity=3)
    await monitors.open(BOUND)
    for value in (1.0, 2.0, 3.0, 4.0):
        await knob.set(value)
    (batch,) = monitors.drain()
    assert batch.values.tolist() == [0.0, 1.0, 2.0]
    assert batch.lost == 2
    await knob.set(5.0)
    (batch,) = monitors.drain()
    assert (batch.values.tolist(), batch.lost) == ([5.0], 0)
    assert monitors.lost == (2,)
    monitors.close()
    monitors.close()


async def test_the_clock_of_a_soft_signal_is_this_machines():
    knob = soft_signal_rw(float, 0.0, name="knob")
    await knob.connect()

    async def turn():
        while True:
            await knob.set(time.time())
            await asyncio.sleep(0.01)

    turning = asyncio.create_task(turn())
    offsets = await clock_offsets(await channels_for(knob), 0.3)
    turning.cancel()
    assert abs(offsets["knob"]) < 1.0
