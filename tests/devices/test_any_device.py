"""Devices that know nothing of Glidepath have channels, against the simulated beamline."""

import asyncio
import math
from unittest.mock import MagicMock

import numpy as np
import pytest
from ophyd_async.core import (
    StandardReadable,
    StaticPathProvider,
    StrictEnum,
    UUIDFilenameProvider,
    soft_signal_r_and_setter,
    soft_signal_rw,
)
from ophyd_async.core import StandardReadableFormat as Format
from ophyd_async.epics.adcore import ADWriterFactory
from ophyd_async.epics.adsimdetector import SimDetector
from ophyd_async.epics.core import epics_signal_r
from ophyd_async.epics.motor import Motor

from glidepath.devices import channels_for, register_channels, sampled
from glidepath.devices.extensions import load_extensions
from glidepath.devices.sampled import can_be_sampled
from glidepath.timeline import Channel, ChannelKind


@pytest.fixture
async def prefix(beamline):
    """Return what every name begins with; channels do not outlive the loop of their test."""
    import aioca

    yield beamline.settings.prefix
    aioca.purge_channel_caches()


@pytest.fixture
def classic():
    """Return classic ophyd with a client that connects to nothing: it is not needed."""
    import ophyd

    ophyd.set_cl("dummy")
    ophyd.cl.get_pv = lambda *_, **__: MagicMock()
    # Not put back: signals give their variables back when Python ends.
    ophyd.cl.release_pvs = lambda *_: None
    return ophyd


class Lamp(StrictEnum):
    OFF = "off"
    ON = "on"


class Meter(StandardReadable):
    def __init__(self, prefix, name):
        with self.add_children_as_readables(Format.HINTED_SIGNAL):
            self.current = epics_signal_r(float, f"ca://{prefix}KEI1:rdCur")
        with self.add_children_as_readables(Format.CHILD):
            self.slide = Motor(f"ca://{prefix}m2")
        with self.add_children_as_readables(Format.CONFIG_SIGNAL):
            self.cycles = epics_signal_r(float, f"ca://{prefix}KEI1:rbkIntegrTime")
            self.function = epics_signal_r(str, f"ca://{prefix}KEI1:rbkFunc")
            self.label = soft_signal_rw(str, "made in the laboratory")
        super().__init__(name)


def meanings(channels):
    return {c.channel.name: (str(c.channel.kind), c.channel.unit, c.source) for c in channels}


async def test_a_signal_of_a_number_is_a_mean_of_unknown_exposure(prefix):
    signal = epics_signal_r(float, f"ca://{prefix}KEI1:rdCur", name="diode")
    await signal.connect()
    (found,) = await channels_for(signal)
    assert found.channel == Channel("diode", ChannelKind.DETECTOR, "A")
    assert found.channel.aperture == 0
    assert found.source == f"ca://{prefix}KEI1:rdCur"
    assert found.feed is None


async def test_an_enumeration_is_a_state_and_comes_as_its_number(prefix):
    signal = epics_signal_r(str, f"ca://{prefix}BEAM:axis", name="flown")
    await signal.connect()
    assert can_be_sampled(signal)
    soft = soft_signal_rw(Lamp, Lamp.ON, name="lamp")
    await soft.connect()
    (lamp,) = await channels_for(soft)
    assert lamp.channel.kind is ChannelKind.STATE
    heard = []
    lamp.feed.open(lambda value, timestamp, severity=0: heard.append((value, severity)))
    await soft.set(Lamp.OFF)
    lamp.feed.close()
    await soft.set(Lamp.ON)
    assert heard == [(1.0, 0), (0.0, 0)]


async def test_a_readable_has_its_readings_and_its_configuration(prefix):
    meter = Meter(prefix, "meter")
    await meter.connect()
    found = meanings(await channels_for(meter))
    assert found["meter-current"] == ("detector", "A", f"ca://{prefix}KEI1:rdCur")
    assert found["meter-slide"] == ("readback", "mm", f"ca://{prefix}m2.RBV")
    assert found["meter-cycles"][0] == "state"
    assert found["meter-slide-velocity"][0] == "state"
    # Text of the configuration is no channel, and hinders none.
    assert "meter-label" not in found
    assert "meter-slide-motor_egu" not in found


async def test_a_stock_motor_is_continuous_and_named_like_itself(prefix):
    motor = Motor(f"ca://{prefix}m3", name="photon")
    await motor.connect()
    assert meanings(await channels_for(motor)) == {
        "photon": ("readback", "eV", f"ca://{prefix}m3.RBV")
    }


async def test_classic_devices_are_sampled_by_their_process_variables(prefix, classic):
    from ophyd import Component, Device, EpicsMotor, EpicsSignal, EpicsSignalRO, Kind

    class Table(Device):
        slide = Component(EpicsMotor, "m2")
        current = Component(EpicsSignalRO, "KEI1:rdCur", kind=Kind.hinted)
        cycles = Component(EpicsSignalRO, "KEI1:rbkIntegrTime", kind=Kind.config)
        text = Component(EpicsSignalRO, "PGM1:name", kind=Kind.omitted)
        choice = Component(EpicsSignal, "BEAM:axis", kind=Kind.normal)

    signal = EpicsSignalRO(f"{prefix}KEI1:rdCur", name="diode")
    assert meanings(await channels_for(signal)) == {
        "diode": ("detector", "A", f"ca://{prefix}KEI1:rdCur")
    }
    motor = EpicsMotor(f"{prefix}m2", name="slide")
    assert meanings(await channels_for(motor)) == {
        "slide": ("readback", "mm", f"ca://{prefix}m2.RBV")
    }
    assert meanings(await channels_for(Table(prefix, name="table"))) == {
        "table_slide": ("readback", "mm", f"ca://{prefix}m2.RBV"),
        "table_current": ("detector", "A", f"ca://{prefix}KEI1:rdCur"),
        "table_cycles": ("state", "", f"ca://{prefix}KEI1:rbkIntegrTime"),
        "table_choice": ("state", "", f"ca://{prefix}BEAM:axis"),
    }


async def test_a_classic_variable_that_does_not_answer_is_named(prefix, classic, monkeypatch):
    from ophyd import EpicsSignalRO

    monkeypatch.setattr("glidepath.devices.classic.ANSWER_TIMEOUT", 0.2)
    signal = EpicsSignalRO(f"{prefix}nowhere", name="nothing")
    with pytest.raises(ConnectionError, match=f"^{prefix}nowhere does not answer"):
        await channels_for(signal)


async def test_a_soft_signal_of_classic_ophyd_is_followed(classic):
    from ophyd import Signal

    signal = Signal(name="knob", value=1.5)
    (knob,) = await channels_for(signal)
    assert knob.channel == Channel("knob", ChannelKind.DETECTOR)
    heard = []
    knob.feed.open(lambda value, timestamp, severity=0: heard.append((value, timestamp)))
    signal.put(2.5, timestamp=1_700_000_000.25)
    knob.feed.close()
    signal.put(3.5)
    assert [value for value, _ in heard] == [1.5, 2.5]
    assert heard[1][1] == 1_700_000_000.25


class Thermometer:
    """What follows Bluesky's Readable and nothing else; it takes its time."""

    parent = None

    def __init__(self, name):
        self.name, self.value, self.stamp = name, 20.0, 1_700_000_000.0

    def read(self):
        if self.value is None:
            raise OSError("The wire is broken.")
        return {self.name: {"value": self.value, "timestamp": self.stamp}}

    def describe(self):
        return {self.name: {"source": "wire", "dtype": "number", "shape": [], "units": "degC"}}


async def test_a_device_that_can_only_be_read_is_read_again_and_again(monkeypatch):
    monkeypatch.setattr("glidepath.devices.feeds.POLL_PERIOD", 0.001)
    thermometer = Thermometer("inside")
    (inside,) = await channels_for(thermometer)
    assert inside.channel == Channel("inside", ChannelKind.DETECTOR, "degC")
    heard = []
    changed = asyncio.Event()

    def receive(value, timestamp, severity=0):
        heard.append((value, timestamp, severity))
        changed.set()

    async def news():
        await asyncio.wait_for(changed.wait(), 20)
        changed.clear()

    inside.feed.open(receive)
    await news()
    thermometer.value, thermometer.stamp = 21.0, 1_700_000_001.0
    await news()
    assert heard == [(20.0, 1_700_000_000.0, 0), (21.0, 1_700_000_001.0, 0)]
    thermometer.value = None
    await news()
    inside.feed.close()
    # Not known, and not the last value for ever.
    assert math.isnan(heard[2][0])
    assert math.isnan(heard[2][1])


async def test_what_holds_text_or_an_array_is_refused_in_a_sentence():
    text = soft_signal_rw(str, "much", name="remark")
    array, _ = soft_signal_r_and_setter(np.ndarray, np.zeros(3), name="trace")
    for signal in (text, array):
        await signal.connect()
    with pytest.raises(ValueError, match=r"^remark .* holds text, which cannot be sampled: .*\.$"):
        await channels_for(text)
    with pytest.raises(ValueError, match=r"^trace .* holds an array, which .*\.$"):
        await channels_for(array)


async def test_a_signal_that_nobody_connected_is_refused_in_a_sentence():
    signal = epics_signal_r(float, "ca://X:Y", name="diode")
    with pytest.raises(ValueError, match=r"^diode .* is not connected; connect it before .*\.$"):
        await channels_for(signal)


WHAT_TO_DO = r"let it follow triggers .* if it can, give signals of it .* or leave it out\.$"


async def test_a_detector_that_must_be_prepared_is_refused_in_a_sentence(tmp_path):
    paths = StaticPathProvider(UUIDFilenameProvider(), tmp_path)
    camera = SimDetector("X:", ADWriterFactory.hdf(paths), name="camera")
    await camera.connect(mock=True)
    assert can_be_sampled(camera)
    sentence = rf"^camera cannot be sampled: .* only after it was prepared and .*; {WHAT_TO_DO}"
    with pytest.raises(ValueError, match=sentence):
        await channels_for(camera)


@pytest.mark.parametrize("method", ["read", "describe"])
async def test_what_has_no_reading_before_it_was_triggered_is_refused_in_a_sentence(
    monkeypatch, method
):
    def too_early(_):
        raise RuntimeError("trigger() was not called yet")

    monkeypatch.setattr(Thermometer, method, too_early)
    sentence = rf"^inside cannot be sampled: .* \(trigger\(\) was not called yet\); .*{WHAT_TO_DO}"
    with pytest.raises(ValueError, match=sentence):
        await channels_for(Thermometer("inside"))


async def test_a_wire_that_is_broken_is_no_question_of_triggers():
    thermometer = Thermometer("inside")
    thermometer.value = None
    with pytest.raises(OSError, match="The wire is broken"):
        await channels_for(thermometer)


async def test_a_readable_that_nobody_connected_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match=r"^meter is not connected; connect it before .*\.$"):
        await channels_for(Meter("X:", "meter"))


async def test_what_is_no_device_is_refused_in_a_sentence():
    assert not can_be_sampled(42)
    with pytest.raises(ValueError, match=r"^42 cannot be sampled: it is neither a signal.*\.$"):
        await channels_for(42)


async def test_a_user_says_otherwise_in_one_line(prefix):
    meter = Meter(prefix, "meter")
    await meter.connect()
    integrating = sampled(meter, aperture=0.1, latency=0.02)
    assert integrating.name == "meter"
    assert integrating.current is meter.current
    channels = {c.channel.name: c.channel for c in await integrating.channels()}
    assert channels["meter-current"] == Channel(
        "meter-current", ChannelKind.DETECTOR, "A", latency=0.02, aperture=0.1
    )
    # A setting beside it stays a setting.
    assert channels["meter-cycles"].kind is ChannelKind.STATE
    (lamp,) = await sampled(await connected(soft_signal_rw(bool, name="lamp"))).channels()
    assert lamp.channel.kind is ChannelKind.STATE
    (knob,) = await sampled(
        await connected(soft_signal_rw(float, name="knob")), kind="readback"
    ).channels()
    assert knob.channel.kind is ChannelKind.READBACK


async def connected(signal):
    await signal.connect()
    return signal


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"kind": "magic"}, "'magic' is no kind of reading; choose one of readback, detector"),
        ({"kind": "readback", "aperture": 0.1}, "is a readback, so it has no aperture"),
        ({"aperture": -1.0}, "aperture must be a number of seconds"),
    ],
)
def test_what_a_user_says_is_checked(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        sampled(Thermometer("inside"), **arguments)


async def test_a_class_is_registered_for_its_channels():
    class Ticker:
        name = "ticker"

    assert not can_be_sampled(Ticker())

    @register_channels(Ticker)
    async def _(device):
        return [device.name]

    assert can_be_sampled(Ticker())
    assert await channels_for(Ticker()) == ["ticker"]


def test_an_extension_that_cannot_be_imported_hinders_no_other(monkeypatch, caplog):
    class EntryPoint:
        def __init__(self, name, error=None):
            self.name, self.error = name, error

        def load(self):
            if self.error is not None:
                raise self.error

    found = [EntryPoint("broken", ImportError("no module named nothing")), EntryPoint("whole")]
    monkeypatch.setattr("glidepath.devices.extensions.entry_points", lambda group: found)
    load_extensions.cache_clear()
    try:
        assert load_extensions("glidepath.test") == ("whole",)
    finally:
        load_extensions.cache_clear()
    assert "The extension broken of glidepath.test cannot be used: no module" in caplog.text
