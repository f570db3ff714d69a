"""The clocks of the servers before a scan."""

import aioca
import pytest

from glidepath.beamlines.simulated import make_devices
from glidepath.flyers import clock_offsets
from glidepath.trajectory import Envelope, Region, preflight, with_clocks


@pytest.fixture
async def channels(beamline):
    devices = make_devices(beamline.prefix)
    found = []
    for name in ("pgm", "mesh", "m2"):
        await devices[name].connect(timeout=10)
        found += await devices[name].channels()
    yield found
    aioca.purge_channel_caches()


async def test_channels_that_send_say_how_far_their_clock_is_off(channels):
    offsets = await clock_offsets(channels, 0.6)
    # A motor that stands sends nothing.
    assert set(offsets) == {"pgm", "mesh"}
    assert all(0 < offset < 1.0 for offset in offsets.values())


def test_a_clock_that_is_off_is_an_objection_to_a_report_that_was_made_before():
    report = preflight("energy", Region(1, 2, 1), 0.1, Envelope(None, None, None, "eV", 0.0, 0.0))
    assert with_clocks(report, {"mesh": 0.2}).passed
    (sentence,) = with_clocks(report, {"mesh": 0.2, "energy": 1.5}).objections
    assert "server of energy is 1.50 s behind this machine, but 1 s are allowed" in sentence
    assert dict(with_clocks(report, {"mesh": 0.2}).lines())["Clocks"] == (
        "up to 0.2 s off (mesh), 1 s allowed"
    )
