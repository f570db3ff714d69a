"""Meters and counters in Bluesky's own plans, over Channel Access: step scans and flights."""

import asyncio

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import h5py
import numpy as np
import pytest
from bluesky.utils import FailedStatus
from ophyd_async.core import DetectorTrigger, StandardDetector, TriggerInfo

from glidepath.detectors import Counter, FrameSource, QuadElectrometer, TriggeredElectrometer
from glidepath.devices import Motor, PulseGenerator
from glidepath.storage import use_data_root

pytestmark = pytest.mark.slow

DETECTORS = {
    "quad": lambda prefix: QuadElectrometer(
        f"{prefix}QE1:", "quad", inputs={1: "mesh", 2: "sample"}, latency=0.0005
    ),
    "counter": lambda prefix: Counter(
        f"{prefix}CNT1:", "counter", inputs={2: "mesh", 3: "sample"}, latency=0.001
    ),
    "keithley": lambda prefix: TriggeredElectrometer(
        f"{prefix}KEI1:", "keithley", nplc_range=(0.01, 500.0)
    ),
}
SETTINGS = {
    "quad": ["QE1:AcquireMode", "QE1:TriggerMode", "QE1:AveragingTime", "QE1:Acquire"],
    "counter": ["CNT1:ChannelAdvance", "CNT1:NuseAll", "CNT1:Dwell", "CNT1:scaler1.TP"],
    "keithley": ["KEI1:rbkTrgSrc", "KEI1:rbkIntegrTime", "KEI1:rbkFiltAverCnt"],
}


@pytest.fixture
def call(RE):
    def call(coroutine, timeout=30.0):
        return asyncio.run_coroutine_threadsafe(coroutine, RE.loop).result(timeout)

    return call


@pytest.fixture(params=DETECTORS)
def detector(request, beamline, call, tmp_path):
    use_data_root(tmp_path)
    detector = DETECTORS[request.param](beamline.prefix)
    call(detector.connect(timeout=10))
    return detector


@pytest.fixture
def pulses(beamline, call):
    pulses = PulseGenerator(f"{beamline.prefix}PULSE:", "pulses")
    call(pulses.connect(timeout=10))
    return pulses


@pytest.fixture
def documents(RE):
    documents = []
    RE.subscribe(lambda name, document: documents.append((name, document)))
    return documents


@pytest.fixture
def settings(beamline, call, detector):
    """Return a function that reads what a plan may have changed."""
    import aioca

    names = [f"{beamline.prefix}{name}" for name in SETTINGS[detector.name]]

    async def read():
        return [float(value) for value in await aioca.caget(names)]

    return lambda: call(read())


def named(documents, name):
    return [document for kind, document in documents if kind == name]


def fly(detector, info, send):
    """Return a plan that is like ophyd-async's own for flying a detector."""

    @bpp.stage_decorator([detector])
    @bpp.run_decorator()
    def plan():
        yield from bps.prepare(detector, info, wait=True)
        yield from bps.declare_stream(detector, name="frames", collect=True)
        yield from bps.kickoff(detector, wait=True)
        if send is not None:
            yield from bps.wait_for([send])
        yield from bps.complete(detector, wait=False, group="complete")
        done = False
        while not done:
            done = yield from bps.wait(group="complete", timeout=0.5, error_on_timeout=False)
            yield from bps.collect(detector, name="frames")
        yield from bps.collect(detector, name="frames")

    return plan()


def columns_of(documents):
    """Return what the documents of a flight point at: column -> values."""
    columns = {}
    for resource in named(documents, "stream_resource"):
        datums = [
            datum
            for datum in named(documents, "stream_datum")
            if datum["stream_resource"] == resource["uid"]
        ]
        with h5py.File(resource["uri"].removeprefix("file://localhost"), "r") as file:
            values = file[resource["parameters"]["dataset"]][()]
        spans = [(datum["indices"]["start"], datum["indices"]["stop"]) for datum in datums]
        assert [start for start, _ in spans] == [0, *(stop for _, stop in spans[:-1])]
        assert spans[-1][1] == len(values)
        columns[resource["data_key"]] = values
    return columns


def test_it_is_a_detector_of_ophyd_async_and_a_frame_source(detector, call):
    assert isinstance(detector, StandardDetector)
    assert isinstance(detector, FrameSource)
    triggers, dead_time = call(detector.get_trigger_deadtime())
    assert {trigger.name.removeprefix("EXTERNAL_").lower() for trigger in triggers} == {
        mode.value for mode in call(detector.trigger_modes())
    }
    assert dead_time == call(detector.dead_time())


def test_a_scan_reads_it_once_per_point(beamline, RE, call, detector, documents, settings):
    focus = Motor(f"{beamline.prefix}m1", "focus")
    call(focus.connect(timeout=10))
    before = settings()
    RE(bp.count([detector], 2))
    RE(bp.scan([detector], focus, -1190, -1110, 3))
    events = named(documents, "event")
    assert len(events) == 5
    # Noise tells a new reading from an old one.
    for column in detector.columns():
        if column != "counter_time":
            values = [event["data"][column] for event in events]
            assert len(set(values)) == 5
            assert min(values) > 0
    timestamps = [next(iter(event["timestamps"].values())) for event in events]
    assert np.all(np.diff(timestamps) > 0)
    assert not named(documents, "stream_resource")
    hints = named(documents, "descriptor")[-1]["hints"][detector.name]["fields"]
    assert set(hints) == set(detector.columns()) - {"counter_time"}
    assert settings() == before


def test_a_flight_by_its_own_clock_has_an_event_for_each_frame(
    RE, detector, documents, settings, tmp_path
):
    before = settings()
    RE(fly(detector, TriggerInfo(number_of_events=20, livetime=0.04), None))
    columns = columns_of(documents)
    name = detector.name
    assert set(columns) == {*detector.columns(), f"{name}_begin", f"{name}_end"}
    assert {len(values) for values in columns.values()} == {20}
    assert all(np.all(np.isfinite(values)) for values in columns.values())
    assert np.all(np.diff(columns[f"{name}_begin"]) > 0)
    lengths = columns[f"{name}_end"] - columns[f"{name}_begin"]
    # The meter of quadEM and the counter expose without a gap, for the dead time too.
    assert lengths == pytest.approx(0.04, abs=1e-3)
    (descriptor,) = named(documents, "descriptor")
    for column, unit in detector.columns().items():
        assert descriptor["data_keys"][column]["units"] == unit
    assert named(documents, "stop")[0]["exit_status"] == "success"
    assert len(list(tmp_path.rglob("*.h5"))) == 1
    assert settings() == before


def test_a_flight_follows_triggers(RE, call, detector, pulses, documents, settings):
    before = settings()
    times = []

    async def send():
        times.append(await pulses.send(15, 0.08, 0.001))

    info = TriggerInfo(trigger=DetectorTrigger.EXTERNAL_EDGE, number_of_events=15, livetime=0.04)
    RE(fly(detector, info, send))
    columns = columns_of(documents)
    begins = columns[f"{detector.name}_begin"]
    assert len(begins) == 15
    assert np.diff(begins) == pytest.approx(0.08, abs=2e-3)
    assert begins == pytest.approx(times[0] + 0.08 * np.arange(15), abs=5e-3)
    assert settings() == before


def test_what_fails_in_flight_ends_the_plan_with_its_reason(RE, detector, monkeypatch, settings):
    before = settings()

    async def frames():
        raise OSError(f"{detector.name} has lost its memory.")

    monkeypatch.setattr(detector, "frames", frames)
    # Either the collection or the completion comes to it first.
    with pytest.raises((OSError, FailedStatus)) as caught:
        RE(fly(detector, TriggerInfo(number_of_events=20, livetime=0.04), None))
    assert "has lost its memory" in f"{caught.value} {caught.value.__cause__}"
    assert settings() == before


def test_a_dropped_frame_leaves_a_row_without_values(RE, detector, documents, monkeypatch):
    frames = detector.frames

    async def with_a_gap():
        found = await frames()
        kept = found.numbers != 3
        return type(found)(
            found.numbers[kept],
            found.begins[kept],
            found.ends[kept],
            {name: values[kept] for name, values in found.values.items()},
        )

    monkeypatch.setattr(detector, "frames", with_a_gap)
    RE(fly(detector, TriggerInfo(number_of_events=8, livetime=0.04), None))
    for values in columns_of(documents).values():
        assert np.isnan(values).nonzero()[0].tolist() == [3]
        assert len(values) == 8
