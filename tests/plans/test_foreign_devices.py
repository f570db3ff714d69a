"""A flight that samples devices of other packages beside our own."""

import numpy as np
from ophyd_async.core import soft_signal_rw
from ophyd_async.epics.core import epics_signal_r
from ophyd_async.epics.motor import Motor

from glidepath.devices import sampled
from glidepath.plans import flyscan
from glidepath.timeline import Channel, ChannelKind, window_values


def test_foreign_devices_are_sampled_beside_the_axis(simulated):
    s = simulated
    diode = epics_signal_r(float, f"ca://{s.prefix}KEI1:rdCur", name="diode")
    slide = Motor(f"ca://{s.prefix}m2", name="slide")
    knob = soft_signal_rw(float, 3.25, name="knob")
    for device in (diode, slide, knob):
        s.call(device.connect())
    known = sampled(epics_signal_r(float, f"ca://{s.prefix}KEI2:rdCur", name="known"), aperture=0.1)
    s.call(known.connect())
    s.run_engine(flyscan([diode, known, slide, knob], s.energy, 400.0, 402.0, 1.0, period=0.2))
    run = s.run()
    assert run.stop["exit_status"] == "success"
    table = run.primary
    assert 8 <= len(table["energy"]) <= 10  # 2 s of 0.2 s, but for what the ends cut off
    # The stock motor stood still; the soft signal has the one value that it ever had.
    assert np.ptp(table["slide"]) < 1e-3
    assert np.all(table["knob"] == 3.25)
    assert np.all(table["knob_count"] == 0)
    # A mean of what arrived during the row, as far as nobody knows the exposure: each update
    # counts once, the readings being 0.1 s apart.
    assert np.all((table["diode_count"] >= 1) & (table["diode_count"] <= 3))
    half = 0.5 * table["sample_duration"]
    lower, upper = table["sample_time"] - half, table["sample_time"] + half
    for name, aperture in (("diode", 0.0), ("known", 0.1)):
        raw = run.raw[name]
        found = window_values(
            Channel(name, ChannelKind.DETECTOR, aperture=aperture),
            raw["time"],
            raw["value"],
            lower,
            upper,
        )
        np.testing.assert_array_equal(found.mean, table[name])
    configuration = run.descriptors["diode"]["configuration"]["diode"]["data"]
    assert configuration["diode_kind"] == "detector"
    assert configuration["diode_aperture"] == 0.0
