"""Detectors of ophyd-async, none of them ours, follow triggers: their frames, from their files."""

import asyncio

import h5py
import numpy as np
import pytest
import pytest_asyncio
from ophyd_async.core import (
    DetectorTrigger,
    DetectorTriggerLogic,
    StandardDetector,
    StaticFilenameProvider,
    StaticPathProvider,
    UUIDFilenameProvider,
    init_devices,
)
from ophyd_async.epics.adaravis import AravisDetector
from ophyd_async.epics.adcore import ADWriterFactory, NDStatsIO
from ophyd_async.epics.adkinetix import KinetixDetector
from ophyd_async.epics.adpilatus import PilatusDetector
from ophyd_async.epics.adsimdetector import SimDetector
from ophyd_async.epics.advimba import VimbaDetector

from glidepath.detectors import (
    FrameSettings,
    FrameSource,
    RunPaths,
    StockDetector,
    TriggerMode,
    find_frame_source,
    frame_source_for,
    triggered,
)
from glidepath.detectors.check import _joined
from glidepath.detectors.frame_sources import register_frame_source

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

RATE = 50.0


@pytest_asyncio.fixture(loop_scope="module")
async def make(bench):
    """Return a function that makes a connected frame source of a stock detector."""
    made = []

    async def make(kind=VimbaDetector, paths=None, **options):
        device = kind(
            f"{bench.prefix}CAM1:",
            ADWriterFactory.hdf(paths or RunPaths()),
            name="stock",
            **options,
        )
        await device.connect(timeout=10)
        made.append(frame_source_for(device))
        return made[-1]

    yield make
    for source in made:
        await source.restore()
    for name, value in {"SizeX": 128, "DataType": "UInt16"}.items():
        await bench.put(f"CAM1:cam1:{name}", value)


async def collected(source, number, bound=20.0):
    parts = [await source.frames()]
    for _ in range(int(bound / 0.05)):
        if sum(len(part.numbers) for part in parts) >= number:
            break
        await asyncio.sleep(0.05)
        parts.append(await source.frames())
    await source.disarm()
    parts.append(await source.frames())
    return _joined(parts)


def images_of(source):
    file = source.file()
    with h5py.File(file.path, "r", swmr=True) as opened:
        return opened[file.dataset][()]


async def test_its_frames_have_the_times_of_its_file_and_the_numbers_too(bench, make):
    source = await make()
    assert isinstance(source, FrameSource)
    assert await source.trigger_modes() == set(TriggerMode)
    assert await source.dead_time() == pytest.approx(63e-6)
    await bench.faults(drop="2")
    settings = bench.settings(10, RATE)
    await source.check_frames(settings)
    await source.arm(settings)
    first = await bench.pulses(10, RATE)
    frames = await collected(source, 9)
    numbers = np.setdiff1d(np.arange(10), [2])
    assert list(frames.numbers) == list(numbers)
    # The frame of this camera is complete 1 ms after its exposure; nobody has said that.
    assert frames.begins == pytest.approx(first + numbers / RATE + 0.001, abs=1e-6)
    assert await source.dropped() == 1
    assert source.file().path.parent == settings.folder
    assert len(images_of(source)) == 9
    assert source.remarks() == []


async def test_its_own_clock_makes_frames_each_period(make, bench):
    source = await make(SimDetector)
    assert await source.trigger_modes() == {TriggerMode.INTERNAL}
    assert await source.dead_time() == 0.0
    settings = FrameSettings(0, 0.02, 0.04, TriggerMode.INTERNAL, bench.folder / "run")
    await source.arm(settings)
    frames = await collected(source, 8)
    assert np.diff(frames.begins) == pytest.approx(0.04, abs=1e-6)
    assert frames.ends - frames.begins == pytest.approx(0.02)


async def test_what_was_changed_while_it_stood_is_described(make, bench):
    await bench.put("CAM1:cam1:SizeX", 64)
    await bench.put("CAM1:cam1:DataType", "UInt8")
    source = await make()
    await source.arm(bench.settings(5, RATE))
    await bench.pulses(5, RATE)
    await collected(source, 5)
    key, images = source.file().data_key, images_of(source)
    assert (key["shape"], key["dtype_numpy"]) == ([1, 96, 64], "|u1")
    assert (images.shape, images.dtype) == ((5, 96, 64), np.dtype("u1"))


async def test_settings_are_put_back_and_a_camera_that_ran_runs_again(make, bench):
    names = ("cam1:ImageMode", "cam1:AcquireTime", "cam1:TriggerMode", "HDF1:FileWriteMode")
    before = [await bench.get(f"CAM1:{name}_RBV") for name in names]
    import aioca

    await aioca.caput(f"{bench.prefix}CAM1:cam1:Acquire", 1, wait=False)
    await bench.until("CAM1:cam1:Acquire_RBV", bool)
    source = await make()
    await source.arm(bench.settings(5, RATE))
    await bench.pulses(5, RATE)
    await collected(source, 5)
    await source.restore()
    assert [await bench.get(f"CAM1:{name}_RBV") for name in names] == before
    assert await bench.get("CAM1:cam1:Acquire_RBV") == 1
    await bench.put("CAM1:cam1:Acquire", 0)


async def test_a_file_that_would_be_written_over_is_refused(make, bench, tmp_path):
    paths = StaticPathProvider(StaticFilenameProvider("always"), tmp_path)
    source = await make(paths=paths)
    await source.arm(bench.settings(5, RATE))
    await bench.pulses(5, RATE)
    await collected(source, 5)
    with pytest.raises(ValueError, match=r"stock would write over always\.h5"):
        await source.arm(bench.settings(5, RATE))
    paths = StaticPathProvider(UUIDFilenameProvider(), tmp_path)
    source = await make(paths=paths)
    for _ in range(2):
        await source.arm(bench.settings(5, RATE))
        await bench.pulses(5, RATE)
        assert len((await collected(source, 5)).numbers) == 5
        assert source.file().path.parent == tmp_path


async def test_a_file_without_times_is_counted_and_that_is_said(make, bench):
    await bench.put("CAM1:HDF1:StoreAttr", "No")
    try:
        source = await make()
        await source.arm(bench.settings(5, RATE))
        first = await bench.pulses(5, RATE)
        frames = await collected(source, 5)
    finally:
        await bench.put("CAM1:HDF1:StoreAttr", "Yes")
    assert list(frames.numbers) == list(range(5))
    assert np.diff(frames.begins) == pytest.approx(1 / RATE, abs=0.02)
    assert abs(frames.begins[0] - first) < 5.0
    (remark,) = source.remarks()
    assert "can only be counted" in remark


@pytest.mark.parametrize(
    "kind", [SimDetector, VimbaDetector, AravisDetector, KinetixDetector, PilatusDetector]
)
async def test_every_camera_of_ophyd_async_is_accepted(kind, tmp_path):
    paths = StaticPathProvider(UUIDFilenameProvider(), tmp_path)
    async with init_devices(mock=True):
        device = kind(
            "X:", ADWriterFactory.hdf(paths), plugins={"stats": NDStatsIO("X:Stats1:")}, name="mine"
        )
    source = frame_source_for(device)
    assert isinstance(source, StockDetector)
    assert isinstance(source, FrameSource)
    assert frame_source_for(device) is source
    settings = FrameSettings(10, 0.01, 1.0, TriggerMode.INTERNAL, tmp_path)
    # Which model it is nobody says here, and so nobody knows its dead time.
    source = triggered(device, dead_time=0.001)
    await source.check_frames(settings)
    assert TriggerMode.INTERNAL in await source.trigger_modes()
    assert dict(source.columns()) == {}


async def test_a_dead_time_that_nobody_knows_is_asked_for(tmp_path):
    class Edge(DetectorTriggerLogic):
        async def prepare_edge(self, num, livetime):
            pass

    device = StandardDetector(name="mine")
    assert find_frame_source(device) is None
    device.add_detector_logics(Edge())
    assert find_frame_source(device) is not None
    with pytest.raises(
        ValueError, match=r"dead time of mine is not known.*triggered\(detector, dead"
    ):
        await frame_source_for(device).dead_time()
    assert await triggered(device, dead_time=0.002).dead_time() == 0.002


async def test_what_follows_no_triggers_is_said_and_another_class_can_be_registered():
    class Mine:
        name = "mine"

    with pytest.raises(ValueError, match="'mine' cannot follow triggers"):
        frame_source_for(Mine())
    source = object()
    register_frame_source(Mine, lambda device: source)
    assert frame_source_for(Mine()) is source


async def test_what_is_used_of_ophyd_async_without_being_public_is_still_there():
    for name in ("_trigger_logic", "_acquire_logic", "_data_logics", "_prepare_ctx"):
        assert hasattr(StandardDetector, name), (
            f"StandardDetector.{name} is gone: see StockDetector"
        )
    assert StandardDetector(name="mine")._supported_triggers == {DetectorTrigger.INTERNAL}
