"""Exposures in power-line cycles, where the mains have 60 Hz, against what was really exposed."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from glidepath.devices import Electrometer
from glidepath.simulation.truth import Truth

PROGRAM = """
import asyncio, json, os, sys
from glidepath.simulation import SimulatedBeamline

async def measure(prefix):
    import aioca
    from glidepath.devices import Electrometer
    from glidepath.flyers import choose_monitors

    told = Electrometer(f"{prefix}KEI1:", "told", frequency_pv="rbkLineFreq")
    said = Electrometer(f"{prefix}KEI1:", "said", mains_frequency=60.0)
    for meter in (told, said):
        await meter.connect()
    await told.set_integration_time(0.1)
    cycles = await told.nplc.get_value()
    channels = await told.channels() + await said.channels()
    monitors = choose_monitors(channels)
    await monitors.open()
    times = set()
    while len(times) < 8:
        await asyncio.sleep(0.05)
        for batch in monitors.drain():
            times |= set(batch.timestamps.tolist())
    monitors.close()
    aioca.purge_channel_caches()
    return {
        "cycles": cycles,
        "apertures": [sampled.channel.aperture for sampled in channels],
        "settings": channels[0].settings,
        "times": sorted(times),
    }

with SimulatedBeamline(truth=sys.argv[1], mains_Hz=60.0) as beamline:
    os.environ.update(beamline.environment)
    print(json.dumps(asyncio.run(measure(beamline.prefix))), flush=True)
"""


def test_six_cycles_are_a_tenth_of_a_second_at_sixty_hertz(tmp_path):
    truth = tmp_path / "truth.h5"
    clean = {k: v for k, v in os.environ.items() if not k.startswith("EPICS_")}
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(truth)],
        env=clean,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=120,
    )
    measured = json.loads(found.stdout)
    assert measured["cycles"] == 6.0
    assert measured["apertures"] == pytest.approx([0.1, 0.1], abs=1e-12)
    assert measured["settings"][-1].endswith("KEI1:rbkLineFreq")
    with Truth(truth) as known:
        exposures = known.exposures("KEI1")
    times = np.array(measured["times"])
    # The last ones: the first may be of the exposure before.
    for stamp in times[-4:]:
        which = np.argmin(np.abs(exposures["stop"] - stamp))
        assert exposures["stop"][which] == pytest.approx(stamp, abs=1e-6)
        assert exposures["start"][which] == pytest.approx(stamp - 0.1, abs=1e-5)


@pytest.mark.parametrize(("mains", "cycles"), [(50.0, 2.0), (60.0, 2.4)])
async def test_an_exposure_is_set_in_cycles_of_the_mains(mains, cycles):
    meter = Electrometer("ANY:", name="mesh", mains_frequency=mains)
    await meter.connect(mock=True)
    await meter.set_integration_time(0.04)
    assert await meter.nplc.get_value() == pytest.approx(cycles, rel=1e-12)
    assert await meter.integration_time.get_value() == pytest.approx(0.04, rel=1e-12)
    # Both ends of its range can be set, whatever rounding does to them.
    low, high = (nplc / mains for nplc in meter.nplc_range)
    meter.check_integration_time(low)
    meter.check_integration_time(high)
    with pytest.raises(ValueError, match="mesh cannot integrate for"):
        meter.check_integration_time(high * 1.001)


@pytest.mark.parametrize("mains", [0.0, 400.0, float("nan")])
def test_mains_that_nobody_has_are_refused(mains):
    with pytest.raises(ValueError, match=r"^mesh cannot go by mains of .* about 50 or 60 Hz\.$"):
        Electrometer("ANY:", name="mesh", mains_frequency=mains)
